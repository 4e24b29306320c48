"""`tfpriv info`: what this installation consists of, for people and for bug reports."""

import argparse
import importlib.metadata
import json
import os
import platform

PACKAGES = ("tensorflow", "keras", "keras-hub", "dp-accounting", "numpy")


def add_parser(subparsers) -> None:
    """Adds the `info` command to the command line's parser."""
    parser = subparsers.add_parser(
        "info", help="show versions, threads and whether native ops are used"
    )
    parser.set_defaults(handler=_run)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _ledger_format() -> str:
    from tfpriv.accounting.ledger import Ledger

    saved = json.loads(Ledger().to_bytes())
    return f"{saved['format']} {saved['version']}"


def _native_ops() -> str:
    from tfpriv import ops

    reason = ops.why_not_native()
    return "in use" if reason is None else f"not in use: {reason}"


def _threads() -> str:
    import tensorflow as tf

    chosen = tf.config.threading.get_intra_op_parallelism_threads()
    return f"{chosen or len(os.sched_getaffinity(0))}"


def facts() -> dict[str, str]:
    """Returns what `tfpriv info` prints: a name and a value per line."""
    return {
        "tfpriv": _version("tfpriv"),
        "Python": platform.python_version(),
        "platform": platform.platform(),
        **{package: _version(package) for package in PACKAGES},
        "native ops": _native_ops(),
        "threads": _threads(),
        "ledger format": _ledger_format(),
    }


def _run(arguments: argparse.Namespace) -> None:
    del arguments
    lines = facts()
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:{width}}  {value}")

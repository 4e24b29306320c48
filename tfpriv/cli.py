"""The `tfpriv` command: finds the right subcommand and reports errors in one line.

Each subsystem owns its commands, in `tfpriv/<subsystem>/cli.py`:
`add_parser(subparsers)` adds one parser whose default `handler` takes the parsed
arguments. Only the module of the command that was asked for is imported, and TensorFlow
only when its handler runs, so that help and wrong arguments answer at once. A handler
that needs no TensorFlow, in a module of others that do, says so: its parser's default
`tensorflow` is False.
"""

import argparse
import importlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import tfpriv
from tfpriv.support.extras import MissingExtraError


class _Command(NamedTuple):
    module: str  # has add_parser
    summary: str  # the line that the overview shows
    tensorflow: bool  # whether its handlers use TensorFlow


COMMANDS = {
    "info": _Command("tfpriv.info", "show versions, threads and native ops", True),
    "budget": _Command(
        "tfpriv.accounting.cli", "turn noise into epsilon, and back", False
    ),
    "audit": _Command("tfpriv.audit.cli", "attack tfpriv's own DP-SGD", True),
    "caption": _Command(
        "tfpriv.captioning.cli", "train and use private captioners", True
    ),
    "edit": _Command(
        "tfpriv.editing.cli", "release attributes of faces privately", True
    ),
    "shuffle": _Command(
        "tfpriv.shuffling.cli", "shuffle pixels with a secret key", True
    ),
    "inpaint": _Command(
        "tfpriv.inpainting.cli", "anonymise faces in photographs", True
    ),
    "weights": _Command(
        "tfpriv.networks.pretrained.cli",
        "list and check weights that others trained",
        True,
    ),
    "demo": _Command(
        "tfpriv.demo", "train privately on generated pictures and caption them", True
    ),
}
USAGE_ERROR = 2
INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage in front of it."""

    def error(self, message: str):
        self.exit(USAGE_ERROR, f"tfpriv: error: {message} (see `{self.prog} --help`)\n")


def _parser(command: str | None) -> argparse.ArgumentParser:
    """The parser of one command, or of the overview when no command is named."""
    parser = _Parser(prog="tfpriv", description=tfpriv.__doc__.splitlines()[0])
    parser.add_argument(
        "--version", action="version", version=f"tfpriv {tfpriv.__version__}"
    )
    parser.add_argument(
        "--debug", action="store_true", help="show the traceback of an error"
    )
    subparsers = parser.add_subparsers(
        dest="command", metavar="command", required=True, parser_class=_Parser
    )
    if command is None:
        for name, known in COMMANDS.items():
            subparsers.add_parser(name, help=known.summary)
    else:
        importlib.import_module(COMMANDS[command].module).add_parser(subparsers)
    return parser


def _import_tensorflow_quietly() -> None:
    """Imports TensorFlow without the ten lines that it writes past every log level.

    They come from its libraries while they load, say nothing about the user's work, and
    some look like errors ("failed call to cuInit"). If the import fails, all is shown.
    Later lines of its log are about our code (retracing, what a processor lacks).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as noise:
        os.dup2(noise.fileno(), 2)
        try:
            importlib.import_module("tensorflow").config.list_physical_devices()
        except BaseException:
            noise.seek(0)
            os.write(kept, noise.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: the arguments after `tfpriv`; by default those of the process.

    Returns:
        The exit code: 0, 2 for wrong arguments, values or files, or the handler's own.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in argv if not word.startswith("-")), None)
    try:
        parser = _parser(command if command in COMMANDS else None)
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has said what it had to say
        return stop.code or 0
    usual, warnings.formatwarning = warnings.formatwarning, _warning
    try:
        if getattr(arguments, "tensorflow", COMMANDS[arguments.command].tensorflow):
            _import_tensorflow_quietly()
        return arguments.handler(arguments) or 0
    except KeyboardInterrupt:
        print("tfpriv: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, MissingExtraError) as error:
        if arguments.debug:
            raise
        message = " ".join(str(error).split())
        print(f"tfpriv: error: {message}", file=sys.stderr)
        return USAGE_ERROR
    finally:
        warnings.formatwarning = usual


def _warning(message, category, filename, lineno, line=None) -> str:
    """A warning as it is printed: in one line, without our code around it."""
    return f"tfpriv: warning: {message}\n"

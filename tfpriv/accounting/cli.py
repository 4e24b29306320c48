"""`tfpriv budget`: epsilon from noise, noise from epsilon, and a ledger shown."""

import argparse
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfpriv.accounting import mechanisms, statement
from tfpriv.accounting.calibration import calibrate_noise, steps_per_epoch
from tfpriv.accounting.epsilon import ACCOUNTANTS
from tfpriv.accounting.errors import LedgerError
from tfpriv.accounting.ledger import LEDGER_NAME, Ledger
from tfpriv.accounting.mechanisms import PUBLIC_SIZE, Mechanism
from tfpriv.accounting.statement import STATEMENT_NAME

_CONFIG = "config.json"  # of a `.keras` file
_DELTA = 1e-5
_FOLDERS = ("", "assets.extra", "assets")  # of a SavedModel
# What reading a statement raises that is absent, damaged, or in no archive.
_DAMAGE = (
    LedgerError,
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    RecursionError,
    RuntimeError,  # an encrypted member; NotImplementedError: its compression
    zipfile.BadZipFile,
    zlib.error,
)
_LARGEST_LEDGER = 64 * 2**20  # bytes; a member of an archive beyond it is no ledger


def add_parser(subparsers: Any) -> None:
    """Adds `budget` to the parsers of the `tfpriv` command.

    Args:
        subparsers: what `ArgumentParser.add_subparsers` returned.
    """
    budget = subparsers.add_parser("budget", help="turn noise into epsilon, and back")
    actions = budget.add_subparsers(dest="action", metavar="action", required=True)

    epsilon = actions.add_parser("epsilon", help="epsilon from noise")
    _add_plan(epsilon)
    epsilon.add_argument("--noise-multiplier", type=float, required=True)
    epsilon.set_defaults(handler=_epsilon)

    noise = actions.add_parser("noise", help="the least noise for an epsilon")
    _add_plan(noise)
    noise.add_argument("--epsilon", type=float, required=True)
    noise.set_defaults(handler=_noise)

    show = actions.add_parser("show", help="the statement of a ledger")
    show.add_argument(
        "file", type=Path, help="a ledger, or a .keras file or SavedModel with one"
    )
    _add_claim(show, None, "that of the model's statement, else 1e-5")
    show.set_defaults(handler=_show)


def _add_claim(
    parser: argparse.ArgumentParser,
    delta: float | None = _DELTA,
    shown: str = f"{_DELTA:g}",
) -> None:
    parser.add_argument("--delta", type=float, default=delta, help=f"default: {shown}")
    parser.add_argument("--accountant", choices=ACCOUNTANTS, default="rdp")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--population", type=int, help="number of units in the data set"
    )
    parser.add_argument(
        "--batch-size", type=int, help="units in a batch; the expected number (poisson)"
    )
    length = parser.add_mutually_exclusive_group()  # asked for with all that is missing
    length.add_argument("--steps", type=int, help="training steps")
    length.add_argument(
        "--epochs", type=int, help="of population / batch size steps each, rounded up"
    )
    parser.add_argument(
        "--sampler",
        choices=("poisson", "fixed", "stream"),
        default="poisson",
        help="how batches are drawn (stream: by your own pipeline; no amplification)",
    )
    parser.add_argument(
        "--max-occurrences",
        type=int,
        default=1,
        help="how often a unit can be in one batch of a stream",
    )
    parser.add_argument("--unit", default="example", help="what is protected")
    _add_claim(parser)


def _plan(args: argparse.Namespace) -> Callable[[float], Mechanism]:
    """The mechanism of one step as a function of its noise multiplier."""
    _check_plan(args)
    if args.sampler == "stream":
        return lambda z: mechanisms.stream(z, max_occurrences=args.max_occurrences)
    if args.sampler == "fixed":
        return lambda z: mechanisms.fixed_size(args.population, args.batch_size, z)
    return lambda z: mechanisms.poisson(
        args.batch_size / args.population,
        z,
        population=args.population,
        notes=(PUBLIC_SIZE,),
    )


def _check_plan(args: argparse.Namespace) -> None:
    needed = {"--steps or --epochs": args.epochs if args.steps is None else args.steps}
    has_sizes = args.sampler != "stream" or args.epochs is not None
    if has_sizes:
        needed |= {"--population": args.population, "--batch-size": args.batch_size}
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        raise ValueError(f"These are needed too: {', '.join(missing)}.")
    length = "--epochs" if args.steps is None else "--steps"
    if needed["--steps or --epochs"] < 1:
        raise ValueError(
            f"{length} must be positive. Received: {needed['--steps or --epochs']}"
        )
    if args.sampler != "stream" and args.max_occurrences != 1:
        raise ValueError(
            "--max-occurrences is for --sampler stream; a unit is in a batch once. "
            f"Received: --sampler {args.sampler}"
        )
    if not has_sizes and (args.population, args.batch_size) != (None, None):
        raise ValueError(
            "The steps of a stream cost the same whatever its sizes: leave "
            "--population and --batch-size out. Received: --sampler stream --steps "
            f"{args.steps}"
        )
    if has_sizes and not 1 <= args.batch_size <= args.population:
        raise ValueError(
            "--batch-size must lie between 1 and --population. Received: "
            f"--batch-size {args.batch_size} --population {args.population}"
        )


def _steps(args: argparse.Namespace) -> int:
    if args.steps is not None:
        return int(args.steps)
    return int(args.epochs) * steps_per_epoch(args.population, args.batch_size)


def _print_plan(args: argparse.Namespace, noise: float, mechanism: Mechanism) -> int:
    ledger = Ledger()
    ledger.record(mechanism, unit=args.unit, purpose="planned", count=_steps(args))
    if args.format == "json":
        document = statement.describe(ledger, args.delta, args.accountant)
        print(json.dumps({"noise_multiplier": noise, **document}, indent=1))
    else:
        text = ledger.statement(args.delta, accountant=args.accountant)
        print(f"noise multiplier = {noise:.6g}\n{text}", end="")
    return 0


def _epsilon(args: argparse.Namespace) -> int:
    mechanism = _plan(args)(args.noise_multiplier)
    return _print_plan(args, args.noise_multiplier, mechanism)


def _noise(args: argparse.Namespace) -> int:
    plan = _plan(args)
    noise = calibrate_noise(
        args.epsilon,
        args.delta,
        mechanism=plan,
        steps=_steps(args),
        accountant=args.accountant,
    )
    return _print_plan(args, noise, plan(noise))


def _show(args: argparse.Namespace) -> int:
    ledger = find_ledger(args.file)
    delta = _stated_delta(args.file) if args.delta is None else args.delta
    print(ledger.statement(delta, args.format, args.accountant).rstrip("\n"))
    return 0


def _stated_delta(path: Path) -> float:
    """The delta of the statement in a SavedModel or `.keras` file, or the default."""
    try:
        return float(json.loads(_statement_in(path))["delta"])
    except _DAMAGE:  # a damaged statement must not hide a ledger that is whole
        return _DELTA


def _statement_in(path: Path) -> str:
    """The JSON statement of a SavedModel or `.keras` file; one of `_DAMAGE` without."""
    if path.is_dir():
        files = [path / folder / STATEMENT_NAME for folder in _FOLDERS]
        return min(files, key=lambda file: not file.is_file()).read_text()
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo(_CONFIG).file_size > _LARGEST_LEDGER:
            raise LedgerError(f"{_CONFIG} is too large.")
        config: dict[str, Any] = json.loads(archive.read(_CONFIG))
    statement: str = config["config"]["privacy_statement"]
    return statement


def find_ledger(path: Path) -> Ledger:
    """Reads the ledger that a file or folder is or carries.

    Args:
        path: a ledger's JSON file; a folder (SavedModel) with `privacy_ledger.json`
            in it or in its `assets.extra`; or a zip archive (`.keras`) with such a
            member.

    Returns:
        The ledger.

    Raises:
        LedgerError: if there is none, or it is damaged.
        OSError: if it cannot be read.
    """
    if path.is_dir():
        for folder in _FOLDERS:
            if (path / folder / LEDGER_NAME).is_file():
                return Ledger.load(path / folder / LEDGER_NAME)
        raise LedgerError(f"There is no {LEDGER_NAME} in the folder {path}.")
    if not zipfile.is_zipfile(path):
        return Ledger.load(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                m for m in archive.infolist() if m.filename.endswith(LEDGER_NAME)
            ]
            if len(members) != 1 or members[0].file_size > _LARGEST_LEDGER:
                raise LedgerError(
                    f"Expected one {LEDGER_NAME} in {path}. Received: {len(members)}"
                )
            return Ledger.from_bytes(archive.read(members[0]))
    except zipfile.BadZipFile as error:
        raise LedgerError(f"The archive {path} is damaged: {error}") from error

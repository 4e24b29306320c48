"""`tfpriv shuffle`: keys, pictures, attacks; networks in `training_cli.py`."""

import argparse
import sys
from pathlib import Path

from tfpriv.shuffling import training_cli
from tfpriv.support.terminal import command_line, progress

SHOWN = 20  # bad pictures that are named one by one
INCOMPLETE = 1  # the exit code where pictures were left out
# Those of tfpriv.shuffling.attacks.attack, which help must not wait for.
ATTACKS = (
    "none",
    "known-plaintext",
    "ciphertext-only",
    "inverter",
    "wrong-keys",
    "histogram",
)


def add_parser(subparsers) -> None:
    """Adds `shuffle` to the parsers of the `tfpriv` command.

    Args:
        subparsers: what `ArgumentParser.add_subparsers` returned.
    """
    shuffle = subparsers.add_parser("shuffle", help="shuffle pixels with a secret key")
    actions = shuffle.add_subparsers(dest="action", metavar="action", required=True)
    _add_keygen(actions)
    _add_protect(actions)
    _add_unprotect(actions)
    training_cli.add_actions(actions)
    _add_attack(actions)


def _add_keygen(actions):
    parser = actions.add_parser("keygen", help="make a secret key")
    parser.add_argument("key", type=Path, metavar="FILE", help="key file to write")
    parser.add_argument(
        "--check-value",
        action="store_true",
        help="also write by what a damaged key file is noticed",
    )
    parser.set_defaults(handler=keygen, tensorflow=False)


def _add_protect(actions):
    parser = actions.add_parser(
        "protect", help="shuffle a picture, a folder or a data set (.npz)"
    )
    _add_paths(parser)
    parser.add_argument(
        "--fixed",
        action="store_true",
        help="one permutation for all pictures; weak: one known picture breaks it",
    )
    parser.add_argument(
        "--check-value",
        action="store_true",
        help="store with each picture by what a wrong key is told from the right one; "
        "shows which pictures belong together",
    )
    parser.set_defaults(handler=protect)


def _add_unprotect(actions):
    parser = actions.add_parser("unprotect", help="put protected pictures in order")
    _add_paths(parser)
    parser.set_defaults(handler=unprotect)


def _add_attack(actions):
    parser = actions.add_parser(
        "attack", help="shuffle pictures and see what attacks get back"
    )
    training_cli.add_data(parser)
    parser.add_argument(
        "--pictures",
        type=int,
        default=1000,
        metavar="N",
        help="shuffled ones that the attacker has (default: %(default)s)",
    )
    parser.add_argument(
        "--attack",
        nargs="+",
        choices=ATTACKS,
        default=list(ATTACKS),
        metavar="NAME",
        help=f"{', '.join(ATTACKS)} (default: all)",
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="classifier (.keras) whose accuracy on what came back is measured",
    )
    parser.set_defaults(handler=attack)


def _add_paths(parser):
    add = parser.add_argument
    add("source", type=Path, metavar="INPUT", help="picture, folder or .npz file")
    add(
        "--key",
        type=Path,
        required=True,
        metavar="FILE",
        help="key file; `tfpriv shuffle keygen FILE` makes one",
    )
    add(
        "--output",
        type=Path,
        required=True,
        metavar="PATH",
        help=".png file, folder or .npz file to write",
    )
    add("--overwrite", action="store_true", help="replace files that exist already")


def keygen(options: argparse.Namespace) -> None:
    from tfpriv.shuffling import Key

    Key.generate().save(options.key, check_value=options.check_value)
    print(f"New key: {options.key}")
    print("Keep a copy in a safe place: without it the pictures are lost.")


def protect(options: argparse.Namespace) -> int:
    from tfpriv.shuffling import Key, jobs

    report = jobs.protect(
        options.source,
        options.output,
        Key.load(options.key),
        fixed=options.fixed,
        check_value=options.check_value,
        overwrite=options.overwrite,
        progress=progress("protecting"),
    )
    return _say(report, "protected", options.output)


def unprotect(options: argparse.Namespace) -> int:
    from tfpriv.shuffling import Key, jobs

    report = jobs.unprotect(
        options.source,
        options.output,
        Key.load(options.key),
        overwrite=options.overwrite,
        progress=progress("opening"),
    )
    if report.unchecked:
        print(
            f"Without a check value: {report.unchecked}. Look whether they are in "
            "order; nothing else tells whether the key was theirs.",
            file=sys.stderr,
        )
    return _say(report, "in order again", options.output)


def attack(options: argparse.Namespace) -> None:

    from tfpriv.shuffling import data, train
    from tfpriv.shuffling.attacks import attack as attacks
    from tfpriv.shuffling.attacks import report
    from tfpriv.support.models import load_model

    model = load_model(options.model) if options.model else None
    dataset = data.load(options.data)
    options.output.mkdir(parents=True, exist_ok=True)
    results = attacks.attack(
        dataset,
        pictures=options.pictures,
        attacks=tuple(options.attack),
        seed=options.seed,
        classifier=model and (lambda pictures: train.predictions(model, pictures)),
        progress=progress("attacking"),
    )
    run = {
        "command": command_line(),
        "data": dataset.name,
        "pictures": options.pictures,
        "seed": options.seed,
    }
    report.write(options.output, results, run)
    print(report.table(results))
    print(f"Table, figures and pictures: {options.output}")


def _say(report, done: str, output: Path) -> int:
    """Says what was done; returns the exit code."""
    for failure in report.failures[:SHOWN]:
        print(f"left out: {failure}", file=sys.stderr)
    if len(report.failures) > SHOWN:
        more = len(report.failures) - SHOWN
        print(f"left out: {more} more", file=sys.stderr)
    if report.copied:
        print(f"Copied as they are: {', '.join(report.copied)}")
    if report.others:
        kinds = "files that are no pictures, and links to folders"
        print(f"Not copied, {kinds}: {report.others}")
    print(f"Pictures {done}: {report.done} in {output}")
    return INCOMPLETE if report.failures else 0

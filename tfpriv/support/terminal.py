"""What commands share: arguments, and what they show while and after they work."""

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def add_output(parser: argparse.ArgumentParser, metavar: str = "DIR") -> None:
    """Adds `--output`: a folder, or a file if `metavar` names one."""
    what = "folder" if metavar == "DIR" else "file"
    parser.add_argument(
        "--output", type=Path, required=True, metavar=metavar, help=f"{what} to write"
    )


def add_source(parser: argparse.ArgumentParser, folder: str) -> None:
    """Adds `--data` and `--people`: drawn faces, or a folder of images.

    Args:
        parser: The parser.
        folder: Which folders are taken, for the help.
    """
    parser.add_argument(
        "--data",
        default="faces",
        metavar="SOURCE",
        help=f"faces (drawn), or {folder} (default: %(default)s)",
    )
    parser.add_argument("--people", type=int, default=20_000, help="drawn persons")


def given(options: argparse.Namespace, *names: str) -> dict:
    """The options of these names that are not `None`."""
    found = {name: getattr(options, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def print_figures(figures: Mapping[str, float]) -> dict[str, str]:
    """Prints figures in a column and returns them as texts."""
    texts = {name: f"{figure:.4f}" for name, figure in figures.items()}
    for name, text in texts.items():
        print(f"{name:24} {text}")
    return texts


def report_training(
    title: str,
    written: Path,
    figures: Mapping[str, str] | None = None,
    *,
    drawn: bool,
    page: Path | None = None,
) -> None:
    """Writes the report of a training without privacy and prints what was written.

    Args:
        title: What was trained.
        written: What the training wrote.
        figures: As `report.plain_training` takes them.
        drawn: Whether all images that it was trained on are drawn.
        page: The report's path; by default in the folder of `written`.
    """
    from tfpriv.support import report

    page = page or written.parent / report.PAGE
    report.plain_training(page, title, command_line(), figures or {}, drawn=drawn)
    print(f"Written: {written}")


def command_line() -> str:
    """The command that is running, as it can be typed again."""
    return shlex.join(["tfpriv", *sys.argv[1:]])


def progress(what: str) -> Callable[[int, int], None]:
    """A function `(done, total)` that keeps one line on the screen up to date."""

    def show(done, total):
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\r{what}: {done}/{total}", end=end, file=sys.stderr, flush=True)
        elif done == total:  # a log file wants no carriage returns
            print(f"{what}: {total}", file=sys.stderr, flush=True)

    return show

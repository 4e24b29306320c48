"""What commands take from the terminal, and show on it while they work."""

import shlex
import sys
from collections.abc import Callable


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

"""What commands show on the terminal while they work."""

import sys
from collections.abc import Callable


def progress(what: str) -> Callable[[int, int], None]:
    """A function `(done, total)` that keeps one line on the screen up to date."""

    def show(done, total):
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\r{what}: {done}/{total}", end=end, file=sys.stderr, flush=True)
        elif done == total:  # a log file wants no carriage returns
            print(f"{what}: {total}", file=sys.stderr, flush=True)

    return show

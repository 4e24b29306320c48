"""What is fuzzed: a parser, inputs that it takes, and the errors that it documents."""

import dataclasses
import functools
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        name: what it reads.
        seeds: returns inputs that our own writers made.
        read: takes an input and hands it to the parser; `AssertionError` if what came
            out of it must not.
        allowed: what the parser's documentation says that it raises.
    """

    name: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes], object]
    allowed: tuple[type[Exception], ...] = (ValueError,)


def memory() -> str | None:
    """A folder in memory, where there is one: each input becomes a file."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


@functools.cache
def _folder():
    given = os.environ.get("TFPRIV_FUZZ_FOLDER")  # the runner's, which clears it away
    return tempfile.TemporaryDirectory(prefix="tfpriv-fuzz-", dir=given or memory())


def place(name: str) -> Path:
    """A path for an input, in a folder of this process; its folder is there."""
    path = Path(_folder().name, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def written(name: str, data: bytes) -> Path:
    """A file that holds an input."""
    path = place(name)
    path.write_bytes(data)
    return path


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path is that of something in a folder, not below it nor outside."""
    return path.resolve().parent == folder.resolve()


def as_json(content) -> bytes:
    """The bytes of a JSON document."""
    return json.dumps(content).encode()

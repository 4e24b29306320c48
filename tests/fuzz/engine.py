"""Gives inputs to a parser and says which of them it did not take as documented."""

import contextlib
import random
import resource
import traceback
import warnings
from pathlib import Path

import mutation

_HEADROOM = 2 << 30  # bytes that a process may take more than it has


def fault(target, data: bytes) -> Exception | None:
    """What a parser raised that it does not document, or that must not have been read.

    Args:
        target: the parser.
        data: the input.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            target.read(data)
    except target.allowed:
        return None
    except Exception as error:
        return error
    return None


def described(error: Exception) -> str:
    """The error, and the last place of ours that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "tfpriv/" in frame.filename] or frames
    name = Path(ours[-1].filename).name
    return f"{type(error).__name__} at {name}:{ours[-1].lineno}: {str(error)[:200]}"


def plain_run(target, count: int, seed: int) -> dict[str, bytes]:
    """Mutates seeds a number of times.

    Args:
        target: the parser.
        count: how many inputs.
        seed: of what is drawn.

    Returns:
        The first input for each fault, by its description.
    """
    rng, seeds, found = random.Random(seed), target.seeds(), {}
    inputs = [*seeds, *([None] * count)]
    for data in inputs:
        if data is None:
            data = mutation.mutate(rng.choice(seeds), rng, rng.choice(seeds))
        error = fault(target, data)
        if error is not None:
            found.setdefault(described(error), data)
    return found


@contextlib.contextmanager
def bounded_memory():
    """Lets the process take 2 GiB more than it has: what wants more fails and shows."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)

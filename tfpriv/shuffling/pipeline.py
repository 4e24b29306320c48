"""Many pictures: decoded, moved and delivered on all cores, past the bad ones."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

from tfpriv.shuffling.codec import Picture

_TOGETHER = 32  # pictures that a thread takes at a time
_BYTES_TOGETHER = 8 << 20  # of decoded pictures, moved at a time


Progress = Callable[[int, int], None] | None


class ShufflingSummary(NamedTuple):
    """What was done with many pictures, and what was not.

    Attributes:
        done: Number of pictures that were written.
        failures: What is wrong with each picture that was not.
        others: Number of files in a folder that are no pictures and stay there.
        unchecked: Number of opened pictures without a check value: whether the key was
            theirs cannot be told.
        copied: Names of a data set's arrays that hold no pictures and were copied.
    """

    done: int
    failures: list[str]
    others: int = 0
    unchecked: int = 0
    copied: tuple[str, ...] = ()


def run(
    items: Sequence[Any],
    read: Callable[[Any], Picture],
    convert: Callable[[Sequence[Picture]], Sequence[bytes]],
    deliver: Callable[[Any, bytes], None],
    progress: Progress = None,
) -> list[str]:
    """Takes each item through `read`, `convert` and `deliver`.

    Threads do: decoding, shuffling and packing all run outside Python's lock.

    Args:
        items: What there is to do.
        read: Decodes an item. A ValueError or OSError leaves the item out.
        convert: From pictures to what is to be delivered.
        deliver: Takes an item and its result. An error ends the whole run: where one
            file cannot be written, ten thousand cannot either.
        progress: `None`, or a function called with `(done, total)` now and then.

    Returns:
        What is wrong with each item that was left out, in their order.
    """

    def work(part):
        failures = []
        for members, pictures in _batches(part, read, failures):
            for item, result in zip(members, convert(pictures), strict=True):
                deliver(item, result)
        return len(part), failures

    parts = [items[i : i + _TOGETHER] for i in range(0, len(items), _TOGETHER)]
    done, failures = 0, {}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        futures = {threads.submit(work, part): i for i, part in enumerate(parts)}
        try:
            for future in as_completed(futures):
                count, failures[futures[future]] = future.result()
                done += count
                if progress:
                    progress(done, len(items))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return [failure for i in sorted(failures) for failure in failures[i]]


def _batches(part, read, failures) -> Iterable[tuple[list, list[Picture]]]:
    """Items and their pictures, as many at a time as memory should hold."""
    members, pictures, size = [], [], 0
    for item in part:
        try:
            picture = read(item)
        except (ValueError, OSError) as error:
            failures.append(" ".join(str(error).split()))
            continue
        members.append(item)
        pictures.append(picture)
        size += picture.pixels.nbytes
        if size >= _BYTES_TOGETHER:
            yield members, pictures
            members, pictures, size = [], [], 0
    if members:
        yield members, pictures

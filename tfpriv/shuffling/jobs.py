"""Pictures, folders and data sets on the disk: protected, and opened again."""

import functools
import os
from collections import Counter
from pathlib import Path

from tfpriv.shuffling import codec, datasets, pipeline
from tfpriv.shuffling.keys import Key, is_key_file
from tfpriv.shuffling.pipeline import Progress, ShufflingSummary
from tfpriv.support import images
from tfpriv.support.outputs import atomic_file

_LOSSY = frozenset({".jpg", ".jpeg", ".webp", ".heic", ".avif", ".jp2"})


def protect(
    source: str | os.PathLike,
    output: str | os.PathLike,
    key: Key,
    *,
    fixed: bool = False,
    check_value: bool = False,
    overwrite: bool = False,
    progress: Progress = None,
) -> ShufflingSummary:
    """Shuffles the pixels of a picture, a folder of pictures or a data set.

    Files are written one by one, each whole or not at all. Nothing but the pixels is
    kept: no EXIF, no colour profile, no thumbnail, no comment.

    Args:
        source: A picture, a folder (with all below it), or a data set in an .npz file.
        output: A .png file, a folder, or an .npz file.
        key: The secret key.
        fixed: One permutation for all pictures of a size; else one for each picture.
        check_value: Store the key's check value with each picture.
        overwrite: Replace files that are there already.
        progress: `None`, or a function called with `(done, total)` now and then.

    Returns:
        What was done. Bad pictures of folders and data sets are left out and named.

    Raises:
        FileExistsError: An output is there already.
        FileNotFoundError: There is nothing at `source`.
        ValueError: A bad picture, or an output that would not keep it.
    """
    how = {"key": key, "fixed": fixed, "check_value": check_value}
    source, output = _checked_paths(Path(source), Path(output), overwrite)
    if source.suffix.lower() == ".npz":
        return datasets.protect(source, output, **how, progress=progress)
    convert = functools.partial(codec.protect, **how)
    return _pictures(source, output, codec.read_plain, convert, overwrite, progress)


def unprotect(
    source: str | os.PathLike,
    output: str | os.PathLike,
    key: Key,
    *,
    overwrite: bool = False,
    progress: Progress = None,
) -> ShufflingSummary:
    """Puts in order again what `protect` wrote.

    Args:
        source: A protected picture, folder or data set.
        output: A .png file, a folder, or an .npz file.
        key: The key that it was protected with.
        overwrite: Replace files that are there already.
        progress: `None`, or a function called with `(done, total)` now and then.

    Returns:
        What was done. Bad pictures of folders and data sets are left out and named.

    Raises:
        FileExistsError: An output is there already.
        FileNotFoundError: There is nothing at `source`.
        ValueError: A bad picture, a wrong key (where a check value tells), or an output
            that would not keep the picture.
    """
    source, output = _checked_paths(Path(source), Path(output), overwrite)
    if source.suffix.lower() == ".npz":
        return datasets.unprotect(source, output, key, progress=progress)
    unchecked = []

    def read(path):
        picture = codec.read_protected(path, key)
        if picture.record.check is None:
            unchecked.append(path)
        return picture

    convert = functools.partial(codec.unprotect, key=key)
    report = _pictures(source, output, read, convert, overwrite, progress)
    return report._replace(unchecked=len(unchecked))


def _checked_paths(source: Path, output: Path, overwrite: bool) -> tuple[Path, Path]:
    """The paths, if the one can be read and the other would keep what is written."""
    if not source.exists():
        raise FileNotFoundError(f"There is nothing at this path. Received: {source}")
    if source.is_dir():
        if output.resolve().is_relative_to(source.resolve()):
            raise ValueError(
                "The output folder must lie outside of the folder that is read. "
                f"Received: {source} and {output}"
            )
        if output.exists() and not output.is_dir():
            raise FileExistsError(f"The output is no folder. Received: {output}")
        return source, output
    _check_ending(output, ".npz" if source.suffix.lower() == ".npz" else ".png")
    _check_outputs([source], [output], overwrite)
    return source, output


def _check_ending(output: Path, wanted: str) -> None:
    found = output.suffix.lower()
    if found in _LOSSY:
        raise ValueError(
            "Shuffled pixels must be kept exactly, and this format keeps only what "
            "people see of a picture: it would be destroyed for ever. Name a "
            f"{wanted} file. Received: {output}"
        )
    if found != wanted:
        raise ValueError(f"The output must end in {wanted}. Received: {output}")


def _check_outputs(sources: list[Path], outputs: list[Path], overwrite: bool) -> None:
    """Raises an error if something would be replaced unasked, or must never be."""
    there = [path for path in outputs if path.exists()]
    read = {os.path.realpath(path) for path in sources}
    for path in there:
        if os.path.realpath(path) in read:
            raise ValueError(f"The output is the input. Received: {path}")
        if is_key_file(path):
            raise ValueError(
                "A key that is overwritten is lost with all its pictures. Name another "
                f"output. Received: {path}"
            )
    if there and not overwrite:
        raise FileExistsError(
            f"{len(there)} of {len(outputs)} outputs exist already; `--overwrite` "
            f"replaces them. Received: {there[0]}"
        )


def _pictures(source, output, read, convert, overwrite, progress) -> ShufflingSummary:
    """A picture, or all pictures of a folder."""
    if not source.is_dir():
        output.parent.mkdir(parents=True, exist_ok=True)
        _write(output, *convert([read(source)]))
        return ShufflingSummary(1, [])
    found, others = images.below(source)
    jobs, failures = _jobs(source, output, found)
    if not jobs and not failures:
        raise ValueError(
            f"There are no pictures in the folder, which end in one of "
            f"{', '.join(sorted(images.SUFFIXES))}. Received: {source}"
        )
    _check_outputs(found, [target for _, target in jobs], overwrite)
    for folder in {target.parent for _, target in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
    left_out = pipeline.run(
        jobs,
        lambda job: read(job[0]),
        convert,
        lambda job, content: _write(job[1], content),
        progress,
    )
    return ShufflingSummary(len(jobs) - len(left_out), failures + left_out, others)


def _jobs(source: Path, output: Path, found: list[Path]):
    """Pairs of picture and output, and what cannot be done."""
    targets = [output / path.relative_to(source).with_suffix(".png") for path in found]
    times = Counter(targets)
    jobs, failures = [], []
    for path, target in zip(found, targets, strict=True):
        if times[target] == 1:
            jobs.append((path, target))
        else:
            failures.append(
                "Several pictures would be written to the same file; rename one. "
                f"Received: {path} for {target}"
            )
    return jobs, failures


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path) as file:
        file.write(content)

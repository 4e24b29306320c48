"""Data sets in .npz files: arrays of pictures, or picture files end to end."""

import functools
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfpriv.shuffling import codec, pipeline
from tfpriv.shuffling.keys import CHECK_BYTES, Key
from tfpriv.shuffling.pictures import new_nonces, shuffle, unshuffle
from tfpriv.shuffling.pipeline import Progress, ShufflingSummary
from tfpriv.support.files import parse_json, read_arrays
from tfpriv.support.outputs import atomic_file

MARK = "tfpriv_shuffling"  # the array that a protected data set has more
_VERSION = 1
_NONCES, _BYTES, _OFFSETS = "_nonces", "_bytes", "_offsets"
_AT_ONCE = 1024  # pictures of an array
_FLAT = 64  # numbers of a row that may be a picture's


def protect(
    source: Path,
    output: Path,
    key: Key,
    *,
    fixed: bool = False,
    check_value: bool = False,
    progress: Progress = None,
) -> ShufflingSummary:
    """Shuffles the pictures of a data set.

    Pictures are arrays `(n, height, width, 1 to 4)` or `(n, height, width)`, and files
    end to end: `NAME_bytes` with their bounds `NAME_offsets`. Arrays stay arrays, with
    their nonces in `NAME_nonces`; files become PNG files, each with its own nonce. All
    else, labels among it, is copied as it is.

    Args:
        source: An .npz file without Python objects.
        output: The .npz file to write.
        key: The secret key.
        fixed: One permutation for all pictures of a size; else one for each picture.
        check_value: Store the key's check value.
        progress: `None`, or a function called with `(done, total)` now and then.

    Returns:
        What was done. Bad picture files are left out, and so is what the data set's
        other arrays `NAME_...` hold of them.

    Raises:
        ValueError: Not a data set, protected already, without pictures, or with an
            array that may hold pictures in another layout.
    """
    arrays = read_arrays(source)
    if MARK in arrays:
        raise ValueError(f"The data set is protected already. Received: {source}")
    files, pictures, copied = _sorted_out(arrays, source)
    mark = {"version": _VERSION, "files": files, "arrays": pictures, "fixed": fixed}
    if check_value:
        mark["check"] = key.check_value().hex()
    convert = functools.partial(
        codec.protect, key=key, fixed=fixed, check_value=check_value
    )
    failures, done = [], 0
    for name in files:
        done += _convert_files(
            arrays, name, source, codec.read_plain, convert, failures, progress
        )
    for name in pictures:
        nonces = None if fixed else new_nonces(len(arrays[name]))
        arrays[name] = _moved(shuffle, arrays[name], key, nonces, progress)
        done += len(arrays[name])
        if not fixed:
            arrays[name + _NONCES] = nonces
    arrays[MARK] = np.array(json.dumps(mark))
    _write(output, arrays)
    return ShufflingSummary(done, failures, copied=copied)


def unprotect(
    source: Path, output: Path, key: Key, *, progress: Progress = None
) -> ShufflingSummary:
    """Puts the pictures of a protected data set in order again.

    Args:
        source: What `protect` wrote.
        output: The .npz file to write.
        key: The key that it was protected with.
        progress: `None`, or a function called with `(done, total)` now and then.

    Returns:
        What was done. Bad picture files are left out, as in `protect`.

    Raises:
        ValueError: Not a protected data set, damaged, or protected with another key
            (which only a check value tells).
    """
    arrays = read_arrays(source)
    mark = _mark(arrays, source)
    if "check" in mark and not key.matches(bytes.fromhex(mark["check"])):
        raise ValueError(f"This is not the key of the data set. Received: {source}")
    read = functools.partial(codec.read_protected, key=key)
    convert = functools.partial(codec.unprotect, key=key)
    failures, done = [], 0
    for name in mark["files"]:
        done += _convert_files(arrays, name, source, read, convert, failures, progress)
    for name in mark["arrays"]:
        nonces = None if mark["fixed"] else arrays.pop(name + _NONCES)
        arrays[name] = _moved(unshuffle, arrays[name], key, nonces, progress)
        done += len(arrays[name])
    del arrays[MARK]
    _write(output, arrays)
    return ShufflingSummary(done, failures, unchecked=0 if "check" in mark else done)


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    # As `np.savez`, which takes no array of the name `file`.
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _sorted_out(arrays, source) -> tuple[list[str], list[str], tuple[str, ...]]:
    """Names of picture files, of arrays of pictures, and of what is neither."""
    files, pictures, copied = [], [], []
    for name, array in arrays.items():
        stem = name.removesuffix(_BYTES)
        if stem != name and stem + _OFFSETS in arrays:
            files.append(stem)
        elif _is_pictures(array):
            pictures.append(name)
        elif array.ndim > 3 or (
            array.dtype == np.uint8 and array.ndim == 2 and array.shape[1] >= _FLAT
        ):
            raise ValueError(
                "An array may hold pictures, in a layout in which they would stay "
                "readable. Expected (n, height, width, channels) or (n, height, "
                f"width). Received: {name} of shape {array.shape} in {source}"
            )
        elif name.removesuffix(_OFFSETS) + _BYTES not in arrays:
            copied.append(name)
    if not files and not pictures:
        raise ValueError(
            "The data set holds no pictures: neither arrays (n, height, width, "
            "channels) nor files NAME_bytes with NAME_offsets. Received: "
            f"{source} with {', '.join(arrays) or 'nothing'}"
        )
    taken = [name + _NONCES for name in pictures if name + _NONCES in arrays]
    if taken:
        raise ValueError(
            f"The name is needed for nonces. Received: {taken} in {source}"
        )
    return files, pictures, tuple(copied)


def _is_pictures(array: np.ndarray) -> bool:
    if array.dtype.kind not in "uifb" or 0 in array.shape[1:]:
        return False
    channels = array.shape[-1] if array.ndim else 0
    return (array.ndim == 4 and channels <= 4) or (array.ndim == 3 and channels > 4)


def _moved(move: Callable, array, key, nonces, progress) -> np.ndarray:
    """Moves the pixels of an array of pictures, a part at a time."""
    moved = np.empty_like(array)
    pixels = array if array.ndim == 4 else array[..., None]
    for first in range(0, len(array), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        rows = None if nonces is None else nonces[part]
        moved[part] = move(pixels[part], key, rows).reshape(moved[part].shape)
        if progress:
            progress(min(first + _AT_ONCE, len(array)), len(array))
    return moved


def _convert_files(arrays, name, source, read, convert, failures, progress) -> int:
    """Replaces picture files by others, in place; returns how many there are now."""
    content, offsets = checked_files(arrays, name, source)
    results: list[bytes | None] = [None] * (len(offsets) - 1)

    def read_file(i):
        file = io.BytesIO(content[offsets[i] : offsets[i + 1]].tobytes())
        return read(file, name=f"{source}, {name} {i}")

    failures += pipeline.run(
        range(len(results)), read_file, convert, results.__setitem__, progress
    )
    kept = np.array([result is not None for result in results], bool)
    written = [result for result in results if result is not None]
    for other, array in arrays.items():
        if other.startswith(f"{name}_") and array.ndim and len(array) == len(results):
            arrays[other] = array[kept]
    arrays[name + _BYTES] = np.frombuffer(b"".join(written), np.uint8)
    arrays[name + _OFFSETS] = np.cumsum([0, *map(len, written)], dtype=np.int64)
    return len(written)


def checked_files(arrays: dict[str, np.ndarray], name: str, source):
    """The bytes and the bounds of files that lie end to end in an archive.

    Args:
        arrays: Of the archive; `{name}_bytes` and `{name}_offsets` are among them.
        name: Of the files.
        source: What the archive is called in errors.

    Returns:
        uint8 `(bytes,)`, and ascending whole numbers `(files + 1,)`.

    Raises:
        ValueError: They are anything else.
    """
    content, offsets = arrays[name + _BYTES], arrays[name + _OFFSETS]
    valid = (
        content.dtype == np.uint8
        and content.ndim == offsets.ndim == 1
        and offsets.dtype.kind in "iu"
        and len(offsets)
        and offsets[0] >= 0
        and offsets[-1] <= len(content)
        and (offsets[1:] >= offsets[:-1]).all()
    )
    if not valid:
        raise ValueError(
            f"{name}{_OFFSETS} must be the ascending bounds of the files in the uint8 "
            f"array {name}{_BYTES}. Received: {source}"
        )
    return content, offsets


def _mark(arrays, source) -> dict:
    """What a protected data set says of itself, with the arrays that it speaks of."""
    if MARK not in arrays:
        raise ValueError(f"The data set is not protected. Received: {source}")
    try:
        mark = parse_json(str(arrays[MARK]))
        if mark["version"] != _VERSION:
            raise ValueError(f"version {mark['version']} is not {_VERSION}")
        if len(bytes.fromhex(mark.get("check", "00" * CHECK_BYTES))) != CHECK_BYTES:
            raise ValueError("check value")
        needed = [stem + end for stem in mark["files"] for end in (_BYTES, _OFFSETS)]
        needed += mark["arrays"]
        if not mark["fixed"]:
            needed += [name + _NONCES for name in mark["arrays"]]
        missing = set(needed) - set(arrays)
        if missing or not all(_is_pictures(arrays[name]) for name in mark["arrays"]):
            raise ValueError(f"missing or changed: {missing or mark['arrays']}")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            "What is stored with the data set for the key's owner is damaged or of a "
            f"later version. Received: {source} ({error})"
        ) from error
    return mark

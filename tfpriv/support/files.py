"""Reads files of any origin: arrays, tables, JSON; finds copies."""

import contextlib
import csv
import hashlib
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

_END_BYTES = 4096


def same_contents(paths: Iterable[str | os.PathLike]) -> list[list[Path]]:
    """Finds files that are copies of each other.

    Only files of equal size are read, and whole only where they end alike.

    Args:
        paths: Files.

    Returns:
        For each content that comes several times its files, in the order given.
    """
    groups = [[Path(path) for path in paths]]
    for property_of in (os.path.getsize, _end, _digest):
        groups = [part for group in groups for part in _alike(group, property_of)]
    return groups


def _alike(items, property_of):
    """Groups of two or more items that have a property in common."""
    found = defaultdict(list)
    for item in items:
        found[property_of(item)].append(item)
    return [group for group in found.values() if len(group) > 1]


def _end(path):
    with open(path, "rb") as file:
        file.seek(-min(os.path.getsize(path), _END_BYTES), os.SEEK_END)
        return file.read()


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def same_rows(array: np.ndarray) -> list[list[int]]:
    """Finds rows of an array that are equal, byte for byte.

    Args:
        array: Array of at least one axis.

    Returns:
        For each row that comes several times its indices, ascending.
    """
    return _alike(
        range(len(array)), lambda i: hashlib.sha256(array[i].tobytes()).digest()
    )


def identity(path: str | os.PathLike) -> tuple[int, int] | None:
    """What the system knows a file or folder by, whatever its name.

    Returns:
        `None` if there is no such file.
    """
    with contextlib.suppress(OSError):
        status = os.stat(path)
        return status.st_dev, status.st_ino
    return None


def read_array(path: str | os.PathLike) -> np.ndarray:
    """Reads the array of an .npy file; Python objects, which may run code, never.

    Args:
        path: The file.

    Returns:
        The array.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, holds Python objects, or more than the memory.
    """
    with _numpy_errors(path):
        array = np.load(path, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            array.close()
            raise ValueError("It is an archive of arrays, not an array.")
        return _readable(array)


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads all arrays of an .npz file; Python objects, which may run code, never.

    Args:
        path: The file.

    Returns:
        The arrays by their names.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, holds Python objects, or more than the memory.
    """
    with _numpy_errors(path):
        data = np.load(path, allow_pickle=False)
        if isinstance(data, np.ndarray):
            raise ValueError("It is an array, not an archive of arrays.")
        with data:
            arrays = {name: data[name] for name in data.files}
        others = [n for n, array in arrays.items() if not isinstance(array, np.ndarray)]
        if others:  # which NumPy hands on as bytes
            raise ValueError(f"It holds other files: {others}.")
        return {name: _readable(array) for name, array in arrays.items()}


def _readable(array):
    """The array, if its texts are ones: their code points are whatever a file says."""
    if array.size and not array.dtype.itemsize:  # any number of them is in no bytes
        raise ValueError(f"It holds {array.size} elements of no size.")
    if array.dtype.kind == "U" and array.size:
        numbers = np.ascontiguousarray(array).view(f"{array.dtype.byteorder}u4")
        if numbers.max() > sys.maxunicode:
            raise ValueError("It holds characters that do not exist.")
    return array


def is_plain_name(name: str) -> bool:
    """Whether a file's name leads to no other folder than the one it is put behind."""
    return Path(name).name == name and name not in ("", "..")


@contextlib.contextmanager
def _numpy_errors(path):
    """One error for a file that NumPy cannot read, and that names it."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no such file. Received: {path}")
    try:
        yield
    except Exception as error:  # damage is whatever NumPy's readers happen to raise
        raise ValueError(
            "The arrays cannot be read: the file is damaged, or holds Python objects, "
            f"which may run code. Received: {path} ({error})"
        ) from error


def read_csv(lines: Iterable[str], name: str | os.PathLike):
    """The rows of a table of whatever origin, each with the number of its line.

    Args:
        lines: Of the table, or a file opened with `newline=""`.
        name: What it is called in errors.

    Raises:
        ValueError: It is no table.
    """
    rows = csv.reader(lines)
    try:
        for row in rows:
            yield rows.line_num, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"This is no table. Received: {name} ({error})") from error


def parse_json(text: str | bytes):
    """What a JSON text of whatever origin says.

    Raises:
        ValueError: It is no JSON, or nested more deeply than can be read.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("It is nested too deeply.") from error


def read_json(path: str | os.PathLike) -> dict:
    """A JSON file's object.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no such file. Received: {path}")
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"This is no JSON. Received: {path} ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"Expected a JSON object. Received: {path}")
    return found

"""Results appear whole or not at all."""

import contextlib
import csv
import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np

_END_BYTES = 4096


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike):
    """A path of the same ending, for what writes a file by its name.

    Args:
        path: Where the file goes when it is complete; one that is there is replaced.

    Yields:
        A path beside it, at which there is nothing yet.
    """
    path = Path(path)
    partial = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike, *, private: bool = False):
    """A binary file that appears under its name only when it is complete.

    Args:
        path: Where to; a file that is there is replaced.
        private: Whether its owner alone may read it.

    Yields:
        The file, open for writing.
    """
    # As `open` does it, but for one that is there: the system applies the umask.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    mode = 0o600 if private else 0o666
    with (
        atomic_path(path) as partial,
        os.fdopen(os.open(partial, flags, mode), "wb") as file,
    ):
        yield file


def sync_folder(folder: Path) -> None:
    """Makes creations and renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Replaces a file by `data`, whole and durable, or leaves it as it was.

    Args:
        path: the file; its folder must exist.
        data: the new content.

    Raises:
        OSError: if it cannot be written. Then the old file stands, and no other.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(partial, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def check_new(path: str | os.PathLike) -> Path:
    """Finds out before the work whether a new folder can take its name after it.

    Args:
        path: Where the folder is to be; an empty one, or a link to one, may be there.

    Returns:
        The path that is meant, without links.

    Raises:
        FileExistsError: There is something in `path` already, or it must stay: the
            current folder, or a mounted one.
        NotADirectoryError, PermissionError: Nothing can be made there.
    """
    real = Path(os.path.realpath(path))
    if os.path.lexists(real) and not (real.is_dir() and not any(real.iterdir())):
        raise FileExistsError(
            f"The output exists already; name another one. Received: {path}"
        )
    if real.is_dir() and (os.path.ismount(real) or real.samefile(os.curdir)):
        raise FileExistsError(
            "This folder cannot be replaced by a whole one; name one inside it. "
            f"Received: {path}"
        )
    _check_writable(real.parent, path)
    return real


def check_output(path: str | os.PathLike, *inputs: str | os.PathLike | None) -> None:
    """Raises `ValueError` if what is written would replace what is read.

    Args:
        path: The file or folder to write.
        *inputs: Files and folders that are read, `None` for one that is not given. The
            output is refused if it is one of them, by whatever name or link, or the
            folder in which such a file lies.
    """
    place = identity(path)
    for given in inputs if place else ():
        if given is not None and place in _places(given):
            raise ValueError(
                "The output would replace what is read. Expected another one. "
                f"Received: output={path}, input={given}"
            )


def check_output_file(
    path: str | os.PathLike, *inputs: str | os.PathLike | None
) -> None:
    """Finds out before the work whether a file can be written after it.

    Args:
        path: The file; one that is there may be replaced.
        *inputs: As in `check_output`.

    Raises:
        ValueError: It is one of the inputs.
        OSError: It is a folder, or its own folder is not there or cannot be written.
    """
    check_output(path, *inputs)
    if Path(path).is_dir():
        raise IsADirectoryError(f"Expected a file to write. Received: a folder, {path}")
    folder = Path(os.path.abspath(path)).parent
    if not os.path.lexists(folder):
        raise FileNotFoundError(
            f"There is no such folder: {folder}. Received: output={path}"
        )
    _check_writable(folder, path)


def check_holds_only(folder: str | os.PathLike, names: Collection[str]) -> None:
    """Raises `FileExistsError` if there is something of another name in a folder."""
    folder = Path(folder)
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if others := sorted(found - set(names)):
        raise FileExistsError(
            f"Other things lie in this folder. Expected a new one. Received: {folder}, "
            f"which holds {others[:5]}"
        )


def remove_only(folder: str | os.PathLike, names: Iterable[str]) -> None:
    """Removes files of these names from a folder, and the folder if it is empty."""
    for name in names:
        Path(folder, name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # what else is there stays
        os.rmdir(folder)


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


def _places(path):
    """What a file or folder is known by, and a file's folders, behind a link too."""
    folders = {os.path.dirname(f(path)) for f in (os.path.abspath, os.path.realpath)}
    return {identity(p) for p in ({path} if os.path.isdir(path) else {path} | folders)}


def _check_writable(folder, output):
    """Raises an `OSError` if nothing can be made in a folder that is, or is to be."""
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(
            f"Expected a folder to write into. Received: output={output}, but {folder} "
            "is none"
        )
    effective = os.access in os.supports_effective_ids
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=effective):
        raise PermissionError(
            f"This folder cannot be written into: {folder}. Received: output={output}"
        )


@contextlib.contextmanager
def new_directory(path: str | os.PathLike):
    """A folder that takes its name only when it is complete.

    Args:
        path: The folder to make; it must not exist yet, or be empty.

    Yields:
        A temporary folder beside it, to be filled.

    Raises:
        FileExistsError: There is something in `path` already.
    """
    path = check_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    work.chmod(0o755)
    try:
        yield work
        if path.is_dir():
            path.rmdir()
        work.rename(path)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


@contextlib.contextmanager
def moved_aside(folder: Path):
    """An earlier folder makes room, and comes back if what replaces it does not come.

    Its new name is no temporary folder's: if the process is killed, it is there.

    Args:
        folder: What may be there, and is removed when the work is done.
    """
    if not folder.is_dir():
        yield
        return
    old = folder.with_name(f".{secrets.token_hex(4)}.{folder.name}")
    try:
        folder.rename(old)
        yield
    except BaseException:
        if not os.path.lexists(folder):
            old.rename(folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


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


def write_json(path: str | os.PathLike, data) -> None:
    """Writes readable JSON, whole or not at all; infinity is written as a string."""
    text = json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_file(path) as file:
        file.write((text + "\n").encode())


def _plain(data):
    if isinstance(data, dict):
        return {str(k): _plain(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(v) for v in data]
    if isinstance(data, float) and data in (float("inf"), float("-inf")):
        return "infinity" if data > 0 else "-infinity"
    return str(data) if isinstance(data, os.PathLike) else data

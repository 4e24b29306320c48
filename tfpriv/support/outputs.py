"""Outputs: new files and folders, resumed ones and replaced ones, whole or not at all.

What is written has a hidden name until it is complete: `atomic_file` and `atomic_path`
write one file, `new_directory` and `replaced_directory` a folder. A folder in which a
job can be resumed stores the job's settings in a file (`take_up`).
"""

import contextlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from tfpriv.support.files import identity, read_json

SETTINGS = "settings.json"


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike, *, new: bool = False):
    """A path of the same ending, for what writes a file by its name.

    Args:
        path: Where the file goes when it is complete; an existing one is replaced.
        new: Whether an existing one raises `FileExistsError` instead.

    Yields:
        A path beside it, at which there is nothing yet.
    """
    path = Path(path)
    partial = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield partial
        if new:
            os.link(partial, path)  # unlike a rename, it replaces nothing
        else:
            os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


@contextlib.contextmanager
def atomic_file(
    path: str | os.PathLike,
    *,
    private: bool = False,
    durable: bool = False,
    new: bool = False,
):
    """A binary file that appears under its name only when it is complete.

    Args:
        path: The file; its folder must exist.
        private: Whether only its owner may read it, whatever the umask is.
        durable: Whether it is on the disk, and its name, when this returns.
        new: As for `atomic_path`.

    Yields:
        The file, open for writing.

    Raises:
        OSError: It cannot be written. Then an existing file stands unchanged.
    """
    # As `open` does it, except for an existing file: the system applies the umask.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with atomic_path(path, new=new) as partial:
        descriptor = os.open(partial, flags, 0o600 if private else 0o666)
        with os.fdopen(descriptor, "wb") as file:
            if private:
                os.fchmod(descriptor, 0o600)
            yield file
            if durable:
                file.flush()
                os.fsync(descriptor)
    if durable:
        sync_folder(Path(path).parent)


def sync_folder(folder: Path) -> None:
    """Makes creations and renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


@contextlib.contextmanager
def replaced_directory(folder: Path):
    """A path beside a folder, for what makes a folder by its name and replaces it.

    Args:
        folder: What may exist. It stays until the new one is complete.

    Yields:
        A path at which there is nothing yet.
    """
    new = folder.with_name(f".{secrets.token_hex(4)}.{folder.name}")
    try:
        yield new
        with moved_aside(folder):
            new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def is_taken_up(path: str | os.PathLike) -> bool:
    """Whether a folder has the file by which its results or its training are known.

    Args:
        path: of that file. Without it, the folder must be new, or empty.

    Raises:
        FileExistsError: there are other files, or there is no folder.
    """
    folder = Path(path).parent
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"The output is no folder. Received: {folder}")
    # Names with a dot are of processes that were killed while they wrote.
    others = folder.is_dir() and any(
        not other.name.startswith(".") for other in folder.iterdir()
    )
    if Path(path).is_file():  # looked for last: another process may write it just now
        return True
    if others:
        raise FileExistsError(
            f"The output folder holds other files; name another one. Received: {folder}"
        )
    return False


def check_settings(path: str | os.PathLike, settings: Mapping) -> None:
    """Refuses a folder whose results were made in another way, or that holds others.

    Args:
        path: of the file that says how results are made, in their folder.
        settings: what decides about them.

    Raises:
        FileExistsError: there are other files, or there is no folder.
        ValueError: the folder's results were made with other settings.
    """
    path, settings = Path(path), json.loads(json.dumps(settings))  # as they come back
    if not is_taken_up(path):
        return
    found = read_json(path)
    other = sorted(
        n for n in settings.keys() | found if settings.get(n) != found.get(n)
    )
    if other:
        raise ValueError(
            "The folder's results were made with other settings, and would be mixed; "
            f"name another one. Received: {path.parent}, where {', '.join(other)} "
            "differed"
        )


def take_up(path: str | os.PathLike, settings: Mapping) -> None:
    """Writes what a folder's results are made with; goes on with a folder of the same.

    Args:
        path: as for `check_settings`; its folder is created if need be.
        settings: as for `check_settings`, of which it raises the errors.
    """
    path = Path(path)
    check_settings(path, settings)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, settings)

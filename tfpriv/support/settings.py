"""What a folder's results are made with: a file among them, so that none are mixed."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from tfpriv.support.files import read_json, write_json

SETTINGS = "settings.json"


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

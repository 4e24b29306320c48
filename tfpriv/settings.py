"""What a folder's results are made with: a file among them, so that none are mixed."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from tfpriv.files import read_json, write_json

SETTINGS = "settings.json"


def check_settings(path: str | os.PathLike, settings: Mapping) -> None:
    """Refuses a folder whose results were made in another way, or that holds others.

    Args:
        path: of the file that says how results are made, in their folder.
        settings: what decides about them.

    Raises:
        FileExistsError: there are other files, or there is no folder.
        ValueError: the folder's results were made with other settings.
    """
    path, settings = Path(path), _as_read(settings)
    if path.parent.exists() and not path.parent.is_dir():
        raise FileExistsError(f"The output is no folder. Received: {path.parent}")
    # Another process may write the file between two looks: the file comes last.
    others = _visible(path.parent)
    if not path.is_file():
        if others:
            raise FileExistsError(
                "The output folder holds other files; name another one. "
                f"Received: {path.parent}"
            )
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


def _as_read(settings):
    return json.loads(json.dumps(settings))


def _visible(folder) -> bool:
    """Whether a folder holds anything; names with a dot are of killed processes."""
    return folder.is_dir() and any(
        not path.name.startswith(".") for path in folder.iterdir()
    )

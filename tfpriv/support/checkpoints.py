"""Where the weights lie that come with tfpriv."""

import os
import sysconfig
from pathlib import Path

import tfpriv

_PLACES = (
    Path(tfpriv.__file__).parents[1] / "checkpoints",
    *(
        Path(sysconfig.get_path("data", scheme)) / "share" / "tfpriv" / "checkpoints"
        for scheme in (sysconfig.get_default_scheme(), "posix_user")
    ),
)


def folder(name: str) -> Path:
    """The folder of weights that come with tfpriv.

    Args:
        name: For instance `"captioning_public"`, or `"faces"`.

    Raises:
        FileNotFoundError: It is neither beside the package (a clone of the
            repository) nor under `share/tfpriv` of the environment.
    """
    found = _find(name)
    if found is not None:
        return found
    raise FileNotFoundError(
        f"The checkpoint {name!r} is missing; clone the repository, which has it. "
        f"Received: none in {[str(place) for place in _PLACES]}"
    )


def path_of(name: str | os.PathLike) -> Path:
    """A path of one's own, or, where there is nothing, weights that come with tfpriv.

    Args:
        name: A path, or a name as for `folder`.
    """
    return Path(name) if Path(name).exists() else _find(name) or Path(name)


def _find(name: str | os.PathLike) -> Path | None:
    return next((p / name for p in _PLACES if (p / name).is_dir()), None)

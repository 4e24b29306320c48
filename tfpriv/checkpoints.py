"""Where the weights lie that come with tfpriv."""

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
    for place in _PLACES:
        if (place / name).is_dir():
            return place / name
    raise FileNotFoundError(
        f"The checkpoint {name!r} is missing; clone the repository, which has it. "
        f"Received: none in {[str(place) for place in _PLACES]}"
    )

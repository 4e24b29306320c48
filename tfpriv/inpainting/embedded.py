"""The weights of system 4 that come with tfpriv.

`checkpoints/manifest.json` says how they were made.
"""

import contextlib
import os
from pathlib import Path

from tfpriv.support import checkpoints

FOLDER = "inpainting"
DRAWN = "drawn"  # `--facenet drawn` is the embedded FaceNet, of drawn faces
INPAINTER, FACENET = "inpainter", "facenet.keras"
_INSTEAD = {
    INPAINTER: "`--inpainter` takes blur, pixelate, black, or a folder of diffusers",
    FACENET: "`--facenet` takes facenet-pytorch's .pt, or a .keras file",
}


def path(name: str) -> Path:
    """Where embedded weights lie.

    Args:
        name: `INPAINTER`, a folder of diffusers, or `FACENET`.

    Raises:
        FileNotFoundError: they are not there; says what may be named instead.
    """
    with contextlib.suppress(FileNotFoundError):
        found = checkpoints.folder(FOLDER) / name
        if found.exists():
            return found
    raise FileNotFoundError(
        f"No {name} comes with this tfpriv; {_INSTEAD[name]}. Received: none"
    )


def facenet_path(file: str | os.PathLike | None) -> Path:
    """The file of a FaceNet.

    Args:
        file: a file, or `"drawn"` or None for the embedded FaceNet.

    Raises:
        FileNotFoundError: the embedded one is missing.
    """
    return path(FACENET) if file is None or str(file) == DRAWN else Path(file)


def facenet(file: str | os.PathLike | None):
    """The FaceNet of a file, or the embedded one, which knows drawn faces only.

    Args:
        file: as for `facenet_path`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: as `load_facenet` raises it.
    """
    from tfpriv.networks.facenet.loading import load_facenet

    return load_facenet(facenet_path(file))


def seen(file: str | os.PathLike | None, size: int | None) -> int:
    """At how many pixels GradCAM's network sees a picture.

    Args:
        file: as for `facenet_path`.
        size: what was asked for, or None: 512 as published, and for the embedded
            network, which never saw faces of that size, those it was trained with.
    """
    from tfpriv.inpainting.masks.kinds import Settings
    from tfpriv.networks.facenet.network import SIZE

    if size is None:
        size = SIZE if file is None or str(file) == DRAWN else Settings().seen
    return size

"""The weights of drawn faces that come with tfpriv: generator, networks, boundaries.

`checkpoints/manifest.json` says how they were made, with every command and figure.
"""

from pathlib import Path

from tfpriv.support import checkpoints

FOLDER = "faces"
GENERATOR, READER, ENCODER = "generator.keras", "reader.keras", "encoder.keras"


def path(name: str) -> Path:
    """A file of the embedded weights.

    Args:
        name: `GENERATOR`, `READER`, `ENCODER`, or a boundary's: `age.npz`.

    Raises:
        FileNotFoundError: there is none.
    """
    file = checkpoints.folder(FOLDER) / name
    if not file.is_file():
        kind = file.suffix  # of boundaries, where one is asked for
        there = sorted(other.name for other in file.parent.glob(f"*{kind}"))
        raise FileNotFoundError(
            f"The embedded weights are {', '.join(there)}. Received: {name}"
        )
    return file

"""What a folder of anonymised photographs says about itself.

`boxes.csv` has the faces of every photograph that was looked at, `review.txt` the
photographs that somebody should look at, and `settings.json` how all were made. Of a
share of many, the first two have its number: `boxes-1-of-4.csv`.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from tfpriv.inpainting.photos import boxes
from tfpriv.inpainting.photos.boxes import Box
from tfpriv.support.outputs import SETTINGS, atomic_file, take_up


def named(name: str, share: tuple[int, int]) -> str:
    """What a file is called in a share's run.

    Args:
        name: its name where one run does all.
        share: as for `Record`.
    """
    if share[1] == 1:
        return name
    stem, _, ending = name.partition(".")
    return f"{stem}-{share[0]}-of-{share[1]}.{ending}"


class Record:
    """The files beside results, in a folder that one or several runs fill.

    Faces are on the disk before their photograph's result is, so that there is none
    without them, whenever the process ends.

    Args:
        folder: of the results; created if need be.
        settings: what decides about the results.
        share: (1, 1), or which of how many shares of the photographs this is.

    Raises:
        FileExistsError: the folder holds other files.
        ValueError: it was made with other settings, or its files are damaged.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        settings: Mapping,
        share: tuple[int, int] = (1, 1),
    ):
        folder = Path(folder)
        take_up(folder / SETTINGS, settings)
        self._boxes = folder / named("boxes.csv", share)
        self._review = folder / named("review.txt", share)
        self.faces = _whole_lines(self._boxes)

    def keep(self, names: Iterable[str]) -> None:
        """Forgets all photographs but these, whose results are there.

        Those without are looked at again. Faces of the last one may be cut short, if
        the process was killed just then; and what was to be reviewed is not known yet.
        """
        self._review.unlink(missing_ok=True)
        self.faces = {name: self.faces.get(name, []) for name in names}
        self._write()

    def add(self, name: str, faces: list[Box]) -> None:
        """Writes down the faces of a photograph.

        Args:
            name: of its file.
            faces: in it.
        """
        self.faces[name] = faces
        with open(self._boxes, "ab") as file:
            file.write(_bytes(boxes.to_csv({name: faces}, header=False)))

    def finish(self, remarks: Mapping[str, str]) -> None:
        """Puts the faces in order, and writes down what somebody should look at.

        Args:
            remarks: by the names of photographs.
        """
        self.faces = dict(sorted(self.faces.items()))
        self._write()
        # A name may hold the ends of lines.
        lines = [
            "\t".join(" ".join(text.splitlines()) for text in line) + "\n"
            for line in sorted(remarks.items())
        ]
        with atomic_file(self._review) as file:
            file.write(_bytes("".join(lines)))

    def _write(self):
        with atomic_file(self._boxes) as file:
            file.write(_bytes(boxes.to_csv(self.faces)))


def _whole_lines(path) -> dict[str, list[Box]]:
    if not path.is_file():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    return boxes.from_csv(whole.decode(errors="surrogateescape"), path) if whole else {}


def _bytes(text) -> bytes:
    return text.encode(errors="surrogateescape")

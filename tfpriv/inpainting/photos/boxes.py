"""Where faces are in photographs, as files: written beside results, and read again."""

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tfpriv.support.files import parse_json, read_csv

COLUMNS = ("picture", "left", "top", "width", "height", "confidence", "kept", "track")
_NEEDED = COLUMNS[:5]
_LARGEST = 1 << 20  # pixels
_YES = {"": False, "no": False, "yes": True}


class Box(NamedTuple):
    """A face in a photograph.

    Attributes:
        place: (left, top, width, height), in pixels of the upright photograph.
        confidence: the detector's, 0 to 1; None if nobody said.
        kept: whether the face is left as it is.
        track: number of the person in a video; None elsewhere.
    """

    place: tuple[int, int, int, int]
    confidence: float | None = None
    kept: bool = False
    track: int | None = None

    def check_meets(self, shape: tuple[int, ...]) -> None:
        """Raises `ValueError` if no pixel of a (height, width) photograph is in it."""
        left, top, width, height = self.place
        if not (-width < left < shape[1] and -height < top < shape[0]):
            raise ValueError(
                f"A box must meet its photograph of {shape[1]}x{shape[0]} pixels. "
                f"Received: left={left}, top={top}, width={width}, height={height}"
            )


def read(path: str | os.PathLike) -> dict[str, list[Box]]:
    """Reads a file of boxes.

    Args:
        path: .csv with the columns picture, left, top, width, height and, if known,
            confidence, kept ("yes" or "no") and track; a picture without faces has one
            line with nothing but its name. Or .json: an object with a list of
            [left, top, width, height] for each picture. Pictures are called by their
            paths in the folder, with slashes.

    Returns:
        The faces of each picture.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not as it should be; names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of boxes here. Received: {path}")
    if path.suffix.lower() not in (".csv", ".json"):
        raise ValueError(f"A file of boxes ends in .csv or .json. Received: {path}")
    # Names of files are whatever the system has as such.
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    if path.suffix.lower() == ".json":
        return _from_json(text, path)
    return from_csv(text, path)


def from_csv(text: str, name: str | os.PathLike) -> dict[str, list[Box]]:
    """The boxes in the content of a CSV file.

    Args:
        text: several files, one after the other, are one.
        name: what it is called in errors.

    Raises:
        ValueError: as for `read`.
    """
    rows = read_csv(io.StringIO(text, newline=""), name)
    (_, header), found = next(rows, (1, [])), {}
    if tuple(header[:5]) != _NEEDED or not set(header) <= set(COLUMNS):
        raise ValueError(
            f"The columns must be {', '.join(_NEEDED)} and, if known, "
            f"{', '.join(COLUMNS[5:])}. Received: {header} in {name}"
        )
    for number, row in rows:
        if row in ([], header):
            continue
        try:
            values = dict(zip(header, row, strict=True))
            faces = found.setdefault(values.pop("picture"), [])
            if any(values.values()):
                faces.append(_from_row(values))
        except (KeyError, ValueError) as error:
            raise ValueError(
                "Expected a picture's name and whole numbers left, top, width, height. "
                f"Received: line {number} of {name}: {row} ({error})"
            ) from error
    return found


def to_csv(faces: Mapping[str, Iterable[Box]], *, header: bool = True) -> str:
    """The content of a CSV file of boxes.

    Args:
        faces: of each picture; none is a line, too.
        header: whether the columns' names come first.
    """
    with io.StringIO(newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if header:
            writer.writerow(COLUMNS)
        for picture, found in faces.items():
            lines = [_to_row(box) for box in found] or [[""] * (len(COLUMNS) - 1)]
            writer.writerows([picture, *line] for line in lines)
        return file.getvalue()


def _to_row(box):
    confidence = "" if box.confidence is None else f"{box.confidence:.4f}"
    track = "" if box.track is None else box.track
    return [*box.place, confidence, "yes" if box.kept else "no", track]


def _from_row(values):
    confidence, track = values.get("confidence", ""), values.get("track", "")
    return Box(
        _checked([int(values[name]) for name in _NEEDED[1:]]),
        float(confidence) if confidence else None,
        _YES[values.get("kept", "")],
        int(track) if track else None,
    )


def _from_json(text, path):
    try:
        found = parse_json(text)
        if not isinstance(found, dict):
            raise ValueError("no object")
        return {
            picture: [Box(_checked(place)) for place in places]
            for picture, places in found.items()
        }
    except (ValueError, TypeError) as error:
        raise ValueError(
            "Expected a list of [left, top, width, height], whole numbers, for each "
            f"picture. Received: {path} ({error})"
        ) from error


def _checked(numbers) -> tuple[int, int, int, int]:
    left, top, width, height = numbers
    if not all(type(n) is int and abs(n) <= _LARGEST for n in numbers):
        raise ValueError(f"not whole numbers of pixels: {numbers}")
    if width < 1 or height < 1:
        raise ValueError(f"an empty box: {numbers}")
    return left, top, width, height

"""Reads a folder in COCO's own layout, strictly.

DIR/annotations/captions_train2017.json      (or ...2014.json)
DIR/train2017/000000000009.jpg
"""

import dataclasses
from collections import defaultdict
from pathlib import Path

import numpy as np

from tfpriv.captioning.grammar import Scene
from tfpriv.support import images
from tfpriv.support.files import identity, is_plain_name, read_json

YEARS = ("2017", "2014")


@dataclasses.dataclass(frozen=True)
class CaptionSet:
    """Images with their captions; one entry is one privacy unit.

    Args:
        name: Where it came from, for reports.
        ids: Image numbers, ascending; of one that has several, the smallest.
        pictures: Paths, or one uint8 array `(n, height, width, 3)`.
        captions: For each image its captions, in a fixed order.
        scenes: For each image what is really in it, where known, else `None`.
        vocabulary: Name of the public vocabulary that fits, where the data say so.
    """

    name: str
    ids: tuple[int, ...]
    pictures: tuple[Path, ...] | np.ndarray
    captions: tuple[tuple[str, ...], ...]
    scenes: tuple[Scene, ...] | None = None
    vocabulary: str | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def head(self, number: int | None) -> "CaptionSet":
        """The first `number` pictures (all for `None`)."""
        if number is None or number >= len(self):
            return self
        if number < 1:
            raise ValueError(f"`number` must be positive. Received: {number}")
        return dataclasses.replace(
            self,
            ids=self.ids[:number],
            pictures=self.pictures[:number],
            captions=self.captions[:number],
            scenes=self.scenes and self.scenes[:number],
        )

    def arrays(
        self, size: int, *, start: int = 0, stop: int | None = None, progress=None
    ) -> np.ndarray:
        """Pictures `start` to `stop` as uint8 `(n, size, size, 3)`."""
        part = self.pictures[start:stop]
        if isinstance(part, np.ndarray):
            if part.shape[1:3] != (size, size):
                raise ValueError(
                    f"These pictures were loaded at another size than {size}. "
                    f"Received: shape={part.shape}"
                )
            return part
        return images.load_many(part, size, progress=progress)


def load_coco(folder: str | Path, split: str = "train") -> CaptionSet:
    """Reads captions and finds the images of one split.

    A file is one image with the captions of all its image ids, under whatever names
    (links) it is listed.

    Args:
        folder: Folder that holds `annotations/` and the images' folder.
        split: `"train"`, `"val"`, or with the year: `"train2017"`, `"val2014"`.

    Returns:
        `CaptionSet` of paths; the images are decoded later.

    Raises:
        FileNotFoundError: The folder, the caption file or an image is missing.
        ValueError: The caption file is malformed or contradicts itself.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no data folder here. Received: {folder}")
    file, name = _caption_file(folder, split)
    document = _read_document(file)
    paths = _picture_paths(folder / name, document["images"], file)
    units = _units(paths)
    captions = _captions_by_unit(document["annotations"], units, file)
    ids = tuple(sorted(captions))
    return CaptionSet(
        name=f"{folder}:{name}",
        ids=ids,
        pictures=tuple(paths[i] for i in ids),
        captions=tuple(captions[i] for i in ids),
        scenes=_read_scenes(file.with_name(f"scenes_{name}.json"), ids),
        vocabulary=_vocabulary(document.get("info"), file),
    )


def _vocabulary(info, file):
    """The name of the data's vocabulary; most data sets do not say any."""
    name = info.get("vocabulary") if isinstance(info, dict) else None
    if name is not None and not isinstance(name, str):
        raise ValueError(
            f"The vocabulary's name must be a text. Received: {name!r} in {file}"
        )
    return name


def _caption_file(folder, split):
    if split in ("train", "val"):
        names = [split + year for year in YEARS]
    elif split in [s + y for s in ("train", "val") for y in YEARS]:
        names = [split]
    else:
        raise ValueError(
            "`split` must be 'train' or 'val', with or without the year (2017, 2014). "
            f"Received: split={split!r}"
        )
    for name in names:
        file = folder / "annotations" / f"captions_{name}.json"
        if file.is_file():
            return file, name
    expected = " or ".join(f"annotations/captions_{name}.json" for name in names)
    raise FileNotFoundError(
        f"The caption file is missing: expected {expected}. Received: {folder}"
    )


def _read_document(file):
    document = read_json(file)
    for key in ("images", "annotations"):
        if not isinstance(document.get(key), list):
            raise ValueError(
                "The caption file must hold a JSON object with the lists 'images' and "
                f"'annotations'; {key!r} is missing. Received: {file}"
            )
    return document


def _field(row, key, kind, file):
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(
            f"Every entry must have {key!r} of type {kind.__name__}. "
            f"Received: {row!r} in {file}"
        )
    return value


def _picture_paths(folder, rows, file):
    paths = {}
    for row in rows:
        number = _field(row, "id", int, file)
        name = _field(row, "file_name", str, file)
        if number in paths:
            raise ValueError(f"Picture id {number} appears twice. Received: {file}")
        if not is_plain_name(name):
            raise ValueError(
                "A picture's `file_name` must be a plain name. "
                f"Received: {name!r} in {file}"
            )
        paths[number] = folder / name
    present = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
    missing = [p for p in paths.values() if p.name not in present]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} pictures are missing. "
            f"Received: {file}; first missing: {missing[0]}"
        )
    return paths


def _units(paths):
    """For each image id the smallest id of the same file."""
    first = {}
    return {i: first.setdefault(identity(paths[i]), i) for i in sorted(paths)}


def _captions_by_unit(rows, units, file):
    """Captions of each unit in the order of their own ids."""
    found = defaultdict(list)
    for row in rows:
        image = _field(row, "image_id", int, file)
        if image not in units:
            raise ValueError(
                f"A caption belongs to picture {image}, which is not among 'images'. "
                f"Received: {file}"
            )
        order = _field(row, "id", int, file)
        found[units[image]].append((order, _field(row, "caption", str, file).strip()))
    without = sorted({*units.values()} - set(found))
    if without:
        raise ValueError(
            f"{len(without)} pictures have no caption, the first is {without[0]}. "
            f"Received: {file}"
        )
    return {i: tuple(text for _, text in sorted(group)) for i, group in found.items()}


def _read_scenes(file, ids):
    """What is really in generated pictures; other data sets have no such file."""
    if not file.is_file():
        return None
    try:
        data = read_json(file)
        return tuple(Scene.from_json(data[str(i)]) for i in ids)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"The scene file does not fit the caption file. Received: {file} ({error})"
        ) from error

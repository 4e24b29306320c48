"""COCO captions from TensorFlow Datasets (COCO 2014 in Karpathy's splits)."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from tfpriv import images
from tfpriv.captioning.coco import CaptionSet

SPLITS = {"train": "train", "restval": "restval", "val": "val", "test": "test"}


def load_tfds(
    split: str = "train",
    *,
    image_size: int,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    download: bool = True,
) -> CaptionSet:
    """Reads a split of TFDS' `coco_captions` into memory at the model's size.

    Args:
        split: `"train"` (82,783 pictures), `"restval"` (30,504), `"val"` or `"test"`.
        image_size: Height and width in pixels.
        data_dir: TFDS' own folder; default `~/tensorflow_datasets`.
        limit: At most so many pictures, in TFDS' order.
        download: Whether TFDS may download and prepare what is missing (18 GB).

    Raises:
        ValueError: Unknown split, or an example without captions.
        FileNotFoundError: The data are not prepared and `download` is false.
    """
    import tensorflow_datasets as tfds

    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {list(SPLITS)}. Received: {split!r}")
    builder = tfds.builder("coco_captions", data_dir=data_dir)
    if download:
        builder.download_and_prepare()
    elif not Path(builder.data_dir).is_dir():
        raise FileNotFoundError(
            "TFDS has not prepared `coco_captions`, and downloading is off. "
            f"Received: data_dir={builder.data_dir}"
        )
    read = split if limit is None else f"{split}[:{limit}]"
    dataset = builder.as_dataset(split=read, shuffle_files=False)
    return from_examples(tfds.as_numpy(dataset), image_size, f"tfds:{read}")


def from_examples(examples: Iterable[dict], image_size: int, name: str) -> CaptionSet:
    """Examples with the features of `coco_captions` to a `CaptionSet`.

    Args:
        examples: Dicts with `image` `(height, width, 3)`, `image/id`, and `captions`
            with the lists `id` and `text`.
        image_size: Height and width in pixels.
        name: For reports.
    """
    rows = []
    for example in examples:
        number = int(example["image/id"])
        captions = _captions(example["captions"])
        if not captions:
            raise ValueError(
                f"A picture has no caption. Received: image/id={number} of {name}"
            )
        picture = images.to_array(Image.fromarray(example["image"]), image_size)
        rows.append((number, captions, picture))
    if not rows:
        raise ValueError(f"The data set is empty. Received: {name}")
    rows.sort(key=lambda row: row[0])
    return CaptionSet(
        name=name,
        ids=tuple(number for number, _, _ in rows),
        pictures=np.stack([picture for _, _, picture in rows]),
        captions=tuple(captions for _, captions, _ in rows),
    )


def _captions(feature):
    """Texts in the order of their ids."""
    pairs = zip(feature["id"], feature["text"], strict=True)
    return tuple(text.decode("utf-8").strip() for _, text in sorted(pairs))

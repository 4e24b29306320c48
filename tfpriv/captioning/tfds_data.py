"""COCO captions from TensorFlow Datasets (COCO 2014 in Karpathy's splits)."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfpriv.captioning.coco import CaptionSet
from tfpriv.support import images

SPLITS = ("train", "restval", "val", "test")


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
        raise ValueError(f"`split` must be one of {SPLITS}. Received: {split!r}")
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

    Examples of one image (the same `image/filename`, or `image/id` where there are no
    file names) are one, with all their captions.

    Args:
        examples: Dicts with `image` `(height, width, 3)`, `image/id`, and `captions`
            with the lists `id` and `text`; `image/filename` if there is one.
        image_size: Height and width in pixels.
        name: For reports.

    Raises:
        ValueError: There is no example, or one without captions.
    """
    ids: dict[Any, int] = {}
    pictures: dict[Any, np.ndarray] = {}
    captions: dict[Any, list[tuple[int, bytes]]] = defaultdict(list)
    for example in examples:
        number = int(example["image/id"])
        unit = example.get("image/filename", number)
        texts = example["captions"]
        if not len(texts["id"]):
            raise ValueError(
                f"An image has no caption. Received: image/id={number} of {name}"
            )
        captions[unit] += zip(texts["id"], texts["text"], strict=True)
        ids[unit] = min(number, ids.get(unit, number))
        pictures[unit] = images.to_array(Image.fromarray(example["image"]), image_size)
    if not ids:
        raise ValueError(f"The data set is empty. Received: {name}")
    order = sorted(ids, key=ids.__getitem__)
    return CaptionSet(
        name=name,
        ids=tuple(ids[unit] for unit in order),
        pictures=np.stack([pictures[unit] for unit in order]),
        captions=tuple(
            tuple(text.decode("utf-8").strip() for _, text in sorted(captions[unit]))
            for unit in order
        ),
    )

"""CelebA from TensorFlow Datasets, written in CelebA's own layout."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from tfpriv.faces.celeba import (
    ATTRIBUTE_LIST,
    IDENTITIES,
    LANDMARKS,
    NAMES,
    PARTITIONS,
    PICTURES,
    POINTS,
    write_rows,
)
from tfpriv.support.outputs import new_directory

SPLITS = ("train", "validation", "test")  # CelebA's partitions 0, 1, 2


def export_tfds(
    output: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None = None,
    limit: int | None = None,
    download: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes TFDS' `celeb_a` (2.1.0, the first with identities) into a folder.

    Pictures keep their bytes. Their names are lost in TFDS; they are numbered.

    Args:
        output: folder to make; it must not exist or be empty.
        data_dir: TFDS' own folder; default `~/tensorflow_datasets`.
        limit: at most so many pictures of each split, in TFDS' order.
        download: whether TFDS may download and prepare what is missing (1.4 GB).
        progress: `None`, or a function called with `(done, total)`.

    Returns:
        The folder.

    Raises:
        FileExistsError: there is something in `output` already.
        FileNotFoundError: the data are not prepared and `download` is false.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder("celeb_a", data_dir=data_dir)
    if download:
        builder.download_and_prepare()
    elif not Path(builder.data_dir).is_dir():
        raise FileNotFoundError(
            "TFDS has not prepared `celeb_a`, and downloading is off. "
            f"Received: data_dir={builder.data_dir}"
        )
    part = "" if limit is None else f"[:{limit}]"
    decoders = {"image": tfds.decode.SkipDecoding()}
    datasets = [
        builder.as_dataset(split=name + part, decoders=decoders) for name in SPLITS
    ]
    total = sum(len(dataset) for dataset in datasets)
    examples = (
        (partition, example)
        for partition, dataset in enumerate(datasets)
        for example in tfds.as_numpy(dataset)
    )
    return write_examples(examples, output, total=total, progress=progress)


def write_examples(
    examples: Iterable[tuple[int, dict]],
    output: str | os.PathLike,
    *,
    total: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes examples with the features of `celeb_a`.

    Args:
        examples: pairs of the partition and a dict with `image` (a JPEG file's bytes),
            `identity`, `attributes` and `landmarks`.
        output: as for `export_tfds`.
        total: how many there are.
        progress: `None`, or a function called with `(done, total)`.

    Returns:
        The folder.
    """
    names, partitions, identities, attributes, landmarks = [], [], [], [], []
    with new_directory(output) as folder:
        (folder / PICTURES).mkdir()
        for number, (partition, example) in enumerate(examples, 1):
            name = f"{number:06d}.jpg"
            (folder / PICTURES / name).write_bytes(example["image"])
            names.append(name)
            partitions.append([partition])
            identities.append([int(example["identity"]["Identity_No"])])
            attributes.append([1 if example["attributes"][n] else -1 for n in NAMES])
            landmarks.append([int(example["landmarks"][n]) for n in POINTS])
            if progress and (number % 1000 == 0 or number == total):
                progress(number, total)
        write_rows(folder / IDENTITIES, names, np.array(identities))
        write_rows(folder / PARTITIONS, names, np.array(partitions))
        write_rows(folder / ATTRIBUTE_LIST, names, np.array(attributes), NAMES)
        write_rows(folder / LANDMARKS, names, np.array(landmarks), POINTS)
    return Path(output)

"""Labelled pictures to train and test on: CIFAR's files, archives, generated ones."""

import dataclasses
import io
import itertools
import os
from pathlib import Path

import numpy as np

from tfpriv.shuffling.datasets import checked_files
from tfpriv.support import images
from tfpriv.support.files import read_arrays

SIDE = 32
_ARCHIVE_PARTS = ("bytes", "offsets", "labels")


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Labelled pictures, all of one size.

    Attributes:
        name: what the pictures are.
        train_images: uint8 array of shape (n, height, width, 3).
        train_labels: int64 array of shape (n,).
        test_images: uint8 array of shape (m, height, width, 3).
        test_labels: int64 array of shape (m,).
        class_names: a name for each label.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]


def load(source: str | os.PathLike) -> Dataset:
    """Loads a data set.

    Args:
        source: `"shapes"` (generated), `"cifar10"` or `"cifar100"` (through TensorFlow
            Datasets), a folder with CIFAR's binary version (`data_batch_1.bin` ... or
            `train.bin`), or an `.npz` with JPEG pictures (`train_bytes`,
            `train_offsets`, `train_labels`, the same for `test`, `class_names`).

    Returns:
        The data set.

    Raises:
        ValueError: for a source that is none of these, or files that are damaged.
        FileNotFoundError: for a file that is missing.
    """
    if source == "shapes":
        return shapes()
    if source in ("cifar10", "cifar100"):
        return _from_tensorflow_datasets(str(source))
    path = Path(source)
    if path.suffix == ".npz":
        return _from_archive(path)
    if path.is_dir():
        return _from_cifar_binary(path)
    known = "shapes, cifar10, cifar100, an .npz archive or a folder of CIFAR's files"
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}. Expected {known}")
    raise ValueError(f"Expected {known}. Received: {source}")


def _from_archive(path: Path) -> Dataset:
    archive = read_arrays(path)
    missing = [
        f"{split}_{part}"
        for split in ("train", "test")
        for part in _ARCHIVE_PARTS
        if f"{split}_{part}" not in archive
    ] + ["class_names"] * ("class_names" not in archive)
    if missing:
        raise ValueError(f"{path} is no archive of pictures: it lacks {missing}")
    train, test = (_labelled(archive, split, path) for split in ("train", "test"))
    names = tuple(map(str, archive["class_names"].ravel()))
    return Dataset(path.stem, *train, *test, names)


def _labelled(archive, split: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    pictures = _decoded(*checked_files(archive, split, path), path)
    labels = archive[f"{split}_labels"]
    if labels.dtype.kind not in "iu" or labels.shape != (len(pictures),):
        raise ValueError(
            "Every picture must have one label, a whole number. Received: "
            f"{labels.dtype} of shape {labels.shape} for {len(pictures)} pictures in "
            f"{path}"
        )
    return pictures, labels.astype(np.int64)


def _decoded(data: np.ndarray, offsets: np.ndarray, path: Path) -> np.ndarray:
    pictures = []
    for i, (begin, end) in enumerate(itertools.pairwise(offsets)):
        content = io.BytesIO(data[begin:end].tobytes())
        pictures.append(np.asarray(images.decoded(content, f"picture {i} of {path}")))
    return np.stack(pictures)


def _from_cifar_binary(folder: Path) -> Dataset:
    """CIFAR-10: a label and 3072 values a picture; CIFAR-100: two labels."""
    hundred = (folder / "train.bin").exists()
    if hundred:
        trains, labels, name = [folder / "train.bin"], 2, "cifar100"
        test, classes = folder / "test.bin", folder / "fine_label_names.txt"
    else:
        trains = [folder / f"data_batch_{i}.bin" for i in range(1, 6)]
        labels, name = 1, "cifar10"
        test, classes = folder / "test_batch.bin", folder / "batches.meta.txt"
    parts = zip(*(_records(path, labels) for path in trains), strict=True)
    train_images, train_labels = map(np.concatenate, parts)
    if classes.exists():
        names = tuple(classes.read_text().split())
    else:
        names = tuple(map(str, range(train_labels.max() + 1)))
    return Dataset(name, train_images, train_labels, *_records(test, labels), names)


def _records(path: Path, labels: int) -> tuple[np.ndarray, np.ndarray]:
    size = labels + 3 * SIDE * SIDE
    data = np.fromfile(path, np.uint8)
    if data.size == 0 or data.size % size:
        raise ValueError(
            f"{path} is damaged: expected records of {size} bytes. Received: "
            f"{data.size} bytes"
        )
    records = data.reshape(-1, size)
    planes = records[:, labels:].reshape(-1, 3, SIDE, SIDE)
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    return images, records[:, labels - 1].astype(np.int64)  # the fine label is last


def _from_tensorflow_datasets(name: str) -> Dataset:
    import tensorflow_datasets as tfds

    splits, info = tfds.load(
        name, split=["train", "test"], with_info=True, as_supervised=True
    )
    train, test = (
        map(np.array, zip(*tfds.as_numpy(split), strict=True)) for split in splits
    )
    names = tuple(info.features["label"].names)
    return Dataset(name, *train, *test, names)


def shapes(train: int = 2000, test: int = 500, seed: int = 0) -> Dataset:
    """Draws pictures of 32 x 32 pixels with one of four shapes of a random colour.

    Args:
        train: number of pictures to train on.
        test: number of others.
        seed: of the pictures.

    Returns:
        The data set: disc, square, cross and ring, on noise.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, train + test)
    images = np.stack([_shape(rng, label) for label in labels])
    names = ("disc", "square", "cross", "ring")
    both = (images[:train], labels[:train]), (images[train:], labels[train:])
    return Dataset("shapes", *both[0], *both[1], names)


def _shape(rng: np.random.Generator, label: int) -> np.ndarray:
    radius = rng.uniform(6, 11)
    y, x = np.mgrid[:SIDE, :SIDE] - rng.uniform(radius, SIDE - radius, (2, 1, 1))
    distance = np.hypot(x, y)
    inside = (
        distance < radius,
        np.maximum(abs(x), abs(y)) < radius * 0.9,
        (np.minimum(abs(x), abs(y)) < radius / 3)
        & (np.maximum(abs(x), abs(y)) < radius),
        (distance < radius) & (distance > radius * 0.6),
    )[label]
    ground, colour = rng.uniform(0, 255, (2, 3))
    picture = np.where(inside[..., None], colour, ground)
    return np.clip(picture + rng.normal(0, 12, picture.shape), 0, 255).astype(np.uint8)

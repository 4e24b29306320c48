"""Data sets in the formats in which people have them."""

import io

import numpy as np
import pytest
from PIL import Image

from tfpriv.shuffling import data


def write_cifar(folder, hundred=False, rows=4):
    rng = np.random.default_rng(0)
    labels = 2 if hundred else 1
    names = ["train.bin", "test.bin"]
    if not hundred:
        names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    written = {}
    for name in names:
        records = rng.integers(0, 10, (rows, labels + 3072)).astype("uint8")
        records.tofile(folder / name)
        written[name] = records
    return written


@pytest.mark.parametrize("hundred", [False, True])
def test_cifars_binary_files(tmp_path, hundred):
    written = write_cifar(tmp_path, hundred)
    found = data.load(tmp_path)
    last = written["test.bin" if hundred else "test_batch.bin"]
    labels = 2 if hundred else 1
    np.testing.assert_array_equal(found.test_labels, last[:, labels - 1])
    # Channel, row and column: the red plane stands first.
    picture = last[1, labels:].reshape(3, 32, 32)
    np.testing.assert_array_equal(found.test_images[1, 5, 7], picture[:, 5, 7])
    assert len(found.train_images) == (4 if hundred else 20)


def test_names_of_classes(tmp_path):
    write_cifar(tmp_path)
    names = [f"class{i}" for i in range(10)]
    (tmp_path / "batches.meta.txt").write_text("\n".join(names))
    assert data.load(tmp_path).class_names == tuple(names)


def test_a_cut_file_is_refused(tmp_path):
    write_cifar(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"data_batch_3\.bin is damaged"):
        data.load(tmp_path)


def encoded(pictures):
    files = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        files.append(np.frombuffer(file.getvalue(), "uint8"))
    return np.concatenate(files), np.cumsum([0, *map(len, files)])


@pytest.fixture
def archive():
    rng = np.random.default_rng(1)
    pictures = {
        s: rng.integers(0, 256, (3, 8, 8, 3), "uint8") for s in ("train", "test")
    }
    content = {"class_names": np.array(["a", "b"])}
    for split, images in pictures.items():
        content[f"{split}_bytes"], content[f"{split}_offsets"] = encoded(images)
        content[f"{split}_labels"] = np.array([0, 1, 1], "uint8")
    return pictures, content


def test_an_archive(tmp_path, archive):
    pictures, content = archive
    np.savez(tmp_path / "a.npz", **content)
    found = data.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.train_images, pictures["train"])
    np.testing.assert_array_equal(found.test_labels, [0, 1, 1])
    assert found.class_names == ("a", "b")


def test_an_archive_with_a_broken_picture(tmp_path, archive):
    _, content = archive
    content["test_bytes"][content["test_offsets"][1] + 20 :] = 0
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(ValueError, match=r"cannot be decoded.*picture 1 of"):
        data.load(tmp_path / "a.npz")


def test_an_archive_of_something_else(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    with pytest.raises(ValueError, match="lacks"):
        data.load(tmp_path / "a.npz")


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected shapes"):
        data.load(tmp_path / "none")


def test_shapes_are_drawn_again(tmp_path):
    first, second = data.shapes(20, 5, seed=3), data.shapes(20, 5, seed=3)
    np.testing.assert_array_equal(first.train_images, second.train_images)
    assert first.train_images.shape == (20, 32, 32, 3)
    assert set(first.train_labels) <= {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_tensorflow_datasets_are_asked_for_by_name(monkeypatch, name):
    """Without the internet: TFDS' own stand-in with the real features."""
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=6):
        found = data.load(name)
    assert found.train_images.shape == (6, 32, 32, 3)
    assert len(found.class_names) == (10 if name == "cifar10" else 100)


def test_tensorflow_datasets_can_download():
    """Where it does, it imports a package that it does not ask for."""
    import tensorflow_datasets as tfds

    assert tfds.builder("cifar10").url_infos


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "objects"])
def test_a_damaged_archive_is_named(tmp_path, archive, damage):
    path = tmp_path / "some.npz"
    np.savez(path, **archive[1])
    whole = path.read_bytes()
    bad = {"empty": b"", "cut": whole[: len(whole) // 2], "noise": bytes(range(256))}
    if damage == "objects":
        np.savez(path, **archive[1] | {"class_names": np.array([{}, None])})
    else:
        path.write_bytes(bad[damage])
    with pytest.raises(ValueError, match=r"damaged.*Received: .*some\.npz"):
        data.load(path)


def test_a_huge_picture_in_an_archive_is_refused(tmp_path, archive, monkeypatch):
    np.savez(tmp_path / "some.npz", **archive[1])
    monkeypatch.setattr(data.images, "MAX_PIXELS", 63)
    with pytest.raises(ValueError, match=r"too large.*Received: .*some\.npz"):
        data.load(tmp_path / "some.npz")


@pytest.mark.parametrize(
    "change",
    [
        {"class_names": None},
        {"train_labels": np.array([0, 1])},
        {"train_labels": np.array([0.0, 1.0, np.nan])},
        {"test_labels": np.array(1)},
        {"train_offsets": np.array([0.0, 1.5])},
        {"train_offsets": np.array(3)},
        {"train_bytes": np.zeros(9)},
    ],
)
def test_arrays_of_an_archive_that_do_not_fit(tmp_path, archive, change):
    content = {k: v for k, v in (archive[1] | change).items() if v is not None}
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(ValueError, match=r"a\.npz"):
        data.load(tmp_path / "a.npz")

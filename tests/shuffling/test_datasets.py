"""Data sets in .npz files: arrays and picture files, there and back."""

import io
import itertools
import json

import numpy as np
import pytest
from PIL import Image

from tfpriv.shuffling import Key, datasets, jobs, unshuffle


def encoded(pictures, kind="PNG"):
    """Picture files end to end, and their bounds."""
    contents = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, kind)
        contents.append(file.getvalue())
    content = np.frombuffer(b"".join(contents), np.uint8)
    return content, np.cumsum([0, *map(len, contents)])


def decoded(data, name):
    content, offsets = data[f"{name}_bytes"], data[f"{name}_offsets"]
    pictures = []
    for begin, end in itertools.pairwise(offsets):
        with Image.open(io.BytesIO(content[begin:end].tobytes())) as picture:
            pictures.append(np.asarray(picture))
    return pictures


@pytest.fixture
def data(rng):
    pictures = rng.integers(0, 256, (7, 6, 5, 3), dtype="uint8")
    train = dict(zip(("train_bytes", "train_offsets"), encoded(pictures), strict=True))
    return {
        **train,
        "train_labels": np.arange(7, dtype="uint8"),
        "x_test": rng.integers(0, 256, (4, 9, 8, 3), dtype="uint8"),
        "grey": rng.normal(size=(3, 9, 8)).astype("float32"),
        "y_test": np.arange(4),
        "boxes": np.zeros((4, 10, 4), "float32"),
        "class_names": np.array(["cat", "dog"]),
        "file": np.array(3),  # a name that np.savez cannot write
    }


def write(path, data):
    datasets._write(path, data)
    return path


def read(path):
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("check_value", [True, False])
def test_there_and_back(tmp_path, data, key, fixed, check_value):
    source = write(tmp_path / "plain.npz", data)
    report = jobs.protect(
        source, tmp_path / "out.npz", key, fixed=fixed, check_value=check_value
    )
    assert report.done == 14
    assert not report.failures
    copied = {"train_labels", "y_test", "boxes", "class_names", "file"}
    assert set(report.copied) == copied
    shuffled = read(tmp_path / "out.npz")
    for name in copied:
        np.testing.assert_array_equal(shuffled[name], data[name])
    for name in ("x_test", "grey"):
        assert (shuffled[name] != data[name]).any()
        assert (name + "_nonces" in shuffled) != fixed
    report = jobs.unprotect(tmp_path / "out.npz", tmp_path / "back.npz", key)
    assert report.done == 14
    assert report.unchecked == (0 if check_value else 14)
    back = read(tmp_path / "back.npz")
    assert set(back) == set(data)
    for name in set(data) - {"train_bytes", "train_offsets"}:
        assert back[name].dtype == data[name].dtype
        np.testing.assert_array_equal(back[name], data[name])
    np.testing.assert_array_equal(decoded(back, "train"), decoded(data, "train"))


def test_the_format_is_what_it_says(tmp_path, data, key):
    """So that a program can read it with numpy and this library's functions."""
    source = write(tmp_path / "plain.npz", data)
    jobs.protect(source, tmp_path / "out.npz", key, check_value=True)
    shuffled = read(tmp_path / "out.npz")
    assert json.loads(str(shuffled["tfpriv_shuffling"])) == {
        "version": 1,
        "files": ["train"],
        "arrays": ["x_test", "grey"],
        "fixed": False,
        "check": key.check_value().hex(),
    }
    plain = unshuffle(shuffled["x_test"], key, shuffled["x_test_nonces"])
    np.testing.assert_array_equal(plain, data["x_test"])
    assert len({bytes(nonce) for nonce in shuffled["x_test_nonces"]}) == 4


def test_broken_pictures_leave_with_their_labels(tmp_path, data, key):
    content = data["train_bytes"].copy()
    begin = data["train_offsets"][2]
    content[begin : begin + 20] = 0
    source = write(tmp_path / "plain.npz", {**data, "train_bytes": content})
    report = jobs.protect(source, tmp_path / "out.npz", key)
    assert report.done == 13
    (failure,) = report.failures
    assert "train 2" in failure
    assert str(source) in failure
    shuffled = read(tmp_path / "out.npz")
    assert shuffled["train_labels"].tolist() == [0, 1, 3, 4, 5, 6]
    assert len(decoded(shuffled, "train")) == 6
    np.testing.assert_array_equal(shuffled["y_test"], data["y_test"])


def test_a_wrong_key(tmp_path, data, key):
    source = write(tmp_path / "plain.npz", data)
    jobs.protect(source, tmp_path / "out.npz", key, check_value=True)
    with pytest.raises(ValueError, match="not the key of the data set"):
        jobs.unprotect(tmp_path / "out.npz", tmp_path / "back.npz", Key.generate())
    assert not (tmp_path / "back.npz").exists()


def test_once_only(tmp_path, data, key):
    source = write(tmp_path / "plain.npz", data)
    jobs.protect(source, tmp_path / "out.npz", key)
    with pytest.raises(ValueError, match="protected already"):
        jobs.protect(tmp_path / "out.npz", tmp_path / "twice.npz", key)
    with pytest.raises(ValueError, match="not protected"):
        jobs.unprotect(source, tmp_path / "back.npz", key)
    with pytest.raises(FileExistsError, match="--overwrite"):
        jobs.protect(source, tmp_path / "out.npz", key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((2, 3, 32, 32))}, r"layout.*x of shape \(2, 3, 32, 32\)"),
        ({"x": np.zeros((2, 3, 4, 4, 3))}, "layout"),
        ({"x": np.zeros((2, 784), "uint8")}, "layout"),
        ({"x": np.zeros((2, 1, 1, 3, 3))}, "layout"),
        ({"x_test_nonces": np.zeros(3)}, "needed for nonces"),
        ({"train_offsets": np.array([0, 5, 3])}, "ascending bounds"),
        ({"train_offsets": np.array([-1, 5])}, "ascending bounds"),
        ({"train_offsets": np.array([0, 10**9])}, "ascending bounds"),
        ({"train_offsets": np.array([])}, "ascending bounds"),
        ({"train_bytes": np.zeros((3, 3))}, "ascending bounds"),
    ],
)
def test_what_would_stay_readable_or_is_wrong(tmp_path, data, key, change, message):
    source = write(tmp_path / "plain.npz", {**data, **change})
    with pytest.raises(ValueError, match=message):
        jobs.protect(source, tmp_path / "out.npz", key)
    assert not (tmp_path / "out.npz").exists()


def test_files_that_are_no_data_sets(tmp_path, key):
    (tmp_path / "a.npz").write_bytes(b"no archive")
    write(tmp_path / "b.npz", {"labels": np.arange(3)})
    np.savez(tmp_path / "c.npz", x=np.array([{"an": "object"}], object))
    for name, message in (
        ("a.npz", "cannot be read"),
        ("b.npz", "holds no pictures"),
        ("c.npz", "Python objects"),
    ):
        with pytest.raises(ValueError, match=message):
            jobs.protect(tmp_path / name, tmp_path / "out.npz", key)
    with pytest.raises(ValueError, match=r"must end in \.npz"):
        jobs.protect(tmp_path / "b.npz", tmp_path / "out.png", key)


@pytest.mark.parametrize(
    "damage",
    [
        {"tfpriv_shuffling": np.array("{")},
        {"tfpriv_shuffling": np.array("[]")},
        {"tfpriv_shuffling": np.array("[" * 100_000)},
        {"tfpriv_shuffling": np.array('{"version": 2}')},
        {"tfpriv_shuffling": np.array('{"version": 1, "files": ["other"]}')},
        {"tfpriv_shuffling": np.arange(3)},
        {"x_test_nonces": None},
        {"x_test": None},
        {"x_test": np.zeros(3)},
        {"train_bytes": None},
    ],
)
def test_damaged_data_sets(tmp_path, data, key, damage):
    source = write(tmp_path / "plain.npz", data)
    jobs.protect(source, tmp_path / "out.npz", key)
    changed = {**read(tmp_path / "out.npz"), **damage}
    changed = {name: array for name, array in changed.items() if array is not None}
    write(tmp_path / "bad.npz", changed)
    with pytest.raises(ValueError, match="damaged or of a later version"):
        jobs.unprotect(tmp_path / "bad.npz", tmp_path / "back.npz", key)


def test_large_arrays_are_moved_in_parts(tmp_path, key, rng, monkeypatch):
    monkeypatch.setattr(datasets, "_AT_ONCE", 10)
    x = rng.integers(0, 256, (37, 5, 6, 1), dtype="uint8")
    seen = []
    source = write(tmp_path / "plain.npz", {"x": x})
    jobs.protect(
        source, tmp_path / "out.npz", key, progress=lambda *at: seen.append(at)
    )
    assert seen == [(10, 37), (20, 37), (30, 37), (37, 37)]
    jobs.unprotect(tmp_path / "out.npz", tmp_path / "back.npz", key)
    np.testing.assert_array_equal(read(tmp_path / "back.npz")["x"], x)

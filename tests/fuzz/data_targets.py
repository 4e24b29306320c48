"""Data sets, annotations, tables, arrays and pictures."""

import functools
import io
import shutil

import numpy as np
from PIL import Image
from target import Target, as_json, is_inside, place, written

from tfpriv.captioning.coco import load_coco
from tfpriv.captioning.vocabulary import load_vocabulary
from tfpriv.editing.scores import read_scores, write_scores
from tfpriv.faces import celeba
from tfpriv.inpainting.photos import boxes
from tfpriv.shuffling import data as labelled
from tfpriv.support import files, images
from tfpriv.support.files import parse_json

# --- COCO ---

_CAPTIONS = {
    "info": {"vocabulary": "scenes"},
    "images": [{"id": i, "file_name": f"{i}.jpg"} for i in (3, 5)],
    "annotations": [
        {"id": i, "image_id": 3 + i % 2 * 2, "caption": "a red disc"} for i in range(4)
    ],
}
_COCO = {"captions": "captions_train2017.json", "scenes": "scenes_train2017.json"}


@functools.cache
def _scenes():
    from tfpriv.captioning.scenes import write_dataset

    folder = place("drawn")
    write_dataset(folder, 2, validation=1, seed=0)
    return (folder / "annotations" / _COCO["scenes"]).read_bytes()


def _coco(kind, seed):
    def read(data):
        folder = place(f"coco-{kind}/train2017/3.jpg").parents[1]
        for number in (3, 5):
            written(f"coco-{kind}/train2017/{number}.jpg", b"")
        captions = as_json(_CAPTIONS) if kind == "scenes" else data
        written(f"coco-{kind}/annotations/{_COCO['captions']}", captions)
        if kind == "scenes":
            written(f"coco-{kind}/annotations/{_COCO['scenes']}", data)
        found = load_coco(folder)
        assert len(found.ids) == len(found.captions) == len(found.pictures)
        inside = folder / "train2017"
        assert all(is_inside(path, inside) for path in found.pictures), "outside"

    return Target(f"COCO: {kind}", seed, read, (ValueError, FileNotFoundError))


def _scene_seed():
    content = parse_json(_scenes())
    return [as_json({str(n): next(iter(content.values())) for n in (3, 5)})]


# --- CelebA ---


@functools.cache
def _faces():
    folder = place("faces")
    celeba.write_dataset(folder, 2, 2, size=16)
    return folder


def _celeba(name):
    def read(data):
        folder = place(f"celeba-{name}/a").parent
        for file in _faces().glob("*.*"):
            if file.is_file() and file.name != name:
                shutil.copyfile(file, folder / file.name)
        (folder / name).write_bytes(data)
        if name == celeba.TRUTH:
            celeba.read_truth(folder)
            return
        found = celeba.CelebA.load(folder)
        columns = [found.identity, found.partition, found.landmarks()]
        assert all(c.dtype.kind == "i" for c in columns), "no whole numbers"
        assert found.attributes.shape == (len(found), 40)
        inside = folder / celeba.PICTURES
        assert all(is_inside(path, inside) for path in found.paths()), "outside"

    return Target(
        f"CelebA: {name}", lambda: [(_faces() / name).read_bytes()], read, (ValueError,)
    )


# --- Pictures with labels ---


def _cifar():
    return [bytes(range(256)) * 12 + b"\0", b"\1" * 3073 * 2]


def _read_cifar(data):
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        written(f"cifar/{name}.bin", data)
    found = labelled.load(place("cifar/test_batch.bin").parent)
    assert found.train_images.shape[1:] == (32, 32, 3)


def _jpeg(kind="JPEG", mode="RGB"):
    stream = io.BytesIO()
    pixels = np.arange(8 * 8 * 3).reshape(8, 8, 3).astype("u1")
    Image.fromarray(pixels).convert(mode).save(stream, kind)
    return stream.getvalue()


def _archive(**changes):
    arrays = {"class_names": np.array(["a", "b"])}
    for split in ("train", "test"):
        content = [_jpeg(), _jpeg()]
        arrays[f"{split}_bytes"] = np.frombuffer(b"".join(content), np.uint8)
        arrays[f"{split}_offsets"] = np.cumsum([0, *map(len, content)])
        arrays[f"{split}_labels"] = np.arange(2)
    stream = io.BytesIO()
    np.savez(stream, **(arrays | changes))
    return stream.getvalue()


def _read_archive(data):
    found = labelled.load(written("pictures.npz", data))
    assert len(found.train_images) == len(found.train_labels), "labels of no picture"
    assert found.train_labels.ndim == 1


def _part(name):
    """A target: one array of an archive whose checksums are right."""

    def seeds():
        with np.load(io.BytesIO(_archive())) as arrays:
            stream = io.BytesIO()
            np.save(stream, arrays[name])
            return [stream.getvalue()]

    def read(data):
        array = files.read_array(written("part.npy", data))
        _read_archive(_archive(**{name: array}))

    return Target(f"archive of pictures: {name}", seeds, read)


def _pictures():
    kinds = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
    return [*(_jpeg(kind) for kind in kinds), _jpeg("PNG", "P"), _jpeg("TIFF", "L")]


def _read_picture(data):
    picture = images.load(written("picture", data))
    assert picture.ndim == 3
    assert picture.shape[2] == 3


# --- Tables, arrays ---


def _scores():
    path = place("seed.csv")
    write_scores(path, ("age", "smile"), np.array([[0.5, -1], [2, 1e-9]]))
    return [path.read_bytes(), b"age,smile\n1,\n,2\n"]


def _read_scores(data):
    assert read_scores(written("a.csv", data), "age").ndim == 1


def _boxes():
    box = boxes.Box((1, 2, 30, 40), 0.9, True, 3)
    return [boxes.to_csv({"a.jpg": [box], "b.jpg": []}).encode()]


def _read_boxes(data, ending="csv"):
    found = boxes.read(written(f"a.{ending}", data))
    assert boxes.from_csv(boxes.to_csv(found), "again").keys() == found.keys()


def _arrays(save):
    stream = io.BytesIO()
    save(stream, np.arange(6.0).reshape(2, 3))
    return [stream.getvalue()]


TARGETS = (
    _coco("captions", lambda: [as_json(_CAPTIONS)]),
    _coco("scenes", _scene_seed),
    *(
        _celeba(name)
        for name in (
            celeba.IDENTITIES,
            celeba.ATTRIBUTE_LIST,
            celeba.LANDMARKS,
            celeba.TRUTH,
        )
    ),
    Target("CIFAR's binary files", _cifar, _read_cifar),
    Target("archive of pictures", lambda: [_archive()], _read_archive),
    *(_part(name) for name in ("train_offsets", "train_labels", "class_names")),
    Target("picture", _pictures, _read_picture),
    Target("table of scores", _scores, _read_scores),
    Target("boxes (.csv)", _boxes, _read_boxes),
    Target(
        "boxes (.json)",
        lambda: [as_json({"a.jpg": [[1, 2, 3, 4]], "b.jpg": []})],
        lambda data: _read_boxes(data, "json"),
    ),
    Target(
        "vocabulary",
        lambda: [b"a\ndog\n##s\n"],
        lambda data: load_vocabulary(written("words.txt", data)),
    ),
    Target(
        "JSON", lambda: [as_json(_CAPTIONS)], lambda d: files.read_json(written("j", d))
    ),
    Target(
        "array",
        lambda: _arrays(np.save),
        lambda data: files.read_array(written("a.npy", data)),
    ),
    Target(
        "arrays",
        lambda: _arrays(np.savez) + _arrays(np.savez_compressed),
        lambda data: files.read_arrays(written("a.npz", data)),
    ),
)

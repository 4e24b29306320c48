"""COCO's layout, real and damaged."""

import shutil

import pytest
from coco_files import copy_of, edit

from tfpriv.captioning import coco


@pytest.fixture
def folder(scene_folder, tmp_path):
    return copy_of(scene_folder, tmp_path)


def test_real_coco(tiny_coco):
    data = coco.load_coco(tiny_coco, "train")
    assert len(data) == 50
    assert sum(map(len, data.captions)) == 250
    assert list(data.ids) == sorted(data.ids)
    assert data.arrays(32).shape == (50, 32, 32, 3)
    assert data.scenes is None
    assert data.vocabulary is None


def test_the_naming_of_2014(folder):
    annotations = folder / "annotations"
    for kind in ("captions", "scenes"):
        (annotations / f"{kind}_train2017.json").rename(
            annotations / f"{kind}_train2014.json"
        )
    (folder / "train2017").rename(folder / "train2014")
    assert len(coco.load_coco(folder, "train")) == 40
    assert len(coco.load_coco(folder, "train2014")) == 40


def test_captions_follow_their_ids(folder):
    edit(folder, lambda d: d["annotations"].reverse())
    assert coco.load_coco(folder).captions == coco.load_coco(folder).captions
    first = coco.load_coco(folder)
    edit(folder, lambda d: d["annotations"].reverse())
    assert coco.load_coco(folder).captions == first.captions


def drop(key):
    return lambda d: d.pop(key)


DAMAGES = {
    "no images": (drop("images"), ValueError, "'images'"),
    "no annotations": (drop("annotations"), ValueError, "'annotations'"),
    "picture twice": (
        lambda d: d["images"].append(d["images"][0]),
        ValueError,
        "twice",
    ),
    "unknown picture": (
        lambda d: d["annotations"][0].update(image_id=999),
        ValueError,
        "999, which is not among",
    ),
    "no caption": (
        lambda d: d.update(annotations=d["annotations"][5:]),
        ValueError,
        "1 pictures have no caption",
    ),
    "caption is a number": (
        lambda d: d["annotations"][0].update(caption=3),
        ValueError,
        "'caption' of type str",
    ),
    "id is missing": (
        lambda d: d["images"][0].pop("id"),
        ValueError,
        "'id' of type int",
    ),
    "a way out of the folder": (
        lambda d: d["images"][0].update(file_name="../../secret.jpg"),
        ValueError,
        "plain name",
    ),
    "nothing as a name": (
        lambda d: d["images"][0].update(file_name=""),
        ValueError,
        "plain name",
    ),
    "a vocabulary that is no name": (
        lambda d: d.update(info={"vocabulary": ["a"]}),
        ValueError,
        "vocabulary's name",
    ),
    "missing picture": (
        lambda d: d["images"][0].update(file_name="gone.jpg"),
        FileNotFoundError,
        r"1 of 40 pictures are missing.*gone\.jpg",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named(folder, name):
    change, error, message = DAMAGES[name]
    edit(folder, change)
    with pytest.raises(error, match=message):
        coco.load_coco(folder)


MALFORMED = {
    "captions": ["", "{", "[1, 2]", '"captions"', "[" * 100_000],
    "scenes": ["", "{", "[]", "{}", "[" * 100_000],
}


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind in MALFORMED for text in MALFORMED[kind]]
)
def test_malformed_json(folder, kind, text):
    (folder / "annotations" / f"{kind}_train2017.json").write_text(text)
    with pytest.raises(ValueError, match=rf"{kind}_train2017\.json"):
        coco.load_coco(folder)


def test_missing_files(folder):
    with pytest.raises(FileNotFoundError, match="no data folder"):
        coco.load_coco(folder / "nowhere")
    (folder / "annotations" / "captions_val2017.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"captions_val2017\.json"):
        coco.load_coco(folder, "val")
    shutil.rmtree(folder / "train2017")
    with pytest.raises(FileNotFoundError, match="40 of 40"):
        coco.load_coco(folder)


def test_unknown_split(folder):
    with pytest.raises(ValueError, match="'test'"):
        coco.load_coco(folder, "test")


def test_head(scene_data):
    part = scene_data.head(3)
    assert len(part) == len(part.captions) == len(part.scenes) == 3
    assert scene_data.head(None) is scene_data
    with pytest.raises(ValueError, match="positive"):
        scene_data.head(0)


def test_a_damaged_picture_is_named_when_it_is_read(folder):
    picture = next((folder / "train2017").iterdir())
    picture.write_bytes(picture.read_bytes()[:200])
    with pytest.raises(ValueError, match=picture.name):
        coco.load_coco(folder).arrays(16)

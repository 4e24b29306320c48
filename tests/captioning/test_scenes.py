"""Captions say what is in the picture, and pictures show what captions say."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv.captioning import coco, grammar, scenes
from tfpriv.support import images

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(0, 10**6), st.sampled_from(sorted(scenes.STYLES)))
def test_five_different_true_captions(seed, index, style):
    scene, captions, _ = scenes.make_scene(seed, index, style=style)
    assert len(set(captions)) == 5
    assert all(grammar.is_true(text, scene) for text in captions)
    vocabulary = set(grammar.vocabulary())
    assert all(set(text.split()) <= vocabulary for text in captions)
    assert all(len(text.split()) <= 15 for text in captions)


OPPOSITES = [
    ("left", "right"),
    ("above", "below"),
    ("small", "large"),
    ("dark", "light"),
    ("two", "three"),
    ("three", "four"),
    ("top", "bottom"),
]


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_changing_a_word_makes_a_caption_false(seed):
    scene, captions, _ = scenes.make_scene(seed, 0)
    colours = {t.colour for t in scene.things}
    absent = next(c for c in grammar.COLOURS if c not in colours and c != "orange")
    for text in captions:
        words = text.replace("an orange", "a orange").split()
        for i, word in enumerate(words):
            others = [b if word == a else a for a, b in OPPOSITES if word in (a, b)]
            others += [absent] if word in grammar.COLOURS else []
            if "diamond" in text or word not in ("left", "right"):
                for other in others:
                    changed = grammar.with_articles(
                        " ".join([*words[:i], other, *words[i + 1 :]])
                    )
                    assert not grammar.is_true(changed, scene), (changed, scene)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_relations_against_the_painted_picture(seed):
    """The slow oracle paints each object alone and compares the pixels' centres."""
    scene, _, _ = scenes.make_scene(seed, 0)
    if scene.kind != "relation":
        return
    (relation,) = grammar.relations_between(*scene.things)
    (ax, ay, a), (bx, by, b) = (painted(scene, thing) for thing in scene.things)
    if relation == "inside":
        rows, columns = np.nonzero(a)
        box = np.nonzero(b)
        assert box[0].min() <= rows.min() <= rows.max() <= box[0].max()
        assert box[1].min() <= columns.min() <= columns.max() <= box[1].max()
    else:
        expected = {"left": ax < bx, "right": ax > bx, "above": ay < by}
        assert expected.get(relation, ay > by)
        assert not (a & b).any()


def painted(scene, thing):
    """Centre of the pixels that differ from the ground, and the pixels."""
    alone = dataclasses.replace(scene, things=(thing,))
    ground = dataclasses.replace(scene, things=())
    pictures = [scenes.draw(s, 64, np.random.default_rng(0)) for s in (alone, ground)]
    # Grain differs a little between the two; an object differs a lot.
    mask = np.abs(pictures[0].astype(int) - pictures[1]).max(axis=-1) > 30
    rows, columns = np.nonzero(mask)
    return columns.mean(), rows.mean(), mask


def test_a_scene_depends_on_seed_and_index_alone():
    a, b = (scenes.make_scene(3, 17) for _ in range(2))
    assert a[:2] == b[:2]
    np.testing.assert_array_equal(
        scenes.draw(a[0], 32, a[2]), scenes.draw(b[0], 32, b[2])
    )
    others = [
        scenes.make_scene(3, 17, split="val"),
        scenes.make_scene(4, 17),
        scenes.make_scene(3, 18),
        scenes.make_scene(3, 17, style="catalogue"),
    ]
    assert all(other[0] != a[0] for other in others)


def test_catalogue_shares_no_caption_with_scenes():
    texts = {
        style: {t for i in range(300) for t in scenes.make_scene(0, i, style=style)[1]}
        for style in scenes.STYLES
    }
    assert not texts["scenes"] & texts["catalogue"]


def test_the_layout_is_cocos(scene_folder):
    document = json.loads(
        (scene_folder / "annotations" / "captions_train2017.json").read_text()
    )
    assert len(document["images"]) == 40
    assert len(document["annotations"]) == 200
    row = document["images"][0]
    assert images.load(scene_folder / "train2017" / row["file_name"]).shape == (
        row["height"],
        row["width"],
        3,
    )
    train, val = (coco.load_coco(scene_folder, s) for s in ("train", "val"))
    assert not set(train.ids) & set(val.ids)
    assert all(
        grammar.is_true(text, scene)
        for group, scene in zip(train.captions, train.scenes, strict=True)
        for text in group
    )


def test_the_same_seed_writes_the_same_files(tmp_path):
    for name in ("a", "b"):
        scenes.write_dataset(tmp_path / name, 4, validation=1, size=16, seed=2)
    files = [p for p in (tmp_path / "a").rglob("*") if p.is_file()]
    assert len(files) == 9
    for file in files:
        twin = tmp_path / "b" / file.relative_to(tmp_path / "a")
        assert file.read_bytes() == twin.read_bytes()


def test_an_existing_output_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="exists already"):
        scenes.write_dataset(tmp_path, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_interrupted_writing_leaves_nothing(tmp_path, monkeypatch):
    def fails(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scenes.write_dataset(tmp_path / "out", 1, validation=0, progress=fails)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [{"pictures": 0}, {"size": 8}, {"seed": -1}, {"style": "photographs"}],
)
def test_wrong_arguments(tmp_path, arguments):
    with pytest.raises(ValueError, match="Received"):
        scenes.write_dataset(tmp_path / "out", **({"pictures": 3} | arguments))

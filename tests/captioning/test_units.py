"""A privacy unit is an image with all its captions, whatever its ids and names."""

import dataclasses
import math
import re
import shutil

import numpy as np
import pytest
from coco_files import copy_of, edit
from dp_accounting.pld import privacy_loss_distribution as losses

from tfpriv import cli
from tfpriv.accounting import mechanisms
from tfpriv.accounting.calibration import calibrate_noise
from tfpriv.captioning import coco, tfds_data, vocabulary
from tfpriv.captioning.train import Recipe, prepare

BATCH, STEPS, EPSILON, DELTA = 8, 12, 3.0, 1e-5
RECIPE = Recipe(captions_per_picture=5)


@pytest.fixture
def folder(scene_folder, tmp_path):
    folder = copy_of(scene_folder, tmp_path)
    (folder / "annotations" / "scenes_train2017.json").unlink()
    return folder


def list_five_times(document):
    """The first image under five ids, each of them with one of its five captions."""
    first = document["images"][0]
    rows = [a for a in document["annotations"] if a["image_id"] == first["id"]]
    for i, row in enumerate(rows[1:], 1):
        document["images"].append({**first, "id": 10_000 + i})
        row["image_id"] = 10_000 + i


def epsilon_of_image(units, rows):
    """What `units` Poisson-sampled units cost an image that is `rows` of them."""
    q = BATCH / units
    noise = calibrate_noise(
        EPSILON, DELTA, mechanism=lambda z: mechanisms.poisson(q, z), steps=STEPS
    )
    chances = [
        math.comb(rows, k) * q**k * (1 - q) ** (rows - k) for k in range(rows + 1)
    ]
    loss = losses.from_mixture_gaussian_mechanism(
        noise, list(range(rows + 1)), chances, value_discretization_interval=1e-3
    )
    return loss.self_compose(STEPS).get_epsilon_for_delta(DELTA)


@pytest.mark.parametrize("planted", [False, True])
def test_epsilon_holds_for_an_image_under_five_ids(folder, planted, monkeypatch):
    before = coco.load_coco(folder)
    edit(folder, list_five_times)
    if planted:
        monkeypatch.setattr(coco, "_units", lambda paths: {i: i for i in paths})
    data = coco.load_coco(folder)
    rows = sum(path.samefile(before.pictures[0]) for path in data.pictures)
    epsilon = epsilon_of_image(len(data), rows)
    if planted:
        assert (len(data), rows) == (44, 5)
        assert epsilon > 15
    else:
        assert (data.ids, data.captions) == (before.ids, before.captions)
        assert rows == 1
        assert epsilon <= EPSILON


def test_a_link_is_the_file_that_it_leads_to(folder):
    before = coco.load_coco(folder)
    (folder / "train2017" / "link.jpg").symlink_to(before.pictures[0])
    edit(folder, lambda d: d["images"].append({"id": 10_000, "file_name": "link.jpg"}))
    assert coco.load_coco(folder).ids == before.ids  # the link needs no caption


@pytest.fixture(scope="module")
def model(build_captioner):
    return build_captioner()


def test_copies_under_other_names_are_warned_of(folder, model, recwarn):
    data = coco.load_coco(folder).head(4)
    prepare(model, data, RECIPE)
    assert not recwarn.list
    copy = folder / "train2017" / "copy.png"
    shutil.copy(data.pictures[1], copy)
    copied = dataclasses.replace(data, pictures=(*data.pictures[:3], copy))
    with pytest.warns(UserWarning, match=r"1 images with copies.*copy\.png"):
        prepare(model, copied, RECIPE)
    pixels = data.arrays(16)[[0, 1, 2, 1]]
    arrays = dataclasses.replace(data, pictures=pixels)
    with pytest.warns(UserWarning, match=rf"first: {data.ids[1]} and {data.ids[3]}"):
        prepare(model, arrays, RECIPE)


def example(number, captions, **features):
    ids, texts = zip(*captions, strict=True)
    return {
        "image": np.full((20, 30, 3), 7, "uint8"),
        "image/id": np.int64(number),
        "captions": {"id": np.array(ids), "text": np.array(texts, "object")},
        **features,
    }


def test_examples_of_one_image_are_one_unit():
    rows = [example(7, [(2, b"b")]), example(7, [(1, b"a")]), example(3, [(5, b"c")])]
    data = tfds_data.from_examples(rows, 16, "x")
    assert (data.ids, data.captions) == ((3, 7), (("c",), ("a", "b")))
    for row, name in zip(rows, (b"one", b"two", b"one"), strict=True):
        row["image/filename"] = name
    data = tfds_data.from_examples(rows, 16, "x")
    assert (data.ids, data.captions) == ((3, 7), (("b", "c"), ("a",)))


def with_captions(data, *captions):
    return dataclasses.replace(data.head(len(captions)), captions=captions)


def test_captions_without_a_known_word_are_counted(scene_data, model, recwarn):
    known, russian = ("a red circle",), ("красный круг", "...")
    prepare(model, with_captions(scene_data, known, ("a круг",)), RECIPE)
    assert not recwarn.list
    with pytest.warns(UserWarning, match="without a known word: 2 of 3"):
        prepare(model, with_captions(scene_data, known, russian), RECIPE)
    with pytest.raises(ValueError, match="without a known word: 4 of 4"):
        prepare(model, with_captions(scene_data, russian, russian), RECIPE)


def test_planted_latin_words_only(scene_data, model, monkeypatch):
    """Words of a to z alone, as before: captions are empty, which is found."""
    tokenizer = vocabulary.Tokenizer([*vocabulary.SPECIAL, "красный", "круг"], 7)
    monkeypatch.setattr(model, "tokenizer", tokenizer)
    data = with_captions(scene_data, ("красный круг",))
    tokens = prepare(model, data, RECIPE).y
    assert tokenizer.decode(tokens[0]) == ["красный круг", "", "", "", ""]
    monkeypatch.setattr(vocabulary, "words", lambda text: re.findall("[a-z0-9]+", text))
    with pytest.raises(ValueError, match="1 of 1"):
        prepare(model, data, RECIPE)


def test_train_refuses_captions_that_say_nothing(folder, tmp_path, capsys):
    edit(folder, lambda d: [a.update(caption="кот") for a in d["annotations"]])
    words = ["--data", folder, "--epsilon", 3, "--output", tmp_path / "out"]
    words += ["--width", 16, "--heads", 2, "--image-size", 16, "--batch-size", 8]
    assert cli.main(["caption", "train", *map(str, words)]) == 2
    assert "without a known word: 200 of 200" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

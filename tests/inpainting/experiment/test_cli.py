"""`tfpriv inpaint prepare, finetune, ...`: end to end on a few drawn faces."""

import argparse
import json

import keras
import numpy as np
import pytest
from reading import read

from tfpriv import faces
from tfpriv.accounting import Ledger
from tfpriv.inpainting import FaceNet, load_classifier
from tfpriv.inpainting.experiment import (
    cli as training_commands,
)
from tfpriv.inpainting.experiment import (
    facenet_training,
    generation,
)
from tfpriv.inpainting.experiment.people import SPLIT, People
from tfpriv.networks.facenet.loading import load_facenet
from tfpriv.support.weights import digest_of

PEOPLE, PICTURES, SIZE = 20, 5, 32  # two persons are in none but the test partition


def run(*words):
    parser = argparse.ArgumentParser()
    training_commands.add_parsers(parser.add_subparsers(required=True))
    options = parser.parse_args([str(word) for word in words])
    options.handler(options)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "faces"
    run("prepare", "--output", folder, "--people", PEOPLE, "--pictures", PICTURES)
    return folder


@pytest.fixture(scope="module")
def facenets(tmp_path_factory):
    """Two files of narrow networks with random weights."""
    folder = tmp_path_factory.mktemp("networks")
    for number in range(2):
        keras.utils.set_random_seed(number)
        FaceNet(0.03).save(folder / f"{number}.keras")
    return [folder / f"{number}.keras" for number in range(2)]


@pytest.fixture(scope="module")
def finetuned(data, facenets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetuned") / "out"
    run("finetune", data, "--facenet", facenets[0], "--output", folder, "--size", SIZE)
    return folder


def test_prepare_draws_and_parts(data, capsys):
    people = People.load(data)
    assert (people.classes, len(people.testing)) == (PEOPLE, PEOPLE)
    before = (data / SPLIT).read_bytes()
    run("prepare", "--celeba", data)  # the same again
    with pytest.raises(FileExistsError, match="split in another way"):
        run("prepare", "--celeba", data, "--share", 0.6, "--seed", 5)
    assert (data / SPLIT).read_bytes() == before
    (data / SPLIT).unlink()
    run("prepare", "--celeba", data, "--share", 0.6, "--seed", 5)
    assert "60 to train with, 40 to test with" in capsys.readouterr().out
    assert len(People.load(data).testing) == 40
    (data / SPLIT).write_bytes(before)


@pytest.mark.parametrize("bad", [("--share", "nan"), ("--seed", -1), ("--people", 0)])
def test_prepare_leaves_nothing_of_a_mistake(tmp_path, bad):
    with pytest.raises(ValueError, match="Received: "):
        run("prepare", "--output", tmp_path / "faces", *bad)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "bad", [("--epochs", 0), ("--learning-rate", "nan"), ("--clip", 0), ("--seed", -1)]
)
def test_finetune_refuses_numbers_before_the_work(data, tmp_path, monkeypatch, bad):
    monkeypatch.setattr(FaceNet, "embed", lambda *_: pytest.fail("worked"))
    with pytest.raises(ValueError, match="Received: "):
        run("finetune", data, "--output", tmp_path / "out", *bad)


def test_prepare_names_missing_pictures(tmp_path):
    folder = faces.write_dataset(tmp_path / "faces", 2, 2, size=16)
    (folder / "img_align_celeba" / "000003.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"000003\.jpg"):
        run("prepare", "--celeba", folder)


def test_finetune_as_published(finetuned):
    classifier = load_classifier(finetuned / "classifier.keras")
    assert classifier.output_shape == (None, PEOPLE)
    ledger = Ledger.load(finetuned / "ledger.json")
    assert ledger.epsilon(1e-5) == np.inf
    ledger.check_weights(digest_of(classifier.weights))
    assert "epsilon = infinity" in (finetuned / "statement.txt").read_text()
    figures = json.loads((finetuned / "finetune.json").read_text())
    assert figures["FaceNet trained on"] == "unknown faces"
    assert figures["not covered by epsilon"].keys() == {
        "accuracy, training",
        "accuracy, testing",
    }


def test_other_files_are_no_classifiers(facenets, tmp_path):
    with pytest.raises(FileNotFoundError, match="no model"):
        load_classifier(tmp_path / "none.keras")
    with pytest.raises(ValueError, match="Expected a classifier over persons"):
        load_classifier(facenets[0])


def test_finetune_by_picture(data, facenets, tmp_path):
    words = ["--private", "picture", "--epsilon", 4, "--epochs", 2, "--size", SIZE]
    run("finetune", data, "--facenet", facenets[0], "--output", tmp_path / "a", *words)
    ledger = Ledger.load(tmp_path / "a" / "ledger.json")
    assert ledger.unit == "picture"
    assert 0 < ledger.epsilon(1e-5) <= 4
    classifier = load_classifier(tmp_path / "a" / "classifier.keras")
    ledger.check_weights(digest_of(classifier.weights))
    assert "each picture" in (tmp_path / "a" / "statement.txt").read_text()
    page = read(tmp_path / "a" / "report.html")
    for said in ("each picture", "ADD_OR_REMOVE_ONE", "delta = 1e-05", "rdp:"):
        assert said in page.words
    assert "that somebody is in the data, unless the unit is a person" in page.words
    figures = json.loads((tmp_path / "a" / "finetune.json").read_text())
    for figure in figures["not covered by epsilon"].values():
        assert f"{figure:.3f}" not in page.words
    with pytest.raises(FileExistsError, match="exists already"):
        run("finetune", data, "--facenet", facenets[0], "--output", tmp_path / "a")


def test_finetune_by_person(data, facenets, tmp_path):
    words = ["--private", "person", "--epsilon", 4, "--epochs", 2, "--size", SIZE]
    run("finetune", data, "--facenet", facenets[0], "--output", tmp_path / "a", *words)
    ledger = Ledger.load(tmp_path / "a" / "ledger.json")
    assert (ledger.unit, ledger.population) == ("person", 16)  # eight in ten
    assert 0 < ledger.epsilon(1e-5) <= 4
    network = load_facenet(tmp_path / "a/facenet.keras")
    ledger.check_weights(digest_of(network.weights))
    assert network.trained_on == "drawn faces"  # as the data are
    figures = json.loads((tmp_path / "a" / "finetune.json").read_text())
    assert figures["not covered by epsilon"].keys() == {
        "rank_one before",
        "verified before",
        "rank_one after",
        "verified after",
    }


def test_train_facenet(tmp_path, monkeypatch, capsys):
    """The recipe's numbers arrive; training itself has tests of its own."""
    given = {}

    def train(folder, network, recipe, progress):
        given.update(folder=folder, width=network.width, recipe=recipe)
        return network

    monkeypatch.setattr(facenet_training, "train_facenet", train)
    monkeypatch.setattr(facenet_training, "figures", lambda network: {"rank_one": 1})
    words = ["--width", 0.03, "--people", 9, "--seed", 4]
    run("train-facenet", "--output", tmp_path, *words)
    assert given["width"] == 0.03
    assert (given["recipe"].people, given["recipe"].seed) == (9, 4)
    assert given["recipe"].steps == facenet_training.FaceNetRecipe().steps
    assert "rank_one" in capsys.readouterr().out
    page = read(tmp_path / "report.html").words
    assert "FaceNet, trained without differential privacy" in page
    assert "rank_one 1.0000" in page


def test_evaluate(data, facenets, finetuned, tmp_path, capsys):
    pytest.importorskip("tfpriv.inpainting.photos.obfuscation")

    def fill(images, masks, seed):
        return np.where(masks[..., None], np.uint8(128), images)

    folder = tmp_path / "experiment"
    generation.generate_dataset(data, folder, "whole_face", fill, size=SIZE)
    words = ["--classifier", finetuned / "classifier.keras"]
    words += ["--second", facenets[1], "--data", data, "--output", tmp_path / "report"]
    run("evaluate", folder, *words)
    table = capsys.readouterr().out
    assert "| repainted |" in table
    assert f"among {PEOPLE} persons" in table
    for judge in ("the classifier", "the second recogniser"):
        assert f"Trained on unknown faces: {judge}." in table
    assert (tmp_path / "report" / "evaluation.png").is_file()
    assert "no differential privacy" in read(tmp_path / "report" / "report.html").words


def test_evaluate_refuses_pictures_that_were_trained_with(
    data, facenets, finetuned, tmp_path
):
    """Planted: a split that leaks, the folder's pictures being in the gallery."""
    people = People.load(data)
    swapped = People(people.celeba, people.labels, people.testing, people.training)

    def fill(images, masks, seed):
        return np.where(masks[..., None], np.uint8(128), images)

    folder = tmp_path / "experiment"
    generation.generate_dataset(swapped, folder, "random", fill, size=SIZE, limit=2)
    words = ["--classifier", finetuned / "classifier.keras"]
    words += ["--second", facenets[1], "--data", data, "--output", tmp_path / "report"]
    with pytest.raises(ValueError, match="the data set tests with"):
        run("evaluate", folder, *words)
    with pytest.raises(ValueError, match="go together"):
        run("evaluate", folder, *words[:4], "--output", tmp_path / "report")

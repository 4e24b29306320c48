"""Faces in photographs are compared by networks that were trained on photographs."""

import json

import keras
import numpy as np
import pytest
from photo_scenes import decoded, encoded, find, scene
from PIL import Image
from reading import read
from skimage import data

from tfpriv import cli
from tfpriv.faces import Face, draw, sample
from tfpriv.inpainting import (
    FaceNet,
    embedded,
    identity_classifier,
    load_facenet,
    recognition,
)
from tfpriv.inpainting.photos import anonymiser, recogniser
from tfpriv.inpainting.photos.anonymiser import Anonymiser, Settings
from tfpriv.inpainting.photos.boxes import Box
from tfpriv.inpainting.photos.recogniser import PhotoRecogniser
from tfpriv.networks.facenet import loading
from tfpriv.networks.facenet.network import DRAWN_FACES as DRAWN
from tfpriv.networks.facenet.network import PHOTOGRAPHS
from tfpriv.support import images

COPY = embedded.path(embedded.FACENET)
CELL, STRANGERS = 100, 12
REFUSED = "must be trained on the faces that it compares.*trained on"


@pytest.fixture(scope="module")
def facenet():
    """The embedded one, of drawn faces."""
    return embedded.facenet(None)


@pytest.fixture(scope="module")
def network_file(tmp_path_factory):
    """A file of a small network that was trained on such faces, as it says."""
    path, network = tmp_path_factory.mktemp("network") / "n.keras", FaceNet(0.03)

    def saved(faces):
        network.trained_on = faces
        network.save(path)
        return path

    return saved


@pytest.fixture(scope="module")
def crowd():
    """A photograph of real faces, of different persons, and where they are."""
    faces = np.rint(255 * data.lfw_subset()[: 1 + STRANGERS]).astype(np.uint8)
    large = [
        np.asarray(Image.fromarray(face).convert("RGB").resize((CELL, CELL)))
        for face in faces
    ]
    boxes = [Box((CELL * i + 15, 15, 70, 70)) for i in range(len(large))]
    return np.concatenate(large, 1), boxes


@pytest.fixture
def me(tmp_path, crowd):
    """The first person of the crowd, alone."""
    images.save(tmp_path / "me.png", crowd[0][:, :CELL])
    return tmp_path / "me.png"


def find_me(pixels):
    return [Face((15, 15, 70, 70), np.zeros((5, 2)), 0.99)]


def kept(network, crowd, me):
    """How many strangers a network leaves open."""
    keeper = recogniser.Keeper(PhotoRecogniser(network), me, find=find_me)
    faces = keeper(*crowd)
    assert faces[0].kept
    return sum(face.kept for face in faces[1:])


def test_planted_fault_strangers_are_published(facenet, crowd, me, monkeypatch):
    """Without the check, the network of drawn faces takes strangers for one person."""
    with pytest.raises(ValueError, match=f"{REFUSED} drawn faces"):
        kept(facenet, crowd, me)
    monkeypatch.setattr(recogniser, "trained_on", lambda network: PHOTOGRAPHS)
    published = kept(facenet, crowd, me)
    print(f"{published} of {STRANGERS} strangers are published")
    assert published > STRANGERS / 4


def test_keeping_a_person_asks_for_a_recogniser(me):
    with pytest.raises(ValueError, match="name a FaceNet trained on photographs"):
        Settings(keep_person=str(me))


def test_files_of_other_networks_are_refused(me, network_file):
    for path, faces in ((network_file(None), "unknown"), (COPY, "drawn")):
        settings = Settings(inpainter="black", keep_person=str(me), facenet=str(path))
        with pytest.raises(ValueError, match=f"{REFUSED} {faces} faces"):
            Anonymiser(settings, find=find_me)


def test_a_network_that_is_declared_to_know_photographs(network_file):
    path = network_file(PHOTOGRAPHS)
    assert load_facenet(path).trained_on == PHOTOGRAPHS
    faces = PhotoRecogniser.load(path)(scene((10, 20)), [Box((10, 20, 12, 12))])
    assert faces.shape == (1, 512)
    with pytest.raises(ValueError, match="Received: trained_on='real'"):
        FaceNet(0.03, trained_on="real")


def test_drawn_faces_are_kept_where_it_is_said_that_they_are_drawn(tmp_path):
    """A row of drawn persons: the one of the reference stays, the others do not."""
    faces = sample(3, 2, seed=3, first=20_000_000)
    drawn = draw(faces, CELL)
    reference, row = tmp_path / "me.png", np.concatenate(list(drawn[1::2]), 1)
    images.save(reference, drawn[0])
    places = tmp_path / "boxes.json"
    boxes = [[CELL * i + 20, 20, 60, 60] for i in range(3)]
    places.write_text(json.dumps({"row.png": boxes}))
    settings = Settings(
        inpainter="black",
        boxes=str(places),
        keep_person=str(reference),
        facenet="drawn",
    )
    assert len(settings.record()["facenet"]) == 64  # the digest of its file
    run = Anonymiser(
        settings, find=lambda pixels: [Face((20, 20, 60, 60), np.zeros((5, 2)), 1.0)]
    )
    outcome = run("row.png", encoded(row))
    assert [face.kept for face in outcome.faces] == [True, False, False]
    result = decoded(outcome.content)
    np.testing.assert_array_equal(result[:, : CELL - 20], row[:, : CELL - 20])
    assert all((result[50, CELL * i + 50] == 0).all() for i in (1, 2))


class Anybody:
    """Knows everybody."""

    trained_on = PHOTOGRAPHS

    def embed(self, pictures):
        return np.ones((len(pictures), 2), np.float32)


def test_how_many_were_kept_is_printed_and_on_the_page(tmp_path, monkeypatch, capsys):
    honest = Anonymiser.__init__
    monkeypatch.setattr(
        anonymiser.Anonymiser, "__init__", lambda self, s: honest(self, s, None, find)
    )
    monkeypatch.setattr(loading, "load_facenet", lambda path: Anybody())
    source, network = tmp_path / "photos", tmp_path / "n.pt"
    source.mkdir()
    network.touch()
    for i in range(3):
        images.save(source / f"{i}.png", scene((10, 20), (50, 30), seed=i))
    images.save(tmp_path / "me.png", scene((10, 20)))
    words = ["--inpainter", "black", "--facenet", network]
    words += ["--keep-person", tmp_path / "me.png", "--output", tmp_path / "out"]
    assert cli.main(["inpaint", str(source), *map(str, words)]) == 0
    said = capsys.readouterr().out
    assert "Faces covered: 0; left as they are: 6\n" in said
    assert "Look at the faces that were left" in said
    page = read(tmp_path / "out" / "report.html")
    assert "Faces left as they are: 6." in page.words
    assert cli.main(["inpaint", str(source / "0.png"), "--inpainter", "black"]) == 0
    said = capsys.readouterr().out
    assert "Faces covered: 2; left as they are: 0\n" in said
    assert "Look at" not in said


def test_networks_say_what_they_were_trained_on(facenet):
    assert facenet.trained_on == DRAWN
    assert recognition.trained_on(identity_classifier(facenet, 2)) == DRAWN
    assert recognition.trained_on(keras.Sequential()) == "unknown faces"

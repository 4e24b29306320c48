"""`tfpriv inpaint export`: each SavedModel answers; wrong arguments are named."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_inpainter import new_inpainter

from tfpriv import cli
from tfpriv.inpainting import FaceNet

SIZE = 16


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A FaceNet and an inpainter with random weights."""
    folder = tmp_path_factory.mktemp("networks")
    keras.utils.set_random_seed(0)
    FaceNet(0.03).save(folder / "facenet.keras")
    new_inpainter().save_diffusers(folder / "inpainter")
    return folder


def export(files, what, output, *words):
    given = {
        "facenet": ["--facenet", files / "facenet.keras"],
        "gradcam": ["--facenet", files / "facenet.keras", "--seen", 96],
        "inpainter": ["--inpainter", files / "inpainter", "--steps", 2],
    }
    given["pipeline"] = given["gradcam"] + given["inpainter"]
    command = ["inpaint", "export", what, "--output", output, *given[what], *words]
    return cli.main([str(word) for word in command])


def answer(folder, what, rng):
    served = tf.saved_model.load(folder)
    pictures = rng.integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    targets = rng.normal(size=(2, 512)).astype("float32")
    masks = np.ones((2, SIZE, SIZE), bool)
    seed = tf.constant([1, 2])
    return {
        "facenet": lambda: served.serve(pictures),
        "gradcam": lambda: served.serve(pictures, targets),
        "inpainter": lambda: served.serve_seeded(pictures, masks, seed),
        "pipeline": lambda: served.serve(pictures, targets, seed),
    }[what]().numpy()


@pytest.mark.parametrize(
    ("what", "shape", "dtype"),
    [
        pytest.param("facenet", (2, 512), "float32", marks=pytest.mark.slow),
        pytest.param("gradcam", (2, SIZE, SIZE), "bool", marks=pytest.mark.slow),
        pytest.param("inpainter", (2, SIZE, SIZE, 3), "uint8", marks=pytest.mark.slow),
        pytest.param("pipeline", (2, SIZE, SIZE, 3), "uint8", marks=pytest.mark.slow),
    ],
)
def test_each_answers(files, what, shape, dtype, rng, tmp_path, capsys):
    words = ["--size", SIZE] if what in ("inpainter", "pipeline") else []
    assert export(files, what, tmp_path / "model", *words) == 0
    said = capsys.readouterr().out
    assert "Written" in said
    assert ("FaceNet trained on: unknown faces" in said) == (what != "inpainter")
    found = answer(tmp_path / "model", what, rng)
    assert found.shape == shape
    assert found.dtype == dtype


@pytest.mark.parametrize(
    ("what", "words", "message"),
    [
        ("inpainter", ["--inpainter", "blur"], "network inside"),
        ("inpainter", ["--size", "17"], "multiples of"),
        ("inpainter", ["--size", "0"], "`size` is out of range"),
        ("inpainter", ["--guidance-scale", "nan"], "`guidance_scale`"),
        ("gradcam", ["--seen", "64"], "at least 75"),
        ("facenet", ["--facenet", "none.keras"], "no FaceNet here"),
    ],
)
def test_wrong_arguments(files, what, words, message, tmp_path, capsys):
    assert export(files, what, tmp_path / "model", *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()

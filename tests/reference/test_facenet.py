"""FaceNet equals facenet-pytorch, GradCAM the `grad-cam` package, masks OpenCV's."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfpriv.inpainting import FaceNet, load_facenet
from tfpriv.inpainting.masks import saliency, smoothing

sys.path.insert(0, str(Path(__file__).parents[1] / "inpainting" / "masks"))

import published

TOLERANCE = 1e-4  # of the largest value
SIZE = 160
CAM_LAYERS = {"branch_heat": saliency.LAYER, "repeat_2_heat": "repeat_2.9.relu"}


@pytest.fixture(scope="module")
def golden(run_torch, rng, tmp_path_factory):
    path = tmp_path_factory.mktemp("facenet") / "weights.pt"
    # Whole values, which a picture can have: its standardised ones are exact then.
    values = rng.integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    inputs = {
        "pictures": ((values - 127.5) / 128).astype(np.float32),
        "directions": rng.normal(size=512).astype(np.float32),
        "targets": rng.normal(size=(2, 512)).astype(np.float32),
        "saliency": rng.normal(size=(2, SIZE, SIZE, 3)).astype(np.float32),
        "seed": rng.integers(2**31),
        "path": np.array(str(path)),
    }
    return path, values, inputs, run_torch("facenet", inputs)


@pytest.fixture(scope="module")
def network(golden) -> FaceNet:
    return load_facenet(golden[0])


def error(found, right):
    worst = np.abs(found - right).max() / np.abs(right).max()
    print(f"largest difference {worst:.1e} of the largest value")
    return worst


def test_embeddings(golden, network):
    _, values, _, expected = golden
    assert error(network.embed(values), expected["embeddings"]) < TOLERANCE


def test_gradients_of_the_input(golden):
    """In doubles: where a ReLU's input is next to zero, the last bit decides."""
    path, _, inputs, expected = golden
    keras.config.set_dtype_policy("float64")
    try:
        network = load_facenet(path)
    finally:
        keras.config.set_dtype_policy("float32")
    pictures = tf.constant(inputs["pictures"], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(pictures)
        embeddings = network(pictures, training=False)
        total = tf.reduce_sum(embeddings * inputs["directions"].astype(float))
    found = tape.gradient(total, pictures).numpy()
    assert error(found, expected["gradients"]) < TOLERANCE
    assert error(embeddings.numpy(), expected["embeddings"]) < TOLERANCE


@pytest.mark.parametrize("name", CAM_LAYERS)
def test_grad_cam(golden, network, name):
    _, values, inputs, expected = golden
    found = saliency.similarity_heat(
        values, network, inputs["targets"], size=SIZE, layer=CAM_LAYERS[name]
    )
    # Single precision, and a stretch to 0 and 1: a ReLU may turn over here as well.
    print(f"largest difference {np.abs(found - expected[name]).max():.1e}")
    assert np.abs(found - expected[name]).max() < 5e-3
    assert np.abs(found - expected[name]).mean() < 2e-4


def test_pictures_are_enlarged_as_opencv_does(golden):
    _, _, inputs, expected = golden
    found = smoothing.resized(inputs["saliency"][0], 512, "cubic")
    assert error(found, expected["enlarged"]) < 1e-5


def test_the_published_gradient_masks(golden):
    """OpenCV blurs in whole numbers: a shade next to a threshold may fall otherwise."""
    _, _, inputs, expected = golden
    found = published.gradient_masks(inputs["saliency"])
    print(f"equal: {(found == expected['published']).mean():.4f} of the pixels")
    assert (found == expected["published"]).mean() > 0.99
    shades = np.flatnonzero(expected["jet"][:, 1] > 50)
    assert (shades[0], shades[-1]) == published.JET_GREEN
    assert len(shades) == np.diff(published.JET_GREEN)[0] + 1

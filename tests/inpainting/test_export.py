"""SavedModels of system 4 answer as the library does, where tfpriv is not."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tiny_inpainter import new_inpainter

from tfpriv.inpainting import FaceNet, export, grad_cam
from tfpriv.networks.diffusion import pipeline

SIZE = 16
# In another process, that never imports tfpriv.
PROGRAM = """
import sys
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
given = np.load(sys.argv[2])
found = model.serve(*[tf.constant(given[name]) for name in given.files])
np.save(sys.argv[3], found)
assert "tfpriv" not in sys.modules
"""


@pytest.fixture(scope="module")
def network():
    return FaceNet(width=0.05)


@pytest.fixture(scope="module")
def inpainter():
    return new_inpainter()


def pictures_of(rng, count, size):
    return rng.integers(0, 256, (count, size, size, 3), np.uint8)


def elsewhere(folder, tmp_path, *arguments):
    """What `serve` answers in a fresh process."""
    given, answer = tmp_path / "given.npz", tmp_path / "answer.npy"
    np.savez(given, *arguments)
    command = [sys.executable, "-I", "-c", PROGRAM, *map(str, (folder, given, answer))]
    subprocess.run(command, check=True, capture_output=True)
    return np.load(answer)


def test_facenet(network, rng, tmp_path):
    export.export_facenet(network, tmp_path / "model")
    pictures = pictures_of(rng, 2, 96)
    model = tf.saved_model.load(tmp_path / "model")
    found = model.serve(pictures)
    np.testing.assert_allclose(found, network.embed(pictures), atol=1e-5)


@pytest.mark.slow
def test_grad_cam(network, rng, tmp_path):
    options = {"size": 96, "layer": "repeat_2.9.relu"}
    export.export_grad_cam(network, tmp_path / "model", **options)
    model = tf.saved_model.load(tmp_path / "model")
    pictures, targets = (
        pictures_of(rng, 3, SIZE),
        network.embed(pictures_of(rng, 3, 96)),
    )
    targets[2] = 0  # is like nobody: where nothing speaks for a person, all is covered
    wanted = grad_cam(pictures, network, targets, **options)
    found = model.serve(pictures, targets).numpy()
    # Pixels at borders differ: the heat is enlarged by another library.
    assert np.mean(found != wanted) < 0.02
    assert 0 < wanted[:2].mean() < 1
    assert found[2].all()


@pytest.fixture(scope="module")
def exported(inpainter, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    export.export_inpainter(inpainter, folder, (SIZE, SIZE), "a b", steps=2)
    return folder


@pytest.fixture(scope="module")
def model(exported):
    return tf.saved_model.load(exported)


def masks_of(count):
    masks = np.zeros((count, SIZE, SIZE), bool)
    masks[:, 2:10, 5:14] = True
    return masks


def test_inpainter(inpainter, exported, rng, tmp_path):
    pictures, masks = pictures_of(rng, 2, SIZE), masks_of(2)
    noise = pipeline.initial_noise(7, 2, inpainter.latent_shape(SIZE, SIZE))
    found = elsewhere(exported, tmp_path, pictures, masks, noise)
    wanted = inpainter(pictures, masks, "a b", steps=2, seed=7)
    np.testing.assert_array_equal(found[~masks], pictures[~masks])
    difference = found.astype(int) - wanted
    assert np.abs(difference).max() <= 1  # of 255; where a value is rounded
    assert np.mean(difference != 0) < 0.01


def test_inpainter_with_a_seed(model, rng):
    pictures, masks = pictures_of(rng, 2, SIZE), masks_of(2)
    one, same, other = (
        model.serve_seeded(pictures, masks, tf.constant(seed)).numpy()
        for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_nothing_under_the_mask_shows(model, rng):
    pictures, masks = pictures_of(rng, 1, SIZE), masks_of(1)
    altered = pictures.copy()
    altered[masks] = rng.integers(0, 256, (masks.sum(), 3), np.uint8)
    outputs = [
        model.serve_seeded(p, masks, tf.constant([1, 2])).numpy().tobytes()
        for p in (pictures, altered)
    ]
    assert outputs[0] == outputs[1]


@pytest.mark.slow
def test_the_whole_pipeline(network, inpainter, rng, tmp_path):
    options = {"seen": 96, "layer": "repeat_2.9.relu"}
    export.export_pipeline(
        network, inpainter, tmp_path / "m", (SIZE, SIZE), "a b", steps=2, **options
    )
    model = tf.saved_model.load(tmp_path / "m")
    pictures = pictures_of(rng, 2, SIZE)
    targets = network.embed(pictures_of(rng, 2, 96))
    found = model.serve(pictures, targets, tf.constant([1, 2])).numpy()
    masks = grad_cam(
        pictures, network, targets, size=96, layer="repeat_2.9.relu", threshold=120
    )
    # Pixels at the masks' borders may be on either side: see `test_grad_cam`.
    assert np.mean((found != pictures).any(-1) != masks) < 0.05
    again = model.serve(pictures, targets, tf.constant([1, 2])).numpy()
    other = model.serve(pictures, targets, tf.constant([1, 3])).numpy()
    np.testing.assert_array_equal(found, again)
    assert (found != other).any()


def test_wrong_arguments(inpainter, network, tmp_path):
    with pytest.raises(ValueError, match="multiples of"):
        export.export_inpainter(inpainter, tmp_path / "m", (SIZE, SIZE + 1))
    with pytest.raises(ValueError, match="1 to 1000 steps"):
        export.export_inpainter(inpainter, tmp_path / "m", (SIZE, SIZE), steps=0)
    with pytest.raises(ValueError, match="at least 75"):
        export.export_grad_cam(network, tmp_path / "m", size=64)
    assert not (tmp_path / "m").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(FileExistsError):
        export.export_facenet(network, tmp_path / "full")

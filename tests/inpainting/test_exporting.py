"""SavedModels of system 4 answer as the library does, where tfpriv is not."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfpriv.inpainting import FaceNet, exporting, grad_cam
from tfpriv.inpainting.diffusion import pipeline
from tfpriv.inpainting.diffusion.small import small_inpainter

SIZE = 32
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
    return small_inpainter(SIZE)


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
    exporting.export_facenet(network, tmp_path / "model")
    pictures = pictures_of(rng, 2, 96)
    found = elsewhere(tmp_path / "model", tmp_path, pictures)
    np.testing.assert_allclose(found, network.embed(pictures), atol=1e-5)


def test_grad_cam(network, rng, tmp_path):
    keras.utils.set_random_seed(1)
    options = {"size": 96, "layer": "repeat_2.9.relu"}
    exporting.export_grad_cam(network, tmp_path / "model", **options)
    pictures, targets = (
        pictures_of(rng, 3, SIZE),
        network.embed(pictures_of(rng, 3, 96)),
    )
    wanted = grad_cam(pictures, network, targets, **options)
    model = tf.saved_model.load(tmp_path / "model")
    found = model.serve(pictures, targets).numpy()
    # Pixels at borders differ: the heat is enlarged by another library.
    assert np.mean(found != wanted) < 0.02
    assert 0 < wanted.mean() < 1


def test_where_nothing_speaks_for_the_person_all_is_covered(network, rng, tmp_path):
    exporting.export_grad_cam(network, tmp_path / "model", size=96)
    model = tf.saved_model.load(tmp_path / "model")
    targets = np.zeros((1, 512), np.float32)  # is like nobody: no gradient
    assert np.all(model.serve(pictures_of(rng, 1, SIZE), targets))


@pytest.fixture(scope="module")
def exported(inpainter, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    exporting.export_inpainter(inpainter, folder, (SIZE, SIZE), steps=3)
    return folder


def masks_of(count):
    masks = np.zeros((count, SIZE, SIZE), bool)
    masks[:, 5:20, 9:30] = True
    return masks


def test_inpainter(inpainter, exported, rng, tmp_path):
    pictures, masks = pictures_of(rng, 2, SIZE), masks_of(2)
    noise = pipeline.initial_noise(7, 2, inpainter.latent_shape(SIZE, SIZE))
    found = elsewhere(exported, tmp_path, pictures, masks, noise)
    wanted = inpainter(pictures, masks, steps=3, seed=7)
    np.testing.assert_array_equal(found[~masks], pictures[~masks])
    difference = found.astype(int) - wanted
    assert np.abs(difference).max() <= 1  # of 255; where a value is rounded
    assert np.mean(difference != 0) < 0.01


def test_inpainter_with_a_seed(inpainter, exported, rng):
    model = tf.saved_model.load(exported)
    pictures, masks = pictures_of(rng, 2, SIZE), masks_of(2)
    one, same, other = (
        model.serve_seeded(pictures, masks, tf.constant(seed)).numpy()
        for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_nothing_under_the_mask_shows(exported, rng):
    model = tf.saved_model.load(exported)
    pictures, masks = pictures_of(rng, 1, SIZE), masks_of(1)
    altered = pictures.copy()
    altered[masks] = rng.integers(0, 256, (masks.sum(), 3), np.uint8)
    outputs = [
        model.serve_seeded(p, masks, tf.constant([1, 2])).numpy().tobytes()
        for p in (pictures, altered)
    ]
    assert outputs[0] == outputs[1]


def test_wrong_arguments(inpainter, network, tmp_path):
    with pytest.raises(ValueError, match="multiples of"):
        exporting.export_inpainter(inpainter, tmp_path / "m", (SIZE, SIZE + 1))
    with pytest.raises(ValueError, match="no text encoder"):
        exporting.export_inpainter(inpainter, tmp_path / "m", (SIZE, SIZE), "a cat")
    with pytest.raises(ValueError, match="at least 75"):
        exporting.export_grad_cam(network, tmp_path / "m", size=64)
    assert not (tmp_path / "m").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(FileExistsError):
        exporting.export_facenet(network, tmp_path / "full")

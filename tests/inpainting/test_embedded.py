"""The embedded FaceNet and inpainter do what the docs say of them."""

import numpy as np
import pytest

from tfpriv import faces
from tfpriv.inpainting import embedded
from tfpriv.inpainting.experiment import facenet_training
from tfpriv.inpainting.photos import inpainters

SIZE = 64


@pytest.fixture(scope="module")
def inpainter():
    return inpainters.load()


@pytest.mark.slow
def test_facenet_knows_persons_it_never_saw():
    network = embedded.facenet(None)
    assert network.width == facenet_training.WIDTH
    assert facenet_training.figures(network, people=30)["rank_one"] > 0.95


def test_the_inpainter_is_small_and_for_64_pixels(inpainter):
    assert inpainters.pixels(inpainter) == SIZE
    assert inpainter.unet.count_params() + inpainter.vae.count_params() < 2_400_000


@pytest.mark.slow
def test_what_is_painted_fits_better_than_grey_and_shows_nothing(inpainter):
    rng = np.random.default_rng(3)
    pictures = faces.draw(faces.sample(8, seed=21), SIZE, zoom=facenet_training.ZOOM)
    masks = np.zeros((8, SIZE, SIZE), bool)
    masks[:, 4:16, 26:38] = True  # hair, of which the rest is seen
    painted = inpainter(pictures, masks, steps=20, seed=1)
    np.testing.assert_array_equal(painted[~masks], pictures[~masks])
    error = np.abs(painted[masks].astype(float) - pictures[masks]).mean()
    assert error < 0.8 * np.abs(128.0 - pictures[masks]).mean()
    altered = pictures.copy()
    altered[masks] = rng.integers(0, 256, altered[masks].shape, np.uint8)
    assert inpainter(altered, masks, steps=20, seed=1).tobytes() == painted.tobytes()

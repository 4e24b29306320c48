"""VGG-16's features equal torchvision's, LPIPS its authors' package."""

import numpy as np
import pytest

from tfpriv.editing.losses import SEED_LAYERS
from tfpriv.networks.perception import vgg
from tfpriv.networks.perception.lpips import Lpips

TOLERANCE = 1e-5  # of the largest value


@pytest.fixture(scope="module")
def golden(run_torch, rng, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    pictures = rng.uniform(-1, 1, (2, 2, 48, 64, 3)).astype("float32")
    relus = [f"relu_{number}" for number in SEED_LAYERS]
    seed = rng.integers(2**31)
    inputs = {"pictures": pictures, "path": path, "relus": relus, "seed": seed}
    return (
        path,
        pictures,
        run_torch(
            "vgg",
            {k: np.array(str(v) if k == "path" else v) for k, v in inputs.items()},
        ),
    )


def test_features(golden):
    path, pictures, expected = golden
    network = vgg.features(path, SEED_LAYERS, size=None)
    for number, found in zip(
        SEED_LAYERS, network((pictures[0] + 1) * 127.5), strict=True
    ):
        right = expected[f"relu_{number}"]
        error = np.abs(np.asarray(found) - right).max() / np.abs(right).max()
        assert error < TOLERANCE, number


def test_lpips(golden):
    path, pictures, expected = golden
    np.testing.assert_allclose(Lpips(path)(*pictures), expected["distances"], rtol=1e-4)

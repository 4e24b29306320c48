"""A StyleGAN of 16 pixels with random weights, in memory and as genforce's file."""

import pathlib
import sys

import pytest

# Helpers lie beside these tests.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

TINY = {"latent_dim": 6, "channels": (7, 5, 4), "fused_from": 16}


@pytest.fixture(scope="session")
def tiny_weights():
    """Weights of 16 pixels, doubled once each way: by a convolution, and transposed."""
    from random_weights import genforce_weights

    return genforce_weights(16, seed=3, **TINY)


@pytest.fixture(scope="session")
def tiny_file(tiny_weights, tmp_path_factory):
    from foreign_files import write_torch

    path = tmp_path_factory.mktemp("stylegan") / "tiny.pth"
    write_torch(path, tiny_weights)
    return path


@pytest.fixture(scope="session")
def tiny(tiny_file):
    """The generator; not to be changed."""
    from tfpriv.networks.stylegan import load_generator

    return load_generator(tiny_file)

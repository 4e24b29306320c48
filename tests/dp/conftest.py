"""What the tests of private training share."""

import os
import pathlib
import sys

import keras
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import oracle


@pytest.fixture
def rng():
    """Fresh random numbers; the seed is printed where a test fails."""
    seed = int(os.environ.get("TFPRIV_TEST_SEED") or int.from_bytes(os.urandom(4)))
    print(f"random inputs of this run: TFPRIV_TEST_SEED={seed}")
    keras.utils.set_random_seed(seed)
    return np.random.default_rng(seed)


@pytest.fixture(params=["float32", "float64"])
def floatx(request):
    """Runs a test in both precisions."""
    with oracle.precision(request.param):
        yield request.param

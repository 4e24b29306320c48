"""Where randomness comes from; what reads pages."""

import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "report"))  # reads pages


@pytest.fixture
def rng():
    return np.random.default_rng()

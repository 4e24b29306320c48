"""Keys, and helpers beside the tests."""

import os
import pathlib
import sys

import numpy as np
import pytest

# Helpers of these tests lie beside them.
sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture
def key() -> np.ndarray:
    """A key, new in each run with `--fresh`; pytest shows the key of a failed test."""
    key = np.frombuffer(os.urandom(32), np.uint8)
    print(f"key: {key.tobytes().hex()}")
    return key

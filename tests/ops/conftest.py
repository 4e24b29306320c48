"""Both implementations of the ops, and keys from the operating system."""

import os
import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from tfpriv.ops import loader


@pytest.fixture
def key() -> np.ndarray:
    """A new key each run; pytest shows the key of a failed test."""
    key = np.frombuffer(os.urandom(32), np.uint8)
    print(f"key: {key.tobytes().hex()}")
    return key


@pytest.fixture(params=["native", "twin"])
def implementation(request, monkeypatch) -> str:
    """Runs the test on the native op and on the pure-TensorFlow twin."""
    monkeypatch.setenv(loader.ENV, "0" if request.param == "native" else "1")
    if request.param == "native" and not loader.native_available():
        pytest.skip(loader.why_not_native())
    return request.param


@pytest.fixture
def native(monkeypatch):
    """The module of native ops."""
    monkeypatch.setenv(loader.ENV, "0")
    if not loader.native_available():
        pytest.skip(loader.why_not_native())
    return loader.native_ops()

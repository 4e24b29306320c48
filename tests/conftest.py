"""What every test gets: a quiet TensorFlow on the CPU, and both kinds of ops."""

import os

import pytest

# Before any test module imports TensorFlow, which reads these while it loads.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(params=["native", "twin"])
def implementation(request, monkeypatch) -> str:
    """Runs the test on the native ops and on the pure-TensorFlow twins."""
    from tfpriv.ops import loader

    monkeypatch.setenv(loader.ENV, "0" if request.param == "native" else "1")
    if request.param == "native" and not loader.native_available():
        pytest.skip(loader.why_not_native())
    return request.param


@pytest.fixture
def native(monkeypatch):
    """The module of native ops."""
    from tfpriv.ops import loader

    monkeypatch.setenv(loader.ENV, "0")
    if not loader.native_available():
        pytest.skip(loader.why_not_native())
    return loader.native_ops()

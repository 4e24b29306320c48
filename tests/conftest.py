"""What every test gets: a quiet TensorFlow, equal random weights, both kinds of ops.

And, for those that ask: a disk that is full, a folder in which nothing can be written.
"""

import contextlib
import hashlib
import itertools
import os
import resource
import secrets
import tempfile
import zlib
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# Before any test module imports TensorFlow, which reads these while it loads.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("MPLBACKEND", "Agg")
# With oneDNN, which TensorFlow 2.21 takes on newer processors with AVX-512, its own
# convolution is wrong in corner cases (docs/ops.md): no oracle for ours.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

# A change must not fail by another's bad luck: hypothesis draws the same examples each
# time, and so do `rng` and `os.urandom`. The long tests and `--fresh` search on.
hypothesis.settings.register_profile("same", derandomize=True)


def pytest_addoption(parser):
    parser.addoption("--fresh", action="store_true", help="new random inputs")


def _fresh(config):
    return config.getoption("fresh") or config.getoption("markexpr") == "slow"


def pytest_configure(config):
    hypothesis.settings.load_profile("default" if _fresh(config) else "same")


def _seed(name: str) -> None:
    import keras

    # Not one seed for all: a model that starts with the very weights of another, which
    # was made private in an earlier test, would be taken for its copy.
    keras.utils.set_random_seed(zlib.crc32(name.encode()))


@contextlib.contextmanager
def _seeded(request):
    """The same random weights in every run, and the same randomness of the system.

    Others for another name. With `--fresh`, and in processes that a test starts, the
    system's is its own.
    """
    name, count = request.node.nodeid, itertools.count()

    def urandom(size):
        return hashlib.shake_256(f"{name} {next(count)}".encode()).digest(size)

    _seed(name)
    with pytest.MonkeyPatch.context() as patch:
        if not _fresh(request.config):
            patch.setattr(os, "urandom", urandom)
        yield


@pytest.fixture(scope="module", autouse=True)
def seeded_module(request):
    """The same randomness in what a file's tests share, whatever ran before."""
    with _seeded(request):
        yield


@pytest.fixture(autouse=True)
def seeded(request, seeded_module):
    """The same randomness in every run of a test, and another in every test."""
    with _seeded(request):
        yield


@pytest.fixture
def rng(request):
    """A test's random inputs: the same in every run; with `--fresh`, new ones."""
    seed = zlib.crc32(request.node.nodeid.encode())
    if _fresh(request.config):
        seed = secrets.randbits(32)
    request.node.add_report_section("setup", "rng", f"random inputs of seed {seed}")
    return np.random.default_rng(seed)


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


@pytest.fixture
def full_disk():
    """`with full_disk(size)`: no file can grow beyond so many bytes.

    The system writes what still fits and refuses the rest, as a full disk does.
    """

    @contextlib.contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


class ReadOnly:
    """A folder; within `with` nothing can be written in it.

    The administrator may write anywhere, and is another user meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._user = folder, os.geteuid()

    def __enter__(self) -> Path:
        self.folder.chmod(0o555)
        if self._user == 0:
            os.seteuid(65534)
        return self.folder

    def __exit__(self, *_) -> None:
        os.seteuid(self._user)
        self.folder.chmod(0o755)


@pytest.fixture
def read_only():
    """A `ReadOnly` folder that other users reach, which `tmp_path` is not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield ReadOnly(Path(name))

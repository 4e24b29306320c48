"""The native library may be missing, broken or switched off; the twin takes over."""

import shutil
import struct
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf

from tfpriv.ops import gaussian_noise, loader, native_available, why_not_native

BUILT = loader.LIBRARY


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Points the loader at a file of the test's own, which does not exist yet."""
    path = tmp_path / "_native.so"
    monkeypatch.setenv(loader.ENV, "0")
    monkeypatch.setattr(loader, "LIBRARY", path)
    loader._load.cache_clear()
    loader._warn_once.cache_clear()
    yield path
    loader._load.cache_clear()
    loader._warn_once.cache_clear()


def test_a_missing_library_is_explained_once_and_replaced(native, library, key):
    expected = native.tfpriv_gaussian_noise(key=key, shape=[100], stream=0)
    assert not native_available()
    assert "C++ compiler" in why_not_native()
    with pytest.warns(RuntimeWarning, match="without its native ops") as caught:
        values = gaussian_noise(key, [100])
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gaussian_noise(key, [100])
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("content", [b"", b"not a library"])
def test_a_broken_library_is_explained(library, content):
    library.write_bytes(content)
    assert not native_available()
    assert "does not load" in why_not_native()


def foreign(path, kind):
    """A library for another TensorFlow, or for another machine."""
    if kind == "another machine":
        content = bytearray(BUILT.read_bytes())
        content[18:20] = struct.pack("<H", 243)  # ELF's e_machine: RISC-V
        path.write_bytes(content)
        return
    source = path.with_suffix(".cc")
    source.write_text(
        'extern "C" void TF_Future(); extern "C" void TF_InitKernel() { TF_Future(); }'
    )
    command = ["g++", "-shared", "-fPIC", source, "-o", path]
    if kind == "another major version":
        stub = path.with_name("libtensorflow_framework.so.9")
        soname = f"-Wl,-soname,{stub.name}"
        empty = ["-x", "c++", "/dev/null"]
        subprocess.run(
            ["g++", "-shared", "-fPIC", *empty, soname, "-o", stub], check=True
        )
        command += ["-Wl,--no-as-needed", stub]
    subprocess.run(command, check=True)
    if kind == "another major version":
        stub.unlink()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("a function that this TensorFlow lacks", "undefined symbol: TF_Future"),
        ("another major version", "libtensorflow_framework.so.9: cannot open"),
        ("another machine", "does not load"),
    ],
)
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_library_for_another_tensorflow_is_explained_in_one_line(
    native, library, key, kind, reason
):
    expected = native.tfpriv_gaussian_noise(key=key, shape=[100], stream=0)
    foreign(library, kind)
    assert not native_available()
    assert reason in why_not_native()
    assert "\n" not in why_not_native()
    with pytest.warns(RuntimeWarning, match="without its native ops"):
        np.testing.assert_array_equal(gaussian_noise(key, [100]), expected)


def test_a_library_of_another_build_is_explained(library, monkeypatch):
    monkeypatch.setattr(loader, "OPS", ("tfpriv_gaussian_noise", "tfpriv_future"))
    monkeypatch.setattr(
        loader, "LIBRARY", loader.Path(loader.__file__).parent / "_native.so"
    )
    if not loader.LIBRARY.exists():
        pytest.skip("no native ops")
    assert "lacks ['tfpriv_future']" in why_not_native()


def test_the_environment_asks_for_the_twin(monkeypatch, key, recwarn):
    monkeypatch.setenv(loader.ENV, "1")
    assert not native_available()
    assert loader.ENV in why_not_native()
    gaussian_noise(key, [3])
    assert not recwarn.list


def test_saved_models_with_the_op(tmp_path, monkeypatch, native, key):
    """A graph with the native op needs the library; one with the twin needs nothing."""
    for name, choice in (("native", "0"), ("twin", "1")):
        monkeypatch.setenv(loader.ENV, choice)
        module = tf.Module()
        module.noise = tf.function(
            lambda key: gaussian_noise(key, [100], stream=5),
            input_signature=[tf.TensorSpec((32,), tf.uint8)],
        )
        tf.saved_model.save(module, str(tmp_path / name))
    monkeypatch.setenv(loader.ENV, "0")
    code = f"""
import numpy as np, tensorflow as tf
key = np.frombuffer(bytes.fromhex("{key.tobytes().hex()}"), np.uint8)
twin = tf.saved_model.load({str(tmp_path / "twin")!r}).noise(key)
try:
    tf.saved_model.load({str(tmp_path / "native")!r})
except Exception as error:
    assert "TfprivGaussianNoise" in str(error), error
else:
    raise AssertionError("loaded without the library")
from tfpriv import ops
assert ops.native_available()
native = tf.saved_model.load({str(tmp_path / "native")!r}).noise(key)
np.testing.assert_array_equal(native, twin)
np.testing.assert_array_equal(native, ops.gaussian_noise(key, [100], stream=5))
"""
    subprocess.run([sys.executable, "-c", code], check=True)

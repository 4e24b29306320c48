"""SavedModels of twins: with and without the key, with and without tfpriv."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfpriv import ops
from tfpriv.shuffling import Key, keyed, new_nonces, preresnet, shuffle

MODES = {"serve": "fixed", "serve_per_picture": "per picture"}
# Runs where tfpriv cannot be imported: the pictures come from a file.
PROGRAM = """
import sys
import numpy as np
import tensorflow as tf
assert "tfpriv" not in sys.modules
model = tf.saved_model.load(sys.argv[1])
given = np.load(sys.argv[2])
for name in ("serve", "serve_per_picture"):
    arguments = [tf.constant(given[f"{name}_{i}"]) for i in range(int(given[name]))]
    found = getattr(model, name)(*arguments)
    np.testing.assert_allclose(found, given["wanted"], rtol=0, atol=1e-4)
"""


@pytest.fixture(scope="module")
def key():
    return Key.generate()


@pytest.fixture(scope="module")
def network():
    return preresnet(8, (8, 8, 3), 3)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")


def arguments(name, twin, key, pictures, include_key):
    """What an endpoint is called with."""
    nonces = new_nonces(len(pictures)) if name == "serve_per_picture" else None
    given = [shuffle(pictures, key, nonces)]
    given += [] if nonces is None else [nonces]
    return given + ([] if include_key else [twin.derived_keys(key, MODES[name])])


@pytest.mark.parametrize("portable", [True, False])
@pytest.mark.parametrize("include_key", [True, False])
def test_both_endpoints_answer_as_the_network(
    key, network, pictures, include_key, portable, tmp_path
):
    if not portable and not ops.native_available():
        pytest.skip(ops.why_not_native())
    twin = keyed(network, key)
    twin.export(
        str(tmp_path), include_key=include_key, portable=portable, verbose=False
    )
    exported = tf.saved_model.load(tmp_path)
    for name in MODES:
        found = getattr(exported, name)(
            *arguments(name, twin, key, pictures, include_key)
        )
        np.testing.assert_allclose(found, network(pictures), rtol=0, atol=1e-4)


def files_with(folder: Path, secret: bytes) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and secret in path.read_bytes()
    ]


def test_no_secret_is_in_an_export_without_the_key(key, network, tmp_path):
    """And each is found in one with it: the test can see them."""
    twin = keyed(network, key)
    twin.predict(np.zeros((1, 8, 8, 3), "float32"), verbose=0)  # with all permutations
    folders = {}
    for include_key in (True, False):
        folders[include_key] = tmp_path / str(include_key)
        twin.export(str(folders[include_key]), include_key=include_key, verbose=False)
    permutations = [p.tobytes() for p in twin.fixed_permutations().values()]
    long_ones = [p for p in permutations if len(p) >= 64]
    derived = [bytes(k) for k in twin.derived_keys(key, "per picture")]
    assert all(files_with(folders[True], secret) for secret in (*long_ones, *derived))
    secrets = [*long_ones, *derived, *map(bytes, twin.derived_keys(key, "fixed"))]
    assert not any(files_with(folders[False], secret) for secret in secrets)


def run_elsewhere(python, folder, given):
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "PATH": os.environ["PATH"]}
    command = [python, "-I", "-c", PROGRAM, str(folder), str(given)]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True
    )


@pytest.fixture
def portable_export(key, network, pictures, tmp_path):
    """A folder with the SavedModel, and a file with calls and their answers."""
    twin = keyed(network, key)
    twin.export(str(tmp_path / "model"), verbose=False)
    calls = {"wanted": np.asarray(network(pictures))}
    for name in MODES:
        given = arguments(name, twin, key, pictures, include_key=False)
        calls[name] = np.array(len(given))
        calls |= {f"{name}_{i}": value for i, value in enumerate(given)}
    np.savez(tmp_path / "calls.npz", **calls)
    return tmp_path / "model", tmp_path / "calls.npz"


@pytest.mark.slow
def test_a_portable_export_runs_without_tfpriv(portable_export):
    done = run_elsewhere(sys.executable, *portable_export)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_portable_export_runs_where_only_tensorflow_is(portable_export, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    version = f"tensorflow=={tf.__version__}"
    subprocess.run([python, "-m", "pip", "install", "-q", version], check=True)
    done = run_elsewhere(python, *portable_export)
    assert done.returncode == 0, done.stderr


def test_a_native_export_names_the_op_that_is_missing(key, network, tmp_path):
    if not ops.native_available():
        pytest.skip(ops.why_not_native())
    keyed(network, key).export(str(tmp_path), portable=False, verbose=False)
    done = run_elsewhere(sys.executable, tmp_path, tmp_path / "none")
    assert done.returncode != 0
    assert "Tfpriv" in done.stderr


def test_native_ops_that_are_not_there(key, network, tmp_path, monkeypatch):
    monkeypatch.setenv("TFPRIV_PY_OPS", "1")
    with pytest.raises(ValueError, match="native ops"):
        keyed(network, key).export(str(tmp_path / "m"), portable=False)
    assert not (tmp_path / "m").exists()


def test_a_locked_twin_has_no_key_to_include(network, tmp_path):
    twin = keyed(network, None)
    with pytest.raises(ValueError, match="no key to include"):
        twin.export(str(tmp_path / "m"), include_key=True)
    assert not (tmp_path / "m").exists()


def test_saved_model_save_does_not_leak(key, network, tmp_path):
    with pytest.raises(ValueError, match="permutations of the key"):
        tf.saved_model.save(keyed(network, key), str(tmp_path / "m"))

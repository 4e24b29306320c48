"""Models from files: damage is one error that names the file; code is not run."""

import keras
import numpy as np
import pytest

from tfpriv.support.models import load_model


@pytest.fixture
def file(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_a_model_comes_back(file):
    assert load_model(file).output_shape == (None, 2)


def test_any_damage_is_one_error_or_harmless(file):
    """Cut at 40 lengths; 200 bytes changed, one at a time."""
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    x = np.ones((1, 3), "float32")
    expected = load_model(file)(x).shape
    damaged = [whole[:n] for n in rng.integers(0, len(whole), 40)]
    for at in rng.integers(0, len(whole), 200):
        changed = bytes([whole[at] ^ int(rng.integers(1, 256))])
        damaged.append(whole[:at] + changed + whole[at + 1 :])
    refused = 0
    for content in damaged:
        file.write_bytes(content)
        try:
            assert load_model(file)(x).shape == expected
        except ValueError as error:
            refused += "model.keras" in str(error)
    assert refused >= 40  # each that was cut, at least


def test_another_file_and_another_model(file, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no model.*none\.keras"):
        load_model(tmp_path / "none.keras")
    with pytest.raises(ValueError, match=r"Expected a reader. Received: Functional in"):
        load_model(file, "a reader", keras.Sequential)


def test_code_in_a_model_is_refused_and_not_run(tmp_path):
    """A layer whose function lies in the file, as Python bytecode."""
    target = tmp_path / "touched"
    name = str(target)
    touch = keras.layers.Lambda(
        lambda x: (open(name, "w").close(), x)[1], output_shape=(1,)
    )
    inputs = keras.Input((1,))
    keras.Model(inputs, touch(inputs)).save(tmp_path / "model.keras")
    keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)(np.ones((1, 1)))
    target.unlink()  # it does run where it is allowed to
    with pytest.raises(ValueError, match=r"Received: .*model\.keras"):
        load_model(tmp_path / "model.keras")
    assert not target.exists()


def test_a_file_cut_short_is_not_called_absent(tmp_path):
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match="no whole"):
        load_model(path)

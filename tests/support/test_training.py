"""States of trainings that are in one file."""

import json

import keras
import numpy as np
import pytest

from tfpriv.support.training import Backup, restore_state, save_state


class Variable:
    """Holds what it was given."""

    value = None

    def assign(self, value):
        self.value = value


def test_a_state_is_taken_up(tmp_path):
    save_state(tmp_path / "a.npz", [np.arange(3.0)], {"recipe": 1}, 7)
    variable = Variable()
    assert restore_state(tmp_path / "a.npz", [variable], {"recipe": 1}) == 7
    np.testing.assert_array_equal(variable.value, np.arange(3.0))
    assert restore_state(tmp_path / "new" / "a.npz", [variable], {"recipe": 1}) == 0


def test_a_folder_of_other_things_is_no_trainings(tmp_path):
    """They might be replaced: samples.png, generator.keras, inpainter/."""
    (tmp_path / "samples.png").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other files"):
        restore_state(tmp_path / "a.npz", [Variable()], {"recipe": 1})


@pytest.mark.parametrize("line", ["[]", "3", '"a"', "{}", "{", "[" * 100_000, 7])
def test_a_damaged_line_is_a_clear_error(tmp_path, line):
    path = tmp_path / "a.npz"
    save_state(path, [np.arange(3.0)], {"recipe": 1}, 7)
    with np.load(path) as arrays:
        content = dict(arrays)
    (name,) = [name for name in content if name != "0"]
    assert json.loads(content[name].item())["done"] == 7
    np.savez(path, **(content | {name: np.array(line)}))
    with pytest.raises(ValueError, match=r"damaged. Received: .*a\.npz"):
        restore_state(path, [Variable()], {"recipe": 1})


def fit(*callbacks):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 2)), np.ones(4), verbose=0, callbacks=callbacks)


def test_a_backup_removes_nothing_but_its_own(tmp_path):
    folder = tmp_path / "training"
    fit(Backup(folder))
    assert not folder.exists()
    backup = Backup(folder)
    folder.mkdir()
    (folder / "labels.csv").write_text("made meanwhile")
    fit(backup)
    assert [path.name for path in folder.iterdir()] == ["labels.csv"]
    with pytest.raises(FileExistsError, match=r"labels\.csv"):
        Backup(folder)

"""The training loop and the states of trainings, which are in one file."""

import itertools
import json

import keras
import numpy as np
import pytest

from tfpriv.support.training import (
    Backup,
    batches_of_rows,
    restore_state,
    run,
    run_model,
    save_state,
)


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


class Sum:
    """A training whose state is the sum of its batches."""

    def __init__(self):
        self.total, self.saved = keras.Variable(0.0), []

    def step(self, number, batch):
        self.total.assign(self.total + batch)
        return float(batch)

    def run(self, checkpoint, steps=5, **options):
        run(
            self.step,
            itertools.count,
            [self.total],
            steps,
            checkpoint=checkpoint,
            owner={"recipe": 1},
            save_every=2,
            on_save=lambda *saved: self.saved.append(saved),
            **options,
        )
        return float(self.total.numpy())


def test_the_loop_saves_and_resumes(tmp_path):
    checkpoint, seen = tmp_path / "new" / "a.npz", []

    def stop(*done_and_steps):
        seen.append(done_and_steps)
        if done_and_steps[0] == 3:
            raise KeyboardInterrupt

    killed, again, finished = Sum(), Sum(), Sum()
    with pytest.raises(KeyboardInterrupt):
        killed.run(checkpoint, progress=stop)
    assert seen == [(1, 5), (2, 5), (3, 5)]
    assert killed.saved == [(2, 1.0, 1)]
    assert again.run(checkpoint) == 0 + 1 + 2 + 3 + 4
    assert again.saved == [(4, 3.0, 3), (5, 4.0, 4)]
    assert finished.run(checkpoint) == 10
    assert finished.saved == []
    assert Sum().run(None) == 10


@pytest.mark.parametrize("loss", [np.nan, (0.0, np.inf)])
def test_losses_that_are_not_finite_are_an_error_and_not_saved(tmp_path, loss):
    training = Sum()
    training.step = lambda number, batch: loss if number == 1 else 0.0
    with pytest.raises(ValueError, match=r"diverged.*at step 1"):
        training.run(tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


def test_batches_of_rows_are_the_same_from_any_step_on():
    def rows(start, stop):
        return list(itertools.islice(batches_of_rows(7, 2, 0, start), stop - start))

    whole = rows(0, 9)
    for first in (0, 3, 6):
        one_pass = np.concatenate(whole[first : first + 3])
        assert len(set(one_pass)) == 6
    np.testing.assert_array_equal(rows(4, 9), whole[4:])
    with pytest.raises(ValueError, match="Received: 1 "):
        next(batches_of_rows(1, 2, 0, 0))


def noisy_model():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((2,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    model = keras.Sequential([*layers, keras.layers.BatchNormalization()])
    model.compile("adam", "mse")
    return model


def test_a_model_resumes_and_its_checkpoint_is_removed(tmp_path):
    def batches(start):
        for number in itertools.count(start):
            random = np.random.default_rng(number)
            yield random.normal(size=(4, 2)), random.normal(size=(4, 1))

    def stop(done, steps):
        if done == 3:
            raise KeyboardInterrupt

    options = {"folder": tmp_path / "training", "owner": {}, "save_every": 2}
    killed = noisy_model()
    with pytest.raises(KeyboardInterrupt):
        run_model(killed, batches, 5, progress=stop, **options)
    again, whole, seen = noisy_model(), noisy_model(), []
    run_model(again, batches, 5, progress=lambda *x: seen.append(x), **options)
    assert seen == [(3, 5), (4, 5), (5, 5)]
    assert not (tmp_path / "training").exists()
    run_model(whole, batches, 5, folder=None, owner={})
    for one, other in zip(whole.variables, again.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_models_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "latest.weights.h5").write_text("of an older version")
    with pytest.raises(FileExistsError, match="holds other files"):
        run_model(noisy_model(), iter, 1, folder=tmp_path, owner={})

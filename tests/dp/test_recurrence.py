"""Recurrent layers with dropout: both engines drop out the same.

Without dropout, `test_ghost_models.py` compares them with a loop over examples.
"""

import contextlib

import keras
import numpy as np
import pytest
from engines import normal
from keras import layers

import tfpriv.dp as dp
from tfpriv.dp import keras_internals
from tfpriv.dp.clipping import recurrence

MAKE = {
    "lstm": lambda: layers.LSTM(4, dropout=0.5),
    "rnn": lambda: layers.SimpleRNN(
        4, dropout=0.5, recurrent_dropout=0.3, go_backwards=True
    ),
}


def step(make, engine, start, data):
    """The weights after two steps with a test seed, and those before."""
    model = keras.Sequential([keras.Input((5, 3)), make(), layers.Dense(2)])
    if start is not None:
        model.set_weights(start)
    start = model.get_weights()
    dp.make_private(model, seed=3, engine=engine)
    model.compile(dp.DPSGD(0.5, l2_norm_clip=0.3, noise_multiplier=0.0), loss="mse")
    model.fit(*data, batch_size=6, verbose=0)
    return model.get_weights(), start


def assert_same_step(make, rng):
    data = normal(rng, 12, 5, 3), normal(rng, 12, 2)
    fast, start = step(make, "ghost", None, data)
    wanted, _ = step(make, "vectorized", start, data)
    for one, other, before in zip(fast, wanted, start, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
        assert np.abs(one - before).max() > 1e-3


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_dropout_is_that_of_the_forward_pass(make, rng):
    assert_same_step(make, rng)


def test_planted_loop_back_without_dropout_is_found(monkeypatch, rng):
    @contextlib.contextmanager
    def given(self, rows, weights):
        values = zip(self._cell.weights, weights, strict=True)
        without = dict.fromkeys(rows["dropout"], 1.0)
        instead = keras_internals.instead_of(self._cell, **without)
        with keras.StatelessScope(list(values)), instead:
            yield

    monkeypatch.setattr(recurrence._Steps, "_given", given)
    with pytest.raises(AssertionError):
        assert_same_step(MAKE["rnn"], rng)

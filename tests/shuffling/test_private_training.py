"""Keyed networks are trained privately, on shuffled images, as the plain ones are."""

import keras
import numpy as np
import pytest
from keras import layers

import tfpriv.dp as dp
from tfpriv.accounting import Ledger, mechanisms
from tfpriv.dp.exporting import LEDGER_NAME
from tfpriv.shuffling import keyed, new_nonces, shuffle

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
Y = np.array([0, 1, 1, 0])


def images():
    return np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype("float32")


def network():
    """Every keyed op: convolution, both poolings."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(3, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, 2),
            layers.AveragePooling2D(2, 1, padding="same"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )


def gradients(model, x, engine):
    return dp.clipped_gradients(model, x, Y, loss=LOSS, l2_norm_clip=0.5, engine=engine)


@pytest.mark.parametrize("engine", ["ghost", "vectorized"])
def test_clipped_gradients_are_those_of_the_plain_network(engine, key):
    x = images()
    wanted, wanted_norms = gradients(network(), x, "vectorized")
    nonces = new_nonces(len(x))
    for shuffled in (shuffle(x, key), (shuffle(x, key, nonces), nonces)):
        found, norms = gradients(keyed(network(), key), shuffled, engine)
        np.testing.assert_allclose(norms, wanted_norms, rtol=1e-4)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("engine", ["ghost", "vectorized"])
def test_fit_on_shuffled_images(engine, key):
    model = dp.make_private(keyed(network(), key), engine=engine)
    model.compile(dp.DPSGD(0.1, l2_norm_clip=1.0, noise_multiplier=1.0), loss=LOSS)
    before = model.plain.get_weights()
    model.fit(shuffle(images(), key), Y, batch_size=2, verbose=0)
    assert len(model.privacy.ledger) == 2
    for old, new in zip(before, model.plain.get_weights(), strict=True):
        assert not np.array_equal(old, new)  # the plain network's weights are shared


def test_export_writes_the_ledger_beside_a_keyed_network(key, tmp_path):
    model = dp.make_private(keyed(network(), key), max_occurrences=1)
    model.compile(dp.DPSGD(0.1, l2_norm_clip=1.0, noise_multiplier=1.0), loss=LOSS)
    model.privacy.record(mechanisms.stream(1.0, max_occurrences=1), purpose="test")
    model.export(tmp_path / "served", verbose=False)
    ledger = Ledger.load(tmp_path / "served" / "assets.extra" / LEDGER_NAME)
    assert len(ledger) == 1

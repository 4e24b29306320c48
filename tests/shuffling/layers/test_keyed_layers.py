"""Keyed layers against Keras' own on the planes in order."""

import keras
import numpy as np
import pytest

from tfpriv import ops
from tfpriv.shuffling.layers import (
    KeyedAveragePooling2D,
    KeyedConv2D,
    KeyedMaxPooling2D,
)

LAYERS = {
    KeyedConv2D: ({"filters": 5, "kernel_size": 3, "padding": "same"}, "Conv2D"),
    KeyedMaxPooling2D: ({"pool_size": 2}, "MaxPooling2D"),
    KeyedAveragePooling2D: ({"pool_size": (2, 3), "strides": 1}, "AveragePooling2D"),
}


def orders(shape, rng, rows=1):
    positions = shape[1] * shape[2]
    return np.array([rng.permutation(positions) for _ in range(rows)], "int32")


@pytest.fixture(params=LAYERS, ids=lambda kind: kind.__name__)
def pair(request):
    """A keyed layer and the plain one with the same weights."""
    arguments, name = LAYERS[request.param]
    layer, plain = request.param(**arguments), getattr(keras.layers, name)(**arguments)
    layer.build((None, 6, 7, 3), (None, 42), (None, None))
    plain.build((None, 6, 7, 3))
    plain.set_weights(layer.get_weights())
    return layer, plain


@pytest.mark.parametrize("rows", [1, 4])
def test_equals_the_plain_layer(pair, rows):
    layer, plain = pair
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 6, 7, 3)).astype("float32")
    wanted = plain(x)
    source, target = orders(x.shape, rng, rows), orders(wanted.shape, rng, rows)
    outputs = layer(ops.permute(x, source), source, target)
    np.testing.assert_allclose(outputs, ops.permute(wanted, target), atol=1e-5)


def test_a_functional_model_is_saved_and_trained(pair, tmp_path):
    layer, plain = pair
    out = plain.compute_output_shape((None, 6, 7, 3))
    inputs = [
        keras.Input((6, 7, 3)),
        keras.Input((42,), dtype="int32"),
        keras.Input((out[1] * out[2],), dtype="int32"),
    ]
    outputs = layer(*inputs)
    assert outputs.shape == out
    model = keras.Model(inputs, keras.layers.Dense(1)(outputs))
    rng = np.random.default_rng(1)
    x = [
        rng.normal(size=(8, 6, 7, 3)).astype("float32"),
        orders((8, 6, 7), rng, 8),
        orders(out, rng, 8),
    ]
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((8, *out[1:3], 1)), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict(x, verbose=0), model.predict(x, verbose=0)
    )


def test_half_precision(pair):
    layer, plain = pair
    half = type(layer).from_config({**layer.get_config(), "dtype": "mixed_float16"})
    half.build((None, 6, 7, 3), (None, 42), (None, None))
    half.set_weights(layer.get_weights())
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, 6, 7, 3)).astype("float32")
    wanted = plain(x)
    source, target = orders(x.shape, rng), orders(wanted.shape, rng)
    outputs = half(ops.permute(x, source), source, target)
    assert outputs.dtype == "float16"
    np.testing.assert_allclose(outputs, ops.permute(wanted, target), atol=2e-2)


@pytest.mark.parametrize(
    "arguments", [{"groups": 3, "filters": 3}, {"data_format": "channels_first"}]
)
def test_what_cannot_be_run_is_refused(arguments):
    with pytest.raises(ValueError, match="Received: KeyedConv2D"):
        KeyedConv2D(**{"filters": 3, "kernel_size": 3, **arguments})

"""Grouped convolutions behind other layers: gradients are those of the loop."""

import keras
import oracle
import pytest
from keras import layers

from tfpriv.dp.clipping import converters

LAYERS = {
    "grouped": lambda: layers.Conv2D(6, 3, groups=2, strides=2, padding="same"),
    "depthwise": lambda: layers.Conv2D(8, 3, groups=4, padding="valid"),
    "dilated": lambda: layers.Conv2D(4, 2, groups=4, dilation_rate=2),
    "1d": lambda: layers.Conv1D(6, 3, groups=2, padding="causal"),
}


@pytest.mark.parametrize("engine", ["ghost", "vectorized"])
@pytest.mark.parametrize("kind", LAYERS)
def test_gradients(kind, engine, rng):
    shape = (5, 3) if kind == "1d" else (5, 5, 3)
    model = keras.Sequential([keras.Input(shape)])
    model.add(layers.Dense(4, activation="tanh"))
    model.add(LAYERS[kind]())
    model.add(layers.Flatten())
    x = rng.normal(size=(3, *shape)).astype("float32")
    y = rng.normal(size=(3, *model.output_shape[1:])).astype("float32")
    loss = keras.losses.MeanSquaredError()
    oracle.assert_exact(model, x, y, loss=loss, engine=engine)


def test_depthwise_convolutions_do_not_run_example_by_example(rng, monkeypatch):
    looped = []

    def loop(pfor_input, *args, **kwargs):
        looped.append(pfor_input.op_type)
        return converters._ORIGINAL_LOOP(pfor_input, *args, **kwargs)

    monkeypatch.setattr(converters, "_loop", loop)
    model = keras.Sequential(
        [
            keras.Input((5, 5, 3)),
            layers.Dense(4, activation="tanh"),
            layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2, padding="same"),
            layers.Flatten(),
        ]
    )
    x, y = rng.normal(size=(3, 5, 5, 3)), rng.normal(size=(3, 72))
    oracle.assert_exact(model, x, y, loss=keras.losses.MeanSquaredError())
    assert not looped

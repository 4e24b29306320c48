"""`replace_batchnorm`: GroupNormalization in place, everything else as it was."""

import keras
import numpy as np
import pytest
from keras import layers

import tfpriv.dp as dp


def residual_network(normalisation):
    """A small ResNet, with a nested model and a head after a Dense layer."""

    def block(x, width, stride):
        y = layers.Conv2D(width, 3, stride, padding="same", use_bias=False)(x)
        y = layers.ReLU()(normalisation(name=f"norm_{width}_a")(y))
        y = layers.Conv2D(width, 3, padding="same", use_bias=False)(y)
        y = normalisation(name=f"norm_{width}_b", scale=False)(y)
        return layers.ReLU()(y + layers.Conv2D(width, 1, stride)(x))

    inner_input = keras.Input((4, 4, 8))
    inner = keras.Model(inner_input, block(inner_input, 12, 2), name="inner")
    x = keras.Input((8, 8, 3))
    y = inner(block(x, 8, 2))
    y = layers.Dense(7)(layers.GlobalAveragePooling2D()(y))
    y = normalisation(name="norm_head", center=False)(y)
    return keras.Model(x, layers.Dense(2)(y))


def batch_norms(model):
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def test_residual_network(rng):
    model = residual_network(layers.BatchNormalization)
    model.set_weights([rng.normal(size=w.shape) ** 2 for w in model.get_weights()])
    x, y = rng.normal(size=(6, 8, 8, 3)), rng.normal(size=(6, 2))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="replace_batchnorm"):
        dp.make_private(model)
    before = model.get_weights()

    twin = dp.replace_batchnorm(model)
    assert len(batch_norms(model)) == 5
    assert batch_norms(twin) == []
    after = {w.path: w.numpy() for w in twin.weights}
    kept = [w for w in model.weights if "moving" not in w.path]
    assert len(kept) == len(after)
    for weight in kept:
        np.testing.assert_array_equal(after[weight.path], weight)
    norm = twin.get_layer("inner").get_layer("norm_12_a")
    assert (norm.groups, norm.axis, norm.epsilon) == (6, -1, 1e-3)
    assert twin.get_layer("norm_head").groups == 1
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)

    twin = dp.make_private(twin)
    optimizer = dp.DPSGD(0.1, l2_norm_clip=1.0, noise_multiplier=1.0)
    twin.compile(optimizer=optimizer, loss="mse")
    twin.fit(x, y, batch_size=3, epochs=1, verbose=0)


def test_sequential_and_weights_of_layers_that_hold_layers(rng):
    @keras.saving.register_keras_serializable("tests")
    class Scaled(layers.Layer):
        """Has a weight of its own and a layer below it."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = layers.Dense(4)

        def build(self, shape):
            self.factor = self.add_weight(shape=(4,), initializer="ones")
            self.inner.build(shape)

        def call(self, inputs):
            return self.factor * self.inner(inputs)

    model = keras.Sequential([keras.Input((4, 3)), Scaled(name="scaled")])
    model.add(layers.BatchNormalization(axis=-1))
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    twin = dp.replace_batchnorm(model, groups=2)
    for old, new in zip(
        model.get_layer("scaled").get_weights(),
        twin.get_layer("scaled").get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(old, new)
    assert twin.layers[-1].groups == 2


def test_subclassed_models_and_layers_are_refused():
    class Own(keras.Model):
        pass

    with pytest.raises(ValueError, match="Received: Own"):
        dp.replace_batchnorm(Own())
    wrapped = layers.TimeDistributed(layers.BatchNormalization())
    model = keras.Sequential([keras.Input((3, 2)), wrapped])
    with pytest.raises(ValueError, match="batch_normalization"):
        dp.replace_batchnorm(model)


@pytest.mark.parametrize("kind", ["sequential", "functional", "nested"])
@pytest.mark.parametrize("layer", ["Normalization", "IntegerLookup", "Discretization"])
def test_what_layers_were_adapted_to_stays(kind, layer, rng, tmp_path):
    """In the copy, and in the copy of the copy that a file makes."""
    make = getattr(keras.layers, layer)
    adapted = make(num_bins=3) if layer == "Discretization" else make()
    x = rng.integers(50, 60, (12, 3)).astype(
        "int64" if layer == "IntegerLookup" else "float32"
    )
    adapted.adapt(x)
    inputs = keras.Input((3,), dtype=x.dtype.name)
    if kind == "sequential":
        model = keras.Sequential([inputs, adapted, keras.layers.BatchNormalization()])
    else:
        inside = keras.Input((3,), dtype=x.dtype.name)
        prepare = keras.Model(inside, adapted(inside)) if kind == "nested" else adapted
        seen = prepare(inputs)
        outputs = keras.layers.BatchNormalization()(seen)
        model = keras.Model(inputs, outputs)
    twin = dp.replace_batchnorm(model)

    def behind(model):
        model.layers[-1].trainable = False
        return keras.Model(model.inputs, model.layers[-1].input).predict(x, verbose=0)

    np.testing.assert_array_equal(behind(twin), behind(model))
    assert np.ptp(behind(twin)) > 0
    twin.save(tmp_path / "twin.keras")
    again = keras.saving.load_model(tmp_path / "twin.keras")
    np.testing.assert_allclose(
        again.predict(x, verbose=0), twin.predict(x, verbose=0), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("nested", [False, True])
def test_a_private_model_keeps_its_ledger(nested):
    model = dp.make_private(keras.Sequential([keras.Input((3,)), layers.Dense(1)]))
    if nested:
        model = keras.Sequential([keras.Input((3,)), model])
    with pytest.raises(ValueError, match="before `make_private`"):
        dp.replace_batchnorm(model)

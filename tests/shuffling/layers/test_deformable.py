"""DeformableConv2D: a Keras layer like any other, at first a plain convolution."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfpriv.ops import deformable_conv2d, loader
from tfpriv.shuffling.layers import DeformableConv2D

ARGUMENTS = {
    "filters": 6,
    "kernel_size": (3, 2),
    "strides": (2, 1),
    "padding": "same",
    "groups": 2,
    "offset_groups": 2,
    "modulated": True,
    "activation": "tanh",
    "kernel_initializer": "he_normal",
    "bias_initializer": "ones",
    "kernel_regularizer": keras.regularizers.L2(0.01),
    "bias_constraint": keras.constraints.NonNeg(),
}


@pytest.fixture
def pictures():
    return np.random.default_rng(0).normal(size=(3, 7, 8, 4)).astype("float32")


def moving(layer, pictures):
    """The layer, with offsets and factors that are not what it starts with."""
    layer.build(pictures.shape)
    weights = layer.offset_convolution.get_weights()
    rng = np.random.default_rng(1)
    layer.offset_convolution.set_weights([rng.normal(size=w.shape) for w in weights])
    return layer


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize(
    "steps",
    [
        {},
        {"padding": "same", "strides": 2},
        {"padding": "same", "dilation_rate": 2, "groups": 2, "offset_groups": 4},
    ],
)
def test_starts_as_a_convolution(implementation, pictures, steps, modulated):
    layer = DeformableConv2D(6, 3, modulated=modulated, **steps)
    outputs = layer(pictures)
    assert outputs.shape == layer.compute_output_shape(pictures.shape)
    steps.pop("offset_groups", None)
    plain = keras.layers.Conv2D(6, 3, **steps)
    plain.build(pictures.shape)
    plain.set_weights([layer.kernel.numpy(), layer.bias.numpy()])
    expected = plain(pictures) / (2 if modulated else 1)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


def test_is_the_op_at_its_offsets(implementation, pictures):
    layer = moving(DeformableConv2D(**ARGUMENTS), pictures)
    moves = layer.offset_convolution(pictures)
    assert moves.shape[-1] == 3 * 12
    expected = deformable_conv2d(
        pictures,
        moves[..., :24],
        layer.kernel.value,
        tf.sigmoid(moves[..., 24:]),
        layer.bias.value,
        strides=(2, 1),
        padding="same",
        groups=2,
    )
    np.testing.assert_allclose(layer(pictures), tf.tanh(expected), rtol=1e-5)


def test_config_makes_the_same_layer():
    config = DeformableConv2D(**ARGUMENTS).get_config()
    again = DeformableConv2D.from_config(config)
    assert again.get_config() == config
    assert (again.offset_groups, again.modulated) == (2, True)
    assert isinstance(again.kernel_regularizer, keras.regularizers.L2)


def functional(known):
    size = (7, 8) if known else (None, None)
    inputs = keras.Input((*size, 4))
    x = DeformableConv2D(**ARGUMENTS)(inputs)
    x = DeformableConv2D(3, 3, name="second")(x)
    assert x.shape[-1] == 3
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


@pytest.mark.parametrize("known", [True, False])
def test_models_are_saved_and_exported(native, tmp_path, pictures, known):
    model = functional(known)
    for layer in model.layers[1:3]:
        layer.offset_convolution.kernel.assign(
            np.random.default_rng(2).normal(size=layer.offset_convolution.kernel.shape)
        )
    expected = model.predict(pictures, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(pictures, verbose=0), expected)
    model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(served.serve(pictures), expected, rtol=1e-5)


def test_training_moves_the_offsets(implementation, pictures):
    model = functional(known=True)
    model.compile("sgd", "mse")
    before = [w.numpy() for w in model.trainable_weights]
    model.fit(pictures, np.ones((3, 3)), verbose=0)
    assert len(before) == 8
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.any(weight.numpy() != old), weight.path


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_precisions(implementation, pictures, policy):
    layer = moving(DeformableConv2D(**ARGUMENTS, dtype=policy), pictures)
    assert layer(pictures).dtype == layer.compute_dtype
    assert {w.dtype for w in layer.weights} == {layer.variable_dtype}
    exact = DeformableConv2D(**ARGUMENTS)
    exact.build(pictures.shape)
    exact.set_weights(layer.get_weights())
    for part in (layer, exact):  # small offsets, so that their rounding hardly shows
        weights = part.offset_convolution.get_weights()
        part.offset_convolution.set_weights([0.01 * w for w in weights])
    np.testing.assert_allclose(
        tf.cast(layer(pictures), tf.float32), exact(pictures), rtol=0.1, atol=0.1
    )


@pytest.mark.filterwarnings("ignore:A training step on a batch of your own")
@pytest.mark.filterwarnings("ignore:No clipping rule")
@pytest.mark.parametrize("engine", ["ghost", "vectorized"])
def test_private_training_clips_each_example(native, pictures, engine):
    """Per-example clipping does not take it for the plain one it descends from."""
    from tfpriv import dp

    layer = moving(DeformableConv2D(3, 3), pictures)
    plain = keras.Sequential([layer, keras.layers.GlobalAveragePooling2D()])
    plain.build(pictures.shape)
    before = plain.get_weights()
    wanted = [np.zeros_like(w) for w in before]
    targets = np.ones((len(pictures), 3), "float32")
    for picture, target in zip(pictures, targets, strict=True):
        with tf.GradientTape() as tape:
            loss = keras.losses.mean_squared_error(target, plain(picture[None])[0])
        gradients = tape.gradient(loss, [w.value for w in plain.trainable_weights])
        inner = 0.3 * (1 - 2.0**-8)  # the rest is for rounding
        factor = min(1, inner / tf.linalg.global_norm(gradients))
        wanted = [w + factor * g for w, g in zip(wanted, gradients, strict=True)]
    model = dp.make_private(plain, engine=engine)
    optimizer = dp.DPSGD(3.0, l2_norm_clip=0.3, noise_multiplier=0.0)
    model.compile(optimizer, "mse")
    model.train_on_batch(pictures, targets)
    for new, old, change in zip(plain.get_weights(), before, wanted, strict=True):
        np.testing.assert_allclose(old - new, change, rtol=1e-3, atol=1e-5)


def test_exported_without_the_library_it_is_plain_tensorflow(
    tmp_path, monkeypatch, pictures
):
    monkeypatch.setenv(loader.ENV, "1")
    functional(known=False).export(tmp_path, verbose=False)
    assert b"Tfpriv" not in (tmp_path / "saved_model.pb").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_format": "channels_first"}, "Received: data_format="),
        ({"offset_groups": 0}, "Received: offset_groups=0"),
        ({"offset_groups": 1.5}, "Received: offset_groups=1.5"),
        ({"offset_groups": 3}, "Received: offset_groups=3"),
        ({"strides": 2, "dilation_rate": 2}, "dilation_rate"),
    ],
)
def test_wrong_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        DeformableConv2D(**{"filters": 2, "kernel_size": 3} | changes).build(
            (None, 5, 5, 4)
        )

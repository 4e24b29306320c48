"""The keyed twin equals the plain network, for every kind of layer and both modes."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from tfpriv.shuffling import (
    Key,
    KeyedModel,
    keyed,
    new_nonces,
    preresnet,
    preresnet110,
    shuffle,
    small_cnn,
    unshuffle,
    vgg16_bn,
)

RELATIVE = 1e-5


@pytest.fixture(scope="module")
def key():
    return Key.generate()


def randomised(model, seed=0):
    """Statistics and scales as after training: nothing stays 0 or 1."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        name = weight.path.rsplit("/", 1)[-1]
        if name in ("gamma", "moving_variance", "variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif name in ("beta", "bias", "moving_mean", "mean"):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    return model


def assert_same(model, twin, key, count=3, planes_come_out=False):
    x = np.random.default_rng(1).normal(size=(count, *model.input_shape[1:]))
    x = x.astype("float32")
    wanted = np.asarray(model(x))
    nonces = new_nonces(count)
    found = [twin(shuffle(x, key)), twin((shuffle(x, key, nonces), nonces))]
    if planes_come_out:
        found = [unshuffle(found[0], key), unshuffle(found[1], key, nonces)]
    for outputs in found:
        np.testing.assert_allclose(
            outputs, wanted, rtol=0, atol=RELATIVE * np.abs(wanted).max()
        )


def every_kind_of_layer():
    inputs = keras.Input((16, 12, 3))
    x = layers.Rescaling(0.5)(inputs)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    skipped = x = layers.BatchNormalization()(x)
    x = layers.SeparableConv2D(8, 3, padding="same")(x)
    x = layers.GroupNormalization(4)(layers.PReLU(shared_axes=[1, 2])(x))
    x = layers.Add()([x, skipped])
    x = layers.DepthwiseConv2D(3)(layers.MaxPooling2D(2)(x))
    x = layers.Concatenate()([keras.ops.relu(x) * 2.0, x])
    x = layers.AveragePooling2D(2, padding="same")(layers.ZeroPadding2D(1)(x))
    attention = layers.GlobalAveragePooling2D(keepdims=True)(x)
    attention = layers.Conv2D(16, 1, activation="sigmoid")(attention)
    x = layers.Multiply()([x, attention])
    x = layers.Conv2D(8, 3, groups=2, padding="same")(x)
    x = layers.Dropout(0.5)(layers.LayerNormalization()(layers.Dense(6)(x)))
    return keras.Model(inputs, layers.Dense(5)(layers.Flatten()(x)))


def u_net():
    inputs = keras.Input((16, 16, 3))
    skipped = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(16, 3, padding="same")(layers.MaxPooling2D()(skipped))
    x = layers.Conv2DTranspose(8, 2, strides=2)(layers.ReLU()(x))
    x = layers.Concatenate()([skipped, x])
    x = layers.UpSampling2D()(layers.MaxPooling2D()(x))
    return keras.Model(inputs, layers.Conv2D(4, 1)(x))


def nested():
    inner = keras.Sequential(
        [keras.Input((8, 8, 4)), layers.Conv2D(4, 3, padding="same"), layers.ReLU()]
    )
    inputs = keras.Input((8, 8, 4))
    x = inner(inner(inputs))  # one model, twice
    return keras.Model(inputs, layers.GlobalMaxPooling2D()(layers.Add()([x, inputs])))


def generator():
    """Planes that come of a vector."""
    inputs = keras.Input((6, 6, 2))
    x = layers.Dense(4 * 4 * 3)(layers.Flatten()(layers.Conv2D(3, 3)(inputs)))
    x = layers.Reshape((4, 4, 3))(x)
    return keras.Model(inputs, layers.Conv2DTranspose(2, 3, 2, padding="same")(x))


def keras_hub_resnet():
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        use_pre_activation=True,
        image_shape=(16, 16, 3),
    )
    return keras_hub.models.ResNetImageClassifier(backbone=backbone, num_classes=4)


@pytest.mark.parametrize(
    "build",
    [
        every_kind_of_layer,
        nested,
        keras_hub_resnet,
        small_cnn,
        lambda: preresnet(14),
        pytest.param(vgg16_bn, marks=pytest.mark.slow),
        pytest.param(preresnet110, marks=pytest.mark.slow),
        pytest.param(
            lambda: keras.applications.ResNet50(
                weights=None, input_shape=(64, 64, 3), classes=10
            ),
            marks=pytest.mark.slow,
        ),
    ],
    ids=[
        "every_kind_of_layer",
        "nested",
        "keras_hub",
        "small_cnn",
        "preresnet14",
        "vgg16_bn",
        "preresnet110",
        "resnet50",
    ],
)
def test_a_classifier_answers_the_same(build, key):
    model = randomised(build())
    assert_same(model, keyed(model, key), key)


@pytest.mark.parametrize("build", [u_net, generator])
def test_planes_that_come_out_are_shuffled_as_pictures(build, key):
    model = randomised(build())
    assert_same(model, keyed(model, key), key, planes_come_out=True)


@settings(max_examples=8, deadline=None)
@given(
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.integers(1, 2),
    dilation=st.integers(1, 2),
    padding=st.sampled_from(["same", "valid"]),
    kind=st.sampled_from(["Conv2D", "DepthwiseConv2D", "MaxPooling2D"]),
)
def test_any_window(size, kernel, strides, dilation, padding, kind):
    inputs = keras.Input((*size, 3))
    dilation = 1 if strides > 1 else dilation  # Keras has not both
    arguments = {"strides": strides, "padding": padding}
    if kind == "Conv2D":
        layer = layers.Conv2D(4, kernel, dilation_rate=dilation, **arguments)
    elif kind == "DepthwiseConv2D":
        layer = layers.DepthwiseConv2D(kernel[0], dilation_rate=dilation, **arguments)
    else:
        layer = layers.MaxPooling2D(kernel, **arguments)
    x = layers.ReLU()(layer(inputs))
    model = keras.Model(inputs, layers.Flatten()(x))
    key = Key.generate()
    assert_same(model, keyed(model, key), key, count=2)


def test_a_wrong_key_gives_another_answer(key):
    model = randomised(every_kind_of_layer())
    x = np.random.default_rng(2).normal(size=(2, 16, 12, 3)).astype("float32")
    wrong = keyed(model, Key.generate())(shuffle(x, key))
    assert np.abs(wrong - model(x)).max() > 0.1 * np.abs(model(x)).max()


def test_every_plane_has_an_order_of_its_own(key, monkeypatch):
    """Fresh keys between layers, except where planes are added."""
    model = preresnet(8)
    twin = keyed(model, key)
    purposes = {}
    for step in twin._plan._steps:
        for target in step.targets:
            if target is not None:
                purposes.setdefault(step.call.operation.name, target.purpose("fixed"))
    convolutions = {n: p for n, p in purposes.items() if n.startswith("conv2d")}
    # The residual stream of each stage has one order, each block's inside its own.
    assert len(convolutions) == 9
    assert len(set(convolutions.values())) == 3 + 3


def test_training_changes_the_plain_network_in_the_same_way(key):
    x = np.random.default_rng(3).normal(size=(8, 16, 16, 3)).astype("float32")
    y = np.arange(8) % 3

    def trained(shuffled):
        keras.utils.set_random_seed(0)
        model = preresnet(8, (16, 16, 3), 3)
        seen = keyed(model, key) if shuffled else model
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        seen.compile(keras.optimizers.SGD(0.1), loss)
        seen.fit(shuffle(x, key) if shuffled else x, y, epochs=2, verbose=0)
        return model.get_weights()

    for plain, through in zip(trained(False), trained(True), strict=True):
        np.testing.assert_allclose(through, plain, rtol=0, atol=1e-4)


def test_the_key_is_not_saved(key, tmp_path):
    twin = keyed(randomised(preresnet(8, (16, 16, 3), 3)), key)
    x = np.random.default_rng(4).normal(size=(2, 16, 16, 3)).astype("float32")
    wanted = twin.predict(shuffle(x, key), verbose=0)
    twin.save(tmp_path / "twin.keras")
    again = keras.models.load_model(tmp_path / "twin.keras")
    assert isinstance(again, KeyedModel)
    assert again.locked
    with pytest.raises(ValueError, match="has no key"):
        again.predict(shuffle(x, key), verbose=0)
    again.unlock(key)
    np.testing.assert_array_equal(again.predict(shuffle(x, key), verbose=0), wanted)


def test_another_key_takes_effect_after_tracing(key):
    model = randomised(preresnet(8, (16, 16, 3), 3))
    twin, other = keyed(model, key), Key.generate()
    x = np.random.default_rng(5).normal(size=(2, 16, 16, 3)).astype("float32")
    wanted = twin.predict(shuffle(x, key), verbose=0)
    twin.unlock(other)
    found = twin.predict(shuffle(x, other), verbose=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


class OfOnesOwn(layers.Layer):
    def call(self, x):
        return x[:, ::-1]


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (OfOnesOwn(name="mine"), "mine"),
        (layers.LayerNormalization(axis=1, name="over_rows"), "over_rows"),
        (layers.PReLU(name="slope_per_pixel"), "slope_per_pixel"),
        (layers.Permute((2, 1, 3), name="turn"), "turn"),
        (layers.Conv2D(2, 3, data_format="channels_first", name="first"), "first"),
    ],
)
def test_what_cannot_be_run_is_named(layer, name):
    inputs = keras.Input((8, 8, 8))
    with pytest.raises(ValueError, match=f"'{name}'.*Received: {type(layer).__name__}"):
        keyed(keras.Model(inputs, layer(inputs)), Key.generate())


@pytest.mark.parametrize(
    "shift",
    [
        lambda: keras.ops.reshape(keras.ops.arange(16.0), (4, 4, 1)),
        lambda: np.arange(8.0).reshape(4, 2),  # from column to column
        lambda: keras.Input((4, 1)),
        lambda: keras.Input((2,)),
    ],
)
def test_what_differs_from_place_to_place_is_not_combined(shift):
    inputs, other = keras.Input((4, 4, 2)), shift()
    model_inputs = [inputs, other] if isinstance(other, keras.KerasTensor) else inputs
    model = keras.Model(model_inputs, keras.ops.add(inputs, other))
    with pytest.raises(ValueError, match="cannot combine"):
        keyed(model, Key.generate())


def test_what_is_the_same_everywhere_is_combined(key):
    inputs = keras.Input((4, 4, 2))
    x = keras.ops.add(inputs, np.array([1.0, 2.0], "float32")) * 3.0
    gate = layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, layers.Multiply()([x, gate]))
    assert_same(model, keyed(model, key), key, planes_come_out=True)


def test_the_cost_of_activity_is_counted(key):
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(3, 3, activity_regularizer="l2")(inputs)
    model = keras.Model(inputs, x)
    pictures = np.ones((2, 4, 4, 2), "float32")
    model(pictures)
    wanted = float(model.losses[0])
    twin = keyed(model, key)
    twin(shuffle(pictures, key))
    assert float(twin.losses[-1]) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: keras.Model(i := keras.Input((None, None, 3)), layers.ReLU()(i)),
            "known",
        ),
        (lambda: keras.Sequential([layers.Conv2D(2, 3)]), "graph of a model"),
    ],
)
def test_models_without_sizes_or_graph(model, message):
    with pytest.raises(ValueError, match=message):
        keyed(model(), Key.generate())


@pytest.mark.parametrize(
    "nonces", [np.zeros((2, 11), "uint8"), np.zeros((2, 12), "int32")]
)
def test_wrong_nonces_are_named(key, nonces):
    twin = keyed(preresnet(8, (16, 16, 3), 3), key)
    with pytest.raises(ValueError, match="uint8 of shape"):
        twin((tf.zeros((2, 16, 16, 3)), nonces))

"""What the fast engine would get wrong is found before training.

A weight that no rule answers for is differentiated as it is. What cannot be mended so
is refused with `engine="ghost"`, and sends `engine="auto"` to the reference engine.
"""

import pathlib
import re
import warnings

import keras
import numpy as np
import oracle
import pytest
import tensorflow as tf
from engines import EXAMPLES, assert_exact, assert_same, normal
from keras import layers

import tfpriv.dp as dp
from tfpriv.dp import per_example
from tfpriv.dp.clipping import coverage, rules


class Scale(layers.Layer):
    """Multiplies each feature by a weight."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")

    def call(self, inputs):
        return inputs * self.scale


def around(layer, *shape):
    """A model with a layer between two that are known."""
    inputs = keras.Input(shape)
    outputs = layers.Dense(2)(layer(layers.Dense(shape[-1])(inputs)))
    return keras.Model(inputs, outputs)


def is_refused(model, rng, why, x=None):
    """`engine="ghost"` raises, naming why; `"auto"` warns, and is exact."""
    x = normal(rng, EXAMPLES, *model.input_shape[1:]) if x is None else x
    y = normal(rng, *model(x).shape)
    with pytest.raises(ValueError, match=f"engine is not exact.*{why}"):
        dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=1.0, engine="ghost")
    with pytest.warns(UserWarning, match=f"not exact for.*{why}"):
        oracle.assert_exact(model, x, y, loss=keras.losses.MeanSquaredError())


def is_exact(model, rng, loss="mse"):
    x = normal(rng, EXAMPLES, *model.input_shape[1:])
    model.compile(loss=loss)
    oracle.assert_exact(model, x, normal(rng, *model(x).shape), engine="ghost")


@pytest.fixture
def rule(monkeypatch):
    """Registers rules for the length of one test."""
    rules._import_built_in()
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))
    return dp.register_clipping_rule


# Rules of one's own.


def right(layer, call, record, inputs):
    def gradients(g):
        return [(layer.scale, per_example.Dense(g * inputs))]

    return record(call(inputs), gradients)


def test_a_rule_of_ones_own(rule, rng, floatx):
    rule(Scale)(right)
    assert_exact(around(Scale(), 3), normal(rng, EXAMPLES, 3), rng)


def test_a_rule_that_sums_over_steps(rule, rng):
    @rule(Scale)
    def scale(layer, call, record, inputs):
        def gradients(g):
            return [(layer.scale, per_example.Dense(tf.reduce_sum(g * inputs, 1)))]

        return record(call(inputs), gradients)

    assert_exact(around(Scale(), 4, 3), normal(rng, EXAMPLES, 4, 3), rng)


DOCS = pathlib.Path(__file__).parents[2] / "docs" / "dp.md"


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_the_rule_in_the_docs(rule, rng, policy):
    section = DOCS.read_text().split("### A layer of your own")[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    names = {"keras": keras, "tf": tf, "dp": dp}
    exec(compile(code, str(DOCS), "exec"), names)
    parts = [names["Mixed"](3, dtype=policy), layers.Flatten(), layers.Dense(2)]
    model = keras.Sequential([keras.Input((4, 5)), *parts])
    x, y = normal(rng, EXAMPLES, 4, 5), normal(rng, EXAMPLES, 2)
    assert rules.rule_of(model.layers[0]) is names["mixed"]
    assert_same(model, x, y, tolerance=1e-5 if policy == "float32" else 2e-3)


def test_a_rule_goes_for_subclasses_that_keep_call(rule):
    class Same(Scale):
        pass

    class Other(Scale):
        def call(self, inputs):
            return inputs + self.scale

    rule(Scale)(right)
    assert rules.rule_of(Same()) is right
    assert rules.rule_of(Other()) is None
    assert rules.rule_of(layers.Flatten()) is None
    rule(Other)(right)
    assert rules.rule_of(Other()) is right


def test_known_layers_that_override_call_are_not_known(rng):
    class Doubled(layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs) + self.bias

    model = around(Doubled(3), 3)
    with pytest.warns(UserWarning, match="No clipping rule for 'doubled"):
        assert_exact(model, normal(rng, EXAMPLES, 3), rng)


@pytest.mark.parametrize("wrong", [3, "Dense", object, layers.Dense(2)])
def test_rules_belong_to_layer_classes(wrong):
    with pytest.raises(TypeError, match="Received: "):
        dp.register_clipping_rule(wrong)


# Wrong rules.


def off_by_a_hundredth(layer, g, inputs):
    return [(layer.scale, per_example.Dense(1.01 * g * inputs))]


def of_another_axis(layer, g, inputs):
    return [(layer.scale, per_example.Dense(tf.reduce_sum(g * inputs, 2)))]


def of_another_shape(layer, g, inputs):
    return [(layer.scale, per_example.Dense(g * inputs))]


def without_the_gradient(layer, g, inputs):
    return [(layer.scale, per_example.Dense(tf.reduce_sum(inputs, 1) + 0 * g[:, 0]))]


@pytest.mark.parametrize(
    "fault",
    [
        off_by_a_hundredth,
        of_another_axis,
        of_another_shape,
        without_the_gradient,
    ],
)
def test_wrong_rules_are_found(rule, rng, fault):
    @rule(Scale)
    def scale(layer, call, record, inputs):
        return record(call(inputs), lambda g: fault(layer, g, inputs))

    is_refused(around(Scale(), 4, 3), rng, "rule for weight '.*scale' is wrong")


def test_a_weight_that_a_rule_forgets_speaks_for_itself(rule, rng):
    class Affine(Scale):
        def build(self, shape):
            super().build(shape)
            self.shift = self.add_weight(shape=(shape[-1],), name="shift")

        def call(self, inputs):
            return super().call(inputs) + self.shift

    rule(Affine)(right)
    is_exact(around(Affine(), 3), rng)


def test_so_does_one_for_which_a_rule_records_nothing(rule, rng):
    rule(Scale)(lambda layer, call, record, inputs: call(inputs))
    is_exact(around(Scale(), 3), rng)


def test_a_rule_for_a_tensor_too_late_is_found(rule, rng):
    """It answers for a weight that meets the examples twice, and counts one time."""

    class Twice(Scale):
        def call(self, inputs):
            return inputs * self.scale * self.scale

    rule(Twice)(right)
    is_refused(around(Twice(), 3), rng, "rule for weight '.*scale' is wrong")


# Weights that are used elsewhere.


class Reads(layers.Layer):
    """Uses the weight of a layer that it does not own."""

    def __init__(self, other):
        super().__init__()
        self.other = lambda: other.kernel  # hidden from Keras' tracking

    def call(self, inputs):
        return keras.ops.tanh(inputs @ self.other())


def test_a_weight_used_outside_of_its_layer(rng):
    inputs = keras.Input((3,))
    first = layers.Dense(3)
    is_exact(keras.Model(inputs, layers.Dense(2)(Reads(first)(first(inputs)))), rng)


def test_planted_fault_a_weight_used_elsewhere_is_not_noticed(rng, monkeypatch):
    monkeypatch.setattr(coverage, "used_elsewhere", lambda *_: set())
    inputs = keras.Input((3,))
    first = layers.Dense(3)
    model = keras.Model(inputs, layers.Dense(2)(Reads(first)(first(inputs))))
    with pytest.raises(AssertionError):
        is_exact(model, rng)


def test_a_weight_used_in_an_activation(rng):
    layer = layers.Dense(3)
    layer.activation = lambda z: z * tf.reduce_sum(layer.kernel)
    is_exact(around(layer, 3), rng)


def test_a_weight_used_by_the_loss(rng):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    kernel = model.layers[0].kernel

    def loss(y_true, y_pred):
        size = keras.ops.sum(keras.ops.square(kernel))
        return keras.ops.mean(keras.ops.square(y_true - y_pred)) * size

    is_exact(model, rng, loss)


def test_weight_regularisers_are_part_of_every_gradient(rng, floatx):
    l1, l2 = keras.regularizers.L1(0.3), keras.regularizers.L2(0.2)
    parts = [layers.Dense(4, "tanh", kernel_regularizer=l1, bias_regularizer=l2)]
    parts += [layers.Dense(2, kernel_regularizer=l2)]
    model = keras.Sequential([keras.Input((3,)), *parts])
    x, y = normal(rng, EXAMPLES, 3), normal(rng, EXAMPLES, 2)
    model.compile(loss="mse")
    oracle.assert_exact(model, x, y, engine="ghost")


# Losses of layers, loops, sizes.


class OwnLoss(layers.Layer):
    def call(self, inputs):
        self.add_loss(keras.ops.mean(keras.ops.square(inputs)))
        return inputs


@pytest.mark.parametrize(
    "make", [OwnLoss, lambda: layers.Dense(3, activity_regularizer="l2")]
)
def test_losses_of_layers_are_those_of_an_example(make, rng):
    is_exact(around(make(), 3), rng)


class Repeated(layers.Layer):
    """Calls a layer in a loop or a condition of TensorFlow's."""

    def __init__(self, how):
        super().__init__()
        self.inner, self.how = layers.Dense(3, "tanh"), how

    def build(self, shape):
        self.inner.build(shape)

    def call(self, inputs):
        return self.how(self.inner, inputs)


def in_while_loop(inner, x):
    def body(i, z):
        z = inner(z)
        z.set_shape(x.shape)
        return i + 1, z

    return tf.while_loop(lambda i, z: i < 2, body, (0, x))[1]


def in_cond(inner, x):
    return tf.cond(tf.shape(x)[1] > 0, lambda: inner(x), lambda: x)


def in_function(inner, x):
    return tf.function(inner.__call__, autograph=False)(x)


def in_map(inner, x):
    return tf.map_fn(lambda row: inner(row[tf.newaxis])[0], x)


@pytest.mark.parametrize("how", [in_while_loop, in_cond, in_function, in_map])
def test_layers_in_loops_are_found(how, rng):
    is_refused(around(Repeated(how), 3), rng, "inside a loop, a condition")


def test_a_layer_that_is_called_on_no_batch(rng):
    class Places(layers.Layer):
        def __init__(self):
            super().__init__()
            self.table = layers.Embedding(4, 3)

        def call(self, inputs):
            return inputs * self.table(np.arange(4))

    is_exact(around(Places(), 4, 3), rng)


class Trimmed(layers.Layer):
    """Leaves out the steps after the last that is not zero."""

    def call(self, ids):
        steps = tf.where(ids != 0, tf.range(1, tf.shape(ids)[1] + 1), 0)
        return ids[:, : tf.maximum(tf.reduce_max(steps), 1)]

    def compute_output_shape(self, shape):
        return shape[0], None


def trimming():
    inputs = keras.Input((12,), dtype="int32")
    table = layers.Embedding(50, 3)(Trimmed()(inputs))
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalMaxPooling1D()(table)))


def test_sizes_that_change_from_example_to_example_are_found(rng):
    x = rng.integers(1, 50, (EXAMPLES, 12))
    x[:2, 5:] = 0
    is_refused(trimming(), rng, "whose size may change", x)


def test_an_unknown_layer_is_named_once(rng):
    model = around(layers.PReLU(name="slope"), 2, 3)
    x, y = normal(rng, EXAMPLES, 2, 3), normal(rng, EXAMPLES, 2, 2)
    options = {"loss": "mse", "l2_norm_clip": 1.0, "engine": "ghost"}
    with pytest.warns(UserWarning, match="No clipping rule for 'slope'"):
        dp.clipped_gradients(model, x, y, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dp.clipped_gradients(model, x, y, **options)


def image_network():
    return [
        layers.Conv2D(4, 3, padding="same"),
        layers.GroupNormalization(groups=2),
        layers.MaxPooling2D(),
        layers.DepthwiseConv2D(3),
        layers.AveragePooling2D(2),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.Dense(2),
    ]


def text_network():
    return [
        layers.Reshape((16, 12)),
        layers.LayerNormalization(),
        layers.LSTM(4, return_sequences=True, dropout=0.2),
        layers.PReLU(shared_axes=[1]),
        layers.GlobalAveragePooling1D(),
        layers.Dense(2),
    ]


@pytest.mark.parametrize("network", [image_network, text_network])
def test_ordinary_networks_are_fast_and_nothing_is_said(network, rng):
    model = keras.Sequential([keras.Input((8, 8, 3)), *network()])
    x, y = normal(rng, EXAMPLES, 8, 8, 3), normal(rng, EXAMPLES, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dp.clipped_gradients(model, x, y, loss="mse", l2_norm_clip=1.0, engine="ghost")

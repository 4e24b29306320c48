"""No layer can mix the examples of a batch: each goes through the model by itself.

The models below do mix the rows of a batch, some of them only where a number is large.
"""

import keras
import numpy as np
import oracle
import pytest
import tensorflow as tf
from engines import EXAMPLES, normal
from keras import layers

import tfpriv.dp as dp
from tfpriv.dp.clipping import recurrence

BOUND = 0.01


def clipped_all(t):
    """The axes are forgotten: a common slip."""
    return tf.clip_by_norm(t, 20.0)


def scaled_where_large(t):
    return t / tf.maximum(1.0, tf.reduce_max(tf.abs(t)) / 10.0)


def emptied_where_large(t):
    large = tf.reduce_any(tf.abs(t) > 50.0)
    return tf.cond(large, lambda: 0.01 * t, lambda: t)


def detached_where_large(t):
    return tf.where(tf.reduce_max(t) > 30.0, tf.stop_gradient(t), t) + 0.01 * t


def centred(t):
    return t - tf.reduce_mean(t, axis=0, keepdims=True) / 2


def around(function):
    inputs = keras.Input((16,))
    hidden = layers.Dense(8, "relu")(inputs)
    hidden = layers.Lambda(function, output_shape=(8,))(hidden)
    return keras.Model(inputs, layers.Dense(1)(hidden))


def in_training(function):
    """The same, but not at inference."""

    class Training(layers.Layer):
        def call(self, inputs, training=False):
            return function(inputs) if training else inputs

    return keras.Sequential(
        [keras.Input((16,)), layers.Dense(8, "relu"), Training(), layers.Dense(1)]
    )


def by_operations():
    """Without a layer of one's own: operations between layers."""
    inputs = keras.Input((16,))
    hidden = layers.Dense(8, "relu")(inputs)
    largest = keras.ops.max(keras.ops.abs(hidden)) / 10.0
    return keras.Model(
        inputs, layers.Dense(1)(hidden / keras.ops.maximum(1.0, largest))
    )


class MixingCell(layers.SimpleRNNCell):
    """Keras' cell, whose new state mixes the rows."""

    def call(self, sequence, states, training=False):
        output, new = super().call(sequence, states, training)
        return centred(output), [centred(state) for state in new]


def recurrent(layer):
    reshaped = layers.Reshape((4, 4))
    return keras.Sequential([keras.Input((16,)), reshaped, layer, layers.Dense(1)])


MODELS = {
    "recurrent activation": lambda: recurrent(layers.GRU(4, activation=centred)),
    "recurrent cell": lambda: recurrent(layers.RNN(MixingCell(4, activation=None))),
    **{
        function.__name__: lambda function=function: around(function)
        for function in (
            clipped_all,
            scaled_where_large,
            emptied_where_large,
            detached_where_large,
        )
    },
    "operations": by_operations,
    "centred": lambda: around(centred),
    "centred in training": lambda: in_training(centred),
}


def examples(rng):
    """Of which the first is a thousand times as large as the others."""
    x, y = normal(rng, EXAMPLES, 16), normal(rng, EXAMPLES, 1)
    x[0] *= 1000
    return x, y


@pytest.mark.parametrize("name", MODELS)
def test_one_example_moves_the_sum_by_no_more_than_the_bound(name, rng):
    model, (x, y) = MODELS[name](), examples(rng)

    def total(rows):
        found = dp.clipped_gradients(
            model, x[rows], y[rows], loss="mse", l2_norm_clip=BOUND, engine="ghost"
        )
        return found[0]

    effect = oracle.distance(total(slice(None)), total(slice(1, None)))
    assert effect <= BOUND * (1 + 1e-5)
    oracle.assert_exact(
        model, x, y, loss=keras.losses.MeanSquaredError(), engine="ghost"
    )


def test_planted_trust_in_any_activation_is_found(monkeypatch, rng):
    monkeypatch.setattr(recurrence, "_ACTIVATIONS", ())
    with pytest.raises(AssertionError):
        test_one_example_moves_the_sum_by_no_more_than_the_bound(
            "recurrent activation", rng
        )


@pytest.mark.parametrize("name", MODELS)
def test_the_models_do_mix(name, rng):
    """In a batch of its own, as an engine would run them that trusts its layers."""
    model, (x, _) = MODELS[name](), examples(rng)

    def rest(rows):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(x[rows], training=True)[-3:])
        return tape.gradient(total, model.trainable_variables)

    together, without = rest(slice(None)), rest(slice(1, None))
    assert oracle.distance(together, without) > 10 * BOUND


def test_a_layer_without_a_rule_that_draws_random_numbers(rng):
    """Each of many equal examples is one of the two that dropout makes of it."""

    class Noisy(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dropout = layers.Dropout(0.5)

        def build(self, shape):
            self.scale = self.add_weight(shape=shape[1:], initializer="ones")

        def call(self, inputs, training=False):
            return self.dropout(inputs * self.scale, training=training)

    model = keras.Sequential([keras.Input((1,)), Noisy()])
    _, norms = dp.clipped_gradients(
        model,
        np.ones((64, 1), "float32"),
        np.zeros((64, 1), "float32"),
        loss="mse",
        l2_norm_clip=1.0,
        engine="ghost",
    )
    assert {round(float(n), 4) for n in norms} == {0.0, 8.0}  # alike by chance: 2**-63

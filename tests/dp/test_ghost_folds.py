"""Models that lay parts of an example among the examples: each part counts for its own.

Several layers inside a model are called on `examples * parts` rows, in whatever order.
"""

import keras
import numpy as np
import oracle
import pytest
from keras import layers, ops

import tfpriv.dp as dp

PARTS, EXAMPLES = 3, 5
MSE = keras.losses.MeanSquaredError


class Folded(layers.Layer):
    """Runs layers on each part of an example: (B, parts, ...) -> (B, width)."""

    def __init__(self, inner, parts_first=False):
        super().__init__()
        self.inner = inner
        self.parts_first = parts_first

    def call(self, x):
        if self.parts_first:
            x = ops.swapaxes(x, 0, 1)
        x = ops.reshape(x, (-1, *x.shape[2:]))
        for layer in self.inner:
            x = layer(x)
        shape = (PARTS, -1) if self.parts_first else (-1, PARTS)
        return ops.mean(
            ops.reshape(x, (*shape, x.shape[-1])), 0 if shape[1] == -1 else 1
        )


def folded(shape, *inner, dtype=None, parts_first=False):
    x = keras.Input((PARTS, *shape), dtype=dtype)
    y = Folded(inner, parts_first)(x)
    return keras.Model(x, layers.Dense(2)(y))


def pictures(**kwargs):
    return folded(
        (6, 6, 2),
        layers.Conv2D(3, 3, strides=2, activation="tanh"),
        layers.GroupNormalization(3),
        layers.Flatten(),
        layers.Dense(4),
        **kwargs,
    )


def words(**kwargs):
    return folded(
        (4,),
        layers.Embedding(7, 3),
        layers.Dense(3, "tanh"),
        layers.LSTM(3),
        dtype="int32",
        **kwargs,
    )


def data(model, rng):
    shape = (EXAMPLES, *model.input_shape[1:])
    if "int" in model.inputs[0].dtype:
        x = rng.integers(0, 7, shape)
    else:
        x = rng.normal(size=shape).astype(keras.config.floatx())
    return x, rng.normal(size=(EXAMPLES, 2)).astype(keras.config.floatx())


@pytest.mark.parametrize("build", [pictures, words])
def test_parts_count_for_their_example(build, rng):
    with oracle.precision("float64"):
        model = build()
        oracle.assert_exact(model, *data(model, rng), loss=MSE(), engine="ghost")


def test_the_order_of_parts_does_not_matter(rng):
    with oracle.precision("float64"):
        model = pictures(parts_first=True)
        oracle.assert_exact(model, *data(model, rng), loss=MSE(), engine="ghost")


def test_groups_of_folded_examples(rng):
    """A unit is two examples of three parts each: all six rows side by side."""
    model, other = words(), words()
    other.set_weights(model.get_weights())
    x, y = data(model, rng)
    x, y = np.concatenate([x, x[:1]]), np.concatenate([y, y[:1]])
    groups = np.array([0, 0, 1, 1, 2, 2])
    changes = []
    for each, engine in ((model, "ghost"), (other, "vectorized")):
        before = each.get_weights()
        dp.make_private(each, unit="person", engine=engine)
        each.compile(dp.DPSGD(1.0, l2_norm_clip=0.1, noise_multiplier=0.0), loss="mse")
        sampler = dp.PoissonSampler(
            (x, y), 3, groups=groups, max_examples_per_group=2, steps_per_epoch=1
        )
        each.fit(sampler, verbose=0)
        changes.append([a - b for a, b in zip(each.get_weights(), before, strict=True)])
    assert oracle.norm(changes[0]) > 0
    assert oracle.distance(*changes) <= 1e-5 * oracle.norm(changes[1])

"""What the tests of the fast engine share: drawn models, weights and comparisons."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import hypothesis
import keras
import numpy as np
import oracle
from hypothesis import strategies as st
from keras import layers

import tfpriv.dp as dp

EXAMPLES = 4
SEEDS = st.integers(0, 2**32 - 1)
PRECISIONS = st.sampled_from(["float32", "float64"])

# Warnings that say what the tests do on purpose.
EXPECTED = [
    "ignore:No clipping rule",
    "ignore:TensorFlow cannot vectorise",
]


def draws(examples):
    """Settings for so many drawn models; a failure is shown as drawn, not shrunk."""
    return hypothesis.settings(
        max_examples=examples,
        deadline=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )


@dataclasses.dataclass
class Drawn:
    """One layer with its configuration, and what it is called on.

    Args:
        make: Layer class, or function that returns a layer.
        config: Dict of its keyword arguments.
        shape: Shape of one example.
        vocabulary: Inputs are integers below this; `None`: normal floats.
    """

    make: Callable
    config: dict
    shape: tuple
    vocabulary: Any = None

    def model(self):
        """The layer, and a Dense layer with two outputs behind it."""
        dtype = "int32" if self.vocabulary else None
        inputs = keras.Input(self.shape, dtype=dtype)
        outputs = self.make(**self.config)(inputs)
        if len(outputs.shape) > 2:
            outputs = layers.Flatten()(outputs)
        return keras.Model(inputs, layers.Dense(2)(outputs))

    def inputs(self, rng):
        """Made-up examples."""
        shape = (EXAMPLES, *self.shape)
        if self.vocabulary:
            return rng.integers(0, self.vocabulary, shape)
        return normal(rng, *shape)


def normal(rng, *shape):
    """Normal numbers in the precision of the moment."""
    return rng.normal(size=shape).astype(keras.config.floatx())


def scatter(model, rng):
    """Gives every weight, biases and scales too, random values."""
    for variable in model.weights:
        if "float" in keras.backend.standardize_dtype(variable.dtype):
            variable.assign(0.7 * rng.normal(size=variable.shape))
    return model


class Linear(keras.losses.Loss):
    """A loss whose gradient is the labels.

    That of a squared error is a difference, which may cancel to less than is compared.
    """

    def call(self, y_true, y_pred):
        return keras.ops.sum(y_true * y_pred, axis=-1)


def assert_exact(model, x, rng, y=None, **options):
    """The ghost engine against the loop, on random weights and labels."""
    scatter(model, rng)
    if y is None:
        y = normal(rng, EXAMPLES, *model.output_shape[1:])
    return oracle.assert_exact(
        model, x, y, loss=Linear(reduction="sum"), engine="ghost", **options
    )


def clipped(model, x, y, *, engine, l2_norm_clip=1.0, loss="mse", **options):
    """`(gradients, norms)` as float64 arrays, without the warnings expected here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No clipping rule|TensorFlow cannot vect")
        sums, norms = dp.clipped_gradients(
            model, x, y, loss=loss, l2_norm_clip=l2_norm_clip, engine=engine, **options
        )
    return [np.asarray(s, "float64") for s in sums], norms.numpy()


def assert_same(model, x, y, *, tolerance, **options):
    """Ghost against vectorized: norms, and sums at a bound that clips half."""
    _, norms = clipped(model, x, y, engine="vectorized", **options)
    options["l2_norm_clip"] = bound = float(np.median(norms))
    assert np.all(np.isfinite(norms))
    assert bound > 0
    wanted, norms = clipped(model, x, y, engine="vectorized", **options)
    sums, found = clipped(model, x, y, engine="ghost", **options)
    np.testing.assert_allclose(found, norms, rtol=tolerance)
    assert oracle.distance(sums, wanted) <= tolerance * np.minimum(norms, bound).sum()

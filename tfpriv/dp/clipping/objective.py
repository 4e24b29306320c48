"""What a clipping engine works on: a model with its loss, and a chunk of units."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.support.randomness import Randomness


@dataclasses.dataclass
class Objective:
    """A model and the loss of one example, ready to be differentiated."""

    model: Any
    compile_loss: Any  # without trackers
    # Before differentiation the loss is multiplied by it, the gradients divided after.
    loss_scale: float = 1.0
    map_examples: Callable | None = None  # set by `plan`
    # Identities of weights that the ghost engine differentiates itself, since they are
    # used outside of their layers' calls (`plan`).
    directly: frozenset = frozenset()
    randomness: Randomness = dataclasses.field(default_factory=Randomness)  # of dropout
    watch: Any = None  # the `Plan` that is told about a pass while it is traced

    @property
    def keras_variables(self):
        return list(self.model.trainable_variables)

    @property
    def variables(self):
        return [v.value for v in self.keras_variables]

    @property
    def seed_generators(self):
        return keras_internals.seed_generators(self.model)

    def seeds_spec(self, *leading):
        """What `example_seeds` returns, for examples with these leading axes."""
        count = len(self.seed_generators) + 1
        return [tf.TensorSpec([*leading, 2], tf.int64)] * count

    def loss(self, batch, y_pred, regularised=True):
        """The scalar that Keras would minimise for this batch (a dict)."""
        return keras_internals.total_loss(
            self.model, self.compile_loss, batch, y_pred, regularised
        )

    def refuse_unreached(self, gradients):
        """Raises `ValueError` naming trainable weights that the loss ignores."""
        pairs = zip(self.keras_variables, gradients, strict=True)
        if unreached := [v.path for v, g in pairs if g is None]:
            raise ValueError(
                "The loss does not depend on some trainable weights; they would be "
                "trained on noise alone. Set `trainable = False` on their layers, or "
                f"use their output. Received: unreached weights {unreached}"
            )


@dataclasses.dataclass
class Chunk:
    """Units of one batch; leading axis of every tensor: examples."""

    # Nested tensors: `x`, where given `y` and `sample_weight`, and `seeds`, a list of
    # `(examples, 2)` tensors (`example_seeds`).
    data: dict
    unit_present: tf.Tensor  # Boolean (units,); an absent one contributes exactly zero
    group_size: int | None = None  # k, with k rows per unit; `None` for examples
    example_present: tf.Tensor | None = None  # Boolean (units, k) for groups

    @property
    def example_mask(self):
        """Boolean `(examples,)`: which rows hold a real example."""
        if self.group_size is None:
            return self.unit_present
        return tf.reshape(self.example_present, [-1])


def draw_words(objective):
    """What the seeds of one step are made of, int64 `(generators + 1, 2)`.

    Drawn by each replica once per step, from the operating system. Keras' own
    generators follow `set_random_seed`, and one more example in a batch would move
    every later one to another mask, known beforehand: its effect would no longer be
    one clipped vector. Their counters, which are saved with a model, would also tell
    batch sizes.
    """
    generators = len(objective.seed_generators) + 1
    draw = objective.randomness.words
    words = tf.numpy_function(
        lambda: draw(2 * generators, "seeds").view(np.int64), [], tf.int64
    )
    return tf.reshape(tf.ensure_shape(words, [2 * generators]), [generators, 2])


def example_seeds(words, count, start=0):
    """Seeds, of `draw_words`, for `count` examples after the first `start` of a batch.

    Returns:
        List of int64 tensors `(count, 2)`: one for each seed generator of the model
        and, last, one for draws of `keras.random` without a seed.
    """
    index = tf.cast(tf.range(start, start + count), tf.int64)
    return [
        tf.stack([pair[0] + index, tf.fill([count], pair[1])], axis=1)
        for pair in tf.unstack(words)
    ]


def sum_dtype(dtype):
    """The dtype that gradients of this dtype are measured and summed in.

    At least float32: in a half-precision sum one example more would move the
    rounding of all the others, by more than its bound.
    """
    return tf.float32 if dtype.size < 4 else dtype

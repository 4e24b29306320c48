"""The reference engine: per-example gradients, whole, for any model.

Each example goes through the model alone, as a batch of one, under
`tf.vectorized_map`; layers therefore cannot mix examples, and a gradient is exactly
what Keras would compute for a data set of that one example. Where TensorFlow cannot
vectorise a model (recurrent layers), `tf.map_fn` does the same, one by one.
"""

import contextlib
import logging
import math

import numpy as np
import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp import tensorflow_internals as internals
from tfpriv.dp.clipping import scaling
from tfpriv.dp.clipping.converters import exact_converters
from tfpriv.dp.clipping.objective import sum_dtype
from tfpriv.dp.clipping.shapes import reshape, sizes, sizes_from

# What TensorFlow raises, depending on the operation, when it cannot vectorise.
NOT_VECTORIZABLE = (
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    NotImplementedError,
    tf.errors.OpError,
)


def clipped_sum(objective, chunk, clip):
    """Sum of the clipped gradients of the units in one `Chunk`.

    `clip` is a function from the units' norms to their factors (see `styles`).

    Returns:
        `(sums, norms, losses, y_pred)`: a list of tensors shaped like the variables;
        unclipped norms over all variables, shape `(units,)`, 0 where a unit was
        absent and infinity where its gradient was not finite; per-example losses,
        shape `(examples,)`; and predictions with leading axis `(examples,)`.
    """
    grads, losses, y_pred = per_example_gradients(objective, chunk)
    grads = [average_over_groups(g, chunk) for g in grads]
    factors, used, norms = scaling.scale(gradient_norms(grads), chunk, clip)
    factors = tf.unstack(tf.broadcast_to(factors, [len(grads), tf.shape(used)[0]]))
    sums = [weighted_sum(g, f, used) for g, f in zip(grads, factors, strict=True)]
    return sums, norms, losses, y_pred


@contextlib.contextmanager
def batch_of_one(objective, example):
    """Inside, random layers draw by the `seeds` of an example, a dict of tensors.

    Yields:
        `(batch, tape)`: the dict without `seeds`, with a leading axis of one; and a
        `tf.GradientTape` that watches the weights.
    """
    batch = {
        name: tf.nest.map_structure(lambda t: tf.expand_dims(t, 0), part)
        for name, part in example.items()
        if name != "seeds"
    }
    seeds = keras_internals.seeds_of_example(
        objective.seed_generators, example["seeds"]
    )
    with seeds, tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(objective.variables)
        yield batch, tape


def per_example_gradients(objective, chunk):
    """Dense gradients with a leading example axis, losses and predictions."""

    def one(example):
        with batch_of_one(objective, example) as (batch, tape):
            y_pred = keras_internals.call_model(
                objective.model, batch["x"], training=True
            )
            loss = objective.loss(batch, y_pred)
            scaled = loss * tf.cast(objective.loss_scale, loss.dtype)
        grads = tape.gradient(scaled, objective.variables)
        objective.refuse_unreached(grads)
        grads, loss = [dense(g) for g in grads], tf.cast(loss, tf.float32)
        if objective.watch is not None:
            objective.watch.example(example, [grads, loss])
        return grads, loss, y_pred

    grads, losses, y_pred = objective.map_examples(one, chunk.data)
    grads = [tf.cast(g, sum_dtype(g.dtype)) for g in grads]
    grads = [g / tf.cast(objective.loss_scale, g.dtype) for g in grads]
    y_pred = tf.nest.map_structure(lambda t: tf.squeeze(t, 1), y_pred)
    return grads, losses, y_pred


def vectorized(function, elements):
    """Maps as `tf.vectorized_map` does, whose elements all have one leading size."""

    def of_row(i):
        return function(tf.nest.map_structure(lambda t: tf.gather(t, i), elements))

    count = tf.shape(tf.nest.flatten(elements)[0])[0]
    with exact_converters(), _quiet_conversion():
        return internals.for_each(of_row, count)


def one_by_one(function, elements):
    """Maps by `tf.map_fn`: for models that TensorFlow cannot vectorise."""
    spec = tf.nest.map_structure(
        lambda t: tf.TensorSpec(t.shape[1:], t.dtype), elements
    )
    traced = tf.function(function, autograph=False).get_concrete_function(spec)
    signature = tf.nest.map_structure(
        lambda s: tf.TensorSpec(s.shape, s.dtype), traced.structured_outputs
    )
    return tf.map_fn(traced, elements, fn_output_signature=signature)


def dense(gradient):
    """An embedding's `IndexedSlices` as a tensor."""
    return tf.convert_to_tensor(gradient)


def average_over_groups(gradient, chunk):
    """(groups * k, ...) -> (groups, ...): the mean over a group's present examples.

    The mean of at most k gradients is one vector per group, to be clipped once.
    """
    if chunk.group_size is None:
        return gradient
    by_group = tf.reshape(gradient, [-1, chunk.group_size, *sizes_from(gradient, 1)])
    present = expand_like(chunk.example_present, by_group)
    kept = tf.where(present, by_group, tf.zeros_like(by_group))
    count = tf.reduce_sum(tf.cast(chunk.example_present, gradient.dtype), axis=1)
    return tf.reduce_sum(kept, axis=1) / expand_like(tf.maximum(count, 1), kept[:, 0])


def gradient_norms(gradients):
    """L2 norms of each unit's gradient, float64 `(variables, units)`.

    Squares leave a float's range long before the gradients do. A unit where that is
    near has its gradient divided by its largest entry first; the others keep the
    very same norm.
    """
    norms = tf.stack([tf.cast(_root_of_squares(g), tf.float64) for g in gradients])
    # Above it, squares that vanish are lost in the rounding of the others.
    smallest = [
        [math.sqrt(g.shape[1:].num_elements() * float(info.tiny) / float(info.eps))]
        for g in gradients
        for info in [np.finfo(g.dtype.as_numpy_dtype)]
    ]
    in_range = tf.math.is_finite(norms) & (norms > smallest)

    def rescaled():
        scaled = [tf.cast(_scaled_norm(g), tf.float64) for g in gradients]
        return tf.where(in_range, norms, tf.stack(scaled))

    return tf.cond(tf.reduce_all(in_range), lambda: norms, rescaled)


def _scaled_norm(gradient):
    largest = tf.reduce_max(tf.abs(gradient), axis=list(range(1, gradient.shape.rank)))
    usable = tf.logical_and(tf.math.is_finite(largest), largest > 0)
    scale = tf.where(usable, largest, tf.ones_like(largest))
    return scale * _root_of_squares(gradient / expand_like(scale, gradient))


def _root_of_squares(gradient):
    squares = tf.square(gradient)
    return tf.sqrt(tf.reduce_sum(squares, axis=list(range(1, gradient.shape.rank))))


def weighted_sum(gradient, factors, used):
    """sum_i factor_i * gradient_i over the units that are used.

    Not a matrix product: those may be rounded to fewer bits (TensorFloat-32), which
    would let a contribution exceed its bound.
    """
    scaled = gradient * expand_like(tf.cast(factors, gradient.dtype), gradient)
    # A factor of zero would keep a nan: select.
    kept = tf.where(expand_like(used, gradient), scaled, tf.zeros_like(scaled))
    return tf.reduce_sum(kept, axis=0)


def expand_like(tensor, reference):
    """Appends axes of size one until the ranks agree."""
    rank = reference.shape.rank - tensor.shape.rank
    return reshape(tensor, [*sizes(tensor), *[1] * rank])


@contextlib.contextmanager
def _quiet_conversion():
    """Hides TensorFlow's log of what it vectorises badly: `plan` says it once."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)

"""The fast engine: clipped sums for little more than the price of plain gradients.

One forward pass; the loss's gradient at the outputs of the layers only; from these and
the layers' inputs each example's gradient norm; and, once the factors are known, one
weighted product per weight. No gradient is computed twice and, where that is dearer,
no example's gradient is ever formed ("ghost norm", "book-keeping").

References:
    - Bu et al., "Differentially private optimization on large model at small cost",
      ICML 2023, arXiv 2210.00038.
    - Li et al., "Large language models can be strong differentially private
      learners", ICLR 2022, arXiv 2110.05679.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping import scaling, vectorized
from tfpriv.dp.clipping.losses import per_example_losses
from tfpriv.dp.clipping.per_example import Whole, by_unit, combine, of_examples
from tfpriv.dp.clipping.problem import sum_dtype
from tfpriv.dp.clipping.taps import tapped


def clipped_sum(problem, chunk, clip):
    """Sum of the clipped gradients of the units in one chunk; see `vectorized`."""
    if tf.executing_eagerly():
        return vectorized.clipped_sum(problem, chunk, clip)
    seen = watched_pass(problem, chunk)
    gradients = per_variable(problem, chunk, seen)
    norms, rounding = norms_of(gradients)

    def clip_with_rounding(norms):
        """What is added up may be longer than the gradient by its rounding."""
        return clip([n + r for n, r in zip(norms, rounding, strict=True)])

    factors, used, norms = scaling.scale(norms, chunk, clip_with_rounding)
    sums = weighted_sums(gradients, factors, used)
    return sums, norms, tf.cast(seen.losses + seen.penalty, tf.float32), seen.y_pred


@dataclasses.dataclass
class Pass:
    """What one pass through model and loss left behind.

    Args:
        taps: List of `Tap`.
        gradients: For each tap the list of the loss's gradients at its tensors, or
            `None` if the loss does not depend on them.
        losses: `(examples,)`, without weight regularisers.
        penalty: The sum of these, which is part of every example's loss.
        penalised: Pairs of a Keras variable and the penalty's gradient.
        y_pred: Predictions.
    """

    taps: list
    gradients: list
    losses: Any
    penalty: Any
    penalised: list
    y_pred: Any


def watched_pass(problem, chunk):
    """Runs model and loss on a chunk and differentiates, but not to the weights."""
    batch = {name: part for name, part in chunk.data.items() if name != "seeds"}
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        taps, y_pred = watched_call(problem, chunk.data, tape)
        with keras_internals.without_weight_regularisation(problem.model):
            losses = per_example_losses(problem, batch, y_pred)
        total = tf.reduce_sum(losses) * tf.cast(problem.loss_scale, losses.dtype)
    gradients = tape.gradient(total, [tap.tensors for tap in taps])
    gradients = [
        _unscaled(problem, found, tap)
        for tap, found in zip(taps, gradients, strict=True)
    ]
    penalty, penalised = _penalties(problem, losses.dtype)
    return Pass(taps, gradients, losses, penalty, penalised, y_pred)


def watched_call(problem, data, tape):
    """Runs the model for training; returns its taps and predictions."""
    # One fresh seed for all: every example has rows of its own in each mask.
    seeds = [seed[0] for seed in data["seeds"]]
    with (
        keras_internals.seeds_of_example(problem.seed_generators, seeds),
        tapped(problem.model, tape) as taps,
    ):
        y_pred = keras_internals.call_model(problem.model, data["x"], training=True)
    return taps, y_pred


def _unscaled(problem, gradients, tap):
    if all(g is None for g in gradients):
        return None
    found = []
    for g, tensor in zip(gradients, tap.tensors, strict=True):
        g = tf.zeros_like(tensor) if g is None else tf.convert_to_tensor(g)
        g = tf.cast(g, sum_dtype(g.dtype))
        if problem.loss_scale != 1.0:  # a pass over all of it
            g = g / tf.cast(problem.loss_scale, g.dtype)
        found.append(g)
    return found


def _penalties(problem, dtype):
    """Weight regularisers: their sum, and pairs of variable and gradient."""
    total, found = tf.zeros([], dtype), []
    for variable in problem.keras_variables:
        if variable.regularizer is not None:
            value = variable.value
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(value)
                penalty = tf.reduce_sum(variable.regularizer(variable))
            found.append((variable, tape.gradient(penalty, value)))
            total += tf.cast(penalty, dtype)
    return total, found


def per_variable(problem, chunk, seen):
    """One per-example gradient for each variable of the problem, by unit."""
    parts: dict = {id(v): [] for v in problem.keras_variables}
    folds = problem.folds or [1] * len(seen.taps)
    for tap, fold, gradients in zip(seen.taps, folds, seen.gradients, strict=True):
        if gradients is not None:
            for variable, gradient in tap.gradients(gradients):
                if id(variable) in parts:  # not if it is frozen
                    parts[id(variable)].append(of_examples(gradient, fold))
    examples = tf.shape(seen.losses)[:1]
    for variable, gradient in seen.penalised:
        same = tf.cast(gradient, sum_dtype(gradient.dtype))
        same = tf.broadcast_to(same, tf.concat([examples, tf.shape(same)], axis=0))
        parts[id(variable)].append(
            Whole(tf.ensure_shape(same, [None, *gradient.shape]))
        )
    problem.refuse_unreached([p or None for p in parts.values()])
    return [by_unit(combine(p), chunk) for p in parts.values()]


def norms_of(gradients):
    """Norms of gradients, and what rounding may add to each in a weighted sum.

    Returns:
        Two lists with one `(units,)` float64 tensor per variable. Units whose terms
        cancel, or leave the range of single precision, are computed once more in
        double precision; the others keep the very same norm.
    """
    squares = [g.square_norms() for g in gradients]
    precise = tf.stack(
        [g.is_precise(s) for g, s in zip(gradients, squares, strict=True)]
    )
    found = _with_rounding(gradients, squares)

    def again():
        exact = [g.precise() for g in gradients]
        other = _with_rounding(exact, [g.square_norms() for g in exact])
        return tf.where(precise[:, tf.newaxis], found, other)

    found = tf.cond(tf.reduce_all(precise), lambda: found, again)
    norms = tf.sqrt(tf.maximum(found[:, 0], 0.0))
    # A maximum passes over a nan.
    norms = tf.where(tf.math.is_finite(tf.reduce_sum(found, axis=1)), norms, np.inf)
    rounding = _last_places(gradients) * found[:, 1]
    return tf.unstack(norms), tf.unstack(rounding)


def _with_rounding(gradients, squares):
    """`(variables, 2, units)`: square norms, and last places that may be wrong."""
    pairs = zip(gradients, squares, strict=True)
    return tf.stack([(s, g.rounding(s)) for g, s in pairs])


def _last_places(gradients):
    """Half a unit in the last place of each gradient's products, `(variables, 1)`."""
    dtypes = [g.tensors[0].dtype for g in gradients]
    units = [np.finfo(d.as_numpy_dtype).eps / 2 for d in dtypes]
    coarse = tf.config.experimental.tensor_float_32_execution_enabled()
    if coarse and tf.config.list_logical_devices("GPU"):
        units = [max(u, 2.0**-11) for u in units]
    return np.array(units)[:, np.newaxis]


def weighted_sums(gradients, factors, used):
    """sum_i factor_i * gradient_i over the units that are used, for each variable."""
    flat = [t for g in gradients for t in g.tensors]
    # A factor of zero would keep a nan or an infinity: such units are cut out.
    flat = tf.cond(
        tf.reduce_all(used),
        lambda: flat,
        lambda: [_rows_where(used, t) for t in flat],
    )
    flat, sums = iter(flat), []
    for gradient, factor in zip(gradients, factors, strict=True):
        kept = gradient.rebuilt([next(flat) for _ in gradient.tensors])
        sums.append(kept.weighted_sum(tf.where(used, factor, tf.zeros_like(factor))))
    return sums


def _rows_where(used, tensor):
    mask = tf.reshape(used, [-1] + [1] * (tensor.shape.rank - 1))
    return tf.where(mask, tensor, tf.zeros_like(tensor))

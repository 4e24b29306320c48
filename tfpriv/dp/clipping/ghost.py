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

import contextlib

import numpy as np
import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping import scaling, vectorized
from tfpriv.dp.clipping.losses import per_example_losses
from tfpriv.dp.clipping.per_example import by_unit, combine
from tfpriv.dp.clipping.problem import sum_dtype
from tfpriv.dp.clipping.taps import tapped


def clipped_sum(problem, chunk, clip):
    """Sum of the clipped gradients of the units in one chunk; see `vectorized`."""
    if tf.executing_eagerly():
        return vectorized.clipped_sum(problem, chunk, clip)
    taps, losses, y_pred = watched_pass(problem, chunk)
    gradients = per_variable(problem, chunk, taps)
    factors, used, norms = scaling.scale(norms_of(gradients), chunk, clip)
    return weighted_sums(gradients, factors, used), norms, losses, y_pred


def watched_pass(problem, chunk):
    """One pass through model and loss.

    Returns:
        `(taps, losses, y_pred)`: pairs of `Tap` and the loss's gradients at its
        tensors, losses `(examples,)`, and predictions.
    """
    batch = {name: part for name, part in chunk.data.items() if name != "seeds"}
    with contextlib.ExitStack() as stack:
        # One fresh seed for all: every example has rows of its own in each mask.
        seeds = [seed[0] for seed in chunk.data["seeds"]]
        stack.enter_context(
            keras_internals.seeds_of_example(problem.seed_generators, seeds)
        )
        tape = stack.enter_context(tf.GradientTape(watch_accessed_variables=False))
        with tapped(problem.model, tape) as taps:
            y_pred = keras_internals.call_model(
                problem.model, batch["x"], training=True
            )
        losses = per_example_losses(problem, batch, y_pred)
        total = tf.reduce_sum(losses) * tf.cast(problem.loss_scale, losses.dtype)
    gradients = tape.gradient(total, [tap.tensors for tap in taps])
    pairs = [
        (
            tap,
            [_unscaled(problem, g, t) for g, t in zip(found, tap.tensors, strict=True)],
        )
        for tap, found in zip(taps, gradients, strict=True)
        if any(g is not None for g in found)
    ]
    return pairs, tf.cast(losses, tf.float32), y_pred


def _unscaled(problem, gradient, tensor):
    if gradient is None:
        gradient = tf.zeros_like(tensor)
    gradient = tf.cast(tf.convert_to_tensor(gradient), sum_dtype(gradient.dtype))
    if problem.loss_scale == 1.0:
        return gradient
    return gradient / tf.cast(problem.loss_scale, gradient.dtype)


def per_variable(problem, chunk, taps):
    """One per-example gradient for each variable of the problem, by unit."""
    parts = {id(v): [] for v in problem.keras_variables}
    for tap, gradients in taps:
        for variable, gradient in tap.gradients(gradients):
            if id(variable) in parts:  # not if it is frozen
                parts[id(variable)].append(gradient)
    problem.refuse_unreached([p or None for p in parts.values()])
    return [by_unit(combine(p), chunk) for p in parts.values()]


def norms_of(gradients):
    """L2 norms, one `(units,)` float64 tensor per variable, never below the truth.

    To each is added what rounding may add to that gradient in the weighted sum.
    """
    squares = tf.stack([g.square_norms() for g in gradients])
    magnitudes = tf.stack([g.magnitudes() for g in gradients])
    precise = [
        tf.reduce_all(g.is_precise(s))
        for g, s in zip(gradients, tf.unstack(squares), strict=True)
    ]
    squares = tf.cond(
        tf.reduce_all(precise),
        lambda: squares,
        lambda: tf.stack([g.precise().square_norms() for g in gradients]),
    )
    norms = tf.sqrt(tf.maximum(squares, 0.0)) + _rounding(gradients) * magnitudes
    # A maximum passes over a nan.
    return tf.unstack(tf.where(tf.math.is_finite(squares), norms, np.inf))


def _rounding(gradients):
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

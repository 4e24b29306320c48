"""The fast engine: clipped sums for little more than the price of plain gradients.

Every example goes forward through the model, and its loss's gradient back to the
outputs of the layers, by itself (as in `vectorized`, so that no layer can mix
examples); from these and the layers' inputs come all examples' gradient norms; and,
once the factors are known, one weighted product per weight. No gradient is computed
twice and, where that is dearer, no example's gradient is ever formed ("ghost norm",
"book-keeping").

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
from tfpriv.dp.clipping.objective import sum_dtype
from tfpriv.dp.clipping.per_example import (
    Dense,
    by_unit,
    combine,
    computed,
    of_examples,
    square_norms,
    taken_apart,
)
from tfpriv.dp.clipping.shapes import merge_axes
from tfpriv.dp.clipping.taps import tapped


def clipped_sum(objective, chunk, clip):
    """Sum of the clipped gradients of the units in one chunk; see `vectorized`."""
    seen = every_example(objective, chunk)
    gradients = per_variable(objective, chunk, seen)
    norms, rounding = norms_of(gradients)

    # What is added up may be longer than the gradient by its rounding.
    factors, used, norms = scaling.scale(norms, chunk, lambda n: clip(n + rounding))
    sums = weighted_sums(gradients, factors, used)
    return sums, norms, tf.cast(seen.losses + seen.penalty, tf.float32), seen.y_pred


@dataclasses.dataclass
class Pass:
    """What every example left behind, after it went through model and loss."""

    parts: list  # of each variable: gradients (`per_example`), and rows of an example
    losses: Any  # (examples,), without weight regularisers
    penalty: Any  # the sum of these, which is part of every example's loss
    penalised: list  # pairs of a Keras variable and the penalty's gradient
    y_pred: Any


def every_example(objective, chunk):
    """The `Pass` of a chunk, each example alone."""
    forms: dict = {}

    def one(example):
        seen = alone(objective, example)
        if objective.watch is not None:
            objective.watch.taps(seen, example)
        found = [[taken_apart(part) for part in parts] for parts in seen.parts]
        outputs = [keras_internals.Output.of(t) for t in tf.nest.flatten(seen.y_pred)]
        forms.update(found=found, outputs=outputs, y_pred=seen.y_pred)
        tensors = [[tensors for tensors, _ in parts] for parts in found]
        return tensors, seen.loss, [output.tensors for output in outputs]

    tensors, losses, outputs = objective.map_examples(one, chunk.data)
    if objective.watch is not None:
        objective.watch.mapped()
    parts = [
        [_joined_rows(*pair) for pair in zip(form, found, strict=True)]
        for form, found in zip(forms["found"], tensors, strict=True)
    ]
    outputs = [
        output.replaced({name: tf.squeeze(t, 1) for name, t in rows.items()})
        for output, rows in zip(forms["outputs"], outputs, strict=True)
    ]
    y_pred = tf.nest.pack_sequence_as(forms["y_pred"], outputs)
    # Draws of a regulariser are the same for all, and depend on no example.
    seeds = [of_generator[0] for of_generator in chunk.data["seeds"]]
    penalty, penalised = _penalties(objective, losses.dtype, seeds)
    return Pass(parts, losses, penalty, penalised, y_pred)


def _joined_rows(form, tensors):
    """One gradient of all examples' rows, and how many of them each example has."""
    of_one, rebuilt = form
    joined = [merge_axes(stacked, 2) for stacked in tensors]
    for i, one in enumerate(of_one):
        if joined[i].shape[1:] != one.shape[1:]:
            joined[i] = tf.ensure_shape(joined[i], [None, *one.shape[1:]])
    return rebuilt(joined), of_one[0].shape[0]


@dataclasses.dataclass
class Alone:
    """What one example left behind."""

    taps: list
    gradients: list  # of each tap the loss's gradients at its tensors; `None` for none
    parts: list  # of each variable a list of gradients
    directly: set  # identities of the weights that no rule answered for
    loss: Any  # scalar, without weight regularisers
    y_pred: Any  # a batch of one


def alone(objective, example):
    """Runs model and loss on one example and differentiates.

    To the weights only where no rule answers for them.
    """
    with vectorized.batch_of_one(objective, example) as (batch, tape):
        with tapped(objective.model, tape) as taps:
            y_pred = keras_internals.call_model(
                objective.model, batch["x"], training=True
            )
        loss = objective.loss(batch, y_pred, regularised=False)
        scaled = loss * tf.cast(objective.loss_scale, loss.dtype)
    left = taps.directly | objective.directly
    directly = [v for v in objective.keras_variables if id(v) in left]
    sources = [tap.tensors for tap in taps], [v.value for v in directly]
    of_taps, of_weights = tape.gradient(scaled, sources)
    gradients: list = []
    for tap, found in zip(taps, of_taps, strict=True):
        pairs = zip(found, tap.tensors, strict=True)
        reached = any(g is not None for g in found)
        unscaled = [_unscaled(objective, *pair) for pair in pairs] if reached else None
        gradients.append(unscaled)
    parts: dict = {id(v): [] for v in objective.keras_variables}
    for tap, found in zip(taps, gradients, strict=True):
        for variable, gradient in tap.gradients(found) if found else ():
            if id(variable) in parts:  # not if it is frozen
                parts[id(variable)].append(gradient)
    for variable, g in zip(directly, of_weights, strict=True):
        parts[id(variable)] = []
        if g is not None:
            whole = tf.expand_dims(_unscaled(objective, g), 0)
            parts[id(variable)].append(Dense(whole))
    return Alone(taps, gradients, list(parts.values()), left, loss, y_pred)


def _unscaled(objective, g, like=None):
    """The loss's own gradient, without the loss scale; zeros where there is none."""
    g = tf.zeros_like(like) if g is None else vectorized.dense(g)
    g = tf.cast(g, sum_dtype(g.dtype))
    # A division is a pass over all of it.
    return (
        g if objective.loss_scale == 1.0 else g / tf.cast(objective.loss_scale, g.dtype)
    )


def _penalties(objective, dtype, seeds):
    """Weight regularisers: their sum, and pairs of variable and gradient."""
    total = tf.zeros([], dtype)
    found: list = []
    penalised = [v for v in objective.keras_variables if v.regularizer is not None]
    if not penalised:
        return total, found
    with keras_internals.seeds_of_example(objective.seed_generators, seeds):
        for variable in penalised:
            value = variable.value
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(value)
                penalty = tf.reduce_sum(variable.regularizer(variable))
            found.append((variable, tape.gradient(penalty, value)))
            total += tf.cast(penalty, dtype)
    return total, found


def per_variable(objective, chunk, seen):
    """One per-example gradient for each variable of the objective, by unit."""
    found = {
        id(v): [of_examples(computed(part), rows) for part, rows in parts]
        for v, parts in zip(objective.keras_variables, seen.parts, strict=True)
    }
    examples = tf.shape(seen.losses)[:1]
    for variable, gradient in seen.penalised:
        same = tf.cast(gradient, sum_dtype(gradient.dtype))
        same = tf.broadcast_to(same, tf.concat([examples, tf.shape(same)], axis=0))
        same = tf.ensure_shape(same, [None, *gradient.shape])
        found[id(variable)].append(Dense(same))
    objective.refuse_unreached([p or None for p in found.values()])
    return [by_unit(combine(p), chunk) for p in found.values()]


def norms_of(gradients):
    """Norms of gradients, and what rounding may add to each in a weighted sum.

    Both are float64 `(variables, units)`. Units whose terms cancel, or leave the range
    of single precision, are computed once more in double; the others keep their norm.
    """
    squares, rounding, precise = square_norms(gradients)

    def again():
        exact, other, _ = square_norms([g.precise() for g in gradients])
        return tf.where(precise, squares, exact), tf.where(precise, rounding, other)

    squares, rounding = tf.cond(
        tf.reduce_all(precise), lambda: (squares, rounding), again
    )
    norms = tf.sqrt(tf.maximum(squares, 0.0))
    # A maximum passes over a nan.
    norms = tf.where(tf.math.is_finite(squares + rounding), norms, np.inf)
    return norms, _last_places(gradients) * rounding


def _last_places(gradients):
    """Half a unit in the last place of each gradient's products, `(variables, 1)`."""
    dtypes = [g.tensors[0].dtype for g in gradients]
    units = [np.finfo(d.as_numpy_dtype).eps / 2 for d in dtypes]
    coarse = tf.config.experimental.tensor_float_32_execution_enabled()
    if coarse and tf.config.list_logical_devices("GPU"):
        units = [max(u, 2.0**-11) for u in units]
    return np.array(units)[:, np.newaxis]


def weighted_sums(gradients, factors, used):
    """sum_i factor_i * gradient_i over the units that are used, for each variable.

    Args:
        gradients: List of gradients (`per_example`).
        factors: float64 that broadcasts to `(variables, units)`, 0 for units that are
            not used.
        used: Boolean `(units,)`.
    """
    flat = [t for g in gradients for t in g.tensors]

    def of_used(tensor):
        mask = tf.reshape(used, [-1] + [1] * (tensor.shape.rank - 1))
        return tf.where(mask, tensor, tf.zeros([], tensor.dtype))

    # A factor of zero would keep a nan or an infinity: such units are cut out.
    everyone = tf.reduce_all(used)
    flat = iter(tf.cond(everyone, lambda: flat, lambda: list(map(of_used, flat))))
    shared = factors.shape[0] == 1
    factors = tf.unstack(factors) * (len(gradients) if shared else 1)
    return [
        gradient.rebuilt([next(flat) for _ in gradient.tensors]).weighted_sum(factor)
        for gradient, factor in zip(gradients, factors, strict=True)
    ]

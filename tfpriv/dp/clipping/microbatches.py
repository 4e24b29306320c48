"""Any logical batch in bounded memory: clipped sums, chunk by chunk."""

import tensorflow as tf

from tfpriv.dp.clipping.objective import Chunk, draw_words, example_seeds, sum_dtype
from tfpriv.dp.clipping.rounding import MOST_IN_FLOAT32
from tfpriv.dp.clipping.shapes import merge_axes


def sum_over_chunks(plan, batch, l2_norm_clip, on_chunk=None, microbatch_size=None):
    """Clipped sum over a batch of any size, empty included.

    Args:
        plan: `Plan`.
        batch: Dict with `x`, and where given `y`, `sample_weight`, `present`.
            Leading axis: units; for groups all entries have leading axes `(units, k)`.
        l2_norm_clip: Positive float or float64 scalar tensor, the bound.
        on_chunk: `None` or a function `(chunk, y_pred)` called for each.
        microbatch_size: Int, examples that are differentiated together, or `None` for
            the plan's; at most 256, since an engine may add them up in float32.

    Returns:
        `(sums, norms, losses)`: float64 sums of the gradients, shaped like the
        variables; norms `(units,)`; and the losses of the examples that are present,
        `(examples,)`.
    """
    units = tf.shape(tf.nest.flatten(batch["x"])[0])[0]
    variables, present = plan.objective.variables, batch.get("present")
    group_size = (
        None if present is None or present.shape.rank == 1 else present.shape[1]
    )
    examples = min(microbatch_size or plan.microbatch_size, MOST_IN_FLOAT32)
    step = max(1, examples // (group_size or 1))
    chunks = -(-units // step)
    zeros = [tf.zeros(v.shape, tf.float64) for v in variables]
    dtypes = [sum_dtype(v.dtype) for v in variables]
    dtype = max(dtypes, key=lambda d: d.size)
    words = draw_words(plan.objective)

    def body(i, sums, norms, losses):
        chunk = _slice(batch, words, i * step, step, group_size)
        part, chunk_norms, chunk_losses, y_pred = plan.clipped_sum(chunk, l2_norm_clip)
        if on_chunk is not None:
            on_chunk(chunk, y_pred)
        sums = [a + tf.cast(b, tf.float64) for a, b in zip(sums, part, strict=True)]
        norms = tf.concat([norms, tf.cast(chunk_norms, dtype)], axis=0)
        shown = tf.boolean_mask(chunk_losses, chunk.example_mask)
        return i + 1, sums, norms, tf.concat([losses, shown], axis=0)

    _, sums, norms, losses = tf.while_loop(
        lambda i, *_: i < chunks,
        body,
        (tf.constant(0), zeros, tf.zeros([0], dtype), tf.zeros([0], tf.float32)),
        (
            tf.TensorShape([]),
            [v.shape for v in variables],
            *[tf.TensorShape([None])] * 2,
        ),
        parallel_iterations=1,
    )
    return sums, norms, losses


def units_present(batch):
    """Boolean `(units,)`: which units of a batch are there."""
    present = batch.get("present")
    if present is None:
        return tf.fill([tf.shape(tf.nest.flatten(batch["x"])[0])[0]], True)
    return present if present.shape.rank == 1 else tf.reduce_any(present, axis=1)


def _slice(batch, words, start, step, group_size):
    part = tf.nest.map_structure(lambda t: t[start : start + step], batch)
    unit_present = units_present(part)
    present, rows = part.pop("present", None), group_size or 1
    if group_size is None:
        present = None
    else:
        part = tf.nest.map_structure(lambda t: merge_axes(t, 2), part)
    count = tf.shape(unit_present)[0] * rows
    part["seeds"] = example_seeds(words, count, start * rows)
    return Chunk(part, unit_present, group_size, present)

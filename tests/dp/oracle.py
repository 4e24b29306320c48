"""The slow, obvious oracle of per-example clipping: a Python loop over examples.

Each example is a batch of one, differentiated eagerly by a plain `tf.GradientTape`;
clipping and sums are numpy in float64. Nothing here calls `tfpriv`, except
`assert_exact`, which compares.
"""

import contextlib

import keras
import numpy as np
import tensorflow as tf

import tfpriv.dp as dp

# The part of the clip norm that is kept for rounding (tfpriv/dp/clipping/rounding.py).
MARGIN = 2.0**-8
# Of an example's whole gradient norm.
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


@contextlib.contextmanager
def precision(name):
    """Inside, layers and losses are made in `"float32"` or `"float64"`."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(name)
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def gradients(model, x, y=None, *, loss=None, sample_weight=None):
    """Gradients of each example alone: a list over examples of lists of arrays.

    Args:
        model: Keras model.
        x, y, sample_weight: Nested arrays, leading axis: examples.
        loss: `keras.losses.Loss`, or `None` for what the model was compiled with.
    """
    size = len(tf.nest.flatten(x)[0])
    return [
        _gradient(model, *(_row(part, i) for part in (x, y, sample_weight)), loss)
        for i in range(size)
    ]


def _row(part, i):
    if part is None:
        return None
    return tf.nest.map_structure(lambda a: tf.convert_to_tensor(a[i : i + 1]), part)


def _gradient(model, x, y, sample_weight, loss):
    with tf.GradientTape() as tape:
        y_pred = model(x, training=True)
        if loss is None:
            value = model.compute_loss(x, y, y_pred, sample_weight, training=True)
        else:
            value = tf.reduce_sum(loss(y, y_pred, sample_weight))
            value += sum(tf.cast(tf.reduce_sum(e), value.dtype) for e in model.losses)
    found = tape.gradient(value, [v.value for v in model.trainable_variables])
    return [np.asarray(tf.convert_to_tensor(g)).astype("float64") for g in found]


def norm(gradient):
    """L2 norm over all arrays together."""
    largest = max(np.abs(g).max(initial=0.0) for g in gradient)
    if not np.isfinite(largest) or largest == 0:
        return largest
    return largest * np.sqrt(sum(np.sum((g / largest) ** 2) for g in gradient))


def clip(gradient, bound):
    """The gradient, scaled to the bound less the margin; zero if it is not finite."""
    length, inner = norm(gradient), bound * (1 - MARGIN)
    if not np.isfinite(length):
        return [np.zeros_like(g) for g in gradient]
    return [g * min(1.0, inner / max(length, 1e-300)) for g in gradient]


def add(lists):
    """Element-wise sum of lists of arrays."""
    return [np.sum(parts, axis=0) for parts in zip(*lists, strict=True)]


def distance(a, b):
    """L2 distance between two lists of arrays."""
    pairs = zip(a, b, strict=True)
    return norm([np.asarray(p, "float64") - np.asarray(q, "float64") for p, q in pairs])


def assert_exact(
    model,
    x,
    y=None,
    *,
    loss=None,
    sample_weight=None,
    tolerance=None,
    engine="auto",
):
    """Compares `tfpriv.dp.clipped_gradients` with the loop; returns the loop's.

    Norms, sums of a batch of which half is clipped, and each example's gradient by
    itself agree to `tolerance` of the norms involved.
    """
    expected = gradients(model, x, y, loss=loss, sample_weight=sample_weight)
    lengths = np.array([norm(g) for g in expected])
    assert np.all(lengths > 0), "the oracle's own gradients are zero: a weak test"
    tolerance = tolerance or TOLERANCE[keras.config.floatx()]

    def clipped(rows, bound):
        parts = [
            None if p is None else tf.nest.map_structure(lambda a: a[rows], p)
            for p in (x, y, sample_weight)
        ]
        return dp.clipped_gradients(
            model,
            *parts[:2],
            loss=loss,
            l2_norm_clip=bound,
            sample_weight=parts[2],
            engine=engine,
        )

    bound = float(np.median(lengths))
    sums, norms = clipped(slice(None), bound)
    np.testing.assert_allclose(norms, lengths, rtol=tolerance)
    wanted = add([clip(g, bound) for g in expected])
    assert distance(sums, wanted) <= tolerance * np.minimum(lengths, bound).sum()
    for i, length in enumerate(lengths):
        alone, _ = clipped(slice(i, i + 1), 2 * float(lengths.max()))
        assert distance(alone, expected[i]) <= tolerance * length
    return expected

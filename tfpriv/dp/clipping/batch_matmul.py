"""How `tf.vectorized_map` multiplies batches of matrices here.

Vectorised over examples, a product with a weight, `(1, n, d) x (d, m)`, becomes
`(examples, 1, n, d) x (d, m)`. TensorFlow 2.21 with oneDNN reads beyond its buffers in
that broadcasting product and gives wrong numbers or crashes (tensorflow issue 117700,
repaired after 2.21). The converter below folds the leading axes into one product of two
matrices, which is also faster; other broadcasts are written out.
"""

import contextlib

import tensorflow as tf

from tfpriv.dp import tensorflow_internals as internals

_OPERATION = "BatchMatMulV2"


def _convert(pfor_input):
    """Replaces TensorFlow's converter of the same operation."""
    x, x_stacked, _ = pfor_input.input(0)
    y, y_stacked, _ = pfor_input.input(1)
    adjoint_x, adjoint_y = pfor_input.get_attr("adj_x"), pfor_input.get_attr("adj_y")
    if x_stacked and not y_stacked and y.shape.rank == 2:
        product = _times_matrix(x, y, adjoint_x, adjoint_y)
    else:
        pfor_input.expanddim_inputs_for_broadcast()
        x, y = pfor_input.input(0)[0], pfor_input.input(1)[0]
        product = _times_batch(x, y, adjoint_x, adjoint_y)
    return internals.wrap(product, True)


def _times_matrix(x, y, adjoint_x, adjoint_y):
    """(..., n, d) x (d, m) as (... * n, d) x (d, m)."""
    x = tf.linalg.adjoint(x) if adjoint_x else x
    rows = tf.reshape(x, [-1, tf.shape(x)[-1]])
    flat = tf.matmul(rows, y, adjoint_b=adjoint_y)
    leading = tf.shape(x)[:-1]
    product = tf.reshape(flat, tf.concat([leading, tf.shape(flat)[-1:]], axis=0))
    product.set_shape(x.shape[:-1].concatenate(flat.shape[-1:]))
    return product


def _times_batch(x, y, adjoint_x, adjoint_y):
    """Batched product with equal leading axes on both sides."""
    leading = tf.broadcast_dynamic_shape(tf.shape(x)[:-2], tf.shape(y)[:-2])
    static = tf.broadcast_static_shape(x.shape[:-2], y.shape[:-2])
    both = []
    for side in (x, y):
        written_out = tf.broadcast_to(
            side, tf.concat([leading, tf.shape(side)[-2:]], axis=0)
        )
        written_out.set_shape(static.concatenate(side.shape[-2:]))
        both.append(written_out)
    return tf.matmul(*both, adjoint_a=adjoint_x, adjoint_b=adjoint_y)


@contextlib.contextmanager
def safe_products():
    """Inside, `tf.vectorized_map` uses the converter above."""
    original = internals.converters[_OPERATION]
    internals.converters[_OPERATION] = _convert
    try:
        yield
    finally:
        internals.converters[_OPERATION] = original

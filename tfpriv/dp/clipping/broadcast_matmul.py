"""Products with a shared matrix under `tf.vectorized_map`, kept off a faulty kernel.

TensorFlow 2.21 corrupts the heap on CPU where oneDNN multiplies `[B, 1, n, d]` by
`[d, m]` (tensorflow issue 117700, mended after 2.21 by pull request 120199). A batch
of one under `tf.vectorized_map` makes exactly that product of every `EinsumDense`,
hence of every attention layer. Folding the leading axes into one two-dimensional
product avoids it, and is also the faster way to multiply by a shared matrix.
"""

import tensorflow as tf
from tensorflow.python.ops.parallel_for import pfor


def convert(pfor_input):
    """Converter of the op `BatchMatMulV2` for `tf.vectorized_map`."""
    x, x_stacked, _ = pfor_input.input(0)
    y, y_stacked, _ = pfor_input.input(1)
    adj_x, adj_y = pfor_input.get_attr("adj_x"), pfor_input.get_attr("adj_y")
    if x_stacked and not y_stacked and y.shape.rank == 2:
        return pfor.wrap(_by_shared_matrix(x, y, adj_x, adj_y), True)
    pfor_input.expanddim_inputs_for_broadcast()
    x, y = pfor_input.input(0)[0], pfor_input.input(1)[0]
    # Equal leading axes on both sides leave oneDNN nothing to broadcast.
    lead = tf.broadcast_dynamic_shape(tf.shape(x)[:-2], tf.shape(y)[:-2])
    x = tf.broadcast_to(x, tf.concat([lead, tf.shape(x)[-2:]], axis=0))
    y = tf.broadcast_to(y, tf.concat([lead, tf.shape(y)[-2:]], axis=0))
    return pfor.wrap(tf.matmul(x, y, adjoint_a=adj_x, adjoint_b=adj_y), True)


def _by_shared_matrix(x, y, adj_x, adj_y):
    """(..., n, d) times (d, m) as one product of two dimensions."""
    if adj_x:
        x = tf.linalg.matrix_transpose(x, conjugate=True)
    shape = tf.shape(x)
    product = tf.matmul(tf.reshape(x, [-1, shape[-1]]), y, adjoint_b=adj_y)
    columns = y.shape[0 if adj_y else 1]
    result = tf.reshape(
        product, tf.concat([shape[:-1], tf.shape(product)[-1:]], axis=0)
    )
    result.set_shape(x.shape[:-1].concatenate(columns))
    return result


def install():
    """Puts the converter in the place of TensorFlow's own."""
    pfor._pfor_converter_registry["BatchMatMulV2"] = convert

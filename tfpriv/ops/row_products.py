"""Products of each two rows of an example."""

from typing import Any

import tensorflow as tf

from tfpriv.ops import loader


def row_products(rows: Any) -> tf.Tensor:
    """Computes the Gram matrix of each example's rows.

    The native op is for few long rows. An example's products are a function of that
    example alone.

    Args:
        rows: float32 or float64 tensor of shape `(examples, t, n)`.

    Returns:
        Symmetric tensors of shape `(examples, t, t)` and the same dtype. They have no
        gradient of their own.

    Raises:
        ValueError: for another dtype or number of axes.
    """
    rows = tf.convert_to_tensor(rows)
    if rows.dtype not in (tf.float32, tf.float64) or rows.shape.rank != 3:
        raise ValueError(
            "row_products takes rows of each example. Expected a float32 or float64 "
            "tensor of shape (examples, t, n). Received: rows of dtype "
            f"{rows.dtype.name} and shape {rows.shape}"
        )
    native = loader.native_ops_on_cpu()
    if native is None:
        return tf.matmul(rows, rows, transpose_b=True)
    products = native.tfpriv_row_products(
        rows=rows,
        num_threads=tf.config.threading.get_intra_op_parallelism_threads(),
    )
    products.set_shape([rows.shape[0], rows.shape[1], rows.shape[1]])
    return products

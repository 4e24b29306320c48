"""Dense, and its low-rank adaptation."""

import keras
import tensorflow as tf

from tfpriv.dp.clipping.per_example import LowRank
from tfpriv.dp.clipping.rules import register_clipping_rule
from tfpriv.dp.clipping.rules.parts import (
    low_rank_factors,
    rows,
    summed_to,
    tap_before_activation,
)


@register_clipping_rule(keras.layers.Dense)
def dense(layer, call, record, inputs, *args, **kwargs):
    def gradients(g):
        x = tf.cast(inputs, g.dtype)
        if layer.lora_enabled:
            found = _low_rank(layer, x, g)
        else:
            found = [(layer.kernel, LowRank(rows(x), rows(g), layer.kernel.shape))]
        if layer.bias is not None:
            found.append((layer.bias, summed_to(g, [g.shape.rank - 1])))
        return found

    with tap_before_activation(layer, lambda z: record(z, gradients)):
        return call(inputs, *args, **kwargs)


def _low_rank(layer, x, g):
    """The two factors of kernel + (alpha / rank) * a @ b."""
    a, b, scaled = low_rank_factors(layer, g)
    behind_b = tf.matmul(scaled, b, transpose_b=True)
    return [
        (layer.lora_kernel_a, LowRank(rows(x), rows(behind_b), tuple(a.shape))),
        (layer.lora_kernel_b, LowRank(rows(x @ a), rows(scaled), tuple(b.shape))),
    ]

"""Embedding tables: looked up, tied to an output, adapted, or added by position."""

import keras
import keras_hub
import tensorflow as tf

from tfpriv.dp.clipping.per_example import Dense, Lookup, LowRank
from tfpriv.dp.clipping.rules import register_clipping_rule
from tfpriv.dp.clipping.rules.parts import low_rank_factors, rows


@register_clipping_rule(keras.layers.Embedding)
def embedding(layer, call, record, inputs):
    """Rows of the table, one for each integer."""
    return record(call(inputs), lambda g: _of_table(layer, inputs, g))


@register_clipping_rule(keras.layers.ReversibleEmbedding)
@register_clipping_rule(keras_hub.layers.ReversibleEmbedding)
def reversible_embedding(layer, call, record, inputs, reverse=False):
    """The same, or the products with every row of the table."""
    if not reverse:
        return record(call(inputs), lambda g: _of_table(layer, inputs, g))
    if layer.logit_soft_cap is not None or layer.lora_enabled:
        record.nothing()
        return call(inputs, reverse=True)

    def gradients(g):
        x, g = rows(tf.cast(inputs, g.dtype)), rows(g)
        if layer.tie_weights:
            return [(layer.embeddings, LowRank(g, x, tuple(layer.embeddings.shape)))]
        weight = layer.reverse_embeddings
        return [(weight, LowRank(x, g, tuple(weight.shape)))]

    return record(call(inputs, reverse=True), gradients)


def _of_table(layer, inputs, g):
    ids = tf.reshape(tf.cast(inputs, tf.int32), tf.shape(rows(g))[:2])
    ids.set_shape(rows(g).shape[:2])
    if not layer.lora_enabled:
        table = layer.embeddings
        return [(table, Lookup(ids, rows(g), tuple(table.shape)))]
    a, b, scaled = low_rank_factors(layer, rows(g), "embeddings")
    behind_b = tf.matmul(scaled, b, transpose_b=True)
    return [
        (layer.lora_embeddings_a, Lookup(ids, behind_b, tuple(a.shape))),
        (layer.lora_embeddings_b, LowRank(tf.gather(a, ids), scaled, tuple(b.shape))),
    ]


@register_clipping_rule(keras_hub.layers.PositionEmbedding)
def position_embedding(layer, call, record, inputs, start_index=0, positions=None):
    """One row per position, the same for every example and further axis."""
    if positions is not None or not isinstance(start_index, int):
        record.nothing()
        return call(inputs, start_index=start_index, positions=positions)

    def gradients(g):
        weight = layer.position_embeddings
        g = tf.reduce_sum(g, axis=list(range(1, g.shape.rank - 2)))
        after = weight.shape[0] - start_index - tf.shape(g)[1]
        padded = tf.pad(g, [[0, 0], [start_index, after], [0, 0]])
        padded.set_shape([g.shape[0], *weight.shape])
        return [(weight, Dense(padded))]

    return record(call(inputs, start_index=start_index), gradients)

"""The two networks in Keras: 2 or 3, on any backend.

Functions take the module `keras` of whichever it is.
"""

import numpy as np

from competitors import workload


def cnn(keras):
    """`(inputs, logits)`: five convolutions with GroupNorm, pooling, Dense."""
    layers = keras.layers
    inputs = x = layers.Input(workload.IMAGE)
    for filters, strides in workload.CONVOLUTIONS:
        x = layers.Conv2D(filters, 3, strides, padding="same")(x)
        x = layers.GroupNormalization(workload.GROUPS, epsilon=workload.NORM_EPSILON)(x)
        x = layers.ReLU()(x)
    return inputs, layers.Dense(workload.CLASSES)(layers.GlobalAveragePooling2D()(x))


def hub_decoder(keras):
    """`(inputs, logits)`: the decoder of KerasHub's layers, as captioning has it."""
    import keras_hub

    inputs = _words_and_memory(keras)
    x = keras_hub.layers.TokenAndPositionEmbedding(
        workload.VOCABULARY, workload.LENGTH, workload.WIDTH
    )(inputs["tokens"])
    for _ in range(workload.BLOCKS):
        x = keras_hub.layers.TransformerDecoder(
            workload.FEED_FORWARD,
            workload.HEADS,
            activation="gelu",
            layer_norm_epsilon=workload.NORM_EPSILON,
            normalize_first=True,
        )(x, inputs["memory"])
    return inputs, keras.layers.Dense(workload.VOCABULARY)(_norm(keras)(x))


def plain_decoder(keras):
    """The same of Keras' own layers; the places in a caption are an input too.

    (tensorflow-privacy's fast clipping wants every weight in a layer that it knows.)
    """
    layers = keras.layers
    inputs = _words_and_memory(keras)
    inputs["places"] = layers.Input((workload.LENGTH,), dtype="int32", name="places")
    x = layers.Add()(
        [
            layers.Embedding(workload.VOCABULARY, workload.WIDTH)(inputs["tokens"]),
            layers.Embedding(workload.LENGTH, workload.WIDTH)(inputs["places"]),
        ]
    )
    for _ in range(workload.BLOCKS):
        normed = _norm(keras)(x)
        x = layers.Add()([x, _attention(keras)(normed, normed, use_causal_mask=True)])
        x = layers.Add()([x, _attention(keras)(_norm(keras)(x), inputs["memory"])])
        hidden = layers.Dense(workload.FEED_FORWARD, "gelu")(_norm(keras)(x))
        x = layers.Add()([x, layers.Dense(workload.WIDTH)(hidden)])
    return inputs, layers.Dense(workload.VOCABULARY)(_norm(keras)(x))


def places(size):
    """The input `places` of `plain_decoder`, `(size, 20)`."""
    return np.tile(np.arange(workload.LENGTH, dtype="int32"), (size, 1))


def _words_and_memory(keras):
    picture = (workload.PICTURE_TOKENS, workload.WIDTH)
    return {
        "tokens": keras.layers.Input((workload.LENGTH,), dtype="int32", name="tokens"),
        "memory": keras.layers.Input(picture, name="memory"),
    }


def _attention(keras):
    return keras.layers.MultiHeadAttention(
        workload.HEADS, workload.WIDTH // workload.HEADS
    )


def _norm(keras):
    return keras.layers.LayerNormalization(epsilon=workload.NORM_EPSILON)

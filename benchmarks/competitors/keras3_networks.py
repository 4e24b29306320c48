"""The two networks in Keras 3, on whichever backend."""

import keras

from competitors import workload


def build(network):
    """An uncompiled model that gives logits."""
    return {"cnn": _cnn, "decoder": _decoder}[network]()


def loss():
    """The mean over examples (and places) of the cross-entropy."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _cnn():
    layers = [keras.Input(workload.IMAGE)]
    for filters, strides in workload.CONVOLUTIONS:
        layers += [
            keras.layers.Conv2D(filters, 3, strides, padding="same"),
            keras.layers.GroupNormalization(
                workload.GROUPS, epsilon=workload.NORM_EPSILON
            ),
            keras.layers.ReLU(),
        ]
    layers += [
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(workload.CLASSES),
    ]
    return keras.Sequential(layers)


def _decoder():
    import keras_hub

    tokens = keras.Input((workload.LENGTH,), dtype="int32", name="tokens")
    memory = keras.Input((workload.PICTURE_TOKENS, workload.WIDTH), name="memory")
    x = keras_hub.layers.TokenAndPositionEmbedding(
        workload.VOCABULARY, workload.LENGTH, workload.WIDTH
    )(tokens)
    for _ in range(workload.BLOCKS):
        x = keras_hub.layers.TransformerDecoder(
            workload.FEED_FORWARD,
            workload.HEADS,
            activation="gelu",
            layer_norm_epsilon=workload.NORM_EPSILON,
            normalize_first=True,
        )(x, memory)
    x = keras.layers.LayerNormalization(epsilon=workload.NORM_EPSILON)(x)
    logits = keras.layers.Dense(workload.VOCABULARY)(x)
    return keras.Model({"tokens": tokens, "memory": memory}, logits)

"""The networks of `zoo.py` in Keras 3, their losses and made-up data."""

import keras
import numpy as np

from competitors import keras_networks, workload
from tfpriv import dp

CLASSES = workload.CLASSES
WORDS = 5000


def build(name, batch_size):
    """A network and a batch for it.

    Args:
        name: Key of `workload.ZOO`.
        batch_size: Int, examples.

    Returns:
        `(model, x, y)`; all networks have integer labels and give logits.
    """
    rng = np.random.default_rng(0)
    if name in workload.PARAMETERS:
        networks = {"cnn": keras_networks.cnn, "decoder": keras_networks.hub_decoder}
        model = keras.Model(*networks[name](keras))
        return model, *workload.batch(name, batch_size)
    model, draw = {
        "tanh-cnn": (_tanh_cnn, _images(28, 1)),
        "mlp": (_mlp, _images(28, 1)),
        "resnet20": (_resnet20, _images(32, 3)),
        "vit": (_vit, _images(32, 3)),
        "lstm": (_lstm, _padded_words(40)),
        "bert": (_bert, _tokens(64)),
        "mobilenet": (_mobilenet, _images(96, 3)),
    }[name]
    y = rng.integers(0, CLASSES, batch_size).astype("int32")
    return model(), draw(rng, batch_size), y


def _images(side, channels):
    def draw(rng, size):
        return rng.normal(size=(size, side, side, channels)).astype("float32")

    return draw


def _padded_words(length):
    """Sentences of random length, filled up with zeros."""

    def draw(rng, size):
        words = rng.integers(1, WORDS, (size, length)).astype("int32")
        lengths = rng.integers(1, length + 1, (size, 1))
        return np.where(np.arange(length) < lengths, words, 0)

    return draw


def _tokens(length):
    def draw(rng, size):
        words = rng.integers(1, WORDS, (size, length)).astype("int32")
        return {
            "token_ids": words,
            "segment_ids": np.zeros_like(words),
            "padding_mask": np.ones_like(words),
        }

    return draw


def _tanh_cnn():
    """The network of TensorFlow Privacy's MNIST tutorial, with tanh."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 8, strides=2, padding="same", activation="tanh"),
            layers.MaxPooling2D(2, 1),
            layers.Conv2D(32, 4, strides=2, activation="tanh"),
            layers.MaxPooling2D(2, 1),
            layers.Flatten(),
            layers.Dense(32, activation="tanh"),
            layers.Dense(CLASSES),
        ]
    )


def _mlp():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
            layers.Dense(512, activation="relu"),
            layers.Dense(CLASSES),
        ]
    )


def _resnet20():
    """He et al., 2016, for CIFAR-10, with GroupNormalization of 8 groups."""
    layers = keras.layers

    def convolved(x, filters, strides=1, size=3):
        x = layers.Conv2D(filters, size, strides, "same", use_bias=False)(x)
        return layers.GroupNormalization(8)(x)

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(convolved(inputs, 16))
    for filters in (16, 32, 64):
        for block in range(3):
            strides = 2 if filters > 16 and block == 0 else 1
            shortcut = x if strides == 1 else convolved(x, filters, strides, size=1)
            y = layers.ReLU()(convolved(x, filters, strides))
            x = layers.ReLU()(layers.Add()([convolved(y, filters), shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


class _Positions(keras.layers.Layer):
    """Adds a learned vector for each position."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="random_normal")

    def call(self, x):
        return x + self.table


def _vit():
    """Four blocks of width 96 on 64 patches of 4 x 4 pixels."""
    layers, width = keras.layers, 96
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(width, 4, strides=4)(inputs)
    x = _Positions()(layers.Reshape((64, width))(x))
    for _ in range(4):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, width // 4)(y, y)])
        y = layers.LayerNormalization()(x)
        y = layers.Dense(width)(layers.Dense(2 * width, activation="gelu")(y))
        x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def _lstm():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((40,), dtype="int32"),
            layers.Embedding(WORDS, 64, mask_zero=True),
            layers.LSTM(64),
            layers.Dense(CLASSES),
        ]
    )


def _bert():
    import keras_hub

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=WORDS,
        num_layers=2,
        num_heads=2,
        hidden_dim=128,
        intermediate_dim=512,
        max_sequence_length=64,
    )
    return keras_hub.models.BertTextClassifier(
        backbone, num_classes=CLASSES, preprocessor=None
    )


def _mobilenet():
    plain = keras.applications.MobileNetV3Small(
        (96, 96, 3), weights=None, classes=CLASSES, classifier_activation=None
    )
    return dp.replace_batchnorm(plain)

"""FaceNet: from a face to a point on a sphere, near those of the same person.

The network is InceptionResnetV1. Its layers have the names of facenet-pytorch's
modules, so that a weight of the one is found in the other by its name.

References: F. Schroff et al., "FaceNet: A Unified Embedding for Face Recognition and
Clustering", arXiv:1503.03832; C. Szegedy et al., "Inception-v4, Inception-ResNet and
the Impact of Residual Connections on Learning", arXiv:1602.07261.
"""

import keras
import numpy as np
from keras import layers, ops

from tfpriv.support.images import checked

SIZE = 160  # pixels of the pictures that the published networks were trained on
LEAST_SIZE = 75  # below it nothing is left for the last block to look at
EMBEDDING = 512
PHOTOGRAPHS, DRAWN_FACES = "photographs", "drawn faces"  # what one is trained on
# Numbers of the branches' filters; each entry is (filters, kernel), stride 1.
_BLOCK_35 = (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (32, 3), (32, 3)))
_BLOCK_17 = (((128, 1),), ((128, 1), (128, (1, 7)), (128, (7, 1))))
_BLOCK_8 = (((192, 1),), ((192, 1), (192, (1, 3)), (192, (3, 1))))
# The last convolution of each branch halves the picture, as does a pooling beside.
_MIXED_6A = (((384, 3),), ((192, 1), (192, 3), (256, 3)))
_MIXED_7A = (
    ((256, 1), (384, 3)),
    ((256, 1), (256, 3)),
    ((256, 1), (256, 3), (256, 3)),
)


@keras.saving.register_keras_serializable(package="tfpriv")
class FaceNet(keras.Model):
    """InceptionResnetV1, from standardised pictures to embeddings.

    It takes float pictures `(n, height, width, 3)` as `standardised` gives them, of at
    least 75 pixels and best of 160, and returns `(n, 512)`, each of length 1. `embed`
    takes pictures as they come.

    Args:
        width: how many filters each layer has, in units of the published network's;
            greater than 0. With 0.25 the weights take 6 MB instead of 94.
        dropout: share of the features that are left out while training, in [0, 1).
        trained_on: the faces that the weights were trained on, `"photographs"` or
            `"drawn faces"`; None if that is not known. It is saved with the weights: a
            network of drawn faces takes strangers in photographs for one person.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        width: float = 1.0,
        dropout: float = 0.6,
        name="facenet",
        trained_on: str | None = None,
        **options,
    ):
        if not 0 < width <= 4:
            raise ValueError(f"`width` must be in (0, 4]. Received: width={width}")
        if trained_on not in (None, PHOTOGRAPHS, DRAWN_FACES):
            raise ValueError(
                f"`trained_on` must be {PHOTOGRAPHS!r}, {DRAWN_FACES!r} or None. "
                f"Received: trained_on={trained_on!r}"
            )
        inputs = keras.Input((None, None, 3), name="pictures")
        outputs = _embedding(_features(inputs, width), dropout)
        super().__init__(inputs=inputs, outputs=outputs, name=name, **options)
        self.width, self.dropout, self.trained_on = width, dropout, trained_on

    def embed(self, pictures: np.ndarray, batch_size: int = 32) -> np.ndarray:
        """Embeds pictures as they come.

        Args:
            pictures: uint8 (n, height, width, 3); brought to 160 pixels.
            batch_size: pictures at a time.

        Returns:
            float32 (n, 512).

        Raises:
            ValueError: for another shape or dtype.
        """
        pictures = checked(pictures, square=False)
        parts = [
            self(standardised(pictures[i : i + batch_size]), training=False)
            for i in range(0, len(pictures), batch_size)
        ]
        empty = np.zeros((0, EMBEDDING), np.float32)
        return np.concatenate([empty, *map(ops.convert_to_numpy, parts)])

    def get_config(self):
        """The arguments, for Keras."""
        config = {"width": self.width, "dropout": self.dropout, "name": self.name}
        return config | {"trained_on": self.trained_on, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The network of a `get_config`, for Keras."""
        return cls(**config)


def standardised(pictures, size: int | None = SIZE):
    """What the network takes: `(x - 127.5) / 128`, at a size of its own.

    Args:
        pictures: (n, height, width, 3), values 0 to 255; arrays or tensors.
        size: in pixels; None keeps them as they are.

    Returns:
        A float32 tensor (n, size, size, 3).
    """
    x = ops.cast(pictures, "float32")
    if size is not None and tuple(x.shape[1:3]) != (size, size):
        # As Pillow makes pictures smaller: averaging, not leaving pixels out.
        x = ops.image.resize(x, (size, size), "bilinear", antialias=True)
    return (x - 127.5) / 128


def _features(x, width):
    """Up to the last block: (n, height / 32, width / 32, 1792 * `width`)."""
    x = _convolution(x, 32, 3, "conv2d_1a", width, stride=2)
    x = _convolution(x, 32, 3, "conv2d_2a", width, padding="valid")
    x = _convolution(x, 64, 3, "conv2d_2b", width)
    x = layers.MaxPooling2D(3, 2, name="maxpool_3a")(x)
    x = _convolution(x, 80, 1, "conv2d_3b", width)
    x = _convolution(x, 192, 3, "conv2d_4a", width, padding="valid")
    x = _convolution(x, 256, 3, "conv2d_4b", width, stride=2)
    for i in range(5):
        x = _residual(x, _BLOCK_35, 0.17, f"repeat_1.{i}", width)
    x = _halved(x, _MIXED_6A, "mixed_6a", width)
    for i in range(10):
        x = _residual(x, _BLOCK_17, 0.1, f"repeat_2.{i}", width)
    x = _halved(x, _MIXED_7A, "mixed_7a", width)
    for i in range(5):
        x = _residual(x, _BLOCK_8, 0.2, f"repeat_3.{i}", width)
    return _residual(x, _BLOCK_8, 1.0, "block8", width, last=True)


def _embedding(x, dropout):
    x = layers.GlobalAveragePooling2D(name="avgpool_1a")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(EMBEDDING, use_bias=False, name="last_linear")(x)
    x = _normalization("last_bn")(x)
    precise = keras.backend.result_type(x.dtype, "float32")  # halves round too much
    return layers.UnitNormalization(dtype=precise, name="embedding")(x)


def _convolution(x, filters, kernel, name, width, stride=1, padding="same"):
    """Convolution, batch normalisation and ReLU."""
    filters = max(1, round(filters * width))
    padding = "valid" if stride > 1 else padding
    x = layers.Conv2D(
        filters, kernel, stride, padding, use_bias=False, name=f"{name}.conv"
    )(x)
    return layers.ReLU(name=f"{name}.relu")(_normalization(f"{name}.bn")(x))


def _normalization(name):
    # PyTorch's momentum is the new value's weight, Keras' the old one's.
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name=name)


def _branch(x, convolutions, name, width, stride=1):
    """Convolutions one after the other; the last one has the stride."""
    for i, (filters, kernel) in enumerate(convolutions):
        last = i + 1 == len(convolutions)
        part = f"{name}.{i}" if len(convolutions) > 1 else name
        x = _convolution(x, filters, kernel, part, width, stride if last else 1)
    return x


def _residual(x, branches, scale, name, width, last=False):
    """What the branches see, in the picture's own channels, is added to it."""
    parts = [
        _branch(x, branch, f"{name}.branch{i}", width)
        for i, branch in enumerate(branches)
    ]
    seen = layers.Concatenate(name=f"{name}.branches")(parts)
    seen = layers.Conv2D(x.shape[-1], 1, name=f"{name}.conv2d")(seen)
    seen = layers.Rescaling(scale, name=f"{name}.scale")(seen)
    x = layers.Add(name=f"{name}.sum")([seen, x])
    return x if last else layers.ReLU(name=f"{name}.relu")(x)


def _halved(x, branches, name, width):
    """Half the height and width, more channels."""
    parts = [
        _branch(x, branch, f"{name}.branch{i}", width, stride=2)
        for i, branch in enumerate(branches)
    ]
    pooled = layers.MaxPooling2D(3, 2, name=f"{name}.branch{len(branches)}")(x)
    return layers.Concatenate(name=f"{name}.branches")([*parts, pooled])

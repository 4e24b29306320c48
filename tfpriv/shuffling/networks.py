"""The paper's networks for pictures of CIFAR's size, and one for two cores."""

import keras
import numpy as np
from keras import layers

Shape = tuple[int, int, int]  # (height, width, channels)
CIFAR: Shape = (32, 32, 3)
VGG16 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool")
VGG16 += (512, 512, 512, "pool")


def vgg16_bn(input_shape: Shape = CIFAR, classes: int = 10) -> keras.Model:
    """VGG-16 with batch normalization, and its classifier of two wide layers.

    Args:
        input_shape: (height, width, channels) of the pictures.
        classes: number of logits.

    Returns:
        A model from pictures to logits: 34.0 M weights for CIFAR-10.

    Reference: K. Simonyan, A. Zisserman, arXiv:1409.1556, configuration D.
    """
    x = inputs = keras.Input(input_shape)
    for filters in VGG16:
        if filters == "pool":
            x = layers.MaxPooling2D(2)(x)
        else:
            x = layers.Conv2D(filters, 3, padding="same")(x)
            x = layers.ReLU()(layers.BatchNormalization(epsilon=1e-5, momentum=0.9)(x))
    x = layers.Flatten()(x)
    for _ in range(2):
        x = layers.Dropout(0.5)(layers.Dense(4096, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(classes)(x), name="vgg16_bn")


def preresnet(depth: int, input_shape: Shape = CIFAR, classes: int = 10) -> keras.Model:
    """Residual network with pre-activation, of basic blocks in three stages.

    Args:
        depth: number of layers with weights on the way, 6 n + 2.
        input_shape: (height, width, channels) of the pictures.
        classes: number of logits.

    Returns:
        A model from pictures to logits.

    Raises:
        ValueError: for a depth that is not 6 n + 2.

    Reference: K. He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016.
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(
            f"Expected a depth of 6 n + 2, n >= 1. Received: depth={depth}"
        )
    inputs = keras.Input(input_shape)
    x = _conv(inputs, 16, 3, 1)
    for filters in (16, 32, 64):
        for block in range(blocks):
            x = _pre_activation_block(
                x, filters, 2 if block == 0 and filters > 16 else 1
            )
    x = layers.GlobalAveragePooling2D()(_normalize(x))
    outputs = layers.Dense(classes)(x)
    return keras.Model(inputs, outputs, name=f"preresnet{depth}")


def preresnet110(input_shape: Shape = CIFAR, classes: int = 10) -> keras.Model:
    """`preresnet` of 110 layers: 1.7 M weights for CIFAR-10.

    Args:
        input_shape: (height, width, channels) of the pictures.
        classes: number of logits.

    Returns:
        A model from pictures to logits.
    """
    return preresnet(110, input_shape, classes)


def small_cnn(input_shape: Shape = CIFAR, classes: int = 10) -> keras.Model:
    """Six convolutions that reach over 90 % of CIFAR-10 in some ten epochs.

    Pictures go in as they are stored, 0 to 255.

    Args:
        input_shape: (height, width, channels) of the pictures, at least 26 x 26.
        classes: number of logits.

    Returns:
        A model from pictures to logits: 1.97 M weights for CIFAR-10.

    Reference: the shape of K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single
    GPU", arXiv:2404.00498.
    """
    inputs = keras.Input(input_shape)
    x = layers.Rescaling(1 / 64, offset=-2)(inputs)  # about mean 0, deviation 1
    x = layers.Activation("gelu")(layers.Conv2D(24, 2, name="whitening")(x))
    for filters in (64, 256, 256):
        x = layers.MaxPooling2D(2)(_partial_identity(x, filters))
        x = _normalize_and_bend(x)
        x = _normalize_and_bend(_partial_identity(x, filters))
    x = layers.Flatten()(layers.MaxPooling2D(3)(x))
    x = layers.Dense(classes, use_bias=False)(x)
    return keras.Model(inputs, layers.Rescaling(1 / 9)(x), name="small_cnn")


def _partial_identity(x, filters: int):
    how = {"use_bias": False, "kernel_initializer": PartialIdentity()}
    return layers.Conv2D(filters, 3, padding="same", **how)(x)


def _normalize_and_bend(x):
    x = layers.BatchNormalization(momentum=0.6, epsilon=1e-5, scale=False)(x)
    return layers.Activation("gelu")(x)


@keras.saving.register_keras_serializable(package="tfpriv")
class PartialIdentity(keras.initializers.Initializer):
    """Convolution kernels whose first filters hand their channels on, the rest random.

    Reference: K. Jordan, arXiv:2404.00498, section 3.2.
    """

    def __call__(self, shape, dtype=None):
        """Returns a kernel of shape (height, width, channels, filters)."""
        height, width, channels, filters = shape
        kernel = np.array(keras.initializers.HeUniform()(shape, dtype="float32"))
        handed_on = np.arange(min(channels, filters))
        kernel[..., : len(handed_on)] = 0
        kernel[height // 2, width // 2, handed_on, handed_on] = 1
        return keras.ops.convert_to_tensor(kernel, dtype)


def whiten(model: keras.Model, pictures: np.ndarray) -> None:
    """Sets `small_cnn`'s first convolution to what decorrelates patches of pictures.

    Args:
        model: what `small_cnn` returned; its first convolution is frozen.
        pictures: public pictures as the model takes them, of shape
            (n, height, width, 3).
    """
    scaled = model.layers[1](pictures).numpy()
    patches = np.lib.stride_tricks.sliding_window_view(scaled, (2, 2), axis=(1, 2))
    patches = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 12)
    values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
    filters = (vectors / np.sqrt(values + 5e-4))[:, ::-1].reshape(2, 2, 3, 12)
    layer = model.get_layer("whitening")
    layer.kernel.assign(np.concatenate([filters, -filters], axis=-1))
    layer.trainable = False


def _pre_activation_block(x, filters: int, strides: int):
    activated = _normalize(x)
    if x.shape[-1] != filters:
        x = _conv(activated, filters, 1, strides)
    y = _conv(activated, filters, 3, strides)
    return layers.Add()([x, _conv(_normalize(y), filters, 3, 1)])


def _normalize(x):
    return layers.ReLU()(layers.BatchNormalization(epsilon=1e-5, momentum=0.9)(x))


def _conv(x, filters: int, kernel_size: int, strides: int):
    return layers.Conv2D(
        filters,
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)

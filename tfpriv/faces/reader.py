"""A network that reads a drawn face's numbers from its picture."""

import keras
import numpy as np
from keras import layers

from tfpriv.faces.looks import ATTRIBUTES, SCENE, TRAITS, Faces
from tfpriv.support import checkpoints
from tfpriv.support.models import load_model

SIZE = 64  # pixels
TRAINED_ON = "drawn faces"  # as `FaceNet.trained_on`
NUMBERS = (*TRAITS, *ATTRIBUTES, *SCENE)
_RANGES = np.array([ATTRIBUTES.get(name, (-1.0, 1.0)) for name in NUMBERS])


def reader(filters: tuple[int, ...] = (16, 32, 64, 96, 128)) -> keras.Model:
    """A small convolutional network; each of its scales is a feature to compare by.

    Args:
        filters: of its convolutions; all but the first halve the picture.

    Returns:
        A model from pictures (n, 64, 64, 3), 0 to 255, to (n, 28): the numbers of
        `NUMBERS`, each brought to [-1, 1]. Its layers `features_0`, `features_1`, ...
        are the scales.
    """
    return convolutions(SIZE, filters, len(NUMBERS), "face_reader")


def convolutions(
    size: int, filters: tuple[int, ...], outputs: int, name: str
) -> keras.Model:
    """A network from pictures to numbers; `reader` says more.

    Args:
        size: of the pictures, in pixels.
        filters: of its convolutions; all but the first halve the picture.
        outputs: how many numbers.
        name: the model's.

    Returns:
        A model from pictures (n, size, size, 3), 0 to 255, to (n, outputs).
    """
    inputs = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    # What a generator draws is never as clean as what the network is trained on.
    x = layers.GaussianNoise(0.1)(x)
    for i, number in enumerate(filters):
        x = layers.Conv2D(number, 3, 1 if i == 0 else 2, "same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.Activation("relu", name=f"features_{i}")(x)
    x = layers.Dense(192, activation="gelu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(outputs)(x), name=name)


def embedded_reader() -> keras.Model:
    """The reader that comes with tfpriv, of drawn faces.

    Raises:
        FileNotFoundError: its file is missing.
    """
    model = load_model(checkpoints.folder("faces") / "reader.keras")
    model.trained_on = TRAINED_ON
    return model


def readings(model: keras.Model, pictures: np.ndarray) -> np.ndarray:
    """What a reader reads from pictures of any size.

    Args:
        model: a reader.
        pictures: (n, height, width, 3), 0 to 255.

    Returns:
        float32 (n, 28).
    """
    values = keras.ops.image.resize(
        keras.ops.cast(pictures, "float32"),
        model.input_shape[1:3],
        "bilinear",
        antialias=True,
    )
    return keras.ops.convert_to_numpy(model(values, training=False))


class TraitRecogniser:
    """A reader as a recogniser: persons are known by the traits that it reads.

    For drawn faces, whose traits make the person.

    Args:
        model: a reader.
    """

    trained_on = TRAINED_ON

    def __init__(self, model: keras.Model):
        self._model = model

    def embed(self, pictures: np.ndarray) -> np.ndarray:
        """Reads traits.

        Args:
            pictures: uint8 (n, height, width, 3).

        Returns:
            float32 (n, 19), each in about [-1, 1].
        """
        return readings(self._model, pictures)[:, : len(TRAITS)]


def without_optimizer(model: keras.Model) -> keras.Model:
    """The same layers in a model that knows of no training: a third of the bytes."""
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


def truth(faces: Faces) -> np.ndarray:
    """What a perfect reader returns: float32 (n, 28), each number in [-1, 1]."""
    numbers = np.concatenate([faces.traits, faces.attributes, faces.scene], 1)
    low, high = _RANGES.T
    return (2 * (numbers - low) / (high - low) - 1).astype(np.float32)


def attribute(readings: np.ndarray, name: str) -> np.ndarray:
    """One attribute, in its own range, as far as the reader's error allows.

    Args:
        readings: (n, 28), what the reader returns.
        name: one of `NUMBERS`.

    Returns:
        (n,).
    """
    column = NUMBERS.index(name)
    low, high = _RANGES[column]
    return low + (np.asarray(readings)[:, column] + 1) / 2 * (high - low)


def identity_similarity(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How much alike two readings' persons are.

    Args:
        one: (n, 28), what the reader returns.
        other: the same.

    Returns:
        (n,), the cosine of the angle between the two persons' traits: 1 for the same
        ones, 0 on average for two persons drawn at random.
    """
    a, b = (np.asarray(readings)[:, : len(TRAITS)] for readings in (one, other))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.sum(a * b, 1) / np.maximum(lengths, 1e-12)


def feature_maps(model: keras.Model) -> keras.Model:
    """The scales of a reader: a model from pictures to a list of feature maps."""
    names = [x.name for x in model.layers if x.name.startswith("features_")]
    return keras.Model(model.input, [model.get_layer(name).output for name in names])

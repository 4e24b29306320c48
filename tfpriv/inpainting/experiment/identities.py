"""A classifier over persons, on top of a network that is not changed."""

import os

import keras
import numpy as np
from keras import layers

from tfpriv.networks.facenet.network import EMBEDDING, SIZE, FaceNet
from tfpriv.support.models import load_model

EPOCHS, RATE, BATCH_SIZE = 8, 1e-3, 32  # as published
_DROPS_AFTER = 5  # epochs, to a tenth of the rate


def identity_classifier(network: FaceNet, classes: int) -> keras.Model:
    """Puts a new head on a FaceNet: ReLU, and a dense layer over persons.

    The network is frozen, its batch statistics too: the head is all that training
    changes. Its dropout acts in training, as published.

    Args:
        network: embeds the pictures. It is used as it is, not copied.
        classes: number of persons, at least 2; CelebA has 10,177.

    Returns:
        A model from pictures (n, 160, 160, 3) as `facenet.standardised` gives them to
        logits (n, classes). Its layer `identities` is the head.

    Raises:
        ValueError: if an argument is out of range.
    """
    if classes < 2:
        raise ValueError(f"There must be two persons. Received: classes={classes}")
    network.trainable = False
    inputs = keras.Input((SIZE, SIZE, 3), name="pictures")
    logits = _head(classes)(network(inputs, training=False))
    return keras.Model(inputs, logits, name="identity_classifier")


def train_identities(
    network: FaceNet,
    pictures: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    epochs: int = EPOCHS,
    learning_rate: float = RATE,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> tuple[keras.Model, keras.callbacks.History]:
    """Trains the head of an `identity_classifier`, as published.

    Since the network does not change, every picture goes through it once only, without
    dropout.

    Args:
        network: embeds the pictures; frozen from here on.
        pictures: uint8 (n, height, width, 3), or what the network embedded them to,
            float (n, 512).
        labels: int (n,), below `classes`.
        classes: number of persons, at least 2.
        epochs: passes over the pictures.
        learning_rate: of Adam; a tenth of it after five epochs.
        batch_size: pictures in a step.
        seed: of the head's weights and the pictures' order.

    Returns:
        The classifier, and what `fit` returned. The history is an exact function of the
        pictures, not covered by any epsilon.

    Raises:
        ValueError: if an argument is out of range.
    """
    labels = checked_labels(labels, len(pictures), classes)
    keras.utils.set_random_seed(seed)
    classifier = identity_classifier(network, classes)
    inputs = keras.Input((EMBEDDING,), name="embeddings")
    head = keras.Model(inputs, classifier.get_layer("identities")(inputs))
    drop = _DROPS_AFTER * -(-len(labels) // batch_size)  # in steps
    rate = keras.optimizers.schedules.PiecewiseConstantDecay(
        [drop], [learning_rate, learning_rate / 10]
    )
    head.compile(
        keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    if np.ndim(pictures) == 4:
        pictures = network.embed(pictures)
    history = head.fit(
        pictures, labels, batch_size=batch_size, epochs=epochs, verbose=2
    )
    return classifier, history


def load_classifier(path: str | os.PathLike) -> keras.Model:
    """Loads an `identity_classifier` that was saved.

    Args:
        path: a `.keras` file. Nothing in it is executed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds another model.
    """
    classifier = load_model(path, "a classifier over persons")
    if "identities" not in [layer.name for layer in classifier.layers]:
        raise ValueError(f"Expected a classifier over persons. Received: {path}")
    return classifier


def checked_labels(labels: np.ndarray, count: int, classes: int) -> np.ndarray:
    """Labels that are what they should be.

    Args:
        labels: int (count,), below `classes`.
        count: number of pictures.
        classes: number of persons.

    Raises:
        ValueError: for other labels, or none.
    """
    labels = np.asarray(labels)
    if labels.shape != (count,) or not count:
        raise ValueError(
            f"Expected labels of {count} pictures. Received: shape {labels.shape}"
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"Labels must be whole numbers below {classes}. Received: "
            f"{labels.dtype}, {labels.min()} to {labels.max()}"
        )
    return labels


def _head(classes):
    return keras.Sequential(
        [
            keras.Input((EMBEDDING,)),
            layers.ReLU(name="relu"),
            layers.Dense(classes, dtype="float32", name="logits"),
        ],
        name="identities",
    )

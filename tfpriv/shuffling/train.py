"""Training networks on plain pictures, on shuffled ones, and on those with the key."""

import os

import keras
import numpy as np
import tensorflow as tf

from tfpriv.shuffling.data import Dataset
from tfpriv.shuffling.keyed_model import keyed
from tfpriv.shuffling.keys import Key
from tfpriv.shuffling.pictures import shuffle
from tfpriv.shuffling.recipes import RECIPES, ShufflingRecipe
from tfpriv.support.training import Backup

VIEWS = ("plain", "keyed", "shuffled")
SHIFT = 4  # pixels, at most, that augmentation moves a picture
_BLANK = 120  # about the mean of CIFAR's values


def train(
    model: keras.Model,
    data: Dataset,
    *,
    view: str = "plain",
    key: Key | None = None,
    recipe: ShufflingRecipe = RECIPES["short"],
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    folder: str | os.PathLike | None = None,
    callbacks: tuple = (),
) -> keras.callbacks.History:
    """Trains a network; pictures are mirrored and moved by up to four pixels.

    Args:
        model: takes uint8 pictures as floats from 0 to 255 and returns logits. Its
            weights are changed.
        data: the pictures.
        view: `"plain"`: as they are; `"keyed"`: shuffled, seen through the keyed twin
            (the same gradients as plain, up to rounding); `"shuffled"`: shuffled, seen
            by the network as it is.
        key: shuffles the pictures, all by one permutation; for the last two views.
        recipe: optimizer, batch size and epochs.
        epochs: in place of the recipe's.
        batch_size: in place of the recipe's.
        seed: of the order and the augmentation of pictures.
        folder: where the state is kept after each epoch: a call with the same arguments
            goes on from there.
        callbacks: Keras callbacks.

    Returns:
        What `fit` returns.

    Raises:
        ValueError: for an unknown view, or one that lacks its key.
        FileExistsError: for a folder that holds other things.
    """
    if view not in VIEWS or (key is None) != (view == "plain"):
        raise ValueError(
            f"Expected view to be one of {VIEWS}, with a key for the last two. "
            f"Received: view={view!r}, key={'given' if key else None}"
        )
    epochs = epochs or recipe.epochs
    batch_size = batch_size or recipe.batch_size
    batches = training_batches(data, batch_size, seed, key, recipe.hole)
    steps = -(-len(data.train_images) // batch_size)
    trained = keyed(model, key) if view == "keyed" else model
    trained.compile(
        optimizer=recipe.optimizer(steps, epochs),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=recipe.label_smoothing
        ),
        metrics=["accuracy"],
    )
    callbacks = list(callbacks)
    if folder is not None:
        callbacks.append(Backup(folder))
    return trained.fit(
        batches, epochs=epochs, verbose=2, shuffle=False, callbacks=callbacks
    )


def training_batches(
    data: Dataset,
    batch_size: int,
    seed: int = 0,
    key: Key | None = None,
    hole: int = 0,
) -> tf.data.Dataset:
    """Augmented pictures and one-hot labels, in a new order each time.

    Args:
        data: the pictures.
        batch_size: pictures in a batch; the last one may be smaller.
        seed: of the order and the augmentation.
        key: shuffles each picture after that, in the fixed mode.
        hole: side of the square that is blanked out, in pixels.

    Returns:
        Batches (float32 of shape (n, height, width, 3), float32 of shape (n, classes)).
    """
    classes = len(data.class_names)

    def prepare(images, labels, number):
        images = _augment(images, hole, tf.stack([tf.cast(seed, tf.int64), number]))
        if key is not None:
            images = shuffle(images, key)
        return tf.cast(images, tf.float32), tf.one_hot(labels, classes)

    pictures = tf.data.Dataset.from_tensor_slices(
        (data.train_images, data.train_labels)
    )
    numbers = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    batches = pictures.shuffle(len(data.train_images), seed=seed).batch(batch_size)
    return (
        tf.data.Dataset.zip(batches, numbers)
        .map(lambda pair, number: prepare(*pair, number), num_parallel_calls=1)
        .prefetch(2)
    )


def _augment(images: tf.Tensor, hole: int, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors every other picture, moves all and blanks out a part of each."""
    count = tf.shape(images)[0]
    height, width = images.shape[1:3]
    draws = tf.random.stateless_uniform([5, count], seed)
    images = tf.where((draws[0] < 0.5)[:, None, None, None], images, images[:, :, ::-1])
    pads = [(0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)]
    images = tf.pad(images, pads, "REFLECT")
    moves = tf.cast(draws[1:3] * (2 * SHIFT + 1), tf.int32)[:, :, None]
    images = tf.gather(images, moves[0] + tf.range(height), axis=1, batch_dims=1)
    images = tf.transpose(images, [0, 2, 1, 3])
    images = tf.gather(images, moves[1] + tf.range(width), axis=1, batch_dims=1)
    images = tf.transpose(images, [0, 2, 1, 3])
    rows = _near(draws[3], height, hole)[:, :, None, None]
    columns = _near(draws[4], width, hole)[:, None, :, None]
    return tf.where(rows & columns, tf.cast(_BLANK, images.dtype), images)


def _near(place: tf.Tensor, size: int, hole: int) -> tf.Tensor:
    """Which of `size` pixels lie in a hole around a place, 0 to 1, of each picture."""
    first = tf.cast(place * size, tf.int32)[:, None] - hole // 2
    pixels = tf.range(size)
    return (pixels >= first) & (pixels < first + hole)


def predictions(
    model: keras.Model,
    images: np.ndarray,
    nonces: np.ndarray | None = None,
    batch_size: int = 500,
) -> np.ndarray:
    """The classes that a network or its twin finds in pictures.

    Args:
        model: returns logits.
        images: uint8 array of shape (n, height, width, 3), as the model takes them.
        nonces: uint8 array of shape (n, 12), for a twin and pictures shuffled one by
            one.
        batch_size: pictures in a batch.

    Returns:
        int64 array of shape (n,).
    """
    inputs = images.astype(np.float32)
    if nonces is not None:
        inputs = (inputs, nonces)
    return model.predict(inputs, batch_size=batch_size, verbose=0).argmax(axis=-1)

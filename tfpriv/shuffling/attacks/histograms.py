"""What shuffling keeps: which colours there are, and how often."""

import keras
import numpy as np


def colour_histograms(images: np.ndarray, levels: int = 8) -> np.ndarray:
    """How often each colour comes, on a coarse scale; the same in every order.

    Args:
        images: uint8 pictures `(n, height, width, 3)`.
        levels: of each channel, from 1 to 256.

    Returns:
        float32 array `(n, levels ** 3)`; rows sum to 1.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            "Expected uint8 pictures (n, height, width, 3). Received: "
            f"{images.dtype} of shape {images.shape}"
        )
    coarse = images.reshape(len(images), -1, 3).astype(np.int64) * levels // 256
    cells = coarse @ [levels**2, levels, 1]
    counts = [np.bincount(row, minlength=levels**3) for row in cells]
    return np.asarray(counts, np.float32) / cells.shape[1]


def identified(queries: np.ndarray, gallery: np.ndarray) -> float:
    """How often a picture is found among many by its histogram.

    Args:
        queries: histograms `(n, cells)`.
        gallery: those of the pictures that they are looked for among; `gallery[i]` is
            that of `queries[i]`, for all n.

    Returns:
        Share of the queries whose nearest histogram (L1) is the right one; by chance,
        1 / len(gallery).
    """
    found = [np.argmin(np.abs(gallery - query).sum(axis=1)) for query in queries]
    return float(np.mean(np.equal(found, np.arange(len(queries)))))


def class_accuracy(
    known: tuple[np.ndarray, np.ndarray],
    unseen: tuple[np.ndarray, np.ndarray],
    *,
    seed: int = 0,
    epochs: int = 30,
) -> float:
    """How well a picture's class is guessed from its histogram alone.

    Args:
        known: histograms `(n, cells)` and labels `(n,)` to learn from.
        unseen: others to be judged by.
        seed: of the training.
        epochs: passes over the known ones.

    Returns:
        Accuracy of a logistic regression on the square roots of the histograms.
    """
    keras.utils.set_random_seed(seed)
    classes = int(known[1].max()) + 1
    penalty = keras.regularizers.L2(1e-4)
    model = keras.Sequential([keras.layers.Dense(classes, kernel_regularizer=penalty)])
    model.compile(
        optimizer=keras.optimizers.Adam(3e-2),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(np.sqrt(known[0]), known[1], batch_size=128, epochs=epochs, verbose=0)
    logits = np.asarray(model(np.sqrt(unseen[0])))
    return float(np.mean(logits.argmax(axis=-1) == unseen[1]))


def chance(labels: np.ndarray) -> float:
    """The accuracy of who always guesses the commonest class."""
    return float(np.bincount(labels).max() / len(labels))

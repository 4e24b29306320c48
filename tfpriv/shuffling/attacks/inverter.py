"""A learned inverter: trained on pairs, told nothing about permutations.

First a linear map from shuffled to plain places in closed form, the same for all
channels; then a small network that starts from it and may use what natural pictures
look like.
"""

from collections.abc import Callable

import keras
import numpy as np

from tfpriv.support.images import to_signed, to_uint8

_PENALTIES = (1e-4, 1e-2, 1.0, 10.0)  # times the mean eigenvalue
_HELD_OUT = 10  # one picture in so many judges the training
_FILTERS = 24

Inverter = Callable[[np.ndarray], np.ndarray]


def linear_map(shuffled: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """Ridge regression from the places of shuffled pictures to those of plain ones.

    Args:
        shuffled: pictures `(n, height, width, channels)`; n >= 2.
        plain: the same pictures, in order.

    Returns:
        float32 matrix `(places + 1, places)`: the last row is added to what the others
        make of the values from -1 to 1. The penalty is the one of four that does best
        on a tenth of the pairs that is held out.
    """
    if shuffled.shape != plain.shape or plain.ndim != 4 or len(plain) < 2:
        raise ValueError(
            "Expected at least two shuffled pictures (n, height, width, channels) and "
            f"as many plain ones. Received: shapes {shuffled.shape} and {plain.shape}"
        )
    rows, wanted = _rows(shuffled), _rows(plain)
    held = max(1, len(plain) // _HELD_OUT) * plain.shape[-1]
    tried = _solutions(rows[held:], wanted[held:], _PENALTIES)
    errors = [np.mean((_through(rows[:held], m) - wanted[:held]) ** 2) for m in tried]
    return _solutions(rows, wanted, [_PENALTIES[int(np.argmin(errors))]])[0]


def linear(matrix: np.ndarray) -> Inverter:
    """The inverter of a linear map.

    Args:
        matrix: what `linear_map` returned.

    Returns:
        A function from shuffled uint8 pictures to what they may be.
    """

    def invert(shuffled):
        count, height, width, channels = shuffled.shape
        planes = _through(_rows(shuffled), matrix)
        planes = planes.reshape(count, channels, height, width)
        return to_uint8(planes.transpose(0, 2, 3, 1))

    return invert


def network(
    shuffled: np.ndarray,
    plain: np.ndarray,
    matrix: np.ndarray,
    *,
    epochs: int = 10,
    seed: int = 0,
) -> Inverter:
    """Trains a network on pairs: a map of all places, then three convolutions.

    Args:
        shuffled: uint8 pictures `(n, height, width, channels)`.
        plain: the same pictures, in order.
        matrix: the linear map that training starts from.
        epochs: passes over the pairs; the weights are those of the best by a tenth of
            the pairs, which is held out.
        seed: of the weights and the order of the pairs.

    Returns:
        A function from shuffled uint8 pictures to what they may be.
    """
    keras.utils.set_random_seed(seed)
    model = _network(plain.shape[1:], matrix)
    model.compile(optimizer=keras.optimizers.Adam(1e-4), loss="mse")
    best = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    model.fit(
        to_signed(shuffled),
        to_signed(plain),
        batch_size=32,
        epochs=epochs,
        validation_split=1 / _HELD_OUT,
        callbacks=[best],
        verbose=0,
    )
    return lambda pictures: to_uint8(np.asarray(model(to_signed(pictures))))


def _network(shape, matrix):
    height, width, channels = shape
    inputs = keras.Input(shape)
    places = keras.layers.Reshape((height * width, channels))(inputs)
    places = keras.layers.Permute((2, 1))(places)
    dense = keras.layers.Dense(height * width)
    places = keras.layers.Permute((2, 1))(dense(places))
    first = keras.layers.Reshape(shape)(places)
    x = first
    for _ in range(2):
        x = keras.layers.Conv2D(_FILTERS, 3, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(channels, 3, padding="same", kernel_initializer="zeros")(x)
    dense.set_weights([matrix[:-1], matrix[-1]])
    return keras.Model(inputs, keras.layers.Add()([first, x]))


def _solutions(rows, wanted, penalties):
    """One map for each penalty, from one decomposition."""
    centre, target = rows.mean(axis=0), wanted.mean(axis=0)
    rows, wanted = rows - centre, wanted - target
    values, vectors = np.linalg.eigh((rows.T @ rows).astype(np.float64))
    values = np.maximum(values, 0)
    answer = vectors.T @ (rows.T @ wanted)
    floor = np.finfo(np.float64).tiny  # pictures of one colour
    maps = []
    for penalty in penalties:
        shrunk = values + penalty * values.mean() + floor
        matrix = vectors @ (answer / shrunk[:, None])
        maps.append(np.vstack([matrix, target - centre @ matrix]).astype(np.float32))
    return maps


def _through(rows, matrix):
    return rows @ matrix[:-1] + matrix[-1]


def _rows(images):
    """One row for each channel of each picture."""
    count, _, _, channels = images.shape
    return to_signed(images).transpose(0, 3, 1, 2).reshape(count * channels, -1)

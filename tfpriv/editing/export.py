"""A picture in, a private release of it out: as a SavedModel.

It holds an encoder, `AttributeMechanism` in plain TensorFlow, and the generator. Noise
is made of a key that goes in with the pictures, by ChaCha20 and Box–Muller in float64,
and rounded to a coarser grid than the mechanism's own: docs/editing_privacy.md says
what that adds to delta.
"""

import math
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpriv import ops
from tfpriv.accounting import mechanisms, recording
from tfpriv.accounting.errors import LedgerError
from tfpriv.accounting.ledger import Ledger
from tfpriv.accounting.serialization import (
    mechanism_from_json,
    mechanism_to_json,
    seal,
    unseal,
)
from tfpriv.editing.grid_noise import GAUSSIAN, MARGIN
from tfpriv.editing.mechanism import AttributeMechanism
from tfpriv.editing.release import LARGEST_LATENT
from tfpriv.networks.stylegan.generator import PSI, TRUNCATED_LAYERS, StyleGAN
from tfpriv.ops import loader
from tfpriv.ops.noise import KEY_BYTES
from tfpriv.support import checks
from tfpriv.support.models import file_errors
from tfpriv.support.outputs import atomic_file, check_new, new_directory
from tfpriv.support.randomness import Randomness

RECORD = "release.json"
_KIND, _VERSION = "tfpriv-release", 1
_STEPS = 2.0**10  # of the grid in a standard deviation
_OFF_THE_GRID = 2.0**-36  # total variation of the noise on one coordinate, at most


def export_release(
    generator: StyleGAN,
    encoder: keras.Model,
    mechanism: AttributeMechanism,
    folder: str | os.PathLike,
    *,
    delta: float,
    psi: float = PSI,
    layers: int = TRUNCATED_LAYERS,
) -> None:
    """Writes a SavedModel from pictures to released pictures.

    `serve` takes float32 pictures (n, size, size, 3), 0 to 255, aligned as the
    generator's are, and `fresh_key`, 32 bytes of the operating system's generator
    (`os.urandom(32)`), **never the same ones twice**. It returns `pictures`, of the
    same shape and range, and `epsilon` and `delta` of each of them. It does not count
    how often a face is released: `load_release` does, and draws the keys.

    Args:
        generator: draws what is released.
        encoder: for this generator; see `tfpriv.editing.encoder`.
        mechanism: with Gaussian noise, in W, without a seed.
        folder: where to; it must not exist yet.
        delta: at which epsilon is stated, in (0, 1).
        psi: as in `StyleGAN.truncate`.
        layers: as in `StyleGAN.truncate`.

    Raises:
        FileExistsError: there is something in `folder`.
        ValueError: for another mechanism, or an encoder of other pictures or latents.
    """
    checks.real("delta", delta, high=1.0, open_low=True, open_high=True)
    _check(generator, encoder, mechanism)
    check_new(folder)
    events = _events(mechanism, delta)
    ledger = Ledger()
    for event in events:
        ledger.record(event, unit=mechanism.unit, purpose=mechanism.purpose)
    epsilon = ledger.epsilon(delta=delta, accountant="pld")

    def serve(pictures, fresh_key):
        latents = tf.cast(encoder(pictures, training=False), tf.float64)
        released = tf.cast(release_latents(mechanism, latents, fresh_key), tf.float32)
        drawn = generator.synthesis(generator.truncate(released, psi, layers))
        return {
            "pictures": (tf.clip_by_value(drawn, -1.0, 1.0) + 1) * 127.5,
            "epsilon": tf.constant(epsilon),
            "delta": tf.constant(delta),
        }

    size = generator.resolution
    signature = [
        tf.TensorSpec((None, size, size, 3), tf.float32, name="pictures"),
        tf.TensorSpec((KEY_BYTES,), tf.uint8, name="fresh_key"),
    ]
    archive = keras.export.ExportArchive()
    archive.track(generator)
    archive.track(encoder)
    with new_directory(folder) as new, loader.portable_graphs():
        archive.add_endpoint("serve", serve, signature)
        with file_errors(folder):
            archive.write_out(str(new), verbose=False)
        content = {
            "events": [mechanism_to_json(event) for event in events],
            "unit": mechanism.unit,
            "purpose": mechanism.purpose,
            "epsilon": epsilon,
            "delta": delta,
        }
        with atomic_file(Path(new) / RECORD) as file:
            file.write(seal(_KIND, _VERSION, content))


def release_latents(mechanism: AttributeMechanism, latents, key) -> tf.Tensor:
    """What a mechanism does with latents, in TensorFlow.

    Args:
        mechanism: with Gaussian noise, in W.
        latents: float64 (n, latent_dim).
        key: uint8 (32,), not used before.

    Returns:
        float64 (n, latent_dim).

    Raises:
        tf.errors.InvalidArgumentError: when it runs, for latents that are none.
    """
    within = tf.debugging.assert_less_equal(
        tf.abs(latents), tf.constant(LARGEST_LATENT, tf.float64), "Not a latent."
    )
    with tf.control_dependencies([within]):
        latents = tf.identity(latents)
    basis = tf.constant(mechanism.subspace.basis)
    coordinates = _coordinates(latents, basis)
    rest = latents - _embedded(coordinates, basis)
    base = tf.cast(_whole(rest / mechanism.grid), tf.float64) * mechanism.grid
    base -= _embedded(_coordinates(base, basis), basis)
    offsets, step = coordinates - mechanism.center, mechanism.noise.scale / _STEPS
    length = tf.sqrt(tf.reduce_sum(offsets * offsets, -1, keepdims=True))
    radius = mechanism.noise.radius * (1 - MARGIN)
    inside = offsets * tf.minimum(radius / tf.maximum(length, radius / 2), 1.0)
    steps = tf.cast(inside / step, tf.int64)  # towards the centre
    noise = ops.gaussian_noise(key, tf.shape(offsets), "float64")
    noised = tf.cast(steps + _whole(noise * _STEPS), tf.float64)
    return base + _embedded(mechanism.center + noised * step, basis)


def _coordinates(latents, basis):
    return tf.reduce_sum(latents[:, None] * basis, -1)


def _embedded(coordinates, basis):
    return tf.reduce_sum(coordinates[:, :, None] * basis, 1)


def _whole(values):
    return tf.cast(tf.round(values), tf.int64)


def _check(generator, encoder, mechanism):
    size, dim = generator.resolution, generator.latent_dim
    if (
        type(mechanism) is not AttributeMechanism
        or mechanism.noise.kind != GAUSSIAN
        or mechanism.space != "w"
        or mechanism.subspace.basis.shape[1] != dim
        or mechanism.seeded
    ):
        raise ValueError(
            "Expected an `AttributeMechanism` with Gaussian noise and without a seed, "
            f"for latents of W of {dim} numbers. Received: {mechanism.purpose} in "
            f"{mechanism.space!r} of {mechanism.subspace.basis.shape[1]} numbers"
        )
    # A class of its own, such as a generator, may have no shapes.
    taken, given = (
        getattr(encoder, name, None) for name in ("input_shape", "output_shape")
    )
    if (taken or ())[1:] != (size, size, 3) or (given or ())[1:] != (dim,):
        raise ValueError(
            f"Expected an encoder from pictures (n, {size}, {size}, 3) to latents "
            f"(n, {dim}). Received: {type(encoder).__name__} from {taken} to {given}"
        )


def _events(mechanism, delta):
    """The mechanism's own event, and what the noise of the graph adds to delta."""
    count = len(mechanism.subspace.basis)
    # e^epsilon at this delta is below that at half of it, of the exact noise.
    ledger = Ledger()
    ledger.record(mechanism.mechanism, unit="face", purpose="release")
    epsilon = ledger.epsilon(delta=delta / 2, accountant="pld")
    extra = count * _OFF_THE_GRID * (1 + math.exp(epsilon))
    return (
        mechanism.mechanism,
        mechanisms.approximate(0.0, extra, mechanism.mechanism.relation),
    )


class PictureRelease:
    """A SavedModel of `export_release`, with keys and a ledger; see `load_release`.

    Attributes:
        epsilon: of each picture at each call.
        delta: likewise.
        unit: who is protected.
    """

    def __init__(self, model, record: dict[str, Any]):
        self.epsilon, self.delta = record["epsilon"], record["delta"]
        self.unit, self._purpose = record["unit"], record["purpose"]
        self._events = [mechanism_from_json(event) for event in record["events"]]
        self._model = model

    def __call__(
        self,
        pictures: Any,
        *,
        ledger: Ledger,
        distinct_persons: bool = False,
    ) -> np.ndarray:
        """Releases pictures; the event is in the ledger before any noise is drawn.

        Args:
            pictures: (n, size, size, 3), 0 to 255, aligned.
            ledger: where the release is written down.
            distinct_persons: as for `AttributeMechanism`.

        Returns:
            uint8 of the same shape.

        Raises:
            LedgerError: the ledger is about another unit. Nothing was released.
            ValueError: for pictures of another shape, values that are none, or equal
                pictures of distinct persons. Nothing was recorded.
        """
        pictures = np.asarray(pictures, np.float32)
        shape = self._model.serve.input_signature[0].shape
        fits = pictures.ndim == 4 and shape.is_compatible_with(pictures.shape)
        if not fits or not len(pictures) or not (np.abs(pictures - 127.5) <= 128).all():
            raise ValueError(
                f"Expected pictures {tuple(shape)} of values from 0 to 255. Received: "
                f"shape {pictures.shape}"
            )
        count = recording.uses(pictures, distinct_persons)
        for event in self._events:
            ledger.record(event, unit=self.unit, purpose=self._purpose, count=count)
        key = np.frombuffer(Randomness().key(), np.uint8)
        released = self._model.serve(pictures, key)["pictures"]
        return np.rint(released).astype(np.uint8)


def load_release(folder: str | os.PathLike) -> PictureRelease:
    """Loads what `export_release` wrote.

    Args:
        folder: the SavedModel.

    Raises:
        FileNotFoundError: there is no such release.
        ValueError: its record is damaged.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        raise FileNotFoundError(f"There is no release here. Received: {folder}")
    try:
        _, record = unseal(path.read_bytes(), _KIND, (_VERSION,))
        return PictureRelease(tf.saved_model.load(str(folder)), record)
    except (LedgerError, KeyError, OSError) as error:
        raise ValueError(
            f"The release is damaged. Received: {folder} ({error})"
        ) from error

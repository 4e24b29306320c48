"""From a picture to the latent that a generator draws it from."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfpriv.editing.inversion_state import State
from tfpriv.editing.losses import Loss
from tfpriv.support import checks
from tfpriv.support.fidelity import structural_similarities
from tfpriv.support.images import to_uint8
from tfpriv.support.outputs import atomic_file

SPACES = ("w", "wp")
STARTS = ("mean", "random")
POOR_IDENTITY = 0.5


@dataclasses.dataclass(frozen=True)
class Step:
    """What a callback sees after a step, and may change.

    Attributes:
        number: steps done.
        total: steps at most.
        losses: float (n,), of each picture before the step.
        latents: tf.Variable; assign to it to alter the latents.
    """

    number: int
    total: int
    losses: np.ndarray
    latents: tf.Variable


@dataclasses.dataclass(frozen=True)
class Inversion:
    """The latents of pictures, and how well a generator draws them.

    Attributes:
        latents: float32 (n, latent_dim) of W, or (n, num_layers, latent_dim) of W+.
        pictures: float32 (n, size, size, 3), -1 to 1, what is drawn from them.
        losses: float (steps, n), of each step.
        ssim: float (n,), structural similarity to the wanted pictures.
        identity: (n,), similarity of the persons from -1 to 1; None if nobody was
            asked for it.
    """

    latents: np.ndarray
    pictures: np.ndarray
    losses: np.ndarray
    ssim: np.ndarray
    identity: np.ndarray | None

    def advice(self, names: Sequence[str | os.PathLike]) -> list[str]:
        """What to do about pictures whose person was lost, one line each.

        Args:
            names: what the n pictures are called.
        """
        if self.identity is None:
            return []
        return [
            f"{name} was drawn with an identity similarity of {similarity:.2f}: align "
            "the face first as the generator's training pictures are; then try more "
            "steps, W+, or another start."
            for name, similarity in zip(names, self.identity, strict=True)
            if similarity < POOR_IDENTITY
        ]


def invert(
    generator,
    pictures: np.ndarray,
    loss: Loss,
    *,
    space: str = "w",
    start: str | np.ndarray = "mean",
    steps: int = 500,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.01,
    mean_pull: float = 0.0,
    psi: float = 0.7,
    layers: int = 8,
    patience: int | None = None,
    seed: int = 0,
    identity: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    callback: Callable[[Step], bool | None] | None = None,
    folder: str | os.PathLike | None = None,
    save_every: int = 100,
) -> Inversion:
    """Looks for latents from which a generator draws pictures, by gradient descent.

    A latent tells all that the picture tells: keep it as you keep the picture.

    Args:
        generator: a `StyleGAN`.
        pictures: (n, size, size, 3), -1 to 1, of the generator's size.
        loss: a function of generated and wanted pictures, as in `losses`.
        space: "w" (one latent for all layers) or "wp" (one for each).
        start: "mean"; "random"; or latents, of W or of `space`, such as an encoder's.
        steps: of gradient descent at most, for each picture.
        learning_rate: of Adam, or its schedule.
        mean_pull: weight of the squared distance from the mean latent.
        psi: truncation under which the latents are drawn.
        layers: that are truncated.
        patience: steps without a loss lower by a thousandth, in no picture, after which
            it ends; None never ends early.
        seed: of random starts.
        identity: similarity of the persons in two batches of pictures, -1 to 1, to be
            reported.
        callback: called after each step; returns True to end here.
        folder: where the state is kept, readable by its owner only: a call with the
            same arguments goes on from there. It is deleted when done.
        save_every: steps between two states.

    Returns:
        For each picture the latent with the lowest loss seen.

    Raises:
        ValueError: for pictures of another shape or range, latents that do not fit, or
            another space or start.
    """
    wanted = checked_pictures(generator, pictures)
    check_options(space, steps, learning_rate, mean_pull, patience, seed, save_every)
    latents = tf.Variable(_start(generator, start, space, len(wanted), seed))
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build([latents])
    step = _step(
        generator, loss, tf.constant(wanted), latents, optimizer, mean_pull, psi, layers
    )
    whose = _whose(generator, wanted, loss, optimizer, mean_pull, psi, layers)
    state = State(latents, optimizer, folder, whose)
    while len(state.history) < steps and not state.stale(patience):
        before = latents.numpy()  # a callback may have altered them
        losses = step().numpy()
        state.add(losses, before)
        if callback is not None and callback(
            Step(len(state.history), steps, losses, latents)
        ):
            break
        if len(state.history) % save_every == 0:
            state.save()
    best = state.best_latents
    drawn = generator.generate(best, space, psi=psi, layers=layers)
    result = Inversion(
        best,
        drawn,
        np.array(state.history),
        structural_similarities(to_uint8(wanted), to_uint8(drawn)),
        None if identity is None else np.asarray(identity(wanted, drawn)),
    )
    state.delete()
    return result


def check_options(
    space: str = "w",
    steps: int = 1,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.0,
    mean_pull: float = 0.0,
    patience: int | None = None,
    seed: int = 0,
    save_every: int = 1,
    **_others,
) -> None:
    """Raises `ValueError` for what `invert` would refuse of its options.

    Args:
        space: as for `invert`, and so are the others; what is left out is right.
        steps: likewise.
        learning_rate: likewise.
        mean_pull: likewise.
        patience: likewise.
        seed: likewise.
        save_every: likewise.
    """
    if space not in SPACES:
        raise ValueError(f"Expected a space in {SPACES}. Received: space={space!r}")
    checks.whole("steps", steps)
    checks.whole("save_every", save_every)
    checks.whole("seed", seed, low=0)
    checks.real("mean_pull", mean_pull)
    if patience is not None:
        checks.whole("patience", patience)
    if not isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        checks.real("learning_rate", learning_rate)


def save_latents(path: str | os.PathLike, latents: np.ndarray) -> None:
    """Writes one face's latent as InterFaceGAN reads it, whole or not at all.

    Args:
        path: ends in .npy.
        latents: (latent_dim,) or (1, latent_dim) of W, (num_layers, latent_dim) of W+.

    Raises:
        ValueError: for another ending or shape, or values that are not finite.
    """
    latents = np.asarray(latents, np.float32)
    latents = latents[None] if latents.ndim == 1 else latents
    if Path(path).suffix != ".npy" or latents.ndim != 2:
        raise ValueError(
            "A latent (latent_dim,) or (num_layers, latent_dim) goes into a .npy file. "
            f"Received: shape {latents.shape} and {path}"
        )
    if not np.isfinite(latents).all():
        raise ValueError("A latent must be finite. Received: NaN or infinity")
    with atomic_file(path, private=True) as file:
        np.save(file, latents)


def checked_pictures(generator, pictures) -> np.ndarray:
    """Pictures as float32, if they are as the generator draws them.

    Raises:
        ValueError: for another shape or range, or values that are not finite.
    """
    pictures = np.asarray(pictures, np.float32)
    shape = (generator.resolution, generator.resolution, 3)
    if pictures.ndim != 4 or pictures.shape[1:] != shape or not len(pictures):
        raise ValueError(
            f"Pictures must have the shape (n, {', '.join(map(str, shape))}). "
            f"Received: shape={pictures.shape}"
        )
    if not (np.abs(pictures) <= 1 + 1e-6).all():
        raise ValueError(
            "Pictures must be finite, between -1 and 1. Received: values from "
            f"{pictures.min()} to {pictures.max()}"
        )
    return pictures


def _start(generator, start, space, count, seed):
    if isinstance(start, str):
        if start not in STARTS:
            raise ValueError(
                f"`start` must be one of {STARTS}, or latents. Received: {start!r}"
            )
        latents = np.repeat(generator.w_avg.numpy()[None], count, 0)
        if start == "random":
            z = np.random.default_rng(seed).normal(size=(count, generator.latent_dim))
            latents = np.asarray(generator.mapping(z.astype(np.float32)))
    else:
        start = np.asarray(start, np.float32)
        latents = generator.checked(start, "w" if start.ndim < 3 else "wp")
    if latents.ndim == 2 and space == "wp":
        latents = np.repeat(latents[:, None], generator.num_layers, 1)
    if len(latents) != count or latents.ndim != (3 if space == "wp" else 2):
        raise ValueError(
            f"There must be a start in {space} for each of {count} pictures. "
            f"Received: latents of shape {latents.shape}"
        )
    return latents


def _whose(generator, wanted, loss, optimizer, mean_pull, psi, layers) -> dict:
    """What an inversion's state belongs to, besides its start."""
    return {
        "pictures": hashlib.sha256(wanted.tobytes()).hexdigest(),
        "generator": generator.fingerprint,
        "loss": [type(loss).__name__, *getattr(loss, "names", ())],
        "optimizer": optimizer.get_config() | {"name": ""},
        "mean_pull": mean_pull,
        "psi": psi,
        "layers": layers,
    }


def _step(generator, loss, wanted, latents, optimizer, mean_pull, psi, layers):
    @tf.function
    def step():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(latents)
            drawn = generator.synthesis(generator.truncate(latents, psi, layers))
            losses = loss(drawn, wanted)
            if mean_pull:
                away = tf.square(latents - generator.w_avg)
                losses += mean_pull * tf.reduce_mean(away, range(1, len(away.shape)))
            # Each latent has its own loss: their sum has each one's gradient.
            total = tf.reduce_sum(losses)
        optimizer.apply([tape.gradient(total, latents)], [latents])
        return losses

    return step

"""Training a captioner, with and without privacy, by the same function.

The privacy unit is the picture with all its captions: one example for the trainer.
"""

import dataclasses
import math
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpriv import dp
from tfpriv.accounting import mechanisms
from tfpriv.accounting.calibration import steps_per_epoch
from tfpriv.accounting.ledger import Ledger
from tfpriv.captioning.coco import CaptionSet
from tfpriv.captioning.model import Captioner, CaptionLoss
from tfpriv.captioning.vocabulary import check_known, teacher_inputs
from tfpriv.support.files import same_contents, same_rows
from tfpriv.support.recipe import TrainingRecipe
from tfpriv.support.warning import warn
from tfpriv.support.weights import digest_of

UNIT = "picture with all its captions"
LEARNED_VOCABULARY = "vocabulary learned from private captions"
WITHOUT_PRIVACY = "trained without differential privacy"


@dataclasses.dataclass(frozen=True)
class CaptioningRecipe(TrainingRecipe):
    """How to train, the privacy apart.

    Args:
        epochs: Passes over the data (on average, where batches are Poisson-sampled).
        batch_size: Pictures in a batch (expected number, for private training).
        learning_rate: Adam's, at its highest; it warms up over the first twentieth of
            the steps and then falls along a cosine.
        l2_norm_clip: Bound on a picture's gradient (private and clip-only training).
        captions_per_picture: Captions used of each picture, the first by id.
        freeze_encoder: Train bridge and decoder only, on features computed once.
    """

    epochs: int = 60
    batch_size: int = 10
    learning_rate: float = 2e-3
    l2_norm_clip: float = 1.0
    captions_per_picture: int = 5
    freeze_encoder: bool = False


Recipe = CaptioningRecipe  # its former name


@dataclasses.dataclass(frozen=True)
class Protection:
    """How privately to train.

    Args:
        epsilon: Budget; the noise is calibrated to it. Or `None`.
        noise_multiplier: Noise in units of the clip norm; 0 clips only, and epsilon is
            infinite. Or `None`. With neither, training is plain Keras.
        delta: The delta at which epsilon is calibrated and reported.
    """

    epsilon: float | None = None
    noise_multiplier: float | None = None
    delta: float = 1e-5

    def __post_init__(self):
        if self.epsilon is not None and self.noise_multiplier is not None:
            raise ValueError(
                "Give `epsilon` or `noise_multiplier`, not both. "
                f"Received: epsilon={self.epsilon}, "
                f"noise_multiplier={self.noise_multiplier}"
            )
        if self.epsilon is not None and not 0 < self.epsilon < float("inf"):
            raise ValueError(
                f"`epsilon` must be positive. Received: epsilon={self.epsilon}"
            )
        if not 0 < self.delta < 1:
            raise ValueError(
                f"`delta` must lie between 0 and 1. Received: delta={self.delta}"
            )

    @property
    def clips(self) -> bool:
        return self.epsilon is not None or self.noise_multiplier is not None

    @property
    def private(self) -> bool:
        """Whether a finite epsilon can come of it."""
        return self.clips and self.noise_multiplier != 0


@dataclasses.dataclass(frozen=True)
class Examples:
    """Arrays for `fit`; the leading axis counts pictures, the privacy units.

    Args:
        x: Dict with `tokens` `(n, K, T)`, and `image` or, for a frozen encoder,
            `features`.
        y: Target tokens `(n, K, T)`, 0 where there is nothing to say.
    """

    x: dict[str, np.ndarray]
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)


@dataclasses.dataclass
class Trained:
    """A trained captioner and the ledger that matches its weights.

    Args:
        model: `Captioner`, private or plain.
        ledger: What was spent.
        epsilon: At `delta`; infinity without privacy.
        delta: As reported.
        losses: Mean training loss of each epoch. An exact function of the training
            data: NOT COVERED BY EPSILON.
        noise_multiplier: Noise used, 0 without privacy.
        seconds: Time of training.
    """

    model: Captioner
    ledger: Ledger
    epsilon: float
    delta: float
    losses: list[float]
    noise_multiplier: float
    seconds: float


def prepare(
    model: Captioner, data: CaptionSet, recipe: CaptioningRecipe, *, progress=None
) -> Examples:
    """Turns images and captions into arrays, and reports bad data before training.

    Warns of captions without a known word, and of images that are copies of others:
    each copy is a privacy unit of its own.

    Args:
        model: Gives sizes, tokenizer and, where it is frozen, the encoder.
        data: Images with captions.
        recipe: Gives the number of captions and whether the encoder is frozen.
        progress: `None` or a function called with `(done, total)`.

    Raises:
        ValueError: A damaged image; no caption has a known word.
    """
    targets = model.tokenizer.encode_groups(data.captions, recipe.captions_per_picture)
    check_known(targets)
    _warn_of_copies(data)
    x: dict[str, Any] = {"tokens": teacher_inputs(targets)}
    if recipe.freeze_encoder or not model.encoder.trainable:
        x["features"] = features_of(model, data, progress=progress)
    else:
        x["image"] = data.arrays(model.image_size, progress=progress)
    return Examples(x, targets)


def _warn_of_copies(data):
    if isinstance(data.pictures, np.ndarray):
        groups = [[data.ids[i] for i in rows] for rows in same_rows(data.pictures)]
    else:
        groups = same_contents(data.pictures)
    if groups:
        warn(
            "Some images appear several times under other names. Each copy is a "
            "separate privacy unit, and epsilon holds for one copy only. Expected one "
            "entry for each image, with all its captions. Received: "
            f"{len(groups)} images with copies, the first: {groups[0][0]} and "
            f"{groups[0][1]}"
        )


def features_of(
    model: Captioner, data: CaptionSet, *, block: int = 256, progress=None
) -> np.ndarray:
    """The encoder's features, float16 `(n, positions, channels)`, block by block."""
    encode = tf.function(model.encode, reduce_retracing=True)
    parts = []
    for start in range(0, len(data), block):
        pictures = data.arrays(model.image_size, start=start, stop=start + block)
        parts.append(encode(pictures).numpy().astype("float16"))
        if progress:
            progress(min(start + block, len(data)), len(data))
    return np.concatenate(parts)


def train(
    model: Captioner,
    examples: Examples,
    recipe: CaptioningRecipe,
    protection: Protection,
    *,
    ledger: Ledger | None = None,
    learned_vocabulary: bool = False,
    verbose: int | str = 1,
) -> Trained:
    """Trains in place and says what it cost.

    Args:
        model: Plain `Captioner` (not yet private).
        examples: From `prepare`, with the same recipe.
        recipe: How to train.
        protection: How privately.
        ledger: What the given weights have spent on these data already; it is
            continued. `None` for fresh weights and for weights of public data.
        learned_vocabulary: The vocabulary was learned from these captions: written
            into the ledger, and epsilon is infinite.
        verbose: As in `fit`.

    Raises:
        ValueError: The budget cannot be met; a budget together with a vocabulary
            learned from private captions; a batch larger than the data set.
    """
    if learned_vocabulary and protection.epsilon is not None:
        raise ValueError(
            "A vocabulary learned from private captions makes epsilon infinite; no "
            f"budget can be kept. Received: epsilon={protection.epsilon}"
        )
    if recipe.batch_size > len(examples):
        raise ValueError(
            "`batch_size` must not exceed the number of pictures. Received: "
            f"batch_size={recipe.batch_size} for {len(examples)} pictures"
        )
    if recipe.freeze_encoder:
        model.encoder.trainable = False
    steps = recipe.epochs * steps_per_epoch(len(examples), recipe.batch_size)
    if protection.clips:
        optimizer = _optimizer(len(examples), recipe, protection, steps, ledger)
        _make_private(model, ledger, learned_vocabulary)
    else:
        optimizer = keras.optimizers.Adam(_schedule(recipe, steps))
    model.compile(optimizer, loss=CaptionLoss())
    if protection.clips and protection.epsilon is None:
        # The delta of all figures.
        model.privacy.budget = dp.Budget(math.inf, protection.delta)
    start = time.monotonic()
    history = model.fit(
        examples.x,
        examples.y,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        verbose=verbose,
    )
    seconds = time.monotonic() - start
    if protection.clips:
        spent = model.privacy.ledger
    else:
        spent = _plain_ledger(model, ledger)
    return Trained(
        model=model,
        ledger=spent,
        epsilon=spent.epsilon(protection.delta),
        delta=protection.delta,
        losses=history.history["loss"],
        noise_multiplier=getattr(optimizer, "noise_multiplier", 0.0),
        seconds=seconds,
    )


def _schedule(recipe, steps):
    warmup = max(1, steps // 20)
    return keras.optimizers.schedules.CosineDecay(
        0.05 * recipe.learning_rate,
        max(1, steps - warmup),
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
    )


def _optimizer(population, recipe, protection, steps, ledger):
    options = {
        "learning_rate": _schedule(recipe, steps),
        "l2_norm_clip": recipe.l2_norm_clip,
    }
    if protection.epsilon is None:
        return dp.DPAdam(noise_multiplier=protection.noise_multiplier, **options)
    return dp.DPAdam.for_budget(
        protection.epsilon,
        protection.delta,
        population=population,
        batch_size=recipe.batch_size,
        steps=steps,
        ledger=ledger,
        **options,
    )


def _make_private(model, ledger, learned_vocabulary):
    dp.make_private(model, unit=UNIT)
    if ledger is not None:
        model.privacy.load(ledger)
    if learned_vocabulary:
        model.privacy.record(
            mechanisms.non_private(LEARNED_VOCABULARY), purpose="vocabulary"
        )


def _plain_ledger(model, ledger):
    """What to say of weights that no mechanism protects."""
    spent = Ledger() if ledger is None else ledger.copy()
    spent.record(mechanisms.non_private(WITHOUT_PRIVACY), unit=UNIT, purpose="training")
    spent.set_weights_digest(digest_of(model.weights))
    return spent

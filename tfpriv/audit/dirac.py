"""A training made to be audited: every canary moves one weight of its own.

Two dense layers side by side map inputs to outputs, without biases. A canary's input is
one of the inputs, its target one of the outputs, and the loss their product: its
gradient is then a single weight, ten times as long as the clip norm. Canaries of
different weights are orthogonal. All the rest is `tfpriv.dp` as everybody uses it:
`make_private`, `fit`, sampler, clipping engine, noise, optimizer, ledger.

Besides canaries there are quiet examples, whose gradient is zero: batches in which most
have little to say are where a bound that depends on the batch fails.
"""

import math
from dataclasses import dataclass

import keras
import numpy as np

from tfpriv import dp
from tfpriv.accounting.ledger import Ledger
from tfpriv.dp.callbacks import harmless

CLIP = 0.5  # not 1: then it would not be seen where it is forgotten
LENGTH = 10 * CLIP  # of a canary's gradient before it is clipped
LAYERS = 2


@dataclass(frozen=True)
class AuditPlan:
    """How the audited training goes.

    Attributes:
        noise_multiplier: of the optimizer, positive.
        probability: of an example to be in a batch, in (0, 1].
        steps: how many.
        canaries: how many weights have one.
        quiet: examples without a gradient. The sampler is told of `canaries + quiet`
            units, however many of the canaries are there.
    """

    noise_multiplier: float
    probability: float
    steps: int
    canaries: int = 5000
    quiet: int = 5000


@dataclass(frozen=True)
class Observed:
    """What somebody sees who sees all weights after each step.

    Attributes:
        updates: float64 `(steps, canaries)`: the noised sum of each step along each
            canary's direction, in units of the clip norm.
        applied: how often the optimizer updated the weights.
        ledger: what was written down.
    """

    updates: np.ndarray
    applied: int
    ledger: Ledger


@harmless
class _Weights(keras.callbacks.Callback):
    """Keeps the weights after each step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_begin(self, logs=None):
        self.on_train_batch_end(None)

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(np.stack(self.model.get_weights()).ravel())


def train(plan: AuditPlan, included: np.ndarray, engine: str = "auto") -> Observed:
    """Trains on the canaries that are included, and on the quiet examples.

    Args:
        plan: how.
        included: boolean `(canaries,)`.
        engine: of clipping; see `tfpriv.dp.make_private`.
    """
    width = math.ceil(math.sqrt(plan.canaries / LAYERS))
    model = dp.make_private(_network(width), engine=engine)
    optimizer = dp.DPSGD(1.0, l2_norm_clip=CLIP, noise_multiplier=plan.noise_multiplier)
    model.compile(optimizer=optimizer, loss=_product)
    units = plan.canaries + plan.quiet
    sampler = dp.PoissonSampler(
        _examples(width, np.flatnonzero(included), plan.quiet),
        batch_size=plan.probability * units,
        population=units,
        steps_per_epoch=plan.steps,
    )
    weights = _Weights()
    model.fit(sampler, verbose=0, callbacks=[weights])
    moved = np.diff(np.array(weights.seen, np.float64), axis=0)
    return Observed(
        updates=moved[:, : plan.canaries] * sampler.expected_batch_size / CLIP,
        applied=int(optimizer.iterations),
        ledger=model.privacy.ledger,
    )


def scores(observed: Observed) -> np.ndarray:
    """How much likelier each canary's updates are with it than without it.

    Returns:
        `(canaries,)`: the logarithm of the likelihood ratio, summed over the steps, for
        the noise and the sampling that the ledger claims.
    """
    (entry,) = observed.ledger.entries
    event = entry.mechanism.event
    probability, noise = event.sampling_probability, event.event.noise_multiplier
    with np.errstate(divide="ignore"):  # log(0): every unit is in every batch
        out = np.log1p(-probability)
    inside = np.log(probability) + (observed.updates - 0.5) / noise**2
    return np.logaddexp(out, inside).sum(axis=0)


def _network(width: int) -> keras.Model:
    inputs = keras.Input((LAYERS * width,))
    outputs = [
        keras.layers.Dense(width, use_bias=False)(
            inputs[:, layer * width : (layer + 1) * width]
        )
        for layer in range(LAYERS)
    ]
    model = keras.Model(inputs, keras.layers.Add()(outputs))
    # Weights that no other model had, which would lend this one its ledger.
    random = np.random.default_rng()
    model.set_weights([random.normal(0, 1e-3, w.shape) for w in model.weights])
    return model


def _product(targets, outputs):
    """A loss whose gradient at the outputs is the target, with the other sign."""
    return -LENGTH * keras.ops.sum(targets * outputs, axis=-1)


def _examples(width: int, canaries: np.ndarray, quiet: int):
    """Inputs and targets: those of the canaries by number among zeros, anywhere."""
    layers, sources, ends = np.unravel_index(canaries, (LAYERS, width, width))
    count = len(canaries) + quiet
    x = np.zeros((count, LAYERS * width), np.float32)
    y = np.zeros((count, width), np.float32)
    rows = np.random.default_rng().permutation(count)[: len(canaries)]
    x[rows, layers * width + sources] = 1
    y[rows, ends] = 1
    return x, y

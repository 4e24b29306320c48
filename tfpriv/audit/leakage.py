"""How well a classifier reads one bit from what was released."""

import dataclasses
import math

import numpy as np

from tfpriv.audit.intervals import clopper_pearson
from tfpriv.support import extras

_FALSE_ALARM = 1e-3  # that a bound of an accuracy is on the wrong side of the truth


@dataclasses.dataclass(frozen=True)
class Reading:
    """A classifier's accuracy on releases that it was not trained on.

    Attributes:
        accuracy: mean of the shares that are right with the bit set and without: 0.5 is
            guessing.
        low: bound of its expectation, wrong with a probability of 1e-3 at most.
        high: likewise.
        count: releases that it was tested on.
    """

    accuracy: float
    low: float
    high: float
    count: int

    @property
    def advantage(self) -> float:
        """From 0, guessing, to 1."""
        return 2 * self.accuracy - 1


def ceiling(epsilon: float, delta: float) -> float:
    """The accuracy that nobody passes who tells neighbours apart.

    Args:
        epsilon: of the release, not negative; it may be infinite.
        delta: of the release, in [0, 1].

    Returns:
        The highest mean of the two shares that are right.

    Reference: P. Kairouz, S. Oh, P. Viswanath, "The composition theorem for
    differential privacy", ICML 2015.
    """
    odds = math.exp(-epsilon)
    return (1 + delta * odds) / (1 + odds)


def read_bit(features: np.ndarray, bit: np.ndarray, *, seed: int = 0) -> Reading:
    """Trains a logistic regression on one half, and tests it on the other.

    Args:
        features: (n, numbers), of releases.
        bit: bool (n,), what is to be read; 20 of either at least.
        seed: of the halves.

    Returns:
        How well it reads.

    Raises:
        ValueError: for shapes that do not fit, values that are not finite, or too few
            of one kind.
    """
    with extras.needs("all"):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

    features, bit = np.asarray(features, float), np.asarray(bit).astype(bool)
    if (
        features.ndim != 2
        or bit.shape != features.shape[:1]
        or not np.isfinite(features).all()
        or min(bit.sum(), (~bit).sum()) < 20
    ):
        raise ValueError(
            "Expected finite features (n, numbers) and n bits, 20 of either at least. "
            f"Received: shapes {features.shape} and {bit.shape}, {bit.sum()} bits set"
        )
    tested = np.zeros(len(bit), bool)
    for side in (bit, ~bit):
        rows = np.random.default_rng(seed).permutation(np.flatnonzero(side))
        tested[rows[::2]] = True
    probe = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)
    classifier = make_pipeline(StandardScaler(), probe)
    classifier.fit(features[~tested], bit[~tested])
    right = classifier.predict(features[tested]) == bit[tested]
    return _reading([right[bit[tested] == side] for side in (True, False)])


def _reading(answers: list[np.ndarray]) -> Reading:
    """The reading of right and wrong answers about each kind: Clopper–Pearson."""
    level = _FALSE_ALARM / 2  # for each of two shares
    lows, highs = [], []
    for right in answers:
        low, high = clopper_pearson(int(right.sum()), len(right), level)
        lows.append(low)
        highs.append(high)
    return Reading(
        accuracy=float(np.mean([right.mean() for right in answers])),
        low=float(np.mean(lows)),
        high=float(np.mean(highs)),
        count=sum(map(len, answers)),
    )

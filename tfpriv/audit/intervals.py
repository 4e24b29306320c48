"""Figures with the interval that they are known to."""

import dataclasses

import numpy as np
from scipy import stats

LEVEL = 0.95
_RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure and its confidence interval.

    Attributes:
        value: the figure; NaN if there was nothing to measure.
        low: lower end of the interval; NaN if there is none.
        high: upper end.
        count: how many things were measured.
    """

    value: float
    low: float
    high: float
    count: int


def clopper_pearson(hits: int, count: int, miss: float) -> tuple[float, float]:
    """Bounds of a chance, of which `hits` in `count` independent trials are known.

    Args:
        hits: 0 to `count`.
        count: not negative; with 0 trials nothing is known.
        miss: how likely each bound is to be wrong at most, in (0, 1).

    Returns:
        The lower and the upper bound.

    Reference: C. Clopper, E. Pearson, "The use of confidence or fiducial limits
    illustrated in the case of the binomial", Biometrika 26, 1934.
    """
    low = stats.beta.ppf(miss, hits, count - hits + 1) if hits else 0.0
    high = stats.beta.isf(miss, hits + 1, count - hits) if hits < count else 1.0
    return float(low), float(high)


def share(hits: np.ndarray, level: float = LEVEL) -> Estimate:
    """How often something is so.

    Args:
        hits: bool (n,), one for each independent trial.
        level: of the interval, in (0, 1).

    Returns:
        The share of True, and its Clopper-Pearson interval.
    """
    hits = np.asarray(hits, bool)
    right, count = int(hits.sum()), len(hits)
    low, high = clopper_pearson(right, count, (1 - level) / 2)
    return Estimate(right / count if count else np.nan, low, high, count)


def mean_over_persons(
    values: np.ndarray, persons: np.ndarray, level: float = LEVEL, seed: int = 0
) -> Estimate:
    """A mean over pictures, with an interval for other persons.

    Pictures of one person are alike, so that persons are drawn anew, not pictures: the
    interval is the percentiles of the means over as many persons as there are, drawn
    with replacement. It is a little short where there are few: its true level is some
    90 instead of 95 % for ten persons.

    Args:
        values: (n,), one for each picture.
        persons: (n,), whose picture it is.
        level: of the interval, in (0, 1).
        seed: of the draws, not negative.

    Returns:
        The mean over the pictures; one person has no interval.

    Raises:
        ValueError: for shapes that do not fit.

    Reference: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993.
    """
    values, persons = np.asarray(values, np.float64), np.asarray(persons)
    if values.ndim != 1 or persons.shape != values.shape:
        raise ValueError(
            "Expected one value and one person for each picture. Received: shapes "
            f"{values.shape} and {persons.shape}"
        )
    if not len(values):
        return Estimate(np.nan, np.nan, np.nan, 0)
    _, person = np.unique(persons, return_inverse=True)
    pictures = np.bincount(person)
    if len(pictures) < 2:
        return Estimate(float(values.mean()), np.nan, np.nan, len(values))
    sums = np.bincount(person, weights=values)
    people = len(pictures)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(people, np.full(people, 1 / people), _RESAMPLES)
    means = (drawn @ sums) / (drawn @ pictures)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values.mean()), float(low), float(high), len(values))

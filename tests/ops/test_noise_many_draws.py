"""A hundred million native draws: shape, moments and tails of a normal distribution.

The key is new in each run. Nine statistics are asked for five standard deviations and
one distance for a p-value above 1e-6: a false alarm in fewer than one run of 100,000.
"""

import numpy as np
import pytest
from scipy import special, stats

from tfpriv.ops import gaussian_noise

STREAMS, PER_STREAM = 25, 4_000_000
DRAWS = STREAMS * PER_STREAM
BINS = 1 << 16  # of equal probability
LIMITS = (4.0, 5.0, 5.5)
BOUND = 5.0
POWERS = range(1, 7)


class Summary:
    """Counts and sums of draws that are seen once and forgotten."""

    def __init__(self):
        self.counts = np.zeros(BINS, np.int64)
        self.powers = np.zeros(len(POWERS))
        self.beyond = np.zeros(len(LIMITS))

    def add(self, values):
        uniform = special.ndtr(values)
        bins = np.minimum((uniform * BINS).astype(np.int64), BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)
        power = np.ones_like(values)
        for k in range(len(POWERS)):
            power *= values
            self.powers[k] += power.sum()
        self.beyond += [np.count_nonzero(np.abs(values) > limit) for limit in LIMITS]
        return self

    @property
    def size(self):
        return self.counts.sum()

    def distance(self):
        """Kolmogorov and Smirnov's, over the edges of the bins."""
        edges = np.arange(1, BINS + 1) / BINS
        return np.abs(np.cumsum(self.counts) / self.size - edges).max()

    def moment_scores(self):
        """How many standard deviations each moment lies from that of N(0, 1)."""
        expected = np.array([_normal_moment(k) for k in POWERS])
        squares = np.array([_normal_moment(2 * k) for k in POWERS])
        spread = np.sqrt((squares - expected**2) / self.size)
        return (self.powers / self.size - expected) / spread

    def tail_scores(self):
        expected = self.size * 2 * stats.norm.sf(LIMITS)
        return (self.beyond - expected) / np.sqrt(expected + 1)

    def is_normal(self):
        limit = np.sqrt(np.log(2 / 1e-6) / 2 / self.size)
        scores = np.concatenate([self.moment_scores(), self.tail_scores()])
        return bool(self.distance() < limit and np.abs(scores).max() < BOUND)


def _normal_moment(k):
    """E x^k: (k - 1)!! for even k, else 0."""
    return 0.0 if k % 2 else float(special.factorial2(k - 1)) if k else 1.0


@pytest.fixture
def draws(native, key):
    """One chunk after the other, of a stream each."""
    return (
        gaussian_noise(key, [PER_STREAM], "float64", stream=stream).numpy()
        for stream in range(STREAMS)
    )


@pytest.mark.slow
def test_a_hundred_million_draws_are_normal(draws):
    summary = Summary()
    for values in draws:
        summary.add(values)
    assert summary.size == DRAWS
    assert summary.is_normal(), (
        summary.distance(),
        summary.moment_scores(),
        summary.tail_scores(),
    )


@pytest.mark.parametrize(
    "fault",
    [
        lambda x: 1.005 * x,
        lambda x: x + 0.004,
        lambda x: np.clip(x, -4, 4),
        lambda x: np.round(x, 2),
        lambda x: np.abs(x),
    ],
    ids=["scale", "shift", "cut tails", "coarse", "one sign"],
)
def test_a_fault_is_found_in_a_twenty_fifth_of_them(draws, fault):
    values = next(draws)
    assert Summary().add(values).is_normal()
    assert not Summary().add(fault(values)).is_normal()

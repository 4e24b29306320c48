"""gaussian_noise is standard normal and independent across keys and streams.

Keys are new in each run with `--fresh`. The checks below raise a false alarm in fewer
than one such run of 100,000: each of the some ten statistics is asked for five standard
deviations or for a p-value above 1e-6.
"""

import numpy as np
from scipy import stats

from tfpriv.ops import gaussian_noise

DRAWS = 1_000_000
BOUND = 5.0  # standard deviations: 6e-7, two-sided


def moment_scores(values: np.ndarray) -> np.ndarray:
    """How many standard deviations the first four moments lie from N(0, 1)'s."""
    powers = np.stack([values**k for k in range(1, 5)])
    expected = np.array([0, 1, 0, 3])
    # Var of x^k is E x^(2k) - (E x^k)^2.
    spread = np.sqrt(np.array([1, 3, 15, 105]) - expected**2)
    return (powers.mean(axis=1) - expected) / spread * np.sqrt(values.size)


def looks_normal(values: np.ndarray) -> bool:
    """Moments to 5 standard deviations and a Kolmogorov-Smirnov test at 1e-6."""
    moments = np.abs(moment_scores(values)).max() < BOUND
    return bool(moments and stats.kstest(values, "norm").pvalue > 1e-6)


def related(a: np.ndarray, b: np.ndarray) -> bool:
    """Says whether two vectors of independent N(0, 1) draws are correlated."""
    return bool(abs(np.dot(a, b)) / np.sqrt(a.size) > BOUND)


def draw(key, **kwargs) -> np.ndarray:
    return gaussian_noise(key, [DRAWS], "float64", **kwargs).numpy()


def test_values_are_standard_normal(key):
    values = draw(key)
    assert looks_normal(values)
    assert 4.0 < np.abs(values).max() < 9.42  # fails with probability exp(-63)


def test_tails_hold_as_many_values_as_they_should(key):
    values = np.abs(draw(key, stream=1))
    for limit in (2.0, 3.0, 4.0):
        expected = DRAWS * 2 * stats.norm.sf(limit)
        assert abs((values > limit).sum() - expected) < BOUND * np.sqrt(expected) + 1


def test_a_wrong_scale_is_caught(key):
    values = draw(key)
    assert not looks_normal(values * 0.5)
    assert not looks_normal(values * 1.01)
    assert not looks_normal(values + 0.01)
    assert not looks_normal(np.sign(values))


def test_neighbours_in_the_stream_are_unrelated(key):
    values = draw(key)
    assert not related(values[0::2], values[1::2])  # the two of one pair
    assert not related(values[:-1], values[1:])
    assert not related(values[:-8], values[8:])  # across blocks
    assert not related(values[0::2] ** 2 - 1, (values[1::2] ** 2 - 1) / 2)


def test_keys_and_streams_are_unrelated(key):
    other = key.copy()
    other[0] ^= 1  # one bit
    first = draw(key)
    assert not related(first, draw(other))
    assert not related(first, draw(key, stream=1))
    assert not related(draw(key, stream=1), draw(key, stream=2**32))


def test_reused_noise_is_caught(key):
    """The planted fault: a step that forgot to change its key or stream."""
    assert related(draw(key), draw(key))
    assert related(draw(key, stream=4), draw(key, stream=4))

"""Whole-numbered noise has the distribution that its formula says.

False alarms: each chi-square test at 1e-6, each mean within 5 standard deviations.
"""

import numpy as np
import pytest
from scipy import stats

from tfpriv.editing import discrete_noise
from tfpriv.support.randomness import Randomness

DRAWS = 200_000
BOUND = 5.0
LARGEST = discrete_noise.LARGEST_SCALE


def density(kind, scale, values):
    """The formula, summed to one over all values that have a chance worth a draw."""
    support = np.arange(-60 * scale, 60 * scale + 1)

    def weight(x):
        x = np.abs(x) / scale
        return np.exp(-x) if kind == "laplace" else np.exp(-(x**2) / 2)

    return weight(values) / weight(support).sum()


def fits(kind, scale, draws):
    """Chi-square at 1e-6 over the values that are expected at least ten times."""
    values = np.arange(-40 * scale, 40 * scale + 1)
    expected = len(draws) * density(kind, scale, values)
    common = values[expected >= 10]
    counts = np.array([(draws == value).sum() for value in common])
    expected = expected[expected >= 10]
    counts = np.append(counts, len(draws) - counts.sum())
    expected = np.append(expected, len(draws) - expected.sum())
    if expected[-1] < 1:
        counts, expected = counts[:-1], expected[:-1]
    statistic = ((counts - expected) ** 2 / expected).sum()
    return stats.chi2.sf(statistic, len(counts) - 1) > 1e-6


def draw(kind, scale, count=DRAWS, seed=None):
    return getattr(discrete_noise, kind)(Randomness(seed), scale, count)


@pytest.mark.parametrize("scale", [1, 2, 5, 16])
@pytest.mark.parametrize("kind", ["laplace", "gaussian"])
def test_every_value_comes_as_often_as_it_should(kind, scale):
    assert fits(kind, scale, draw(kind, scale))


@pytest.mark.parametrize("kind", ["laplace", "gaussian"])
def test_a_wrong_distribution_is_caught(kind):
    draws = draw(kind, 5)
    assert not fits(kind, 5, np.where(draws == 0, 1, draws))
    assert not fits(kind, 5, np.abs(draws))
    assert not fits(kind, 5, draw("gaussian" if kind == "laplace" else "laplace", 5))
    assert not fits(kind, 5, np.rint(0.95 * draws))


@pytest.mark.parametrize("kind", ["laplace", "gaussian"])
def test_the_largest_scale_is_continuous_to_the_eye(kind):
    draws = draw(kind, LARGEST) / LARGEST
    name = {"laplace": "laplace", "gaussian": "norm"}[kind]
    assert stats.kstest(draws, name).pvalue > 1e-6
    for power, moment, spread in {
        "laplace": ((1, 0, 2**0.5), (2, 2, 20**0.5)),
        "gaussian": ((1, 0, 1), (2, 1, 2**0.5), (4, 3, 96**0.5)),
    }[kind]:
        error = np.mean(draws**power) - moment
        assert abs(error) * np.sqrt(DRAWS) < BOUND * spread


@pytest.mark.parametrize("kind", ["laplace", "gaussian"])
def test_low_bits_are_even(kind):
    draws = draw(kind, LARGEST)
    for bit in range(20):
        ones = ((draws >> bit) & 1).sum()
        assert abs(ones - DRAWS / 2) < BOUND * np.sqrt(DRAWS / 4)


@pytest.mark.parametrize("kind", ["laplace", "gaussian"])
def test_draws_are_unrelated(kind):
    draws = draw(kind, LARGEST, 2 * DRAWS) / LARGEST
    spread = draws.std() ** 2 * np.sqrt(DRAWS)
    assert abs(np.dot(draws[:DRAWS], draws[DRAWS:])) < BOUND * spread
    assert abs(np.dot(draws[::2], draws[1::2])) < BOUND * spread


@pytest.mark.parametrize("kind", ["laplace", "gaussian"])
@pytest.mark.parametrize("count", [0, 1, 7, 100_000])
def test_as_many_as_were_asked_for(kind, count):
    draws = draw(kind, 3, count)
    assert draws.shape == (count,)
    assert draws.dtype == np.int64


def test_only_a_seed_repeats():
    np.testing.assert_array_equal(
        draw("gaussian", 9, 50, 4), draw("gaussian", 9, 50, 4)
    )
    assert (draw("gaussian", LARGEST, 50) != draw("gaussian", LARGEST, 50)).any()


class Words:
    """Hands out what is listed, then zeros are drawn no more: an error."""

    def __init__(self, *words):
        self.left = list(words)

    def words(self, count):
        return np.array([self.left.pop(0) for _ in range(count)], np.uint64)


def test_uniform_numbers_reject_what_would_be_uneven():
    """2^64 is 1 modulo 3: the word 0 has no partners, so it is drawn again."""
    drawn = discrete_noise._below(Words(0, 1, 2, 3), np.array([3, 3], np.uint64))
    np.testing.assert_array_equal(drawn, [2, 1])
    ends = Words(2**64 - 1, 2**64 - 1)
    drawn = discrete_noise._below(ends, np.array([1 << 53, 10], np.uint64))
    np.testing.assert_array_equal(drawn, [2**53 - 1, 5])


@pytest.mark.parametrize("bound", [1, 2, 3, 7, 2**53])
def test_uniform_numbers_are_uniform(bound):
    bounds = np.full(DRAWS, bound, np.uint64)
    drawn = discrete_noise._below(Randomness(), bounds)
    cells = min(bound, 8)
    counts = np.bincount((drawn * np.uint64(cells) // bounds).astype(int))
    expected = DRAWS / cells
    assert len(counts) == cells
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert cells == 1 or stats.chi2.sf(statistic, cells - 1) > 1e-6


@pytest.mark.parametrize(("up", "down"), [(0, 7), (1, 3), (1, 1), (2**53 - 1, 2**53)])
def test_chances_are_exponentials(up, down):
    numerator, denominator = (np.full(DRAWS, v, np.uint64) for v in (up, down))
    won = discrete_noise._chance_exp(Randomness(), numerator, denominator).sum()
    share = np.exp(-up / down)
    assert abs(won - DRAWS * share) <= BOUND * np.sqrt(DRAWS * share * (1 - share))

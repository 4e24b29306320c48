"""permutations are uniform, and unrelated across nonces and keys.

Keys are new in each run with `--fresh`. Each test asks one or two chi-square
statistics for a p-value above 1e-7: all of them together raise a false alarm in fewer
than one such run of 500,000.
"""

import itertools

import numpy as np
import pytest
from scipy import stats

from tfpriv import ops

DRAWS = 120_000
LEVEL = 1e-7


def nonces(count, first=0):
    """Nonces that count from `first`: the least different that there are."""
    numbers = np.arange(first, first + count, dtype="<u8")
    rows = np.zeros((count, 12), "uint8")
    rows[:, :8] = numbers.view("uint8").reshape(count, 8)
    return rows


def draw(key, size, count=DRAWS, first=0):
    return ops.permutations(key, nonces(count, first), size).numpy()


def all_equally_often(rows) -> bool:
    """Whether each of the 24 permutations of four turns up equally often."""
    index = np.zeros(4**4, int)
    index[:] = -1
    for number, order in enumerate(itertools.permutations(range(4))):
        index[np.dot(order, [64, 16, 4, 1])] = number
    counts = np.bincount(index[rows @ [64, 16, 4, 1]], minlength=24)
    return bool(stats.chisquare(counts).pvalue > LEVEL)


def everything_everywhere(rows) -> bool:
    """Whether each value is at each place equally often.

    The counts are a sum of permutation matrices, whose rows and columns are fixed: the
    usual statistic times (n - 1) / n has (n - 1)^2 degrees of freedom.
    """
    draws, n = rows.shape
    counts = np.zeros((n, n))
    for place in range(n):
        counts[place] = np.bincount(rows[:, place], minlength=n)
    statistic = ((counts - draws / n) ** 2).sum() / (draws / n) * (n - 1) / n
    return bool(stats.chi2.sf(statistic, (n - 1) ** 2) > LEVEL)


def quotients(one, other):
    """one after the inverse of other: uniform if the two are unrelated."""
    return np.take_along_axis(one, np.argsort(other, axis=1), axis=1)


def test_uniform(native, key):
    assert all_equally_often(draw(key, 4))
    assert everything_everywhere(draw(key, 20))


def test_twin_is_uniform(monkeypatch, key):
    monkeypatch.setenv("TFPRIV_PY_OPS", "1")
    assert all_equally_often(draw(key, 4, 24_000))


def test_large_pictures_are_uniform(native, key):
    """The top 24 and the 24 below the middle of 50,176 places, in 24 groups each."""
    rows = draw(key, 50_176, 200)
    for places in (rows[:, -24:], rows[:, 25_000:25_024]):
        counts = np.bincount((places * 24 // 50_176).ravel(), minlength=24)
        assert stats.chisquare(counts).pvalue > LEVEL


def test_nonces_are_unrelated(native, key):
    one, other = draw(key, 20), draw(key, 20, first=1)
    assert everything_everywhere(quotients(one, other))


def test_keys_are_unrelated(native, key):
    other = key.copy()
    other[31] ^= 128  # one bit
    assert everything_everywhere(quotients(draw(key, 20), draw(other, 20)))
    assert not everything_everywhere(quotients(draw(key, 20), draw(key, 20)))


def swaps(rng, size, low, high):
    """Shuffles whose step i swaps with an integer of [low(i), high(i))."""
    rows = np.tile(np.arange(size), (DRAWS, 1))
    every = np.arange(DRAWS)
    for i in range(size - 1, -1, -1):
        j = rng.integers(low(i), high(i), DRAWS)
        rows[every, i], rows[every, j] = rows[every, j], rows[every, i].copy()
    return rows


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (lambda i: 0, lambda i: 4),
        (lambda i: 0, lambda i: max(i, 1)),
        (lambda i: min(i, 1), lambda i: i + 1),
    ],
    ids=["swap with any", "never stays", "forgets a place"],
)
def test_a_wrong_shuffle_is_found(low, high):
    rng = np.random.default_rng(0)
    assert all_equally_often(swaps(rng, 4, lambda i: 0, lambda i: i + 1))
    assert not all_equally_often(swaps(rng, 4, low, high))


def test_words_of_16_bits_are_found():
    """Modulo of short words: with 50,176 places, the lower 15,360 twice as often."""
    rng = np.random.default_rng(0)
    counts = np.bincount(rng.integers(0, 2**16, 4800) % 50_176 * 24 // 50_176)
    assert stats.chisquare(counts).pvalue < LEVEL

"""Whole-numbered Gaussian and Laplace noise, exactly as its formula says.

All arithmetic is on 64-bit integers: no logarithm, no float, nothing is rounded. What
is drawn has the stated distribution to the last bit, provided that the words of
`Randomness` are uniform: they are the keystream of ChaCha20 under a fresh key of the
operating system.

Every function works on whole arrays: those values that are not settled yet go through
another round.

Reference: C. Canonne, G. Kamath, T. Steinke, "The discrete Gaussian for differential
privacy", 2020, algorithms 1 to 3.
"""

import numpy as np

from tfpriv.support.randomness import Randomness

# Larger scales would let the squares in `gaussian` pass 64 bits.
LARGEST_SCALE = 1 << 26
_MOST_SCALES = 63
_BLOCK = 1 << 16


def laplace(randomness: Randomness, scale: int, count: int) -> np.ndarray:
    """Draws whole numbers `x` with probability proportional to `exp(-|x| / scale)`.

    Args:
        randomness: where uniform words come from.
        scale: in [1, 2^26].
        count: how many.

    Returns:
        int64 array `(count,)`.
    """
    return _until_kept(lambda n: _try_laplace(randomness, scale, n), count)


def gaussian(randomness: Randomness, scale: int, count: int) -> np.ndarray:
    """Draws whole numbers `x` with probability proportional to `exp(-x^2 / 2 scale^2)`.

    Args:
        randomness: where uniform words come from.
        scale: in [1, 2^26]; the standard deviation, but for less than one part in
            10^8 where `scale` is 2 or more.
        count: how many.

    Returns:
        int64 array `(count,)`. Values beyond 63 scales, with a probability below
        e^-1900, do not come.
    """
    return _until_kept(lambda n: _try_gaussian(randomness, scale, n), count)


def _until_kept(attempt, count: int) -> np.ndarray:
    """The first `count` values that `attempt(n)`, which returns up to n, has kept."""
    kept, missing = [np.empty(0, np.int64)], count
    while missing > 0:
        values = attempt(min(max(2 * missing, 64), _BLOCK))[:missing]
        kept.append(values)
        missing -= len(values)
    return np.concatenate(kept)


def _try_laplace(randomness: Randomness, scale: int, count: int) -> np.ndarray:
    whole = np.full(count, scale, np.uint64)
    rest = _below(randomness, whole)
    kept = np.flatnonzero(_chance_exp(randomness, rest, whole))
    size = rest[kept] + np.uint64(scale) * _geometric(randomness, len(kept))
    negative = _below(randomness, np.full(len(kept), 2, np.uint64)) == 1
    once = ~(negative & (size == 0))  # zero has one sign only
    return np.where(negative, -size.astype(np.int64), size.astype(np.int64))[once]


def _try_gaussian(randomness: Randomness, scale: int, count: int) -> np.ndarray:
    values = _try_laplace(randomness, scale, count)
    values = values[np.abs(values) < _MOST_SCALES * scale]
    # Laplace has exp(-|x| / s); what is missing is exp(-(|x| - s)^2 / 2 s^2).
    exponent = ((np.abs(values) - scale) ** 2).astype(np.uint64)
    twice = np.full(len(values), 2 * scale**2, np.uint64)
    whole = exponent // twice
    kept = _chances_of_one(randomness, whole)
    kept[kept] = _chance_exp(randomness, (exponent % twice)[kept], twice[kept])
    return values[kept]


def _chances_of_one(randomness: Randomness, times: np.ndarray) -> np.ndarray:
    """True with probability exp(-times): so many chances of exp(-1), all won."""
    won = np.ones(len(times), bool)
    left = np.flatnonzero(times)
    done = np.uint64(0)
    while len(left):
        won[left] = _chance_of_one(randomness, len(left))
        done += np.uint64(1)
        left = left[won[left] & (times[left] > done)]
    return won


def _geometric(randomness: Randomness, count: int) -> np.ndarray:
    """Whole numbers n with probability proportional to exp(-n), as uint64."""
    values = np.zeros(count, np.uint64)
    left = np.arange(count)
    while len(left):
        left = left[_chance_of_one(randomness, len(left))]
        values[left] += np.uint64(1)
    return values


def _chance_of_one(randomness: Randomness, count: int) -> np.ndarray:
    """True with probability exp(-1), `count` times."""
    ones = np.ones(count, np.uint64)
    return _chance_exp(randomness, ones, ones)


def _chance_exp(
    randomness: Randomness, numerator: np.ndarray, denominator: np.ndarray
) -> np.ndarray:
    """True with probability exp(-numerator / denominator), for fractions up to 1.

    The first k at which a chance of (fraction / k) is lost is odd with just that
    probability (von Neumann, 1951).
    """
    odd = np.zeros(len(numerator), bool)
    left, k = np.arange(len(numerator)), np.uint64(1)
    while len(left):
        drawn = _below(randomness, denominator[left] * k)
        won = drawn < numerator[left]
        odd[left[~won]] = k % np.uint64(2) == 1
        left, k = left[won], k + np.uint64(1)
    return odd


def _below(randomness: Randomness, bounds: np.ndarray) -> np.ndarray:
    """Uniform whole numbers, `0 <= value < bounds`, as uint64.

    A word falls short of a multiple of the bound by less than 2^64 % bound, or is drawn
    again: each remainder then has as many words as every other.
    """
    words = randomness.words(len(bounds)).astype(np.uint64)
    surplus = -bounds % bounds  # 2^64 % bound, in arithmetic modulo 2^64
    again = np.flatnonzero(words < surplus)
    while len(again):
        words[again] = randomness.words(len(again))
        again = again[words[again] < surplus[again]]
    return words % bounds

"""Reading a bit from releases, and the accuracy that epsilon allows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfpriv.audit.leakage import ceiling, read_bit


@given(st.floats(0, 30), st.floats(0, 0.5))
def test_the_ceiling_is_the_best_of_all_pairs_of_shares(epsilon, delta):
    # The oracle: all pairs (right with the bit, wrong without) that the claim allows.
    wrong = np.linspace(0, 1, 2001)
    right = np.minimum(np.exp(epsilon) * wrong + delta, 1)
    right = np.minimum(right, 1 - np.maximum((1 - wrong - delta), 0) * np.exp(-epsilon))
    best = np.max((right + 1 - wrong) / 2)
    assert ceiling(epsilon, delta) == pytest.approx(best, abs=1e-3)


def test_ends_of_the_ceiling():
    assert ceiling(0, 0) == 0.5
    assert ceiling(np.inf, 0) == 1.0
    assert ceiling(0, 1) == 1.0


def test_a_bit_that_shows_is_read_and_one_that_does_not_is_not():
    rng = np.random.default_rng(0)
    bit = rng.uniform(size=2000) < 0.2
    noise = rng.normal(size=(2000, 5))
    nothing = read_bit(noise, bit)
    assert nothing.low < 0.5 < nothing.high
    noise[:, 3] += 2 * bit
    shown = read_bit(noise, bit)
    # The best guess between two normals two apart is right in 84 % of cases.
    assert shown.low < 0.8413 < shown.high
    assert shown.advantage == pytest.approx(2 * shown.accuracy - 1)
    assert shown.count == pytest.approx(1000, abs=1)


def test_bounds_hold_as_often_as_they_say():
    """The truth is 0.5; bounds of 1e-3 fail in 200 runs with a chance of 0.33 at
    worst once, and three times with one below 0.012."""
    rng = np.random.default_rng(1)
    bit = np.arange(100) < 50
    found = [read_bit(rng.normal(size=(100, 1)), bit, seed=i) for i in range(200)]
    assert sum(not reading.low <= 0.5 <= reading.high for reading in found) < 3


@pytest.mark.parametrize(
    ("features", "bit"),
    [
        (np.zeros((100, 2)), np.arange(100) < 19),
        (np.zeros(100), np.arange(100) < 50),
        (np.full((100, 2), np.nan), np.arange(100) < 50),
        (np.zeros((100, 2)), np.arange(99) < 50),
    ],
)
def test_what_cannot_be_read_is_refused(features, bit):
    with pytest.raises(ValueError, match="20 of either"):
        read_bit(features, bit)

"""Intervals cover what they promise; false alarms are stated."""

import numpy as np
import pytest
from scipy import stats

from tfpriv.audit import intervals


@pytest.mark.parametrize(("hits", "count"), [(0, 7), (7, 7), (3, 10), (0, 0)])
def test_clopper_pearson_against_its_definition(hits, count):
    """At each bound, what was seen or more of it has the stated probability."""
    low, high = intervals.clopper_pearson(hits, count, 0.025)
    assert 0 <= low <= high <= 1
    if hits:
        assert stats.binom.sf(hits - 1, count, low) == pytest.approx(0.025)
    else:
        assert low == 0
    if hits < count:
        assert stats.binom.cdf(hits, count, high) == pytest.approx(0.025)
    else:
        assert high == 1


def test_shares():
    found = intervals.share([True, False, False, False])
    assert (found.value, found.count) == (0.25, 4)
    assert found.low < 0.25 < found.high
    nothing = intervals.share([])
    assert np.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0, 1)


def pictures_of(random, people, each, between=1.0, within=0.3):
    """Values of pictures that vary more between persons than within."""
    person = np.repeat(np.arange(people), each)
    middles = between * random.normal(size=people)
    return middles[person] + within * random.normal(size=len(person)), person


def coverage(seed, grouped):
    """How often the interval holds the truth, 0, in 300 data sets of 40 persons."""
    hits = 0
    for number in range(300):
        random = np.random.default_rng([seed, number])
        values, person = pictures_of(random, 40, 10)
        groups = person if grouped else np.arange(len(person))
        found = intervals.mean_over_persons(values, groups)
        hits += found.low <= 0 <= found.high
    return hits


def test_the_interval_over_persons_covers():
    """Its level is some 94 % here. False alarm below 1e-4: 0.92 gives 258 or more."""
    assert coverage(1, grouped=True) >= stats.binom.ppf(1e-4, 300, 0.92)


@pytest.mark.slow
def test_an_interval_over_pictures_does_not():
    """Planted: grouping that ignores persons."""
    assert coverage(1, grouped=False) < stats.binom.ppf(1e-4, 300, 0.92) - 50


def test_means_are_of_pictures_and_seeded():
    values, person = np.array([1.0, 1.0, 4.0]), np.array([8, 8, 5])
    found = intervals.mean_over_persons(values, person)
    assert found.value == 2
    assert (found.low, found.high, found.count) == (1, 4, 3)
    assert found == intervals.mean_over_persons(values, person)


def test_one_person_has_no_interval_and_nobody_no_mean():
    one = intervals.mean_over_persons([1.0, 3.0], [7, 7])
    assert one.value == 2
    assert np.isnan([one.low, one.high]).all()
    assert np.isnan(intervals.mean_over_persons([], []).value)
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(1,\)"):
        intervals.mean_over_persons([1.0, 3.0], [7])

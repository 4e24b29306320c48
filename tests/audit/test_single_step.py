"""What single steps tell of the noise: intervals that hold the truth, and are narrow.

A false alarm: 1e-6 for each interval of a true claim.
"""

import numpy as np
import pytest
from scipy import stats

from tfpriv.audit import single_step

NOISE = 4.0


def releases(rng, there, noise=NOISE, steps=11, signal=1.0):
    """`(steps, 2, 2000)` noised sums in units of the clip norm."""
    return there * signal + noise * rng.normal(size=(steps, 2, 2000))


def audited(rng, **fault):
    absent, present = releases(rng, 0, **fault), releases(rng, 1, **fault)
    return single_step.audit_single_step(absent, present, NOISE)


def test_true_noise_stands(rng):
    found = audited(rng)
    assert found.releases == 40_000
    assert found.mu.holds
    assert found.noise.holds
    assert found.correlation > 1e-6
    assert found.mu.high - found.mu.low < 0.16
    assert found.noise.high < 1.04 * found.noise.low


@pytest.mark.parametrize("factor", [0.5, 0.95, 1.05, 2.0])
def test_noise_off_its_scale_is_found(rng, factor):
    """Five percent show in the noise itself; half and twice in mu as well."""
    found = audited(rng, noise=factor * NOISE)
    assert not found.noise.holds
    assert found.mu.holds == (abs(factor - 1) < 0.1)


def test_a_contribution_off_its_bound_is_found(rng):
    found = audited(rng, signal=2.0)
    assert found.noise.holds
    assert found.mu.low > found.mu.claimed


def test_no_noise_at_all(rng):
    found = audited(rng, noise=0.0)
    assert found.mu.low > 5
    assert found.noise.high == 0
    assert found.correlation == 0


def test_noise_that_comes_again_is_found(rng):
    absent = releases(rng, 0)
    absent[7] = absent[2]
    again = single_step.audit_single_step(absent, releases(rng, 1), NOISE)
    assert again.correlation < 1e-6
    absent = releases(rng, 0)
    absent[:, 1] = absent[:, 0]
    layers = single_step.audit_single_step(absent, releases(rng, 1), NOISE)
    assert layers.correlation < 1e-6


def test_the_interval_of_mu_covers(rng):
    """500 intervals at a false alarm of 5 %: 60 misses come with a chance of 1e-9."""
    mu, count, misses = 0.8, 2000, 0
    for _ in range(500):
        hits = rng.binomial(count, stats.norm.cdf(mu / 2))
        alarms = rng.binomial(count, stats.norm.cdf(-mu / 2))
        low, high = single_step.mu_interval(hits, alarms, count, 0.05)
        misses += not low <= mu <= high
    assert misses < 60


def test_planted_interval_of_one_rate_only_is_caught(rng):
    """One that takes the false alarms as known misses far more often."""
    mu, count, misses = 0.8, 2000, 0
    for _ in range(500):
        hits = rng.binomial(count, stats.norm.cdf(mu / 2)) / count
        alarms = rng.binomial(count, stats.norm.cdf(-mu / 2)) / count
        spread = np.sqrt(hits * (1 - hits) / count) / stats.norm.pdf(mu / 2)
        found = stats.norm.ppf(hits) - stats.norm.ppf(alarms)
        misses += abs(found - mu) > 1.96 * spread
    assert misses > 60


def test_independent_rows_are_rarely_called_correlated(rng):
    """1000 sets of rows at 5 %: 100 alarms come with a chance below 1e-9."""
    p = [single_step.correlation_p_value(rng.normal(size=(6, 40))) for _ in range(1000)]
    assert 10 < np.sum(np.array(p) < 0.05) < 100

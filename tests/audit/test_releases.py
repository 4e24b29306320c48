"""The auditor of releases: never above the truth, near it, blind to nothing planted.

A false alarm: 1e-3 for each audit of a true claim below.
"""

import math

import numpy as np
import pytest
from scipy import stats

from tfpriv.audit import releases
from tfpriv.audit.releases import audit_releases, scale_interval

COUNT = 40_000


def first_number(outputs):
    return outputs[:, 0]


def laplace(rng, center, scale=1.0, size=2):
    return lambda count: center + rng.laplace(scale=scale, size=(count, size))


def normal(rng, center, size=2):
    return lambda count: center + rng.normal(size=(count, size))


def audit(one, other, test=first_number, delta=0.0, **options):
    return audit_releases(
        one, other, {"test": test}, delta=delta, count=COUNT, **options
    )


def test_equal_releases_are_not_told_apart(rng):
    finding = audit(laplace(rng, 0.0), laplace(rng, 0.0), releases.whole)
    assert finding.epsilon < 0.1
    assert not finding.breaks(0.1)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_laplace_noise_is_found_to_be_worth_its_epsilon(rng, epsilon):
    one, other = laplace(rng, [0.0, 0.0]), laplace(rng, [epsilon, 0.0])
    for test in (first_number, releases.whole):
        assert 0.8 * epsilon < audit(one, other, test).epsilon <= epsilon


def test_delta_is_taken_off(rng):
    """Half of the releases of the one give it away: epsilon is 0 at delta = 1/2."""

    def marked(count):
        return np.where(rng.random((count, 1)) < 0.5, 9.0, rng.normal(size=(count, 1)))

    plain = normal(rng, 0.0, 1)
    assert audit(marked, plain).epsilon > 5
    assert audit(marked, plain, delta=0.5).epsilon == 0
    assert audit(marked, plain, delta=0.4).epsilon > 2


def test_gaussian_noise_stays_below_its_curve(rng):
    """At each delta the analytic Gaussian's epsilon is the truth."""
    one, other = normal(rng, [1.0, 0.0]), normal(rng, [0.0, 0.0])

    def true_epsilon(delta):
        at = np.linspace(0, 8, 8001)
        spent = stats.norm.sf(at - 0.5) - np.exp(at) * stats.norm.sf(at + 0.5)
        return at[np.argmax(spent <= delta)]

    for delta in (1e-4, 1e-2, 0.1):
        finding = audit(one, other, delta=delta)
        assert 0.5 * true_epsilon(delta) < finding.epsilon <= true_epsilon(delta)


def test_either_neighbour_may_be_the_one_that_is_given_away(rng):
    def rarely(count):
        return (rng.random((count, 1)) < 0.01).astype(float)

    def never(count):
        return np.zeros((count, 1))

    for finding in (audit(rarely, never), audit(never, rarely)):
        assert finding.epsilon > 3
        assert finding.counts[1] == 0
    assert audit(rarely, never, delta=0.02).epsilon == 0


def test_a_difference_in_the_last_bit_is_found(rng):
    def released(last):
        def outputs(count):
            values = rng.normal(size=(count, 1))
            bits = values.view(np.uint64)
            return ((bits & ~np.uint64(1)) | np.uint64(last)).view(np.float64)

        return outputs

    assert audit(released(0), released(1), releases.low_bits).epsilon > 5
    assert audit(released(0), released(0), releases.low_bits).epsilon < 0.2
    assert audit(released(0), released(1), releases.whole).epsilon < 0.2


def test_bounds_are_clopper_and_pearsons():
    """Against the definition: the share at which such a count has chance `level`."""
    count, level = 50, 1e-3
    hits, others = np.array([50, 30, 3, 0]), np.array([0, 2, 3, 50])
    found = releases._epsilon(hits, others, count, 0.01, level)
    shares = np.linspace(0, 1, 200_001)
    for hit, other, bound in zip(hits, others, found, strict=True):
        low = shares[np.argmax(stats.binom.sf(hit - 1, count, shares) >= level)]
        high = shares[::-1][
            np.argmax(stats.binom.cdf(other, count, shares[::-1]) >= level)
        ]
        expected = max(math.log(max((low - 0.01) / high, 1e-9)), 0.0)
        assert bound == pytest.approx(expected, abs=2e-3)


def test_configurations_share_the_false_alarm():
    def found(configurations):
        rng = np.random.default_rng(0)  # the same releases for both
        one, other = laplace(rng, 0.0), laplace(rng, 1.0)
        return audit(one, other, configurations=configurations)

    alone, together = found(1), found(1000)
    assert together.comparisons == 1000 * alone.comparisons
    assert together.epsilon < alone.epsilon


def test_a_true_claim_is_rarely_refuted(rng):
    """400 small audits, of claims exactly true, at a false alarm of 5 %.

    20 are expected at the most; 50 or more come with a chance below 1e-7.
    """

    def coin(share):
        return lambda count: (rng.random((count, 1)) < share).astype(float)

    alarms = 0
    for _ in range(400):
        finding = audit_releases(
            coin(0.5),
            coin(0.25),
            {"coin": first_number},
            delta=0.0,
            count=300,
            false_alarm=0.05,
        )
        alarms += finding.breaks(math.log(2))
    assert alarms < 50


def test_thresholds_do_not_see_the_releases_that_count(rng):
    """Planted: one sample used for both would find what is not there."""
    seen = []

    def recorded(count):
        seen.append(count)
        return rng.normal(size=(count, 1))

    audit(recorded, recorded)
    assert sum(seen) == 2 * (COUNT + COUNT // 20)


@pytest.mark.parametrize("kind", ["gaussian", "laplace"])
def test_the_scale_is_known_to_a_percent(rng, kind):
    draw = {"gaussian": rng.normal, "laplace": rng.laplace}[kind]
    low, high = scale_interval(draw(scale=3.0, size=1_000_000), kind)
    assert low < 3.0 < high < 1.01 * low
    for fault in (0.5, 0.8, 0.99):
        low, high = scale_interval(draw(scale=3.0 * fault, size=1_000_000), kind)
        assert high < 3.0


def test_an_unknown_kind_of_noise_is_refused():
    with pytest.raises(ValueError, match=r"Received: kind='uniform'"):
        scale_interval(np.ones(3), "uniform")


def test_a_finding_reads_as_a_sentence(rng):
    found = str(audit(laplace(rng, 0.0), laplace(rng, 2.0)))
    assert found.startswith("epsilon > 1.")
    assert "delta = 0: test " in found
    nothing = audit(normal(rng, 0.0), normal(rng, 0.0), delta=0.5)
    assert "nothing found in 40,000" in str(nothing)

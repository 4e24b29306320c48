"""Bounds from one training: against slow oracles, and never above the truth.

Games with a known answer: randomized response (pure epsilon), Gaussian noise (a whole
curve), and mechanisms that give canaries away with chance delta.
"""

import functools
import math

import numpy as np
import pytest
from scipy import optimize, stats

from tfpriv.audit import one_run
from tfpriv.audit.claims import Claim


def gaussian_delta(mu, epsilon):
    """delta of Gaussian noise, where a unit moves the output by mu of its noise."""
    return stats.norm.cdf(mu / 2 - epsilon / mu) - np.exp(epsilon) * stats.norm.cdf(
        -mu / 2 - epsilon / mu
    )


def gaussian_claim(mu, delta=1e-5):
    epsilons = np.linspace(0, 12, 200)
    epsilon = optimize.brentq(lambda e: gaussian_delta(mu, e) - delta, 0, 60)
    return Claim(epsilon, delta, epsilons, gaussian_delta(mu, epsilons))


def gaussian_game(rng, mu, canaries, guesses):
    included = rng.random(canaries) < 0.5
    scores = mu * included + rng.normal(size=canaries)
    return one_run.judge(scores, included, guesses)


# Epsilon and delta.


def slow_p_value(right, guesses, canaries, epsilon, delta):
    """Theorem 5.2 of Steinke, Nasr and Jagielski, written out."""
    q = math.exp(epsilon) / (1 + math.exp(epsilon))

    def chance(j):
        return math.comb(guesses, j) * q**j * (1 - q) ** (guesses - j)

    beta = sum(chance(j) for j in range(right, guesses + 1))
    alpha = max(
        2 / i * sum(chance(j) for j in range(max(right - i, 0), right))
        for i in range(1, canaries + 1)
    )
    return min(1.0, beta + alpha * canaries * delta)


@pytest.mark.parametrize("delta", [0.0, 1e-4, 1e-2])
@pytest.mark.parametrize("epsilon", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("right", [0, 1, 7, 19, 20])
def test_p_values_against_the_theorem_written_out(right, epsilon, delta):
    expected = slow_p_value(right, 20, 50, epsilon, delta)
    found = one_run.epsilon_p_value(right, 20, 50, epsilon, delta)
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_bound_is_where_the_p_value_is_the_confidence():
    for right in (130, 180, 199, 200):
        bound = one_run.epsilon_bound(right, 200, 5000, 1e-5, 0.95)
        assert one_run.epsilon_p_value(right, 200, 5000, bound, 1e-5) == (
            pytest.approx(0.05)
        )
    assert one_run.epsilon_bound(100, 200, 5000, 1e-5, 0.95) == 0


def test_no_more_can_be_proved_than_the_canaries_allow():
    everything = one_run.epsilon_bound(5000, 5000, 5000, 0.0, 0.95)
    assert everything == pytest.approx(-math.log(0.05 ** (-1 / 5000) - 1))
    assert 7.2 < one_run.epsilon_bound(5000, 5000, 5000, 1e-5, 0.95) < 7.3


def test_randomized_response_is_rarely_refuted_and_nearly_always_almost(rng):
    """2000 games; a false alarm of 5 % each. 150 come with a chance below 1e-6."""
    epsilon, canaries, guesses = 1.5, 400, 100
    keep = 1 / (1 + math.exp(-epsilon))
    bound = functools.cache(
        lambda right: one_run.epsilon_bound(right, guesses, canaries, 0.0, 0.95)
    )
    found = []
    for _ in range(2000):
        included = rng.random(canaries) < 0.5
        told = np.where(rng.random(canaries) < keep, included, ~included)
        run = one_run.judge(told + 1e-3 * rng.random(canaries), included, guesses)
        found.append(bound(run.right))
    alarms = np.sum(np.array(found) > epsilon)
    assert 20 < alarms < 150  # fewer than 20 by a bound that is far too weak
    assert np.median(found) > 0.6 * epsilon


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.01), (0.5, 0.02), (2.0, 0.05)])
def test_canaries_given_away_with_chance_delta(epsilon, delta):
    """Exactly: each canary is told as it is with chance delta, or by a noisy bit."""
    canaries, guesses = 60, 15
    q = 1 / (1 + math.exp(-epsilon))
    told = np.arange(canaries + 1)
    away = stats.binom.pmf(told, canaries, delta)  # guessed first, all right
    for right in range(guesses + 1):
        rest = np.maximum(guesses - told, 0)
        tail = stats.binom.sf(right - np.minimum(told, guesses) - 1, rest, q)
        truth = float(np.sum(away * tail))
        bound = one_run.epsilon_p_value(right, guesses, canaries, epsilon, delta)
        assert truth <= bound * (1 + 1e-9)


def test_planted_bound_without_delta_is_caught():
    """The case above must fail a bound that forgets delta."""
    tail = 1 - stats.binom.cdf(14, 60, 0.3)
    assert tail > one_run.epsilon_p_value(15, 15, 60, 0.0, 0.0)


# A whole claim.


def linear_program(right, guesses, canaries, claim):
    """The largest chance of `right` or more that all inequalities allow."""
    j = np.arange(guesses + 1)
    rows, limits = [], []
    for i in range(right):
        hit = np.where(j > i, j, 0) / canaries
        missed = np.where(j >= i, guesses - j, 0) / canaries
        for e, d in zip(claim.epsilons, claim.deltas, strict=True):
            # missed >= (hit - d) / e^e, and missed >= 1 - d - e^e (1 - hit)
            rows += [hit - math.exp(e) * missed, math.exp(e) * hit - missed]
            limits += [d, math.exp(e) - 1 + d]
    answer = optimize.linprog(
        -(j >= right).astype(float),
        A_ub=np.array(rows),
        b_ub=limits,
        A_eq=np.ones((1, guesses + 1)),
        b_eq=[1.0],
    )
    return -answer.fun


@pytest.mark.parametrize("claim", ["pure", "approximate", "gaussian"])
@pytest.mark.parametrize("right", [4, 8, 10, 12])
def test_claims_against_a_linear_program(claim, right):
    mu_half = np.linspace(0, 4, 6)
    claims = {
        "pure": Claim.of_epsilon(1.0, 0.0),
        "approximate": Claim.of_epsilon(0.7, 0.05),
        "gaussian": Claim(1.0, 0.0, mu_half, gaussian_delta(0.5, mu_half)),
    }
    found = one_run.claim_p_value(right, 12, 30, claims[claim])
    best = linear_program(right, 12, 30, claims[claim])
    assert found == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("mu", [0.5, 1.5])
def test_a_true_claim_is_rarely_refuted(rng, mu):
    """4000 games of Gaussian noise. At no level too many; a false alarm of 1e-6."""
    claim, games = gaussian_claim(mu), 4000
    right = np.array([gaussian_game(rng, mu, 200, 20).right for _ in range(games)])
    for least in range(21):
        allowed = one_run.claim_p_value(least, 20, 200, claim)
        seen = int(np.sum(right >= least))
        assert stats.binom.sf(seen - 1, games, min(allowed, 1.0)) > 1e-6 / 21


def test_claims_are_refuted_where_bounds_are_not(rng):
    """What the curve adds, at half the claimed noise: medians of 15 games."""
    claim = gaussian_claim(0.5)

    def medians(mu):
        runs = [gaussian_game(rng, mu, 5000, 500) for _ in range(15)]
        bounds = [run.epsilon(1e-5) for run in runs]
        return np.median(bounds), np.median([run.p_value(claim) for run in runs])

    bound, p = medians(1.0)
    assert bound < claim.epsilon
    assert p < 0.03
    bound, p = medians(0.5)
    assert bound < claim.epsilon
    assert p > 0.5


def test_what_the_auditor_may_not_see(rng):
    """Guesses are counted as announced, and coins are fair and fresh."""
    given = []

    def training(included):
        given.append(included.copy())
        return included.astype(float)

    run = one_run.audit_one_run(training, canaries=400, guesses=50)
    assert (run.canaries, run.guesses, run.right) == (400, 50, 50)
    assert run.advantage > 0.7  # half are guessed, of which not quite half are in
    one_run.audit_one_run(training, canaries=400, guesses=50)
    assert not np.array_equal(*given)  # alike by chance: 2**-400
    assert 100 < given[0].sum() < 300
    for _ in range(2):
        one_run.audit_one_run(training, canaries=400, guesses=50, seed=5)
    np.testing.assert_array_equal(given[2], given[3])


def test_scores_that_know_nothing_find_nothing(rng):
    run = one_run.audit_one_run(
        lambda included: rng.normal(size=2000), canaries=2000, guesses=100
    )
    assert run.epsilon(1e-5) < 1
    assert abs(run.advantage) < 0.15


def test_wrong_arguments(rng):
    with pytest.raises(ValueError, match="guesses=11, canaries=10"):
        one_run.audit_one_run(lambda who: who, canaries=10, guesses=11)
    with pytest.raises(ValueError, match=r"shape \(2,\), 1 of them"):
        one_run.judge(np.array([1.0, np.nan]), np.array([True, False]), 1)

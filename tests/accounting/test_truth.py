"""Epsilon computed from events, against closed forms and numerical integration."""

import math

import dp_accounting as dpa
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from scipy.stats import binom

from tfpriv.accounting import Ledger, Mechanism
from tfpriv.accounting import mechanisms as m

Relation = dpa.NeighboringRelation
DELTA = 1e-5


@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-8])
@pytest.mark.parametrize(("z", "count"), [(0.7, 1), (2.0, 1), (5.0, 40), (80.0, 2000)])
@pytest.mark.parametrize(
    "make", [m.stream, m.gaussian_release], ids=lambda f: f.__name__
)
def test_gaussians_against_the_analytic_mechanism(oracle, spent, make, z, count, delta):
    exact = oracle.gaussian.epsilon(z / math.sqrt(count), delta)
    ledger = spent(make(z), count)
    assert exact <= ledger.epsilon(delta) <= 1.25 * exact + 0.05
    assert exact - 1e-9 <= ledger.epsilon(delta, "pld") <= exact * 1.001 + 1e-4
    for accountant in ("rdp", "pld"):
        true = oracle.gaussian.delta(z / math.sqrt(count), exact)
        assert ledger.delta(exact, accountant) >= true * (1 - 1e-9)


def test_a_full_poisson_batch_is_a_gaussian(oracle, spent):
    ledger = spent(m.poisson(1.0, 10.0), 5)
    exact = oracle.gaussian.epsilon(10 / math.sqrt(5), DELTA)
    assert ledger.epsilon(DELTA) >= exact
    assert ledger.epsilon(DELTA, "pld") == pytest.approx(exact, rel=1e-3)


def test_occurrences_divide_the_noise(spent):
    assert spent(m.stream(6.0, max_occurrences=3)).epsilon(DELTA) == spent(
        m.stream(2.0)
    ).epsilon(DELTA)


@pytest.mark.parametrize(("q", "z"), [(0.01, 1.0), (0.1, 2.0), (0.5, 1.0), (0.9, 4.0)])
@pytest.mark.parametrize("epsilon", [0.05, 0.5, 1.5])
def test_one_poisson_step_by_quadrature(oracle, spent, q, z, epsilon):
    exact = max(oracle.hockey_stick(*p, epsilon) for p in oracle.poisson_pairs(q, z))
    ledger = spent(m.poisson(q, z))
    assert ledger.delta(epsilon) >= exact - 1e-12
    if exact > 1e-9:  # below, the distribution does not resolve it
        assert exact - 1e-12 <= ledger.delta(epsilon, "pld") <= exact * 1.001 + 1e-9


@pytest.mark.parametrize(
    ("q", "z", "steps"),
    [(0.01, 1.0, 20), (0.1, 2.0, 10), (0.3, 1.5, 8), (0.02, 0.6, 6)],
)
def test_poisson_steps_by_convolution(oracle, spent, q, z, steps):
    low, high = oracle.poisson_epsilon(q, z, steps, DELTA)
    assert high - low < 0.01
    ledger = spent(m.poisson(q, z), steps)
    assert ledger.epsilon(DELTA) >= low
    assert ledger.epsilon(DELTA) <= 2.5 * high + 0.1
    assert low <= ledger.epsilon(DELTA, "pld") <= high + 1e-3


@pytest.mark.parametrize(
    ("n", "b", "z", "steps"), [(10, 9, 2.0, 4), (10, 5, 3.0, 20), (100, 5, 1.0, 10)]
)
def test_fixed_size_is_no_less_than_a_real_pair(oracle, spent, n, b, z, steps):
    low = oracle.fixed_size_epsilon(b / n, z, steps, DELTA)
    assert spent(m.fixed_size(n, b, z), steps).epsilon(DELTA) >= low


@pytest.mark.parametrize("accountant", ["rdp", "pld"])
@pytest.mark.parametrize("steps", [0, 8])
def test_deltas_at_once_are_those_one_by_one(spent, accountant, steps):
    ledger = spent(m.poisson(0.3, 5.0), steps) if steps else Ledger()
    epsilons = [0.0, 0.3, 1.0]
    found = ledger.deltas(epsilons, accountant)
    assert found == [ledger.delta(epsilon, accountant) for epsilon in epsilons]
    assert found == sorted(found, reverse=True)
    with pytest.raises(ValueError, match="epsilon"):
        ledger.deltas([1.0, -1.0], accountant)


def test_planted_sensitivity_of_c_under_replacement_is_caught(oracle, spent):
    naive = Mechanism(
        dpa.SampledWithoutReplacementDpEvent(10, 9, dpa.GaussianDpEvent(2.0)),
        Relation.REPLACE_ONE,
        "planted: noise multiplier not halved",
    )
    assert spent(naive, 4).epsilon(DELTA) < oracle.fixed_size_epsilon(
        0.9, 2.0, 4, DELTA
    )


@pytest.mark.parametrize(
    "undercount",
    [
        pytest.param(lambda q, z, t: (q, z, t - 4), id="steps not counted"),
        pytest.param(lambda q, z, t: (q, 2 * z, t), id="noise halved in the code"),
        pytest.param(lambda q, z, t: (q / 3, z, t), id="rate of another data set"),
    ],
)
def test_planted_undercounts_are_caught(oracle, spent, undercount):
    q, z, steps = 0.3, 1.5, 8
    low, _ = oracle.poisson_epsilon(q, z, steps, DELTA)
    q, z, steps = undercount(q, z, steps)
    assert spent(m.poisson(q, z), steps).epsilon(DELTA, "pld") < low


# The figures in brackets in the project's soundness rules: what the mixed-up event
# claims beside what is true.


def test_fixed_size_figures(spent):
    naive = Mechanism(
        dpa.SampledWithoutReplacementDpEvent(10_000, 100, dpa.GaussianDpEvent(2.0)),
        Relation.REPLACE_ONE,
        "planted",
    )
    assert spent(naive, 1000).epsilon(DELTA) == pytest.approx(1.45, abs=0.005)
    right = spent(m.fixed_size(10_000, 100, 2.0), 1000)
    assert right.epsilon(DELTA) == pytest.approx(3.58, abs=0.005)


def test_gaussian_release_figures(spent, oracle):
    ledger = spent(m.gaussian_release(2.0))
    assert ledger.epsilon(DELTA) == pytest.approx(2.17, abs=0.005)
    doubled = PLDAccountant(Relation.REPLACE_ONE).compose(dpa.GaussianDpEvent(2.0))
    assert doubled.get_epsilon(DELTA) == pytest.approx(4.38, abs=0.005)
    exact = oracle.gaussian.epsilon(2.0, DELTA)
    assert ledger.epsilon(DELTA, "pld") == pytest.approx(exact, abs=1e-4)


def test_truncated_batches_are_not_poisson_batches(spent):
    claimed = spent(m.poisson(0.1, 2.0)).epsilon(DELTA, "pld")
    truncated = dpa.TruncatedSubsampledGaussianDpEvent(
        dataset_size=1000,
        sampling_probability=0.1,
        truncated_batch_size=120,
        noise_multiplier=2.0,
    )
    true = PLDAccountant().compose(truncated).get_epsilon(DELTA)
    assert claimed == pytest.approx(0.37, abs=0.005)
    assert true == pytest.approx(0.89, abs=0.005)
    with pytest.raises(ValueError, match="does not know this event"):
        Mechanism(truncated, Relation.ADD_OR_REMOVE_ONE, "truncated")


def test_sampling_pictures_does_not_protect_persons(spent):
    claimed = spent(m.poisson(0.01, 1.0), 1000).epsilon(DELTA)
    assert claimed == pytest.approx(2.1, abs=0.01)
    drawn = np.arange(11.0)
    ten_pictures = dpa.dp_event.MixtureOfGaussiansDpEvent(
        1.0, tuple(drawn), tuple(binom.pmf(drawn, 10, 0.01))
    )
    accountant = PLDAccountant(value_discretization_interval=1e-2)
    true = accountant.compose(ten_pictures, 1000).get_epsilon(DELTA)
    assert true > 10 * claimed


def test_randomized_responses_are_counted(spent):
    """dp-accounting's own PLD accountant counts a repeated one once."""
    response = m.pure(0.5)
    theirs = PLDAccountant(Relation.REPLACE_ONE).compose(response.event, 20)
    ours = spent(response, 20).epsilon(DELTA, "pld")
    assert theirs.get_epsilon(DELTA) < 0.51
    assert ours > 4
    # Exactly, by the binomial distribution of the number of wrong answers.
    wrong = 1 / (1 + math.exp(0.5))
    k = np.arange(21)
    loss = 0.5 * (20 - 2 * k)
    masses = binom.pmf(k, 20, wrong)
    delta = np.sum(np.maximum(0, -np.expm1(ours - loss)) * masses)
    assert (
        delta
        <= DELTA
        <= 1.1 * np.sum(np.maximum(0, -np.expm1(ours - 0.02 - loss)) * masses)
    )


def test_mixed_rows_of_one_relation_compose(oracle):
    ledger = Ledger()
    for mechanism in (
        m.gaussian_release(2.0),
        m.pure(0.3),
        m.approximate(0.2, 1e-7, Relation.REPLACE_ONE),
    ):
        ledger.record(mechanism, unit="person", purpose="release")
    gaussian = oracle.gaussian.epsilon(2.0, DELTA)
    for accountant in ("rdp", "pld"):
        assert gaussian < ledger.epsilon(DELTA, accountant)
    assert ledger.epsilon(DELTA, "pld") <= gaussian + 0.5 + 0.02
    assert ledger.epsilon(DELTA) <= 2.17 + 0.5 + 0.02

"""Bounds on a membership attack, against attacks whose rates are known exactly."""

import itertools
import json

import numpy as np
import pytest
from scipy.stats import norm

from tfpriv.accounting import Ledger, epsilon, mechanisms
from tfpriv.accounting.statement import FALSE_POSITIVE_RATES

RATES = (0.5, 0.1, *FALSE_POSITIVE_RATES)


def steps_of(mechanism, count=1):
    return [(mechanism.event, count)]


@pytest.mark.parametrize("noise_multiplier", [0.5, 1.0, 3.0, 20.0])
def test_gaussian_is_bounded_by_its_exact_curve(noise_multiplier):
    """Neyman and Pearson: the best test of N(0, z^2) against N(1, z^2)."""
    steps = steps_of(mechanisms.stream(noise_multiplier))
    exact = norm.cdf(norm.ppf(RATES) + 1 / noise_multiplier)
    tight = np.array(epsilon.true_positive_rates(steps, RATES, "pld"))
    loose = np.array(epsilon.true_positive_rates(steps, RATES, "rdp"))
    assert (exact <= tight + 1e-9).all()
    assert (tight <= 1.05 * exact).all()
    assert (tight <= loose + 1e-9).all()


def test_composition_of_sampled_steps_is_bounded_by_an_attack():
    """The likelihood ratio of 200,000 runs of 20 steps; 5 standard errors."""
    q, z, count, n = 0.1, 1.0, 20, 200_000
    rng = np.random.default_rng(0)
    noise = rng.normal(0, z, (2, n, count))
    drawn = rng.random((n, count)) < q
    out, member = noise[0], noise[1] + drawn

    def score(values):
        return np.log1p(q * np.expm1((values - 0.5) / z**2)).sum(axis=1)

    steps = steps_of(mechanisms.poisson(q, z), count)
    bounds = epsilon.true_positive_rates(steps, RATES, "pld")
    for rate, bound in zip(RATES, bounds, strict=True):
        cut = np.quantile(score(out), 1 - rate)
        seen = (score(member) > cut).mean()
        error = 5 * np.sqrt(seen * (1 - seen) / n + rate / n)
        assert seen <= bound + error


def test_planted_fault_half_the_deltas_is_caught(monkeypatch):
    steps = steps_of(mechanisms.stream(1.0))
    honest = epsilon.deltas

    def halved(*args):
        return [epsilon.Bound(b.value / 2, b.accountant) for b in honest(*args)]

    monkeypatch.setattr(epsilon, "deltas", halved)
    found = epsilon.true_positive_rates(steps, RATES, "pld")
    exact = norm.cdf(norm.ppf(RATES) + 1.0)
    assert (exact > np.array(found)).any()


def test_rates_grow_with_steps_and_never_exceed_one():
    step = mechanisms.poisson(0.02, 0.7)
    found = [
        epsilon.true_positive_rates(steps_of(step, count), [0.01])[0]
        for count in (1, 100, 10_000, 1_000_000)
    ]
    assert all(a <= b for a, b in itertools.pairwise(found))
    assert found[-1] == 1.0


def test_a_release_that_is_not_private_has_no_bound():
    steps = steps_of(mechanisms.non_private("all of it"))
    assert epsilon.true_positive_rates(steps, [0.01]) == [1.0]


def test_statement_gives_the_rates():
    ledger = Ledger()
    ledger.record(mechanisms.stream(1.0), unit="image", purpose="training")
    text = " ".join(ledger.statement(1e-5, accountant="pld").split())
    assert "finds at most 9.3 % of the members at a false-positive rate of 1 %" in text
    said = json.loads(ledger.statement(1e-5, "json", "pld"))
    exact = norm.cdf(norm.ppf(0.01) + 1.0)
    assert exact <= said["true_positive_rates"]["0.01"] < 1.02 * exact
    ledger.record(mechanisms.non_private("x"), unit="image", purpose="y")
    assert json.loads(ledger.statement(1e-5, "json"))["true_positive_rates"] == {}
    assert "membership attack" not in ledger.statement(1e-5)

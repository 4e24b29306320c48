"""What a ledger rules out: its epsilon, and the curve behind it."""

import math

import numpy as np
import pytest
from scipy import stats

from tfpriv.accounting import Ledger, mechanisms
from tfpriv.audit.claims import Claim


def ledger_of(mechanism, count=1):
    ledger = Ledger()
    ledger.record(mechanism, unit="example", purpose="training", count=count)
    return ledger


def test_a_gaussian_ledger_claims_the_gaussian_curve():
    """Of unsampled noise the least chance is known: Phi(Phi^-1(chance) - mu)."""
    claim = Claim.of(ledger_of(mechanisms.stream(2.0), 4), 1e-5)
    for chance in (1e-3, 0.02, 0.3, 0.5, 0.9, 0.999):
        truth = stats.norm.cdf(stats.norm.ppf(chance) - 1.0)
        assert truth * 0.97 - 1e-6 <= claim.least(chance) <= truth * (1 + 1e-3)
    assert claim.epsilon == pytest.approx(4.38, abs=0.01)


def test_deltas_are_the_ledgers_own():
    ledger = ledger_of(mechanisms.poisson(0.25, 4.0), 20)
    claim = Claim.of(ledger, 1e-5)
    for number in (0, 20, 40):
        epsilon = claim.epsilons[number]
        assert claim.deltas[number] == pytest.approx(ledger.delta(epsilon, "pld"))
    assert claim.epsilon == ledger.epsilon(1e-5, "pld")


def test_fixed_size_batches_are_claimed_by_rdp():
    ledger = ledger_of(mechanisms.fixed_size(1000, 10, 2.0), 50)
    claim = Claim.of(ledger, 1e-5, "rdp")
    assert claim.epsilon == ledger.epsilon(1e-5)
    assert claim.least(0.5) > 0
    with pytest.raises(ValueError, match="fixed-size"):
        Claim.of(ledger, 1e-5)


def test_the_least_chance_is_convex_and_rises():
    claim = Claim.of(ledger_of(mechanisms.poisson(0.25, 4.0), 20), 1e-5)
    at = np.linspace(0, 1, 201)
    least = np.array([claim.least(chance) for chance in at])
    assert least[0] == 0
    assert least[-1] == pytest.approx(1 - claim.deltas[-1], abs=1e-3)
    assert (np.diff(least) >= -1e-12).all()
    assert (np.diff(least, 2) >= -1e-12).all()
    assert (least <= at + 1e-12).all()


def test_pure_epsilon():
    claim = Claim.of_epsilon(1.0, 0.0)
    assert claim.least(0.3) == pytest.approx(0.3 / math.e)
    assert claim.least(0.9) == pytest.approx(1 - 0.1 * math.e)


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.0), (1.0, 1e-5), (3.0, 0.1)])
def test_the_ceiling_of_an_advantage(epsilon, delta):
    grown = math.exp(epsilon)
    expected = (grown - 1 + 2 * delta) / (grown + 1)
    assert Claim.of_epsilon(epsilon, delta).advantage == pytest.approx(expected)


def test_no_claim_is_not_audited():
    with pytest.raises(ValueError, match="epsilon is infinite"):
        Claim.of(ledger_of(mechanisms.non_private("why not")), 1e-5)

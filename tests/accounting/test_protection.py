"""Ledgers in plain words: whose, how strongly, against whom, and what not."""

import math
import re

import pytest
from reading import Reading

from tfpriv.accounting import Ledger, mechanisms, protection
from tfpriv.support.report import html, without_epsilon

POISSON = mechanisms.poisson(0.01, 1.1, population=60_000, notes=("n is public",))
RELEASE = mechanisms.gaussian_release(5.0)


def spent(mechanism, count=1, unit="person", purpose="training"):
    ledger = Ledger()
    ledger.record(mechanism, unit=unit, purpose=purpose, count=count)
    return ledger


def words(section):
    found = Reading(html("t", [section]))
    assert not found.faults
    return found.words


def test_every_part_of_the_claim_is_named():
    said = words(protection.of_weights(spent(POISSON, 1000), 1e-5))
    for part in (
        "each person",
        "data sets that differ by one person added or taken away",
        "ADD_OR_REMOVE_ONE",
        "at delta = 1e-05",
        "rdp: Renyi divergences",
        "knows every other person",
        "training: 1000 x Gaussian noise, 1.1 of the sensitivity",
        "training loss, metrics, gradient norms",
        "a person that is in the data twice",
        "assumed: n is public",
        "Differential privacy for each person",  # the ledger's own statement
    ):
        assert part in said


@pytest.mark.parametrize("accountant", ["rdp", "pld"])
@pytest.mark.parametrize("mechanism", [POISSON, RELEASE])
def test_figures_are_never_below_the_truth(mechanism, accountant):
    ledger = spent(mechanism, 7)
    said = words(protection.of_weights(ledger, 1e-5, accountant=accountant))
    epsilon = ledger.epsilon(1e-5, accountant)
    assert (
        epsilon <= float(re.search(r"epsilon = (\S+) at", said)[1]) <= 1.001 * epsilon
    )
    assert math.exp(epsilon) <= float(re.search(r"than (\S+) times", said)[1])
    share = 100 * (1 - (1 - 1e-5) / (1 + math.exp(epsilon)))
    assert share <= float(re.search(r"at most (\S+) %", said)[1]) <= share + 0.1 + 1e-9
    assert f"{accountant}:" in said


def test_what_rests_on_sampling_is_said_and_only_where_it_does():
    rests = "rests on the batches being secret"
    assert rests in words(protection.of_weights(spent(POISSON), 1e-5))
    assert rests not in words(protection.of_weights(spent(RELEASE), 1e-5))


def test_no_privacy_claims_nothing():
    ledger = spent(mechanisms.non_private("trained without differential privacy"))
    said = words(protection.of_weights(ledger, 1e-5))
    assert "No differential privacy for any person." in said
    assert "Protected is nothing" in said
    assert "Against whom nobody" in said
    assert "epsilon = infinity" in said
    assert "trained without differential privacy" in said
    assert "times as likely" not in said


def test_an_empty_ledger_claims_nothing():
    said = words(protection.of_weights(Ledger(), 1e-5))
    assert "nothing private was used" in said
    assert "times as likely" not in said


def test_marks_and_cautions_are_said():
    ledger = spent(POISSON)
    ledger.mark_not_for_release("noise comes from a seed")
    said = words(protection.of_weights(ledger, 0.1))
    assert "Not for release: noise comes from a seed." in said
    assert "Protected is each person" in said  # epsilon is 0, delta is not
    assert "Mind: delta=0.1 is not below 1/n" in said


def test_hostile_units_and_purposes():
    ledger = spent(POISSON, unit="<script>x</script>", purpose='"><b>')
    assert "<script>x</script>" in words(protection.of_weights(ledger, 1e-5))


def test_braces_of_a_unit_are_its_own():
    assert "each {0}" in words(protection.of_weights(spent(POISSON, unit="{0}"), 1e-5))


def test_without_epsilon_says_so():
    said = words(
        without_epsilon("A key.", against="Who has no key.", leaves=["colours"])
    )
    for part in ("no unit", "relation", "delta", "accountant", "infinite", "colours"):
        assert part in said

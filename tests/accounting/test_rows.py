"""Each mechanism hands out the event and relation that are true for it, no others."""

import math

import dp_accounting as dpa
import numpy as np
import pytest

from tfpriv.accounting import Mechanism
from tfpriv.accounting import mechanisms as m

Relation = dpa.NeighboringRelation
GAUSSIAN = dpa.GaussianDpEvent


@pytest.mark.parametrize(
    ("mechanism", "event", "relation"),
    [
        (
            m.poisson(0.02, 1.5),
            dpa.PoissonSampledDpEvent(0.02, GAUSSIAN(1.5)),
            Relation.ADD_OR_REMOVE_ONE,
        ),
        (
            m.fixed_size(500, 10, 1.5),
            dpa.SampledWithoutReplacementDpEvent(500, 10, GAUSSIAN(0.75)),
            Relation.REPLACE_ONE,
        ),
        (m.stream(1.5), GAUSSIAN(1.5), Relation.REPLACE_SPECIAL),
        (m.stream(1.5, max_occurrences=3), GAUSSIAN(0.5), Relation.REPLACE_SPECIAL),
        (
            m.stream(1.5, max_occurrences=None),
            dpa.NonPrivateDpEvent(),
            Relation.REPLACE_SPECIAL,
        ),
        (m.gaussian_release(1.5), GAUSSIAN(1.5), Relation.REPLACE_ONE),
        (
            m.adaptive_clipping(lambda z: m.poisson(0.1, z), 4.0, 1.5),
            dpa.PoissonSampledDpEvent(0.1, GAUSSIAN(1 / math.hypot(1 / 4, 1 / 3))),
            Relation.ADD_OR_REMOVE_ONE,
        ),
    ],
)
def test_each_row_of_the_table(mechanism, event, relation):
    assert mechanism.event == event
    assert mechanism.relation is relation


@pytest.mark.parametrize("epsilon", [0.01, 0.5, 3.0])
def test_pure_epsilon_is_a_randomized_response(epsilon):
    event = m.pure(epsilon).event
    assert isinstance(event, dpa.RandomizedResponseDpEvent)
    assert event.num_buckets == 2
    assert event.noise_parameter == pytest.approx(2 / (1 + math.exp(epsilon)))
    assert event.noise_parameter <= 2 / (1 + math.exp(epsilon)) * (1 + 1e-15)


def test_clipped_counts_without_noise_are_not_private():
    assert not m.adaptive_clipping(m.stream, 4.0, 0.0).is_private


@pytest.mark.parametrize(
    "mechanism",
    [
        m.poisson(0.1, 0),
        m.fixed_size(10, 5, 0),
        m.fixed_size(10, 5, 5e-324),
        m.stream(0),
        m.stream(5e-324, max_occurrences=9),
        m.gaussian_release(0),
        m.pure(1e9),
        m.non_private("vocabulary learned from private captions"),
    ],
)
def test_no_noise_is_no_privacy(spent, mechanism):
    for accountant in ("rdp", "pld"):
        assert spent(mechanism).epsilon(1e-5, accountant) == math.inf
        assert spent(mechanism).delta(1.0, accountant) == 1


def test_fixed_size_has_no_loss_distribution(spent):
    ledger = spent(m.fixed_size(1000, 10, 1.0))
    with pytest.raises(ValueError, match="accountant='rdp', or Poisson"):
        ledger.epsilon(1e-5, "pld")
    with pytest.raises(ValueError, match="accountant='rdp', or Poisson"):
        ledger.delta(1.0, "pld")


@pytest.mark.parametrize(
    ("event", "relation", "fix"),
    [
        (dpa.PoissonSampledDpEvent(0.1, GAUSSIAN(1.0)), "REPLACE_ONE", "fixed_size"),
        (dpa.PoissonSampledDpEvent(0.1, GAUSSIAN(1.0)), "REPLACE_SPECIAL", "Expected"),
        (
            dpa.SampledWithoutReplacementDpEvent(9, 3, GAUSSIAN(1.0)),
            "ADD_OR_REMOVE_ONE",
            "poisson",
        ),
        (
            dpa.SampledWithoutReplacementDpEvent(9, 3, GAUSSIAN(1.0)),
            "REPLACE_SPECIAL",
            "poisson",
        ),
        (GAUSSIAN(1.0), "ADD_OR_REMOVE_ONE", "sampling probability of 1"),
        (dpa.RandomizedResponseDpEvent(0.5, 2), "ADD_OR_REMOVE_ONE", "approximate"),
        (dpa.RandomizedResponseDpEvent(0.5, 2), "REPLACE_SPECIAL", "approximate"),
        (dpa.RandomizedResponseDpEvent(0.5, 3), "REPLACE_ONE", "2 buckets"),
        (dpa.LaplaceDpEvent(1.0), "REPLACE_ONE", "does not know"),
        (dpa.NoOpDpEvent(), "REPLACE_ONE", "does not know"),
        (dpa.UnsupportedDpEvent(), "REPLACE_ONE", "does not know"),
        (dpa.ComposedDpEvent([GAUSSIAN(1.0)]), "REPLACE_ONE", "does not know"),
        (
            dpa.PoissonSampledDpEvent(0.1, dpa.LaplaceDpEvent(1.0)),
            "ADD_OR_REMOVE_ONE",
            "Only a Gaussian",
        ),
        (GAUSSIAN(-1.0), "REPLACE_ONE", "out of range"),
        (GAUSSIAN(math.nan), "REPLACE_ONE", "out of range"),
    ],
)
def test_unsupported_combinations_name_the_fix(event, relation, fix):
    with pytest.raises(ValueError, match=fix):
        Mechanism(event, Relation[relation], "by hand")


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (m.poisson, (-0.1, 1.0)),
        (m.poisson, (1.1, 1.0)),
        (m.poisson, (math.nan, 1.0)),
        (m.poisson, (0.1, math.nan)),
        (m.poisson, (0.1, math.inf)),
        (m.poisson, (0.1, -1.0)),
        (m.poisson, (0.1, 10**400)),
        (m.poisson, (True, 1.0)),
        (m.poisson, ("0.1", 1.0)),
        (m.fixed_size, (10, 11, 1.0)),
        (m.fixed_size, (10, 0, 1.0)),
        (m.fixed_size, (10.0, 5, 1.0)),
        (m.fixed_size, (10, 5, -1.0)),
        (m.stream, (None,)),
        (m.gaussian_release, (-1.0,)),
        (m.pure, (-1e-9,)),
        (m.pure, (math.nan,)),
        (m.approximate, (1.0, 1.0, Relation.REPLACE_ONE)),
        (m.approximate, (1.0, -1e-9, Relation.REPLACE_ONE)),
        (m.approximate, (1.0, 1e-9, "REPLACE_ONE")),
        (m.adaptive_clipping, (m.stream, 1.0, -1.0)),
        (m.non_private, ("",)),
    ],
)
def test_arguments_are_checked_in_kerass_manner(make, arguments):
    with pytest.raises(ValueError, match="Received: "):
        make(*arguments)


def test_occurrences_are_checked():
    with pytest.raises(ValueError, match="max_occurrences=0"):
        m.stream(1.0, max_occurrences=0)


def test_numbers_of_numpy_are_numbers():
    mechanism = m.fixed_size(np.int64(100), np.int32(10), np.float32(2))
    assert mechanism == m.fixed_size(100, 10, 2.0)
    assert m.poisson(np.float64(0.5), 1) == m.poisson(0.5, 1.0)


@pytest.mark.parametrize("delta", [-1e-9, 1.0, 2, math.nan, math.inf, "1e-5", None])
def test_delta_is_checked(spent, delta):
    with pytest.raises(ValueError, match="delta"):
        spent(m.stream(1.0)).epsilon(delta)


def test_accountant_is_checked(spent):
    with pytest.raises(ValueError, match="accountant='gdp'"):
        spent(m.stream(1.0)).epsilon(1e-5, "gdp")

"""Epsilon is a bound or infinity, whatever the parameters; and it is monotone."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv.accounting import Ledger
from tfpriv.accounting import mechanisms as m

# Deltas are drawn from everywhere, above 1/n too.
pytestmark = pytest.mark.filterwarnings("ignore:.*(1/n|RDP bound)")

few = settings(max_examples=40, deadline=None)
fewer = settings(max_examples=12, deadline=None)

probabilities = st.sampled_from(
    [0.0, 5e-324, 1e-300, 1e-16, 1e-6, 0.999999, 1 - 2**-53, 1.0]
) | st.floats(0, 1)
noises = st.sampled_from(
    [0.0, 5e-324, 1e-300, 1e-7, 1e-3, 0.05, 99.0, 1e4, 1e9, 1e160, 1e308]
) | st.floats(0, 100)
deltas = st.sampled_from([0.0, 5e-324, 1e-300, 1e-20, 1e-9, 1 - 2**-53]) | st.floats(
    0, 1, exclude_max=True
)
counts = st.sampled_from([1, 2, 1000, 10**6, 10**12]) | st.integers(1, 10**4)
targets = st.sampled_from([0.0, 1e-300, 1e-3, 1e3, 1e300]) | st.floats(0, 20)


@st.composite
def fixed_sizes(draw):
    n = draw(st.integers(1, 10**6))
    return m.fixed_size(n, draw(st.integers(1, n)), draw(noises))


poissons = st.builds(m.poisson, probabilities, noises)
streams = st.builds(m.stream, noises, max_occurrences=st.integers(1, 9) | st.none())
releases = st.builds(m.gaussian_release, noises) | st.builds(
    m.pure, st.sampled_from([0.0, 1e-300, 1e-9, 699.0, 1e300]) | st.floats(0, 50)
)
stated = st.builds(
    m.approximate,
    st.sampled_from([0.0, 1e-300, 1e300]) | st.floats(0, 50),
    deltas,
    st.sampled_from(list(m.Relation)),
)
any_mechanism = poissons | fixed_sizes() | streams | releases | stated
by_pld = poissons | streams | releases | stated


def ledger_of(*uses):
    ledger = Ledger()
    for mechanism, count in uses:
        ledger.record(mechanism, unit="example", purpose="test", count=count)
    return ledger


@few
@given(any_mechanism, counts, deltas, targets)
def test_rdp_never_crashes(mechanism, count, delta, target):
    ledger = ledger_of((mechanism, count))
    assert ledger.epsilon(delta) >= 0
    assert 0 <= ledger.delta(target) <= 1
    assert Ledger.from_bytes(ledger.to_bytes()) == ledger
    assert ledger.statement(delta)
    assert ledger.statement(delta, format="json")


@fewer
@given(by_pld, counts, deltas, targets)
def test_pld_never_crashes_and_is_never_worse(mechanism, count, delta, target):
    ledger = ledger_of((mechanism, count))
    assert 0 <= ledger.epsilon(delta, "pld") <= ledger.epsilon(delta)
    assert 0 <= ledger.delta(target, "pld") <= ledger.delta(target)


@few
@given(any_mechanism, counts, counts, deltas)
def test_more_steps_cost_more(mechanism, count, more, delta):
    fewer_steps = ledger_of((mechanism, count)).epsilon(delta)
    assert fewer_steps <= ledger_of((mechanism, count + more)).epsilon(delta)


@few
@given(
    st.sampled_from(
        [
            lambda z: m.poisson(0.01, z),
            lambda z: m.poisson(0.7, z),
            lambda z: m.fixed_size(1000, 30, z),
            m.stream,
        ]
    ),
    noises,
    noises,
    counts,
    deltas,
)
def test_more_noise_costs_less(make, some, other, count, delta):
    little, much = sorted([some, other])
    # Sums of logarithms are only monotone up to their rounding errors.
    slack = 1e-9
    less = ledger_of((make(much), count)).epsilon(delta)
    assert less <= ledger_of((make(little), count)).epsilon(delta) * (1 + slack) + slack


@few
@given(poissons, counts, deltas, deltas)
def test_a_smaller_delta_costs_more(mechanism, count, some, other):
    ledger = ledger_of((mechanism, count))
    assert ledger.epsilon(max(some, other)) <= ledger.epsilon(min(some, other))


@fewer
@given(st.floats(1e-3, 1), st.floats(0.3, 30), st.integers(1, 5000))
def test_epsilon_and_delta_agree(q, z, count):
    ledger = ledger_of((m.poisson(q, z), count))
    epsilon = ledger.epsilon(1e-6)
    if 0 < epsilon < 500:
        assert ledger.delta(epsilon) == pytest.approx(1e-6, rel=1e-6)


def test_a_million_steps_cost_no_more_than_one():
    mechanism = m.poisson(0.001, 1.1)
    one_by_one, at_once = Ledger(), Ledger()
    for _ in range(1000):
        one_by_one.record(mechanism, unit="image", purpose="training", count=1000)
    at_once.record(mechanism, unit="image", purpose="training", count=10**6)
    assert one_by_one == at_once
    assert len(one_by_one.entries) == 1
    assert len(one_by_one.to_bytes()) < 1000
    assert one_by_one.epsilon(1e-6) == at_once.epsilon(1e-6)


def test_corners():
    for delta in (0.0, 1e-300, 1e-5):
        assert ledger_of((m.poisson(0.5, 0.0), 1)).epsilon(delta) == math.inf
        assert ledger_of((m.poisson(0.0, 1.0), 7)).epsilon(delta) == 0
        assert (
            ledger_of((m.stream(5.0, max_occurrences=None), 1)).epsilon(delta)
            == math.inf
        )
        assert Ledger().epsilon(delta) == 0
        assert ledger_of((m.pure(0.5), 3)).epsilon(delta) <= 1.5 + 1e-12
    assert ledger_of((m.poisson(0.5, 1.0), 1)).epsilon(0.0) == math.inf
    assert ledger_of((m.poisson(0.01, 1.0), 1)).epsilon(1e-300) < math.inf
    assert ledger_of((m.stream(1e6), 1)).epsilon(1e-5) < 1e-5


@pytest.mark.parametrize("epsilon", [1e-12, 1e-6, 0.3, 5.0, 30.0, 699.0])
def test_pure_epsilon_is_kept_to_the_last_digits(epsilon):
    alone = ledger_of((m.pure(epsilon), 1)).epsilon(0.0)
    assert epsilon <= alone <= epsilon * (1 + 1e-12) + 1e-15


def test_a_stated_delta_is_taken_off_the_target_first():
    relation = m.Relation.REPLACE_ONE
    ledger = ledger_of((m.approximate(0.5, 1e-6, relation), 4))
    for accountant in ("rdp", "pld"):
        assert ledger.epsilon(3.9e-6, accountant) == math.inf
        assert ledger.epsilon(1e-5, accountant) <= 2 + 1e-3
    ledger.record(m.gaussian_release(5.0), unit="example", purpose="test")
    assert ledger.epsilon(4e-6) == math.inf
    assert ledger.epsilon(4.1e-6) < math.inf


@pytest.mark.parametrize(
    ("mechanism", "count", "delta"),
    [
        (m.poisson(0.01, 1.0), 1000, 1e-13),  # within the rounding errors
        (m.poisson(0.5, 0.01), 10, 1e-5),  # losses too large to tabulate
        (m.poisson(1e-4, 1.0), 2**50, 1e-5),
    ],
)
def test_pld_says_when_it_cannot_tell(mechanism, count, delta):
    ledger = ledger_of((mechanism, count))
    with pytest.warns(UserWarning, match="RDP bound is given instead"):
        assert ledger.epsilon(delta, "pld") == ledger.epsilon(delta)
    assert "RDP bound is given instead" in " ".join(
        ledger.statement(delta, accountant="pld").split()
    )

"""The noise that a budget needs: enough, and hardly more."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv.accounting import Ledger, LedgerError, calibrate_noise
from tfpriv.accounting import mechanisms as m


def spent(mechanism, steps, before=None):
    ledger = before.copy() if before else Ledger()
    ledger.record(mechanism, unit="image", purpose="training", count=steps)
    return ledger


ROWS = {
    "poisson": lambda z: m.poisson(0.02, z),
    "fixed": lambda z: m.fixed_size(1000, 20, z),
    "stream": lambda z: m.stream(z, max_occurrences=2),
    "adaptive": lambda z: m.adaptive_clipping(lambda s: m.poisson(0.02, s), z, 5.0),
}


@pytest.mark.parametrize("row", ROWS)
def test_enough_and_hardly_more(row):
    make = ROWS[row]
    noise = calibrate_noise(2.0, 1e-6, mechanism=make, steps=200)
    assert spent(make(noise), 200).epsilon(1e-6) <= 2.0
    assert spent(make(noise * (1 - 1.5e-4)), 200).epsilon(1e-6) > 2.0
    assert noise == float(f"{noise:.5g}")


@settings(max_examples=4, deadline=None)
@given(
    st.floats(0.02, 30),
    st.floats(1e-12, 1e-3),
    st.floats(1e-3, 1),
    st.integers(1, 3000),
)
def test_the_budget_holds(epsilon, delta, q, steps):
    noise = calibrate_noise(
        epsilon, delta, mechanism=lambda z: m.poisson(q, z), steps=steps
    )
    assert spent(m.poisson(q, noise), steps).epsilon(delta) <= epsilon


def test_the_gaussian_mechanism_by_pld(oracle):
    noise = calibrate_noise(1.0, 1e-5, mechanism=m.gaussian_release, accountant="pld")
    assert oracle.gaussian.epsilon(noise, 1e-5) <= 1.0
    assert oracle.gaussian.epsilon(noise * 0.999, 1e-5) > 1.0
    assert noise < calibrate_noise(1.0, 1e-5, mechanism=m.gaussian_release)


def test_fixed_size_has_no_pld():
    with pytest.raises(ValueError, match="Use accountant='rdp'"):
        calibrate_noise(2.0, 1e-6, mechanism=ROWS["fixed"], accountant="pld")


def test_what_was_spent_counts():
    make = ROWS["poisson"]
    before = spent(m.poisson(0.02, 1.5), 300)
    copy = before.copy()
    noise = calibrate_noise(2.0, 1e-6, mechanism=make, steps=200, ledger=before)
    assert before == copy
    assert noise > calibrate_noise(2.0, 1e-6, mechanism=make, steps=200)
    assert spent(make(noise), 200, before).epsilon(1e-6) <= 2.0


def test_a_spent_budget_is_said():
    before = spent(m.poisson(0.02, 1.0), 3000)
    with pytest.raises(ValueError, match=r"already spent.*Received: a ledger with"):
        calibrate_noise(1.0, 1e-6, mechanism=ROWS["poisson"], ledger=before)
    nothing = spent(m.non_private("a vocabulary"), 1)
    with pytest.raises(ValueError, match="epsilon=inf"):
        calibrate_noise(1.0, 1e-6, mechanism=ROWS["poisson"], ledger=nothing)


def test_a_budget_nearly_spent_is_said():
    before = spent(m.poisson(0.02, 1.5), 300)
    epsilon = 1.01 * before.epsilon(1e-6)
    with pytest.warns(UserWarning, match=r"spent .* a noise multiplier of \d+"):
        calibrate_noise(epsilon, 1e-6, mechanism=ROWS["poisson"], ledger=before)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan"), float("inf"), "1"])
def test_budgets_out_of_range(epsilon):
    with pytest.raises(ValueError, match="epsilon"):
        calibrate_noise(epsilon, 1e-6, mechanism=m.stream)


def test_budgets_out_of_reach():
    with pytest.raises(ValueError, match=r"No noise keeps.*a delta above 0"):
        calibrate_noise(1.0, 0.0, mechanism=m.stream)
    with pytest.raises(ValueError, match="No noise keeps"):
        calibrate_noise(1.0, 1e-6, mechanism=lambda z: m.non_private("x"))
    with pytest.raises(ValueError, match="steps=0"):
        calibrate_noise(1.0, 1e-6, mechanism=m.stream, steps=0)


def test_other_relations_do_not_compose():
    before = spent(m.poisson(0.02, 9.0), 1)
    with pytest.raises(LedgerError, match="do not compose"):
        calibrate_noise(3.0, 1e-6, mechanism=m.stream, ledger=before)


def test_large_delta_warns():
    with pytest.warns(UserWarning, match="n=100"):
        calibrate_noise(1.0, 0.1, mechanism=lambda z: m.fixed_size(100, 5, z))

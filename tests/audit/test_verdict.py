"""A verdict objects to what it should, and to nothing else."""

import pytest

from tfpriv.audit.claims import Claim
from tfpriv.audit.one_run import OneRun
from tfpriv.audit.single_step import Interval, SingleStep
from tfpriv.audit.verdict import Audit

CLAIM = Claim.of_epsilon(1.0, 1e-5)
HONEST = OneRun(5000, 200, 130, 0.1)
FOUND_OUT = OneRun(5000, 200, 190, 0.6)


def step(mu=(0.9, 1.1), noise=(0.9, 1.1), correlation=0.5):
    return SingleStep(Interval(1.0, *mu), Interval(1.0, *noise), correlation, 100)


def test_a_claim_that_stands():
    audit = Audit(CLAIM, (HONEST, HONEST), step(), events=3, updates=3)
    assert audit.objections == []
    assert str(audit) == (
        "claimed epsilon 1 at delta 1e-05: at least 0.36 measured (95%, best of 2 "
        "runs); attack advantage 0.100, ceiling 0.4621: the claim stands"
    )
    assert Audit(CLAIM, (HONEST,)).objections == []  # nothing else was looked at


@pytest.mark.parametrize(
    ("fault", "objection"),
    [
        ({"step": step(mu=(1.1, 1.2))}, "mu of a step, 1 in [1.1, 1.2]"),
        ({"step": step(mu=(0.7, 0.9))}, "mu of a step, 1 in [0.7, 0.9]"),
        ({"step": step(noise=(0.4, 0.6))}, "noise of a step, 1 in [0.4, 0.6]"),
        ({"step": step(correlation=1e-7)}, "correlated noise, p = 1e-07"),
        ({"events": 3, "updates": 4}, "ledger, 3 events for 4 updates"),
    ],
)
def test_each_means_objects_by_itself(fault, objection):
    assert Audit(CLAIM, (HONEST,), **fault).objections == [objection]
    assert str(Audit(CLAIM, (HONEST,), **fault)).endswith(f"REFUTED by {objection}")


def test_one_bad_run_among_good_ones():
    pure = Claim.of_epsilon(1.0, 0.0)
    bound, curve = Audit(pure, (HONEST, FOUND_OUT)).objections
    assert bound.startswith("lower bound 2.")
    assert curve.startswith("curve of errors, p = ")


def test_more_runs_share_the_chance_of_a_false_alarm():
    """A bound that is just above the claim in one run is not, as one of a hundred."""
    barely = OneRun(5000, 200, 159, 0.2)
    assert barely.epsilon(1e-5) > 1
    assert Audit(CLAIM, (barely,)).objections
    assert not Audit(CLAIM, (barely, *[HONEST] * 99)).objections

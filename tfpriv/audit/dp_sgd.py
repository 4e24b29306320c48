"""Does tfpriv's own DP-SGD keep what its ledgers claim? Everything that can be asked.

One training on canaries in and out (`one_run`), single steps with and without them
(`single_step`), and a count: as many events in the ledger as updates of the weights.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from tfpriv.accounting import mechanisms
from tfpriv.accounting.calibration import calibrate_noise
from tfpriv.audit import dirac
from tfpriv.audit.claims import Claim
from tfpriv.audit.one_run import CONFIDENCE, audit_one_run
from tfpriv.audit.single_step import SingleStep, audit_single_step
from tfpriv.audit.verdict import Audit

PROBABILITY = 0.25
STEPS = 20
RELEASES = 100_000
GUESSES = 1 / 25  # of the canaries: fixed, whatever a run shows


def plan_for(
    epsilon: float, delta: float = 1e-5, canaries: int = 5000
) -> dirac.AuditPlan:
    """The training that claims an epsilon, by the tight accountant.

    Args:
        epsilon: of the claim, positive.
        delta: of the claim, in (0, 1).
        canaries: at least 50.

    Raises:
        ValueError: if a number is out of range.
    """
    if canaries < 50:
        raise ValueError(f"Expected at least 50 canaries. Received: {canaries}")
    noise = calibrate_noise(
        epsilon,
        delta,
        mechanism=lambda z: mechanisms.poisson(PROBABILITY, z),
        steps=STEPS,
        accountant="pld",
    )
    return dirac.AuditPlan(noise, PROBABILITY, STEPS, canaries, quiet=canaries)


def audit_dp_sgd(
    plan: dirac.AuditPlan,
    *,
    delta: float = 1e-5,
    runs: int = 1,
    confidence: float = CONFIDENCE,
    seed: int | None = None,
    engine: str = "auto",
    releases: int = RELEASES,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Trains by `plan` as often as asked for, and then step by step.

    Args:
        plan: the training; see `plan_for`.
        delta: of the claim.
        runs: trainings, each with coins of its own.
        confidence: of each run's lower bound.
        seed: of the coins; noise and sampling have none.
        engine: of clipping; see `tfpriv.dp.make_private`.
        releases: of a single step, of either neighbour.
        progress: function `(runs done, runs)`.

    Returns:
        What was claimed and found.
    """
    trainings: list[dirac.Observed] = []

    def training(included: np.ndarray) -> np.ndarray:
        trainings.append(dirac.train(plan, included, engine))
        return dirac.scores(trainings[-1])

    guesses = max(1, round(GUESSES * plan.canaries))
    found = []
    for number in range(runs):
        coins = None if seed is None else seed + number
        found.append(
            audit_one_run(training, canaries=plan.canaries, guesses=guesses, seed=coins)
        )
        if progress is not None:
            progress(number + 1, runs)
    step, seen = _single_steps(plan, engine, releases)
    trainings += seen
    return Audit(
        claim=Claim.of(trainings[0].ledger, delta),
        runs=tuple(found),
        step=step,
        events=sum(len(one.ledger) for one in trainings),
        updates=sum(one.applied for one in trainings),
        confidence=confidence,
    )


def _single_steps(
    plan: dirac.AuditPlan, engine: str, releases: int
) -> tuple[SingleStep, list[dirac.Observed]]:
    """Steps with everybody in the batch, and without any canary."""
    steps = 1 + max(2, round(releases / plan.canaries))
    whole = dataclasses.replace(plan, probability=1.0, steps=steps)
    nobody = np.zeros(plan.canaries, bool)
    seen = [dirac.train(whole, who, engine) for who in (nobody, ~nobody)]
    parts = [one.updates.reshape(steps, -1, plan.canaries // 2) for one in seen]
    (entry,) = seen[0].ledger.entries
    noise = entry.mechanism.event.event.noise_multiplier
    return audit_single_step(*parts, noise), seen

"""Does tfpriv's own DP-SGD keep what its ledgers claim? Everything that can be asked.

One training on canaries in and out (`one_run`), single steps with and without them
(`single_step`), and a count: as many events in the ledger as updates of the weights.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from tfpriv.accounting import calibrate_noise, mechanisms
from tfpriv.audit import dirac
from tfpriv.audit.claims import Claim
from tfpriv.audit.one_run import CONFIDENCE, OneRun, audit_one_run
from tfpriv.audit.releases import FALSE_ALARM
from tfpriv.audit.single_step import SingleStep, audit_single_step

PROBABILITY = 0.25
STEPS = 20
RELEASES = 100_000
GUESSES = 1 / 25  # of the canaries: fixed, whatever a run shows


@dataclasses.dataclass(frozen=True)
class Audit:
    """What was claimed, and what was found.

    Attributes:
        claim: what the ledger of the first training claims.
        runs: one or more trainings on canaries.
        step: single steps.
        events: in the ledgers of all these trainings.
        updates: of the weights, in all of them.
        confidence: of each run's lower bound.
    """

    claim: Claim
    runs: tuple[OneRun, ...]
    step: SingleStep
    events: int
    updates: int
    confidence: float = CONFIDENCE

    @property
    def bounds(self) -> list[float]:
        """The lower bound of epsilon that each run gives."""
        return [run.epsilon(self.claim.delta, self.confidence) for run in self.runs]

    @property
    def p_value(self) -> float:
        """How well the whole claim fits the run that it fits worst, for one run."""
        return min(run.p_value(self.claim) for run in self.runs)

    @property
    def advantage(self) -> float:
        """The attack's true-positive less false-positive rate, the mean of the runs."""
        return float(np.mean([run.advantage for run in self.runs]))

    @property
    def objections(self) -> list[str]:
        """What speaks against the claim; nothing if it stands.

        A true claim meets one with a chance of 5 % by the lower bounds, at the default
        confidence, and of 1e-3 by each of the other means, however many runs there are.
        """
        count, step, found = len(self.runs), self.step, []
        strict = 1 - (1 - self.confidence) / count
        lowest = max(run.epsilon(self.claim.delta, strict) for run in self.runs)
        if lowest > self.claim.epsilon:
            found.append(f"lower bound {lowest:.3g} of epsilon")
        if self.p_value * count < FALSE_ALARM:
            found.append(f"curve of errors, p = {self.p_value * count:.1g}")
        if not step.mu.holds:
            found.append(f"mu of a step, {step.mu}")
        if not step.noise.holds:
            found.append(f"noise of a step, {step.noise}")
        if step.correlation < FALSE_ALARM:
            found.append(f"correlated noise, p = {step.correlation:.1g}")
        if self.events != self.updates:
            found.append(f"ledger, {self.events} events for {self.updates} updates")
        return found

    def __str__(self) -> str:
        """The verdict in a line."""
        claim, bounds = self.claim, self.bounds
        runs = "one run" if len(bounds) == 1 else f"best of {len(bounds)} runs"
        against = self.objections
        verdict = f"REFUTED by {'; '.join(against)}" if against else "the claim stands"
        return (
            f"claimed epsilon {claim.epsilon:.4g} at delta {claim.delta:g}: at least "
            f"{max(bounds):.3g} measured ({self.confidence:.0%}, {runs}); attack "
            f"advantage {self.advantage:.3f}, ceiling {claim.advantage:.4f}: {verdict}"
        )


def plan_for(epsilon: float, delta: float = 1e-5, canaries: int = 5000) -> dirac.Plan:
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
    return dirac.Plan(noise, PROBABILITY, STEPS, canaries, quiet=canaries)


def audit_dp_sgd(
    plan: dirac.Plan,
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
    plan: dirac.Plan, engine: str, releases: int
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

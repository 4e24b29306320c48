"""What was claimed of a training, what was found, and whether the claim stands."""

from dataclasses import dataclass

import numpy as np

from tfpriv.audit.claims import Claim
from tfpriv.audit.one_run import CONFIDENCE, OneRun
from tfpriv.audit.single_step import FALSE_ALARM, SingleStep


@dataclass(frozen=True)
class Audit:
    """What was claimed, and what was found.

    Attributes:
        claim: what the ledger of the first training claims.
        runs: one or more trainings on canaries.
        step: single steps; `None` if none were looked at.
        events: in the ledgers of all trainings, where they were counted.
        updates: of the weights, in all of them.
        confidence: of each run's lower bound.
    """

    claim: Claim
    runs: tuple[OneRun, ...]
    step: SingleStep | None = None
    events: int = 0
    updates: int = 0
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
        confidence, and of 1e-6 by each of the other means, however many runs there are.
        """
        count, found = len(self.runs), []
        strict = 1 - (1 - self.confidence) / count
        lowest = max(run.epsilon(self.claim.delta, strict) for run in self.runs)
        if lowest > self.claim.epsilon:
            found.append(f"lower bound {lowest:.3g} of epsilon")
        if self.p_value * count < FALSE_ALARM:
            found.append(f"curve of errors, p = {self.p_value * count:.1g}")
        if self.step is not None:
            found += self.step.objections
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

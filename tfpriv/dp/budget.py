"""A privacy budget, and how many steps it allows."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from tfpriv.accounting import epsilon as bounds
from tfpriv.accounting.errors import LedgerError
from tfpriv.accounting.ledger import Ledger
from tfpriv.accounting.mechanisms import Mechanism
from tfpriv.accounting.statement import rounded_up
from tfpriv.support.warning import warn

MOST_STEPS = 1 << 40


@dataclasses.dataclass(frozen=True)
class Budget:
    """The largest epsilon that training may spend, at some delta.

    In all methods `ledger` is what was spent before, which is not changed, and
    `mechanism` the cost of one step.

    Args:
        epsilon: Positive float.
        delta: Float in (0, 1).
        accountant: `"rdp"` or, tighter, `"pld"`: how epsilon is computed.
    """

    epsilon: float
    delta: float
    accountant: str = "rdp"

    @classmethod
    def of(cls, budget: "Budget | Sequence[Any] | None") -> "Budget | None":
        """The budget that `(epsilon, delta)` or `(epsilon, delta, accountant)` names.

        Raises:
            ValueError: If it is neither these nor a `Budget` nor `None`.
        """
        if budget is None or isinstance(budget, Budget):
            return budget
        epsilon, delta, *accountant = budget
        if len(accountant) > 1 or not set(accountant) <= set(bounds.ACCOUNTANTS):
            raise ValueError(
                "`budget` must be `(epsilon, delta)` or `(epsilon, delta, accountant)` "
                f"with an accountant of {bounds.ACCOUNTANTS}. Received: budget={budget}"
            )
        return cls(float(epsilon), float(delta), *accountant)

    def serialized(self) -> tuple[Any, ...]:
        """`(epsilon, delta)`, with the accountant where it is not `"rdp"`."""
        values = self.epsilon, self.delta, self.accountant
        return values if self.accountant != "rdp" else values[:2]

    def __str__(self) -> str:
        return f"epsilon = {self.epsilon:g} at delta = {self.delta:g}"

    def epsilon_after(self, ledger: Ledger, mechanism: Mechanism, steps: int) -> float:
        """Epsilon after so many further steps."""
        planned = with_steps(ledger, mechanism, steps)
        return bounds.epsilon(planned.steps(), self.delta, self.accountant).value

    def steps_left(self, ledger: Ledger, mechanism: Mechanism) -> int:
        """The largest number of steps, 0 to 2**40, after which the budget holds."""

        def fits(steps: int) -> bool:
            return self.epsilon_after(ledger, mechanism, steps) <= self.epsilon

        if not fits(1):
            return 0
        low, high = 1, 2
        while high < MOST_STEPS and fits(high):
            low, high = high, 2 * high
        while high - low > 1:  # fits(low) holds, fits(high) does not
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def check(self, ledger: Ledger, mechanism: Mechanism) -> None:
        """Raises `LedgerError` if not even one more step fits."""
        if self.epsilon_after(ledger, mechanism, 1) <= self.epsilon:
            return
        alone = self.epsilon_after(Ledger(), mechanism, 1)
        if alone > self.epsilon:
            raise LedgerError(
                f"One such step alone exceeds the budget, {self}. Calibrate the noise "
                "for the batches that are drawn (`for_budget`); `dp.Stream` and "
                "`train_on_batch` need more, and `max_occurrences` declared. Received: "
                f"a step of epsilon={rounded_up(alone)} ({mechanism.sampler})"
            )
        spent = bounds.epsilon(ledger.steps(), self.delta, self.accountant).value
        raise LedgerError(
            "The privacy budget is spent: one more step would exceed it. Expected "
            f"epsilon <= {self.epsilon} at delta={self.delta}; for more, compile with "
            "`for_budget(epsilon=..., ledger=model.privacy.ledger, ...)`. Received: a "
            f"ledger with epsilon={rounded_up(spent)} after {len(ledger)} steps"
        )

    def warn_of_early_stop(
        self,
        ledger: Ledger,
        mechanism: Mechanism,
        left: int,
        planned: int,
        private_metrics: bool = False,
    ) -> bool:
        """Warns if the budget does not allow all steps to come; returns whether.

        Args:
            left: What `steps_left` returned.
            planned: Number of steps to come.
            private_metrics: Whether a private loss is part of each step.
        """
        if left >= planned:
            return False
        advice = "with this data set's size, batch size and epochs"
        if private_metrics:
            advice += ", and with `private_metrics=True`"
        if len(ledger):
            advice += f", and with the ledger of the {len(ledger)} steps done before"
        warn(
            f"The budget, {self}, allows {left} of the {planned} steps to come: "
            "training will stop there. For all of them calibrate the noise by "
            f"`for_budget`, {advice}. A step here is: {mechanism.sampler}."
        )
        return True

    def warn_of_large_delta(self, ledger: Ledger, mechanism: Mechanism) -> None:
        """Warns before the first step of a delta that promises nothing."""
        one_more = with_steps(ledger, mechanism, 1)
        bound = bounds.epsilon(one_more.steps(), self.delta, "rdp")
        for warning in one_more.warnings(self.delta, bound):
            warn(warning)


def with_steps(
    ledger: Ledger, mechanism: Mechanism, steps: int, unit: str | None = None
) -> Ledger:
    """A copy of a ledger with further steps, which are the next ones of its run."""
    planned = ledger.copy()
    planned.begin_run(ledger.run_id)
    if steps:
        unit = unit or ledger.unit or "example"
        planned.record(mechanism, unit=unit, purpose="training step", count=steps)
    return planned

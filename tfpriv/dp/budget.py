"""How many steps a privacy budget still pays for."""

from tfpriv.accounting import LedgerError

MOST_STEPS = 1 << 40


def steps_within_budget(epsilon, delta, *, mechanism, ledger):
    """The largest number of steps after which the budget still holds.

    Args:
        epsilon, delta: The budget.
        mechanism: `Mechanism` of one step.
        ledger: What was spent before; it is not changed.

    Returns:
        Int, 0 if not even one step fits; at most 2**40.
    """

    def fits(steps):
        return _planned(mechanism, ledger, steps).epsilon(delta) <= epsilon

    if not fits(1):
        return 0
    low, high = 1, 2
    while high < MOST_STEPS and fits(high):
        low, high = high, 2 * high
    while high - low > 1:  # fits(low) holds, fits(high) does not
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def refuse_spent_budget(budget, mechanism, ledger):
    """Raises `LedgerError` if not even one more step fits the budget.

    Args:
        budget: `(epsilon, delta)`, or `None` for no limit.
        mechanism: `Mechanism` of one step.
        ledger: What was spent before; it is not changed.
    """
    if budget is None:
        return
    epsilon, delta = budget
    if _planned(mechanism, ledger, 1).epsilon(delta) > epsilon:
        raise LedgerError(
            "The privacy budget is spent: one more step would pass it. Expected "
            f"epsilon <= {epsilon} at delta={delta}. Received: a ledger with "
            f"epsilon={ledger.epsilon(delta):.4g} after {len(ledger)} steps"
        )


def _planned(mechanism, ledger, steps):
    planned = ledger.copy()
    unit = ledger.unit or "example"
    planned.record(mechanism, unit=unit, purpose="plan", count=steps)
    return planned

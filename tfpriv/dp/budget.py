"""How many steps a privacy budget still pays for."""

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
        planned = ledger.copy()
        if steps:
            planned.record(
                mechanism, unit=ledger.unit or "example", purpose="plan", count=steps
            )
        return planned.epsilon(delta) <= epsilon

    if not fits(1):
        return 0
    low, high = 1, 2
    while high < MOST_STEPS and fits(high):
        low, high = high, 2 * high
    while high - low > 1:  # fits(low) holds, fits(high) does not
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low

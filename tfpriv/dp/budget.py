"""How many steps a privacy budget still pays for."""

from tfpriv.accounting import LedgerError
from tfpriv.accounting import epsilon as bounds
from tfpriv.accounting.statement import rounded_up
from tfpriv.warning import warn

MOST_STEPS = 1 << 40
ACCOUNTANTS = ("rdp", "pld")


def checked(budget):
    """A budget as it is kept: `(epsilon, delta)`, or with the accountant's name.

    Raises:
        ValueError: For anything else.
    """
    if budget is None:
        return None
    epsilon, delta, *accountant = budget
    if len(accountant) > 1 or not set(accountant) <= set(ACCOUNTANTS):
        raise ValueError(
            "`budget` must be `(epsilon, delta)` or `(epsilon, delta, accountant)`, "
            f"the accountant one of {ACCOUNTANTS}. Received: budget={budget}"
        )
    return float(epsilon), float(delta), *accountant


def steps_within_budget(epsilon, delta, accountant="rdp", *, mechanism, ledger):
    """The largest number of steps after which the budget still holds.

    Args:
        epsilon, delta: The budget.
        accountant: `"rdp"` or `"pld"`, by whose figure it holds.
        mechanism: `Mechanism` of one step.
        ledger: What was spent before; it is not changed.

    Returns:
        Int, 0 if not even one step fits; at most 2**40.
    """

    def fits(steps):
        return _planned(mechanism, ledger, steps, delta, accountant) <= epsilon

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
        budget: As `checked` returns it; `None` for no limit.
        mechanism: `Mechanism` of one step.
        ledger: What was spent before; it is not changed.
    """
    if budget is None:
        return
    epsilon, delta = budget[:2]
    accountant = accountant_of(budget)
    if _planned(mechanism, ledger, 1, delta, accountant) <= epsilon:
        return
    alone = bounds.epsilon([(mechanism.event, 1)], delta, accountant).value
    if alone > epsilon:
        raise LedgerError(
            f"One such step alone passes the budget, {in_words(budget)}. Calibrate the "
            "noise for the batches that are drawn (`for_budget` with their population "
            "and batch size); those that come (`dp.Stream`, `train_on_batch`) need "
            "more noise, and `max_occurrences` declared. Received: a step of epsilon="
            f"{rounded_up(alone)} ({mechanism.sampler})"
        )
    spent = bounds.epsilon(ledger.steps(), delta, accountant).value
    raise LedgerError(
        "The privacy budget is spent: one more step would pass it. Expected "
        f"epsilon <= {epsilon} at delta={delta}. Received: a ledger with "
        f"epsilon={rounded_up(spent)} after {len(ledger)} steps. To spend more, "
        "compile again with an optimizer of a larger budget, which counts these steps "
        "in: `for_budget(epsilon=..., ledger=model.privacy.ledger, ...)`"
    )


def warn_of_large_delta(optimizer, mechanism, ledger):
    """Warns before the first step of a delta that promises nothing.

    Args:
        optimizer: Whose budget it is. `for_budget` has warned where the data has as
            many units as it was told.
        mechanism: `Mechanism` of one step.
        ledger: What was spent before; it is not changed.
    """
    planned = optimizer.planned_batches
    said = planned is not None and planned[1] == mechanism.population
    if optimizer.budget is None or said:
        return
    delta = optimizer.budget[1]
    one_more = _with(mechanism, ledger, 1)
    bound = bounds.epsilon(one_more.steps(), delta, "rdp")
    for caution in one_more.cautions(delta, bound):
        warn(caution)


def accountant_of(budget):
    """By whose figure a budget is kept; RDP's where there is none."""
    return (*(budget or (0, 0)), "rdp")[2]


def warn_of_early_stop(budget, mechanism, left, planned, ledger, private_metrics=False):
    """Warns before the first step, while a plan that does not fit costs nothing yet.

    Args:
        budget: As `checked` returns it.
        mechanism: `Mechanism` of one step.
        left: How many steps the budget pays for.
        planned: How many are to come.
        ledger: What was spent before.
        private_metrics: Whether a private loss is part of each step.

    Returns:
        Whether it warned.
    """
    if left >= planned:
        return False
    advice = "with this data set's size, batch size and epochs"
    if private_metrics:
        advice += ", and with `private_metrics=True`"
    if len(ledger):
        advice += f", and with the ledger of the {len(ledger)} steps done before"
    warn(
        f"The budget, {in_words(budget)}, pays for {left} of the {planned} steps to "
        "come: training will stop there. For all of them calibrate the noise by "
        f"`for_budget`, {advice}. A step here is: {mechanism.sampler}."
    )
    return True


def in_words(budget):
    """A budget, as `checked` returns it, for people."""
    return f"epsilon = {budget[0]:g} at delta = {budget[1]:g}"


def _planned(mechanism, ledger, steps, delta, accountant):
    """Epsilon after so many steps more."""
    planned = _with(mechanism, ledger, steps)
    return bounds.epsilon(planned.steps(), delta, accountant).value


def _with(mechanism, ledger, steps):
    planned = ledger.copy()
    unit = ledger.unit or "example"
    planned.record(mechanism, unit=unit, purpose="plan", count=steps)
    return planned

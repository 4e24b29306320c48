"""The least noise that keeps to a budget."""

import math
from collections.abc import Callable

from scipy.optimize import brentq

from tfpriv.accounting import epsilon as bounds
from tfpriv.accounting.ledger import Ledger
from tfpriv.accounting.mechanisms import Mechanism
from tfpriv.support import checks
from tfpriv.support.warning import warn

_MOST_NOISE = 1e6
_LEAST_NOISE = 1e-5
_DIGITS = 5
_NEARLY_ALL = 0.9


def steps_per_epoch(population: int, batch_size: float) -> int:
    """How many batches make an epoch: n / batch_size, rounded up.

    Args:
        population: number of units n.
        batch_size: expected number of units in a batch, greater than 0.
    """
    return math.ceil(population / batch_size)


def calibrate_noise(
    epsilon: float,
    delta: float,
    *,
    mechanism: Callable[[float], Mechanism],
    steps: int = 1,
    ledger: Ledger | None = None,
    accountant: str = "rdp",
) -> float:
    """Finds the least noise multiplier with which a budget holds.

    Args:
        epsilon: the budget, greater than 0: the whole epsilon, what `ledger` has
            spent included.
        delta: its delta, in [0, 1).
        mechanism: one step as a function of its noise multiplier, e.g.
            `lambda z: mechanisms.poisson(0.01, z)`.
        steps: number of steps to come.
        ledger: what was spent before; None for nothing.
        accountant: "rdp" or "pld".

    Returns:
        The noise multiplier, rounded up to five significant digits. The epsilon that
        comes of it was computed again and is within the budget.

    Raises:
        LedgerError: if the mechanism does not compose with the ledger.
        ValueError: if an argument is out of range, or no noise is enough.

    Warns:
        UserWarning: if delta is 1/n or more for a data set of n units, or the ledger
            has spent nearly all of the budget.
    """
    epsilon = checks.real("epsilon", epsilon, open_low=True)
    delta = checks.real("delta", delta, high=1.0, open_high=True)
    steps = checks.whole("steps", steps)
    spent = ledger.copy() if ledger is not None else Ledger()
    before = _spent_before(spent, epsilon, delta, accountant)

    def plan(noise: float) -> Ledger:
        planned = spent.copy()
        unit = spent.unit or "example"
        planned.record(mechanism(noise), unit=unit, purpose="planned", count=steps)
        return planned

    bounds.check(accountant, plan(1.0).steps())

    def spend(noise: float, accountant: str) -> float:
        return bounds.epsilon(plan(noise).steps(), delta, accountant).value

    noise = _least(lambda z: spend(z, "rdp"), epsilon, guess=1.0)
    if noise is not None and accountant != "rdp":
        noise = _least(lambda z: spend(z, accountant), epsilon, guess=noise)
    if noise is None:
        raise ValueError(
            f"No noise keeps {steps} steps to this budget: even a noise multiplier of "
            f"{_MOST_NOISE:g} passes it. {_remedy(delta)} Received: "
            f"epsilon={epsilon}, delta={delta}"
        )
    planned = plan(noise)
    bound = bounds.epsilon(planned.steps(), delta, accountant)
    warnings = planned.warnings(delta, bound)
    if before > _NEARLY_ALL * epsilon:
        warnings.append(
            f"The ledger has spent {before:.4g} of epsilon={epsilon:g} already; what "
            f"is left takes a noise multiplier of {noise:g}, with which little can be "
            "learned. Epsilon is that of the whole training: a larger one leaves room."
        )
    for warning in warnings:
        warn(warning)
    return noise


def _remedy(delta: float) -> str:
    if delta == 0:
        return "Gaussian noise needs a delta above 0: take one well below 1/n."
    return "Take fewer steps, or a larger epsilon or delta."


def _spent_before(
    spent: Ledger, epsilon: float, delta: float, accountant: str
) -> float:
    before = bounds.epsilon(spent.steps(), delta, accountant).value
    if before > 0 and before >= epsilon:
        raise ValueError(
            "The budget is already spent. Expected a ledger below "
            f"epsilon={epsilon:g} at delta={delta:g}. "
            f"Received: a ledger with epsilon={before:g}"
        )
    return before


def _least(
    spend: Callable[[float], float], budget: float, guess: float
) -> float | None:
    """The least noise that spends no more than the budget, rounded up.

    Epsilon falls as noise rises, so the answer lies between a noise that is not
    enough and one that is; Brent's method closes in on it from both.

    Args:
        spend: epsilon as a function of the noise.
        budget: the largest epsilon allowed.
        guess: where to start.

    Returns:
        The noise, or None if none is enough.
    """
    high = guess
    while spend(high) > budget:
        high *= 2
        if high > _MOST_NOISE:
            return None
    low = high / 2
    while spend(low) <= budget:
        low, high = low / 2, low
        if low < _LEAST_NOISE:
            break

    def excess(log_noise: float) -> float:
        value = spend(math.exp(log_noise))
        return math.log(min(max(value / budget, 1e-9), 1e9))

    if low >= _LEAST_NOISE:
        high = math.exp(brentq(excess, math.log(low), math.log(high), xtol=1e-6))
    unit = 10.0 ** (math.floor(math.log10(high)) - _DIGITS + 1)
    units = math.ceil(high / unit * (1 - 1e-6))
    while spend(_rounded(units * unit)) > budget:
        units += 1
    return _rounded(units * unit)


def _rounded(noise: float) -> float:
    """Without the tail that a product of floats carries."""
    return float(f"{noise:.{_DIGITS}g}")

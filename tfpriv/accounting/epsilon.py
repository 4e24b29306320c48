"""Epsilon and delta of a list of events: always a valid upper bound, or infinity."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import dp_accounting as dpa
import numpy as np

from tfpriv.accounting import events, mechanisms, pld_bound, rdp_bound
from tfpriv.accounting.events import ApproximateDpEvent, Steps
from tfpriv.support import checks

ACCOUNTANTS = ("rdp", "pld")


@dataclass(frozen=True)
class Bound:
    """An upper bound, and who computed it.

    Args:
        value: the epsilon or the delta.
        accountant: "rdp" or "pld": the one whose figure `value` is.
        fallback: why "pld" was asked for and "rdp" answered; None if it was not so.
    """

    value: float
    accountant: str
    fallback: str | None = None


@dataclass(frozen=True)
class _Split:
    """Events sorted by how they are accounted for."""

    basic: Fraction  # sum of the pure epsilons
    lost: Fraction  # sum of the stated deltas
    pure: list[tuple[dpa.DpEvent, int]]  # randomized responses, for RDP
    noisy: list[tuple[dpa.DpEvent, int]]  # Gaussians, sampled or not


def _split(steps: Steps) -> _Split | None:
    """Sorts the events; None if one of them is not private at all."""
    basic, lost, pure, noisy = Fraction(0), Fraction(0), [], []
    for event, count in steps:
        match event:
            case dpa.NonPrivateDpEvent():
                return None
            case ApproximateDpEvent(epsilon=epsilon, delta=delta):
                basic += count * Fraction(epsilon)
                lost += count * Fraction(delta)
                pure.append((_dominating(epsilon), count))
            case dpa.RandomizedResponseDpEvent():
                basic += count * Fraction(events.pure_epsilon(event))
                pure.append((event, count))
            case dpa.PoissonSampledDpEvent(sampling_probability=0):
                continue  # nothing is ever drawn, and nothing learned
            case _:
                noisy.append((event, count))
    return _Split(basic, lost, pure, noisy)


def _dominating(epsilon: float) -> dpa.DpEvent:
    """The randomized response that dominates every pure `epsilon`-DP release."""
    return mechanisms.pure(epsilon).event


def _up(value: Fraction) -> float:
    """The float at or above a fraction."""
    try:
        number = float(value)
    except OverflowError:
        return math.inf
    return number if Fraction(number) >= value else math.nextafter(number, math.inf)


def _rdp_epsilon(split: _Split, target: float) -> float:
    """The better of two bounds: the pure releases summed up, or by their divergence."""
    left = Fraction(target) - split.lost
    if left < 0:
        return math.inf
    if not split.noisy and left == 0:
        return _up(split.basic)
    if left == 0:
        return math.inf
    remaining = float(left)
    if remaining > 0 and Fraction(remaining) > left:
        remaining = math.nextafter(remaining, 0.0)
    if remaining == 0:
        return math.inf
    summed = rdp_bound.epsilon(split.noisy, remaining) + _up(split.basic)
    if not split.pure or math.isinf(summed):
        return summed
    return min(summed, rdp_bound.epsilon(split.noisy + split.pure, remaining))


def _rdp_delta(split: _Split, target: float) -> float:
    lost = _up(split.lost)
    bounds = [1.0]
    left = target - _up(split.basic)
    if left >= 0:
        bounds.append(lost + rdp_bound.delta(split.noisy, left))
    if split.pure:
        together = rdp_bound.delta(split.noisy + split.pure, target)
        bounds.append(lost + together)
    return min(bounds)


def check(accountant: str, steps: Steps) -> None:
    """Refuses an accountant that does not exist, or cannot account for the events.

    Args:
        accountant: "rdp" or "pld".
        steps: (event, count) pairs.

    Raises:
        ValueError: naming the fix.
    """
    if accountant not in ACCOUNTANTS:
        raise ValueError(
            f"Unknown accountant. Expected one of {ACCOUNTANTS}. "
            f"Received: accountant={accountant!r}"
        )
    fixed_size = dpa.SampledWithoutReplacementDpEvent
    if accountant == "pld" and any(isinstance(e, fixed_size) for e, _ in steps):
        raise ValueError(
            "There is no privacy loss distribution for fixed-size sampling without "
            "replacement. Use accountant='rdp', or Poisson batches. "
            f"Received: accountant={accountant!r}"
        )


def _better(tight: float, rdp: float) -> Bound:
    """The lower of two bounds; it is worth a remark if that is clearly not "pld"."""
    if tight <= rdp:
        return Bound(tight, "pld")
    clearly = tight > rdp * (1 + 1e-3)
    why = f"its figure, {tight:.6g}, is the looser one" if clearly else None
    return Bound(rdp, "rdp", why)


def epsilon(steps: Steps, delta: float, accountant: str = "rdp") -> Bound:
    """Bounds the epsilon of composed events.

    Args:
        steps: (event, count) pairs, all under one relation.
        delta: the target, in [0, 1).
        accountant: "rdp" (Renyi divergences) or "pld" (privacy loss distributions:
            tighter, slower).

    Returns:
        The bound. Where "pld" cannot resolve it, or does worse, the bound by RDP.

    Raises:
        ValueError: if an argument is out of range, or the accountant does not
            support an event.
    """
    delta = checks.real("delta", delta, high=1.0, open_high=True)
    check(accountant, steps)
    split = _split(steps)
    if split is None:
        return Bound(math.inf, accountant)
    rdp = _rdp_epsilon(split, delta)
    if accountant == "rdp" or rdp in (0, math.inf):
        return Bound(rdp, "rdp")
    try:
        tight = pld_bound.epsilon(steps, delta, rdp)
    except pld_bound.Unresolved as why:
        return Bound(rdp, "rdp", str(why))
    return _better(tight, rdp)


def delta(steps: Steps, epsilon: float, accountant: str = "rdp") -> Bound:
    """Bounds the delta of composed events.

    Args:
        steps: (event, count) pairs, all under one relation.
        epsilon: the target, at least 0.
        accountant: "rdp" or "pld".

    Returns:
        The bound, at most 1. Where "pld" cannot resolve it, the bound by RDP.

    Raises:
        ValueError: if an argument is out of range, or the accountant does not
            support an event.
    """
    return deltas(steps, [epsilon], accountant)[0]


def deltas(
    steps: Steps, epsilons: Sequence[float], accountant: str = "rdp"
) -> list[Bound]:
    """Bounds the delta of composed events at several epsilons, all at once.

    Args:
        steps: (event, count) pairs, all under one relation.
        epsilons: the targets, each at least 0.
        accountant: "rdp" or "pld".

    Returns:
        The bounds, as from `delta`.

    Raises:
        ValueError: as from `delta`.
    """
    targets = [checks.real("epsilon", epsilon) for epsilon in epsilons]
    check(accountant, steps)
    split = _split(steps)
    if split is None:
        return [Bound(1.0, accountant) for _ in targets]
    rdp = [_rdp_delta(split, target) for target in targets]
    if accountant == "rdp" or not any(rdp):
        return [Bound(value, "rdp") for value in rdp]
    try:
        about = _rdp_epsilon(replace(split, lost=Fraction(0)), 1e-6)
        tight = pld_bound.deltas(steps, targets, about)
    except pld_bound.Unresolved as why:
        return [Bound(value, "rdp", str(why)) for value in rdp]
    return [
        _better(float(value), other) if other else Bound(other, "rdp")
        for value, other in zip(tight, rdp, strict=True)
    ]


# Epsilons between which the bound of `true_positive_rates` is looked for.
_EPSILONS = (0.0, *np.geomspace(1e-3, 40.0, 80).tolist())


def true_positive_rates(
    steps: Steps, false_positive_rates: Sequence[float], accountant: str = "rdp"
) -> list[float]:
    """Bounds how often a membership attack is right about a member.

    An attack that calls a share `f` of the non-members members calls at most
    `delta + e^epsilon f` of the members so, and at most
    `1 - e^-epsilon (1 - delta - f)`, for each epsilon and its delta.

    Args:
        steps: (event, count) pairs, all under one relation.
        false_positive_rates: the shares f, each in [0, 1].
        accountant: "rdp" or "pld".

    Returns:
        An upper bound of the true-positive rate for each false-positive rate.

    Raises:
        ValueError: as from `delta`.

    Reference: P. Kairouz, S. Oh, P. Viswanath, "The Composition Theorem for
    Differential Privacy", ICML 2015.
    """
    grid = np.array(_EPSILONS)
    delta = np.array([b.value for b in deltas(steps, _EPSILONS, accountant)])
    rates = []
    for f in false_positive_rates:
        by_members = delta + np.exp(grid) * f
        by_others = 1 - np.exp(-grid) * (1 - delta - f)
        rates.append(float(min(1.0, by_members.min(), by_others.min())))
    return rates

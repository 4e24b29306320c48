"""Privacy loss distributions of events, and the tight (epsilon, delta) that follow.

Events go to dp-accounting's constructors one by one, not through its `PLDAccountant`:
that one refuses Laplace under REPLACE_ONE, doubles the sensitivity of a Gaussian there
(our event has it already), and counts a repeated randomized response once.
"""

import math
from collections.abc import Callable, Sequence

import dp_accounting as dpa
import numpy as np
from dp_accounting.pld import common
from dp_accounting.pld import privacy_loss_distribution as pld

from tfpriv.accounting import events
from tfpriv.accounting.events import ApproximateDpEvent, Steps

# A distribution of losses is a list of multiples of one width. Wider multiples are
# still a bound, only a looser one: they are what keeps memory and time in hand.
_FINEST_WIDTH = 1e-5
_POINTS_OF_ONE_STEP = 200_000
_POINTS_OF_ALL_STEPS = 1_000_000
_LARGEST_LOSS = 600.0
# The rounding errors of a Fourier transform grow with the power it is raised to.
_MOST_STEPS = 10**8
# Distributions of few values are composed one by one, in time that grows with this.
_MOST_DISCRETE_STEPS = 100_000

# e^-50 of the noise is counted as revealing everything.
_TAIL = 10.0


class Unresolved(Exception):  # noqa: N818 - not an error: the RDP bound stands in
    """The distribution cannot be computed well enough; the text says why."""


def _rounding(steps: Steps) -> float:
    """How much probability the Fourier transforms may have misplaced."""
    return 1e-12 + 1e-15 * sum(count for _, count in steps)


def _reach(event: dpa.DpEvent) -> float:
    """About the largest privacy loss of one step, which sets the length of its list."""
    match event:
        case dpa.PoissonSampledDpEvent(sampling_probability=q, event=inner):
            z = inner.noise_multiplier
            top = (_TAIL + 0.5 / z) / z
            return float(np.logaddexp(math.log1p(-q), math.log(q) + top)) - math.log1p(
                -q
            )
        case dpa.GaussianDpEvent(noise_multiplier=z):
            return float(2 * (_TAIL + 0.5 / z) / z)
        case ApproximateDpEvent(epsilon=epsilon):
            return 2 * epsilon
        case dpa.RandomizedResponseDpEvent():
            return 2 * events.pure_epsilon(event)
    raise TypeError(f"no privacy loss distribution for {event!r}")


def _merge_gaussians(steps: Steps) -> Steps:
    """Writes all unsampled Gaussians as one, and leaves out what is never drawn."""
    merged, precision = [], 0.0
    for event, count in steps:
        gaussian = event
        if isinstance(event, dpa.PoissonSampledDpEvent):
            if event.sampling_probability == 0:
                continue
            if event.sampling_probability > 1 - 1e-12:
                gaussian = event.event
        if isinstance(gaussian, dpa.GaussianDpEvent):
            precision += count * float(gaussian.noise_multiplier) ** -2
        else:
            merged.append((event, count))
    if precision > 0:
        merged.append((dpa.GaussianDpEvent(precision**-0.5), 1))
    return merged


def _one(event: dpa.DpEvent, width: float) -> pld.PrivacyLossDistribution:
    """The pessimistic distribution of one step."""
    match event:
        case dpa.PoissonSampledDpEvent(sampling_probability=q, event=inner):
            return pld.from_gaussian_mechanism(
                inner.noise_multiplier,
                value_discretization_interval=width,
                sampling_prob=q,
            )
        case dpa.GaussianDpEvent(noise_multiplier=z):
            return pld.from_gaussian_mechanism(z, value_discretization_interval=width)
        case ApproximateDpEvent(epsilon=epsilon, delta=delta):
            parameters = common.DifferentialPrivacyParameters(epsilon, delta)
        case _:
            epsilon = events.pure_epsilon(event)
            parameters = common.DifferentialPrivacyParameters(epsilon)
    return pld.from_privacy_parameters(parameters, width)


def _distribution(steps: Steps, about: float) -> pld.PrivacyLossDistribution:
    """The pessimistic distribution of all steps.

    Args:
        steps: (event, count) pairs, none of them non-private.
        about: the size of the epsilon to come, for the choice of the width.
    """
    reaches = [_reach(event) for event, _ in steps]
    if not about <= _LARGEST_LOSS or max(reaches, default=0.0) > _LARGEST_LOSS:
        raise Unresolved("the privacy loss is too large to tabulate")
    if sum(count for _, count in steps) > _MOST_STEPS:
        raise Unresolved("there are too many steps")
    discrete = dpa.RandomizedResponseDpEvent | ApproximateDpEvent
    if (
        sum(n for event, n in steps if isinstance(event, discrete))
        > _MOST_DISCRETE_STEPS
    ):
        raise Unresolved("there are too many releases with a plain epsilon")
    width = max(
        _FINEST_WIDTH,
        1e-4 * min(1.0, about),
        max(reaches, default=0.0) / _POINTS_OF_ONE_STEP,
        4 * (about + sum(reaches)) / _POINTS_OF_ALL_STEPS,
    )
    total = pld.identity(width)
    for event, count in steps:
        one = _one(event, width)
        total = total.compose(one.self_compose(count) if count > 1 else one)
    return total


def _resolve(
    steps: Steps,
    about: float,
    ask: Callable[[pld.PrivacyLossDistribution], np.ndarray],
) -> np.ndarray:
    """Asks the distribution, and turns every way to fail into `Unresolved`."""
    try:
        with np.errstate(all="ignore"):
            answer = ask(_distribution(_merge_gaussians(steps), about))
            values = np.asarray(answer, np.float64)
    except (ValueError, LookupError, ArithmeticError, MemoryError) as error:
        raise Unresolved(f"dp-accounting could not build it ({error})") from error
    if np.isnan(values).any():
        raise Unresolved("rounding errors took over")
    return values


def epsilon(steps: Steps, delta: float, about: float) -> float:
    """Bounds the epsilon of composed events.

    Args:
        steps: (event, count) pairs, none of them non-private or sampled without
            replacement.
        delta: the target, greater than 0.
        about: an upper bound of the result, e.g. from RDP.

    Returns:
        An upper bound of epsilon; infinity where there is none.

    Raises:
        Unresolved: if the distribution is not fine enough to tell.
    """
    rounding = _rounding(steps)
    if delta < 2 * rounding:
        raise Unresolved(f"delta={delta:g} is within its rounding errors")
    value = _resolve(
        steps, about, lambda loss: loss.get_epsilon_for_delta(delta - rounding)
    )
    return float(value)


def deltas(steps: Steps, epsilons: Sequence[float], about: float) -> np.ndarray:
    """Bounds the deltas of composed events.

    Args:
        steps: (event, count) pairs, none of them non-private or sampled without
            replacement.
        epsilons: the targets, finite and at least 0.
        about: an upper bound of epsilon at some usual delta, e.g. from RDP.

    Returns:
        An upper bound of each delta, at most 1.

    Raises:
        Unresolved: if the distribution is not fine enough to tell.
    """
    targets = np.asarray(epsilons, np.float64)
    values = _resolve(steps, about, lambda loss: loss.get_delta_for_epsilon(targets))
    return np.minimum(1.0, values + _rounding(steps))

"""Renyi divergences of events, and the (epsilon, delta) bounds that follow.

The formulas are dp-accounting's. This file chooses the orders, keeps the parameters
where those formulas are sound in floating point, and caches each event's curve, so
that a million equal steps cost a multiplication.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator

import dp_accounting as dpa
import numpy as np
from absl import logging
from dp_accounting.rdp import RdpAccountant
from dp_accounting.rdp.rdp_privacy_accountant import compute_delta, compute_epsilon

from tfpriv.accounting.events import Relation, Steps


def _geometric(first: float, last: float, ratio: float) -> tuple[float, ...]:
    """Whole orders in (first, last], growing by `ratio`."""
    count = math.ceil(math.log(last / first) / math.log(ratio))
    ends = np.geomspace(first, last, count + 1)[1:]
    return tuple(float(round(order)) for order in ends)


# dp-accounting's own orders, and some between 64 and 1024 for small epsilons.
_BASE_ORDERS = tuple(
    sorted(
        {1 + x / 10 for x in range(1, 100)}
        | {float(x) for x in range(11, 65)}
        | {128.0, 256.0, 512.0}
        | set(_geometric(64, 1024, 1.15))
    )
)
# Large epsilons want orders near 1, whose series converge slowly: tried where the best
# order so far is not far from there.
_LOW_ORDERS = (1.011, 1.015, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07, 1.08, 1.09, 1.1)
_LOW = 1.5
# Tiny epsilons want orders beyond: tried, a piece at a time, while the last order of
# the piece before was the best. Sampled events take time in proportion to the order.
_HIGH_ORDERS = tuple(_geometric(4**k, 4 ** (k + 1), 1.25) for k in range(5, 14))
_LARGEST_SAMPLED_ORDER = 4.0**7
# Without replacement it is the square of the order up to 256, and only whole orders
# matter: the bound between two of them is their chord.
_FIXED_SIZE_ORDERS = frozenset(
    map(float, [*range(2, 33), *range(34, 65, 2), 80, 96, 128, 160, 192, 256])
)

# Noise multipliers are kept in this range. Below it the divergence is called infinite;
# above it the largest one is used in its place, which can only raise epsilon.
_LEAST_NOISE, _MOST_NOISE = 1e-6, 1e6
# Under sampling without replacement dp-accounting takes finite differences, which
# lose their digits when there is much noise.
_MOST_NOISE_FIXED_SIZE = 1e3
# Closer than this to 0 and to 1, the sampling probability is moved outwards (to 1)
# and inwards (from 0): both raise epsilon.
_LEAST_PROBABILITY = 1e-12


def _rounding(orders: np.ndarray) -> np.ndarray:
    """How far one step's divergence may lie below the truth by rounding.

    The logarithm of the moment is a sum of `order` terms whose logarithms carry
    errors of some units in the last place, of numbers up to `order * log(order)`; the
    series for broken orders stops at e^-30. Both are divided by `order - 1`.
    """
    return np.asarray(4e-13 * orders / (orders - 1))


def _safe(event: dpa.DpEvent) -> dpa.DpEvent | None:
    """The event, or a worse one, where the formulas hold; None for infinity."""
    match event:
        case dpa.GaussianDpEvent(noise_multiplier=z):
            if z < _LEAST_NOISE:
                return None
            return dpa.GaussianDpEvent(min(float(z), _MOST_NOISE))
        case dpa.PoissonSampledDpEvent(sampling_probability=q, event=inner):
            gaussian = _safe(inner)
            if gaussian is None or q > 1 - _LEAST_PROBABILITY:
                return gaussian
            q = max(float(q), _LEAST_PROBABILITY)
            return dpa.PoissonSampledDpEvent(q, gaussian)
        case dpa.SampledWithoutReplacementDpEvent(
            source_dataset_size=n, sample_size=b, event=inner
        ):
            gaussian = _safe(inner)
            if gaussian is None or b == n:
                return gaussian
            z = min(gaussian.noise_multiplier, _MOST_NOISE_FIXED_SIZE)
            return dpa.SampledWithoutReplacementDpEvent(n, b, dpa.GaussianDpEvent(z))
    return event


def _relation(event: dpa.DpEvent) -> dpa.NeighboringRelation:
    """The relation under which dp-accounting has the formula of an event.

    A Gaussian's divergence is the same under each, its noise multiplier being
    relative to the sensitivity.
    """
    if isinstance(event, dpa.PoissonSampledDpEvent):
        return Relation.ADD_OR_REMOVE_ONE
    return Relation.REPLACE_ONE


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Mutes numerical remarks: what overflows or does not converge becomes infinite."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        logging.set_verbosity(verbosity)


def _affordable(event: dpa.DpEvent, orders: np.ndarray) -> np.ndarray:
    """At which orders a divergence is computed; at the others it is called infinite."""
    match event:
        case dpa.PoissonSampledDpEvent():
            return orders <= _LARGEST_SAMPLED_ORDER
        case dpa.SampledWithoutReplacementDpEvent():
            chosen = np.array([order in _FIXED_SIZE_ORDERS for order in orders])
            return chosen | ((orders > 256) & (orders <= _LARGEST_SAMPLED_ORDER))
    return np.ones(len(orders), bool)


@functools.lru_cache(maxsize=512)
def _curve(event: dpa.DpEvent, orders: tuple[float, ...]) -> np.ndarray:
    """An upper bound of one step's divergence at each order."""
    safe = _safe(event)
    at = np.asarray(orders)
    if safe is None:
        return np.full(len(at), np.inf)
    known = _affordable(safe, at)
    if not known.any():
        return np.full(len(at), np.inf)
    with _quiet():
        accountant = RdpAccountant(at[known], _relation(safe))
        exact = accountant.compose(safe).rdp
    curve = np.full(len(at), np.inf)
    curve[known] = np.where(np.isnan(exact), np.inf, np.maximum(exact, 0.0))
    # Divergences grow with the order: what is known of a higher one bounds a lower.
    curve = np.minimum.accumulate(curve[::-1])[::-1]
    curve = curve * (1 + 1e-9) + _rounding(at)
    curve.flags.writeable = False
    return np.asarray(curve)


def _total(steps: Steps, orders: tuple[float, ...]) -> np.ndarray:
    total = np.zeros(len(orders))
    for event, count in steps:
        total = total + float(count) * _curve(event, orders)
    return total


def _least(bound: Callable[[tuple[float, ...]], tuple[float, float]]) -> float:
    """The least bound over the orders, reaching out where an end of them is best."""
    value, best = bound(_BASE_ORDERS)
    if best <= _LOW and value > 0:
        value = min(value, bound(_LOW_ORDERS)[0])
    last = _BASE_ORDERS[-1]
    for orders in _HIGH_ORDERS:
        if best != last or value == 0:
            break
        further, order = bound(orders)
        if further >= value:
            break
        value, best, last = further, order, orders[-1]
    return float(value)


def epsilon(steps: Steps, delta: float) -> float:
    """Bounds the epsilon of composed events.

    Args:
        steps: (event, count) pairs, none of them non-private or approximate.
        delta: the target, greater than 0.

    Returns:
        An upper bound of epsilon; infinity where there is none.
    """
    if not steps:
        return 0.0
    return _least(lambda orders: compute_epsilon(orders, _total(steps, orders), delta))


def delta(steps: Steps, epsilon: float) -> float:
    """Bounds the delta of composed events.

    Args:
        steps: (event, count) pairs, none of them non-private or approximate.
        epsilon: the target, finite and at least 0.

    Returns:
        An upper bound of delta, at most 1.
    """
    if not steps:
        return 0.0
    return _least(lambda orders: compute_delta(orders, _total(steps, orders), epsilon))

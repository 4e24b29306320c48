"""The events that a ledger may hold, and the relation that each belongs to.

An event is the mathematics of one release, written as a `dp_accounting` event.
The table `_RELATIONS` below is the whole list: what is not in it is refused, both
when a mechanism is made and when a saved ledger is read.
"""

import math
from collections.abc import Sequence

import attr
import dp_accounting as dpa

from tfpriv.support import checks

Relation = dpa.NeighboringRelation
Steps = Sequence[tuple[dpa.DpEvent, int]]  # events, and how often each

RELATION_WORDS = {
    Relation.ADD_OR_REMOVE_ONE: (
        "data sets that differ by one {unit} added or taken away"
    ),
    Relation.REPLACE_ONE: (
        "data sets of the same size in which one {unit} is exchanged for another"
    ),
    Relation.REPLACE_SPECIAL: (
        "data sets in which one {unit} is exchanged for one that contributes nothing"
    ),
}


@attr.s(frozen=True, slots=True, auto_attribs=True)
class ApproximateDpEvent(dpa.DpEvent):  # type: ignore[misc]  # it has no types
    """A release of which only its plain (epsilon, delta) is known.

    dp-accounting has no event for it. Such a release is dominated by one that
    reveals everything with probability `delta` and is otherwise pure
    `epsilon`-DP; `epsilon.py` uses just that.
    """

    epsilon: float
    delta: float


_ANY = frozenset(Relation)
_RELATIONS: dict[type, frozenset[dpa.NeighboringRelation]] = {
    dpa.NonPrivateDpEvent: _ANY,
    dpa.PoissonSampledDpEvent: frozenset({Relation.ADD_OR_REMOVE_ONE}),
    dpa.SampledWithoutReplacementDpEvent: frozenset({Relation.REPLACE_ONE}),
    dpa.GaussianDpEvent: frozenset({Relation.REPLACE_ONE, Relation.REPLACE_SPECIAL}),
    dpa.RandomizedResponseDpEvent: frozenset({Relation.REPLACE_ONE}),
    ApproximateDpEvent: _ANY,
}

_FIXES: dict[type, str] = {
    dpa.PoissonSampledDpEvent: "for fixed-size batches use `mechanisms.fixed_size`",
    dpa.SampledWithoutReplacementDpEvent: (
        "for Poisson batches use `mechanisms.poisson`"
    ),
    dpa.GaussianDpEvent: (
        "under ADD_OR_REMOVE_ONE use `mechanisms.poisson` with a sampling "
        "probability of 1"
    ),
    dpa.RandomizedResponseDpEvent: "state the release with `mechanisms.approximate`",
}


def check(event: dpa.DpEvent, relation: dpa.NeighboringRelation) -> None:
    """Refuses an event that the ledger cannot account for under a relation.

    Args:
        event: the event of one release.
        relation: the neighbouring relation that it is claimed for.

    Raises:
        ValueError: naming the fix, if the pair is not in the table.
    """
    if not isinstance(relation, Relation):
        raise ValueError(
            "`relation` must be a `dp_accounting.NeighboringRelation`. "
            f"Received: relation={relation!r}"
        )
    kind = type(event)
    if kind not in _RELATIONS:
        known = ", ".join(sorted(k.__name__ for k in _RELATIONS))
        raise ValueError(
            "The ledger does not know this event. Expected one of "
            f"{known}, as made by the functions of `tfpriv.accounting.mechanisms`. "
            f"Received: event={event!r}"
        )
    if relation not in _RELATIONS[kind]:
        expected = ", ".join(sorted(r.name for r in _RELATIONS[kind]))
        raise ValueError(
            f"{kind.__name__} is not accounted for under {relation.name}; "
            f"{_FIXES[kind]}. Expected the relation {expected}. "
            f"Received: relation={relation.name}"
        )
    _check_values(event)


def _check_values(event: dpa.DpEvent) -> None:
    """Refuses parameters outside their ranges, wherever the event came from."""
    match event:
        case dpa.PoissonSampledDpEvent(sampling_probability=q, event=inner):
            checks.real("sampling_probability", q, high=1.0)
            _check_gaussian(inner)
        case dpa.SampledWithoutReplacementDpEvent(
            source_dataset_size=n, sample_size=b, event=inner
        ):
            checks.whole("population", n)
            if checks.whole("batch_size", b, low=0) > n:
                raise ValueError(
                    "`batch_size` must not exceed `population`. "
                    f"Received: batch_size={b}, population={n}"
                )
            _check_gaussian(inner)
        case dpa.GaussianDpEvent():
            _check_gaussian(event)
        case dpa.RandomizedResponseDpEvent(noise_parameter=p, num_buckets=k):
            checks.real("noise_parameter", p, open_low=True, high=1.0)
            if checks.whole("num_buckets", k) != 2:
                raise ValueError(
                    "Pure epsilon is written as a randomized response over 2 "
                    f"buckets. Received: num_buckets={k}"
                )
        case ApproximateDpEvent(epsilon=epsilon, delta=delta):
            checks.real("epsilon", epsilon)
            checks.real("delta", delta, high=1.0, open_high=True)


def _check_gaussian(event: dpa.DpEvent) -> None:
    if not isinstance(event, dpa.GaussianDpEvent):
        raise ValueError(
            "Only a Gaussian can be sampled. Expected a GaussianDpEvent inside. "
            f"Received: event={event!r}"
        )
    # Noise of zero is written as NonPrivateDpEvent, so that no accountant meets it.
    checks.real("noise_multiplier", event.noise_multiplier, open_low=True)


def pure_epsilon(event: dpa.RandomizedResponseDpEvent) -> float:
    """Returns the pure epsilon of a randomized response over two buckets."""
    p = float(event.noise_parameter)
    # log(2 / p - 1), without losing the digits of a small epsilon.
    return math.log1p(2.0 * (1.0 - p) / p)


def without_amplification(event: dpa.DpEvent) -> dpa.DpEvent:
    """Returns the event with every unit in every batch: what sampling saved.

    Args:
        event: the event of one release.

    Returns:
        The same noise and sensitivity without sampling, in a form that the same
        relation allows.
    """
    match event:
        case dpa.PoissonSampledDpEvent(event=inner):
            return dpa.PoissonSampledDpEvent(1.0, inner)
        case dpa.SampledWithoutReplacementDpEvent(event=inner):
            return inner
    return event

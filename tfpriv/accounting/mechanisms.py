"""The mechanisms that tfpriv accounts for: one function for each.

Each returns what one step, or one release, costs: the event, the neighbouring
relation that it holds for, and the words that the statement uses. Nobody writes an
event by hand, so relation, sensitivity and event cannot be mixed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import dp_accounting as dpa

from tfpriv.accounting import events
from tfpriv.accounting.events import ApproximateDpEvent, Relation
from tfpriv.support import checks

PUBLIC_SIZE = "data set size treated as public"

# Beyond this e^-epsilon leaves the range of floats: the same as no privacy.
LARGEST_PURE_EPSILON = 700.0


@dataclass(frozen=True)
class Mechanism:
    """What one step, or one release, costs.

    Args:
        event: the mathematics of one release.
        relation: the neighbouring relation for which `event` is true. It means
            nothing for a `NonPrivateDpEvent`.
        sampler: how units came into it, in words.
        population: number of units, where it is known and public.
        notes: what a reader of the statement should know besides.

    Raises:
        ValueError: if event and relation do not belong together.
    """

    event: dpa.DpEvent
    relation: dpa.NeighboringRelation
    sampler: str
    population: int | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        events.check(self.event, self.relation)
        checks.text("sampler", self.sampler)
        if self.population is not None:
            population = checks.whole("population", self.population)
            object.__setattr__(self, "population", population)
        notes = (self.notes,) if isinstance(self.notes, str) else tuple(self.notes)
        object.__setattr__(self, "notes", tuple(checks.text("notes", n) for n in notes))

    @property
    def is_private(self) -> bool:
        """Whether a finite epsilon can be claimed at all."""
        return not isinstance(self.event, dpa.NonPrivateDpEvent)


def _gaussian(noise_multiplier: float) -> dpa.DpEvent:
    """A Gaussian, or what no noise at all is worth."""
    if noise_multiplier == 0:
        return dpa.NonPrivateDpEvent()
    return dpa.GaussianDpEvent(noise_multiplier)


def poisson(
    sampling_probability: float,
    noise_multiplier: float,
    *,
    population: int | None = None,
    notes: tuple[str, ...] = (),
) -> Mechanism:
    """One step on a Poisson batch: every unit is in it independently.

    Args:
        sampling_probability: chance of a unit to be in the batch, in [0, 1].
        noise_multiplier: standard deviation of the noise on the sum, divided by the
            clipping norm C. 0 makes epsilon infinite.
        population: number of units, if known.
        notes: further remarks for the statement.

    Returns:
        The mechanism, under ADD_OR_REMOVE_ONE (sensitivity C).

    Raises:
        ValueError: if an argument is out of range.
    """
    q = checks.real("sampling_probability", sampling_probability, high=1.0)
    z = checks.real("noise_multiplier", noise_multiplier)
    event = _gaussian(z)
    if isinstance(event, dpa.GaussianDpEvent):
        event = dpa.PoissonSampledDpEvent(q, event)
    return Mechanism(
        event,
        Relation.ADD_OR_REMOVE_ONE,
        f"Poisson sampling, q = {q:.6g}",
        population,
        notes,
    )


def fixed_size(
    population: int,
    batch_size: int,
    noise_multiplier: float,
    *,
    notes: tuple[str, ...] = (),
) -> Mechanism:
    """One step on a batch of fixed size, drawn without replacement at each step.

    Args:
        population: number of units; it is public under this relation.
        batch_size: units in each batch, at most `population`.
        noise_multiplier: standard deviation of the noise on the sum, divided by the
            clipping norm C. 0 makes epsilon infinite.
        notes: further remarks for the statement.

    Returns:
        The mechanism, under REPLACE_ONE. Exchanging a unit moves the sum by up to
        2C, so the event has half the noise multiplier.

    Raises:
        ValueError: if an argument is out of range.
    """
    n = checks.whole("population", population)
    b = checks.whole("batch_size", batch_size)
    z = checks.real("noise_multiplier", noise_multiplier)
    if b > n:
        raise ValueError(
            "`batch_size` must not exceed `population`. "
            f"Received: batch_size={b}, population={n}"
        )
    event = _gaussian(z / 2)
    if isinstance(event, dpa.GaussianDpEvent):
        event = dpa.SampledWithoutReplacementDpEvent(n, b, event)
    sampler = f"fixed-size sampling without replacement, {b} of {n}"
    return Mechanism(event, Relation.REPLACE_ONE, sampler, n, notes)


def stream(
    noise_multiplier: float,
    *,
    max_occurrences: int | None = 1,
    participations: str = "",
    notes: tuple[str, ...] = (),
) -> Mechanism:
    """One step on a batch that the user's own pipeline chose.

    No amplification is claimed. Record it for each batch that a unit can be in: all of
    them, unless a bound is declared.

    Args:
        noise_multiplier: standard deviation of the noise on the sum, divided by the
            clipping norm C. 0 makes epsilon infinite.
        max_occurrences: how often a unit can appear in one batch, declared by the
            user; None if nobody declared it, which makes epsilon infinite.
        participations: what the user declared of the batches that a unit is in, for
            the statement, for instance "in 1 batch of each pass".
        notes: further remarks for the statement.

    Returns:
        The mechanism, under REPLACE_SPECIAL (sensitivity `max_occurrences` times C).

    Raises:
        ValueError: if an argument is out of range.
    """
    z = checks.real("noise_multiplier", noise_multiplier)
    if max_occurrences is None:
        sampler = "a stream, occurrences of a unit in a batch not declared"
        return Mechanism(
            dpa.NonPrivateDpEvent(), Relation.REPLACE_SPECIAL, sampler, None, notes
        )
    k = checks.whole("max_occurrences", max_occurrences)
    times = "once" if k == 1 else f"{k} times"
    sampler = f"a stream, a unit at most {times} in a batch (declared)"
    if participations:
        sampler += f", {participations} (declared), which are charged"
    return Mechanism(_gaussian(z / k), Relation.REPLACE_SPECIAL, sampler, None, notes)


def gaussian_release(
    noise_multiplier: float, *, notes: tuple[str, ...] = ()
) -> Mechanism:
    """One release of a clipped vector with Gaussian noise.

    Args:
        noise_multiplier: standard deviation of the noise, divided by the diameter of
            the clipped range. 0 makes epsilon infinite.
        notes: further remarks for the statement.

    Returns:
        The mechanism, under REPLACE_ONE.

    Raises:
        ValueError: if an argument is out of range.
    """
    z = checks.real("noise_multiplier", noise_multiplier)
    return Mechanism(_gaussian(z), Relation.REPLACE_ONE, "no sampling", None, notes)


def pure(epsilon: float, *, notes: tuple[str, ...] = ()) -> Mechanism:
    """One release with pure epsilon-DP: exponential mechanism, Laplace.

    Args:
        epsilon: the pure epsilon of the release, at least 0.
        notes: further remarks for the statement.

    Returns:
        The mechanism, under REPLACE_ONE. Its event is the randomized response over
        two buckets that dominates every mechanism with this epsilon.

    Raises:
        ValueError: if epsilon is out of range.
    """
    epsilon = checks.real("epsilon", epsilon)
    event: dpa.DpEvent = dpa.NonPrivateDpEvent()
    if epsilon <= LARGEST_PURE_EPSILON:
        p = 2.0 * math.exp(-epsilon) / (1.0 + math.exp(-epsilon))
        event = dpa.RandomizedResponseDpEvent(p, 2)
        while events.pure_epsilon(event) < epsilon:  # never less than asked
            p = math.nextafter(p, 0.0)
            event = dpa.RandomizedResponseDpEvent(p, 2)
    sampler = f"no sampling, pure epsilon {epsilon:.6g}"
    return Mechanism(event, Relation.REPLACE_ONE, sampler, None, notes)


def approximate(
    epsilon: float,
    delta: float,
    relation: dpa.NeighboringRelation,
    *,
    notes: tuple[str, ...] = (),
) -> Mechanism:
    """One release of which only a plain (epsilon, delta) is known.

    Args:
        epsilon: its epsilon, at least 0.
        delta: its delta, in [0, 1).
        relation: the neighbouring relation that the two figures were stated for.
        notes: further remarks for the statement.

    Returns:
        The mechanism, under `relation`.

    Raises:
        ValueError: if an argument is out of range.
    """
    epsilon = checks.real("epsilon", epsilon)
    delta = checks.real("delta", delta, high=1.0, open_high=True)
    sampler = f"as stated: ({epsilon:.6g}, {delta:.6g})"
    return Mechanism(ApproximateDpEvent(epsilon, delta), relation, sampler, None, notes)


def adaptive_clipping(
    sampler: Callable[[float], Mechanism],
    noise_multiplier: float,
    indicator_stddev: float,
) -> Mechanism:
    """One step that also releases how many units were clipped, with noise.

    The sum of the gradients and the sum of the indicators (1/2 if a unit's norm is
    under the clipping norm, -1/2 if not) are released together: two Gaussians on the
    same batch are one Gaussian with z = (z1^-2 + z2^-2)^(-1/2).

    Args:
        sampler: the mechanism of the step as a function of its noise multiplier,
            e.g. `lambda z: poisson(0.01, z)`.
        noise_multiplier: z1, of the gradients, relative to the clipping norm.
        indicator_stddev: standard deviation of the noise on the sum of the centred
            indicators, whose sensitivity is 1/2: z2 is twice this.

    Returns:
        What `sampler` gives for the joint noise multiplier, with a note.

    Raises:
        ValueError: if an argument is out of range.

    Reference:
        - [Andrew et al., 2021](https://arxiv.org/abs/1905.03871)
    """
    z1 = checks.real("noise_multiplier", noise_multiplier)
    z2 = 2.0 * checks.real("indicator_stddev", indicator_stddev)
    # hypot neither overflows nor underflows where squares would.
    joint = 0.0 if min(z1, z2) == 0 else 1.0 / math.hypot(1.0 / z1, 1.0 / z2)
    mechanism = sampler(joint)
    note = "the noised count of clipped units, released with each step, is included"
    return replace(mechanism, notes=(*mechanism.notes, note))


def non_private(reason: str) -> Mechanism:
    """Something that depends on private data with no privacy at all.

    Args:
        reason: what was done, e.g. "vocabulary learned from private captions".

    Returns:
        The mechanism. It composes with every unit and relation, and makes epsilon
        infinite.

    Raises:
        ValueError: if no reason is given.
    """
    return Mechanism(
        dpa.NonPrivateDpEvent(),
        Relation.ADD_OR_REMOVE_ONE,
        "none",
        None,
        (checks.text("reason", reason),),
    )

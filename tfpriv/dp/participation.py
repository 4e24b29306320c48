"""Bounds on how often a unit takes part, and what they leave to be charged."""

import dataclasses
import heapq

import dp_accounting as dpa

from tfpriv.accounting.mechanisms import Mechanism


class Participations:
    """Charges the steps that cost a unit most, for at most `limit` participations.

    A unit that is in at most `limit` of the steps, whichever they are, loses at most
    what the `limit` least noisy ones cost: adaptive composition of Gaussian mechanisms,
    in which a step without the unit is the same for both neighbours. Squared inverse
    noise multipliers add up under composition, so that a step with less noise than one
    that was charged is charged the difference.

    Args:
        limit: Int, how many steps a unit can be in; `None` for all of them.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._charged: list[float] = []  # squared inverse noise multipliers, a heap

    @property
    def declared(self) -> str:
        """What the statement says of it."""
        return "" if self.limit is None else f"in at most {self.limit} batches in all"

    def charge(self, mechanism: Mechanism) -> Mechanism | None:
        """What a step of this cost adds to what was charged; `None` if nothing.

        Args:
            mechanism: `Mechanism` of the step for a unit that is in it.
        """
        event = mechanism.event
        if (
            not isinstance(event, dpa.GaussianDpEvent)
            or self.limit is None
            or len(self._charged) < self.limit
        ):
            return mechanism
        more = event.noise_multiplier**-2 - self._charged[0]
        if more <= 0:
            return None
        # Rounded down by more than the rounding of the difference, which costs more.
        rest = dpa.GaussianDpEvent(more**-0.5 * (1 - 1e-9))
        return dataclasses.replace(mechanism, event=rest)

    def add(self, mechanism: Mechanism) -> None:
        """Takes a step into account whose charge was recorded."""
        event = mechanism.event
        if self.limit is None or not isinstance(event, dpa.GaussianDpEvent):
            return
        heapq.heappush(self._charged, event.noise_multiplier**-2)
        if len(self._charged) > self.limit:
            heapq.heappop(self._charged)

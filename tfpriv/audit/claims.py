"""What a ledger promises: epsilon, and the whole curve of errors behind it.

Whoever tells neighbours apart makes two kinds of errors. For events P and Q of a
private mechanism on neighbours, (epsilon, delta) bounds P by `e^epsilon Q + delta`;
a ledger knows such a delta for every epsilon, and together they bound what any attack
can do (its f-DP curve).
"""

import math
from dataclasses import dataclass

import numpy as np

from tfpriv.accounting.ledger import Ledger
from tfpriv.audit import leakage

_POINTS = 80  # of the curve; between them it is a little less strict


@dataclass(frozen=True)
class Claim:
    """Which attacks a ledger rules out.

    Attributes:
        epsilon: claimed at `delta`.
        delta: of the claim.
        epsilons: points of the curve, `(points,)`.
        deltas: the delta of each, `(points,)`.
    """

    epsilon: float
    delta: float
    epsilons: np.ndarray
    deltas: np.ndarray

    @classmethod
    def of(cls, ledger: Ledger, delta: float, accountant: str = "pld") -> "Claim":
        """What a ledger claims.

        Args:
            ledger: of the training.
            delta: of the claim, in (0, 1).
            accountant: "pld", or "rdp" for events that it alone knows.

        Raises:
            ValueError: if it claims nothing: its epsilon is infinite.
        """
        epsilon = ledger.epsilon(delta, accountant)
        if math.isinf(epsilon):
            raise ValueError(
                "There is nothing to audit. Expected a ledger with a finite epsilon. "
                "Received: epsilon is infinite"
            )
        epsilons = np.linspace(0.0, 2 * epsilon + 2, _POINTS)
        deltas = np.array(ledger.deltas(epsilons, accountant))
        return cls(epsilon, delta, epsilons, deltas)

    @classmethod
    def of_epsilon(cls, epsilon: float, delta: float) -> "Claim":
        """A claim of which no more than one epsilon and its delta is known."""
        return cls(epsilon, delta, np.array([epsilon]), np.array([delta]))

    def least(self, chance: float) -> float:
        """How likely an event is at least on one neighbour, given the other.

        Args:
            chance: how likely it is on the other, in [0, 1].

        Returns:
            A chance in [0, 1], a convex function of `chance` that nowhere falls.
        """
        growth = np.exp(self.epsilons)
        seen = (chance - self.deltas) / growth
        unseen = 1 - self.deltas - growth * (1 - chance)  # of the event's opposite
        return max(0.0, float(seen.max()), float(unseen.max()))

    @property
    def advantage(self) -> float:
        """The highest true-positive rate less false-positive rate of any attack.

        (e^epsilon - 1 + 2 delta) / (e^epsilon + 1).
        """
        return 2 * leakage.ceiling(self.epsilon, self.delta) - 1

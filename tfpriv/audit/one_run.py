"""How much did one training tell of who was in it? A lower bound of epsilon.

Of m canaries, each is put into the training data or not, by a coin. The auditor looks
at the training, gives each canary a score, and guesses that those with the highest were
in it. A private training, whatever the auditor does, lets few of the guesses be right.
Nothing else is assumed: not that canaries are independent of each other, nor of which
kind the noise is. How many guesses there are must be fixed before the training is seen.

References:
    T. Steinke, M. Nasr, M. Jagielski, "Privacy Auditing with One (1) Training Run",
    NeurIPS 2023, theorem 5.2: `epsilon_bound`.
    S. Mahloujifar, L. Melis, K. Chaudhuri, "Auditing f-Differential Privacy in One
    Run", ICML 2025: `claim_p_value`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from tfpriv.audit.claims import Claim
from tfpriv.support.randomness import Randomness

CONFIDENCE = 0.95
_LARGEST = 50.0  # no number of canaries proves more
_HALVINGS = 40

# From a boolean `(m,)`, who is in the training data, to scores `(m,)`.
Training = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class OneRun:
    """What the guesses about one training say.

    Attributes:
        canaries: how many there were.
        guesses: how many were guessed to be in, fixed beforehand.
        right: how many of these guesses were right.
        advantage: true-positive rate less false-positive rate, when the half with the
            higher scores is guessed to be in.
    """

    canaries: int
    guesses: int
    right: int
    advantage: float

    def epsilon(self, delta: float, confidence: float = CONFIDENCE) -> float:
        """The largest epsilon that is refuted, at `delta`: a lower bound of the truth.

        Args:
            delta: of the claim, in [0, 1).
            confidence: with which it is one.
        """
        return epsilon_bound(self.right, self.guesses, self.canaries, delta, confidence)

    def p_value(self, claim: Claim) -> float:
        """How likely so many right guesses are at most, if the claim is true."""
        return claim_p_value(self.right, self.guesses, self.canaries, claim)


def audit_one_run(
    training: Training, *, canaries: int, guesses: int, seed: int | None = None
) -> OneRun:
    """Trains once, and guesses who was in the data.

    Args:
        training: function that trains on those canaries for which its argument, boolean
            `(canaries,)`, is true (and on whatever else), and returns a finite score
            for each of them, `(canaries,)`: the higher, the more it seems to be in.
        canaries: how many; the more the better.
        guesses: how many are guessed to be in; some 4 % of the canaries.
        seed: of the coins, which are no secret once the training is over; `None` takes
            them from the operating system.

    Returns:
        What came of it.

    Raises:
        ValueError: if there are more guesses than canaries, or scores are no numbers.
    """
    if not 0 < guesses <= canaries:
        raise ValueError(
            "Expected at least one guess, and no more than canaries. "
            f"Received: guesses={guesses}, canaries={canaries}"
        )
    included = np.zeros(canaries, bool)
    included[Randomness(seed).bernoulli(0.5, canaries)] = True
    return judge(training(included), included, guesses)


def judge(scores: np.ndarray, included: np.ndarray, guesses: int) -> OneRun:
    """Compares the guesses with the truth.

    Args:
        scores: finite, `(canaries,)`.
        included: boolean `(canaries,)`, the coins, which `scores` were made without.
        guesses: how many of the highest are guessed to be in.
    """
    scores, included = np.asarray(scores, np.float64), np.asarray(included, bool)
    if scores.shape != included.shape or not np.isfinite(scores).all():
        raise ValueError(
            f"Expected finite scores of shape {included.shape}. Received: shape "
            f"{scores.shape}, {np.sum(~np.isfinite(scores))} of them not finite"
        )
    order = np.argsort(scores)
    upper = order[len(order) // 2 :]
    share = included[upper].sum() / max(included.sum(), 1)
    others = (~included[upper]).sum() / max((~included).sum(), 1)
    return OneRun(
        canaries=len(scores),
        guesses=guesses,
        right=int(included[order[-guesses:]].sum()),
        advantage=float(share - others),
    )


def epsilon_bound(
    right: int, guesses: int, canaries: int, delta: float, confidence: float
) -> float:
    """The largest epsilon under which so many right guesses are too unlikely.

    Args:
        right: guesses that were right.
        guesses: made, of `canaries`.
        canaries: each in or out by a fair coin.
        delta: in [0, 1).
        confidence: in (0, 1).
    """

    def excess(epsilon: float) -> float:
        chance = epsilon_p_value(right, guesses, canaries, epsilon, delta)
        return chance - (1 - confidence)

    if excess(0.0) > 0:
        return 0.0
    return float(optimize.brentq(excess, 0.0, _LARGEST))


def epsilon_p_value(
    right: int, guesses: int, canaries: int, epsilon: float, delta: float
) -> float:
    """How likely `right` or more right guesses are at most, under (epsilon, delta)-DP.

    Args:
        right, guesses, canaries, delta: as for `epsilon_bound`.
        epsilon: not negative.
    """
    chance = 1 / (1 + math.exp(-epsilon))
    beta = stats.binom.sf(right - 1, guesses, chance)
    # With delta, up to i guesses more may be right, at the price of i canaries.
    just_below = stats.binom.pmf(np.arange(right)[::-1], guesses, chance)
    averages = np.cumsum(just_below) / np.arange(1, right + 1)
    alpha = 2 * averages.max(initial=0.0)
    return min(1.0, float(beta + alpha * canaries * delta))


def claim_p_value(right: int, guesses: int, canaries: int, claim: Claim) -> float:
    """How likely `right` or more right guesses are at most, under a whole claim.

    Args:
        right, guesses, canaries: as for `epsilon_bound`.
        claim: what is claimed.
    """
    possible, impossible = 0.0, 1.0
    if _is_possible(impossible, right, guesses, canaries, claim):
        return 1.0
    for _ in range(_HALVINGS):
        middle = (possible + impossible) / 2
        if _is_possible(middle, right, guesses, canaries, claim):
            possible = middle
        else:
            impossible = middle
    return impossible


def _is_possible(
    tail: float, right: int, guesses: int, canaries: int, claim: Claim
) -> bool:
    """Whether the claim allows `right` or more right guesses with chance `tail`.

    Let p_j be the chance of j right guesses. Turning one canary's coin turns a right
    guess about it into a wrong one, so that the claim ties the chance that one canary,
    drawn by lot, is guessed right while i + 1 or more are right (`hit`) to the chance
    that it is guessed wrong while i or more are right (`missed`):

        hit = sum_{j > i} j/m p_j
        missed = sum_{j >= i} (guesses - j)/m p_j >= claim.least(hit)

    Going down from `right`, each p_i is made as small as this allows. If all of them
    together are then more than 1, there are no such chances.
    """
    hit, missed = tail * right / canaries, tail * (guesses - right) / canaries
    for i in reversed(range(right)):
        needed = max(missed, claim.least(hit))
        hit += i / (guesses - i) * (needed - missed)
        missed = needed
        if hit + missed > guesses / canaries * (1 + 1e-12):
            return False
    return True

"""Masks chosen with differential privacy.

A public region is always covered. Further patches are drawn by the exponential
mechanism, from scores that may have seen the whole picture. Two pictures that differ
only inside the region are (epsilon, 0)-indistinguishable afterwards:
docs/inpainting_privacy.md has the proof, and says what is not hidden.
"""

import hashlib
import math
from fractions import Fraction

import numpy as np

from tfpriv.accounting import mechanisms, recording
from tfpriv.accounting.ledger import Ledger
from tfpriv.accounting.mechanisms import Mechanism
from tfpriv.inpainting.masks import geometric
from tfpriv.support import checks
from tfpriv.support.images import checked
from tfpriv.support.randomness import Randomness

PURPOSE = "private mask"
# The weight of a patch whose score is 0. Weights are whole numbers; this many make the
# rounding of the others, which goes down, not worth a word.
LEAST_WEIGHT = 1 << 40
LARGEST_EPSILON = 20.0  # of one draw
LARGEST_CLAIM = 1e-3  # a delta above it is told, and nothing is claimed with it
# exp() is off by 2^-52 or so, and the product by as much.
_MARGIN = 2.0**-40


def private_patches(
    pictures: np.ndarray,
    scores: np.ndarray,
    *,
    epsilon: float,
    ledger: Ledger,
    count: int = 48,
    region: np.ndarray | None = None,
    distinct_persons: bool = False,
    seed: int | None = None,
) -> np.ndarray:
    """Covers a public region, and patches outside of it drawn by their scores.

    **Protected is what lies inside the region**, against whoever sees the masks and
    what is painted outside of them. Outside of it nothing is: `worst_delta`.

    Args:
        pictures: uint8 (n, size, size, 3), aligned by public means; the size a multiple
            of the grid. Of them the mask depends on the size alone.
        scores: float (n, grid, grid), how well a patch tells the person; cut to [0, 1],
            and 0 where it is not a number. A picture's scores may depend on all of that
            picture and on public things, and on no other picture.
        epsilon: of all draws of one picture together, greater than 0.
        ledger: where they are written down, before the first is drawn.
        count: patches to be drawn for each picture, at least 1.
        region: bool (grid, grid), always covered; by default `aligned_region`.
            Public: not to be chosen by looking at the pictures.
        distinct_persons: whether the n pictures are of n different persons. The event
            is then written once; if not, or if you do not know, n times, as if all of
            them were of one.
        seed: None for randomness from the operating system. A number, for tests, makes
            the masks a function of it and marks the ledger as not for release.

    Returns:
        bool (n, size, size).

    Raises:
        LedgerError: if the ledger is about another unit or relation, which another
            region is. Nothing was drawn or recorded.
        ValueError: if an argument is out of range. Nothing was recorded.
    """
    pictures, scores = checked(pictures), np.asarray(scores, np.float64)
    grid = scores.shape[-1] if scores.ndim else 0
    if not grid or scores.shape != (len(pictures), grid, grid):
        raise ValueError(
            f"Expected one score for each patch. Received: shape {scores.shape}"
        )
    region = _checked_region(region, grid, count)
    chosen = np.repeat(region[None], len(pictures), 0)
    geometric.spread(chosen, pictures.shape[1])  # whole patches, or nothing is recorded
    mechanism = one_draw(epsilon, count)
    randomness = Randomness(seed)
    if len(pictures):
        recording.spend(
            ledger,
            mechanism,
            unit=unit(region),
            purpose=PURPOSE,
            count=count * (1 if distinct_persons else len(pictures)),
            seeded=seed is not None,
        )
    for one, values in zip(chosen, scores, strict=True):
        one[~region] = draw(values[~region], epsilon / count, count, randomness)
    return geometric.spread(chosen, pictures.shape[1])


def one_draw(epsilon: float, count: int) -> Mechanism:
    """What one of the draws of a picture costs.

    Args:
        epsilon: of all draws together, greater than 0.
        count: of draws.

    Returns:
        The mechanism: pure, of epsilon / count.

    Raises:
        ValueError: if an argument is out of range.
    """
    count = checks.whole("count", count)
    high = LARGEST_EPSILON * count
    epsilon = checks.real("epsilon", epsilon, high=high, open_low=True)
    note = "one patch of a mask, drawn by the exponential mechanism"
    return mechanisms.pure(epsilon / count, notes=(note,))


def unit(region: np.ndarray) -> str:
    """Who is protected: what the ledger calls its unit.

    Two pictures are neighbours under one region and not under another, so that losses
    under different regions do not add up, and their units differ.

    Args:
        region: bool (grid, grid).
    """
    packed = np.packbits(region).tobytes()
    digest = hashlib.sha256(repr((region.shape, packed)).encode()).hexdigest()[:8]
    return (
        "picture among those that differ only inside the public region "
        f"({int(region.sum())} of {region.size} patches, {digest})"
    )


def draw(
    scores: np.ndarray, epsilon: float, count: int, randomness: Randomness
) -> np.ndarray:
    """Draws patches one after the other, without replacement.

    The chance of a patch is its weight's share of the weights that are left: exactly,
    because there are whole numbers only.

    Args:
        scores: float (m,), cut to [0, 1].
        epsilon: of one draw.
        count: how many, at most m.
        randomness: where uniform words come from.

    Returns:
        bool (m,), `count` of them True.
    """
    left = weights(scores, epsilon)
    chosen = np.zeros(len(left), bool)
    for _ in range(count):
        place = _below(sum(left), randomness)
        patch = 0
        while place >= left[patch]:
            place -= left[patch]
            patch += 1
        chosen[patch], left[patch] = True, 0
    return chosen


def weights(scores: np.ndarray, epsilon: float) -> list[int]:
    """The weights of patches: `2^40 exp(epsilon / 2 * score)`, whole numbers.

    Whatever the scores are, none is below 2^40 and none above 2^40 exp(epsilon / 2).

    Args:
        scores: float (m,), cut to [0, 1]; 0 where it is not a number.
        epsilon: of one draw, in (0, 20].

    Returns:
        m of them.
    """
    scores = np.clip(np.where(np.isnan(scores), 0.0, scores), 0.0, 1.0)
    most = int(LEAST_WEIGHT * math.exp(epsilon / 2) * (1 - _MARGIN))
    return [
        max(LEAST_WEIGHT, min(most, int(LEAST_WEIGHT * math.exp(epsilon / 2 * score))))
        for score in scores.tolist()
    ]


def worst_delta(patches: int, candidates: int, count: int, epsilon: float) -> float:
    """How likely, at worst, something outside of the public region stays uncovered.

    Two pictures that differ in some patches outside of the region, too, are
    (epsilon, delta)-indistinguishable with this delta, and for scores at their worst
    (none for these patches, the highest for all others) not with a smaller one.

    Args:
        patches: how many of those outside of the region the pictures differ in.
        candidates: how many there are outside of the region.
        count: how many of them are drawn.
        epsilon: of all draws together.

    Returns:
        The delta: 1 if they cannot all be covered, 0 for no patches.

    Raises:
        ValueError: if an argument is out of range.
    """
    candidates = checks.whole("candidates", candidates)
    patches = checks.whole("patches", patches, low=0)
    count = checks.whole("count", count)
    if patches > candidates or count > candidates:
        raise ValueError(
            "Expected at most as many patches, and draws, as candidates. "
            f"Received: patches={patches}, count={count}, candidates={candidates}"
        )
    one_draw(epsilon, count)
    low, high = weights(np.array([0.0, 1.0]), epsilon / count)
    # After each draw: how likely `missing` of the patches are still to be covered.
    chances = {patches: Fraction(1)}
    for drawn in range(count):
        after: dict[int, Fraction] = {}
        for missing, chance in chances.items():
            others = candidates - drawn - missing
            hit = Fraction(missing * low, missing * low + others * high or 1)
            for rest, share in ((missing - 1, hit), (missing, 1 - hit)):
                if share:
                    after[rest] = after.get(rest, 0) + chance * share
        chances = after
    return float(1 - chances.get(0, Fraction(0)))


def statement(region: np.ndarray, count: int, epsilon: float, patches: int) -> str:
    """Says what masks hide, and what they do not.

    Args:
        region: bool (grid, grid), the public one.
        count: patches drawn beside it.
        epsilon: of all draws together.
        patches: in how many patches outside of the region pictures might differ, too.

    Returns:
        Two sentences.
    """
    delta = worst_delta(patches, int((~region).sum()), count, epsilon)
    claim = f"delta is {delta:.3g}"
    if delta > LARGEST_CLAIM:
        claim = f"nothing is claimed: at worst these show with probability {delta:.3g}"
    return (
        f"Pictures that differ only inside the public region ({int(region.sum())} of "
        f"{region.size} patches) are ({epsilon:g}, 0)-indistinguishable. For pictures "
        f"that differ in {patches} more patches {claim}."
    )


def _below(bound: int, randomness: Randomness) -> int:
    """A uniform whole number, 0 <= value < bound.

    Numbers of as many bits as the bound has; one that is too large is drawn again.
    """
    bits = bound.bit_length()
    words = -(-bits // 64)
    while True:
        value = int.from_bytes(randomness.words(words).tobytes(), "little")
        value >>= 64 * words - bits
        if value < bound:
            return value


def _checked_region(region, grid, count):
    region = geometric.aligned_region(grid) if region is None else np.asarray(region)
    if region.dtype != bool or region.shape != (grid, grid):
        raise ValueError(
            f"`region` must be bool of the scores' grid {(grid, grid)}. "
            f"Received: {region.dtype} of shape {region.shape}"
        )
    count, free = checks.whole("count", count), int((~region).sum())
    if count > free:
        raise ValueError(
            f"Expected fewer draws. Received: count={count}, {free} patches outside"
        )
    return region

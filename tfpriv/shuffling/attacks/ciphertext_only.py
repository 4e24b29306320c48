"""Ciphertext only: the permutation from many shuffled pictures, none of them known.

Neighbours in plain pictures are alike. If all pictures share a permutation, the places
where neighbours went are alike in all of them, and the grid can be put together again.
"""

import dataclasses

import numpy as np
from scipy.optimize import linear_sum_assignment

from tfpriv.shuffling.attacks.orders import block_places

_NEIGHBOURS = 8  # of a unit, in the graph that is spread out in the plane
_FEW = 256  # units: as many can be refined from all eight mirrorings
_REFINED = 2  # of the eight, those that fit best, where there are more units
_ROUNDS = 12


@dataclasses.dataclass(frozen=True)
class PlaceStatistics:
    """What many pictures say about their places.

    Attributes:
        mean: `(places, channels)`, of the colours less their picture's mean colour.
        variance: `(places, channels)`.
        correlation: `(places, places)`, over pictures and channels.
    """

    mean: np.ndarray
    variance: np.ndarray
    correlation: np.ndarray


def place_statistics(images: np.ndarray) -> PlaceStatistics:
    """Compares the places of pictures with each other.

    Args:
        images: `(n, height, width, channels)`, shuffled or plain; n >= 2.

    Returns:
        The statistics.
    """
    if images.ndim != 4 or len(images) < 2:
        raise ValueError(
            "Expected at least two pictures (n, height, width, channels). Received: "
            f"shape {images.shape}"
        )
    count, height, width, channels = images.shape
    values = images.reshape(count, height * width, channels).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)  # else brightness outshines the rest
    mean, variance = values.mean(axis=0), values.var(axis=0)
    rows = (values - mean).transpose(0, 2, 1).reshape(-1, height * width)
    products = rows.T @ rows
    scale = np.sqrt(np.maximum(np.diag(products), np.finfo(np.float32).tiny))
    return PlaceStatistics(mean, variance, products / scale / scale[:, None])


def reassemble(
    shuffled: PlaceStatistics,
    reference: PlaceStatistics,
    size: tuple[int, int],
    side: int = 1,
) -> np.ndarray:
    """Finds the order of places whose statistics fit those of plain pictures.

    Places are spread out in the plane by the Laplacian eigenmaps of their correlations,
    laid on those of the reference in every mirroring, and matched one to one. Then
    every place goes where its correlations with all the others fit best, over and over
    (Frank-Wolfe steps of the relaxed quadratic assignment problem).

    Args:
        shuffled: statistics of shuffled pictures that share a permutation.
        reference: those of plain pictures of the same kind, not the same ones.
        size: (height, width) in pixels.
        side: of the blocks that the permutation moves, in pixels; 1 for single pixels.

    Returns:
        int array `(places,)`: the order. Natural pictures say little about left and
        right, so that it may be that of the mirror image.

    Reference: M. Belkin, P. Niyogi, "Laplacian eigenmaps", 2003; J. Vogelstein et al.,
    "Fast approximate quadratic programming for graph matching", 2015.
    """
    blocks = block_places(*size, side)
    ours, theirs = (_of_blocks(_features(s), blocks) for s in (shuffled, reference))
    starts = _starts(_spread(ours[0]), _spread(theirs[0]))
    starts.sort(key=lambda match: _fit(ours, theirs, match), reverse=True)
    refined = len(starts) if len(blocks) <= _FEW else _REFINED
    apart = _apart(*ours), _apart(*theirs)
    matches = [
        _polished(ours, theirs, _refined(*apart, match)) for match in starts[:refined]
    ]
    best = max(matches, key=lambda match: _fit(ours, theirs, match))
    order = np.empty(blocks.size, np.int64)
    order[blocks] = blocks[best]
    return order


def _features(statistics):
    """Correlations, and what a place tells by itself in units of its noise."""
    deviation = np.sqrt(statistics.variance + 1e-6)
    own = np.concatenate([statistics.mean / deviation, np.log(deviation)], axis=1)
    return statistics.correlation, own - own.mean(axis=0)


def _of_blocks(features, blocks):
    """(units, places in a unit, units, places) and (units, own features)."""
    correlation, own = features
    units, inside = blocks.shape
    between = correlation[blocks.ravel()[:, None], blocks.ravel()]
    return between.reshape(units, inside, units, inside), own[blocks].reshape(units, -1)


def _apart(between, own):
    """The same, with a unit's correlation with itself among its own features."""
    units = len(own)
    itself = np.einsum("iaib->iab", between).reshape(units, -1)
    between = np.where(np.eye(units, dtype=bool)[:, None, :, None], 0, between)
    return between, np.concatenate([own, itself], axis=1)


def _spread(between):
    """Two coordinates for each unit, by the graph of those that are most alike."""
    alike = np.maximum(between.max(axis=(1, 3)), 0) ** 2  # edges touch
    np.fill_diagonal(alike, 0)
    count = min(_NEIGHBOURS, len(alike) - 1)
    nearest = np.argpartition(-alike, count - 1, axis=1)[:, :count]
    graph = np.zeros_like(alike)
    np.put_along_axis(graph, nearest, np.take_along_axis(alike, nearest, 1), 1)
    graph = np.maximum(graph, graph.T) + 1e-9
    degree = np.sqrt(graph.sum(axis=1))
    _, vectors = np.linalg.eigh(-graph / degree / degree[:, None])
    places = vectors[:, 1:3] / degree[:, None]
    return places / places.std(axis=0)


def _starts(mine, wanted):
    """Matches of units with places, one for each of the eight mirrorings."""
    matches = []
    for turned in (mine, mine[:, ::-1]):
        for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            distance = ((turned * signs)[:, None] - wanted) ** 2
            matches.append(linear_sum_assignment(distance.sum(axis=-1))[1])
    return matches


def _gain(ours, theirs, match):
    """How well each unit would fit at each place, if the others are where they are."""
    units = len(match)
    across = theirs[0][:, :, match].reshape(units, -1)
    return ours[0].reshape(units, -1) @ across.T


def _fit(ours, theirs, match):
    units = np.arange(len(match))
    own = (ours[1] * theirs[1][match]).sum()
    return _gain(ours, theirs, match)[units, match].sum() + own


def _refined(ours, theirs, match):
    """Goes uphill through mixtures of matches, and ends at the match next to there."""
    own = ours[1] @ theirs[1].T
    mixed, gain = np.eye(len(match))[match], _gain(ours, theirs, match)
    for _ in range(_ROUNDS):
        better = linear_sum_assignment(2 * gain + own, maximize=True)[1]
        step = np.eye(len(match))[better] - mixed
        rise = _gain(ours, theirs, better) - gain
        # The fit after a part of the step, less that before: up * part + bend * part^2.
        up, bend = (step * (2 * gain + own)).sum(), (step * rise).sum()
        if up <= 1e-6 * abs((mixed * gain).sum()):
            break
        part = 1.0 if up + 2 * bend >= 0 else -up / (2 * bend)
        mixed, gain = mixed + part * step, gain + part * rise
    return linear_sum_assignment(mixed, maximize=True)[1]


def _polished(ours, theirs, match):
    """Whole steps, which only go uphill: correlations are positive semidefinite."""
    own = ours[1] @ theirs[1].T
    for _ in range(_ROUNDS):
        gain = 2 * _gain(ours, theirs, match) + own
        better = linear_sum_assignment(gain, maximize=True)[1]
        if np.array_equal(better, match):
            break
        match = better
    return match

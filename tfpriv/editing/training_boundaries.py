"""Boundaries of our own: a linear support vector machine on scored latents."""

import dataclasses

import numpy as np

from tfpriv.editing.boundary import Boundary
from tfpriv.support import extras


@dataclasses.dataclass(frozen=True)
class BoundaryFit:
    """How well a boundary parts latents that it was not made from.

    Attributes:
        boundary: the boundary.
        chosen: accuracy on latents held out of those with clear scores.
        others: accuracy on all latents that were not chosen, parted at the middle of
            the scores; NaN if there are none.
    """

    boundary: Boundary
    chosen: float
    others: float


def train_boundary(
    latents: np.ndarray,
    scores: np.ndarray,
    attribute: str,
    *,
    fraction: float = 0.2,
    held_out: float = 0.3,
    seed: int = 0,
    space: str = "w",
    generator: str | None = None,
    truncation: float | None = None,
) -> BoundaryFit:
    """Parts the latents with the highest scores from those with the lowest.

    Latents drawn from a public generator are public. A boundary fitted to people's
    pictures is not: record it in their ledger (`mechanisms.non_private`).

    Args:
        latents: (n, latent_dim).
        scores: (n,), of the attribute in the latents' pictures: probabilities, numbers
            or 0 and 1. What is not finite is left out.
        attribute: its name.
        fraction: part of the latents taken from each end, in (0, 0.5].
        held_out: part of those kept for the accuracy, in (0, 1).
        seed: of the choice, where scores are equal, and of what is held out.
        space: the latents' space.
        generator: the generator's fingerprint.
        truncation: under which the latents were drawn.

    Returns:
        The boundary, and its accuracies.

    Raises:
        ValueError: for shapes that do not fit, fewer than 10 latents for each side, or
            scores that are all the same.

    Reference: Y. Shen et al., "InterFaceGAN", arXiv:2005.09635, section 3.
    """
    with extras.needs("faces"):
        from sklearn.svm import SVC

    latents, scores = _checked(latents, scores)
    number = int(len(scores) * fraction) if 0 < fraction <= 0.5 else 0
    if number < 10 or not 0 < held_out < 1:
        raise ValueError(
            "A boundary needs 0 < fraction <= 0.5, 10 latents for each side and "
            f"0 < held_out < 1. Received: fraction={fraction} of {len(scores)} "
            f"latents, held_out={held_out}"
        )
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(scores))
    order = shuffled[np.argsort(scores[shuffled], kind="stable")]
    low, high = rng.permutation(order[:number]), rng.permutation(order[-number:])
    if scores[order[number - 1]] >= scores[order[-number]]:
        raise ValueError(
            "The lowest and the highest scores must differ. Received: "
            f"{scores[order[number - 1]]} and {scores[order[-number]]} at fraction="
            f"{fraction}"
        )
    kept = number - max(1, int(number * held_out))
    rows = np.concatenate([low[:kept], high[:kept]])
    machine = SVC(kernel="linear").fit(latents[rows], np.arange(2 * kept) >= kept)
    boundary = Boundary(
        machine.coef_[0],
        attribute,
        machine.intercept_[0],
        space,
        generator,
        truncation,
    )
    middle = (scores[order[0]] + scores[order[-1]]) / 2
    rest = order[number:-number]
    wrong = np.sum(boundary.score(latents[low[kept:]]) > 0)
    wrong += np.sum(boundary.score(latents[high[kept:]]) <= 0)
    right = (boundary.score(latents[rest]) > 0) == (scores[rest] >= middle)
    return BoundaryFit(
        boundary,
        1 - float(wrong) / (2 * (number - kept)),
        float(right.mean()) if len(rest) else float("nan"),
    )


def _checked(latents, scores):
    latents, scores = np.asarray(latents, float), np.asarray(scores, float)
    if latents.ndim != 2 or scores.shape != latents.shape[:1]:
        raise ValueError(
            "Latents must be (n, latent_dim) and scores (n,). Received: shapes "
            f"{latents.shape} and {scores.shape}"
        )
    finite = np.isfinite(scores)
    if not np.isfinite(latents[finite]).all():
        raise ValueError("Latents must be finite. Received: NaN or infinity")
    return latents[finite], scores[finite]

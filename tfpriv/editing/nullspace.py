"""A subspace instead of a line: all that a linear probe reads of an attribute."""

import dataclasses

import numpy as np

from tfpriv.support import extras


@dataclasses.dataclass(frozen=True)
class AttributeSubspace:
    """Directions of an attribute, and how well it is read from what they leave.

    Attributes:
        basis: float64 (k, latent_dim), orthonormal rows, in the order of their finding.
        accuracies: (k + 1,), balanced accuracy of a fresh probe on held-out latents
            with 0, 1, ..., k directions taken out.
        margin: how far above 0.5 chance alone takes the last one, once in a hundred.
    """

    basis: np.ndarray
    accuracies: tuple[float, ...]
    margin: float


def attribute_subspace(
    latents: np.ndarray,
    labels: np.ndarray,
    *,
    most: int | None = None,
    held_out: float = 0.3,
    seed: int = 0,
) -> AttributeSubspace:
    """Takes out what a linear probe reads an attribute by, until none reads it.

    It ends when a probe's accuracy on held-out latents is no better than chance. That
    speaks of linear probes only: a network may still read the attribute.

    Args:
        latents: (n, latent_dim).
        labels: bool (n,), with the attribute or without.
        most: number of directions at which to end in any case; by default one less
            than latent_dim.
        held_out: part of the latents for the accuracy, in (0, 1).
        seed: of what is held out.

    Returns:
        The subspace.

    Raises:
        ValueError: for shapes that do not fit, values that are not finite, or fewer
            than 20 latents of either label.

    Reference: S. Ravfogel et al., "Null It Out", arXiv:2004.07667.
    """
    latents, labels = np.asarray(latents, float), np.asarray(labels).astype(bool)
    if latents.ndim != 2 or labels.shape != latents.shape[:1]:
        raise ValueError(
            "Latents must be (n, latent_dim) and labels (n,). Received: shapes "
            f"{latents.shape} and {labels.shape}"
        )
    fewest = min(labels.sum(), (~labels).sum())
    if not np.isfinite(latents).all() or fewest < 20 or not 0 < held_out < 1:
        raise ValueError(
            "A subspace needs finite latents, 20 of either label and 0 < held_out < 1. "
            f"Received: {fewest} of one label, held_out={held_out}"
        )
    most = latents.shape[1] - 1 if most is None else most
    tested = np.zeros(len(labels), bool)
    for side in (labels, ~labels):
        rows = np.random.default_rng(seed).permutation(np.flatnonzero(side))
        tested[rows[: max(10, int(len(rows) * held_out))]] = True
    # The standard deviation of a balanced accuracy of 0.5, times a normal's 99 %.
    counts = [np.sum(tested & side) for side in (labels, ~labels)]
    margin = 2.326 * np.sqrt(sum(1 / c for c in counts)) / 4
    centred = latents - latents[~tested].mean(0)
    basis, accuracies = np.zeros((0, latents.shape[1])), []
    while True:
        rest = centred - (centred @ basis.T) @ basis
        direction, accuracy = _probe(rest, labels, tested)
        accuracies.append(accuracy)
        if accuracy <= 0.5 + margin or len(basis) == most:
            return AttributeSubspace(basis, tuple(accuracies), float(margin))
        # Twice, because once leaves rounding errors along what is there already.
        for _ in range(2):
            direction = direction - (direction @ basis.T) @ basis
            direction = direction / np.linalg.norm(direction)
        basis = np.vstack([basis, direction])


def _probe(latents, labels, tested) -> tuple[np.ndarray, float]:
    """A linear probe's direction, and its balanced accuracy on tested latents."""
    with extras.needs("faces"):
        from sklearn.linear_model import LogisticRegression

    probe = LogisticRegression(class_weight="balanced", max_iter=1000)
    probe.fit(latents[~tested], labels[~tested])
    right = probe.predict(latents) == labels
    accuracy = np.mean([right[tested & side].mean() for side in (labels, ~labels)])
    return probe.coef_[0], float(accuracy)

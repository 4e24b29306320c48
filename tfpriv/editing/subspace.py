"""The subspace of latents that some attributes span: its basis and its coordinates.

Products are summed row by row, not by a matrix library: in an order of additions that
depends neither on how many latents there are nor on the number of threads. A latent is
released alike alone and in company, and boundaries make the same basis every time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfpriv.support import checks

SPACES = ("z", "w", "wp")
LARGEST_SCORE = 1e6
# A normal of which less than this is left, after all before it are taken out, says
# nothing new: what is left of it may be rounding.
_LEAST_NEW = 1e-6


@dataclass(frozen=True)
class Subspace:
    """Directions of a latent space, and where their attributes' boundaries cross.

    Args:
        basis: float64 array `(k, D)` with orthonormal rows.
        origin: float64 array `(k,)`: the coordinates at which every attribute's score
            is zero.
        per_score: float64 array `(k, k)`: coordinates, less the origin, of one unit of
            each attribute's score (its columns).
        attributes: what they are called.
        space: "z", "w", "wp", or None if nothing says so.
    """

    basis: np.ndarray
    origin: np.ndarray
    per_score: np.ndarray
    attributes: tuple[str, ...]
    space: str | None

    @classmethod
    def of(cls, boundaries: Any) -> "Subspace":
        """Makes the subspace of boundaries.

        Args:
            boundaries: one or several `Boundary`, `AttributeSubspace`, arrays `(D,)` or
                arrays `(k, D)`; of any length but zero, at any angle but dependent.

        Returns:
            The subspace that all of them span together.

        Raises:
            ValueError: if there is none, they do not fit each other, one holds what is
                no number, or one lies in the span of the others.
        """
        if isinstance(boundaries, cls):
            return boundaries
        normals, intercepts, attributes, spaces = [], [], [], []
        for boundary in _listed(boundaries):
            array = getattr(boundary, "basis", getattr(boundary, "normal", boundary))
            for normal in _rows(array):
                normals.append(normal)
                intercepts.append(float(getattr(boundary, "intercept", 0.0)))
                spaces.append(getattr(boundary, "space", None))
                name = getattr(boundary, "attribute", None)
                attributes.append(name or f"direction {len(normals)}")
        _check_together(normals, intercepts, spaces)
        matrix = np.stack(normals)
        basis = orthonormalised(matrix)
        per_score = np.linalg.inv(matrix @ basis.T)
        origin = -per_score @ np.array(intercepts)
        space = next((s for s in spaces if s is not None), None)
        return cls(basis, origin, per_score, tuple(attributes), space)

    @classmethod
    def whole(cls, size: int) -> "Subspace":
        """The space of all latents `(size,)`: their numbers are the coordinates."""
        names = tuple(f"number {i + 1}" for i in range(size))
        return cls(np.eye(size), np.zeros(size), np.eye(size), names, None)

    def at_scores(self, scores: Any) -> np.ndarray:
        """The coordinates at which the attributes have given scores.

        Args:
            scores: a number for all of them, or one for each: `latent @ normal +
                intercept`.

        Returns:
            float64 array `(k,)`.

        Raises:
            ValueError: if they are not finite, or beyond a million, or not as many as
                the attributes.
        """
        values = np.asarray(scores, np.float64)
        fits = values.shape in ((), self.origin.shape)
        if not fits or not (np.abs(values) <= LARGEST_SCORE).all():
            raise ValueError(
                "Expected one finite score, or one for each of the "
                f"{len(self.origin)} directions, within {LARGEST_SCORE:g} of zero. "
                f"Received: {scores!r}"
            )
        return self.origin + self.per_score @ np.broadcast_to(values, self.origin.shape)

    def coordinates(self, latents: np.ndarray) -> np.ndarray:
        """How far latents reach along each direction of the basis.

        Args:
            latents: float64 array `(..., D)`.

        Returns:
            float64 array `(..., k)`.
        """
        return np.stack([(latents * row).sum(-1) for row in self.basis], axis=-1)

    def embedded(self, coordinates: np.ndarray) -> np.ndarray:
        """The latents of the subspace that have these coordinates.

        Args:
            coordinates: float64 array `(..., k)`.

        Returns:
            float64 array `(..., D)`.
        """
        latents = np.zeros((*coordinates.shape[:-1], self.basis.shape[1]))
        for i, row in enumerate(self.basis):
            latents += coordinates[..., i : i + 1] * row
        return latents

    def remainder(self, latents: np.ndarray) -> np.ndarray:
        """What is left of latents without the subspace: the same shape."""
        return latents - self.embedded(self.coordinates(latents))


def orthonormalised(matrix: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the span of a matrix's rows, by Gram–Schmidt.

    The first row keeps its direction; each later one loses its part along those before.

    Args:
        matrix: float64 array `(k, D)`.

    Returns:
        float64 array `(k, D)`.

    Raises:
        ValueError: if a row is (nearly) in the span of those before it.
    """
    basis = np.empty_like(matrix)
    for number, row in enumerate(matrix):
        new, known = row / _length(row), basis[:number]
        for _ in range(2):  # once more takes out what rounding left
            parts = (known * new).sum(1)
            new = new - (known * parts[:, None]).sum(0)
        size = _length(new)
        if size < _LEAST_NEW:
            raise ValueError(
                "The boundaries are linearly dependent: direction "
                f"{number + 1} lies in the span of those before it. Leave it out. "
                f"Received: {len(matrix)} directions, {size:.1e} of it being new"
            )
        basis[number] = new / size
    return basis


def _length(row: np.ndarray) -> float:
    return float(np.sqrt((row * row).sum()))


def _listed(boundaries: Any) -> Sequence[Any]:
    if isinstance(boundaries, Sequence) and not isinstance(boundaries, str):
        return boundaries
    return [boundaries]


def _rows(normal: Any) -> np.ndarray:
    rows = np.asarray(normal)
    if rows.dtype.kind not in "fiu" or rows.ndim not in (1, 2) or 0 in rows.shape:
        raise ValueError(
            "A boundary is an array (D,) of numbers, and a subspace (k, D). Received: "
            f"an array of dtype {rows.dtype} and shape {rows.shape}"
        )
    return np.atleast_2d(rows.astype(np.float64))


def _check_together(normals: list, intercepts: list, spaces: list) -> None:
    sizes = sorted({len(normal) for normal in normals})
    if len(sizes) != 1:
        raise ValueError(
            "Expected at least one boundary, and all of one latent size. Received: "
            f"sizes {sizes}"
        )
    for normal, intercept in zip(normals, intercepts, strict=True):
        checks.real("norm of a boundary", np.linalg.norm(normal), open_low=True)
        checks.real("intercept", abs(intercept))
    known = {space for space in spaces if space is not None}
    if len(known) > 1 or not known <= set(SPACES):
        raise ValueError(
            f"Expected boundaries of one latent space, one of {SPACES}. Received: "
            f"{sorted(map(str, known))}"
        )

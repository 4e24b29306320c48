"""Attributes of a face, released with differential privacy: replace, don't add.

The coordinates of a latent in the attributes' subspace are taken out, clipped to a
public bound, noised, and put back on a remainder that was rounded to a public grid. Two
faces with the same rounded remainder become (epsilon, delta)-indistinguishable:
docs/editing_privacy.md has the proof, and says what this does not hide.
"""

from typing import Any

import numpy as np

from tfpriv.editing.grid_noise import grid_noise
from tfpriv.editing.release import Release
from tfpriv.editing.subspace import Subspace

# About 0.001 for each of 512 numbers whose spread is near 0.5: not to be seen.
GRID = 2.0**-8
NOT_THE_ATTRIBUTE = (
    "protected are coordinates of the latent given its remainder, not the attributes "
    "themselves, which the remainder may show"
)


class AttributeMechanism(Release):
    """Replaces the coordinates of attributes by noised ones.

    Protected are **the clipped coordinates in the attributes' subspace, given the rest
    of the latent**: not the attributes themselves, which the rest may still show.

    Several attributes are one vector and one release. `clip` bounds that vector, over
    all attributes and (in W+) all layers: its Euclidean length for Gaussian noise, the
    sum of its absolute values for Laplace noise, both from the public centre.

    Args:
        boundaries: one or several `Boundary`, arrays `(D,)`, or a subspace: an
            `AttributeSubspace`, an array `(k, D)`. They need not be orthogonal; they
            are made so together. If they were fitted to private faces, record that
            (`mechanisms.non_private`).
        clip: radius of the coordinates' range, in the latents' unit, greater than 0.
            Twice this is the sensitivity. Public: not to be chosen by looking at the
            face.
        epsilon: of one release of one latent, greater than 0.
        delta: of one release: 0 for Laplace noise, in (0, 1) for Gaussian.
        noise_multiplier: instead of epsilon and delta: the standard deviation of
            Gaussian noise, divided by `2 * clip`.
        center: public score at the centre of the range, one for all attributes or one
            for each: `w @ normal + intercept`. 0 is the boundary itself.
        space: "z", "w" or "wp"; None for that of the boundaries, or else "w".
        grid: step of the remainder's public grid, in the latents' unit.
        seed: for tests only: noise that can be repeated. Marks the ledger as not for
            release.

    Raises:
        ValueError: if an argument is out of range, or the boundaries are dependent, of
            different sizes or of another space.

    >>> from tfpriv.accounting import Ledger
    >>> age = np.eye(8)[0]
    >>> mechanism = AttributeMechanism(age, clip=2.0, epsilon=1.0, delta=1e-5)
    >>> ledger = Ledger()
    >>> released = mechanism(np.ones(8), ledger=ledger)
    >>> round(ledger.epsilon(delta=1e-5, accountant="pld"), 3)
    1.0

    Reference: B. Balle, Y.-X. Wang, "Improving the Gaussian mechanism for differential
    privacy", 2018; C. Canonne et al., "The discrete Gaussian for differential privacy",
    2020.
    """

    _kind = "attribute release"

    def __init__(
        self,
        boundaries: Any,
        clip: float,
        *,
        epsilon: float | None = None,
        delta: float | None = None,
        noise_multiplier: float | None = None,
        center: Any = 0.0,
        space: str | None = None,
        grid: float = GRID,
        seed: int | None = None,
    ) -> None:
        subspace = Subspace.of(boundaries)
        self.center = subspace.at_scores(center)
        purpose, note = self._words(", ".join(subspace.attributes))
        self.noise = grid_noise(
            clip,
            epsilon=epsilon,
            delta=delta,
            noise_multiplier=noise_multiplier,
            note=note,
        )
        super().__init__(
            subspace,
            self.noise.mechanism,
            purpose,
            space=space,
            grid=grid,
            seed=seed,
        )

    @property
    def stddev(self) -> float:
        """Standard deviation of the noise on each coordinate, in the latents' unit."""
        return self.noise.stddev

    def settings(self) -> dict[str, Any]:
        """What decides how latents are released, as JSON: all of it public."""
        own = {"clip": self.noise.radius, "center": self.center.tolist()}
        return super().settings() | own

    def _words(self, names: str) -> tuple[str, str]:
        """What the ledger says of the release: its purpose and a note."""
        return f"{self._kind}: {names}", NOT_THE_ATTRIBUTE

    def _taken_apart(self, latents: np.ndarray) -> tuple[np.ndarray, ...]:
        coordinates = self.subspace.coordinates(latents)
        remainder = latents - self.subspace.embedded(coordinates)
        return self._rounded(remainder), self._clipped(coordinates)

    def _clipped(self, coordinates: np.ndarray) -> np.ndarray:
        """Clipped coordinates in steps of the noise's grid: one vector for a latent."""
        offsets = coordinates - self.center
        steps = self.noise.clipped(offsets.reshape(len(offsets), -1))
        return steps.reshape(offsets.shape)

    def _joined(self, parts: tuple[np.ndarray, ...]) -> np.ndarray:
        rounded, steps = parts
        noised = steps + self.noise.draw(self._randomness, steps.shape)
        return self._put_back(self._base(rounded), noised)

    def _put_back(self, base: np.ndarray, noised: np.ndarray) -> np.ndarray:
        coordinates = self.center + noised * self.noise.step
        return base + self.subspace.embedded(coordinates)

"""Other ways to release a latent, to compare the attribute mechanism with."""

import math
from typing import Any

import numpy as np

from tfpriv.accounting import mechanisms
from tfpriv.editing import discrete_noise
from tfpriv.editing.grid_noise import SCALE
from tfpriv.editing.mechanism import GRID, NOT_THE_ATTRIBUTE, AttributeMechanism
from tfpriv.editing.release import Release
from tfpriv.editing.subspace import Subspace
from tfpriv.support import checks


class IsotropicMechanism(AttributeMechanism):
    """The same budget spent in every direction.

    The attributes' coordinates are clipped and noised as by `AttributeMechanism`, and
    all other directions get independent noise of the same size. What is protected, and
    how well, is the same; what else the picture shows suffers. Arguments as there.
    """

    _kind = "attribute release with noise in every direction"

    def _joined(self, parts: tuple[np.ndarray, ...]) -> np.ndarray:
        released = super()._joined(parts)
        noise = self.noise.draw(self._randomness, released.shape) * self.noise.step
        return released + self.subspace.remainder(noise)


class LatentMechanism(AttributeMechanism):
    """Releases the whole latent: clipped to a ball, every coordinate noised.

    There is no remainder: any two faces are neighbours, and nothing of the face is left
    unprotected.

    Args:
        clip: radius of the ball around `center` that latents are clipped to, in the
            norm that `AttributeMechanism` says.
        center: public latent `(D,)`, such as the generator's mean.
        epsilon: as for `AttributeMechanism`; so are the others.

    Raises:
        ValueError: if an argument is out of range.

    Reference: T. Li, C. Clifton, "Differentially private imaging via latent space
    manipulation", 2021.
    """

    def __init__(
        self,
        center: Any,
        clip: float,
        *,
        epsilon: float | None = None,
        delta: float | None = None,
        noise_multiplier: float | None = None,
        space: str = "w",
        seed: int | None = None,
    ) -> None:
        center = np.asarray(center)
        if center.ndim != 1 or center.dtype.kind not in "fiu":
            raise ValueError(
                "Expected a public latent (D,) of numbers. "
                f"Received: dtype {center.dtype}, shape {center.shape}"
            )
        super().__init__(
            Subspace.whole(len(center)),
            clip,
            epsilon=epsilon,
            delta=delta,
            noise_multiplier=noise_multiplier,
            center=center,
            space=space,
            seed=seed,
        )

    @property
    def unit(self) -> str:
        """Who is protected: any face, for there is no remainder to share."""
        return "face"

    def _words(self, names: str) -> tuple[str, str]:
        del names  # of every coordinate
        return "release of the whole latent", "protected is the whole latent, clipped"


class FixedTarget(Release):
    """Gives every face the same public scores: epsilon 0 given the rounded remainder.

    Args:
        boundaries: as for `AttributeMechanism`.
        target: public score of the result, one for all attributes or one for each.
        space: as for `AttributeMechanism`.
        grid: as for `AttributeMechanism`.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        boundaries: Any,
        target: Any = 0.0,
        *,
        space: str | None = None,
        grid: float = GRID,
    ) -> None:
        subspace = Subspace.of(boundaries)
        self.target = subspace.at_scores(target)
        super().__init__(
            subspace,
            mechanisms.pure(0.0, notes=(NOT_THE_ATTRIBUTE,)),
            f"public value of: {', '.join(subspace.attributes)}",
            space=space,
            grid=grid,
            seed=None,
        )

    def settings(self) -> dict[str, Any]:
        """What decides how latents are released, as JSON: all of it public."""
        return super().settings() | {"target": self.target.tolist()}

    def _taken_apart(self, latents: np.ndarray) -> tuple[np.ndarray, ...]:
        return (self._rounded(self.subspace.remainder(latents)),)

    def _joined(self, parts: tuple[np.ndarray, ...]) -> np.ndarray:
        (rounded,) = parts
        return self._base(rounded) + self.subspace.embedded(self.target)


class UnclippedSeedRelease(Release):
    """The published method that this one replaces. It is NOT private.

    Noise along the boundary is added to the latent as it is, then the update is cut to
    a length. The true score is neither clipped nor taken out, and after the cut the
    released score lies within `threshold` of it, whatever (epsilon, delta) were asked
    for. The ledger's epsilon becomes infinite.

    Args:
        boundaries: as for `AttributeMechanism`.
        epsilon: claimed, greater than 0.
        delta: claimed, in (0, 1).
        threshold: length that the update is cut to, greater than 0.
        space: as for `AttributeMechanism`.
        seed: as for `AttributeMechanism`.

    Raises:
        ValueError: if an argument is out of range.

    Reference: github.com/jamelof23/Latent_Attribute_Privacy, the notebook of that name:
    sigma is the classical sqrt(2 ln(1.25 / delta)) / epsilon, for sensitivity 1.
    """

    def __init__(
        self,
        boundaries: Any,
        *,
        epsilon: float,
        delta: float,
        threshold: float = 1.0,
        space: str | None = None,
        seed: int | None = None,
    ) -> None:
        epsilon = checks.real("epsilon", epsilon, open_low=True)
        delta = checks.real("delta", delta, high=1.0, open_low=True, open_high=True)
        self.threshold = checks.real("threshold", threshold, open_low=True)
        self.stddev = math.sqrt(2 * math.log(1.25 / delta)) / epsilon
        subspace = Subspace.of(boundaries)
        super().__init__(
            subspace,
            mechanisms.non_private("the true score was neither clipped nor replaced"),
            f"unclipped release: {', '.join(subspace.attributes)}",
            space=space,
            grid=GRID,
            seed=seed,
        )

    def _taken_apart(self, latents: np.ndarray) -> tuple[np.ndarray, ...]:
        return (latents,)

    def _joined(self, parts: tuple[np.ndarray, ...]) -> np.ndarray:
        (latents,) = parts
        shape = (*latents.shape[:-1], len(self.subspace.basis))
        count = math.prod(shape)
        noise = discrete_noise.gaussian(self._randomness, SCALE, count).reshape(shape)
        update = self.subspace.embedded(noise * (self.stddev / SCALE))
        length = np.sqrt((update**2).sum(axis=(1, 2), keepdims=True))
        return latents + update * (self.threshold / np.maximum(length, self.threshold))

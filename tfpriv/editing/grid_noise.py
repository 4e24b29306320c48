"""Noise for a clipped vector: how much, of which kind, on which grid.

The vector lies in a ball of known radius around a public centre: its diameter, twice
the radius, is how far two faces can be apart. It is cut to whole multiples of a step
and gets whole multiples as noise, so that what comes out is whole numbers, and the
low bits of a float have nothing to tell.

Laplace noise on whole numbers is exactly (epsilon, 0). Gaussian noise on whole numbers
has exactly the Renyi divergences of the continuous one, and differs by less than
1 / (5 * 2^52) in total variation from the continuous one rounded to the grid
(docs/editing_privacy.md): 2^14 coordinates add less than (1 + e^epsilon) * 2^-40 to
delta, which the calibration takes off first.
"""

import math
from dataclasses import dataclass

import dp_accounting as dpa
import numpy as np

from tfpriv.accounting import mechanisms
from tfpriv.accounting.mechanisms import Mechanism
from tfpriv.editing import discrete_noise
from tfpriv.support import checks
from tfpriv.support.randomness import Randomness

GAUSSIAN, LAPLACE = "gaussian", "laplace"
MOST_COORDINATES = 1 << 14
# The standard deviation (Laplace: the scale) in steps of the grid.
SCALE = discrete_noise.LARGEST_SCALE
_OFF_THE_GRID = 2.0**-40
# Rounding may lengthen what is clipped, and shorten the step, by some 2^-52 for each
# operation. The clip is shorter, and the step longer, by more than that.
MARGIN = 2.0**-36
# More noise by this part, for the error of a root that was found by iteration.
_ROUNDING = 2e-5


@dataclass(frozen=True)
class GridNoise:
    """Noise on a grid that makes any two vectors of a ball hard to tell apart.

    Args:
        kind: "gaussian" or "laplace".
        radius: of the ball: in the Euclidean norm for Gaussian noise, in the sum of
            absolute values for Laplace.
        scale: standard deviation of the Gaussian, or scale of the Laplace noise, in
            the unit of the coordinates.
        mechanism: what one release costs.
    """

    kind: str
    radius: float
    scale: float
    mechanism: Mechanism

    @property
    def step(self) -> float:
        """Of the grid, in the unit of the coordinates."""
        return self.scale / SCALE

    @property
    def stddev(self) -> float:
        """Standard deviation of each coordinate's noise."""
        return self.scale * (math.sqrt(2.0) if self.kind == LAPLACE else 1.0)

    def clipped(self, offsets: np.ndarray) -> np.ndarray:
        """Brings vectors into the ball, and onto the grid towards its centre.

        Args:
            offsets: float64 array `(N, coordinates)`, from the centre.

        Returns:
            int64 array of that shape: steps of the grid.
        """
        if self.kind == GAUSSIAN:
            length = np.sqrt((offsets * offsets).sum(-1, keepdims=True))
        else:
            length = np.abs(offsets).sum(-1, keepdims=True)
        radius = self.radius * (1 - MARGIN)
        inside = offsets * np.minimum(1.0, radius / np.maximum(length, radius / 2))
        return np.trunc(inside / self.step).astype(np.int64)

    def draw(self, randomness: Randomness, shape: tuple[int, ...]) -> np.ndarray:
        """Draws noise: int64 array of a shape, in steps of the grid."""
        draw = getattr(discrete_noise, self.kind)
        return draw(randomness, SCALE, math.prod(shape)).reshape(shape)


def grid_noise(
    clip: float,
    *,
    epsilon: float | None,
    delta: float | None,
    noise_multiplier: float | None,
    note: str,
) -> GridNoise:
    """Chooses the noise of a release.

    Args:
        clip: radius of the ball, greater than 0.
        epsilon: of one release, greater than 0; None if the noise is given.
        delta: of one release: 0 for Laplace noise, in (0, 1) for Gaussian; None if the
            noise is given.
        noise_multiplier: standard deviation of Gaussian noise, divided by the diameter
            `2 * clip`; None if epsilon is given.
        note: what the ledger says besides.

    Returns:
        The noise.

    Raises:
        ValueError: if an argument is out of range, or both or neither of epsilon and
            noise are given.
    """
    clip = checks.real("clip", clip, low=1e-6, high=1e6)
    notes = (note,)
    if noise_multiplier is not None:
        if epsilon is not None or delta is not None:
            raise ValueError(
                "Give either `noise_multiplier`, or `epsilon` and `delta`. Received: "
                f"noise_multiplier={noise_multiplier}, epsilon={epsilon}, delta={delta}"
            )
    elif epsilon is None or delta is None:
        raise ValueError(
            "Expected `epsilon` and `delta` (0 for Laplace noise, in (0, 1) for "
            "Gaussian), or `noise_multiplier`. "
            f"Received: epsilon={epsilon}, delta={delta}"
        )
    else:
        epsilon = checks.real("epsilon", epsilon, low=1e-4, high=100.0)
        delta = checks.real("delta", delta, high=1.0, open_high=True)
        if delta == 0:
            scale = 2 * clip * (1 + MARGIN) / epsilon
            return GridNoise(
                LAPLACE, clip, scale, mechanisms.pure(epsilon, notes=notes)
            )
        noise_multiplier = calibrated(epsilon, delta)
    z = checks.real("noise_multiplier", noise_multiplier, low=1e-3, high=1e5)
    scale = 2 * clip * (1 + MARGIN) * z
    mechanism = mechanisms.gaussian_release(z, notes=notes)
    return GridNoise(GAUSSIAN, clip, scale, mechanism)


def calibrated(epsilon: float, delta: float) -> float:
    """The least noise multiplier of one Gaussian release within (epsilon, delta).

    Args:
        epsilon: greater than 0.
        delta: in (0, 1).

    Returns:
        Standard deviation over diameter.

    Raises:
        ValueError: if delta is too small for noise on a grid of whole numbers.

    Reference: B. Balle, Y.-X. Wang, "Improving the Gaussian mechanism for differential
    privacy", 2018.
    """
    off_the_grid = _OFF_THE_GRID * (1 + math.exp(epsilon))
    if delta < 2 * off_the_grid:
        raise ValueError(
            f"`delta` is too small: at epsilon={epsilon:g} the grid of the noise takes "
            f"up to {off_the_grid:.1e} of it. Expected twice as much at least. "
            f"Received: delta={delta}"
        )
    exact = dpa.get_sigma_gaussian(epsilon, delta - off_the_grid)
    return float(exact) * (1 + _ROUNDING)

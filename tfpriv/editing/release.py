"""One release of latents, step by step: check, take apart, write down, noise, join.

A latent is represented as two lists of whole numbers: its *remainder* without the
subspace, in steps of a public grid, and its *coordinates* in the subspace, clipped, in
steps of the noise's grid. What is released is a function of the first list and of the
second one with noise, and of nothing else.
"""

import hashlib
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from tfpriv.accounting import recording
from tfpriv.accounting.ledger import Ledger
from tfpriv.accounting.mechanisms import Mechanism
from tfpriv.accounting.serialization import mechanism_to_json
from tfpriv.editing.grid_noise import MOST_COORDINATES
from tfpriv.editing.subspace import SPACES, Subspace
from tfpriv.support import checks
from tfpriv.support.randomness import Randomness

# Latents beyond this are no latents; below it nothing here comes near an overflow.
LARGEST_LATENT = float(1 << 20)
LEAST_GRID = 2.0**-30
_FLOATS = (np.float16, np.float32, np.float64)


class Release(ABC):
    """What all releases of latents have in common.

    Args:
        subspace: whose coordinates are released.
        mechanism: what one release of one latent costs.
        purpose: what the ledger says it was for.
        space: "z", "w", "wp"; None for that of the subspace, or else "w".
        grid: step of the remainder's public grid, in [2^-30, 1].
        seed: None for noise from the operating system. A number, for tests, makes the
            noise a function of it and marks the ledger as not for release.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        subspace: Subspace,
        mechanism: Mechanism,
        purpose: str,
        *,
        space: str | None,
        grid: float,
        seed: int | None,
    ) -> None:
        self.subspace = subspace
        self.mechanism = mechanism
        self.purpose = purpose
        self.space = _checked_space(space, subspace.space)
        self.grid = checks.real("grid", grid, low=LEAST_GRID, high=1.0)
        self._randomness = Randomness(seed)

    def __call__(
        self, w: Any, *, ledger: Ledger, distinct_persons: bool = False
    ) -> np.ndarray:
        """Releases latents.

        The event is in the ledger before any noise is drawn: in a `Journal` it is on
        the disk by then, a `Ledger` is in memory and yours to save first.

        Args:
            w: float array `(D,)` or `(N, D)`; in the space "wp" `(L, D)` or
                `(N, L, D)`. Not changed.
            ledger: where the release is written down.
            distinct_persons: whether the N latents are of N different persons. Each of
                them is then released once, and one event covers them all. If not, or
                if you do not know, N events: they may all be of one.

        Returns:
            The released latents, of the shape and dtype of `w`.

        Raises:
            LedgerError: if the ledger is about another unit or relation, which a
                release over another subspace is. Nothing was released or recorded.
            ValueError: if an argument is out of range, or latents of distinct persons
                are equal. Nothing was recorded.
        """
        latents, given = self._checked(w)
        count = recording.uses(latents, distinct_persons)
        parts = self._taken_apart(latents)
        recording.spend(
            ledger,
            self.mechanism,
            unit=self.unit,
            purpose=self.purpose,
            count=count,
            seeded=self.seeded,
        )
        released = self._joined(parts)
        return released.astype(given.dtype).reshape(given.shape)

    def remainder(self, w: Any) -> np.ndarray:
        """What neighbours must share: latents without the subspace, on the grid.

        Args:
            w: as for a release.

        Returns:
            int64 array of the shape of `w`: steps of the grid.

        Raises:
            ValueError: if `w` is no such array.
        """
        latents, given = self._checked(w)
        return self._rounded(self.subspace.remainder(latents)).reshape(given.shape)

    @property
    def seeded(self) -> bool:
        """Whether the noise can be repeated: no release then, but a test."""
        return self._randomness.seed is not None

    @property
    def unit(self) -> str:
        """Who is protected: what the ledger calls its unit.

        Releases over another subspace have other neighbours, and their losses do not
        add up: what the one protects stands in the remainder of the other. Their units
        differ, so that no ledger takes both.
        """
        made_of = (self.subspace.basis.tobytes(), self.grid.hex(), self.space)
        digest = hashlib.sha256(repr(made_of).encode()).hexdigest()[:8]
        names = ", ".join(self.subspace.attributes)
        return (
            f"face among those with the same rounded remainder (without {names}; "
            f"{self.space}, grid {self.grid!r}, basis {digest})"
        )

    def settings(self) -> dict[str, Any]:
        """What decides how latents are released, as JSON: all of it public."""
        return {
            "unit": self.unit,
            "purpose": self.purpose,
            "mechanism": mechanism_to_json(self.mechanism),
        }

    @abstractmethod
    def _taken_apart(self, latents: np.ndarray) -> tuple[np.ndarray, ...]:
        """What the release depends on: whole numbers made of `(N, L, D)` floats."""

    @abstractmethod
    def _joined(self, parts: tuple[np.ndarray, ...]) -> np.ndarray:
        """Draws the noise, and makes latents `(N, L, D)` of what was taken apart."""

    def _rounded(self, remainder: np.ndarray) -> np.ndarray:
        """Whole numbers, so that there are no low bits, and no minus zero."""
        return np.rint(remainder / self.grid).astype(np.int64)

    def _base(self, rounded: np.ndarray) -> np.ndarray:
        """The remainder as floats, without what rounding moved into the subspace."""
        return self.subspace.remainder(rounded * self.grid)

    def _checked(self, w: Any) -> tuple[np.ndarray, np.ndarray]:
        """Latents as float64 `(N, L, D)`, and the array that was given."""
        given = np.asarray(w)
        size, layered = self.subspace.basis.shape[1], self.space == "wp"
        shapes = "(L, D) or (N, L, D)" if layered else "(D,) or (N, D)"
        if (
            given.dtype not in _FLOATS
            or given.ndim not in ((2, 3) if layered else (1, 2))
            or given.shape[-1] != size
            or given.size == 0
        ):
            raise ValueError(
                f"Expected latents of the space {self.space!r}: floats {shapes} with "
                f"D={size}. Received: dtype {given.dtype}, shape {given.shape}"
            )
        latents = np.array(given, np.float64, order="C")
        latents = latents.reshape(-1, given.shape[-2] if layered else 1, size)
        if not (np.abs(latents) <= LARGEST_LATENT).all():  # NaN compares false
            raise ValueError(
                "Expected finite latents within "
                f"{LARGEST_LATENT:g} of zero. Received: {_offence(given)}"
            )
        if latents.shape[1] * len(self.subspace.basis) > MOST_COORDINATES:
            raise ValueError(
                f"A release has at most {MOST_COORDINATES} coordinates. Received: "
                f"{len(self.subspace.basis)} for each of {latents.shape[1]} layers"
            )
        return latents, given


def _offence(latents: np.ndarray) -> str:
    if np.isnan(latents).any():
        return "NaN"
    return f"a value of {np.abs(latents).max():g}"


def _checked_space(space: str | None, known: str | None) -> str:
    chosen = space or known or "w"
    # A boundary of W serves W+, whose layers are latents of W.
    fits = known in (None, chosen) or (known, chosen) == ("w", "wp")
    if chosen not in SPACES or not fits:
        raise ValueError(
            f"Expected one of the spaces {SPACES}, and boundaries of it (those of 'w' "
            f"serve 'wp'). Received: space={space!r}, boundaries of {known!r}"
        )
    return chosen

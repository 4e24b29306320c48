"""A hyperplane in latent space, between pictures with an attribute and without."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from tfpriv.support.files import parse_json, read_array, read_arrays
from tfpriv.support.outputs import atomic_file
from tfpriv.support.warning import warn

SPACES = ("z", "w")
_MARKS = "marks"
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Boundary:
    """A boundary of one attribute: its side and distance are the attribute's score.

    Attributes:
        normal: float64 (latent_dim,), towards more of the attribute. Another length
            than 1 is brought to 1, the intercept with it.
        attribute: its name.
        intercept: what is added to a latent's product with `normal`.
        space: "w", or "z".
        generator: fingerprint of the generator whose latents it parts; None if unknown.
        truncation: the truncation under which those were drawn, in (0, 1]; None if
            unknown.

    Raises:
        ValueError: for a normal that is no finite vector, or a length of 0; an
            intercept that is not finite; another space; a name or fingerprint that is
            no text; a truncation out of range.

    Reference: Y. Shen et al., "InterFaceGAN", arXiv:2005.09635.
    """

    normal: np.ndarray
    attribute: str
    intercept: float = 0.0
    space: str = "w"
    generator: str | None = None
    truncation: float | None = None

    def __post_init__(self):
        normal = np.asarray(self.normal, np.float64)
        length = np.linalg.norm(normal) if normal.ndim == 1 else 0.0
        if not np.isfinite(length) or length < 1e-12:
            raise ValueError(
                "A boundary's normal is a finite vector (latent_dim,) that is not 0. "
                f"Received: normal of shape {normal.shape} and length {length}"
            )
        if self.space not in SPACES or not np.isfinite(self.intercept):
            raise ValueError(
                f"A boundary has a space in {SPACES} and a finite intercept. "
                f"Received: space={self.space!r}, intercept={self.intercept}"
            )
        if not isinstance(self.attribute, str) or not isinstance(
            self.generator, str | None
        ):
            raise ValueError(
                "A boundary's attribute is a name, and its generator a fingerprint. "
                f"Received: attribute={self.attribute!r}, generator={self.generator!r}"
            )
        if self.truncation is not None and not 0 < self.truncation <= 1:
            raise ValueError(
                f"`truncation` must be in (0, 1]. Received: {self.truncation}"
            )
        normal = normal / length
        normal.setflags(write=False)
        object.__setattr__(self, "normal", normal)
        object.__setattr__(self, "intercept", float(self.intercept / length))

    def score(self, latents: np.ndarray) -> np.ndarray:
        """The signed distances of latents, positive with the attribute.

        Args:
            latents: (..., latent_dim).

        Returns:
            float64 (...).

        Raises:
            ValueError: for latents of another dimension.
        """
        latents = np.asarray(latents, np.float64)
        if latents.ndim < 1 or latents.shape[-1] != len(self.normal):
            raise ValueError(
                f"Latents must have the last dimension {len(self.normal)}. "
                f"Received: shape {latents.shape}"
            )
        return latents @ self.normal + self.intercept

    def conditioned(self, *others: "Boundary") -> "Boundary":
        """The boundary along which the others' scores stay as they are.

        Args:
            *others: boundaries of the same space, at least one.

        Returns:
            This one less its part in the span of the others' normals, of length 1. Its
            intercept is 0: it is a direction to move along.

        Raises:
            ValueError: for no other boundary, one of another space or dimension, or if
                nothing is left.
        """
        for other in others:
            if other.space != self.space or len(other.normal) != len(self.normal):
                raise ValueError(
                    "Conditions must be boundaries of the same space. Received: "
                    f"{self._place()} and {other._place()}"
                )
        if not others:
            raise ValueError("Expected a boundary to condition on. Received: none")
        basis, _ = np.linalg.qr(np.stack([o.normal for o in others], 1))
        rest = self.normal - basis @ (basis.T @ self.normal)
        if np.linalg.norm(rest) < 1e-6:
            raise ValueError(
                "Nothing of the boundary is left beside its conditions. Received: "
                f"{self.attribute} given {', '.join(o.attribute for o in others)}"
            )
        return dataclasses.replace(self, normal=rest, intercept=0.0)

    def _place(self):
        return f"{self.attribute} in {self.space} of {len(self.normal)} dimensions"

    def check_fits(self, latent_dim: int, space: str, generator: str | None) -> None:
        """Warns of a boundary that may belong to another generator.

        Args:
            latent_dim: the latents' dimension.
            space: the latents' space.
            generator: fingerprint of the generator, or None if it has none.

        Raises:
            ValueError: for a boundary of another space or dimension.
        """
        if self.space != space or len(self.normal) != latent_dim:
            raise ValueError(
                f"The boundary must be one of {space} of {latent_dim} dimensions. "
                f"Received: {self._place()}"
            )
        if self.generator is None:
            reason = "does not say which generator it belongs to"
        elif self.generator != generator:
            reason = f"was made for another generator ({self.generator})"
        else:
            return
        warn(
            f"The boundary of {self.attribute} {reason}: along it, other things may "
            "change than its name says."
        )

    def save(self, path: str | os.PathLike) -> None:
        """Writes the boundary, whole or not at all.

        Args:
            path: ends in .npz; or in .npy for InterFaceGAN, an array (1, latent_dim)
                without intercept and marks.

        Raises:
            ValueError: for another ending.
        """
        ending = _ending(path)
        marks = {"version": _VERSION, **dataclasses.asdict(self)}
        del marks["normal"]
        with atomic_file(path) as file:
            if ending == ".npy":
                np.save(file, self.normal[None])
            else:
                np.savez(file, normal=self.normal, marks=np.array(json.dumps(marks)))

    @classmethod
    def load(
        cls, path: str | os.PathLike, *, attribute: str | None = None, space: str = "w"
    ) -> "Boundary":
        """Reads what `save` wrote, or a file of InterFaceGAN's.

        Args:
            path: a file .npz, or .npy of shape (1, latent_dim) or (latent_dim,).
            attribute: name of an .npy file's attribute; by default the file's own.
            space: of an .npy file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or no boundary.
        """
        path = Path(path)
        ending = _ending(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no such boundary. Received: {path}")
        try:
            if ending == ".npy":
                vector = _vector(read_array(path))
                return cls(vector, attribute or path.stem, space=space)
            content = read_arrays(path)
            marks = parse_json(str(content[_MARKS]))
            if marks.pop("version") != _VERSION:
                raise ValueError(f"It must be of version {_VERSION}.")
            return cls(content["normal"], **marks)
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
        ) as error:
            raise ValueError(
                f"The file is damaged, or holds no boundary. Received: {path} ({error})"
            ) from error


def _ending(path) -> str:
    ending = Path(path).suffix.lower()
    if ending not in (".npz", ".npy"):
        raise ValueError(f"A boundary's file ends in .npz or .npy. Received: {path}")
    return ending


def _vector(array):
    return array[0] if array.ndim == 2 and len(array) == 1 else array

"""Audits the releases of this package: `python -m tfpriv.editing.release_audit`.

Two faces that are as far apart in the attributes as can be, and alike in all else, are
released a million times each. The auditor of `tfpriv.audit.releases` knows both, the
mechanism, its grids and its code, and sees the whole vector.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tfpriv.accounting.ledger import Ledger
from tfpriv.audit import releases
from tfpriv.audit.releases import Finding, Test
from tfpriv.editing.comparisons import (
    IsotropicMechanism,
    LatentMechanism,
    UnclippedSeedRelease,
)
from tfpriv.editing.grid_noise import LAPLACE
from tfpriv.editing.mechanism import AttributeMechanism
from tfpriv.editing.release import Release

DIM, LAYERS, CLIP = 12, 2, 2.0
EPSILON, DELTA = 1.0, 1e-5
# How far the two faces are apart: much farther than is let through.
_APART = 8 * CLIP


@dataclass(frozen=True)
class Case:
    """A release with its claim, and two faces that it must not tell apart.

    Attributes:
        name: in words.
        release: the mechanism.
        delta: claimed.
        first: float array `(D,)` or `(L, D)`.
        second: the other face.
        epsilon: claimed.
    """

    name: str
    release: Release
    delta: float
    first: np.ndarray
    second: np.ndarray
    epsilon: float = EPSILON

    def releases_of(self, face: np.ndarray) -> Callable[[int], np.ndarray]:
        """A function that releases one face so many times: `count -> (count, D)`."""

        def released(count: int) -> np.ndarray:
            faces = np.broadcast_to(face, (count, *face.shape))
            return self.release(faces, ledger=Ledger()).reshape(count, -1)

        return released

    def audit(self, count: int, configurations: int = 1) -> Finding:
        """Looks for an epsilon; see `tfpriv.audit.releases.audit_releases`."""
        return releases.audit_releases(
            self.releases_of(self.first),
            self.releases_of(self.second),
            _tests(self),
            delta=self.delta,
            count=count,
            configurations=configurations,
        )

    def scale(self, count: int) -> tuple[float, float]:
        """Bounds the noise of all coordinates, as a multiple of what it should be."""
        release, noise = self.release, self.release.noise
        outputs = _layered(self.releases_of(self.first)(count), release)
        drawn = release.subspace.coordinates(outputs) - release.center
        drawn.reshape(count, -1)[:, 0] -= CLIP  # where the first face was clipped to
        low, high = releases.scale_interval(drawn, noise.kind)
        return low / noise.scale, high / noise.scale


def cases(rng: np.random.Generator) -> list[Case]:
    """The releases that the audit looks at.

    Args:
        rng: for boundaries and faces.

    Returns:
        Gaussian and Laplace noise, one and three attributes, W and W+, and what the
        mechanism is compared with.
    """
    one = directions(rng, 1)
    three = directions(rng, 3)
    gaussian = {"epsilon": EPSILON, "delta": DELTA}
    laplace = {"epsilon": EPSILON, "delta": 0.0}
    mechanism = AttributeMechanism
    listed = [
        ("Gaussian, one attribute", mechanism(one, CLIP, **gaussian)),
        ("Gaussian, three attributes", mechanism(three, CLIP, **gaussian)),
        ("Laplace, one attribute", mechanism(one, CLIP, **laplace)),
        ("Laplace, three attributes", mechanism(three, CLIP, **laplace)),
        ("Gaussian, W+", mechanism(one, CLIP, space="wp", **gaussian)),
        ("Gaussian, every direction", IsotropicMechanism(one, CLIP, **gaussian)),
        ("Gaussian, whole latent", LatentMechanism(np.zeros(DIM), CLIP, **gaussian)),
    ]
    return [case(rng, name, release) for name, release in listed]


def seed_case(rng: np.random.Generator) -> Case:
    """The method that this one replaces, with the claim that was made for it.

    Its noise is for a sensitivity of 1, and so far the two faces are apart.
    """
    release = UnclippedSeedRelease(directions(rng, 1), epsilon=EPSILON, delta=DELTA)
    name = "noise on the latent as it is, cut to 1 (the seed)"
    return case(rng, name, release, apart=1.0)


def directions(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Normals of so many boundaries, at acute angles to each other."""
    common = rng.normal(size=DIM)
    rows = common + rng.normal(size=(count, DIM))
    return list(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def case(
    rng: np.random.Generator,
    name: str,
    release: Release,
    dtype: str = "float64",
    apart: float = _APART,
) -> Case:
    """Two faces far apart in a release's subspace, with the same rounded remainder.

    Args:
        rng: for the faces.
        name: in words.
        release: the mechanism.
        dtype: of the faces.
        apart: how far their coordinates are.
    """
    shape = (LAYERS, DIM) if release.space == "wp" else (DIM,)
    basis = np.linalg.qr(release.subspace.basis.T)[0].T  # not by the code that is tried
    while True:
        face = rng.normal(size=shape)
        face -= face @ basis.T @ basis
        cells = face / release.grid
        # Far from where rounding would go the other way.
        if (np.abs(cells - np.rint(cells)) < 0.45).all():
            break
    # Laplace noise hides least along an axis; Gaussian noise is the same all round.
    far = np.zeros((*shape[:-1], len(basis)))
    far.flat[0] = apart / 2
    shift = release.subspace.embedded(far)
    middle = face + release.subspace.embedded(getattr(release, "center", far * 0))
    pure = isinstance(release, AttributeMechanism) and release.noise.kind == LAPLACE
    first, second = ((middle + s).astype(dtype) for s in (shift, -shift))
    return Case(name, release, 0.0 if pure else DELTA, first, second)


def _layered(outputs: np.ndarray, release: Release) -> np.ndarray:
    """Releases `(n, ...)` as float64 `(n, L, D)`."""
    size = release.subspace.basis.shape[1]
    return np.asarray(outputs, np.float64).reshape(len(outputs), -1, size)


def _tests(case: Case) -> dict[str, Test]:
    """What the auditor computes of releases."""
    release, space = case.release, case.release.subspace
    ones, others = (
        space.coordinates(_layered(face[None], release)).reshape(1, -1)
        for face in (case.first, case.second)
    )
    toward = (ones - others)[0] / np.linalg.norm(ones - others)

    def coordinates(outputs):
        return space.coordinates(_layered(outputs, release)).reshape(len(outputs), -1)

    def absolute(outputs):
        """What tells Laplace noise apart best, if the range ends where it should."""
        found = coordinates(outputs)
        ends = (np.clip(c, -CLIP, CLIP) for c in (others, ones))
        far, near = (np.abs(found - end).sum(-1) for end in ends)
        return far - near

    def spread(outputs):
        found = coordinates(outputs)
        return np.concatenate([found, found**2], axis=1)

    def remainder(outputs):
        return space.remainder(_layered(outputs, release)).reshape(len(outputs), -1)

    tests = {
        "projection": lambda outputs: coordinates(outputs) @ toward,
        "absolute distance": absolute,
        "spread": spread,
        "remainder": remainder,
        "whole vector": releases.whole,
        "low bits": releases.low_bits,
    }
    if isinstance(release, AttributeMechanism):
        tests["phase"] = _phase(release.noise.step, coordinates)
        if not isinstance(release, IsotropicMechanism):
            tests["rebuilt"] = _rebuilt(case)
    return tests


def _phase(step: float, coordinates: Test) -> Test:
    """Features: where between the noise's grid points the coordinates lie."""

    def phase(outputs):
        steps = coordinates(outputs) / step
        turns = 2 * np.pi * (steps - np.floor(steps))
        return np.concatenate([np.cos(turns), np.sin(turns)], axis=1)

    return phase


def _rebuilt(case: Case) -> Test:
    """How much of a release comes out, to the last bit, of the first face's remainder.

    Less how much comes out of the second's: the mechanism's own arithmetic is done
    again, with the noised coordinates that the release shows.
    """
    release = case.release
    faces = (_layered(face[None], release) for face in (case.first, case.second))
    bases = [release._base(release._taken_apart(face)[0]) for face in faces]

    def rebuilt(outputs):
        layered = _layered(outputs, release)
        found = release.subspace.coordinates(layered) - release.center
        steps = np.rint(found / release.noise.step)
        again = (release._put_back(base, steps).astype(outputs.dtype) for base in bases)
        ones, others = ((layered == a).mean(axis=(1, 2)) for a in again)
        return ones - others

    return rebuilt


def main(argv: list[str] | None = None) -> None:
    """Prints the table of docs/editing_privacy.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--releases", type=int, default=1_000_000, metavar="N")
    count = parser.parse_args(argv).releases
    rng = np.random.default_rng(0)
    honest = cases(rng)
    print("| release | claim | proved | by | noise, of what it should be |")
    print("| --- | --- | --- | --- | --- |")
    for one in [*honest, seed_case(rng)]:
        finding = one.audit(count, configurations=len(honest) + 1)
        scale = ""
        if isinstance(one.release, AttributeMechanism):
            scale = "{:.4f} to {:.4f}".format(*one.scale(count))
        print(
            f"| {one.name} | {one.epsilon:g}, {one.delta:g} | {finding.epsilon:.2f} | "
            f"{finding.test} | {scale} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

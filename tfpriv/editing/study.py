"""What releases of an attribute keep of faces, and what they give away.

Faces are those of random latents: the generator's own, so that nobody's are at stake.
A network that reads drawn faces judges what became of them.
"""

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np

from tfpriv.accounting.ledger import Ledger
from tfpriv.audit import leakage
from tfpriv.audit.leakage import Reading
from tfpriv.editing import scores
from tfpriv.editing.comparisons import IsotropicMechanism, UnclippedSeedRelease
from tfpriv.editing.mechanism import AttributeMechanism
from tfpriv.editing.release import Release
from tfpriv.faces import reader as readers
from tfpriv.faces.looks import ATTRIBUTES
from tfpriv.networks.stylegan.generator import PSI, StyleGAN
from tfpriv.support import images
from tfpriv.support.fidelity import structural_similarities

SUBSPACE, EVERYWHERE, SEED = "subspace", "every direction", "seed's (not private)"
_SHOWN = 6  # faces that are kept to be looked at
_AT_ONCE = 64


@dataclasses.dataclass(frozen=True)
class StudyRow:
    """One way to release, at one epsilon.

    Readings are the judge's, in halves of an attribute's range.

    Attributes:
        method: `SUBSPACE`, `EVERYWHERE` or `SEED`.
        epsilon: claimed.
        score: standard deviation of the released latents' scores.
        spread: standard deviation of the attribute as it is read from pictures.
        drift: mean change of the other attributes' readings.
        identity: mean similarity of the persons, at most 1.
        ssim: mean structural similarity of the pictures.
        natural: how well the attribute of a face is read from its released picture.
        natural_latent: likewise from the released latent, all of it.
        pair: how well a picture tells which of two faces it is of, that are as far
            apart in the attribute as can be and alike in the rounded remainder.
        pair_latent: likewise the released latent's coordinates.
        ceiling: what no accuracy about pairs may pass, by the claim.
    """

    method: str
    epsilon: float
    score: float
    spread: float
    drift: float
    identity: float
    ssim: float
    natural: Reading
    natural_latent: Reading
    pair: Reading
    pair_latent: Reading
    ceiling: float


@dataclasses.dataclass(frozen=True)
class Study:
    """Rows, and faces to look at.

    Attributes:
        attribute: what was released.
        delta: of each release.
        clip: radius of the scores' range.
        before: how well the attribute is read from the pictures as they were.
        rows: one for each method and epsilon.
        originals: uint8 (n, size, size, 3).
        released: the same faces released, by (method, epsilon).
        claim: the ledger of one release of one face: `SUBSPACE`, the least epsilon.
    """

    attribute: str
    delta: float
    clip: float
    before: Reading
    rows: list[StudyRow]
    originals: np.ndarray
    released: dict[tuple[str, float], np.ndarray]
    claim: Ledger


def study(
    generator: StyleGAN,
    judge: keras.Model,
    boundary,
    *,
    clip: float,
    epsilons: Sequence[float] = (0.2, 0.5, 1.0, 2.0),
    delta: float = 1e-5,
    center: float = 0.0,
    count: int = 400,
    psi: float = PSI,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Releases random faces in three ways and looks at the results.

    Args:
        generator: draws the faces.
        judge: a face reader; see `tfpriv.faces.reader`.
        boundary: a `Boundary` of one of its attributes.
        clip: as for `AttributeMechanism`, and so are `delta` and `center`.
        epsilons: of one release.
        count: number of faces, at least 100.
        psi: truncation under which pictures are drawn.
        seed: of the faces. The releases' noise is the operating system's.
        progress: `None`, or a function called with `(done, total)`.

    Returns:
        The figures, and some pictures.

    Raises:
        ValueError: for a number out of range, another judge, or a boundary of an
            attribute that it does not read.
    """
    if count < 100 or not epsilons:
        raise ValueError(
            "A study needs 100 faces at least, and an epsilon. Received: "
            f"count={count}, epsilons={epsilons}"
        )
    bench = _Bench(generator, judge, boundary.attribute, count, psi, seed)
    settings = [
        (method, epsilon, release)
        for epsilon in epsilons
        for method, release in _releases(boundary, clip, epsilon, delta, center)
    ]
    rows, released = [], {}
    for number, (method, epsilon, release) in enumerate(settings, 1):
        row, shown = bench.measured(method, epsilon, delta, release, clip)
        rows.append(row)
        released[method, epsilon] = shown
        if progress:
            progress(number, len(settings))
    return Study(
        boundary.attribute,
        delta,
        clip,
        leakage.read_bit(bench.readings, bench.bit),
        rows,
        bench.pictures[:_SHOWN],
        released,
        _claim(settings),
    )


def _releases(boundary, clip, epsilon, delta, center):
    claim = {"epsilon": epsilon, "delta": delta}
    yield SUBSPACE, AttributeMechanism(boundary, clip, center=center, **claim)
    yield EVERYWHERE, IsotropicMechanism(boundary, clip, center=center, **claim)
    yield SEED, UnclippedSeedRelease(boundary, **claim)


def _claim(settings) -> Ledger:
    own = [s for s in settings if s[0] == SUBSPACE]
    _, _, release = min(own, key=lambda setting: setting[1])
    ledger = Ledger()
    ledger.record(release.mechanism, unit=release.unit, purpose=release.purpose)
    return ledger


class _Bench:
    """Faces as they are, and what is measured of their releases."""

    def __init__(self, generator, judge, attribute, count, psi, seed):
        found = scores.outputs_of(judge)
        if found != len(readers.NUMBERS):
            raise ValueError(
                "The judge must be a face reader, which returns "
                f"{len(readers.NUMBERS)} numbers. Received: {type(judge).__name__}, "
                f"which returns {found or 'something else'}"
            )
        if attribute not in ATTRIBUTES:
            raise ValueError(
                f"The judge reads {', '.join(ATTRIBUTES)}. Received: a boundary of "
                f"{attribute!r}"
            )
        self._generator, self._judge, self._psi = generator, judge, psi
        self._column = readers.NUMBERS.index(attribute)
        self._others = [
            readers.NUMBERS.index(name) for name in ATTRIBUTES if name != attribute
        ]
        z = np.random.default_rng(seed).normal(size=(count, generator.latent_dim))
        self.latents = np.asarray(generator.mapping(z.astype(np.float32)), np.float64)
        self.pictures, self.readings = self._seen(self.latents)
        self.bit = self.readings[:, self._column] > 0

    def _seen(self, latents):
        """Pictures of latents, and what the judge reads from them."""
        drawn = self._generator.generate(latents, psi=self._psi, batch_size=_AT_ONCE)
        pictures = images.to_uint8(drawn)
        sized = scores.resized(pictures, self._judge)
        return pictures, self._judge.predict(sized, batch_size=_AT_ONCE, verbose=0)

    def measured(self, method, epsilon, delta, release, clip):
        """The row of a release, and some of its pictures."""
        ledger = Ledger()  # of nobody: the faces are made up
        latents = release(self.latents, ledger=ledger)
        pictures, readings = self._seen(latents)
        pairs, which = _pairs(self.latents, release, clip)
        pair_latents = release(pairs, ledger=ledger)
        _, pair_readings = self._seen(pair_latents)
        row = StudyRow(
            method=method,
            epsilon=epsilon,
            score=float(release.subspace.coordinates(latents)[:, 0].std()),
            spread=float(readings[:, self._column].std()),
            drift=float(
                np.abs(readings - self.readings)[:, self._others].mean(),
            ),
            identity=float(readers.identity_similarity(readings, self.readings).mean()),
            ssim=float(structural_similarities(self.pictures, pictures).mean()),
            natural=leakage.read_bit(readings, self.bit),
            natural_latent=leakage.read_bit(latents, self.bit),
            pair=leakage.read_bit(pair_readings, which),
            pair_latent=leakage.read_bit(
                release.subspace.coordinates(pair_latents), which
            ),
            ceiling=leakage.ceiling(epsilon, delta),
        )
        return row, pictures[:_SHOWN]


def _pairs(latents: np.ndarray, release: Release, clip: float):
    """Faces in pairs that only the clipped attribute tells apart.

    Returns:
        Latents (2 n, latent_dim), and bool (2 n,): which face of its pair it is.
    """
    subspace = release.subspace
    center = getattr(release, "center", subspace.origin)
    base = subspace.remainder(latents) + subspace.embedded(center)
    reach = np.zeros(len(subspace.basis))
    reach[0] = clip
    one, other = base + subspace.embedded(reach), base - subspace.embedded(reach)
    # Rounding may part two that lie at the edge of a cell of the grid.
    same = (release.remainder(one) == release.remainder(other)).all(-1)
    which = np.arange(2 * same.sum()) < same.sum()
    return np.concatenate([one[same], other[same]]), which

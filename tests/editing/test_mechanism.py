"""What a release is made of, what it writes down first, and what it refuses."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tfpriv.accounting import Journal, Ledger, LedgerError, mechanisms
from tfpriv.editing import (
    AttributeMechanism,
    FixedTarget,
    IsotropicMechanism,
    LatentMechanism,
    UnclippedSeedRelease,
    discrete_noise,
)
from tfpriv.editing.grid_noise import GridNoise

DIM, CLIP = 16, 2.0
GAUSSIAN = {"epsilon": 1.0, "delta": 1e-5}
LAPLACE = {"epsilon": 1.0, "delta": 0.0}
NORMALS = np.random.default_rng(1).normal(size=(3, DIM))


def mechanism(boundaries=NORMALS, clip=CLIP, **options):
    if not {"epsilon", "noise_multiplier"} & set(options):
        options |= GAUSSIAN
    return AttributeMechanism(boundaries, clip, **options)


def all_kinds(**options):
    """One release of each class, over the same three attributes."""
    return [
        mechanism(**options),
        mechanism(**LAPLACE, **options),
        IsotropicMechanism(NORMALS, CLIP, **GAUSSIAN, **options),
        LatentMechanism(np.ones(DIM), CLIP, **GAUSSIAN, **options),
        FixedTarget(NORMALS, **{k: v for k, v in options.items() if k != "seed"}),
        UnclippedSeedRelease(NORMALS, **GAUSSIAN, **options),
    ]


def names(release):
    return type(release).__name__


# What comes out.


@pytest.mark.parametrize("release", all_kinds(), ids=names)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(DIM,), (1, DIM), (5, DIM)])
def test_a_release_has_the_shape_and_dtype_of_the_latents(release, dtype, shape, rng):
    w = rng.normal(size=shape).astype(dtype)
    before = w.copy()
    released = release(w, ledger=Ledger())
    assert released.shape == shape
    assert released.dtype == dtype
    assert np.isfinite(released).all()
    assert (released != w).any()
    np.testing.assert_array_equal(w, before)


@pytest.mark.parametrize("release", all_kinds(space="wp"), ids=names)
@pytest.mark.parametrize("shape", [(4, DIM), (3, 4, DIM)])
def test_layers_of_w_plus_are_released_together(release, shape, rng):
    released = release(rng.normal(size=shape), ledger=Ledger())
    assert released.shape == shape


def oracle(w, normals, center, clip, order, grid):
    """Remainder and clipped coordinates of one latent, the slow way."""
    basis = np.linalg.qr(normals.T)[0].T
    signs = np.sign(np.diag(basis @ normals.T))
    basis = basis * signs[:, None]  # as Gram and Schmidt would have it
    coordinates = basis @ w
    rounded = np.round((w - basis.T @ coordinates) / grid)
    offset = coordinates - center
    length = np.linalg.norm(offset, ord=order)
    return basis, rounded, center + offset * min(1.0, clip / length)


@pytest.mark.parametrize(("claim", "order"), [(GAUSSIAN, 2), (LAPLACE, 1)])
@pytest.mark.parametrize("size", [0.1, 1.0, 10.0])
def test_a_release_without_noise_is_the_oracle_s(claim, order, size, rng, monkeypatch):
    for kind in ("gaussian", "laplace"):
        monkeypatch.setattr(
            discrete_noise, kind, lambda randomness, scale, n: np.zeros(n, np.int64)
        )
    w = size * rng.normal(size=(7, DIM))
    release = mechanism(center=0.3, grid=2.0**-6, **claim)
    released = release(w, ledger=Ledger())
    for latent, found in zip(w, released, strict=True):
        basis, rounded, clipped = oracle(
            latent, NORMALS, release.center, CLIP, order, 2.0**-6
        )
        rest = rounded * 2.0**-6
        expected = rest - basis.T @ (basis @ rest) + basis.T @ clipped
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_allclose(basis @ found, clipped, atol=1e-6)
        np.testing.assert_array_equal(release.remainder(latent), rounded)


def strongest_correlation(release):
    """Between attributes, layers and faces that follow each other, times sqrt(n)."""
    released = release(np.zeros((4000, 3, DIM)), ledger=Ledger())
    found = release.subspace.coordinates(released).reshape(4000, -1)
    together = np.corrcoef(found, rowvar=False) - np.eye(9)
    after = [np.corrcoef(a[1:], a[:-1])[0, 1] for a in found.T]
    return max(np.abs(together).max(), np.abs(after).max()) * np.sqrt(4000)


def test_noise_is_independent():
    """45 correlations, each beyond 5.5 with a chance of 4e-8."""
    assert strongest_correlation(mechanism(space="wp")) < 5.5


@pytest.mark.parametrize("shared", [0, 1, 2])
def test_reused_noise_is_caught(shared, monkeypatch):
    """Planted: what two faces, two layers or two attributes share."""
    real = GridNoise.draw

    def reused(self, randomness, shape):
        drawn = real(self, randomness, shape)
        one, other = (
            tuple(
                slice(first, None, 2) if axis == shared else slice(None)
                for axis in range(3)
            )
            for first in (0, 1)
        )
        drawn[other] = drawn[one][tuple(slice(n) for n in drawn[other].shape)]
        return drawn

    monkeypatch.setattr(GridNoise, "draw", reused)
    assert strongest_correlation(mechanism(space="wp")) > 25


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(2.1, 1e4), st.floats(2.1, 1e4))
def test_neighbours_that_clip_alike_are_released_alike(seed, far, farther):
    """Equal remainders and equal clipped coordinates: equal releases, to the bit."""
    latent = np.random.default_rng(seed).normal(size=DIM)
    one, other = (mechanism(NORMALS[0], seed=seed) for _ in range(2))
    rest = one.subspace.remainder(latent)
    faces = [rest + s * one.subspace.basis[0] for s in (far, farther)]
    parts = [one._taken_apart(one._checked(face)[0]) for face in faces]
    for part in zip(*parts, strict=True):
        assume(np.array_equal(*part))  # else on the edge of a cell: no neighbours
    first, second = one(faces[0], ledger=Ledger()), other(faces[1], ledger=Ledger())
    assert first.tobytes() == second.tobytes()


def test_remainders_are_whole_numbers_without_a_sign_of_zero():
    found = mechanism().remainder(np.full(DIM, -1e-9))
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, 0)


def test_the_center_is_the_boundary_unless_another_is_named():
    normal = NORMALS[0] / np.linalg.norm(NORMALS[0])
    line = SimpleNamespace(normal=normal, intercept=-0.7, attribute="age", space="w")
    assert mechanism(line).center == pytest.approx(0.7)
    assert mechanism(line, center=1.0).center == pytest.approx(1.7)
    fixed = FixedTarget(line, target=-2.5)(np.ones(DIM), ledger=Ledger())
    assert fixed @ normal - 0.7 == pytest.approx(-2.5)


def test_a_fixed_target_depends_on_the_remainder_alone(rng):
    release = FixedTarget(NORMALS, target=[1.0, 0.0, -1.0])
    w = release.remainder(rng.normal(size=DIM)) * release.grid
    moved = w + release.subspace.embedded(rng.normal(size=3))
    np.testing.assert_array_equal(release.remainder(w), release.remainder(moved))
    one, other = (release(v, ledger=Ledger()) for v in (w, moved))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one @ NORMALS.T, [1.0, 0.0, -1.0], atol=1e-12)


def test_isotropic_noise_is_as_large_in_every_direction(rng):
    release = IsotropicMechanism(NORMALS, CLIP, noise_multiplier=1.0)
    released = release(np.zeros((5000, DIM)), ledger=Ledger())
    ratios = released.std(axis=0) / release.stddev
    assert (np.abs(ratios - 1) < 5 / np.sqrt(2 * 5000)).all()
    plain = mechanism(noise_multiplier=1.0)(np.zeros((500, DIM)), ledger=Ledger())
    assert np.abs(plain - plain @ np.linalg.pinv(NORMALS) @ NORMALS).max() < 1e-12


def test_a_whole_latent_leaves_no_remainder(rng):
    release = LatentMechanism(rng.normal(size=DIM), CLIP, **GAUSSIAN)
    np.testing.assert_array_equal(release.remainder(100 * rng.normal(size=DIM)), 0)
    assert release.unit == "face"


@pytest.mark.parametrize("center", [np.zeros((2, 3)), 1.0, "mean", [np.nan], [1e300]])
def test_a_whole_latent_needs_a_public_center(center):
    with pytest.raises(ValueError, match="Received"):
        LatentMechanism(center, CLIP, **GAUSSIAN)


def test_the_seed_s_method_stays_within_its_threshold(rng):
    release = UnclippedSeedRelease(NORMALS[0], **GAUSSIAN, threshold=0.5)
    w = rng.normal(size=(50, DIM))
    moved = release(w, ledger=Ledger()) - w
    assert np.linalg.norm(moved, axis=1).max() <= 0.5 + 1e-12
    assert release.stddev == pytest.approx(np.sqrt(2 * np.log(1.25e5)))


# What is written down.


def epsilon(ledger):
    return ledger.epsilon(1e-5, "pld")


def test_each_kind_writes_down_what_it_costs():
    costs = []
    for release in all_kinds():
        ledger = Ledger()
        release(np.zeros(DIM), ledger=ledger)
        assert len(ledger) == 1
        assert ledger.releasable
        assert ledger.unit == release.unit
        costs.append(epsilon(ledger))
    assert costs[:4] == pytest.approx([1.0] * 4, rel=1e-3)
    assert costs[4:] == [0.0, np.inf]


def test_the_same_face_again_composes():
    ledger, release = Ledger(), mechanism(noise_multiplier=4.0)
    for _ in range(4):
        release(np.zeros(DIM), ledger=ledger)
    twice = Ledger()
    twice.record(mechanisms.gaussian_release(2.0), unit="face", purpose="test")
    assert epsilon(ledger) == pytest.approx(epsilon(twice), rel=1e-3)


def test_faces_count_one_by_one_unless_they_are_of_distinct_persons():
    for options, count in (({}, 5), ({"distinct_persons": True}, 1)):
        ledger = Ledger()
        mechanism()(np.eye(5, DIM), ledger=ledger, **options)
        assert len(ledger) == count


def test_equal_latents_are_not_of_distinct_persons():
    ledger, latents = Ledger(), np.eye(5, DIM)
    latents[3] = latents[1]
    with pytest.raises(ValueError, match=r"equal items \[1, 3\] of 5"):
        mechanism()(latents, ledger=ledger, distinct_persons=True)
    assert not ledger.entries
    mechanism()(latents, ledger=ledger)
    assert len(ledger) == 5


def test_the_ledger_knows_before_the_noise_is_drawn(monkeypatch, tmp_path):
    real = discrete_noise.gaussian
    seen = []

    with Journal(tmp_path / "faces.journal") as journal:

        def watched(randomness, scale, count):
            seen.append((tmp_path / "faces.journal").read_text().count("\ns 0 3 "))
            return real(randomness, scale, count)

        monkeypatch.setattr(discrete_noise, "gaussian", watched)
        mechanism()(np.zeros((3, DIM)), ledger=journal)
        mechanism()(np.zeros((3, DIM)), ledger=journal)
        assert seen == [1, 2]
        assert len(journal) == 6


def test_what_fails_after_writing_down_stays_written(monkeypatch):
    def broken(*_):
        raise OSError("no entropy")

    ledger = Ledger()
    monkeypatch.setattr(discrete_noise, "gaussian", broken)
    with pytest.raises(OSError, match="no entropy"):
        mechanism()(np.zeros(DIM), ledger=ledger)
    assert len(ledger) == 1


def test_a_full_disk_releases_nothing(monkeypatch, tmp_path):
    def full(*_):
        raise OSError("disk full")

    def never(*_):
        raise AssertionError("noise was drawn")

    with Journal(tmp_path / "faces.journal") as journal:
        monkeypatch.setattr(journal._file, "_append", full)
        monkeypatch.setattr(discrete_noise, "gaussian", never)
        with pytest.raises(OSError, match="disk full"):
            mechanism()(np.zeros(DIM), ledger=journal)


def test_other_subspaces_have_other_neighbours():
    """Age released, then gender: the second remainder holds the first attribute."""
    ledger = Ledger()
    mechanism(NORMALS[0])(np.zeros(DIM), ledger=ledger)
    others = [
        mechanism(NORMALS[1]),
        mechanism(NORMALS),
        mechanism(NORMALS[0], grid=0.5),
        mechanism(NORMALS[0], space="z"),
        LatentMechanism(np.zeros(DIM), CLIP, **GAUSSIAN),
    ]
    for other in others:
        with pytest.raises(LedgerError, match="do not compose"):
            other(np.zeros(DIM), ledger=ledger)
    assert len(ledger) == 1
    same = [
        mechanism(NORMALS[0], clip=1.0, center=3.0, **LAPLACE),
        FixedTarget(NORMALS[0]),
        IsotropicMechanism(NORMALS[0], CLIP, **GAUSSIAN),
        UnclippedSeedRelease(NORMALS[0], **GAUSSIAN),
    ]
    for number, release in enumerate(same, start=2):
        release(np.zeros(DIM), ledger=ledger)
        assert len(ledger) == number


def test_a_statement_says_given_what():
    ledger = Ledger()
    age = SimpleNamespace(normal=NORMALS[0], intercept=0, attribute="age", space="w")
    mechanism(age)(np.zeros(DIM), ledger=ledger)
    statement = " ".join(ledger.statement(1e-5).split())
    assert "each face among those with the same rounded remainder (without age;" in (
        statement
    )
    assert "not the attributes themselves, which the remainder may show" in statement


def test_a_seed_repeats_and_is_not_for_release(tmp_path):
    ledger = Ledger()
    one, other = (mechanism(seed=3)(np.zeros(DIM), ledger=ledger) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert ledger.not_for_release == ("noise comes from a seed",)
    fresh = [mechanism()(np.zeros(DIM), ledger=Ledger()) for _ in range(2)]
    assert (fresh[0] != fresh[1]).any()
    with (
        Journal(tmp_path / "faces.journal") as journal,
        pytest.raises(ValueError, match="Received: a seed and a Journal"),
    ):
        mechanism(seed=3)(np.zeros(DIM), ledger=journal)


# What is refused, with nothing written down.

NOT_FINITE = [np.nan, np.inf, -np.inf, 1e30]


@pytest.mark.parametrize("release", all_kinds(), ids=names)
@pytest.mark.parametrize("value", NOT_FINITE)
def test_what_is_no_number_is_refused(release, value):
    ledger, w = Ledger(), np.zeros((3, DIM))
    w[1, 2] = value
    with pytest.raises(ValueError, match="Expected finite latents"):
        release(w, ledger=ledger)
    assert len(ledger) == 0


@pytest.mark.parametrize(
    ("w", "space"),
    [
        (np.zeros(DIM + 1), "w"),
        (np.zeros((2, DIM - 1)), "w"),
        (np.zeros((2, 3, DIM)), "w"),
        (np.zeros((0, DIM)), "w"),
        (np.zeros(()), "w"),
        (np.zeros(DIM), "wp"),
        (np.zeros((0, 3, DIM)), "wp"),
        (np.zeros((1, 2, 3, DIM)), "wp"),
        (np.zeros(DIM, int), "w"),
        (np.zeros(DIM, complex), "w"),
        (np.zeros(DIM, object), "w"),
        ("w.npy", "w"),
        (None, "w"),
    ],
)
def test_wrong_latents_are_refused(w, space):
    ledger = Ledger()
    with pytest.raises(ValueError, match=r"Expected latents of the space.*Received: "):
        mechanism(space=space)(w, ledger=ledger)
    assert len(ledger) == 0


@pytest.mark.parametrize("ledger", [None, "ledger.json", [], mechanisms])
def test_a_release_needs_a_ledger(ledger):
    with pytest.raises(ValueError, match="written into a `Ledger`"):
        mechanism()(np.zeros(DIM), ledger=ledger)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.0, "delta": 1e-5}, "Received: epsilon=0.0"),
        ({"epsilon": -1.0, "delta": 1e-5}, "Received: epsilon=-1.0"),
        ({"epsilon": 1.0, "delta": 1.0}, "Received: delta=1.0"),
        ({"epsilon": 1.0}, "Received: epsilon=1.0, delta=None"),
        ({"clip": 0.0}, "Received: clip=0.0"),
        ({"clip": -1.0}, "Received: clip=-1.0"),
        ({"grid": 0.0}, "Received: grid=0.0"),
        ({"grid": np.nan}, "Received: grid=nan"),
        ({"center": [0.0]}, "Received"),
        ({"center": np.nan}, "Received"),
        ({"space": "v"}, "Received: space='v'"),
        ({"boundaries": np.stack([NORMALS[0]] * 2)}, "linearly dependent"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        mechanism(**options)


def test_boundaries_of_another_space_are_refused():
    for space, known, fits in [
        (None, "z", True),
        ("z", "z", True),
        ("w", "w", True),
        ("wp", "w", True),
        ("w", "z", False),
        ("z", "w", False),
        ("w", "wp", False),
        ("wp", "z", False),
    ]:
        line = SimpleNamespace(
            normal=NORMALS[0], intercept=0.0, attribute="age", space=known
        )
        if fits:
            assert mechanism(line, space=space).space == (space or known)
        else:
            with pytest.raises(ValueError, match=f"boundaries of '{known}'"):
                mechanism(line, space=space)


def test_too_many_coordinates_are_refused():
    release = mechanism(np.eye(128), space="wp")
    with pytest.raises(ValueError, match="Received: 128 for each of 129 layers"):
        release(np.zeros((129, 128)), ledger=Ledger())


def test_no_tensorflow_is_needed():
    code = (
        "import sys, numpy as np\n"
        "from tfpriv.accounting import Ledger\n"
        "from tfpriv.editing import AttributeMechanism\n"
        "m = AttributeMechanism(np.ones(4), 1.0, epsilon=1.0, delta=1e-5)\n"
        "m(np.ones(4), ledger=Ledger())\n"
        "print({'tensorflow', 'keras'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"

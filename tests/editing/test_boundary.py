"""Boundaries: what they say, where they fit, how they are stored."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfpriv.editing.boundary import Boundary

INTERFACEGAN = Path(__file__).parents[3] / "shared/data/boundaries"


@pytest.fixture
def boundary():
    normal = np.random.default_rng(0).normal(size=8)
    return Boundary(
        normal / np.linalg.norm(normal), "smile", -0.25, "w", "0123456789abcdef", 0.7
    )


def test_score_is_the_signed_distance(boundary):
    assert np.linalg.norm(boundary.normal) == pytest.approx(1, abs=1e-15)
    latent = np.arange(8.0)
    on_it = latent - boundary.score(latent) * boundary.normal
    assert boundary.score(on_it) == pytest.approx(0, abs=1e-12)
    moved = on_it + np.array([[2.0], [-3.0]]) * boundary.normal
    np.testing.assert_allclose(boundary.score(moved), [2, -3], atol=1e-12)
    assert boundary.score(np.zeros((2, 18, 8))).shape == (2, 18)


def test_any_length_means_the_same_hyperplane():
    normal = np.array([3.0, 4.0])
    on_it = np.array([-1.0, 2.0])
    boundary = Boundary(normal, "a", -float(on_it @ normal))
    assert boundary.score(on_it) == pytest.approx(0, abs=1e-12)
    assert boundary.score(on_it + normal) == pytest.approx(5)


@given(seed=st.integers(0, 2**32 - 1), others=st.integers(1, 4))
def test_a_conditioned_boundary_leaves_the_others_alone(seed, others):
    rng = np.random.default_rng(seed)
    primal, *rest = (Boundary(row, "a") for row in rng.normal(size=(others + 1, 8)))
    moved = primal.conditioned(*rest)
    assert np.linalg.norm(moved.normal) == pytest.approx(1)
    for other in rest:
        assert moved.normal @ other.normal == pytest.approx(0, abs=1e-9)
    # What was taken off lies in the others' span.
    off = primal.normal - (primal.normal @ moved.normal) * moved.normal
    span = np.stack([other.normal for other in rest], 1)
    assert np.linalg.lstsq(span, off)[0] @ span.T == pytest.approx(off, abs=1e-8)


def test_conditions_that_leave_nothing(boundary):
    for others in ([], [boundary], [Boundary(np.ones(7), "age")]):
        with pytest.raises(ValueError, match="Received: "):
            boundary.conditioned(*others)
    with pytest.raises(ValueError, match="smile in z of 8 dimensions"):
        boundary.conditioned(dataclasses.replace(boundary, space="z"))


def test_a_file_keeps_everything(boundary, tmp_path):
    boundary.save(tmp_path / "a.npz")
    loaded = Boundary.load(tmp_path / "a.npz")
    np.testing.assert_allclose(loaded.normal, boundary.normal, rtol=1e-15)
    for name in ("attribute", "intercept", "space", "generator", "truncation"):
        assert getattr(loaded, name) == getattr(boundary, name)


def test_interfacegans_format(boundary, tmp_path):
    boundary.save(tmp_path / "smile.npy")
    array = np.load(tmp_path / "smile.npy")
    assert array.shape == (1, 8)
    loaded = Boundary.load(tmp_path / "smile.npy")
    assert (loaded.attribute, loaded.generator) == ("smile", None)
    np.testing.assert_allclose(loaded.normal, boundary.normal, rtol=1e-15)


@pytest.mark.skipif(not INTERFACEGAN.exists(), reason="InterFaceGAN's files not here")
def test_interfacegans_own_files():
    files = sorted(INTERFACEGAN.glob("*.npy"))
    assert len(files) == 7
    for path in files:
        boundary = Boundary.load(path)
        assert boundary.normal.shape == (512,)
        with pytest.warns(UserWarning, match="does not say which generator"):
            boundary.check_fits(512, "w", "0123456789abcdef")


def test_where_a_boundary_fits(boundary, recwarn):
    boundary.check_fits(8, "w", "0123456789abcdef")
    assert not recwarn.list
    with pytest.warns(UserWarning, match="made for another generator"):
        boundary.check_fits(8, "w", "fedcba9876543210")
    with pytest.raises(ValueError, match="Received: smile in w of 8"):
        boundary.check_fits(8, "z", "0123456789abcdef")
    with pytest.raises(ValueError, match="Received: smile in w of 8"):
        boundary.check_fits(9, "w", "0123456789abcdef")


@pytest.mark.parametrize(
    "change",
    [
        {"normal": np.zeros(8)},
        {"normal": np.full(8, np.nan)},
        {"normal": np.ones((2, 8))},
        {"normal": np.array(1.0)},
        {"space": "s"},
        {"intercept": np.inf},
        {"truncation": 0.0},
        {"truncation": 1.5},
        {"attribute": {"a": 1}},
        {"generator": 0},
    ],
)
def test_bad_values(boundary, change):
    with pytest.raises(ValueError, match="Received: "):
        dataclasses.replace(boundary, **change)


def test_latents_of_another_dimension(boundary):
    with pytest.raises(ValueError, match=r"Received: shape \(2, 7\)"):
        boundary.score(np.zeros((2, 7)))


def test_bad_files(boundary, tmp_path):
    with pytest.raises(FileNotFoundError, match="Received: "):
        Boundary.load(tmp_path / "no.npz")
    with pytest.raises(ValueError, match=r"ends in .npz or .npy"):
        boundary.save(tmp_path / "a.pkl")
    np.save(tmp_path / "two.npy", np.ones((2, 8)))
    np.save(tmp_path / "code.npy", np.array([object()]), allow_pickle=True)
    np.savez(tmp_path / "marks.npz", normal=np.ones(8))
    boundary.save(tmp_path / "half.npz")
    whole = (tmp_path / "half.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.npy").touch()
    for name, marks in (("list.npz", "[]"), ("deep.npz", "[" * 100_000)):
        np.savez(tmp_path / name, normal=np.ones(8), marks=np.array(marks))
    bad = ("two.npy", "code.npy", "marks.npz", "half.npz", "empty.npy")
    for name in (*bad, "list.npz", "deep.npz"):
        with pytest.raises(ValueError, match=f"Received: .*{name}"):
            Boundary.load(tmp_path / name)

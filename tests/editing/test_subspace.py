"""Bases, coordinates and scores against plain linear algebra."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv.editing.boundary import Boundary
from tfpriv.editing.nullspace import AttributeSubspace
from tfpriv.editing.subspace import Subspace, orthonormalised


def boundary(normal, intercept=0.0, attribute="age", space="w"):
    """What the mechanism reads of a boundary, unchecked."""
    return SimpleNamespace(
        normal=normal, intercept=intercept, attribute=attribute, space=space
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(0, 6), st.integers(0, 2**32 - 1))
def test_a_basis_spans_what_it_was_made_of(k, more, seed):
    matrix = np.random.default_rng(seed).normal(size=(k, k + more))
    basis = orthonormalised(matrix)
    np.testing.assert_allclose(basis @ basis.T, np.eye(k), atol=1e-14)
    np.testing.assert_allclose(matrix @ basis.T @ basis, matrix, atol=1e-12)
    first = matrix[0] / np.linalg.norm(matrix[0])
    np.testing.assert_allclose(basis[0], first, atol=1e-14)


def test_nearly_dependent_rows_still_make_an_orthonormal_basis(rng):
    one = rng.normal(size=16)
    basis = orthonormalised(np.stack([one, one + 1e-4 * rng.normal(size=16)]))
    np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-14)


def test_coordinates_are_products_with_the_basis(rng):
    space = Subspace.of(rng.normal(size=(3, 10)))
    latents = rng.normal(size=(5, 2, 10))
    found = space.coordinates(latents)
    np.testing.assert_allclose(found, latents @ space.basis.T, atol=1e-13)
    np.testing.assert_allclose(space.embedded(found), found @ space.basis, atol=1e-13)
    left = space.remainder(latents)
    np.testing.assert_allclose(left @ space.basis.T, 0, atol=1e-14)
    np.testing.assert_allclose(left + space.embedded(found), latents, atol=1e-14)


@pytest.mark.parametrize("size", [8, 100, 512, 1000])
def test_a_latent_s_numbers_do_not_depend_on_its_company(rng, size):
    space = Subspace.of(rng.normal(size=(2, size)))
    latents = rng.normal(size=(33, 3, size))
    together = space.coordinates(latents)
    for i in range(33):
        np.testing.assert_array_equal(space.coordinates(latents[i]), together[i])
        for layer in range(3):
            alone = space.coordinates(latents[i, layer])
            np.testing.assert_array_equal(alone, together[i, layer])


def test_scores_are_those_of_the_boundaries(rng):
    normals = rng.normal(size=(3, 12))
    made = [
        Boundary(n, name, b)
        for n, b, name in zip(normals, (0.5, -1.0, 2.0), "abc", strict=True)
    ]
    space = Subspace.of(made)
    latent = space.embedded(space.at_scores([1.0, 2.0, -3.0]))
    scores = [latent @ b.normal + b.intercept for b in made]
    np.testing.assert_allclose(scores, [1.0, 2.0, -3.0], atol=1e-12)
    latent = space.embedded(space.at_scores(0.0))
    scores = [latent @ b.normal + b.intercept for b in made]
    np.testing.assert_allclose(scores, 0.0, atol=1e-12)
    assert space.attributes == ("a", "b", "c")


def test_all_ways_to_name_a_subspace(rng):
    normals = rng.normal(size=(2, 6))
    ways = [normals, list(normals), [normals], [normals[:1], boundary(normals[1])]]
    ways += [AttributeSubspace(normals, (0.9, 0.5), 0.02)]
    for way in ways:
        np.testing.assert_array_equal(
            Subspace.of(way).basis, Subspace.of(normals).basis
        )
    one = Subspace.of(boundary(normals[:1]))  # a file of InterFaceGAN's: (1, D)
    assert one.basis.shape == (1, 6)
    assert one.space == "w"
    assert Subspace.of(normals).attributes == ("direction 1", "direction 2")
    assert Subspace.of(normals).space is None


@pytest.mark.parametrize(
    ("boundaries", "message"),
    [
        ([], r"at least one boundary.*Received: sizes \[\]"),
        ([np.ones(3), np.ones(4)], r"Received: sizes \[3, 4\]"),
        ([np.ones(3), 2 * np.ones(3)], "linearly dependent: direction 2"),
        (np.eye(3)[[0, 1, 0]], "linearly dependent: direction 3"),
        ([np.ones(3), np.ones(3) + 1e-9 * np.eye(3)[0]], "linearly dependent"),
        (np.ones((4, 3)) + np.eye(4, 3), "linearly dependent"),
        (np.zeros(3), r"norm of a boundary.*Received"),
        (np.array([1.0, np.nan]), r"norm of a boundary.*nan"),
        (np.array([1.0, np.inf]), r"norm of a boundary.*inf"),
        (np.ones((2, 2, 2)), r"Received: .*shape \(2, 2, 2\)"),
        (np.array(["a"]), "Received: an array of dtype <U1"),
        ("age", "Received: an array of dtype <U3"),
        (3.0, r"Received: .*shape \(\)"),
        ([boundary(np.ones(2), np.nan)], "intercept.*nan"),
        ([boundary(np.eye(2)[0]), boundary(np.eye(2)[1], space="z")], "one latent sp"),
        ([boundary(np.ones(2), space="q")], r"Received: \['q'\]"),
    ],
)
def test_what_is_no_subspace_is_refused(boundaries, message):
    with pytest.raises(ValueError, match=message):
        Subspace.of(boundaries)


@pytest.mark.parametrize("scores", [[1.0], [1, 2, 3], np.nan, [0, np.inf], 1e300])
def test_scores_must_be_as_many_as_the_attributes(scores):
    with pytest.raises(ValueError, match="Received"):
        Subspace.of(np.eye(4)[:2]).at_scores(scores)

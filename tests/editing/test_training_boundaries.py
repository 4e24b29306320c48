"""Boundaries and subspaces are found where they were put."""

import numpy as np
import pytest

from tfpriv.editing.nullspace import attribute_subspace
from tfpriv.editing.training_boundaries import train_boundary


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_planted_boundary_is_found(rng):
    normal = rng.normal(size=16)
    normal /= np.linalg.norm(normal)
    latents = rng.normal(size=(600, 16))
    scores = latents @ normal - 0.3 + 0.05 * rng.normal(size=600)
    fit = train_boundary(latents, scores, "age", generator="0" * 16, truncation=0.7)
    assert fit.boundary.normal @ normal > 0.98
    assert (fit.boundary.attribute, fit.boundary.truncation) == ("age", 0.7)
    assert fit.chosen == 1.0
    # The middle of the scores is no quantile: near it both sides are mixed.
    assert 0.7 < fit.others <= 1.0


def test_labels_and_missing_scores(rng):
    latents = rng.normal(size=(400, 4))
    labels = (latents[:, 0] > 0).astype(float)
    labels[::7] = np.nan
    fit = train_boundary(latents, labels, "glasses", fraction=0.4)
    assert fit.boundary.normal[0] > 0.95


def test_scores_without_meaning_are_not_told(rng):
    fit = train_boundary(rng.normal(size=(2000, 8)), rng.normal(size=2000), "nothing")
    # 240 held out: 5 standard deviations of chance.
    assert abs(fit.chosen - 0.5) < 5 * 0.5 / np.sqrt(240)


def test_the_seed_decides(rng):
    latents, scores = rng.normal(size=(200, 4)), rng.integers(0, 2, 200)
    one, same, other = (
        train_boundary(latents, scores, "a", seed=seed).boundary.normal
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    "change",
    [
        {"scores": np.ones(100)},
        {"scores": np.ones(99)},
        {"scores": np.full(100, np.nan)},
        {"latents": np.ones((100, 3, 4))},
        {"latents": np.full((100, 4), np.inf)},
        {"fraction": 0.05},
        {"fraction": 0.6},
        {"held_out": 0.0},
    ],
)
def test_bad_arguments(rng, change):
    arguments = {"latents": rng.normal(size=(100, 4)), "scores": rng.normal(size=100)}
    with pytest.raises(ValueError, match="Received: "):
        train_boundary(**{**arguments, **change}, attribute="a")


def test_one_direction_is_enough_for_a_linear_attribute(rng):
    latents = rng.normal(size=(3000, 10))
    found = attribute_subspace(latents, latents[:, 0] > 0)
    assert found.accuracies[0] > 0.95
    assert found.accuracies[-1] <= 0.5 + found.margin
    assert 1 <= len(found.basis) <= 3
    assert abs(found.basis[0, 0]) > 0.99


def test_an_attribute_in_several_directions(rng):
    """One boundary leaves it readable; the subspace does not."""
    labels = rng.integers(0, 2, 4000).astype(bool)
    latents = rng.normal(size=(4000, 10))
    # Read from the difference of two, the attribute is in their sum as well.
    latents[:, 1] = latents[:, 0] + 0.1 * latents[:, 1]
    latents[:, 0] += 2 * labels
    found = attribute_subspace(latents, labels)
    assert found.accuracies[0] > 0.95
    assert found.accuracies[1] > 0.6
    assert found.accuracies[-1] <= 0.5 + found.margin
    gram = found.basis @ found.basis.T
    np.testing.assert_allclose(gram, np.eye(len(found.basis)), atol=1e-9)


def test_it_ends_where_told(rng):
    latents = rng.normal(size=(500, 6))
    labels = np.linalg.norm(latents, axis=1) > 2.3
    found = attribute_subspace(latents + labels[:, None], labels, most=1)
    assert len(found.basis) == 1
    assert len(found.accuracies) == 2


@pytest.mark.parametrize(
    ("latents", "labels"),
    [
        (np.ones((50, 3)), np.arange(50) < 10),
        (np.ones((50, 3)), np.arange(49) < 25),
        (np.full((50, 3), np.nan), np.arange(50) < 25),
        (np.ones((50, 2, 3)), np.arange(50) < 25),
    ],
)
def test_bad_data_for_a_subspace(latents, labels):
    with pytest.raises(ValueError, match="Received: "):
        attribute_subspace(latents, labels)

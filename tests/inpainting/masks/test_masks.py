"""Masks without a network: patches drawn at random, regions from landmarks."""

import numpy as np
import published
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tfpriv import faces
from tfpriv.inpainting import (
    aligned_region,
    eyes_to_mouth,
    random_patches,
    whole_face,
)
from tfpriv.inpainting.masks.geometric import spread

FALSE_ALARM = 1e-3


def blank(count, size):
    return np.zeros((count, size, size, 3), np.uint8)


def patches(masks, grid):
    """Which patches are covered; each is covered whole or not at all."""
    n, size = masks.shape[:2]
    parts = masks.reshape(n, grid, size // grid, grid, size // grid)
    np.testing.assert_array_equal(parts.any((2, 4)), parts.all((2, 4)))
    return parts.all((2, 4))


# Random patches.


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.floats(0, 1), st.integers(0, 2**31), st.integers(1, 3))
def test_so_many_whole_patches_are_covered(grid, share, seed, pixels):
    found = patches(random_patches(blank(2, grid * pixels), share, grid, seed), grid)
    assert (found.sum((1, 2)) == round(share * grid * grid)).all()


def test_three_quarters_of_16_by_16_unless_told():
    found = patches(random_patches(blank(3, 64)), 16)
    assert (found.sum((1, 2)) == 192).all()
    assert (found[0] != found[1]).any()


def test_the_middle_is_more_likely_than_the_edge():
    """4,000 pictures: the corner's share is below 0.5, the middle's above 0.9."""
    found = patches(random_patches(blank(4000, 8), grid=8, seed=3), 8).mean(0)
    rings = [found[i, i] for i in range(4)]
    assert rings == sorted(rings)
    assert found[0, 0] < 0.5
    assert found[3, 3] > 0.9
    np.testing.assert_allclose(found, found.T, atol=0.05)
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=0.05)


def test_patches_are_drawn_one_by_one_by_their_weights():
    """Chi-square of 2 of 4 x 4 corners and rest; a false alarm in a thousand."""
    place = (np.arange(3) + 0.5) / 3 - 0.5
    weight = np.exp(-(place[:, None] ** 2 + place**2).ravel() / (2 * 0.25**2))
    chances = np.zeros((9, 9))
    for one in range(9):
        for other in set(range(9)) - {one}:
            both = weight[one] * weight[other] / weight.sum()
            chances[one, other] = both / (weight.sum() - weight[one])
    expected = 6000 * (chances + chances.T)[np.triu_indices(9, 1)]
    drawn = patches(random_patches(blank(6000, 3), 2 / 9, 3, seed=11), 3)
    found = drawn.reshape(-1, 9).astype(int)
    counts = (found.T @ found)[np.triu_indices(9, 1)]
    assert expected.min() >= 5
    assert stats.chisquare(counts, expected).pvalue > FALSE_ALARM


def test_a_pictures_own_seed_gives_the_same_mask_in_any_company():
    alone = random_patches(blank(1, 32), seed=[17])
    together = random_patches(blank(3, 32), seed=[4, 17, 8])
    np.testing.assert_array_equal(together[1], alone[0])


def test_nobody_is_no_error():
    assert random_patches(blank(0, 32)).shape == (0, 32, 32)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"share": 1.1}, "share=1.1"),
        ({"grid": 5}, "size=32, grid=5"),
        ({"seed": [1, 2, 3]}, "3 for 2 pictures"),
    ],
)
def test_arguments_out_of_range(options, text):
    with pytest.raises(ValueError, match=f"Received: {text}"):
        random_patches(blank(2, 32), **options)
    with pytest.raises(ValueError, match="Received: uint8 of shape"):
        random_patches(np.zeros((1, 32, 16, 3), np.uint8))


def test_the_published_patches_are_in_the_middle_alone():
    found = patches(published.patches(blank(200, 32), seed=2), 16)
    assert not found[:, :4].any()
    assert not found[:, :, 13:].any()
    inside = found[:, 4:13, 4:13].mean()
    assert abs(inside - (1 - (1 - 1 / 81) ** 144)) < 0.02


# Regions.


@pytest.fixture(scope="module")
def drawn():
    people = faces.sample(6, seed=5)
    return faces.draw(people, 128), faces.landmarks(people, 128)


def test_regions_hold_the_landmarks(drawn):
    pictures, landmarks = drawn
    region, face = eyes_to_mouth(*drawn), whole_face(*drawn)
    assert region.shape == face.shape == pictures.shape[:3]
    for mask, other, points in zip(region, face, landmarks, strict=True):
        x, y = np.rint(points).astype(int).T
        assert mask[y, x].all()
        assert other[y, x].all()
    assert region.mean() < face.mean()
    assert region.mean() > 0.05
    assert face.mean() < 0.8


def test_regions_turn_and_grow_with_the_face():
    """Turned by a right angle, the mask is turned; twice as large, so is the mask."""
    points = np.array([[48, 56], [80, 56], [64, 72], [52, 88], [76, 88]], float)
    turned = np.stack([127 - points[:, 1], points[:, 0]], 1)
    upright = eyes_to_mouth(blank(1, 128), points[None])[0]
    aside = eyes_to_mouth(blank(1, 128), turned[None])[0]
    assert (np.rot90(upright, -1) != aside).mean() < 0.02
    large = eyes_to_mouth(blank(1, 256), 2 * points[None])[0]
    assert abs(large.mean() - upright.mean()) < 0.01


def test_the_aligned_region_is_the_rectangle_of_an_aligned_face():
    """Whose square is the picture: the patches that it touches."""
    size, grid = 320, 16
    points = np.array([[120, 150], [200, 150], [160, 195], [128, 238], [192, 238]])
    points = points.astype(float)
    square = faces.alignment.square(points)
    side = np.linalg.norm(square[1] - square[0])
    points = (points - square[0]) * size / side
    exact = eyes_to_mouth(blank(1, size), points[None])[0]
    region = spread(aligned_region(grid)[None], size)[0]
    assert not (exact & ~region).any()
    touched = exact.reshape(grid, size // grid, grid, size // grid).any((1, 3))
    np.testing.assert_array_equal(touched, aligned_region(grid))


@pytest.mark.parametrize(
    "landmarks", [np.zeros((2, 5, 2)), np.full((1, 5, 2), np.nan), np.zeros((1, 5, 2))]
)
def test_without_a_face_there_is_no_mask(landmarks):
    for region in (eyes_to_mouth, whole_face):
        with pytest.raises(ValueError, match="Received: "):
            region(blank(1, 32), landmarks)

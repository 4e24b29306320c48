"""PSNR and SSIM: against their definitions, and at their ends."""

import math

import numpy as np
import pytest

from tfpriv.support.fidelity import fidelity, mean_colours, mean_picture


def test_equal_pictures(rng):
    pictures = rng.integers(0, 256, (3, 9, 9, 3), np.uint8)
    assert fidelity(pictures, pictures.copy()) == fidelity(pictures, pictures)
    figures = fidelity(pictures, pictures)
    assert (figures.psnr, figures.ssim, figures.exact) == (math.inf, 1, 1)


def test_psnr_by_hand():
    plain = np.zeros((2, 4, 4, 3), np.uint8)
    other = plain.copy()
    other[0] = 51  # a fifth of the range, in half of the pictures
    figures = fidelity(plain, other)
    assert figures.psnr == pytest.approx(10 * math.log10(2 * 25))
    assert figures.exact == 0.5


def test_unrelated_pictures_are_not_similar(rng):
    plain, other = rng.integers(0, 256, (2, 50, 16, 16, 3), np.uint8)
    figures = fidelity(plain, other)
    assert abs(figures.ssim) < 0.05
    assert figures.psnr == pytest.approx(7.75, abs=0.2)  # 1/6 of the squared range


def test_the_mean_colour_is_the_best_patch(rng):
    plain = rng.integers(0, 256, (4, 8, 8, 3), np.uint8)
    patch = mean_colours(plain)
    best = fidelity(plain, patch).psnr
    assert (patch == patch[:, :1, :1]).all()
    for off in (-9, 9):
        worse = np.clip(patch.astype(int) + off, 0, 255).astype(np.uint8)
        assert fidelity(plain, worse).psnr < best


def test_the_average_picture_in_another_colour():
    known = np.zeros((2, 4, 4, 3), np.uint8)
    known[:, :2] = 20  # brighter above
    shuffled = np.full((1, 4, 4, 3), 100, np.uint8)
    painted = mean_picture(shuffled, known)
    assert (painted[0, :2] == 110).all()
    assert (painted[0, 2:] == 90).all()


@pytest.mark.parametrize(
    "other",
    [np.zeros((2, 8, 8, 1), np.uint8), np.zeros((2, 8, 8, 3))],
)
def test_what_cannot_be_compared(other):
    with pytest.raises(ValueError, match="Received: "):
        fidelity(np.zeros((2, 8, 8, 3), np.uint8), other)

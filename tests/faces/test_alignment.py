"""Faces are found in photographs, and stand upright once aligned."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from tfpriv import faces
from tfpriv.faces import alignment


def transformed(picture, points, angle, scale):
    """A photograph turned and made larger, with its landmarks."""
    height, width = picture.shape[:2]
    side = int(2 * scale * max(height, width))
    turn = scale * np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    middle, new = np.array([width, height]) / 2, np.array([side, side]) / 2
    back = np.linalg.inv(turn)
    shift = middle - back @ new
    coefficients = (*back[0], shift[0], *back[1], shift[1])
    moved = Image.fromarray(picture).transform(
        (side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
    )
    return np.asarray(moved), (points - middle) @ turn.T + new


@pytest.mark.parametrize(("angle", "scale"), [(0.5, 1.0), (-1.2, 1.5), (3.0, 4.0)])
def test_turn_and_size_of_the_photograph_do_not_matter(angle, scale):
    drawn = faces.sample(1, seed=2).with_attribute("pose", 0.0)
    picture = faces.draw(drawn, 256, zoom=0.6)[0]
    points = faces.landmarks(drawn, 256, zoom=0.6)[0]
    upright = faces.align(picture, points, 64).astype(int)
    turned = faces.align(*transformed(picture, points, angle, scale), 64)
    # Away from the margins, of which less is in the turned photograph.
    assert np.abs(upright - turned)[12:-12, 12:-12].mean() < 3


def test_the_square_is_ffhqs():
    points = np.array([[40, 50], [60, 50], [50, 60], [44, 72], [56, 72]], float)
    # Eyes 20 apart, mouth 22 below: half a side is max(2 * 20, 1.8 * 22) = 40.
    corners = alignment.square(points)
    middle = np.array([50, 50 + 0.1 * 22])
    expected = middle + 40 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    np.testing.assert_allclose(corners, expected, atol=1e-12)


def test_a_face_at_the_border_repeats_it():
    picture = np.zeros((40, 40, 3), "uint8")
    picture[:, :] = [200, 100, 50]
    points = np.array([[2, 5], [12, 5], [7, 9], [4, 14], [10, 14]], float)
    aligned = faces.align(picture, points, 32)
    assert (aligned == [200, 100, 50]).all()


def test_real_photographs():
    """The astronaut's face is the only one; a cup of coffee has none."""
    photograph = skimage.data.astronaut()
    (face,) = faces.find_faces(photograph)
    left, top, width, height = face.box
    assert 150 < left < 200
    assert 50 < top < 90
    assert ((face.landmarks > (left, top)).all(0)).all()
    assert ((face.landmarks < (left + width, top + height)).all(0)).all()
    again = faces.find_faces(faces.align(photograph, face.landmarks, 256))
    eyes = again[0].landmarks[:2]
    # Aligned, the eyes are level, a quarter of the side apart.
    assert abs(eyes[1, 1] - eyes[0, 1]) < 5
    assert eyes[1, 0] - eyes[0, 0] == pytest.approx(64, abs=8)
    assert faces.find_faces(skimage.data.coffee()) == []


def test_small_pictures_hold_no_face():
    assert faces.find_faces(np.zeros((1, 1, 3), "uint8")) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: faces.find_faces(np.zeros((9, 9), "uint8")),
        lambda: faces.find_faces(np.zeros((9, 9, 3))),
        lambda: faces.align(np.zeros((9, 9, 3), "uint8"), np.zeros((5, 2)), 64),
        lambda: faces.align(np.zeros((9, 9, 3), "uint8"), np.ones((4, 2)), 64),
        lambda: faces.align(np.zeros((9, 9, 3), "uint8"), np.eye(5, 2), 4),
        lambda: faces.align(np.zeros((9, 9, 3), "uint8"), np.full((5, 2), np.nan), 9),
    ],
)
def test_bad_arguments(call):
    with pytest.raises(ValueError, match="Received: "):
        call()

"""Drawn faces follow from their numbers, and show them."""

import numpy as np
import pytest

from tfpriv import faces


def test_a_face_follows_from_its_person_and_number_alone():
    many, one = faces.sample(4, 3, seed=5), faces.sample(1, 2, seed=5, first=2)
    for name in ("identity", "traits", "attributes", "scene"):
        np.testing.assert_array_equal(
            getattr(many, name)[6:8], getattr(one, name), err_msg=name
        )
    np.testing.assert_array_equal(faces.draw(many, 32)[6:8], faces.draw(one, 32))


def test_a_person_keeps_what_makes_a_person():
    drawn = faces.sample(3, 4, seed=1)
    of_one = drawn[drawn.identity == 1]
    assert len(of_one) == 4
    assert len(np.unique(of_one.traits, axis=0)) == 1
    assert len(np.unique(of_one.column("gender"))) == 1
    assert np.ptp(of_one.column("age")) <= 0.2
    assert len(np.unique(of_one.column("smile"))) == 4


def test_numbers_are_spread_over_their_ranges():
    drawn = faces.sample(500, seed=2)
    assert (np.abs(drawn.traits) <= 1).all()
    # 5 standard deviations: a false alarm in 3e-7 for each of 19 traits.
    assert (np.abs(drawn.traits.mean(0)) < 5 / np.sqrt(3 * 500)).all()
    for name, (low, high) in faces.ATTRIBUTES.items():
        column = drawn.column(name)
        assert low <= column.min() < column.max() <= high


@pytest.mark.parametrize("name", [*faces.TRAITS, *faces.ATTRIBUTES, *faces.SCENE])
def test_every_number_shows(name):
    """Else it would be no truth about the picture."""
    # A bearded man and a woman with long hair, neither frontal nor at rest.
    drawn = faces.sample(2, seed=0)
    attributes = np.array([[0.9, 1, 0.5, 1, 0.3], [0.3, 0, -0.5, 0, -0.3]])
    drawn = faces.Faces(drawn.identity, 0.2 + 0 * drawn.traits, attributes, drawn.scene)
    groups = (
        (drawn.traits, faces.TRAITS),
        (drawn.attributes, tuple(faces.ATTRIBUTES)),
        (drawn.scene, faces.SCENE),
    )
    group, names = next(pair for pair in groups if name in pair[1])
    column = group[:, names.index(name)]
    pictures = []
    for value in faces.ATTRIBUTES.get(name, (-1, 1)):
        column[:] = value
        pictures.append(faces.draw(drawn, 64).astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() > 20


def test_landmarks_lie_on_the_eyes():
    drawn = faces.sample(40, seed=3)
    drawn = drawn.with_attribute("glasses", 0.0)
    size = (218, 178)
    pictures = faces.draw(drawn, size, zoom=0.8).astype(int)
    points = faces.landmarks(drawn, size, zoom=0.8)
    assert points.shape == (40, 5, 2)
    for picture, eyes in zip(pictures, points[:, :2], strict=True):
        for x, y in np.floor(eyes).astype(int):
            assert picture[y, x].max() < 60  # the pupil


def test_size_and_zoom():
    drawn = faces.sample(2)
    assert faces.draw(drawn, (20, 30)).shape == (2, 20, 30, 3)
    large, small = faces.draw(drawn, 64), faces.draw(drawn, 64, zoom=0.5)
    shrunk = large.reshape(2, 32, 2, 32, 2, 3).mean((2, 4))
    middle = small[:, 16:48, 16:48].astype(float)
    assert np.abs(shrunk - middle).mean() < 6


def test_turning_moves_the_face_to_that_side():
    drawn = faces.sample(5)
    left = faces.landmarks(drawn.with_attribute("pose", -1.0))[:, 2, 0]
    right = faces.landmarks(drawn.with_attribute("pose", 1.0))[:, 2, 0]
    assert (left < 32).all()
    assert (right > 32).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: faces.sample(0),
        lambda: faces.sample(1, 0),
        lambda: faces.sample(1, seed=-1),
        lambda: faces.sample(1, first=-1),
        lambda: faces.draw(faces.sample(1), 15),
        lambda: faces.draw(faces.sample(1), (64, 8)),
        lambda: faces.draw(faces.sample(1), zoom=0.0),
        lambda: faces.sample(1).with_attribute("hat", 0.0),
        lambda: faces.sample(1).with_attribute("age", 1.5),
    ],
)
def test_bad_arguments(call):
    with pytest.raises(ValueError, match="Received: "):
        call()

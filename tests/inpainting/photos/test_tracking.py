"""Persons followed through the pictures of a video."""

from tfpriv.inpainting.photos.boxes import Box
from tfpriv.inpainting.photos.tracking import Tracker


def at(left, top=0, track=None):
    return Box((left, top, 20, 20), 0.9, track=track)


def tracks(boxes):
    return [box.track for box in boxes]


def test_two_persons_keep_their_numbers_in_any_order():
    tracker = Tracker()
    assert tracks(tracker([at(0), at(100)])) == [0, 1]
    assert tracks(tracker([at(103), at(4)])) == [1, 0]
    assert tracks(tracker([at(8), at(50), at(106)])) == [0, 2, 1]


def test_the_closest_wins():
    tracker = Tracker()
    tracker([at(0)])
    assert tracks(tracker([at(6), at(2)])) == [1, 0]


def test_a_face_that_flickers_stays_covered():
    tracker = Tracker(patience=2)
    tracker([at(0)])
    for _ in range(2):
        (missed,) = tracker([])
        assert missed == Box((0, 0, 20, 20), None, track=0)
    assert tracker([]) == []
    assert tracks(tracker([at(0)])) == [1]


def test_a_face_that_comes_back_is_the_same_person():
    tracker = Tracker(patience=2)
    tracker([at(0)])
    tracker([])
    assert tracks(tracker([at(3)])) == [0]
    tracker([])
    tracker([])
    assert tracks(tracker([at(3)])) == [0]


def test_numbers_that_are_given_are_kept():
    tracker = Tracker(patience=0)
    assert tracks(tracker([at(0, track=4), at(50)])) == [4, 5]
    assert tracks(tracker([at(1), at(51)])) == [4, 5]
    assert tracks(tracker([])) == []

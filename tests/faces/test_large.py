"""Faces in photographs of any size."""

import itertools

import numpy as np
import pytest

from tfpriv.faces import Face, large


def face(box, confidence=0.9):
    return Face(tuple(box), np.array([[box[0], box[1]]] * 5, float), confidence)


def find_white(picture):
    """Each white rectangle, as one face."""
    white = picture[..., 0] > 200
    if not white.any():
        return []
    rows, columns = np.flatnonzero(white.any(1)), np.flatnonzero(white.any(0))
    left, top = columns[0], rows[0]
    return [face((left, top, columns[-1] - left + 1, rows[-1] - top + 1))]


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(large, "TILE", 64)
    monkeypatch.setattr(large, "OVERLAP", 24)


def test_photographs_of_one_tile_are_looked_at_as_they_are():
    picture = np.zeros((2048, 9, 3), np.uint8)
    seen = []
    assert large.find_faces_in_large(picture, lambda p: seen.append(p) or []) == []
    assert seen[0] is picture


@pytest.mark.parametrize("place", [(0, 0), (100, 40), (262, 130), (180, 160)])
@pytest.mark.parametrize("size", [8, 40])
def test_a_face_is_found_once_wherever_it_is(small_tiles, place, size):
    picture = np.zeros((200, 310, 3), np.uint8)
    left, top = place
    height, width = min(size, 200 - top), min(size, 310 - left)
    picture[top : top + height, left : left + width] = 255
    found = large.find_faces_in_large(picture, find_white)
    whole = [large.overlap(f.box, (left, top, width, height)) for f in found]
    assert max(whole) > 0.6
    assert len(found) == 1 or min(whole) < 0.5  # a part at a tile's edge
    best = found[int(np.argmax(whole))]
    np.testing.assert_allclose(best.landmarks[0], place, atol=8)


def test_a_face_larger_than_a_tile(small_tiles):
    picture = np.zeros((300, 300, 3), np.uint8)
    picture[20:280, 40:260] = 255
    found = large.find_faces_in_large(picture, find_white)
    assert max(large.overlap(f.box, (40, 20, 220, 260)) for f in found) > 0.9


def test_tiles_cover_everything_and_overlap(small_tiles):
    for size in range(1, 400):
        starts = large._starts(size)
        assert starts[0] == 0
        assert starts[-1] == max(0, size - 64)
        assert all(b - a <= 40 for a, b in itertools.pairwise(starts))


def test_the_surer_of_two_boxes_stays():
    faces = [face((0, 0, 10, 10), 0.8), face((1, 0, 10, 10), 0.9), face((8, 8, 9, 9))]
    assert [f.box[0] for f in large._distinct(faces)] == [1, 8]


def test_overlap():
    assert large.overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert large.overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert large.overlap((0, 0, 10, 10), (20, 0, 10, 10)) == 0

"""Faces in photographs: what is covered, what shows, and what stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv.inpainting.photos import crops, face_masks, inpainters, photographs
from tfpriv.inpainting.photos.crops import Frame
from tfpriv.inpainting.photos.obfuscation import Blur, Fill, Pixelate
from tfpriv.inpainting.photos.settings import MASKS, Settings


class Reading:
    """An inpainter whose paint follows from every pixel and every mask it is shown."""

    def __init__(self, size=None):
        self.size, self.calls = size, []

    def __call__(self, images, masks, seed=0, **options):
        self.calls.append((images, masks, seed, options))
        shade = (images.astype(int).sum() + 7 * masks.sum() + seed) % 251
        return np.where(masks[..., None], np.uint8(shade), images)


def regions_of(photograph, boxes, mask=face_masks.whole_face):
    return [photographs.cover(photograph, box, mask) for box in boxes]


def random_photograph(rng, height=90, width=120):
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def test_the_pixels_under_the_mask_never_show(rng):
    """Two faces that lie in each other's squares, one at the edge; any size."""
    photograph = random_photograph(rng)
    boxes = [(30, 30, 22, 28), (56, 34, 20, 26), (-8, 60, 30, 40)]
    for inpainter in (Reading(), Reading(16), Reading(64), Fill()):
        regions = regions_of(photograph, boxes)
        covered = photographs.covered(photograph.shape, regions)
        other = photograph.copy()
        other[covered] = rng.integers(0, 256, (covered.sum(), 3), np.uint8)
        results = [
            photographs.repaint(p, regions, inpainter, [1, 2, 3])
            for p in (photograph, other)
        ]
        np.testing.assert_array_equal(*results)
        assert (photograph != other).any()


@pytest.mark.parametrize("fault", ["the original is seen", "only one's own mask"])
def test_planted_leaks_are_caught(rng, monkeypatch, fault):
    photograph = random_photograph(rng)
    boxes = [(30, 30, 22, 28), (56, 34, 20, 26)]
    regions = regions_of(photograph, boxes)
    covered = photographs.covered(photograph.shape, regions)
    inpainter = Reading(64)
    if fault == "the original is seen":
        inpainter.reads_masked = True
    else:
        honest = photographs.covered
        monkeypatch.setattr(
            photographs, "covered", lambda shape, found: honest(shape, found[:1])
        )
    other = photograph.copy()
    other[covered] = 255 - other[covered]
    results = [
        photographs.repaint(p, regions, inpainter, [1, 2]) for p in (photograph, other)
    ]
    assert (results[0] != results[1]).any()


@pytest.mark.parametrize("inpainter", [Blur(), Pixelate()])
def test_blur_and_pixelation_do_show_what_is_under_the_mask(rng, inpainter):
    photograph = random_photograph(rng)
    regions = regions_of(photograph, [(30, 30, 22, 28)])
    other = photograph.copy()
    other[photographs.covered(photograph.shape, regions)] = 0
    one, two = (
        photographs.repaint(p, regions, inpainter, [0]) for p in (photograph, other)
    )
    assert (one != two).any()


@settings(max_examples=25, deadline=None)
@given(
    box=st.tuples(*[st.integers(-10, 70)] * 2, *[st.integers(1, 60)] * 2),
    size=st.sampled_from([None, 8, 32]),
)
def test_what_is_far_from_the_face_stays_to_the_last_bit(box, size):
    photograph = random_photograph(np.random.default_rng(0), 64, 80)
    left, top, width, height = box
    if left + width <= 0 or top + height <= 0 or left >= 80 or top >= 64:
        return
    (region,) = regions_of(photograph, [box])
    result = photographs.repaint(photograph, [region], Fill((1, 2, 3)), [0])
    covered = photographs.covered(photograph.shape, [region])
    assert (result[covered] == (1, 2, 3)).all()
    # Beyond the mask and a band around it.
    far = np.ones(covered.shape, bool)
    reach = max(2, round(region.frame.side / 32)) + 1
    for y, x in np.argwhere(covered):
        far[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = 0
    np.testing.assert_array_equal(result[far], photograph[far])


def test_the_border_is_blended_outside_of_the_mask():
    photograph = np.full((200, 200, 3), 200, np.uint8)
    (region,) = regions_of(photograph, [(60, 60, 60, 80)])
    result = photographs.repaint(photograph, [region], Fill(), [0])[..., 0]
    covered = photographs.covered(photograph.shape, [region])
    assert (result[covered] == 0).all()
    between = (result > 0) & (result < 200)
    assert between.any()
    assert not (between & covered).any()
    # Brighter and brighter to the left of the mask.
    row = result[100, : covered[100].argmax()]
    assert (np.diff(row.astype(int)) <= 0).all()


def test_a_face_of_40_pixels_is_painted_at_the_inpainters_size(rng):
    photograph = random_photograph(rng, 150, 150)
    inpainter = Reading(64)
    (region,) = regions_of(photograph, [(50, 60, 32, 40)])
    result = photographs.repaint(photograph, [region], inpainter, [5], steps=3)
    ((images, masks, seed, options),) = inpainter.calls
    assert images.shape == (1, 64, 64, 3)
    assert masks.dtype == bool
    assert (seed, options) == (5, {"steps": 3})
    assert region.frame == Frame(26, 40, 80)
    covered = photographs.covered(photograph.shape, [region])
    assert covered[60:100, 58:74].all()
    assert len(np.unique(result[covered], axis=0)) < 40  # one shade, but for resizing
    assert result.shape == photograph.shape


def test_the_mask_that_an_inpainter_gets_covers_what_is_grey(rng):
    """Whatever is grey because it is hidden is under the inpainter's mask."""
    photograph = rng.integers(0, 100, (300, 300, 3), np.uint8)
    inpainter = Reading(64)
    regions = regions_of(photograph, [(100, 100, 80, 90), (150, 140, 80, 90)])
    photographs.repaint(photograph, regions, inpainter, [0, 0])
    for images, masks, *_ in inpainter.calls:
        assert images[~masks].max() < 105
        assert (images[masks] == photographs.GREY).any()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (lambda squares: np.zeros(squares.shape[:3], bool), "covers nothing"),
        (lambda squares: np.ones(squares.shape[:3]), "must return bool"),
        (lambda squares: np.ones((1, 8, 8), bool), "must return bool"),
    ],
)
def test_masks_that_cover_nothing_are_refused(mask, message):
    photograph = np.zeros((50, 50, 3), np.uint8)
    with pytest.raises(ValueError, match=message):
        photographs.cover(photograph, (10, 10, 20, 20), mask)


def test_inpainters_that_return_no_pictures_are_refused():
    photograph = np.zeros((50, 50, 3), np.uint8)
    regions = regions_of(photograph, [(10, 10, 20, 20)])
    with pytest.raises(ValueError, match="must return uint8"):
        photographs.repaint(photograph, regions, lambda i, m, seed: i[0], [0])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32))
def test_a_resized_mask_touches_all_that_it_should(size, other, seed):
    mask = np.random.default_rng(seed).random((size, size)) < 0.1
    grown = crops.touched(mask, other)
    for y, x in np.ndindex(other, other):
        # The stripe of pixel n reaches from n / other to (n + 1) / other.
        rows, columns = (
            slice(n * size // other, -(-(n + 1) * size // other)) for n in (y, x)
        )
        assert grown[y, x] == mask[rows, columns].any()


@pytest.mark.parametrize("name", MASKS)
def test_masks_by_name(rng, name):
    squares = rng.integers(0, 256, (2, 64, 64, 3), np.uint8)
    found = face_masks.named(name, 3)(squares)
    assert found.shape == (2, 64, 64)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, face_masks.named(name, 3)(255 - squares))
    assert found[:, 32, 32].all() or name == "random"


def test_the_whole_face_is_more_than_its_box():
    """A face's box is half of the square high, and some three quarters of that wide."""
    (covered,) = face_masks.whole_face(np.zeros((1, 100, 100, 3), np.uint8))
    assert covered[24:76, 50].all()
    assert covered[50, 31:69].all()
    (inner,) = face_masks.landmarks(np.zeros((1, 100, 100, 3), np.uint8))
    assert (covered | ~inner).all()


def test_unknown_names():
    with pytest.raises(ValueError, match="Received: mask='none'"):
        Settings(mask="none")
    with pytest.raises(FileNotFoundError, match="Received: sepia"):
        inpainters.load("sepia")


def test_the_default_inpainter_is_missing_with_a_clear_error(tmp_path, monkeypatch):
    from tfpriv.support import checkpoints

    monkeypatch.setattr(checkpoints, "_PLACES", (tmp_path,))
    with pytest.raises(FileNotFoundError, match="No inpainter comes with this tfpriv"):
        inpainters.load()
    (tmp_path / "inpainting").mkdir()
    with pytest.raises(FileNotFoundError, match="or a folder of diffusers"):
        inpainters.load()


def test_obfuscations_by_hand(rng):
    images = rng.integers(0, 256, (2, 32, 48, 3), np.uint8)
    masks = rng.random((2, 32, 48)) < 0.5
    for obfuscation in (Blur(), Pixelate(4), Fill((9, 8, 7))):
        changed = obfuscation(images, masks, prompt="", steps=1, seed=3)
        np.testing.assert_array_equal(changed[~masks], images[~masks])
        everywhere = obfuscation(images, np.ones_like(masks))
        np.testing.assert_array_equal(changed[masks], everywhere[masks])
    assert (Fill((9, 8, 7))(images, masks)[masks] == (9, 8, 7)).all()
    squares = Pixelate(4)(images, np.ones_like(masks))
    block = images[0, :8, :8].reshape(-1, 3).mean(0)
    np.testing.assert_allclose(squares[0, 3, 3], block, atol=1)
    assert (squares[0, :8, :8] == squares[0, 0, 0]).all()
    with pytest.raises(ValueError, match="bool masks"):
        Fill()(images, masks[:1])


def test_the_size_of_an_inpainter():
    assert inpainters.pixels(Blur()) is None
    assert inpainters.pixels(Reading(64)) == 64
    assert inpainters.pixels(Reading((32, 32))) == 32
    with pytest.raises(ValueError, match="painted in squares"):
        inpainters.pixels(Reading((32, 64)))
    assert inpainters.reads_masked(Blur())
    assert not inpainters.reads_masked(Fill())
    assert not inpainters.reads_masked(Reading())

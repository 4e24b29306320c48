"""Photographs painted by latent diffusion: the whole way, with random weights."""

import numpy as np
import pytest
import skimage.data
from tiny_inpainter import new_inpainter

from tfpriv.inpainting.photos import (
    face_masks,
    inpainters,
    photographs,
)
from tfpriv.inpainting.photos import (
    jobs as photo_jobs,
)
from tfpriv.inpainting.photos.anonymiser import Anonymiser, Settings
from tfpriv.inpainting.photos.settings import MASKS
from tfpriv.support import images

BOX = (182, 64, 83, 107)  # of the astronaut's face, as mtcnn finds it


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a tiny inpainter with random weights; not to be changed."""
    folder = tmp_path_factory.mktemp("saved") / "inpainter"
    new_inpainter().save_diffusers(folder)
    return folder


@pytest.mark.parametrize("mask", MASKS)
def test_nothing_of_a_real_face_shows(saved, rng, mask):
    inpainter = inpainters.load(saved)
    assert inpainters.pixels(inpainter) == inpainter.vae.config["sample_size"]
    photograph = skimage.data.astronaut()
    region = photographs.cover(photograph, BOX, face_masks.named(mask, 1))
    covered = photographs.covered(photograph.shape, [region])
    other = photograph.copy()
    other[covered] = rng.integers(0, 256, (covered.sum(), 3), np.uint8)
    one, two = (
        photographs.repaint(p, [region], inpainter, [3], steps=2)
        for p in (photograph, other)
    )
    np.testing.assert_array_equal(one, two)
    assert (one[covered] != photograph[covered]).any()
    far = np.ones(covered.shape, bool)
    far[:250, 80:370] = False
    np.testing.assert_array_equal(one[far], photograph[far])
    again = photographs.repaint(photograph, [region], inpainter, [4], steps=2)
    assert (again != one).any()


def test_a_folder_by_the_embedded_inpainters_name(saved, tmp_path, monkeypatch):
    """The embedded weights are where they belong: nothing need be named."""
    from tfpriv.support import checkpoints

    (tmp_path / "inpainting").mkdir()
    (tmp_path / "inpainting" / "inpainter").symlink_to(saved)
    monkeypatch.setattr(checkpoints, "_PLACES", (tmp_path,))
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("picture,left,top,width,height\na.png,182,64,83,107\n")
    images.save(tmp_path / "a.png", skimage.data.astronaut())
    settings = Settings(steps=1, boxes=str(boxes))
    for output in ("one", "two"):
        report = photo_jobs.anonymise_folder(
            tmp_path / "a.png", tmp_path / output, Anonymiser(settings)
        )
        assert report.done == 1
    one, two = ((tmp_path / name / "a.png").read_bytes() for name in ("one", "two"))
    assert one == two

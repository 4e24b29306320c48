"""A data set parted within persons; masks in its frame."""

import dataclasses
import shutil

import numpy as np
import pytest

from tfpriv import faces
from tfpriv.inpainting.experiment import finetuning
from tfpriv.inpainting.experiment.people import SPLIT, People
from tfpriv.inpainting.masks import geometric, kinds
from tfpriv.support import images


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return faces.write_dataset(tmp_path_factory.mktemp("d") / "faces", 3, 5, size=32)


def test_everybody_is_on_both_sides(dataset):
    people = People.load(dataset)
    assert people.classes == 3
    assert len(people.training) == 12
    assert np.bincount(people.labels[people.testing]).tolist() == [1, 1, 1]
    assert (
        people.first_training(1)
        == people.training[people.labels[people.training] == 1][0]
    )


def test_a_written_split_is_read_again(dataset):
    people = People.parted(faces.CelebA.load(dataset), 0.4, seed=3)
    path = people.save_split()
    found = People.load(dataset)
    np.testing.assert_array_equal(found.testing, people.testing)
    assert len(found.testing) == 9
    path.write_text(path.read_text().replace("000004.jpg 0", "000004.jpg 2"))
    path.write_text(path.read_text().replace("000004.jpg 1", "000004.jpg 2"))
    with pytest.raises(ValueError, match=f"0 or 1 .*{SPLIT}"):
        People.load(dataset)
    path.unlink()


def test_leaking_splits_are_refused(dataset):
    """Planted: a picture on both sides; persons parted, as CelebA's partitions do."""
    people = People.load(dataset)
    both = np.append(people.testing, people.training[0])
    with pytest.raises(ValueError, match="on one only"):
        dataclasses.replace(people, testing=both)
    first = np.flatnonzero(people.labels > 0)
    with pytest.raises(ValueError, match=r"000001\.jpg, the only side"):
        dataclasses.replace(
            people, training=first, testing=np.flatnonzero(people.labels == 0)
        )


@pytest.mark.parametrize(
    ("copy", "by_person", "warned"),
    [(1, False, True), (1, True, False), (7, False, True), (7, True, True)],
)
def test_copies_in_several_units_are_warned_of(
    dataset, tmp_path, recwarn, copy, by_person, warned
):
    """Image 0 again, as another one of its person or as one of the next person's."""
    people = People.load(shutil.copytree(dataset, tmp_path / "faces"))
    rows = np.arange(15)
    unit = people.labels if by_person else rows
    people.warn_of_copies(rows, unit)
    assert not recwarn.list
    first, other = people.paths(rows[[0, copy]])
    shutil.copy(first, other)
    people.warn_of_copies(rows, unit)
    assert [other.name in str(w.message) for w in recwarn] == [True] * warned


@pytest.mark.parametrize("job", [finetuning.by_picture, finetuning.by_person])
def test_copies_are_looked_for_before_private_training(dataset, job, monkeypatch):
    def found(self, rows, unit):
        raise KeyboardInterrupt(len(np.unique(unit)))

    monkeypatch.setattr(People, "warn_of_copies", found)
    units = "12" if job is finetuning.by_picture else "3"
    with pytest.raises(KeyboardInterrupt, match=f"^{units}$"):
        job(None, People.load(dataset), None)


def test_points_go_where_pixels_go(rng):
    """A white spot in a wide picture, and its place in the middle square."""
    picture = np.zeros((40, 64, 3), np.uint8)
    picture[9:12, 29:32] = 255
    small = images.to_array(images.from_array(picture), 20)
    weights = small[..., 0] / small[..., 0].sum()
    across, down = (weights.sum(0) @ np.arange(20), weights.sum(1) @ np.arange(20))
    found = geometric.in_square(np.array([30.5, 10.5]), (40, 64), 20)
    np.testing.assert_allclose(found, [across + 0.5, down + 0.5], atol=0.1)


def test_celebas_region_covers_drawn_faces_eyes_and_mouths(dataset):
    """They are drawn where CelebA's alignment puts faces."""
    region = kinds.celeba_region(16)
    assert 30 < region.sum() < 110
    points = faces.landmarks(faces.sample(50, 1, seed=5), (218, 178), zoom=0.8)
    places = np.floor(geometric.in_square(points, (218, 178), 16)).astype(int)
    assert region[places[..., 1], places[..., 0]].mean() > 0.95


@pytest.mark.parametrize("kind", ["random", "landmarks", "whole_face"])
def test_kinds_are_the_functions(kind, rng):
    picture = rng.integers(0, 256, (32, 32, 3), np.uint8)
    points = faces.landmarks(faces.sample(1), 32)[0]
    subject = kinds.Subject(picture, 0, points, None, 7)
    right = {
        "random": lambda p: geometric.random_patches(p, seed=[7]),
        "landmarks": lambda p: geometric.eyes_to_mouth(p, points[None]),
        "whole_face": lambda p: geometric.whole_face(p, points[None]),
    }[kind](picture[None])
    found = kinds.KINDS[kind].make(subject, settings=kinds.Settings())
    np.testing.assert_array_equal(found, right)


def test_what_a_mask_needs():
    with pytest.raises(ValueError, match=r"one of random, .*Received: mask='none'"):
        kinds.check("none", None, None)
    with pytest.raises(ValueError, match=r"needs a FaceNet.*mask='gradcam'"):
        kinds.check("gradcam", None, None)
    with pytest.raises(ValueError, match=r"needs a `classifier`.*mask='gradients'"):
        kinds.check("gradients", object(), None)

"""CelebA's layout: what is written is read again, and damage is named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv import faces
from tfpriv.faces import celeba
from tfpriv.support import images


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return faces.write_dataset(tmp_path_factory.mktemp("celeba") / "set", 11, 2, seed=4)


def test_lists(folder):
    data, drawn = faces.CelebA.load(folder), faces.sample(11, 2, seed=4)
    assert len(data) == 22
    np.testing.assert_array_equal(data.identity, drawn.identity + 1)
    np.testing.assert_array_equal(data.attribute("Male"), drawn.column("gender") > 0.5)
    np.testing.assert_array_equal(data.attribute("Young"), drawn.column("age") < 0.5)
    np.testing.assert_array_equal(data.partition[::2], [0] * 8 + [1, 2, 0])
    assert not data.attribute("Wearing_Hat").any()


def test_pictures(folder):
    data, drawn = faces.CelebA.load(folder), faces.sample(11, 2, seed=4)
    stored = np.stack([images.load(path) for path in data.paths()]).astype(int)
    assert stored.shape == (22, 218, 178, 3)
    assert np.abs(stored - faces.draw(drawn, celeba.SIZE, zoom=celeba.ZOOM)).mean() < 2


def test_landmarks_are_celebas(folder):
    lines = (folder / celeba.LANDMARKS).read_text().splitlines()
    assert lines[0] == "22"
    assert lines[1].split() == list(celeba.POINTS)
    name, *numbers = lines[2].split()
    points = faces.landmarks(faces.sample(1, seed=4), celeba.SIZE, zoom=celeba.ZOOM)
    assert name == "000001.jpg"
    assert np.abs(points.ravel() - np.array(numbers, int)).max() <= 0.5


def test_truth(folder):
    read, drawn = faces.read_truth(folder), faces.sample(11, 2, seed=4)
    for name in ("identity", "traits", "attributes", "scene"):
        np.testing.assert_array_equal(getattr(read, name), getattr(drawn, name))


def test_nothing_is_left_of_what_failed(tmp_path):
    with pytest.raises(ValueError, match="Received: size=4"):
        faces.write_dataset(tmp_path / "set", 1, size=4)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_overwritten(folder):
    with pytest.raises(FileExistsError, match="Received: "):
        faces.write_dataset(folder, 1)


@pytest.fixture
def lists(folder, tmp_path):
    for path in folder.glob("*.txt"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (celeba.IDENTITIES, ("03.jpg 2", "03.jpg two"), "line 3 .*'000003.jpg two'"),
        (celeba.IDENTITIES, ("000003.jpg", "000002.jpg"), "line 3 "),
        (celeba.IDENTITIES, ("000003.jpg", "../../003.jpg"), "line 3 "),
        (celeba.PARTITIONS, ("000003.jpg", "/etc/003.jpg"), "line 3 "),
        (celeba.IDENTITIES, ("000003.jpg", ".."), "line 3 "),
        (celeba.IDENTITIES, ("03.jpg 2", f"03.jpg {2**63}"), "line 3 "),
        (celeba.IDENTITIES, ("000003.jpg 2\n", ""), "000003.jpg in some only"),
        (celeba.PARTITIONS, ("000003.jpg 0", "000003.jpg"), "line 3 "),
        (celeba.PARTITIONS, ("000003.jpg 0\n", "\n"), "line 3 "),
        (celeba.ATTRIBUTE_LIST, ("Young", "Old"), "Line 2 must hold CelebA's 40"),
        (celeba.ATTRIBUTE_LIST, ("000003.jpg -1", "000003.jpg"), "line 5 "),
    ],
)
def test_damage_is_named(lists, name, change, message):
    text = (lists / name).read_text()
    assert change[0] in text
    (lists / name).write_text(text.replace(*change, 1))
    with pytest.raises(ValueError, match=f"Received: .*{message}|{message}"):
        faces.CelebA.load(lists)


def test_a_missing_list_is_named(lists):
    (lists / celeba.PARTITIONS).unlink()
    with pytest.raises(FileNotFoundError, match=celeba.PARTITIONS):
        faces.CelebA.load(lists)


def test_one_person_written_in_two_ways_is_one(lists):
    text = (lists / celeba.IDENTITIES).read_text()
    (lists / celeba.IDENTITIES).write_text(text.replace("03.jpg 2", "03.jpg 002"))
    assert len(np.unique(faces.CelebA.load(lists).identity)) == 11


def test_other_attribute(folder):
    with pytest.raises(ValueError, match="Received: 'Happy'"):
        faces.CelebA.load(folder).attribute("Happy")


def test_damaged_truth(folder, tmp_path):
    text = (folder / celeba.TRUTH).read_text().replace("smile", "grin")
    (tmp_path / celeba.TRUTH).write_text(text)
    with pytest.raises(ValueError, match="Received: "):
        faces.read_truth(tmp_path)
    header, *rows = (folder / celeba.TRUTH).read_text().splitlines()
    for line in ("a" * 200_000, rows[0].rpartition(",")[0] + ",nan"):
        (tmp_path / celeba.TRUTH).write_text(f"{header}\n{line}\n")
        with pytest.raises(ValueError, match="Received: "):
            faces.read_truth(tmp_path)


def test_an_empty_list_is_named(lists):
    (lists / celeba.IDENTITIES).write_text("")
    with pytest.raises(ValueError, match=f"no picture.*{celeba.IDENTITIES}"):
        faces.CelebA.load(lists)


# The split within persons.


def split_oracle(identity, share):
    """How many of each person's pictures are for training: by counting."""
    return {
        person: sum(
            i / list(identity).count(person) < share
            for i in range(list(identity).count(person))
        )
        for person in set(identity)
    }


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-2, 9), max_size=40),
    st.floats(0, 1),
    st.integers(0, 2**40),
)
def test_everybodys_pictures_are_parted(identity, share, seed):
    training, testing = celeba.split_within(np.array(identity, int), share, seed)
    both = np.concatenate([training, testing])
    np.testing.assert_array_equal(np.sort(both), np.arange(len(identity)))
    people = [identity[i] for i in training]
    for person, count in split_oracle(identity, share).items():
        assert people.count(person) == count


def test_four_in_five_of_a_folder_as_published(folder):
    """All partitions together; who has one picture is trained on."""
    identity = np.append(np.repeat(np.arange(30), 10), 77)
    training, testing = celeba.split_within(identity)
    assert (np.bincount(identity[training])[:30] == 8).all()
    assert (np.bincount(identity[testing])[:30] == 2).all()
    assert 77 in identity[training]
    data = faces.CelebA.load(folder)
    training, testing = celeba.split_within(data.identity)
    assert len(training) == 22  # of two each: 0 and 1/2 are below 0.8
    assert not len(testing)


def test_a_split_follows_its_seed_and_nobody_else():
    identity = np.repeat(np.arange(20), 10)
    one, other = (celeba.split_within(identity, seed=s)[1] for s in (1, 2))
    assert (one != other).any()
    np.testing.assert_array_equal(one, celeba.split_within(identity, seed=1)[1])
    fewer = celeba.split_within(identity[identity != 3], seed=1)[1]
    kept = np.flatnonzero(identity != 3)[fewer]
    np.testing.assert_array_equal(kept, [i for i in one if identity[i] != 3])


@pytest.mark.parametrize(
    ("identity", "share"), [([1.0], 0.8), ([[1]], 0.8), ([1], 1.5), ([1], np.nan)]
)
def test_a_split_out_of_range_is_refused(identity, share):
    with pytest.raises(ValueError, match="Received: "):
        celeba.split_within(np.array(identity), share)

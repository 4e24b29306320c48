"""An experiment's folder: names as published, read back as written, faults by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv.inpainting.experiment import outputs
from tfpriv.inpainting.experiment.outputs import Pictures
from tfpriv.support import images


def some(random, size=16):
    original, result = random.integers(0, 256, (2, size, size, 3), np.uint8)
    return Pictures(original, random.random((size, size)) < 0.5, result)


@pytest.fixture
def folder(tmp_path, rng):
    for image, label in (("10", 3), ("9", 0), ("x_1", 3)):
        outputs.write(outputs.place(tmp_path, image, label), some(rng))
    return tmp_path


def test_names_are_the_published_ones(folder):
    names = {str(path.relative_to(folder)) for path in folder.rglob("*.jpg")}
    assert {
        "original/10-img-label-3.jpg",
        "masks/10-masks-label-3.jpg",
        "results/10-generated-label-3.jpg",
    } <= names
    assert len(names) == 9
    found = [(output.image, output.label) for output in outputs.listed(folder)]
    assert found == [("9", 0), ("10", 3), ("x_1", 3)]


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.sampled_from([1, 7, 64]))
def test_masks_come_back_exactly(tmp_path_factory, seed, size):
    """JPEG rounds, but no pixel from black to white."""
    written = some(np.random.default_rng(seed), size)
    output = outputs.place(tmp_path_factory.mktemp("out"), "1", 0)
    outputs.write(output, written)
    read = outputs.read(output)
    np.testing.assert_array_equal(read.mask, written.mask)
    assert read.result.shape == written.result.shape


@pytest.mark.parametrize(
    ("image", "label"), [("a-b", 1), ("", 1), (".a", 1), ("a/b", 1), ("a", -1)]
)
def test_ids_that_cannot_stand_in_a_name(tmp_path, image, label):
    with pytest.raises(ValueError, match=f"Received: '{image}', label {label}"):
        outputs.place(tmp_path, image, label)


@pytest.mark.parametrize("part", outputs.WORDS)
def test_a_missing_partner_is_named(folder, part):
    gone = next((folder / part).glob("10-*"))
    gone.unlink()
    with pytest.raises(ValueError, match=f"without .*{gone.name}"):
        outputs.listed(folder)


@pytest.mark.parametrize(
    "name",
    ["10-img-label-3.png", "10-generated-label-3.jpg", "img.jpg", "10-img-label-x.jpg"],
)
def test_another_name_is_named(folder, name):
    (folder / "original" / name).write_bytes(b"")
    with pytest.raises(ValueError, match=f"Received: .*{name}"):
        outputs.listed(folder)


def test_two_pictures_of_one_id_are_refused(folder):
    (folder / "results" / "10-generated-label-4.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"Received: .*10-generated-label-4\.jpg"):
        outputs.listed(folder)
    (folder / "results" / "10-generated-label-4.jpg").unlink()
    (folder / "results" / "10-generated-label-03.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"Received: .*10-generated-label-03\.jpg"):
        outputs.listed(folder)


def test_files_of_a_killed_process_are_no_pictures(folder):
    (folder / "results" / ".12ab.10-generated-label-3.jpg").write_bytes(b"half")
    assert len(outputs.listed(folder)) == 3


def test_differing_sizes_are_named(folder, rng):
    output = outputs.listed(folder)[1]
    images.save(output.result, some(rng, 8).result)
    with pytest.raises(ValueError, match=f"Received: .*{output.result.name}"):
        outputs.read(output)
    with pytest.raises(ValueError, match="must have one size"):
        outputs.write(output, some(rng)._replace(mask=np.ones((4, 4), bool)))


def test_folders_without_pictures(tmp_path):
    with pytest.raises(FileNotFoundError, match="original"):
        outputs.listed(tmp_path)
    for part in outputs.WORDS:
        (tmp_path / part).mkdir()
    with pytest.raises(ValueError, match="no pictures"):
        outputs.listed(tmp_path)

"""The weights in `checkpoints/` are those that the manifest speaks of."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tfpriv.shuffling import Key, experiments, keyed, shuffle
from tfpriv.support import checkpoints

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
MANIFEST = json.loads((CHECKPOINTS / "manifest.json").read_text())
LARGEST = 10_000_000  # bytes


def test_every_folder_is_in_the_manifest():
    assert set(MANIFEST) == {f.name for f in CHECKPOINTS.iterdir() if f.is_dir()}


@pytest.mark.parametrize("name", MANIFEST)
def test_files_are_those_of_the_manifest(name):
    entry = MANIFEST[name]
    assert entry["command"].startswith("tfpriv ")
    folder = checkpoints.folder(name)
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert set(entry["sha256"]) == {
        file.relative_to(CHECKPOINTS).as_posix() for file in files
    }
    for file, expected in entry["sha256"].items():
        content = (CHECKPOINTS / file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == expected
        assert len(content) < LARGEST


def test_the_network_of_cifar10_answers_through_the_key():
    folder = checkpoints.folder("shuffling_cifar10")
    network = experiments.load_network(folder / experiments.MODEL_NAME)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    pictures, key = pictures.astype("float32"), Key.generate()
    wanted = network(pictures)
    found = keyed(network, key)(shuffle(pictures, key))
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_a_missing_checkpoint_is_named():
    with pytest.raises(FileNotFoundError, match="'captioning_none'"):
        checkpoints.folder("captioning_none")


def test_ones_own_folder_comes_before_what_comes_along(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    comes_along = checkpoints.folder("captioning_public")
    assert checkpoints.path_of("captioning_public") == comes_along
    (tmp_path / "captioning_public").mkdir()
    assert checkpoints.path_of("captioning_public") == Path("captioning_public")
    assert checkpoints.path_of("nowhere") == Path("nowhere")

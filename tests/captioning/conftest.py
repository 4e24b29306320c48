"""A tiny captioner, a tiny scene data set, and where the real pictures are."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest

from tfpriv.captioning import coco, scenes, vocabulary
from tfpriv.captioning.model import Captioner

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "support" / "report"))  # reads pages
TINY_COCO = Path(__file__).parents[3] / "shared" / "data" / "tiny_coco"


@pytest.fixture(scope="session")
def tiny_coco():
    """50 + 50 real COCO pictures; not ours to ship."""
    if not TINY_COCO.is_dir():
        pytest.skip(f"the real COCO pictures are not at {TINY_COCO}")
    return TINY_COCO


@pytest.fixture(scope="session")
def scene_folder(tmp_path_factory):
    """40 + 12 scenes of 16 pixels on disk."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    return scenes.write_dataset(folder, 40, validation=12, size=16, seed=5)


@pytest.fixture(scope="session")
def scene_data(scene_folder):
    return coco.load_coco(scene_folder, "train")


def build(decoder="transformer", *, seed=0, **changes):
    """A captioner of a few thousand weights."""
    keras.utils.set_random_seed(seed)
    arguments = {
        "vocabulary": vocabulary.load_vocabulary("scenes"),
        "image_size": 16,
        "max_tokens": 7,
        "decoder": decoder,
        "width": 16,
        "heads": 2,
        "filters": (8, 8),
    }
    return Captioner(**(arguments | changes))


@pytest.fixture(scope="session")
def build_captioner():
    return build


@pytest.fixture(params=["transformer", "gru"])
def captioner(request):
    return build(request.param)

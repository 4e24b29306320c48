"""The weights in `checkpoints/` are those that the manifest speaks of."""

import json
from pathlib import Path

import pytest

from tfpriv.captioning import store
from tfpriv.captioning.train import UNIT
from tfpriv.support import checkpoints

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
NAMES = ("captioning_public", "captioning_private", "captioning_plain")


@pytest.fixture(scope="module")
def manifest():
    return json.loads((CHECKPOINTS / "manifest.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_the_ledger_speaks_for_the_weights(manifest, name):
    model = store.load_captioner(checkpoints.folder(name))
    ledger = store.ledger_of(CHECKPOINTS / name, model)
    assert ledger.unit == UNIT
    assert ledger.releasable
    epsilon = ledger.epsilon(manifest[name]["delta"])
    if name == "captioning_private":
        assert epsilon == pytest.approx(manifest[name]["epsilon"])
        assert epsilon <= 3.0
    else:
        assert epsilon == float("inf")


def test_no_noise_seed_in_the_manifests():
    for name in NAMES:
        text = (
            (CHECKPOINTS / name / "manifest.json")
            .read_text()
            .replace("seed of initialisation", "")
        )
        assert "seed" not in text.replace("--seed", "")

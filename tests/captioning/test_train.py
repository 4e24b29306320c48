"""Training with and without privacy, and what the ledger says of it."""

import dataclasses

import numpy as np
import pytest

from tfpriv.accounting import Ledger, mechanisms
from tfpriv.captioning import store, vocabulary
from tfpriv.captioning.train import (
    LEARNED_VOCABULARY,
    UNIT,
    Protection,
    Recipe,
    prepare,
    train,
)

RECIPE = Recipe(epochs=2, batch_size=8, freeze_encoder=True, captions_per_picture=2)
INFINITY = float("inf")


def run(model, data, protection, recipe=RECIPE, **options):
    examples = prepare(model, data, recipe)
    return train(model, examples, recipe, protection, verbose=0, **options)


def test_epsilon_is_that_of_the_steps_taken(build_captioner, scene_data, tmp_path):
    """40 pictures, expected batch 8, two passes: ten Poisson steps of q = 0.2."""
    protection = Protection(noise_multiplier=1.5, delta=1e-5)
    trained = run(build_captioner(), scene_data, protection)
    expected = Ledger()
    expected.record(mechanisms.poisson(0.2, 1.5), unit=UNIT, purpose="x", count=10)
    assert trained.epsilon == pytest.approx(expected.epsilon(1e-5))
    (entry,) = trained.ledger.entries
    assert (entry.count, entry.unit) == (10, UNIT)
    assert "public" in " ".join(entry.mechanism.notes)
    folder = store.save_run(tmp_path / "run", trained, {"any": 1.0})
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [store.MODEL, store.LEDGER, store.MANIFEST, "report.html"]
    )
    loaded = store.load_captioner(folder)
    assert store.ledger_of(folder, loaded) == trained.ledger

    # Further training on private data continues the ledger.
    model, ledger = store.load_pretrained(folder, public=False, private_training=True)
    again = run(model, scene_data, protection, ledger=ledger)
    assert sum(e.count for e in again.ledger.entries) == 20
    assert again.epsilon > trained.epsilon

    # And what follows without privacy has none.
    model, ledger = store.load_pretrained(folder, public=False, private_training=False)
    plain = run(model, scene_data, Protection(), ledger=ledger)
    assert plain.epsilon == INFINITY
    assert len(plain.ledger.entries) == 2


def test_a_budget_is_kept_and_a_frozen_encoder_stays(build_captioner, scene_data):
    model = build_captioner()
    before = model.encoder.get_weights()
    bridge = model.bridge.get_weights()[0]
    trained = run(model, scene_data, Protection(epsilon=2.0))
    assert 1.9 < trained.epsilon <= 2.0
    assert trained.noise_multiplier > 0
    for old, new in zip(before, model.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.abs(bridge - model.bridge.get_weights()[0]).max() > 0


def test_plain_training_learns_and_says_that_it_is_not_private(
    build_captioner, scene_data
):
    recipe = dataclasses.replace(
        RECIPE, epochs=30, freeze_encoder=False, learning_rate=1e-2
    )
    trained = run(build_captioner(), scene_data, Protection(), recipe)
    assert trained.epsilon == INFINITY
    assert trained.losses[-1] < 0.4 * trained.losses[0]
    assert "without differential privacy" in trained.ledger.statement()


def test_a_learned_vocabulary_makes_epsilon_infinite(build_captioner, scene_data):
    learned = vocabulary.learn(scene_data.captions)
    model = build_captioner(vocabulary=learned)
    trained = run(
        model, scene_data, Protection(noise_multiplier=5.0), learned_vocabulary=True
    )
    assert trained.epsilon == INFINITY
    assert LEARNED_VOCABULARY in trained.ledger.statement()
    with pytest.raises(ValueError, match="no budget can be kept"):
        run(
            build_captioner(vocabulary=learned),
            scene_data,
            Protection(epsilon=3.0),
            learned_vocabulary=True,
        )


def test_unprotected_weights_must_be_declared_public(
    build_captioner, scene_data, tmp_path
):
    trained = run(build_captioner(), scene_data, Protection())
    folder = store.save_run(tmp_path / "run", trained, {})
    bare = tmp_path / "bare.keras"
    trained.model.save(bare)
    for path in (folder, bare):
        with pytest.raises(ValueError, match="pretrained-is-public"):
            store.load_pretrained(path, public=False, private_training=True)
        model, ledger = store.load_pretrained(path, public=True, private_training=True)
        assert ledger is None
        assert not hasattr(model, "privacy")


def test_a_ledger_of_other_weights_is_refused(build_captioner, scene_data, tmp_path):
    trained = run(build_captioner(), scene_data, Protection())
    folder = store.save_run(tmp_path / "run", trained, {})
    build_captioner(seed=1).save(folder / store.MODEL)
    with pytest.raises(ValueError, match="weights"):
        store.ledger_of(folder, store.load_captioner(folder))


def test_prepare_reports_the_number_of_captions(build_captioner, scene_data):
    examples = prepare(build_captioner(), scene_data, RECIPE)
    assert len(examples) == 40
    assert examples.y.shape == (40, 2, 7)
    assert set(examples.x) == {"tokens", "features"}
    whole = prepare(build_captioner(), scene_data, Recipe())
    assert whole.x["image"].shape == (40, 16, 16, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        {"epsilon": 1.0, "noise_multiplier": 1.0},
        {"epsilon": 0.0},
        {"epsilon": 1.0, "delta": 1.0},
    ],
)
def test_wrong_protection(arguments):
    with pytest.raises(ValueError, match="Received"):
        Protection(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"l2_norm_clip": -1.0}],
)
def test_wrong_recipe(arguments):
    with pytest.raises(ValueError, match="Received"):
        Recipe(**arguments)


def test_batches_beyond_the_data(build_captioner, scene_data):
    recipe = dataclasses.replace(RECIPE, batch_size=41)
    with pytest.raises(ValueError, match="batch_size=41"):
        run(build_captioner(), scene_data, Protection(), recipe)


@pytest.mark.parametrize("content", [b"", b"no zip file"])
def test_a_damaged_model_is_named(tmp_path, content):
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.keras"):
        store.load_captioner(tmp_path)
    with pytest.raises(FileNotFoundError, match="no model"):
        store.load_captioner(tmp_path / "other.keras")

"""The systems' own private trainings, audited as any other: canaries in their data."""

import contextlib

import dp_faults
import keras
import numpy as np
import pytest

from tfpriv.audit import Audit, CanaryScores, Claim, audit_one_run
from tfpriv.captioning import train as captions
from tfpriv.captioning.model import Captioner, CaptionLoss
from tfpriv.captioning.vocabulary import load_vocabulary, teacher_inputs
from tfpriv.dp.model import PrivateModel
from tfpriv.inpainting import FaceNet
from tfpriv.inpainting.experiment import private_training

pytestmark = pytest.mark.slow

CANARIES, GUESSES, DELTA = 400, 40, 1e-5


@contextlib.contextmanager
def watching(scores):
    """Who sees every step of whatever private model is trained in this context."""
    fit = PrivateModel.fit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            PrivateModel,
            "fit",
            lambda model, *args, **kwargs: fit(
                model, *args, callbacks=[scores], **kwargs
            ),
        )
        yield


def identities(epsilon):
    """The classifier over persons, from pictures that a FaceNet has embedded.

    A canary is a direction of its own, with a label by lot.
    """
    rng = np.random.default_rng(0)
    features = 20 * np.eye(CANARIES, 512, dtype="float32")
    labels = rng.integers(0, 10, CANARIES)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def training(included):
        scores = CanaryScores(features, labels, loss)
        with watching(scores):
            _, ledger = private_training.train_identities_privately(
                FaceNet(width=0.25),
                features[included],
                labels[included],
                10,
                private_training.Protection(epsilon, DELTA),
                epochs=6,
                batch_size=50,
            )
        return scores.scores, ledger

    return training


def captioning(epsilon):
    """The captioner; a canary's picture and words are drawn by lot."""
    rng = np.random.default_rng(0)
    model = {"image_size": 16, "max_tokens": 7, "width": 16, "heads": 2}
    model |= {"filters": (8, 8), "vocabulary": load_vocabulary("scenes")}
    recipe = captions.Recipe(
        epochs=6, batch_size=50, freeze_encoder=True, captions_per_picture=1
    )
    words = rng.integers(4, len(model["vocabulary"]), (CANARIES, 1, 7))
    inputs = teacher_inputs(words)
    shape = Captioner(**model).encode(np.zeros((1, 16, 16, 3), "uint8")).shape[1:]
    pictures = rng.normal(0, 3, (CANARIES, *shape)).astype("float16")

    def training(included):
        x = {"tokens": inputs, "features": pictures}
        scores = CanaryScores(x, words, CaptionLoss())
        chosen = {name: part[included] for name, part in x.items()}
        with watching(scores):
            trained = captions.train(
                Captioner(**model),
                captions.Examples(chosen, words[included]),
                recipe,
                captions.Protection(epsilon=epsilon, delta=DELTA),
                verbose=0,
            )
        return scores.scores, trained.ledger

    return training


def audited(system, epsilon):
    ledgers = []

    def training(included):
        scores, ledger = system(epsilon)(included)
        ledgers.append(ledger)
        return scores

    run = audit_one_run(training, canaries=CANARIES, guesses=GUESSES)
    return Audit(Claim.of(ledgers[0], delta=DELTA), (run,))


@pytest.mark.parametrize("system", [identities, captioning])
def test_no_bound_is_above_the_claim(system):
    """A true claim is refuted with a chance of 5 % at most; in practice far less."""
    found = audited(system, 4.0)
    print(found)
    assert not found.objections


@pytest.mark.parametrize("system", [identities, captioning])
def test_training_without_noise_is_caught(system, monkeypatch):
    dp_faults.noise_off(monkeypatch)
    found = audited(system, 0.5)
    print(found)
    assert found.objections

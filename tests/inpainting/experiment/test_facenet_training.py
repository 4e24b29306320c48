"""Training a FaceNet on drawn faces: it learns, and goes on where it was."""

import dataclasses

import keras
import numpy as np
import pytest

from tfpriv.inpainting import FaceNet
from tfpriv.inpainting.experiment import facenet_training
from tfpriv.inpainting.experiment.facenet_training import (
    FaceNetRecipe,
    Trainer,
    train_facenet,
)
from tfpriv.networks.facenet.loading import load_facenet
from tfpriv.networks.facenet.network import standardised

RECIPE = FaceNetRecipe(
    people=6,
    pictures=4,
    steps=40,
    batch_size=12,
    learning_rate=3e-3,
    drawn=16,
    sizes=(16, 24),
    switch=0.9,
)


class Small(keras.Sequential):
    """Embeds, as a FaceNet does, with 15,000 weights."""

    def __init__(self):
        super().__init__(
            [
                keras.layers.Conv2D(16, 3, 2, activation="relu"),
                keras.layers.BatchNormalization(momentum=0.9),
                keras.layers.Conv2D(24, 3, 2, activation="relu"),
                keras.layers.Dropout(0.1),
                keras.layers.GlobalMaxPooling2D(),
                keras.layers.Dense(512),
                keras.layers.UnitNormalization(),
            ]
        )
        self.build((None, None, None, 3))

    def get_config(self):
        return {"name": "small"}

    def embed(self, pictures):
        return np.asarray(self(standardised(pictures, 24), training=False))


def small():
    keras.utils.set_random_seed(2)
    return Small()


def test_it_learns():
    """Without a margin, which would raise the loss while it grows."""
    trainer = Trainer(small(), dataclasses.replace(RECIPE, margin=0.0, switch=1.0))
    losses = [trainer.step(n, trainer.batch(n)) for n in range(RECIPE.steps)]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_an_interrupted_training_comes_to_the_same_weights(tmp_path):
    def died(done, total):
        if done == 33:
            raise KeyboardInterrupt

    whole = train_facenet(tmp_path / "one", small(), RECIPE, save_every=10)
    with pytest.raises(KeyboardInterrupt):
        train_facenet(tmp_path / "two", small(), RECIPE, save_every=10, progress=died)
    seen = []
    parts = train_facenet(
        tmp_path / "two",
        small(),
        RECIPE,
        save_every=10,
        progress=lambda done, total: seen.append(done),
    )
    assert seen == list(range(31, 41))
    for a, b in zip(whole.weights, parts.weights, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="another recipe, network or data"):
        train_facenet(tmp_path / "two", small(), dataclasses.replace(RECIPE, scale=8.0))


def test_the_recipe():
    recipe = FaceNetRecipe(steps=100, sizes=(80, 160), switch=0.75, margin=0.3)
    assert [recipe.size(n) for n in (0, 74, 75, 99)] == [80, 80, 160, 160]
    assert [recipe.margin_at(n) for n in (0, 20, 50)] == pytest.approx([0, 0.18, 0.3])


def test_figures_tell_a_good_embedding_from_a_bad_one():
    class Blind:
        def embed(self, pictures):
            return np.ones((len(pictures), 3), np.float32)

    class Colours:
        """Of the face's middle: skin, which is the person's."""

        def embed(self, pictures):
            return pictures[:, 20:44, 20:44].mean((1, 2)) - 128.0

    blind = facenet_training.figures(Blind(), 10)
    assert blind == {"rank_one": 0.1, "verified": 0.0}
    assert facenet_training.figures(Colours(), 10)["rank_one"] > 0.25


@pytest.mark.slow
def test_the_network_itself(tmp_path):
    """A very narrow one, of 75 and 96 pixels, on the same six persons again and again.

    In the folder it leaves what `load_facenet` reads.
    """
    recipe = FaceNetRecipe(
        people=6, pictures=4, steps=60, batch_size=12, sizes=(75, 96), margin=0.0
    )
    trainer = Trainer(FaceNet(0.06, dropout=0.0), recipe)
    losses = [trainer.step(n, trainer.batch(n)) for n in range(recipe.steps)]
    switch = int(recipe.switch * recipe.steps)  # to larger pictures, new to it
    assert np.mean(losses[switch - 10 : switch]) < 0.5 * np.mean(losses[:5])
    few = FaceNetRecipe(people=6, pictures=4, steps=2, batch_size=4, sizes=(75, 75))
    train_facenet(tmp_path, FaceNet(0.06), few)
    assert load_facenet(tmp_path / facenet_training.NETWORK).width == 0.06

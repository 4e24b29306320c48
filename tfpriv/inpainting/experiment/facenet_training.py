"""Trains a FaceNet on drawn faces, in one go or in several.

The embedded FaceNet: `FaceNet(0.25, dropout=0.2)` and the default `FaceNetRecipe`.
"""

import dataclasses
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfpriv.faces import draw, sample
from tfpriv.faces.celeba import SIZE as CELEBA_SIZE
from tfpriv.faces.celeba import ZOOM as CELEBA_ZOOM
from tfpriv.inpainting import recognition
from tfpriv.inpainting.recognition import Gallery
from tfpriv.networks.facenet.network import (
    DRAWN_FACES,
    EMBEDDING,
    FaceNet,
    standardised,
)
from tfpriv.support.models import save_model
from tfpriv.support.recipe import TrainingRecipe
from tfpriv.support.training import run

CHECKPOINT, NETWORK = "training.npz", "facenet.keras"
WIDTH, DROPOUT = 0.25, 0.2
# In the middle square of drawn CelebA pictures faces are as large as with this zoom.
ZOOM = CELEBA_ZOOM * CELEBA_SIZE[0] / CELEBA_SIZE[1]
_FIRST_TEST_PERSON = 20_000_000  # nobody who is trained on
_OF_EACH = 8  # pictures of a test person; half of them are the gallery


@dataclasses.dataclass(frozen=True)
class FaceNetRecipe(TrainingRecipe):
    """How a FaceNet is trained.

    Attributes:
        people: number of persons, the classes of the softmax.
        pictures: how many faces of each there are to be drawn.
        steps: of the optimizer.
        batch_size: faces in a step.
        learning_rate: of Adam, falling to 0 along a cosine.
        scale: of the cosines in the softmax.
        margin: by which a person's own cosine must be ahead; it grows from 0 during the
            first third, since a new network can't have any.
        drawn: size of the faces in pixels.
        sizes: to which they are brought for the network, in pixels: most of training
            is done with small ones, which cost a third.
        switch: share of the steps after which the second of `sizes` is taken.
        noise: standard deviation of what is added to a pixel, in its values.
        seed: of faces, weights, batches and noise.

    Reference: H. Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face
    Recognition", arXiv:1801.09414; H. Touvron et al., "Fixing the train-test resolution
    discrepancy", arXiv:1906.06423.
    """

    people: int = 2000
    pictures: int = 16
    steps: int = 3000
    batch_size: int = 64
    learning_rate: float = 1e-3
    scale: float = 24.0
    margin: float = 0.25
    drawn: int = 64
    sizes: tuple[int, int] = (96, 160)
    switch: float = 0.75
    noise: float = 6.0
    seed: int = 0
    zero_allowed = ("margin", "switch", "noise")
    at_most_one = ("switch",)

    def size(self, number: int) -> int:
        """Of the pictures of a step, in pixels."""
        return self.sizes[number >= self.switch * self.steps]

    def margin_at(self, number: int) -> float:
        """The margin of a step."""
        return self.margin * min(1.0, 3 * number / self.steps)


def train_facenet(
    folder: str | os.PathLike,
    network: FaceNet | None = None,
    recipe: FaceNetRecipe | None = None,
    *,
    save_every: int = 500,
    progress: Callable[[int, int], None] | None = None,
) -> FaceNet:
    """Trains a FaceNet, or goes on where the folder's checkpoint stands.

    A training that was interrupted and taken up again gives the weights that it would
    have given without: all that is drawn follows from the seed and the step's number.

    Args:
        folder: for the checkpoint, and at the end `facenet.keras`; created if need be.
        network: trained in place; by default a narrow one.
        recipe: how; by default `FaceNetRecipe()`.
        save_every: steps from one checkpoint to the next.
        progress: `None`, or a function called with `(steps done, steps)`.

    Returns:
        The network.

    Raises:
        FileExistsError: the folder holds other files.
        ValueError: a checkpoint of another training; losses that are not finite.
    """
    recipe = recipe or FaceNetRecipe()
    trainer, folder = Trainer(network, recipe), Path(folder)
    run(
        trainer.step,
        lambda start: map(trainer.batch, itertools.count(start)),
        trainer.state,
        recipe.steps,
        checkpoint=folder / CHECKPOINT,
        owner={
            "recipe": dataclasses.asdict(recipe),
            "network": trainer.network.get_config(),
        },
        save_every=save_every,
        progress=progress,
    )
    save_model(trainer.network, folder / NETWORK)
    return trainer.network


class Trainer:
    """A network in training, and all that a next step depends on.

    Args:
        network: trained in place; None for a narrow one.
        recipe: how.
    """

    def __init__(self, network: FaceNet | None, recipe: FaceNetRecipe):
        keras.utils.set_random_seed(recipe.seed)
        self.network = network or FaceNet(WIDTH, DROPOUT)
        self.network.trainable, self.network.trained_on = True, DRAWN_FACES
        self.recipe = recipe
        self.faces = sample(recipe.people, recipe.pictures, seed=recipe.seed)
        shape = EMBEDDING, recipe.people
        self.persons = keras.Variable(
            keras.initializers.GlorotUniform(recipe.seed)(shape), name="persons"
        )
        decay = keras.optimizers.schedules.CosineDecay(
            recipe.learning_rate, recipe.steps
        )
        self.optimizer = keras.optimizers.Adam(decay, clipnorm=1.0)
        self.optimizer.build(self._trained)
        self._step = tf.function(self._one_step, autograph=False)

    @property
    def state(self) -> list:
        """The variables that a next step depends on, in an order that never changes."""
        return [*self.network.variables, self.persons, *self.optimizer.variables]

    @property
    def _trained(self):
        return [*self.network.trainable_variables, self.persons]

    def batch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws the faces of a step.

        Args:
            number: of the step, from 0.

        Returns:
            Standardised float32 images, and their int32 labels.
        """
        recipe = self.recipe
        random = np.random.default_rng([recipe.seed, number])
        rows = random.integers(0, len(self.faces), recipe.batch_size)
        faces = self.faces[rows]
        pictures = draw(faces, recipe.drawn, zoom=ZOOM).astype(np.float32)
        pictures += recipe.noise * random.standard_normal(pictures.shape, np.float32)
        pictures = standardised(pictures, recipe.size(number))
        return pictures, faces.identity.astype(np.int32)

    def step(self, number: int, batch: tuple[np.ndarray, np.ndarray]) -> float:
        """Trains on a batch.

        Args:
            number: of the step, from 0; decides about the margin.
            batch: as `batch` returns it.

        Returns:
            The loss.
        """
        margin = tf.constant(self.recipe.margin_at(number), tf.float32)
        return float(self._step(*batch, margin))

    def _one_step(self, pictures, labels, margin):
        with tf.GradientTape() as tape:
            embeddings = self.network(pictures, training=True)
            cosines = embeddings @ tf.math.l2_normalize(self.persons, 0)
            ahead = margin * tf.one_hot(labels, self.recipe.people)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, self.recipe.scale * (cosines - ahead)
            )
            loss = tf.reduce_mean(losses)
        trained = self._trained
        gradients = tape.gradient(loss, [variable.value for variable in trained])
        self.optimizer.apply(gradients, trained)
        return loss


def figures(network, people: int = 200, *, size: int = 64, seed: int = 0) -> dict:
    """How well a recogniser tells drawn persons whom it was not trained on.

    Half of each person's eight pictures are the gallery, half the probes.

    Args:
        network: a `FaceNet`, or another with `embed`.
        people: number of persons, at least 2.
        size: of the pictures, in pixels.
        seed: of the persons.

    Returns:
        As `recognition.figures`.
    """
    faces = sample(people, _OF_EACH, seed=seed, first=_FIRST_TEST_PERSON)
    embeddings = network.embed(draw(faces, size, zoom=ZOOM))
    probe = np.arange(len(faces)) % 2 == 1
    gallery = Gallery.of(embeddings[~probe], faces.identity[~probe])
    return recognition.figures(gallery, embeddings[probe], faces.identity[probe])

"""Training a head by person: everybody gives one clipped vector, however many pictures.

How groups are drawn and clipped in general is tested with `tfpriv.dp`.
"""

import keras
import numpy as np
import pytest

import tfpriv.dp as dp
from tfpriv.inpainting import FaceNet, identity_classifier

CLASSES, CLIP, PICTURES = 5, 0.05, 30


@pytest.fixture(scope="module")
def head():
    classifier = identity_classifier(FaceNet(0.03), CLASSES)
    return classifier.get_layer("identities")


@pytest.fixture
def people(rng):
    """Embeddings and labels: five persons with 3 pictures each, a sixth with 30."""
    person = np.append(np.repeat(np.arange(5), 3), np.full(PICTURES, 5))
    middle = rng.normal(size=(6, 512))[person]
    embeddings = middle + 0.3 * rng.normal(size=middle.shape)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings.astype(np.float32), person % CLASSES, person


def clipped_sum(head, embeddings, labels, person, by_person):
    """What one step on everybody adds up: no noise, a rate of 1."""
    model = keras.models.clone_model(head)
    model.set_weights(head.get_weights())
    model = dp.make_private(model, unit="person")
    model.compile(
        dp.DPSGD(1.0, l2_norm_clip=CLIP, noise_multiplier=0.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    groups = person if by_person else np.arange(len(person))
    sampler = dp.PoissonSampler(
        (embeddings, labels),
        batch_size=len(np.unique(groups)),  # all of them
        groups=groups,
        max_examples_per_group=PICTURES,
        steps_per_epoch=1,
    )
    model.fit(sampler, verbose=0)
    moved = zip(head.get_weights(), model.get_weights(), strict=True)
    return sampler.expected_batch_size * np.concatenate(
        [(a - b).ravel() for a, b in moved]
    )


def change(head, people, by_person):
    """How far the sum moves when the person with 30 pictures is taken away."""
    left = people[2] != 5
    fewer = [part[left] for part in people]
    both = (clipped_sum(head, *data, by_person) for data in (people, fewer))
    return np.linalg.norm(np.subtract(*both))


def test_a_person_with_thirty_pictures_moves_the_sum_by_the_clip(head, people):
    """By all of it, since the mean gradient is longer than the clip."""
    moved = change(head, people, by_person=True)
    # The rest of the clip norm is for rounding.
    assert moved == pytest.approx(CLIP * (1 - 2.0**-8), rel=1e-3)


def test_pictures_as_units_would_move_it_far_more(head, people):
    """Planted: each picture clipped by itself."""
    assert change(head, people, by_person=False) > 5 * CLIP

"""Fine-tuning by picture and by person: what is spent, and who moves what."""

import keras
import numpy as np
import pytest

import tfpriv.dp as dp
from tfpriv.inpainting import FaceNet
from tfpriv.inpainting.experiment import private_training
from tfpriv.inpainting.experiment.private_training import (
    Protection,
    train_embedding_privately,
    train_identities_privately,
)
from tfpriv.support.weights import digest_of

CLIP, MANY = 0.01, 30  # shorter than any gradient here
FEATURES = 56  # of the network at this width
LITTLE = Protection(epsilon=50.0, delta=1e-3, l2_norm_clip=0.5, pictures=4)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(4)
    return FaceNet(0.03)


@pytest.fixture
def people(rng):
    """Features and persons: 4, 7 and 9 with 3 pictures each, 5 with 30."""
    person = np.append(np.repeat([4, 7, 9], 3), np.full(MANY, 5))
    middle = rng.normal(size=(10, FEATURES))[person]
    found = np.abs(middle + 0.3 * rng.normal(size=middle.shape))
    return found.astype(np.float32), person


def clipped_sum(network, features, targets, groups):
    """What one step on everybody adds up: no noise, a rate of 1."""
    model = private_training.embedding_head(network)
    start = model.get_layer("last_linear").get_weights()[0]
    model = dp.make_private(model, unit="person", engine="vectorized")
    model.compile(
        dp.DPSGD(1.0, l2_norm_clip=CLIP, noise_multiplier=0.0),
        loss=private_training._LOSSES["person"],
    )
    sampler = dp.PoissonSampler(
        (features, targets),
        batch_size=len(np.unique(groups)),  # all of them
        groups=groups,
        max_examples_per_group=MANY,
        steps_per_epoch=1,
    )
    model.fit(sampler, verbose=0)
    moved = start - model.get_layer("last_linear").get_weights()[0]
    return sampler.expected_batch_size * moved


def change(network, people, groups, targets_of):
    """How far the sum moves when the person with 30 pictures is taken away."""
    found, person = people
    head = private_training.embedding_head(network)
    sums = []
    for rows in (np.full(len(person), True), person != 5):
        embeddings = head.predict(found[rows], verbose=0)
        targets = targets_of(embeddings, person[rows])
        sums.append(clipped_sum(network, found[rows], targets, groups[rows]))
    return np.linalg.norm(sums[0] - sums[1])


def test_a_person_with_thirty_pictures_moves_the_sum_by_the_clip(network, people):
    moved = change(network, people, people[1], private_training.own_middles)
    # The rest of the clip norm is for rounding.
    assert moved == pytest.approx(CLIP * (1 - 2.0**-8), rel=1e-3)


def test_grouping_that_ignores_persons_is_caught(network, people):
    """Planted: each picture is a unit of its own."""
    groups = np.arange(len(people[1]))
    assert change(network, people, groups, private_training.own_middles) > 5 * CLIP


def test_targets_that_know_of_others_are_caught(network, people):
    """Planted: pictures are drawn away from the middle of all people."""

    def away(embeddings, labels):
        middles = private_training.own_middles(embeddings, labels)
        return middles - 0.99 * middles.mean(0)

    assert change(network, people, people[1], away) > 1.05 * CLIP


def test_middles_are_ones_own(people, rng):
    found, person = people
    middles = private_training.own_middles(found, person)
    left = person != 5
    np.testing.assert_array_equal(
        middles[left], private_training.own_middles(found[left], person[left])
    )
    mean = np.mean([x / np.linalg.norm(x) for x in found[person == 7]], 0)
    np.testing.assert_allclose(
        middles[person == 7][1], mean / np.linalg.norm(mean), atol=1e-6
    )


def test_the_head_is_the_networks_end(network, rng):
    pictures = rng.integers(0, 256, (3, 80, 80, 3), np.uint8)
    head = private_training.embedding_head(network)
    found = head.predict(private_training.features(network, pictures), verbose=0)
    np.testing.assert_allclose(found, network.embed(pictures), atol=1e-5)
    assert [v.path.split("/")[-1] for v in head.trainable_variables] == ["kernel"]


def test_by_person(network, rng):
    pictures = rng.integers(0, 256, (12, 80, 80, 3), np.uint8)
    labels = np.repeat([3, 5, 8, 13], 3)
    before = network.get_weights()
    trained, ledger = train_embedding_privately(
        network, pictures, labels, LITTLE, epochs=2, batch_size=2
    )
    assert ledger.unit == "person"
    assert ledger.population == 4
    assert len(ledger) == 4  # two steps an epoch
    assert 0 < ledger.epsilon(LITTLE.delta) <= LITTLE.epsilon
    ledger.check_weights(digest_of(trained.weights))
    changed = [
        a.path
        for a, b in zip(trained.weights, before, strict=True)
        if not np.array_equal(np.asarray(a), b)
    ]
    assert changed == [trained.get_layer("last_linear").kernel.path]
    for a, b in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_by_picture(network, rng):
    embeddings = rng.normal(size=(20, 512)).astype(np.float32)
    labels = np.arange(20) % 3
    classifier, ledger = train_identities_privately(
        network, embeddings, labels, 3, LITTLE, epochs=2, batch_size=5
    )
    assert ledger.unit == "picture"
    assert (ledger.population, len(ledger)) == (20, 8)
    assert ledger.epsilon(LITTLE.delta) <= LITTLE.epsilon
    ledger.check_weights(digest_of(classifier.weights))
    assert classifier.output_shape == (None, 3)
    with pytest.raises(ValueError, match="whole numbers below 2"):
        train_identities_privately(network, embeddings, labels, 2, LITTLE)


def test_embeddings_get_closer_to_their_persons(network, people):
    """Without noise to speak of, and judged on what it was trained with."""
    found, person = people
    head = private_training.embedding_head(network)
    targets = private_training.own_middles(head.predict(found, verbose=0), person)
    much = Protection(epsilon=1e5, delta=1e-3, l2_norm_clip=0.02, pictures=8)
    options = {
        "batch_size": 4,
        "groups": person,
        "max_examples_per_group": 8,
    }

    def similarity():
        return float(np.sum(head.predict(found, verbose=0) * targets, 1).mean())

    before = similarity()
    private_training._fit(head, (found, targets), "person", much, 60, 1e-3, options)
    assert 1 - similarity() < 0.5 * (1 - before)


def test_plain_training_claims_nothing(network):
    ledger = private_training.unprotected(network)
    assert ledger.epsilon(1e-5) == np.inf
    ledger.check_weights(digest_of(network.weights))

"""FaceNet fine-tuned with differential privacy: by picture, or by person.

By picture: the classifier over identities, as published. Whether one picture was
trained with is hidden; that a person is in the data is not, since they are a class.

By person: the embedding, to be judged on other people. Each picture is drawn towards
the middle of its own person's, so that nothing is learned that numbers persons, and
nobody's part in a step depends on who else is there. docs/inpainting_privacy.md says
why a classifier over persons cannot be good under that unit.
"""

import dataclasses

import keras
import numpy as np
from keras import layers

import tfpriv.dp as dp
from tfpriv.accounting import mechanisms
from tfpriv.accounting.ledger import Ledger
from tfpriv.inpainting.experiment.identities import checked_labels, identity_classifier
from tfpriv.inpainting.recognition import middles
from tfpriv.networks.facenet.network import FaceNet, standardised
from tfpriv.support.images import checked
from tfpriv.support.weights import digest_of

PICTURE, PERSON = "picture", "person"
WITHOUT_PRIVACY = "trained without differential privacy"
_FEATURES, _LINEAR, _NORM = "avgpool_1a", "last_linear", "last_bn"
_AT_ONCE = 32
# Bounds on what a unit adds to a step's sum, of about the lengths of its gradients.
_CLIPS = {PICTURE: 1.0, PERSON: 0.05}
_LOSSES = {
    PICTURE: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    PERSON: keras.losses.CosineSimilarity(),
}


@dataclasses.dataclass(frozen=True)
class Protection:
    """How privately to train.

    Attributes:
        epsilon: the budget, which training stops before; positive.
        delta: below one in as many units as there are.
        l2_norm_clip: bound on what one unit adds to the sum of gradients; None for
            1 by picture, 0.05 by person.
        pictures: of one person that a step uses at most, by person.
    """

    epsilon: float = 8.0
    delta: float = 1e-5
    l2_norm_clip: float | None = None
    pictures: int = 16


def train_identities_privately(
    network: FaceNet,
    pictures: np.ndarray,
    labels: np.ndarray,
    classes: int,
    protection: Protection | None = None,
    *,
    epochs: int = 30,
    learning_rate: float = 1e-2,
    batch_size: int = 256,
) -> tuple[keras.Model, Ledger]:
    """Trains the head of an `identity_classifier`; a unit is one picture.

    Args:
        network: embeds the pictures; public, and frozen from here on.
        pictures: uint8 (n, height, width, 3), or what the network embedded them to,
            float (n, 512).
        labels: int (n,), below `classes`.
        classes: number of persons, at least 2; public.
        protection: how privately; by default `Protection()`.
        epochs: passes over the pictures.
        learning_rate: of Adam.
        batch_size: expected number of pictures in a step.

    Returns:
        The classifier, and the ledger that matches its weights.

    Raises:
        ValueError: if an argument is out of range, or the budget cannot be met.
    """
    labels = checked_labels(labels, len(pictures), classes)
    if np.ndim(pictures) == 4:
        pictures = network.embed(pictures)
    classifier = identity_classifier(network, classes)
    head = classifier.get_layer("identities")
    trained = keras.models.clone_model(head)
    trained.set_weights(head.get_weights())
    data = np.asarray(pictures), labels
    options = {"batch_size": min(batch_size, len(labels))}
    privacy = _fit(trained, data, PICTURE, protection, epochs, learning_rate, options)
    head.set_weights(trained.get_weights())
    return classifier, _speaking_for(privacy.ledger, classifier)


def train_embedding_privately(
    network: FaceNet,
    pictures: np.ndarray,
    labels: np.ndarray,
    protection: Protection | None = None,
    *,
    epochs: int = 30,
    learning_rate: float = 1e-3,
    batch_size: int = 64,
) -> tuple[FaceNet, Ledger]:
    """Trains a FaceNet's last layer to embed a person's pictures alike.

    A unit is one person: who is drawn for a step gives one gradient, of all of their
    pictures that the step uses together, clipped once. A picture's target is the middle
    of what the given network embeds its person's pictures to.

    Args:
        network: public; it is not changed.
        pictures: uint8 (n, height, width, 3), or their `features`.
        labels: int (n,), the persons.
        protection: how privately; by default `Protection()`.
        epochs: passes over the persons.
        learning_rate: of Adam.
        batch_size: expected number of persons in a step.

    Returns:
        A FaceNet with another last layer, and the ledger that matches it.

    Raises:
        ValueError: if an argument is out of range, or the budget cannot be met.
    """
    protection = protection or Protection()
    labels = np.asarray(labels)
    found = features(network, pictures) if np.ndim(pictures) == 4 else pictures
    head = embedding_head(network)
    data = found, own_middles(head.predict(found, verbose=0), labels)
    options = {
        "batch_size": min(batch_size, len(np.unique(labels))),
        "groups": labels,
        "max_examples_per_group": protection.pictures,
    }
    privacy = _fit(head, data, PERSON, protection, epochs, learning_rate, options)
    trained = FaceNet.from_config(network.get_config())
    trained.set_weights(network.get_weights())
    trained.get_layer(_LINEAR).set_weights(head.get_layer(_LINEAR).get_weights())
    return trained, _speaking_for(privacy.ledger, trained)


def embedding_head(network: FaceNet) -> keras.Model:
    """A copy of what of a FaceNet is trained by person: what follows its features.

    Args:
        network: whose weights it begins with.

    Returns:
        A model from `features` to embeddings, each of length 1. Its normalisation does
        not learn: its statistics would mix persons.
    """
    inputs = keras.Input(network.get_layer(_FEATURES).output.shape[1:])
    x = inputs
    for name in (_LINEAR, _NORM):
        layer = network.get_layer(name)
        copy = type(layer).from_config(layer.get_config())
        copy.trainable = name == _LINEAR
        x = copy(x)
        copy.set_weights(layer.get_weights())
    x = layers.UnitNormalization(name="embedding")(x)
    return keras.Model(inputs, x, name="embedding_head")


def own_middles(embeddings: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each picture, the direction of the middle of its own person's.

    Args:
        embeddings: float (n, d).
        labels: int (n,), the persons.

    Returns:
        float32 (n, d), each of length 1. A person's depend on nobody else's pictures.
    """
    _, person = np.unique(labels, return_inverse=True)
    return middles(embeddings, person)[person].astype(np.float32)


def features(network: FaceNet, pictures: np.ndarray) -> np.ndarray:
    """What the last layer of a FaceNet takes, of each picture by itself.

    Args:
        network: a `FaceNet`.
        pictures: uint8 (n, height, width, 3).

    Returns:
        float32 (n, features).
    """
    pictures = checked(pictures, square=False)
    body = keras.Model(network.input, network.get_layer(_FEATURES).output)
    parts = [
        body(standardised(pictures[i : i + _AT_ONCE]), training=False)
        for i in range(0, len(pictures), _AT_ONCE)
    ]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])


def unprotected(model: keras.Model) -> Ledger:
    """What to say of weights that no mechanism protects.

    Args:
        model: what was trained.
    """
    ledger = Ledger()
    none = mechanisms.non_private(WITHOUT_PRIVACY)
    ledger.record(none, unit=PICTURE, purpose="training")
    return _speaking_for(ledger, model)


def _fit(model, data, unit, protection, epochs, learning_rate, options):
    """Trains a head in place; returns what it has spent."""
    protection, sampler = protection or Protection(), dp.PoissonSampler(data, **options)
    dp.make_private(model, unit=unit)
    optimizer = dp.DPAdam.for_budget(
        protection.epsilon,
        protection.delta,
        population=sampler.population,
        batch_size=options["batch_size"],
        steps=epochs * sampler.steps_per_epoch,
        l2_norm_clip=protection.l2_norm_clip or _CLIPS[unit],
        learning_rate=learning_rate,
    )
    model.compile(optimizer, loss=_LOSSES[unit])
    model.fit(sampler, epochs=epochs, verbose=2)
    return model.privacy


def _speaking_for(ledger, model):
    """A copy of a ledger for the weights of a model that holds what was trained."""
    ledger = ledger.copy()
    ledger.set_weights_digest(digest_of(model.weights))
    return ledger

"""Fine-tunes a FaceNet on a data set of persons, and says how well it does."""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from tfpriv.accounting.ledger import Ledger
from tfpriv.faces.celeba import TRUTH
from tfpriv.inpainting import recognition, report
from tfpriv.inpainting.experiment import private_training
from tfpriv.inpainting.experiment.identities import EPOCHS, train_identities
from tfpriv.inpainting.experiment.people import People
from tfpriv.inpainting.experiment.private_training import Protection
from tfpriv.networks.facenet.network import DRAWN_FACES, FaceNet
from tfpriv.support import checks
from tfpriv.support.outputs import new_directory
from tfpriv.support.report import PAGE

CLASSIFIER, FACENET = "classifier.keras", "facenet.keras"
LEDGER, STATEMENT = "ledger.json", "statement.txt"
_PRIVATE_EPOCHS = 30


class Done(NamedTuple):
    """What was trained.

    Attributes:
        name: of its file.
        model: the classifier, or the FaceNet.
        ledger: matches its weights.
        figures: how well it does: exact functions of pictures, covered by no epsilon.
    """

    name: str
    model: keras.Model
    ledger: Ledger
    figures: dict[str, float]


def plainly(
    network: FaceNet,
    people: People,
    options: argparse.Namespace,
    progress: Callable | None = None,
) -> Done:
    """The published classifier over persons, without privacy.

    Args:
        network: embeds the pictures.
        people: the data set; its training side is trained with, the other tested.
        options: `size`, `epochs`, `learning_rate` and `seed`.
        progress: `None`, or a function called with `(done, total)`.
    """
    embedded = _Embedded(network, people, options.size, progress)
    classifier, _ = train_identities(
        network,
        *embedded.of(people.training),
        people.classes,
        **_steps(options, EPOCHS),
        seed=options.seed,
    )
    ledger = private_training.unprotected(classifier)
    return Done(CLASSIFIER, classifier, ledger, embedded.accuracies(classifier))


def by_picture(
    network: FaceNet,
    people: People,
    options: argparse.Namespace,
    progress: Callable | None = None,
) -> Done:
    """The same, with differential privacy; a unit is one picture.

    Args:
        network: as for `plainly`.
        people: as for `plainly`.
        options: `epsilon`, `delta` and `clip` as well.
        progress: as for `plainly`.
    """
    people.warn_of_copies(people.training, people.training)
    embedded = _Embedded(network, people, options.size, progress)
    keras.utils.set_random_seed(options.seed)
    classifier, ledger = private_training.train_identities_privately(
        network,
        *embedded.of(people.training),
        people.classes,
        _protection(options),
        **_steps(options, _PRIVATE_EPOCHS),
    )
    return Done(CLASSIFIER, classifier, ledger, embedded.accuracies(classifier))


def by_person(
    network: FaceNet,
    people: People,
    options: argparse.Namespace,
    progress: Callable | None = None,
) -> Done:
    """A FaceNet with another last layer; a unit is one person.

    It is trained with the persons of CelebA's training partition, and judged on those
    of the others.

    Args:
        network: as for `plainly`; it is the one that comes out better, or worse.
        people: its split within persons is not asked for.
        options: as for `by_picture`.
        progress: as for `plainly`.
    """
    rows = np.flatnonzero(people.celeba.partition == 0)
    people.warn_of_copies(rows, people.labels[rows])
    before = _on_others(network, people, options.size)  # fails before it spends
    embed = functools.partial(private_training.features, network)
    found = people.embedded(rows, embed, options.size, progress)
    keras.utils.set_random_seed(options.seed)
    trained, ledger = private_training.train_embedding_privately(
        network,
        found,
        people.labels[rows],
        _protection(options),
        **_steps(options, _PRIVATE_EPOCHS),
    )
    if (people.celeba.folder / TRUTH).is_file():  # the data are drawn
        trained.trained_on = DRAWN_FACES
    after = _on_others(trained, people, options.size)
    figures = {f"{name} before": figure for name, figure in before.items()}
    figures |= {f"{name} after": figure for name, figure in after.items()}
    return Done(FACENET, trained, ledger, figures)


def save(done: Done, folder: Path, delta: float) -> None:
    """Writes the model, its ledger, its statement and its page.

    Args:
        done: what was trained.
        folder: must not exist, or be empty.
        delta: of the statement.

    Raises:
        FileExistsError: there is something in the folder.
    """
    with new_directory(folder) as made:
        done.model.save(made / done.name)
        done.ledger.save(made / LEDGER)
        text = done.ledger.statement(delta=delta)
        (made / STATEMENT).write_text(text, encoding="utf-8")
        report.finetuned(made / PAGE, done.ledger, delta)


class _Embedded:
    """Pictures embedded by a frozen network, each once."""

    def __init__(self, network, people, size, progress):
        self._people = people
        rows = np.arange(len(people.celeba))
        self._embeddings = people.embedded(rows, network.embed, size, progress)

    def of(self, rows):
        return self._embeddings[rows], self._people.labels[rows]

    def accuracies(self, classifier) -> dict[str, float]:
        head = classifier.get_layer("identities")
        sides = {"training": self._people.training, "testing": self._people.testing}
        return {
            f"accuracy, {side}": float(
                np.mean(head.predict(embeddings, verbose=0).argmax(1) == labels)
            )
            for side, rows in sides.items()
            if len(rows)
            for embeddings, labels in [self.of(rows)]
        }


def check_options(options: argparse.Namespace) -> None:
    """Raises `ValueError` for a number out of range, before pictures are embedded.

    Args:
        options: as for `by_picture`.
    """
    if options.epochs is not None:
        checks.whole("epochs", options.epochs)
    for name in ("learning_rate", "clip"):
        if getattr(options, name) is not None:
            checks.real(name, getattr(options, name), open_low=True)
    checks.real("epsilon", options.epsilon, open_low=True)
    checks.real("delta", options.delta, high=1.0, open_high=True)
    checks.whole("size", options.size)
    checks.whole("seed", options.seed, low=0)


def _steps(options, epochs):
    """How long and how fast to train."""
    rate = options.learning_rate
    given = {} if rate is None else {"learning_rate": rate}
    return given | {"epochs": epochs if options.epochs is None else options.epochs}


def _protection(options):
    return Protection(options.epsilon, options.delta, options.clip)


def _on_others(network, people, size):
    """Rank 1 and verification among persons whom it was not trained with."""
    other = people.celeba.partition > 0
    known, asked = (rows[other[rows]] for rows in (people.training, people.testing))
    gallery = recognition.Gallery.of(
        people.embedded(known, network.embed, size), people.labels[known]
    )
    return recognition.figures(
        gallery, people.embedded(asked, network.embed, size), people.labels[asked]
    )

"""The published experiment: pictures of known persons, masked and painted anew."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfpriv.accounting import Journal, recording
from tfpriv.faces.celeba import PICTURES
from tfpriv.inpainting.experiment import outputs
from tfpriv.inpainting.experiment.people import SPLIT, People, in_square
from tfpriv.inpainting.masks import kinds
from tfpriv.inpainting.masks.kinds import Settings, Subject
from tfpriv.inpainting.seeds import derived
from tfpriv.support import checks, images
from tfpriv.support.outputs import take_up

JOURNAL, LEDGER = "masks.journal", outputs.LEDGER
RUN = "generation.json"  # what the folder's pictures were made with
SIZE = 512  # pixels, as published


class Report(NamedTuple):
    """What was done.

    Attributes:
        done: pictures made.
        there: pictures that an earlier run had made.
        failures: what could not be done, one line each.
    """

    done: int
    there: int
    failures: list[str]


def generate_dataset(
    source: People | str | os.PathLike,
    output: str | os.PathLike,
    mask: str = "random",
    inpainter: Callable | None = None,
    *,
    network=None,
    classifier=None,
    size: int = SIZE,
    settings: Settings | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    **options,
) -> Report:
    """Masks and repaints the pictures that a data set tests with.

    A run that was interrupted goes on where it was. What is drawn for a picture follows
    from the seed and its name, so that no order and no interruption changes it; but
    private masks, whose draws nobody can repeat. What these spend is in `masks.journal`
    beside the data set's lists before they are drawn; `ledger.json` in the output is
    its copy, written before each mask is.

    Args:
        source: a folder in CelebA's layout, or its `People`.
        output: folder to write; see `outputs`. It holds the originals, too: it is for
            measuring, not for publishing.
        mask: "random", "gradcam", "gradients", "landmarks", "whole_face" or "private".
        inpainter: a `StableDiffusionInpainter`, or another function of its arguments.
        network: a `FaceNet`, for "gradcam" and "private". Its targets are the
            embeddings of each person's first picture to train with, as published.
        classifier: as `identity_classifier` makes it, for "gradients".
        size: of the pictures, in pixels.
        settings: of the masks; by default the published ones.
        limit: at most so many pictures, spread over the persons: the first of each,
            then the second of each.
        seed: of random masks and of the inpainter, not negative.
        progress: `None`, or a function called with `(done, total)`.
        **options: of the inpainter: `prompt`, `steps`, `guidance_scale`.

    Returns:
        What was done. Pictures that cannot be read are left out and named.

    Raises:
        FileExistsError: the output holds other files.
        FileNotFoundError: a list of the data set is missing.
        LedgerError: the journal there is damaged, or of masks under another region, or
            says less than the output's ledger.
        ValueError: for an argument out of range, a data set without pictures to test
            with, an output of another run, or an inpainter that changes what is not
            covered.
    """
    if inpainter is None:
        raise ValueError("Name what repaints the pictures. Received: inpainter=None")
    if limit is not None:
        checks.whole("limit", limit)
    checks.whole("seed", seed, low=0)
    if "guidance_scale" in options:
        checks.real("guidance_scale", options["guidance_scale"])
    kind = kinds.check(mask, network, classifier)
    people = source if isinstance(source, People) else People.load(source)
    if len(people.testing) == 0:
        raise ValueError(
            "None of these pictures is to be repainted: those are a fifth of each "
            f"person's, or those that {SPLIT} names. Received: "
            f"{len(people.celeba)} pictures of {people.classes} persons"
        )
    settings, output = settings or Settings(), Path(output)
    run = _run(people, mask, size, settings, seed, options, network, classifier)
    take_up(output / RUN, run)
    rows = spread_over_persons(people)[:limit]
    with contextlib.ExitStack() as stack:
        journal = None
        if kind.private:
            journal = stack.enter_context(Journal(people.celeba.folder / JOURNAL))
            recording.check_copy(output / LEDGER, journal)
            journal.save(output / LEDGER)
        make = kinds.maker(
            mask, settings, network=network, classifier=classifier, ledger=journal
        )
        subjects = _Subjects(people, kind, network, size, seed)
        if journal:
            make = _told(make, journal, output / LEDGER)
        return _generate(output, subjects, rows, make, inpainter, options, progress)


def _told(make, journal, path):
    """Masks, each with its cost in the journal's copy before it is written anywhere."""

    def told(subject):
        mask = make(subject)
        journal.save(path)
        return mask

    return told


def spread_over_persons(people: People) -> np.ndarray:
    """The pictures to test with: each person's first, then each one's second.

    Args:
        people: the data set.

    Returns:
        int, all of `people.testing`.
    """
    labels = people.labels[people.testing]
    before = np.zeros(len(labels), int)  # pictures of the same person before this one
    seen: dict[int, int] = {}
    for i, label in enumerate(labels.tolist()):
        before[i] = seen.get(label, 0)
        seen[label] = before[i] + 1
    return people.testing[np.lexsort((labels, before))]


class _Subjects:
    """Reads what is known of a picture."""

    def __init__(self, people, kind, network, size, seed):
        self.people, self._kind, self._size, self._seed = people, kind, size, seed
        self._network, self._targets = network, {}
        self._points = people.celeba.landmarks() if kind.landmarks else None

    def image(self, row) -> str:
        return Path(self.people.celeba.names[row]).stem

    def seed(self, row, purpose) -> int:
        return derived(self._seed, purpose, self.image(row))

    def read(self, row) -> Subject:
        people = self.people
        whole = images.load(people.celeba.folder / PICTURES / people.celeba.names[row])
        points = None
        if self._kind.landmarks:
            points = in_square(self._points[row], whole.shape[:2], self._size)
        label = int(people.labels[row])
        target = self._target(label) if self._kind.network else None
        picture = images.to_array(images.from_array(whole), self._size)
        return Subject(picture, label, points, target, self.seed(row, "mask"))

    def _target(self, label):
        if label not in self._targets:
            row = self.people.first_training(label)
            picture = self.people.pictures([row], self._size)
            self._targets[label] = self._network.embed(picture)[0]
        return self._targets[label]


def _generate(output, subjects, rows, make, inpainter, options, progress):
    done, there, failures = 0, 0, []
    for number, row in enumerate(rows.tolist(), 1):
        image, label = subjects.image(row), int(subjects.people.labels[row])
        files = outputs.place(output, image, label)
        if files.result.is_file():
            there += 1
        else:
            try:
                subject = subjects.read(row)
            except (ValueError, FileNotFoundError) as error:  # both name the file
                failures.append(str(error))
            else:
                # A private mask is on the disk's journal before `make` draws it.
                mask = make(subject)
                seed = subjects.seed(row, "inpainter")
                result = _repainted(inpainter, subject.picture, mask, seed, options)
                outputs.write(files, outputs.Pictures(subject.picture, mask, result))
                done += 1
        if progress:
            progress(number, len(rows))
    return Report(done, there, failures)


def _repainted(inpainter, picture, mask, seed, options):
    result = np.asarray(inpainter(picture[None], mask[None], seed=seed, **options))
    if result.shape != (1, *picture.shape) or result.dtype != np.uint8:
        raise ValueError(
            f"The inpainter must return uint8 of shape {(1, *picture.shape)}. "
            f"Received: {result.dtype} of shape {result.shape}"
        )
    if not np.array_equal(result[0][~mask], picture[~mask]):
        raise ValueError(
            "The inpainter must leave what is not covered as it is. Received: "
            f"{inpainter!r}"
        )
    return result[0]


def _run(people, mask, size, settings, seed, options, network, classifier):
    return {
        "source": str(Path(people.celeba.folder).resolve()),
        "testing": hashlib.sha256(people.testing.tobytes()).hexdigest(),
        "mask": mask,
        "size": size,
        "settings": settings._asdict(),
        "seed": seed,
        "options": options,
        "networks": digests(network, classifier),
    }


def digests(*models) -> list[str]:
    """SHA-256 of the weights of FaceNets, or of those inside of classifiers.

    Args:
        *models: FaceNets, classifiers over them, or None.
    """
    from tfpriv.networks.facenet.network import FaceNet
    from tfpriv.support.weights import digest_of

    found = []
    for model in models:
        parts = [model, *getattr(model, "layers", [])]
        nets = [part for part in parts if isinstance(part, FaceNet)]
        found += [digest_of(net.weights) for net in nets]
    return sorted(set(found))

"""The published experiment: pictures of known persons, masked and painted anew."""

import collections
import contextlib
import functools
import hashlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfpriv.accounting import recording
from tfpriv.accounting.journal import Journal
from tfpriv.inpainting.experiment import outputs
from tfpriv.inpainting.experiment.people import SPLIT, People
from tfpriv.inpainting.masks import geometric, kinds
from tfpriv.inpainting.masks.kinds import Settings, Subject
from tfpriv.inpainting.photos import inpainters
from tfpriv.inpainting.seeds import derived
from tfpriv.support import checks, images
from tfpriv.support.outputs import take_up

JOURNAL, LEDGER = "masks.journal", outputs.LEDGER
RUN = "generation.json"  # what the folder's pictures were made with
SIZE = 512  # pixels, as published


class GenerationSummary(NamedTuple):
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
) -> GenerationSummary:
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
            "Expected pictures to test with: a fifth of each person's, or those that "
            f"{SPLIT} names. Received: {len(people.celeba)} pictures of "
            f"{people.classes} persons"
        )
    settings, output = settings or Settings(), Path(output)
    run = {
        "source": str(Path(people.celeba.folder).resolve()),
        "testing": hashlib.sha256(people.testing.tobytes()).hexdigest(),
        "mask": mask,
        "size": size,
        "settings": settings._asdict(),
        "seed": seed,
        "options": options,
        "networks": digests(network, classifier),
    }
    take_up(output / RUN, run)
    subjects = _Subjects(people, kind, network, size, seed)
    rows = spread_over_persons(people)[:limit]
    paint = functools.partial(_painted, inpainter, seed=seed, **options)
    make = functools.partial(
        kind.make, settings=settings, network=network, classifier=classifier
    )
    with _masks(kind, make, people, output) as mask_of:
        return _generate(output, subjects, rows, mask_of, paint, progress)


@contextlib.contextmanager
def _masks(kind, make, people, output):
    """A function from subjects to masks, which writes down what private ones spend."""
    if not kind.private:
        yield lambda subject: make(subject, ledger=None)[0]
        return
    with Journal(people.celeba.folder / JOURNAL) as journal:
        recording.check_copy(output / LEDGER, journal)
        journal.save(output / LEDGER)

        def private(subject):
            # It is on the disk's journal before it is drawn, and in the journal's copy
            # before it is written anywhere.
            (mask,) = make(subject, ledger=journal)
            journal.save(output / LEDGER)
            return mask

        yield private


def spread_over_persons(people: People) -> np.ndarray:
    """The pictures to test with: each person's first, then each one's second.

    Args:
        people: the data set.

    Returns:
        int, all of `people.testing`.
    """
    labels = people.labels[people.testing]
    seen = collections.defaultdict(itertools.count)
    before = [next(seen[label]) for label in labels.tolist()]  # of the same person
    return people.testing[np.lexsort((labels, before))]


class _Subjects:
    """Reads what is known of a picture."""

    def __init__(self, people, kind, network, size, seed):
        self.people, self._kind, self._size, self._seed = people, kind, size, seed
        self._target = functools.cache(self._target)
        self._network = network
        self._points = people.celeba.landmarks() if kind.landmarks else None

    def read(self, row) -> Subject:
        path = self.people.paths([row])[0]
        whole = images.load(path)
        points = target = None
        if self._kind.landmarks:
            points = geometric.in_square(self._points[row], whole.shape[:2], self._size)
        label = int(self.people.labels[row])
        if self._kind.network:
            target = self._target(label)
        picture = images.to_array(images.from_array(whole), self._size)
        seed = derived(self._seed, "mask", path.stem)
        return Subject(picture, label, points, target, seed)

    def _target(self, label):
        picture = self.people.pictures([self.people.first_training(label)], self._size)
        return self._network.embed(picture)[0]


def _generate(output, subjects, rows, mask_of, paint, progress):
    done, there, failures = 0, 0, []
    for number, row in enumerate(rows.tolist(), 1):
        image = Path(subjects.people.celeba.names[row]).stem
        files = outputs.place(output, image, int(subjects.people.labels[row]))
        if files.result.is_file():
            there += 1
        else:
            try:
                subject = subjects.read(row)
            except (ValueError, FileNotFoundError) as error:  # both name the file
                failures.append(str(error))
            else:
                mask = mask_of(subject)
                result = paint(image, subject.picture, mask)
                outputs.write(files, outputs.Pictures(subject.picture, mask, result))
                done += 1
        if progress:
            progress(number, len(rows))
    return GenerationSummary(done, there, failures)


def _painted(inpainter, image, picture, mask, *, seed, **options):
    seed = derived(seed, "inpainter", image)
    result = inpainters.painted(inpainter, picture, mask, seed=seed, **options)
    if not np.array_equal(result[~mask], picture[~mask]):
        raise ValueError(
            f"The inpainter must leave what is not covered. Received: {inpainter!r}"
        )
    return result


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

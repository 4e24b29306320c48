"""How well a folder of repainted pictures hides who is in them, and what it keeps.

The published figures, accuracy on the originals and the share fooled among those that
were recognised, come from one classifier, often the one that the masks were made to
fool. Beside them stand those of a second recogniser that made no mask, of what should
have been kept, and of three simpler ways to cover the same pixels.
docs/inpainting_study.md says what each figure means, and what it does not.
"""

import dataclasses
import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from tfpriv.audit import intervals
from tfpriv.audit.intervals import Estimate
from tfpriv.faces import reader as readers
from tfpriv.inpainting import recognition
from tfpriv.inpainting.experiment import generation, outputs
from tfpriv.inpainting.experiment.people import People
from tfpriv.inpainting.photos.obfuscation import OBFUSCATIONS
from tfpriv.inpainting.recognition import FALSE_ACCEPTS, Gallery
from tfpriv.networks.facenet.network import standardised
from tfpriv.support import images
from tfpriv.support.fidelity import structural_similarities
from tfpriv.support.files import read_json

ORIGINAL, REPAINTED = "original", "repainted"
# What of a face belongs to the picture, not to the person.
KEPT = ("smile", "glasses", "pose")
_SHOWN = 6  # pictures that are kept to be looked at
_AT_ONCE = 32


@dataclasses.dataclass(frozen=True)
class EvaluationRow:
    """What is measured of one way to change the pictures.

    Similarities and attributes are None where nobody was there to judge them.

    Attributes:
        method: `ORIGINAL`, `REPAINTED` or the name of an obfuscator.
        fooled: share of those pictures whose original the classifier recognised, for
            which it now names somebody else.
        rank_one: share of the pictures whose person is the most similar one in the
            second recogniser's gallery of other pictures.
        verified: share of the pictures that are similar enough to their person.
        mistaken: mean share of the strangers whom a picture is similar enough to, too:
            where this is large, being verified means little.
        similarity: mean cosine similarity to the template of the person.
        linked: share of the pictures whose most similar original is of the same person.
        attributes: for each attribute, the share of pictures in which it is read as
            before; `kept` is the mean over `KEPT`.
        kept: see `attributes`.
        ssim: mean structural similarity to the original.
        lpips: mean perceptual distance to it, if it was asked for.
    """

    method: str
    fooled: Estimate
    ssim: Estimate
    rank_one: Estimate | None = None
    verified: Estimate | None = None
    mistaken: Estimate | None = None
    similarity: Estimate | None = None
    linked: Estimate | None = None
    attributes: dict[str, Estimate] | None = None
    kept: Estimate | None = None
    lpips: Estimate | None = None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What became of the persons in a folder of pictures.

    Attributes:
        accuracy: of the classifier on the originals.
        recognised: pictures whose original it recognised.
        fooled: how many of these it no longer does when they are repainted.
        covered: mean share of the pixels that the masks cover.
        rows: one for each method, `ORIGINAL` and `REPAINTED` first.
        false_accepts: share of strangers that the threshold of `verified` lets in.
        shown: pictures to look at, by the name of the method; uint8 (k, h, w, 3).
        masks: theirs, bool (k, h, w).
        trained_on: the faces that each judge was trained on, by what it is called.
        persons: how many there are in the second recogniser's gallery; None without it,
            as what follows.
        strangers: how many similarities of originals to strangers `verified` was set
            by.
        stranger_similarity: mean of these.
    """

    accuracy: Estimate
    recognised: int
    fooled: int
    covered: Estimate
    rows: list[EvaluationRow]
    false_accepts: float
    shown: dict[str, np.ndarray]
    masks: np.ndarray
    trained_on: dict[str, str]
    persons: int | None = None
    strangers: int | None = None
    stranger_similarity: float | None = None

    def row(self, method: str) -> EvaluationRow:
        """The row of a method."""
        return next(row for row in self.rows if row.method == method)


def evaluate(
    folder: str | os.PathLike,
    classifier: keras.Model,
    *,
    recogniser=None,
    gallery: tuple[np.ndarray, np.ndarray] | None = None,
    reader: keras.Model | None = None,
    lpips: Callable | None = None,
    obfuscators: dict[str, Callable] | None = None,
    false_accepts: float = FALSE_ACCEPTS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measures what repainted pictures tell and keep.

    Shares have Clopper-Pearson intervals of 95 %, as if all pictures were of different
    persons; means have intervals over persons.

    Args:
        folder: as `outputs` describes it; the published scripts' will do.
        classifier: from pictures as `facenet.standardised` gives them to logits, as
            `identity_classifier` makes it; labels in the folder are its classes.
        recogniser: a second one, a `FaceNet` or another with `embed`, that made no
            mask.
        gallery: with `recogniser`, other pictures of the persons, uint8 (m, s, s, 3),
            or what it embedded them to, (m, d); and int (m,), their labels.
        reader: a face reader; see `tfpriv.faces.reader`.
        lpips: a `tfpriv.networks.perception.lpips.Lpips`.
        obfuscators: other ways to cover the same pixels, by their names: functions as
            inpainters are. By default blurring, pixelating and blackening.
        false_accepts: share of strangers that a verification lets in, in [0, 1).
        seed: of the intervals over persons, and of the obfuscators.
        progress: `None`, or a function called with `(done, total)`.

    Returns:
        The figures.

    Raises:
        FileNotFoundError: a part of the folder is missing.
        ValueError: a file is not as it should be; labels that the classifier does not
            know; or a recogniser that made these masks.
    """
    files = outputs.listed(folder)
    labels = np.array([output.label for output in files])
    if labels.max() >= classifier.output_shape[-1]:
        raise ValueError(
            f"The classifier knows {classifier.output_shape[-1]} persons. Received: "
            f"label {labels.max()} in {folder}"
        )
    if (recogniser is None) != (gallery is None):
        raise ValueError(
            "`recogniser` and `gallery` go together. Received: one of them"
        )
    _refuse_maker_of_masks(folder, recogniser)
    if obfuscators is None:
        obfuscators = OBFUSCATIONS
    if gallery is not None and np.ndim(gallery[0]) == 4:
        gallery = recogniser.embed(gallery[0]), gallery[1]
    templates = gallery and Gallery.of(*gallery)
    judges = _Judges(classifier, recogniser, reader, lpips)
    said, covered, shown = _look(files, judges, obfuscators, seed, progress)
    verdict = _Verdict(said, labels, templates, false_accepts, seed)
    return Evaluation(
        **verdict.figures(),
        covered=verdict.mean(covered),
        false_accepts=false_accepts,
        trained_on=judges.trained_on,
        **shown,
    )


def gallery_of(
    folder: str | os.PathLike,
    data: str | os.PathLike,
    recogniser,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A gallery for `evaluate`: what a data set trains with, of the folder's persons.

    Args:
        folder: the experiment.
        data: the data set that it was made of, in CelebA's layout.
        recogniser: the second one.
        progress: `None`, or a function called with `(done, total)`.

    Returns:
        Embeddings and labels.

    Raises:
        ValueError: if a picture of the folder is none that the data set tests with:
            who has it in the gallery recognises the picture, not the person.
    """
    people = People.load(data)
    tested = {Path(people.celeba.names[row]).stem for row in people.testing}
    files = outputs.listed(folder)
    for output in files:
        if output.image not in tested:
            raise ValueError(
                f"Expected what the data set tests with. Received: {output.original}"
            )
    size = outputs.read(files[0]).original.shape[0]
    asked = np.unique([output.label for output in files])
    rows = people.training[np.isin(people.labels[people.training], asked)]
    return people.embedded(rows, recogniser.embed, size, progress), people.labels[rows]


def _refuse_maker_of_masks(folder, recogniser):
    path = Path(folder) / generation.RUN
    if recogniser is None or not path.is_file():
        return
    made = read_json(path).get("networks", [])
    if set(made) & set(generation.digests(recogniser)):
        raise ValueError(
            f"Expected a second recogniser that made no mask. Received: that of {path}"
        )


class _Judges(NamedTuple):
    """Who looks at pictures."""

    classifier: keras.Model
    recogniser: object | None
    reader: keras.Model | None
    lpips: Callable | None

    @property
    def trained_on(self) -> dict[str, str]:
        """The faces that the networks were trained on which look at faces."""
        names = ("the classifier", "the second recogniser", "the face reader")
        judges = zip(names, self[:3], strict=True)
        found = {name: judge for name, judge in judges if judge is not None}
        return {name: recognition.trained_on(judge) for name, judge in found.items()}

    def look(self, originals: np.ndarray, pictures: np.ndarray) -> dict:
        """What each of them says of pictures, by its name: arrays (n, ...)."""
        said = {"ssim": structural_similarities(originals, pictures)}
        logits = self.classifier(standardised(pictures), training=False)
        said["person"] = np.argmax(keras.ops.convert_to_numpy(logits), -1)
        if self.recogniser is not None:
            said["embedding"] = self.recogniser.embed(pictures)
        if self.reader is not None:
            said["numbers"] = readers.readings(self.reader, pictures)
        if self.lpips is not None:
            pair = images.to_signed(originals), images.to_signed(pictures)
            said["lpips"] = keras.ops.convert_to_numpy(self.lpips(*pair))
        return said


def _look(files, judges, obfuscators, seed, progress):
    """Shows all pictures to all judges, some at a time.

    Returns:
        What all judges said, by method; the masks' shares; what `Evaluation` shows.
    """
    parts: dict[str, list[dict]] = {}
    covered, shown = [], {}
    for first in range(0, len(files), _AT_ONCE):
        some = map(outputs.read, files[first : first + _AT_ONCE])
        for _, run in itertools.groupby(some, lambda pictures: pictures.mask.shape):
            original, mask, result = map(np.stack, zip(*run, strict=True))
            changed = {ORIGINAL: original, REPAINTED: result}
            for name, obfuscate in obfuscators.items():
                changed[name] = obfuscate(original, mask, seed=seed)
            for method, pictures in changed.items():
                parts.setdefault(method, []).append(judges.look(original, pictures))
            covered.append(mask.mean((1, 2)))
            shown = shown or {
                "shown": {name: one[:_SHOWN] for name, one in changed.items()},
                "masks": mask[:_SHOWN],
            }
        if progress:
            progress(min(first + _AT_ONCE, len(files)), len(files))
    said = {
        method: {key: np.concatenate([p[key] for p in some]) for key in some[0]}
        for method, some in parts.items()
    }
    return said, np.concatenate(covered), shown


class _Verdict:
    """Figures from what the judges said."""

    def __init__(self, said, labels, gallery: Gallery | None, false_accepts, seed):
        self._said, self._labels, self._seed = said, labels, seed
        self._recognised = said[ORIGINAL]["person"] == labels
        self._gallery = gallery
        if gallery is not None:
            # Who has no other pictures can be neither found nor verified.
            self._known = gallery.known(labels)
            self._columns = gallery.columns(labels[self._known])
            compared = self._compared(said[ORIGINAL]["embedding"])
            self._strangers = recognition.strangers(compared, self._columns)
            self._limit = recognition.threshold(self._strangers, false_accepts)

    def figures(self) -> dict:
        """What of an `Evaluation` follows from the judges."""
        found = {
            "accuracy": intervals.share(self._recognised),
            "recognised": int(self._recognised.sum()),
            "fooled": int(self._fooled(self._said[REPAINTED]).sum()),
            "rows": [self._row(*item) for item in self._said.items()],
        }
        if self._gallery is not None:
            found["persons"] = len(self._gallery.persons)
            found["strangers"] = len(self._strangers)
            found["stranger_similarity"] = float(self._strangers.mean())
        return found

    def mean(self, values: Sequence, persons: np.ndarray | None = None) -> Estimate:
        """With its interval over persons, by default those of all pictures."""
        persons = self._labels if persons is None else persons
        return intervals.mean_over_persons(values, persons, seed=self._seed)

    def _fooled(self, said):
        """bool, of the pictures whose original was recognised, and of no others."""
        return (said["person"] != self._labels)[self._recognised]

    def _row(self, method, said) -> EvaluationRow:
        fooled = intervals.share(self._fooled(said))
        row = {key: self.mean(said[key]) for key in ("ssim", "lpips") if key in said}
        if self._gallery is not None:
            row |= self._recognition(said["embedding"])
        if "numbers" in said:
            row |= self._attributes(said["numbers"])
        return EvaluationRow(method, fooled, **row)

    def _recognition(self, embeddings):
        compared, originals = self._compared(embeddings), self._said[ORIGINAL]
        similarity = recognition.own(compared, self._columns)
        nearest = recognition.nearest(embeddings, originals["embedding"])
        others = recognition.strangers(compared, self._columns)
        others = others.reshape(len(compared), -1)
        persons = self._labels[self._known]
        return {
            "rank_one": intervals.share(compared.argmax(1) == self._columns),
            "verified": intervals.share(similarity > self._limit),
            "mistaken": self.mean((others > self._limit).mean(1), persons),
            "similarity": self.mean(similarity, persons),
            "linked": intervals.share(self._labels[nearest] == self._labels),
        }

    def _compared(self, embeddings):
        return self._gallery.similarities(embeddings[self._known])

    def _attributes(self, numbers):
        """An attribute is kept where it is read on the same side of its middle."""
        same = (numbers > 0) == (self._said[ORIGINAL]["numbers"] > 0)
        index, names = readers.NUMBERS.index, readers.ATTRIBUTES
        same = {name: same[:, index(name)] for name in names}
        kept = np.mean([same[name] for name in KEPT], 0)
        attributes = {name: self.mean(values) for name, values in same.items()}
        return {"attributes": attributes, "kept": self.mean(kept)}

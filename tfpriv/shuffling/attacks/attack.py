"""What attacks get from shuffled pictures, in both modes and beside moved blocks."""

import dataclasses
import io
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from tfpriv.shuffling.attacks import (
    ciphertext_only,
    histograms,
    inverter,
    known_plaintext,
    orders,
    wrong_keys,
)
from tfpriv.shuffling.attacks.schemes import Scheme, schemes
from tfpriv.shuffling.data import Dataset
from tfpriv.support.fidelity import Fidelity, fidelity, mean_colours, mean_picture

PAIRS = (1, 2, 4, 8, 16)
UNSEEN = 100  # pictures at most that every attack is judged by
LEAST = 20  # pictures: less teaches no attack anything
_RIGHT = (0.5, 0.9, 0.99)
_QUALITY = 50  # of the JPEG copies that are looked for
SHOWN = 4  # pictures of each result on the sheet

Classifier = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Material:
    """The pictures of a run.

    Attributes:
        victim: uint8 pictures whose shuffled forms the attacker has; some attacks have
            them in the clear besides.
        victim_labels: their classes.
        own: the attacker's own plain pictures of the same kind, as many.
        unseen: other pictures of the victim, by which attacks are judged.
        unseen_labels: their classes.
    """

    victim: np.ndarray
    victim_labels: np.ndarray
    own: np.ndarray
    unseen: np.ndarray
    unseen_labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class AttackResult:
    """What one attack got from one way of shuffling.

    Attributes:
        attack: its name.
        knows: what the attacker has, or does.
        scheme: name of the way of shuffling.
        came_back: how much of unseen pictures; `None` if the attack seeks none.
        places: share of the places of unseen pictures that were found.
        accuracy: of the class, or of finding the picture.
        chance: that of guessing.
        shown: the first pictures that came back.
    """

    attack: str
    knows: str
    scheme: str
    came_back: Fidelity | None = None
    places: float | None = None
    accuracy: float | None = None
    chance: float | None = None
    shown: np.ndarray | None = None


class AttackRun:
    """One scheme under attack: what is drawn once and shared by all attacks.

    Args:
        scheme: the way of shuffling.
        material: the pictures.
        classifier: from pictures to classes, to judge what came back by; or `None`.
        seed: of the attacker's guesses.
    """

    def __init__(
        self,
        scheme: Scheme,
        material: Material,
        classifier: Classifier | None = None,
        seed: int = 0,
    ):
        self.scheme, self.material, self.seed = scheme, material, seed
        self.rng = np.random.default_rng([seed, 2])
        self.shuffled = scheme.shuffle(material.victim).images
        self._unseen = scheme.shuffle(material.unseen)
        self.unseen, self.orders = self._unseen.images, self._unseen.orders
        self._classifier = classifier

    def opened_wrongly(self) -> dict[str, np.ndarray]:
        """What wrong keys make of the unseen pictures."""
        return self.scheme.opened_wrongly(self._unseen)

    def result(
        self, attack, knows, recovered, order=None, mirror=False
    ) -> AttackResult:
        """Judges the unseen pictures that an attack got back."""
        truth, accuracy = self.material.unseen, None
        came_back = fidelity(truth, recovered)
        places = None if order is None else orders.agreement(self.orders, order)
        if mirror:  # who looks at a picture can mirror it
            turned = np.ascontiguousarray(recovered[:, :, ::-1])
            other = fidelity(truth, turned)
            if other.psnr > came_back.psnr:
                came_back, recovered = other, turned
                grid = np.arange(truth[0, :, :, 0].size).reshape(truth.shape[1:3])
                places = orders.agreement(self.orders, grid[:, ::-1].ravel()[order])
        if self._classifier is not None:
            found = self._classifier(recovered)
            accuracy = float(np.mean(found == self.material.unseen_labels))
        return AttackResult(
            attack=attack,
            knows=knows,
            scheme=self.scheme.name,
            came_back=came_back,
            places=places,
            accuracy=accuracy,
            shown=recovered[:SHOWN],
        )


def no_attack(run: AttackRun) -> Iterator[AttackResult]:
    """What the key's owner has, and anyone: the shuffled picture, its mean colour."""
    yield run.result("none", "has the key", orders.undo(run.unseen, run.orders))
    yield run.result("none", "looks at the shuffled picture", run.unseen)
    yield run.result("none", "paints its mean colour", mean_colours(run.unseen))
    painted = mean_picture(run.unseen, run.material.own)
    yield run.result("none", "paints the average picture in its colour", painted)


def known_pairs(run: AttackRun) -> Iterator[AttackResult]:
    """The permutation of known pairs, tried on other pictures."""
    plain = run.material.victim
    for count in PAIRS:
        found = known_plaintext.recover_order(
            plain[:count], run.shuffled[:count], run.rng, run.scheme.block
        )
        opened = orders.undo(run.unseen, found.order)
        knows = f"{count} picture{'s'[: count > 1]} and the shuffled form"
        yield run.result("known plaintext", knows, opened, found.order)


def only_shuffled(run: AttackRun) -> Iterator[AttackResult]:
    """The grid, put together by what places of many pictures have in common."""
    side = run.scheme.block
    reference = ciphertext_only.place_statistics(run.material.own)
    for count in _tens(len(run.shuffled)):
        statistics = ciphertext_only.place_statistics(run.shuffled[:count])
        order = ciphertext_only.reassemble(
            statistics, reference, run.unseen.shape[1:3], side
        )
        knows = f"{count} shuffled pictures, {len(run.material.own)} of their own"
        opened = orders.undo(run.unseen, order)
        yield run.result("ciphertext only", knows, opened, order, mirror=True)


def learned(run: AttackRun) -> Iterator[AttackResult]:
    """A linear map and a network, trained on pairs."""
    pairs = run.shuffled, run.material.victim
    knows = f"{len(run.shuffled)} pairs, {{}}"
    matrix = inverter.linear_map(*pairs)
    opened = inverter.linear(matrix)(run.unseen)
    yield run.result("learned inverter", knows.format("linear map"), opened)
    opened = inverter.network(*pairs, matrix, seed=run.seed)(run.unseen)
    yield run.result("learned inverter", knows.format("network"), opened)


def other_keys(run: AttackRun) -> Iterator[AttackResult]:
    """Wrong keys, and permutations that are right at some of the places."""
    for knows, opened in run.opened_wrongly().items():
        yield run.result("wrong key", knows, opened)
    for share in _RIGHT:
        order = wrong_keys.nearly_right(run.orders, share, run.rng)
        knows = f"a permutation right at {share:.0%} of the places"
        yield run.result("wrong key", knows, orders.undo(run.unseen, order), order)


def kept_colours(run: AttackRun) -> Iterator[AttackResult]:
    """Pictures found again, and classes guessed, by the colours alone."""
    material = run.material
    shuffled = histograms.colour_histograms(run.unseen)
    others = histograms.colour_histograms(material.own)
    for copy, pictures in {
        "the picture": material.unseen,
        f"a JPEG copy (quality {_QUALITY}) of it": _jpeg_copies(material.unseen),
    }.items():
        gallery = np.concatenate([histograms.colour_histograms(pictures), others])
        yield AttackResult(
            "colour histogram",
            f"{copy}, among {len(gallery)}",
            run.scheme.name,
            accuracy=histograms.identified(shuffled, gallery),
            chance=1 / len(gallery),
        )
    known = histograms.colour_histograms(run.shuffled), material.victim_labels
    yield AttackResult(
        "colour histogram",
        f"the class of {len(run.shuffled)} shuffled pictures",
        run.scheme.name,
        accuracy=histograms.class_accuracy(
            known, (shuffled, material.unseen_labels), seed=run.seed
        ),
        chance=histograms.chance(material.unseen_labels),
    )


ATTACKS: dict[str, Callable[[AttackRun], Iterator[AttackResult]]] = {
    "none": no_attack,
    "known-plaintext": known_pairs,
    "ciphertext-only": only_shuffled,
    "inverter": learned,
    "wrong-keys": other_keys,
    "histogram": kept_colours,
}


def attack(
    data: Dataset,
    *,
    pictures: int = 1000,
    attacks: tuple[str, ...] = tuple(ATTACKS),
    seed: int = 0,
    classifier: Classifier | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[AttackResult]:
    """Runs attacks on pictures that are shuffled for them.

    Args:
        data: the pictures. The victim's and the attacker's own are from its training
            pictures, those that attacks are judged by from its test pictures.
        pictures: how many shuffled ones the attacker has; at most half of the training
            pictures.
        attacks: names from `ATTACKS`.
        seed: of keys, nonces, guesses and training: not for keys that shall be secret.
        classifier: from uint8 pictures to classes, to judge what came back by.
        progress: `None`, or a function called with `(done, total)` now and then.

    Returns:
        The results, by way of shuffling, then in the order of `attacks`.

    Raises:
        ValueError: for unknown attacks, or too few pictures.
    """
    unknown = sorted(set(attacks) - set(ATTACKS))
    if unknown or not attacks:
        raise ValueError(f"Attacks are {', '.join(ATTACKS)}. Received: {unknown}")
    material = _material(data, pictures)
    attacked = schemes(material.unseen.shape[1:3], seed)
    results, total = [], len(attacked) * len(attacks)
    for i, scheme in enumerate(attacked):
        run = AttackRun(scheme, material, classifier, seed)
        for j, name in enumerate(attacks):
            results += ATTACKS[name](run)
            if progress:
                progress(i * len(attacks) + j + 1, total)
    return results


def _material(data, pictures):
    most = len(data.train_images) // 2
    if not LEAST <= pictures <= most:
        raise ValueError(
            f"Expected {LEAST} to {most} pictures, half of the training pictures of "
            f"{data.name}. Received: {pictures}"
        )
    return Material(
        victim=data.train_images[:pictures],
        victim_labels=data.train_labels[:pictures],
        own=data.train_images[pictures : 2 * pictures],
        unseen=data.test_images[:UNSEEN],
        unseen_labels=data.test_labels[:UNSEEN],
    )


def _tens(most):
    """100, 300, 1000 and so on, below the number of pictures, and that number."""
    counts = (factor * 10**power for power in range(2, 7) for factor in (1, 3))
    return [*(count for count in counts if count < most), most]


def _jpeg_copies(images):
    copies = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=_QUALITY)
        copies.append(np.asarray(Image.open(file)))
    return np.stack(copies)

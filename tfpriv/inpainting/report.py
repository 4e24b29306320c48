"""Reports of photographs, of the published experiment and of private fine-tuning."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tfpriv.accounting import protection
from tfpriv.accounting.ledger import Ledger
from tfpriv.inpainting import recognition
from tfpriv.inpainting.experiment import outputs
from tfpriv.inpainting.photos.boxes import Box
from tfpriv.support.report import Group, Images, Text, report, without_epsilon

SHOWN = 12
_PIXELS = (
    "The pixels under a mask. They became grey before anything was painted: with mask "
    "and seed fixed, no byte of a result follows from what they were."
)
_ANYBODY = (
    "Whoever sees a result, and computes for as long as they like. Not against "
    "somebody who has the photograph, or watches the machine."
)
_READ = "the faces: what covers them is made of them, and recognisers read it"
_IF_READ = (
    "anything, where pixels under a mask were blurred or pixelated instead of painted "
    "anew: what covers them is made of them"
)
_SHOWS = (
    "hair, ears, clothes, hands, the room, other people, name tags: whatever lies "
    "outside of a mask stays, and people are recognised by it",
    "a face that was not found: it stays as it is. Look at the results",
    "where a face was, how large it is, and how the head is turned",
    "a person whom the inpainter saw while it was trained: it may paint them again",
)
_CLAIM = without_epsilon(_PIXELS, against=_ANYBODY, leaves=_SHOWS)
_NO_CLAIM = without_epsilon(
    "Nothing for certain.", against="Nobody.", leaves=(_READ, *_SHOWS)
)
_MASK_AGAINST = (
    "Whoever sees the mask and the picture painted under it, knows both pictures that "
    "it may be of, the region, the network and the code, and computes for as long as "
    "they like. Not against somebody who watches the machine."
)
_MASK_LEAVES = (
    _IF_READ,
    "what lies outside of the public region: hair, ears, clothes, background",
    "the alignment: the region is fixed in the picture as it was turned and cut",
    "what the scores were computed with: targets and weights",
    "originals, scores, metadata and class numbers, if these are given away as well",
)


def photographs(
    path: Path, faces: Mapping[str, Sequence[Box]], settings, *, reads_masked: bool
) -> None:
    """Writes the report of a folder of anonymised photographs.

    It shows results alone, made small, and says what is to be seen on them; so it may
    go where they go. Photographs without a result are not mentioned, and of those in
    which no face was covered, which may be as they were, none is shown.

    Args:
        path: where to, in the folder of the results.
        faces: of each photograph that has a result, by its name.
        settings: `anonymiser.Settings`.
        reads_masked: whether the inpainter was shown what is under the masks.
    """
    folder, hidden, left = path.parent, {}, 0
    for name, found in faces.items():
        result, count = settings.target(name), sum(not box.kept for box in found)
        if (folder / result).is_file():
            left += len(found) - count
            if count:
                hidden[result] = count
    how = "blurred or pixelated" if reads_masked else "painted anew"
    kept = f" Faces left as they are: {left}." if left or settings.keep_person else ""
    if settings.keep_person:
        kept += " One person is to be kept."
    shown = list(hidden)[:SHOWN]
    sections = [
        Text(
            f"Photographs: {len(hidden)}; faces covered: {sum(hidden.values())}, "
            f"{how} under the mask {settings.mask}.{kept}"
        ),
        Images([folder / name for name in shown], shown),
        _NO_CLAIM if reads_masked else _CLAIM,
    ]
    report(path, "Anonymised photographs", sections)


def experiment(path: Path, mask: str, *, reads_masked: bool, network=None) -> None:
    """Writes the report of the published experiment, in its folder.

    It shows results alone; but the folder holds the originals, and names the persons.

    Args:
        path: where to, in a folder as `outputs` describes it.
        mask: kind of the masks.
        reads_masked: whether the inpainter was shown what is under the masks.
        network: the `FaceNet` that made the masks, if one did.
    """
    by = ""
    if network is not None:
        by = f", by a FaceNet trained on {recognition.trained_on(network)}"
    made = outputs.listed(path.parent)
    shown = [output.result for output in made[:SHOWN]]
    sections = [
        Text(
            "For measuring, not for publishing: the folder holds the originals, and "
            "its files' names hold the persons' numbers.",
            warning=True,
        ),
        Text(f"Pictures: {len(made)}, under masks of the kind {mask}{by}."),
        Images(shown, [p.name for p in shown]),
        _NO_CLAIM if reads_masked else masks_claim(path.parent),
    ]
    report(path, "Pictures of persons, masked and painted anew", sections)


def masks_claim(folder: Path) -> Group:
    """What the masks of an experiment's folder protect, and what they do not.

    Args:
        folder: with the ledger of private masks; without it there is no epsilon.
    """
    if not (folder / outputs.LEDGER).is_file():
        leaves = (_IF_READ, *_SHOWS)
        return without_epsilon(_PIXELS, against=_ANYBODY, leaves=leaves)
    ledger = Ledger.load(folder / outputs.LEDGER)
    return protection.protection(
        ledger, 0.0, against=_MASK_AGAINST, leaves=_MASK_LEAVES
    )


def finetuned(path: Path, ledger: Ledger, delta: float) -> None:
    """Writes the report of a network that was fine-tuned, which may go where it goes.

    How well it does is not on it: its figures are exact functions of pictures.

    Args:
        path: where to.
        ledger: matches its weights.
        delta: of the claim.
    """
    sections = [
        Text(
            "How well it does is not said here: such figures are exact functions of "
            "pictures, and no epsilon covers them."
        ),
        protection.of_weights(
            ledger,
            delta,
            leaves=["that somebody is in the data, unless the unit is a person"],
        ),
    ]
    report(path, "A FaceNet, fine-tuned on persons", sections)

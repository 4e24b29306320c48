"""CelebA's own files: read, and written for drawn faces."""

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfpriv.faces.drawing import draw, landmarks
from tfpriv.faces.looks import ATTRIBUTES, SCENE, TRAITS, Faces, sample
from tfpriv.support import images
from tfpriv.support.files import is_plain_name, read_csv
from tfpriv.support.outputs import atomic_path, new_directory

PICTURES = "img_align_celeba"
IDENTITIES = "identity_CelebA.txt"
ATTRIBUTE_LIST = "list_attr_celeba.txt"
PARTITIONS = "list_eval_partition.txt"
LANDMARKS = "list_landmarks_align_celeba.txt"
TRUTH = "truth.csv"  # ours: what CelebA does not tell
PARTITION_NAMES = ("train", "val", "test")
SIZE, ZOOM = (218, 178), 0.8  # pixels; where CelebA's alignment puts the face
# fmt: off
NAMES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald",
    "Bangs", "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry",
    "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses", "Goatee",
    "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open",
    "Mustache", "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose",
    "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair",
    "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick",
    "Wearing_Necklace", "Wearing_Necktie", "Young",
)
POINTS = (
    "lefteye_x", "lefteye_y", "righteye_x", "righteye_y", "nose_x", "nose_y",
    "leftmouth_x", "leftmouth_y", "rightmouth_x", "rightmouth_y",
)
# fmt: on


@dataclasses.dataclass(frozen=True)
class CelebA:
    """What the files of a folder in CelebA's layout say.

    Attributes:
        folder: the folder.
        names: file names of n pictures, in the identity file's order.
        identity: int (n,), the person.
        attributes: bool (n, 40), in the order of `NAMES`.
        partition: int (n,), 0 train, 1 validation, 2 test.
    """

    folder: Path
    names: tuple[str, ...]
    identity: np.ndarray
    attributes: np.ndarray
    partition: np.ndarray

    @classmethod
    def load(cls, folder: str | Path) -> "CelebA":
        """Reads the lists of a folder; no picture is opened.

        Args:
            folder: holds `img_align_celeba/`, `identity_CelebA.txt`,
                `list_attr_celeba.txt` and `list_eval_partition.txt`.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a line is not as it should be, or a picture is not in all lists.
        """
        folder = Path(folder)
        identity = read_column(folder / IDENTITIES)
        names = tuple(identity)
        rows = {
            "attributes": _read_attributes(folder / ATTRIBUTE_LIST),
            "partition": read_column(folder / PARTITIONS),
        }
        for part in rows.values():
            if part.keys() != identity.keys():
                odd = sorted(part.keys() ^ identity.keys())[0]
                raise ValueError(
                    "Every picture must be in all of CelebA's lists. "
                    f"Received: {odd} in some only, in {folder}"
                )
        columns = {
            key: np.array([part[name] for name in names]) for key, part in rows.items()
        }
        return cls(folder, names, np.array(list(identity.values())), **columns)

    def __len__(self) -> int:
        return len(self.names)

    def paths(self) -> list[Path]:
        """The pictures' files."""
        return [self.folder / PICTURES / name for name in self.names]

    def landmarks(self) -> np.ndarray:
        """Reads where eyes, nose and mouth are.

        Returns:
            int (n, 5, 2), (x, y) in pixels, as `faces.landmarks` gives them.

        Raises:
            FileNotFoundError: there is no `list_landmarks_align_celeba.txt`.
            ValueError: a line is not as it should be, or a picture's is missing.
        """
        rows = _read_rows(self.folder / LANDMARKS, 10, header=POINTS)
        missing = [name for name in self.names if name not in rows]
        if missing:
            raise ValueError(
                "Every picture must be in all of CelebA's lists. "
                f"Received: {self.folder / LANDMARKS} without {missing[0]}"
            )
        return np.reshape([rows[name] for name in self.names], (-1, 5, 2))

    def attribute(self, name: str) -> np.ndarray:
        """bool (n,), one of CelebA's 40 attributes.

        Args:
            name: one of `NAMES`.

        Raises:
            ValueError: for another name.
        """
        if name not in NAMES:
            raise ValueError(
                f"CelebA's attributes are {', '.join(NAMES)}. Received: {name!r}"
            )
        return self.attributes[:, NAMES.index(name)]


def write_dataset(
    output: str | Path,
    people: int,
    pictures: int = 10,
    *,
    size: int | tuple[int, int] = SIZE,
    zoom: float = ZOOM,
    seed: int = 0,
    progress=None,
) -> Path:
    """Writes drawn faces in CelebA's layout, with their known truth beside them.

    Persons 0, 1, ... fall eight in ten to the training partition, one to each other.
    `truth.csv` holds every number of every face (`looks`), pose among them.

    Args:
        output: Folder to make; it must not exist or be empty.
        people: number of persons, at least 1.
        pictures: faces of each, at least 1.
        size: height and width in pixels, or (height, width).
        zoom: as in `draw`.
        seed: not negative.
        progress: `None` or a function called with `(done, total)`.

    Returns:
        The folder.

    Raises:
        FileExistsError: there is something in `output` already.
        ValueError: for a number out of range.
    """
    faces = sample(people, pictures, seed=seed)
    names = [f"{i + 1:06d}.jpg" for i in range(len(faces))]
    with new_directory(output) as folder:
        (folder / PICTURES).mkdir()
        for i, name in enumerate(names):
            picture = draw(faces[i : i + 1], size, zoom=zoom)[0]
            images.save(folder / PICTURES / name, picture)
            if progress and ((i + 1) % 100 == 0 or i + 1 == len(names)):
                progress(i + 1, len(names))
        points = np.rint(landmarks(faces, size, zoom=zoom)).astype(int)
        partition = np.array([0] * 8 + [1, 2])[faces.identity % 10]
        signs = np.where(celeba_attributes(faces), 1, -1)
        write_rows(folder / IDENTITIES, names, faces.identity[:, None] + 1)
        write_rows(folder / PARTITIONS, names, partition[:, None])
        write_rows(folder / ATTRIBUTE_LIST, names, signs, NAMES)
        write_rows(folder / LANDMARKS, names, points.reshape(-1, 10), POINTS)
        _write_truth(folder / TRUTH, names, faces)
    return Path(output)


def split_within(
    identity: np.ndarray, share: float = 0.8, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Parts pictures so that everybody is on both sides, as far as can be.

    CelebA's own partitions have no person in common, so that a classifier over persons
    cannot be tested with them. All pictures are taken together instead, and of each
    person's, in an order drawn at random, the i-th of n (from 0) is for training if
    `i / n < share`.

    Args:
        identity: int (n,), the person in each picture.
        share: of each person's pictures that is for training, in [0, 1]; rounded up, so
            that who has one picture only is trained on.
        seed: of the order, not negative. A person's pictures are parted alike whoever
            else is there.

    Returns:
        Two arrays of indices, ascending: for training, and for testing.

    Raises:
        ValueError: if an argument is out of range.
    """
    identity = np.asarray(identity)
    if identity.ndim != 1 or identity.dtype.kind not in "iu" or not 0 <= share <= 1:
        raise ValueError(
            "Expected whole numbers (n,) and a share in [0, 1]. Received: "
            f"{identity.dtype} of shape {identity.shape}, share={share}"
        )
    training = np.zeros(len(identity), bool)
    order = np.argsort(identity, kind="stable")
    people, first = np.unique(identity[order], return_index=True)
    groups = np.split(order, first[1:]) if len(people) else []
    for person, pictures in zip(people.tolist(), groups, strict=True):
        random = np.random.default_rng([seed, person % 2**32])  # none is negative
        place = random.permutation(len(pictures))
        training[pictures] = place / len(pictures) < share
    return np.flatnonzero(training), np.flatnonzero(~training)


def celeba_attributes(faces: Faces) -> np.ndarray:
    """CelebA's attributes of drawn faces, as far as they have them.

    Args:
        faces: n of them.

    Returns:
        bool (n, 40), in the order of `NAMES`; what is never drawn is False.
    """
    value = faces.column
    male, age, smile = value("gender") > 0.5, value("age"), value("smile")
    grey, shade = age > 0.75, value("hair_shade")
    truth = {
        "Bags_Under_Eyes": age > 0.5,
        "Big_Lips": value("lip_fullness") > 0.5,
        "Big_Nose": value("nose_width") > 0.5,
        "Black_Hair": ~grey & (shade < -0.6),
        "Blond_Hair": ~grey & (shade > 0.6),
        "Brown_Hair": ~grey & (abs(shade) <= 0.6),
        "Bushy_Eyebrows": value("brow_weight") > 0.5,
        "Eyeglasses": value("glasses") > 0.5,
        "Gray_Hair": grey,
        "Male": male,
        "Mouth_Slightly_Open": smile > 0.1,
        "No_Beard": ~male | (value("beard") < 0.1),
        "Pale_Skin": value("skin") > 0.6,
        "Receding_Hairline": male & (age > 0.8),
        "Smiling": smile > 0.0,
        "Straight_Hair": np.ones(len(faces), bool),
        "Wearing_Lipstick": ~male,
        "Young": age < 0.5,
    }
    columns = [truth.get(name, np.zeros(len(faces), bool)) for name in NAMES]
    return np.stack(columns, 1)


def read_truth(folder: str | Path) -> Faces:
    """Reads `truth.csv`: the parameters that a folder's faces were drawn from.

    Args:
        folder: what `write_dataset` wrote.

    Returns:
        The faces, in the order of their files.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not what `write_dataset` writes.
    """
    path = Path(folder) / TRUTH
    columns = ("image_id", "identity", *TRAITS, *ATTRIBUTES, *SCENE)
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = [row for _, row in read_csv(file, path)] or [()]
    if tuple(header) != columns or any(len(row) != len(columns) for row in rows):
        raise ValueError(f"The columns must be {', '.join(columns)}. Received: {path}")
    numbers = np.array([row[1:] for row in rows], float).reshape(-1, len(columns) - 1)
    if not np.isfinite(numbers).all():
        raise ValueError(f"The numbers must be finite. Received: {path}")
    edges = np.cumsum([1, len(TRAITS), len(ATTRIBUTES)])
    identity, traits, attributes, scene = np.split(numbers, edges, 1)
    return Faces(identity[:, 0].astype(int) - 1, traits, attributes, scene)


def read_column(path: Path) -> dict[str, int]:
    """Reads a list of one whole number for each picture, as `identity_CelebA.txt`.

    Args:
        path: the file.

    Returns:
        The numbers by the pictures' names, in the file's order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not as it should be.
    """
    return {name: values[0] for name, values in _read_rows(path, 1).items()}


def write_column(path: Path, names: Sequence[str], numbers: np.ndarray) -> None:
    """Writes such a list, whole or not at all.

    Args:
        path: the file; one that is there is replaced.
        names: of n pictures.
        numbers: int (n,).
    """
    with atomic_path(path) as partial:
        write_rows(partial, names, np.asarray(numbers)[:, None])


def write_rows(
    path: Path, names: Sequence[str], numbers: np.ndarray, header=None
) -> None:
    """Writes a list of several whole numbers for each picture.

    Args:
        path: the file.
        names: of n pictures.
        numbers: int (n, m).
        header: the columns' names, for the lists that have them.
    """
    lines = [
        " ".join([n, *map(str, row)]) for n, row in zip(names, numbers, strict=True)
    ]
    if header:
        lines = [str(len(names)), " ".join(header), *lines]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_truth(path, names, faces) -> None:
    numbers = np.concatenate([faces.traits, faces.attributes, faces.scene], 1)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "identity", *TRAITS, *ATTRIBUTES, *SCENE])
        for name, person, row in zip(names, faces.identity, numbers, strict=True):
            writer.writerow([name, person + 1, *map(repr, row.tolist())])


def _read_attributes(path: Path) -> dict[str, list[bool]]:
    rows = _read_rows(path, len(NAMES), header=NAMES)
    return {name: [value > 0 for value in row] for name, row in rows.items()}


def _read_rows(path: Path, width: int, header=None) -> dict[str, list[int]]:
    if not path.is_file():
        raise FileNotFoundError(f"CelebA's folder lacks a file. Received: {path}")
    lines = path.read_text(encoding="utf-8").splitlines()
    first = 2 if header else 0
    if header and tuple("".join(lines[1:2]).split()) != header:
        raise ValueError(
            f"Line 2 must hold CelebA's {len(header)} names. Received: {path}"
        )
    rows = {}
    for number, line in enumerate(lines[first:], first + 1):
        name, *values = line.split() or [""]
        try:
            row = [int(value) for value in values]
        except ValueError:
            row = []
        fits = all(abs(value) < 2**63 for value in row)  # an int64
        plain = is_plain_name(name)
        if not (fits and plain) or len(row) != width or name in rows:
            raise ValueError(
                f"A line must hold a picture's plain name, once, and {width} whole "
                f"number{'s' * (width > 1)}. Received: line {number} of {path}: "
                f"{line!r}"
            )
        rows[name] = row
    if not rows:
        raise ValueError(f"The list holds no picture. Received: {path}")
    return rows

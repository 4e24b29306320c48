"""Pictures of known persons in CelebA's layout, parted within each person."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfpriv.faces import CelebA, split_within
from tfpriv.faces.celeba import PICTURES, read_column, write_column
from tfpriv.support import images
from tfpriv.support.files import same_contents
from tfpriv.support.warning import warn

SPLIT = "list_split_within.txt"  # beside CelebA's lists: 0 for training, 1 for testing
_AT_ONCE = 256  # pictures in memory


@dataclasses.dataclass(frozen=True)
class People:
    """A data set whose persons are all on both sides, as far as they can be.

    Attributes:
        celeba: the lists of the data set, n pictures.
        labels: int (n,), each person's number: 0, 1, ... in the order of CelebA's.
        training: int, the pictures to train with, ascending.
        testing: int, the others, ascending.

    Raises:
        ValueError: if a picture is on both sides or on none, or somebody is tested
            whom nothing is known of.
    """

    celeba: CelebA
    labels: np.ndarray
    training: np.ndarray
    testing: np.ndarray

    def __post_init__(self):
        sides = np.concatenate([self.training, self.testing])
        if not np.array_equal(np.sort(sides), np.arange(len(self.celeba))):
            raise ValueError(
                "Every picture must be on one side of the split, and on one only. "
                f"Received: {len(sides)} on both sides, of {len(self.celeba)}"
            )
        known = np.isin(self.labels[self.testing], self.labels[self.training])
        if not known.all():
            odd = self.celeba.names[self.testing[~known][0]]
            raise ValueError(
                "Who is tested must be trained on; CelebA's partitions part persons. "
                f"Received: {odd}, the only side of its person"
            )

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "People":
        """Reads a folder in CelebA's layout.

        The split is that of `list_split_within.txt`, if there is one; else the
        published one: 80 % of each person's pictures for training.

        Args:
            folder: as `faces.CelebA.load` takes it.

        Raises:
            FileNotFoundError: a list is missing.
            ValueError: a list is damaged, or does not fit the others.
        """
        celeba = CelebA.load(folder)
        if not (Path(folder) / SPLIT).is_file():
            return cls.parted(celeba)
        sides = read_column(Path(folder) / SPLIT)
        if sides.keys() != set(celeba.names) or not {*sides.values()} <= {0, 1}:
            path = Path(folder) / SPLIT
            raise ValueError(f"Expected 0 or 1 for every picture. Received: {path}")
        tested = np.array([sides[name] for name in celeba.names], bool)
        return cls._of(celeba, np.flatnonzero(~tested), np.flatnonzero(tested))

    @classmethod
    def parted(cls, celeba: CelebA, share: float = 0.8, seed: int = 0) -> "People":
        """Parts the pictures of a data set.

        Args:
            celeba: the data set.
            share: as for `faces.split_within`.
            seed: as for `faces.split_within`.
        """
        return cls._of(celeba, *split_within(celeba.identity, share, seed))

    @classmethod
    def _of(cls, celeba, training, testing):
        _, labels = np.unique(celeba.identity, return_inverse=True)
        return cls(celeba, labels, training, testing)

    def save_split(self) -> Path:
        """Writes `list_split_within.txt` into the data set's folder.

        Raises:
            FileExistsError: there is another split. A network that was trained by it
                would be tested on pictures that it was trained with.
        """
        tested = np.zeros(len(self.celeba), int)
        tested[self.testing] = 1
        path = self.celeba.folder / SPLIT
        wanted = dict(zip(self.celeba.names, tested.tolist(), strict=True))
        if path.is_file() and read_column(path) != wanted:
            raise FileExistsError(
                "The data set is split in another way already, by which networks may "
                f"have been trained; remove it, or keep it. Received: {path}"
            )
        write_column(path, self.celeba.names, tested)
        return path

    @property
    def classes(self) -> int:
        """Number of persons."""
        return int(self.labels.max()) + 1

    def pictures(self, rows: np.ndarray, size: int, progress=None) -> np.ndarray:
        """Reads pictures.

        Args:
            rows: int (m,), which ones.
            size: to which their middle square is brought, in pixels.
            progress: `None`, or a function called with `(done, total)`.

        Returns:
            uint8 (m, size, size, 3).
        """
        return images.load_many(self.paths(rows), size, progress=progress)

    def paths(self, rows: np.ndarray) -> list[Path]:
        """The files of pictures."""
        folder = self.celeba.folder / PICTURES
        return [folder / self.celeba.names[row] for row in rows]

    def warn_of_copies(self, rows: np.ndarray, unit: np.ndarray) -> None:
        """Warns of images that are copies of each other and in different units.

        Args:
            rows: int (m,), the images to train with.
            unit: int (m,), the privacy unit of each.
        """
        paths = self.paths(rows)
        unit_of = dict(zip(paths, unit.tolist(), strict=True))
        groups = same_contents(paths)
        copies = [group for group in groups if len({unit_of[p] for p in group}) > 1]
        if copies:
            warn(
                "Some images appear in several privacy units, as copies under other "
                "names: epsilon holds for one unit only. Expected every image in one "
                f"unit. Received: {len(copies)} images with copies, the first: "
                f"{copies[0][0]} and {copies[0][1]}"
            )

    def embedded(
        self,
        rows: np.ndarray,
        embed: Callable[[np.ndarray], np.ndarray],
        size: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Embeds pictures without holding them all.

        Args:
            rows: int (m,), which ones; one at least.
            embed: a function from pictures to arrays, such as that of a `FaceNet`.
            size: as for `pictures`.
            progress: `None`, or a function called with `(done, total)`.

        Returns:
            What `embed` returns, (m, ...).

        Raises:
            ValueError: there are no pictures.
        """
        if not len(rows):
            raise ValueError(f"Expected images. Received: none of {self.celeba.folder}")
        parts = []
        for first in range(0, len(rows), _AT_ONCE):
            part = rows[first : first + _AT_ONCE]
            parts.append(embed(self.pictures(part, size)))
            if progress:
                progress(first + len(part), len(rows))
        return np.concatenate(parts)

    def first_training(self, label: int) -> int:
        """The first picture of a person to train with: their target, as published."""
        return int(self.training[self.labels[self.training] == label][0])

"""Faces followed from one picture of a video to the next."""

from collections.abc import Sequence

from tfpriv.faces.large import overlap
from tfpriv.inpainting.photos.boxes import Box

SAME = 0.3  # share of what two boxes cover together from which they are of one person
PATIENCE = 5  # pictures


class Tracker:
    """Numbers persons by where their faces are, and covers faces that flicker.

    A detector misses a face now and then, and one picture with it would undo all the
    others. Where a face was in the picture before and none is found now, its last place
    stays covered for some pictures.

    Args:
        patience: for how many.
    """

    def __init__(self, patience: int = PATIENCE):
        self.patience = patience
        self._last: dict[int, tuple[Box, int]] = {}  # and pictures since it was found
        self._count = 0

    def __call__(self, found: Sequence[Box]) -> list[Box]:
        """Numbers the faces of the next picture.

        Args:
            found: its faces; one that has a number keeps it.

        Returns:
            The faces, in their order, each with the number of its person; behind them
            those that were not found, without a confidence.
        """
        numbers = self._matched(found)
        self._count = max([self._count, *(n + 1 for n in numbers if n is not None)])
        for i, number in enumerate(numbers):
            if number is None:
                numbers[i] = self._count
                self._count += 1
        faces = [b._replace(track=n) for b, n in zip(found, numbers, strict=True)]
        missed = {
            number: (last._replace(confidence=None), age + 1)
            for number, (last, age) in self._last.items()
            if number not in numbers and age < self.patience
        }
        self._last = {face.track: (face, 0) for face in faces} | missed
        return faces + [last for last, _ in missed.values()]

    def _matched(self, found) -> list[int | None]:
        """Numbers of persons who were there before, the closest first."""
        numbers = [box.track for box in found]
        pairs = sorted(
            (-overlap(box.place, last.place), number, i)
            for i, box in enumerate(found)
            if box.track is None
            for number, (last, _) in self._last.items()
        )
        for share, number, i in pairs:
            if -share >= SAME and numbers[i] is None and number not in numbers:
                numbers[i] = number
        return numbers

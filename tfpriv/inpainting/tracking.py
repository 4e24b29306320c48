"""Faces followed from one picture of a video to the next."""

from collections.abc import Sequence

from tfpriv.faces.large import overlap
from tfpriv.inpainting.boxes import Box

SAME = 0.3  # share of what two boxes cover together from which they are of one person
PATIENCE = 5  # pictures for which a face that is not found stays covered


class Tracker:
    """Numbers persons by where their faces are, and covers faces that flicker.

    A detector misses a face now and then. One picture with it would undo all others:
    where a face was in the picture before and is none now, its last place is covered
    for up to 5 pictures more.
    """

    def __init__(self):
        self._last: dict[int, tuple[Box, int]] = {}  # and pictures since it was found
        self._count = 0

    def __call__(self, found: Sequence[Box]) -> list[Box]:
        """Numbers the faces of the next picture.

        Args:
            found: its faces; those with a number keep it.

        Returns:
            The faces, in their order, each with the number of its person; behind them
            those that were not found, without a confidence.
        """
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
        for i, number in enumerate(numbers):
            if number is None:
                numbers[i] = max([self._count - 1, *(n for n in numbers if n)]) + 1
            self._count = max(self._count, numbers[i] + 1)
        faces = [b._replace(track=n) for b, n in zip(found, numbers, strict=True)]
        missed = {
            number: (last._replace(confidence=None), age + 1)
            for number, (last, age) in self._last.items()
            if number not in numbers and age < PATIENCE
        }
        self._last = {face.track: (face, 0) for face in faces} | missed
        return faces + [last for last, _ in missed.values()]

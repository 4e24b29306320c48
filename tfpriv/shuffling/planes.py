"""Which planes of a network share a permutation.

Adding two planes needs both in the same order, and an activation keeps the order, so
their planes form a group. A convolution or pooling reads one group and writes another.
Each group gets a permutation of its own, drawn from a key of its own.
"""

from tfpriv.shuffling.purposes import layer_purpose, picture_purpose


class Planes:
    """A group of planes of one size, in one order; groups merge, never part.

    Args:
        size: (height, width) in pixels.
        layer: name of the layer that writes the first of them; `None` for the input.
    """

    def __init__(self, size: tuple[int, int], layer: str | None):
        self.size = size
        self._layer = layer
        self._merged_into: Planes | None = None
        self._is_picture = layer is None

    def group(self) -> "Planes":
        """The planes that stand for the whole group."""
        planes = self
        while planes._merged_into is not None:
            planes = planes._merged_into
        return planes

    def merge(self, other: "Planes") -> None:
        """Puts two groups into one.

        Args:
            other: planes of the same size.
        """
        mine, theirs = self.group(), other.group()
        if mine is not theirs:
            theirs._merged_into = mine
            mine._is_picture |= theirs._is_picture

    def shuffle_as_picture(self) -> None:
        """Shuffles the group as `tfpriv.shuffling.shuffle` shuffles pictures.

        For what goes in or comes out, whose holder has the key and not the network.
        """
        self.group()._is_picture = True

    @property
    def positions(self) -> int:
        """Height times width."""
        return self.size[0] * self.size[1]

    def purpose(self, mode: str) -> str:
        """What the group's key is derived for.

        Args:
            mode: `"fixed"` or `"per picture"`.

        Returns:
            The purpose that `Key.derive` takes.
        """
        group = self.group()
        if group._is_picture:
            return picture_purpose(*self.size, mode)
        return layer_purpose(group._layer, *self.size, mode)

"""What each weight is called in diffusers' files, and how it lies there."""

from collections.abc import Iterator

import keras
import numpy as np

from tfpriv.networks.diffusion.blocks import GroupNorm

# Axes of a file's array in the order in which ours has them.
_DENSE, _CONVOLUTION = (1, 0), (2, 3, 1, 0)


class Weight:
    """A weight of ours and its place in a file.

    Args:
        name: In the file.
        variable: Ours.
        axes: Axes of the file's array in our order; `None`: as they are.
        flat: Shape of ours with some axes joined, if the file has them so.
    """

    def __init__(self, name, variable, axes=None, flat=None):
        self.name, self.variable = name, variable
        self._flat = tuple(variable.shape) if flat is None else flat
        self._axes = tuple(range(len(self._flat))) if axes is None else axes

    @property
    def shape(self) -> tuple[int, ...]:
        """In the file."""
        return tuple(self._flat[self._axes.index(n)] for n in range(len(self._flat)))

    def assign(self, array: np.ndarray) -> None:
        """Takes the value from an array as it lies in the file."""
        array = array.transpose(self._axes)
        self.variable.assign(array.reshape(self.variable.shape))

    def array(self) -> np.ndarray:
        """The value as it lies in the file."""
        array = np.asarray(self.variable).reshape(self._flat)
        return np.ascontiguousarray(array.transpose(np.argsort(self._axes)))


def weights(block, prefix: str = "") -> Iterator[Weight]:
    """All weights of a network.

    Args:
        block: A layer with named `parts`, or one of the layers that they end in.
        prefix: Put before each name.
    """
    if hasattr(block, "parts"):
        for name, part in block.parts.items():
            yield from weights(part, f"{prefix}{name}.")
    else:
        yield from _leaf(block, prefix)


def _leaf(layer, prefix):
    if isinstance(layer, keras.layers.Dense):
        yield Weight(f"{prefix}weight", layer.kernel, _DENSE)
    elif isinstance(layer, keras.layers.Conv2D):
        yield Weight(f"{prefix}weight", layer.kernel, _CONVOLUTION)
    elif isinstance(layer, GroupNorm | keras.layers.LayerNormalization):
        yield Weight(f"{prefix}weight", layer.gamma)
        yield Weight(f"{prefix}bias", layer.beta)
        return
    else:
        raise TypeError(f"{layer.name} has no name in diffusers' files")
    if layer.bias is not None:
        yield Weight(f"{prefix}bias", layer.bias)

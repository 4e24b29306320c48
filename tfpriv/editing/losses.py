"""How far a generated face is from the one that is to be inverted.

A loss is called with generated and wanted pictures, float (n, height, width, 3) about
-1 to 1, and returns (n,): no picture's loss depends on another's.
"""

from collections.abc import Callable, Sequence

import keras
from keras import ops

from tfpriv.support import images

# The seed's eight layers of VGG-16, by their numbers in torchvision.
SEED_LAYERS = (1, 3, 6, 8, 11, 15, 22, 29)

Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]


class PixelLoss:
    """The mean square of the pixels' differences."""

    def __call__(self, generated, wanted):
        """Returns (n,)."""
        return ops.mean(ops.square(generated - wanted), (1, 2, 3))


class FeatureLoss:
    """The mean square of the differences of a network's feature maps.

    Args:
        network: a model from pictures (n, size, size, 3), 0 to 255, to a list of
            feature maps (n, h, w, c): `vgg.features`, or `faces.reader.feature_maps`.
            Pictures are brought to its size, if it has one.
        layer_weights: of each map; by default 1.

    Raises:
        ValueError: for another number of weights than the network has maps.
    """

    def __init__(
        self, network: keras.Model, layer_weights: Sequence[float] | None = None
    ):
        count = len(network.outputs)
        layer_weights = [1.0] * count if layer_weights is None else layer_weights
        if len(layer_weights) != count:
            raise ValueError(
                f"The network has {count} feature maps. Received: "
                f"{len(layer_weights)} weights"
            )
        self._network, self._layer_weights = network, tuple(layer_weights)
        self._size = network.input.shape[1:3]

    def __call__(self, generated, wanted):
        """Returns (n,)."""
        pairs = zip(self._maps(generated), self._maps(wanted), strict=True)
        return sum(
            weight * ops.mean(ops.square(a - b), (1, 2, 3))
            for weight, (a, b) in zip(self._layer_weights, pairs, strict=True)
        )

    def _maps(self, pictures):
        pictures = images.to_values(pictures)
        if None not in self._size and pictures.shape[1:3] != self._size:
            pictures = ops.image.resize(pictures, self._size, antialias=True)
        return keras.tree.flatten(self._network(pictures, training=False))


class ChannelDifference:
    """How far a picture is from grey, whatever is wanted.

    The seed adds this with a weight of 2.5 and calls it colour diversity; since it is
    made small, it takes colour away. For comparison only.
    """

    def __call__(self, generated, wanted):
        """Returns (n,)."""
        pictures = (generated + 1) / 2
        turned = ops.roll(pictures, 1, axis=-1)
        return 3 * ops.mean(ops.square(pictures - turned), (1, 2, 3))


class Sum:
    """Several losses, each with its weight.

    Args:
        **parts: name=(weight, loss).

    Attributes:
        names: of the parts.
    """

    def __init__(self, **parts: tuple[float, Loss]):
        self.names = tuple(parts)
        self._parts = parts

    def __call__(self, generated, wanted):
        """Returns (n,)."""
        return sum(
            weight * loss(generated, wanted) for weight, loss in self._parts.values()
        )

"""How each kind of layer is run on shuffled planes.

* `POSITIONWISE` layers treat all positions alike: they run as they are, and what comes
  out is in the order of what came in.
* `REORDERED` layers look at neighbours. Where `tfpriv.shuffling.layers.keyed` knows
  them they read shuffled planes directly; else the planes are put in order before and
  shuffled after.
* `POOLED` layers make one position of all, in whatever order.

Everything else that meets a shuffled plane is refused by name.
"""

import keras
import numpy as np

from tfpriv.shuffling.layers import keyed


def _layers(names: str) -> tuple[type[keras.layers.Layer], ...]:
    return tuple(getattr(keras.layers, name) for name in names.split())


def _operations(names: str) -> frozenset[str]:
    """Names of operations of keras.ops, whose classes are not public."""
    return frozenset(names.split())


MERGES = _layers("Add Average Concatenate Maximum Minimum Multiply Subtract")
POSITIONWISE = MERGES + _layers(
    """
    Activation ActivityRegularization AlphaDropout BatchNormalization Dense Dropout ELU
    GaussianDropout GaussianNoise GroupNormalization Identity LayerNormalization
    LeakyReLU Normalization PReLU ReLU Rescaling Softmax SpatialDropout2D
    UnitNormalization
    """
)
REORDERED = _layers(
    """
    AveragePooling2D Conv2D Conv2DTranspose Cropping2D DepthwiseConv2D Flatten
    MaxPooling2D Reshape Resizing SeparableConv2D UpSampling2D ZeroPadding2D
    """
)
POOLED = _layers("GlobalAveragePooling2D GlobalMaxPooling2D")
POSITIONWISE_OPERATIONS = _operations(
    """
    Abs Add Clip Divide Elu Gelu HardSigmoid HardSilu HardSwish LeakyRelu Maximum
    Minimum Multiply Negative Relu Relu6 Selu Sigmoid Silu Softplus Softsign Sqrt Square
    Subtract Tanh TrueDivide
    """
)
REORDERED_OPERATIONS = _operations("Pad Reshape")


def is_positionwise(operation: keras.Operation) -> bool:
    """Says whether an operation treats all positions of its planes alike.

    Args:
        operation: a layer or another operation of a model's graph.

    Returns:
        Whether it does, as it is configured.
    """
    if _name_in_keras_ops(operation) in POSITIONWISE_OPERATIONS:
        return True
    if type(operation) not in POSITIONWISE:
        return False
    if isinstance(operation, keras.layers.PReLU):
        return {1, 2} <= set(operation.shared_axes or ())
    if isinstance(operation, keras.layers.Rescaling):
        return max(np.ndim(operation.scale), np.ndim(operation.offset)) < 2
    if getattr(operation, "noise_shape", None) is not None:
        return False
    axis = getattr(operation, "axis", -1)
    axes = set(axis) if isinstance(axis, (list, tuple)) else {axis}
    return axes <= {-1, 3}


def is_reordered(operation: keras.Operation) -> bool:
    """Says whether an operation is run through permutations.

    Args:
        operation: a layer or another operation of a model's graph.

    Returns:
        Whether its kind looks at neighbours or at the order, and is known.
    """
    known = (
        type(operation) in REORDERED
        or keyed.is_supported(operation)
        or _name_in_keras_ops(operation) in REORDERED_OPERATIONS
    )
    return known and getattr(operation, "data_format", None) != "channels_first"


def is_pooled(operation: keras.Operation) -> bool:
    """Says whether an operation makes one position of all.

    Args:
        operation: a layer or another operation of a model's graph.

    Returns:
        Whether its result does not depend on the order of the positions.
    """
    return type(operation) in POOLED and operation.data_format == "channels_last"


def _name_in_keras_ops(operation: keras.Operation) -> str | None:
    if type(operation).__module__.startswith("keras.src.ops."):
        return type(operation).__name__
    return None

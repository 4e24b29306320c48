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

_LAYERS = keras.layers
MERGES = (
    _LAYERS.Add,
    _LAYERS.Average,
    _LAYERS.Concatenate,
    _LAYERS.Maximum,
    _LAYERS.Minimum,
    _LAYERS.Multiply,
    _LAYERS.Subtract,
)
POSITIONWISE = (
    *MERGES,
    _LAYERS.Activation,
    _LAYERS.ActivityRegularization,
    _LAYERS.AlphaDropout,
    _LAYERS.BatchNormalization,
    _LAYERS.Dense,
    _LAYERS.Dropout,
    _LAYERS.ELU,
    _LAYERS.GaussianDropout,
    _LAYERS.GaussianNoise,
    _LAYERS.GroupNormalization,
    _LAYERS.Identity,
    _LAYERS.LayerNormalization,
    _LAYERS.LeakyReLU,
    _LAYERS.Normalization,
    _LAYERS.PReLU,
    _LAYERS.ReLU,
    _LAYERS.Rescaling,
    _LAYERS.Softmax,
    _LAYERS.SpatialDropout2D,
    _LAYERS.UnitNormalization,
)
REORDERED = (
    _LAYERS.AveragePooling2D,
    _LAYERS.Conv2D,
    _LAYERS.Conv2DTranspose,
    _LAYERS.Cropping2D,
    _LAYERS.DepthwiseConv2D,
    _LAYERS.Flatten,
    _LAYERS.MaxPooling2D,
    _LAYERS.Reshape,
    _LAYERS.Resizing,
    _LAYERS.SeparableConv2D,
    _LAYERS.UpSampling2D,
    _LAYERS.ZeroPadding2D,
)
POOLED = (_LAYERS.GlobalAveragePooling2D, _LAYERS.GlobalMaxPooling2D)
# Operations of keras.ops that stand in a graph without a layer, by name: their classes
# are not public.
POSITIONWISE_OPERATIONS = frozenset(
    [
        "Abs",
        "Add",
        "Clip",
        "Divide",
        "Elu",
        "Gelu",
        "HardSigmoid",
        "HardSilu",
        "HardSwish",
        "LeakyRelu",
        "Maximum",
        "Minimum",
        "Multiply",
        "Negative",
        "Relu",
        "Relu6",
        "Selu",
        "Sigmoid",
        "Silu",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Square",
        "Subtract",
        "Tanh",
        "TrueDivide",
    ]
)

REORDERED_OPERATIONS = frozenset(["Pad", "Reshape"])


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
    if isinstance(operation, _LAYERS.PReLU):
        return {1, 2} <= set(operation.shared_axes or ())
    if isinstance(operation, _LAYERS.Rescaling):
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

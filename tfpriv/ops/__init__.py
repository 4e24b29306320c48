"""Native TensorFlow ops, each with a reference implementation in `ops.reference`.

Both give the same values. The reference implementation is used when the native library
is missing, and always when the environment variable `TFPRIV_PY_OPS=1` is set.
"""

from tfpriv.ops.convolution import conv_gradients, conv_square_norms, same_padding
from tfpriv.ops.deformable import deformable_conv2d, keyed_offsets
from tfpriv.ops.keyed import keyed_average_pool2d, keyed_conv2d, keyed_max_pool2d
from tfpriv.ops.loader import native_available, why_not_native
from tfpriv.ops.noise import gaussian_noise, noisy_sum
from tfpriv.ops.permutations import invert_permutations, permutations, permute
from tfpriv.ops.row_products import row_products
from tfpriv.ops.stateless import philox_keys, philox_uniform

__all__ = [
    "conv_gradients",
    "conv_square_norms",
    "deformable_conv2d",
    "gaussian_noise",
    "invert_permutations",
    "keyed_average_pool2d",
    "keyed_conv2d",
    "keyed_max_pool2d",
    "keyed_offsets",
    "native_available",
    "noisy_sum",
    "permutations",
    "permute",
    "philox_keys",
    "philox_uniform",
    "row_products",
    "same_padding",
    "why_not_native",
]

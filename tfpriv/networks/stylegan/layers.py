"""What StyleGAN's networks are made of. Pictures are channels last.

Weights are stored as they are trained, with about unit variance, and scaled where they
are used: the equalised learning rate. Where a scale can travel through a product to a
small tensor it does, so that no picture-sized pass is spent on it.
"""

import math

import keras
import numpy as np
from keras import ops

SLOPE = 0.2  # of the leaky ReLU
GAIN = math.sqrt(2.0)  # of layers before it
EPSILON = 1e-8  # under the square roots of the norms


def equalised(gain: float, fan_in: int) -> float:
    """The factor that makes unit weights of so many inputs keep the variance."""
    return gain / math.sqrt(fan_in)


def leaky_relu(x):
    """`x` where positive, a fifth of it elsewhere."""
    return ops.leaky_relu(x, SLOPE)


def pixel_norm(x):
    """Divides vectors `(..., channels)` by their root mean square."""
    square = ops.mean(ops.square(x), axis=-1, keepdims=True)
    return x * ops.rsqrt(square + EPSILON)


def blur(x):
    """Smooths `(n, h, w, c)` by [1, 2, 1] / 4 each way; zeros around."""
    line = np.array([1.0, 2.0, 1.0], np.float32) / 4
    kernel = np.tile(np.outer(line, line)[:, :, None, None], (1, 1, x.shape[-1], 1))
    return ops.depthwise_conv(x, kernel, 1, "same")


def upsampling_kernel(kernel, fused: bool):
    """The four kernels, of 2 x 2 inputs each, by which pictures are doubled.

    Doubling a picture and convolving it looks at 3 x 3 pixels, of which many are the
    same: each of the four outputs over an input pixel sees 2 x 2 inputs only. So does
    the transposed convolution of the other form, whose kernel is the same turned round.

    Args:
        kernel: `(3, 3, inputs, outputs)`.
        fused: Whether the kernel was trained for a transposed convolution.

    Returns:
        `(2, 2, inputs, 4 outputs)` for `up_convolution`.
    """
    if fused:
        kernel = ops.flip(kernel, (0, 1))
    first, middle, last = kernel[0], kernel[1], kernel[2]
    # Rows: for the lower output of the pixel above, then the upper one of that below.
    rows = ops.stack([first + middle, last, first, middle + last])
    first, middle, last = rows[:, 0], rows[:, 1], rows[:, 2]
    both = ops.stack([first + middle, last, first, middle + last], axis=1)
    inputs, outputs = kernel.shape[2:]
    both = ops.reshape(both, (2, 2, 2, 2, inputs, outputs))
    both = ops.transpose(both, (1, 3, 4, 0, 2, 5))
    return ops.reshape(both, (2, 2, inputs, 4 * outputs))


def up_convolution(x, kernel):
    """Doubles and convolves `(n, h, w, c)`, with what `upsampling_kernel` made."""
    x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = ops.depth_to_space(ops.conv(x, kernel, 1, "valid"), 2)
    return x[:, 1:-1, 1:-1]


def down_convolution(x, kernel):
    """Convolves `(n, h, w, c)` by `(3, 3, c, outputs)` and takes means of 2 x 2.

    A mean of four convolutions is a convolution whose kernel is the mean of four.
    """
    wide = ops.pad(kernel, ((1, 1), (1, 1), (0, 0), (0, 0)))
    wide = wide[1:] + wide[:-1]
    return ops.conv(x, (wide[:, 1:] + wide[:, :-1]) / 4, 2, "same")


def picture_mean(x):
    """Means `(n, 1, 1, c)` of `(n, h, w, c)`.

    Row by row first: TensorFlow adds up one number after the other, and a float32 sum
    of a million is off by 1e-4.
    """
    return ops.mean(ops.mean(x, 2, keepdims=True), 1, keepdims=True)


def normalise(x, scale, shift):
    """Adaptive instance normalisation of `(n, h, w, c)`, by styles `(n, 1, 1, c)`.

    Reference: X. Huang, S. Belongie, "Arbitrary Style Transfer in Real-time with
    Adaptive Instance Normalization", ICCV 2017.
    """
    # The mean is taken off first: where it is large, the mean square alone would lose
    # the variance to rounding.
    x = x - picture_mean(x)
    variance = picture_mean(ops.square(x))
    return x * (ops.rsqrt(variance + EPSILON) * scale) + shift


class EqualisedDense(keras.layers.Layer):
    """A dense layer with equalised learning rate.

    Args:
        units: Outputs.
        gain: Of the activation before it.
        rate: Learning rate in units of that of the other layers.
    """

    def __init__(self, units: int, gain: float = GAIN, rate: float = 1.0, **options):
        super().__init__(**options)
        self.units, self.gain, self.rate = units, gain, rate

    def build(self, shape):
        """Creates `kernel` `(inputs, units)` and `bias` `(units,)`."""
        start = keras.initializers.RandomNormal(stddev=1 / self.rate)
        self.kernel = self.add_weight((shape[-1], self.units), start, name="kernel")
        self.bias = self.add_weight((self.units,), "zeros", name="bias")

    def call(self, x):
        """Maps `(n, inputs)` to `(n, units)`."""
        scale = equalised(self.gain, self.kernel.shape[0]) * self.rate
        return ops.matmul(x, self.kernel) * scale + self.bias * self.rate


class EqualisedConv(keras.layers.Layer):
    """A convolution with equalised learning rate, by one of the forms below.

    Args:
        filters: Outputs.
        size: Height and width of the kernel in pixels.
        form: `"same"`; `"up"` doubles the picture, `"fused"` too, with a kernel trained
            for a transposed convolution; `"down"` halves it.
        gain: Of the activation before it.
        use_bias: Whether it adds one.
    """

    def __init__(
        self,
        filters: int,
        size: int = 3,
        form: str = "same",
        *,
        gain: float = GAIN,
        use_bias: bool = False,
        **options,
    ):
        super().__init__(**options)
        self.filters, self.size, self.form = filters, size, form
        self.gain, self.use_bias = gain, use_bias

    def build(self, shape):
        """Creates `kernel` `(size, size, inputs, filters)` and, if asked, `bias`."""
        shape = (self.size, self.size, shape[-1], self.filters)
        start = keras.initializers.RandomNormal(stddev=1.0)
        self.kernel = self.add_weight(shape, start, name="kernel")
        if self.use_bias:
            self.bias = self.add_weight((self.filters,), "zeros", name="bias")

    def call(self, x):
        """Maps `(n, h, w, inputs)` to `(n, h', w', filters)`."""
        fan_in = self.size * self.size * self.kernel.shape[2]
        kernel = self.kernel * equalised(self.gain, fan_in)
        if self.form == "same":
            x = ops.conv(x, kernel, 1, "same")
        elif self.form == "down":
            x = down_convolution(x, kernel)
        else:
            x = up_convolution(x, upsampling_kernel(kernel, self.form == "fused"))
        return x + self.bias if self.use_bias else x

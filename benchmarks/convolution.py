"""Time of the kernels' gradients of a batch: ours per example, TensorFlow's summed.

Usage: python benchmarks/convolution.py
"""

import os
import statistics
import time
from collections.abc import Callable

import tensorflow as tf

from tfpriv.ops import conv_gradients, conv_square_norms, loader, same_padding

EXAMPLES = 64
ROUNDS = 15
# Height and width, channels, filters, stride: kernels of 3x3, padding "SAME".
LAYERS = (
    (32, 3, 32, 1),
    (32, 32, 64, 2),
    (16, 64, 64, 1),
    (16, 64, 128, 2),
    (8, 128, 128, 1),
    (32, 16, 16, 1),
    (4, 256, 256, 1),
)


def competitors(size: int, channels: int, filters: int, stride: int):
    """The competitors, each a function that computes one layer once."""
    output = -(-size // stride)
    inputs = tf.random.normal([EXAMPLES, size, size, channels])
    gradients = tf.random.normal([EXAMPLES, output, output, filters])

    def tensorflow() -> tf.Tensor:
        return tf.raw_ops.Conv2DBackpropFilter(
            input=inputs,
            filter_sizes=[3, 3, channels, filters],
            out_backprop=gradients,
            strides=[1, stride, stride, 1],
            padding="SAME",
        )

    def ours(function: Callable, choice: str) -> Callable:
        def compute():
            os.environ[loader.ENV] = choice  # read once, when the graph is built
            return function(
                inputs,
                gradients,
                (3, 3),
                strides=(stride, stride),
                dilation_rate=(1, 1),
                padding=[same_padding(size, 3, stride, 1)] * 2,
            )

        return compute

    functions = {
        "TensorFlow, sum over the batch": tensorflow,
        "conv_gradients, native": ours(conv_gradients, "0"),
        "conv_gradients, twin": ours(conv_gradients, "1"),
        "conv_square_norms, native": ours(conv_square_norms, "0"),
        "conv_square_norms, twin": ours(conv_square_norms, "1"),
    }
    return {
        name: tf.function(function, autograph=False)
        for name, function in functions.items()
    }


def main() -> None:
    """Prints medians and ratios; the competitors take turns, so that load hits all."""
    for layer in LAYERS:
        functions = competitors(*layer)
        seconds: dict[str, list[float]] = {name: [] for name in functions}
        for turn in range(ROUNDS + 1):
            for name, function in functions.items():
                start = time.perf_counter()
                function()
                if turn > 0:  # the first builds graphs and touches memory
                    seconds[name].append(time.perf_counter() - start)
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        baseline = medians["TensorFlow, sum over the batch"]
        size, channels, filters, stride = layer
        print(f"{size}x{size}, {channels} to {filters} channels, stride {stride}")
        for name, median in medians.items():
            print(f"  {name:32} {1e3 * median:8.1f} ms {median / baseline:6.2f} x")


if __name__ == "__main__":
    main()

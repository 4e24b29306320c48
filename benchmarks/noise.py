"""Time of 4 million float32 normals: ours against TensorFlow's, in one run.

Usage: python benchmarks/noise.py
"""

import os
import statistics
import time
from collections.abc import Callable

import tensorflow as tf

from tfpriv.ops import gaussian_noise, loader

SIZE = 4_000_000
ROUNDS = 15


def draws() -> dict[str, Callable[[], tf.Tensor]]:
    """The competitors, each a function that draws once."""
    key = tf.constant(list(os.urandom(32)), tf.uint8)

    def ours(choice: str) -> Callable[[], tf.Tensor]:
        def draw() -> tf.Tensor:
            os.environ[loader.ENV] = choice
            return gaussian_noise(key, [SIZE])

        return draw

    return {
        "tf.random.normal": lambda: tf.random.normal([SIZE]),
        "tf.random.stateless_normal": lambda: tf.random.stateless_normal(
            [SIZE], [1, 2]
        ),
        "tfpriv gaussian_noise, native": ours("0"),
        "tfpriv gaussian_noise, twin": ours("1"),
    }


def main() -> None:
    """Prints medians and ratios; the competitors take turns, so that load hits all."""
    competitors = draws()
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for turn in range(ROUNDS + 1):
        for name, draw in competitors.items():
            start = time.perf_counter()
            draw()
            if turn > 0:  # the first builds graphs and touches memory
                seconds[name].append(time.perf_counter() - start)
    baseline = statistics.median(seconds["tf.random.normal"])
    print(f"{SIZE:,} float32 values, median of {ROUNDS} draws in turns")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:30} {1e3 * median:8.1f} ms {median / baseline:6.2f} x")


if __name__ == "__main__":
    main()

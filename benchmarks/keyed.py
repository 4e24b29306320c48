"""Keyed networks beside their plain selves: one key, and a permutation per picture.

Usage: python benchmarks/keyed.py [--networks vgg16_bn,preresnet110] [--batches 1,64]
       [--rounds 15]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfpriv.shuffling import Key, keyed, networks, new_nonces, shuffle

TURN_SECONDS = 0.4  # a turn has as many calls as fit, at least one


def inference(model: keras.Model) -> Callable:
    """A graph that classifies a batch."""
    return tf.function(
        lambda inputs, labels: model(inputs, training=False), autograph=False
    )


def training_step(model: keras.Model) -> Callable:
    """A graph that trains on a batch: forward, backward, SGD with momentum."""
    optimizer = keras.optimizers.SGD(1e-6, momentum=0.9)
    optimizer.build(model.trainable_variables)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def step(inputs, labels):
        with tf.GradientTape() as tape:
            value = loss(labels, model(inputs, training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return value

    return tf.function(step, autograph=False)


def competitors(name: str, batch: int, make: Callable) -> dict[str, Callable]:
    """The plain network and its twin in both modes, each a function of nothing."""
    model, key = getattr(networks, name)(), Key.generate()
    twin, nonces = keyed(model, key), new_nonces(batch)
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(batch, 32, 32, 3)).astype("float32")
    labels = tf.constant(rng.integers(0, 10, batch))
    plain, through = make(model), make(twin)
    inputs = {
        "plain": (plain, tf.constant(pictures)),
        "one key": (through, tf.constant(shuffle(pictures, key))),
        "a permutation per picture": (
            through,
            (tf.constant(shuffle(pictures, key, nonces)), tf.constant(nonces)),
        ),
    }
    return {
        name: lambda function=function, x=x: function(x, labels)
        for name, (function, x) in inputs.items()
    }


def take_turns(functions: dict[str, Callable], rounds: int) -> dict[str, list[float]]:
    """Seconds of a call in each round; they take turns, so that load hits all."""
    rng = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
        function()
    for _ in range(rounds):
        for name in rng.permutation(list(functions)):
            start, calls = time.perf_counter(), 0
            while not calls or time.perf_counter() - start < TURN_SECONDS:
                functions[name]()
                calls += 1
            seconds[name].append((time.perf_counter() - start) / calls)
    return seconds


def main() -> None:
    """Prints medians, and the ratio to the plain network with its quartiles."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="vgg16_bn,preresnet110")
    parser.add_argument("--batches", default="1,64")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print("| network | batch | what | pictures | ms | ratio (quartiles) |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in options.networks.split(","):
        for batch in map(int, options.batches.split(",")):
            for what, make in {
                "inference": inference,
                "training step": training_step,
            }.items():
                functions = competitors(name, batch, make)
                seconds = take_turns(functions, options.rounds)
                for pictures, times in seconds.items():
                    pairs = zip(times, seconds["plain"], strict=True)
                    low, middle, high = statistics.quantiles([a / b for a, b in pairs])
                    print(
                        f"| {name} | {batch} | {what} | {pictures} "
                        f"| {1e3 * statistics.median(times):.1f} "
                        f"| {middle:.2f} ({low:.2f} to {high:.2f}) |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()

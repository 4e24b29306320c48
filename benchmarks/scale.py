"""A large logical batch in little memory, and the accounting of many steps.

Usage: python benchmarks/scale.py [--batches 1024,65536] [--steps 1000000]

Each batch is a step of private training of a small CNN on pictures of 32 pixels, in a
process of its own, 256 pictures at a time. The data are counted apart: they lie in
memory once, whatever the batch.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np

MICROBATCH = 256
SIDE = 32


def step(batch: int) -> None:
    """Trains for two steps; prints seconds of the second, peak and the data in MB."""
    import keras

    import tfpriv.dp as dp

    picture = np.random.default_rng(0).random((1, SIDE, SIDE, 3), "float32")
    x = np.repeat(picture, batch, axis=0)
    y = np.arange(batch) % 10
    layers = [
        layer
        for filters in (16, 32, 64)
        for layer in (
            keras.layers.Conv2D(filters, 3, padding="same", activation="relu"),
            keras.layers.MaxPool2D(),
        )
    ]
    ends = [keras.layers.Flatten(), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers, *ends])
    dp.make_private(model, microbatch_size=MICROBATCH)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(dp.DPSGD(0.1, l2_norm_clip=1.0, noise_multiplier=1.0), loss)
    sampler = dp.PoissonSampler((x, y), batch, steps_per_epoch=1)  # every unit, always
    model.fit(sampler, verbose=0)
    start = time.perf_counter()
    model.fit(sampler, verbose=0)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"measured {seconds:.1f} {peak:.0f} {x.nbytes / 1e6:.0f}")


def batches(sizes: list[int]) -> None:
    """Prints the table of batches."""
    print("| logical batch | seconds a step | peak memory, MB | of it the data |")
    print("| --- " * 4 + "|")
    for size in sizes:
        command = [sys.executable, __file__, "--one", str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        (line,) = [s for s in done.stdout.splitlines() if s.startswith("measured")]
        print(f"| {size:,} | {' | '.join(line.split()[1:])} |", flush=True)


def accounting(steps: int) -> None:
    """Prints seconds and epsilon of so many Poisson steps."""
    from tfpriv.accounting import Ledger, mechanisms

    ledger = Ledger()
    mechanism = mechanisms.poisson(1e-3, 2.0, population=1_000_000)
    ledger.record(mechanism, unit="example", purpose="training", count=steps)
    print(f"| accountant, {steps:,} steps | first, s | again, s | epsilon |")
    print("| --- " * 4 + "|")
    for accountant in ("rdp", "pld"):
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            epsilon = ledger.epsilon(1e-7, accountant)
            seconds.append(time.perf_counter() - start)
        cells = f"{seconds[0]:.4f} | {seconds[1]:.4f} | {epsilon:.4f}"
        print(f"| {accountant} | {cells} |", flush=True)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", default="1024,65536")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        step(options.one)
        return
    accounting(options.steps)
    print()
    batches([int(size) for size in options.batches.split(",")])


if __name__ == "__main__":
    main()

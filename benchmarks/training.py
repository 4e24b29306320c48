"""Time and memory of a private training step: tfpriv, its peers, and no privacy.

Usage: python benchmarks/training.py [--network cnn|decoder] [--only NAME,...]
    [--parts time,memory,growth] [--rounds N] [--quick] [--beside FOLDER]

With `--beside`, the default engine of another checkout of tfpriv, its native ops built,
takes turns with this one's.

Peers run in the reference environments (`make reference`); one that is not built is
left out, and that is said. benchmarks/README.md says what the rows are.
"""

import argparse
import dataclasses
import statistics
from pathlib import Path

from competitors import measure
from competitors.process import Competitor
from competitors.workload import PARAMETERS

BATCH = 64
MEMORY_BATCHES = (64, 128, 256)
GROWTH_BATCHES = (16, 32, 64, 128, 256, 512)
PARTS = ("time", "memory", "growth")
DEFAULT_ROUNDS, QUICK_ROUNDS = 15, 5

KERAS2, TORCH, JAX = "keras2", "torch", "jax"  # reference environments


def _nonprivate(name, label, module, form, environment=None):
    return Competitor(
        f"nonprivate-{name}", f"no privacy: {label}", module, form, environment, False
    )


NONPRIVATE = [
    _nonprivate("keras3", "Keras 3 `train_on_batch`", "keras3", "default"),
    _nonprivate("keras3-no-jit", "the same, `jit_compile=False`", "keras3", "no-jit"),
    _nonprivate("keras3-tape", "Keras 3, own `tf.function`", "keras3", "tape"),
    _nonprivate("keras2", "Keras 2 `train_on_batch`", "keras2", "plain", KERAS2),
    _nonprivate("keras2-tape", "Keras 2, own `tf.function`", "keras2", "tape", KERAS2),
]
DEFAULT = Competitor("auto", '**tfpriv**, `engine="auto"` (default)', "keras3", "auto")
OURS = [
    Competitor("vectorized", 'tfpriv, `engine="vectorized"`', "keras3", "vectorized"),
    Competitor("ghost", 'tfpriv, `engine="ghost"`', "keras3", "ghost"),
    DEFAULT,
]
PEERS = [
    Competitor("opacus-hooks", "Opacus, hooks", "opacus_engines", "hooks", TORCH),
    Competitor("opacus-ghost", "Opacus, ghost", "opacus_engines", "ghost", TORCH),
    Competitor(
        "tensorflow-privacy", "tensorflow-privacy", "keras2", "vectorized", KERAS2
    ),
    Competitor(
        "tensorflow-privacy-fast",
        "tensorflow-privacy, fast clipping",
        "keras2",
        "fast",
        KERAS2,
        networks=("decoder",),  # it lacks convolutions and GroupNorm
    ),
    Competitor("jax-privacy", "JAX-Privacy, Keras API", "jax_keras", "vmap", JAX),
]


def main():
    """Measures what was asked for and prints Markdown tables."""
    options = _parse()
    chosen = [c for c in [*NONPRIVATE, *OURS, *PEERS] if _is_asked_for(c, options)]
    if options.beside is not None:
        chosen.append(_of_checkout(options.beside))
    _tell_of_missing(chosen)
    chosen = [c for c in chosen if c.available]
    for network in options.network:
        entrants = [c for c in chosen if network in c.networks]
        print(f"\n## {network}: {PARAMETERS[network]:,} parameters\n", flush=True)
        if {"time", "memory"} & set(options.parts):
            _compare(network, entrants, options)
        if "growth" in options.parts:
            _growth(network, DEFAULT, options.rounds)


def _parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=tuple(PARAMETERS), help="default: both")
    parser.add_argument(
        "--only",
        metavar="NAME,...",
        help="competitors whose names begin so; the non-private ones, to which all are "
        "compared, always run",
    )
    parser.add_argument(
        "--parts", default=",".join(PARTS), help=f"default: {','.join(PARTS)}"
    )
    parser.add_argument("--rounds", type=int, help=f"default: {DEFAULT_ROUNDS}")
    parser.add_argument("--beside", metavar="FOLDER", type=Path)
    parser.add_argument(
        "--quick", action="store_true", help=f"time only, {QUICK_ROUNDS} rounds"
    )
    options = parser.parse_args()
    options.network = [options.network] if options.network else list(PARAMETERS)
    options.parts = ["time"] if options.quick else options.parts.split(",")
    if not set(options.parts) <= set(PARTS):
        parser.error(f"--parts takes {', '.join(PARTS)}. Received: {options.parts}")
    options.rounds = options.rounds or (
        QUICK_ROUNDS if options.quick else DEFAULT_ROUNDS
    )
    return options


def _of_checkout(folder):
    """The default engine of another checkout."""
    label = f"tfpriv in {folder}"
    other = dataclasses.replace(DEFAULT, name="beside", label=label)
    return dataclasses.replace(other, checkout=folder.resolve())


def _is_asked_for(competitor, options):
    if options.only is None or not competitor.private:
        return True
    return competitor.name.startswith(tuple(options.only.split(",")))


def _tell_of_missing(competitors):
    missing = [c for c in competitors if not c.available]
    if not missing:
        return
    environments = " ".join(sorted({c.environment for c in missing}))
    measure.tell(
        f"Not measured: {', '.join(c.name for c in missing)}. Their environments are "
        f"not built; `make reference` or `tests/reference/build.sh {environments}` "
        "builds them."
    )


def _compare(network, entrants, options):
    """One table: time, ratio to the fastest non-private step, memory."""
    times, memory = {}, {}
    if "time" in options.parts:
        measured = measure.take_turns(
            [(c, BATCH) for c in entrants], network, options.rounds
        )
        times = {competitor: seconds for (competitor, _), seconds in measured.items()}
    if "memory" in options.parts:
        measure.tell(f"  peak memory at batch {MEMORY_BATCHES}")
        memory = {c: measure.memory_slope(c, network, MEMORY_BATCHES) for c in entrants}
    base = times.get(fastest(times))
    print(f"A step of {BATCH} examples, {options.rounds} rounds.\n")
    print("| | ms | ratio (quartiles) | MB per further example |")
    print("| --- | --- | --- | --- |")
    for competitor in entrants:
        time = ratio = slope = "-"
        if competitor in times:
            time = f"{1e3 * statistics.median(times[competitor].values()):.0f}"
        if competitor in times and base:
            low, middle, high = measure.ratios(times[competitor], base)
            ratio = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        if memory.get(competitor) is not None:
            slope = f"{memory[competitor]:.1f}"
        print(f"| {competitor.label} | {time} | {ratio} | {slope} |")


def fastest(times):
    """The non-private competitor with the smallest median; `None` without any."""
    medians = {
        competitor: statistics.median(seconds.values())
        for competitor, seconds in times.items()
        if not competitor.private
    }
    return min(medians, key=medians.get, default=None)


def _growth(network, competitor, rounds):
    """Step time over batch sizes, and how far it is from a straight line."""
    entrants = [(competitor, batch) for batch in GROWTH_BATCHES]
    measured = measure.take_turns(entrants, network, rounds)
    medians = {
        batch: statistics.median(seconds.values())
        for (_, batch), seconds in measured.items()
    }
    if len(medians) < 2:
        return  # why, was told above
    line = statistics.linear_regression(list(medians), list(medians.values()))
    print(f"\nStep time of {competitor.label} over the batch:\n")
    print("| batch | ms | ms per example | beside the straight line |")
    print("| --- | --- | --- | --- |")
    for batch, seconds in medians.items():
        off = seconds / (line.intercept + line.slope * batch) - 1
        print(
            f"| {batch} | {1e3 * seconds:.0f} | {1e3 * seconds / batch:.2f} "
            f"| {100 * off:+.0f} % |"
        )


if __name__ == "__main__":
    main()

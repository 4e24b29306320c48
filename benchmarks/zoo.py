"""Step, first step and memory of private training, beside plain Keras, by network.

Usage: python benchmarks/zoo.py [--network NAME,...] [--parts first,time,memory]
    [--rounds N] [--runs N] [--beside FOLDER]

The base is the faster of Keras' two plain steps: by `train_on_batch`, and by a
`tf.function` with a `GradientTape`, whose optimizer is built before. A first step is
that of a fresh process whose model is built: what has to be traced or compiled, and
the step. benchmarks/README.md explains the rest.
"""

import argparse
import dataclasses
import statistics
from pathlib import Path

from competitors import measure
from competitors.process import Competitor, CompetitorError, Process
from competitors.workload import ZOO

PARTS = ("first", "time", "memory")
MEMORY = (1, 2, 4)  # batches, as multiples of the step's

PLAIN = [
    Competitor("plain", "plain, `train_on_batch`", "keras3", "default", private=False),
    Competitor("tape", "plain, `tf.function`", "keras3", "tape", private=False),
]
OURS = Competitor("tfpriv", "tfpriv", "keras3", "auto")


def main():
    """Measures what was asked for and prints a Markdown table."""
    options = _parse()
    entrants = [*PLAIN, OURS]
    if options.beside is not None:
        label, checkout = f"tfpriv in {options.beside}", options.beside.resolve()
        entrants.append(
            dataclasses.replace(OURS, name="beside", label=label, checkout=checkout)
        )
    private = [e for e in entrants if e.private]
    print("| network | batch | | step, ms | ratio (quartiles) | first step, s | MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for network in options.network:
        batch, _ = ZOO[network]
        time = _steps(entrants, network, batch, options)
        first = _first_steps(entrants, network, batch, options)
        memory = _memory(entrants, network, batch, options)
        for entrant in [*PLAIN, *private]:
            cells = [network, batch, entrant.label]
            cells += [part.get(entrant, "-") for part in time]
            cells += [first.get(entrant, "-"), memory.get(entrant, "-")]
            print("|", " | ".join(map(str, cells)), "|", flush=True)


def _parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", metavar="NAME,...", default=",".join(ZOO))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=15, help="of steps, in turns")
    parser.add_argument("--runs", type=int, default=3, help="of first steps")
    parser.add_argument("--beside", metavar="FOLDER", type=Path)
    options = parser.parse_args()
    options.network = options.network.split(",")
    options.parts = options.parts.split(",")
    for name, known in (("network", ZOO), ("parts", PARTS)):
        if not set(getattr(options, name)) <= set(known):
            parser.error(f"--{name} takes {','.join(known)}.")
    return options


def _steps(entrants, network, batch, options):
    """Median time of a step, and its ratio to the base: texts by competitor."""
    if "time" not in options.parts:
        return {}, {}
    measured = measure.take_turns(
        [(e, batch) for e in entrants], network, options.rounds
    )
    times = {entrant: seconds for (entrant, _), seconds in measured.items()}
    medians = {e: statistics.median(seconds.values()) for e, seconds in times.items()}
    base = min((e for e in PLAIN if e in times), key=medians.get)
    ratios = {e: measure.ratios(seconds, times[base]) for e, seconds in times.items()}
    return (
        {e: f"{1e3 * seconds:.1f}" for e, seconds in medians.items()},
        {e: f"{r[1]:.2f} ({r[0]:.2f} to {r[2]:.2f})" for e, r in ratios.items()},
    )


def _first_steps(entrants, network, batch, options):
    """Median seconds of a first step, and its ratio to plain Keras' faster one."""
    if "first" not in options.parts:
        return {}
    seconds = {entrant: [] for entrant in entrants}
    for _ in range(options.runs):
        for entrant in entrants:
            process = Process(entrant, network, batch)
            try:
                process.build()
                seconds[entrant].append(process.ask("step 1"))
            except CompetitorError as failure:
                measure.tell(str(failure))
            finally:
                process.quit()
    medians = {e: statistics.median(found) for e, found in seconds.items() if found}
    base = min(medians[e] for e in PLAIN if e in medians)
    return {e: f"{s:.1f} ({s / base:.1f} x)" for e, s in medians.items()}


def _memory(entrants, network, batch, options):
    """MB of memory per further example."""
    if "memory" not in options.parts:
        return {}
    batches = [batch * multiple for multiple in MEMORY]
    slopes = {e: measure.memory_slope(e, network, batches) for e in entrants}
    return {e: f"{slope:.3f}" for e, slope in slopes.items() if slope is not None}


if __name__ == "__main__":
    main()

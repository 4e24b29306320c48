"""Time by taking turns, memory by fresh processes."""

import contextlib
import random
import statistics
import sys

from competitors.process import CompetitorError, Process

TURN_SECONDS = 0.6  # a turn has as many steps as fit, at least one
MOST_STEPS = 20
SLOW_SECONDS = 3.0  # whose step takes longer takes part in every fifth round only
SLOW_EVERY = 5


def take_turns(entrants, network, rounds):
    """Seconds of a step, all competitors in turns so that load on the machine hits all.

    While one steps the others are blocked on their pipes. The order changes from round
    to round.

    Args:
        entrants: List of `(competitor, batch size)`.
        network: `"cnn"` or `"decoder"`.
        rounds: How often everyone has a turn.

    Returns:
        Dict from entrant to a dict from round to seconds; without those that failed.
    """
    order = random.Random(0)
    with contextlib.ExitStack() as stack:
        turns = _warm(_start(stack, entrants, network))
        times = {entrant: {} for entrant in turns}
        for number in range(rounds):
            for entrant in order.sample(list(times), len(times)):
                process, steps, every = turns[entrant]
                if number % every:
                    continue
                try:
                    times[entrant][number] = process.ask(f"step {steps}")
                except CompetitorError as failure:
                    tell(str(failure))
                    del times[entrant]
            tell(f"  round {number + 1} of {rounds}")
    return times


def _start(stack, entrants, network):
    running = {}
    for competitor, batch in entrants:
        process = Process(competitor, network, batch)
        stack.callback(process.quit)
        running[competitor, batch] = process
    return running


def _warm(running):
    """Dict from entrant to (process, steps in a turn, rounds from turn to turn)."""
    turns = {}
    for (competitor, batch), process in running.items():
        try:
            process.build()
            seconds = process.ask("warm")
        except CompetitorError as failure:
            tell(str(failure))
            continue
        steps = max(1, min(MOST_STEPS, round(TURN_SECONDS / seconds)))
        every = SLOW_EVERY if seconds > SLOW_SECONDS else 1
        turns[competitor, batch] = process, steps, every
        tell(f"  warm: {competitor.name}, batch {batch}, {seconds:.3f} s")
    return turns


def ratios(times, base):
    """Quartiles of the ratio to the base's time in the same round.

    Args:
        times: Dict from round to seconds.
        base: The same for the base.

    Returns:
        `(lower quartile, median, upper quartile)`.
    """
    found = [seconds / base[turn] for turn, seconds in times.items() if turn in base]
    if len(found) == 1:
        return found[0], found[0], found[0]
    return tuple(statistics.quantiles(found, n=4, method="inclusive"))


def memory_slope(competitor, network, batches, steps=2):
    """MB of memory per further example.

    The peak while stepping, of a fresh process for each batch size; the slope of the
    least-squares line through them.

    Returns:
        MB per example, or `None` where a process failed.
    """
    peaks = []
    for batch in batches:
        process = Process(competitor, network, batch)
        try:
            process.build()
            process.ask("step 1")  # builds and traces, which takes memory of its own
            peaks.append(process.ask(f"peak {steps}"))
        except CompetitorError as failure:
            tell(str(failure))
            return None
        finally:
            process.quit()
    tell(f"  {competitor.name}: " + ", ".join(f"{p:.0f}" for p in peaks) + " MB")
    return statistics.linear_regression(batches, peaks).slope


def tell(text):
    """Progress, apart from the tables on standard output."""
    print(text, file=sys.stderr, flush=True)

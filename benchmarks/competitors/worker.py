"""A competitor's side of the pipe: builds its step, then steps when told to."""

import argparse
import os
import sys
import time

from competitors.workload import SIZES

WARM_UP = 4  # steps, or two of a competitor that takes this long for them:
LONG_SECONDS = 10.0


def main(build):
    """Answers commands from standard input, a line for a line, until `quit`.

    Between commands the process blocks on the pipe and leaves the cores to others.

    Args:
        build: Function `(network, batch_size, form) -> (step, parameters)`: a function
            that does one whole training step and returns when it is done, and the
            number of trained parameters.
    """
    options = _parse()
    answers = _take_standard_output()
    state = {}

    def start():
        state["step"], parameters = build(options.network, options.batch, options.form)
        return parameters

    def steps(count):
        begin = time.perf_counter()
        for _ in range(count):
            state["step"]()
        return (time.perf_counter() - begin) / count

    def warm():
        begin = time.perf_counter()
        steps(1)  # builds and traces
        seconds = steps(1)
        for _ in range(WARM_UP - 2):
            if time.perf_counter() - begin < LONG_SECONDS:
                seconds = steps(1)
        return seconds

    commands = {
        "build": start,
        "warm": warm,
        "step": lambda count: steps(int(count)),
        "peak": lambda count: _peak_memory(lambda: steps(int(count))),
    }
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "quit":
            return
        print(commands[command](*arguments), file=answers, flush=True)


def _parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", choices=tuple(SIZES), required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--form", required=True)
    return parser.parse_args()


def _take_standard_output():
    """Keeps the pipe for answers; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _peak_memory(run):
    """Largest resident memory while `run` runs, in MB; what came before is left out."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the high-water mark starts again from here
    run()
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["VmHWM"].split()[0]) / 1000

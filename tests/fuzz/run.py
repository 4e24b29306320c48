"""Fuzzes all parsers for a while, guided by which lines of ours are reached.

`make fuzz MINUTES=60` starts it. Each parser has a process of its own, in which Atheris
(libFuzzer for Python) counts the branches of `tfpriv` and keeps the inputs that reach
new ones; half of the changes are libFuzzer's, half those of `mutation.py`. The time is
spent in three rounds, so that a run that is stopped has looked at everything.
"""

import argparse
import json
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path

from target import memory

ROOT = Path(__file__).parents[2]
ROUNDS = 3
OUTPUT = ROOT / "build" / "fuzz"  # inputs that reach something new, and faults
SUMMARY = OUTPUT / "run.json"
_MOST_BYTES = 1 << 16
_MOST_SECONDS = 60  # for one input: longer is a fault
_DONE = re.compile(r"Done (\d+) runs in (\d+) second")


def one_round(deadline: float, rounds_left: int, only: list[str]) -> None:
    """Fuzzes one parser after the other.

    Args:
        deadline: when all rounds end.
        rounds_left: this one included.
        only: names of parsers; none for all.
    """
    import atheris

    with atheris.instrument_imports(include=["tfpriv"]):
        import parsers

    names = only or list(parsers.TARGETS)
    for place, name in enumerate(names):
        turns = rounds_left * len(names) - place
        seconds = max(1, int((deadline - time.monotonic()) / turns))
        summary = json.loads(SUMMARY.read_text())
        total = summary.setdefault(name, {"inputs": 0, "seconds": 0})
        inputs, spent = _in_a_process(parsers.TARGETS[name], seconds)
        total["inputs"] += inputs
        total["seconds"] += spent
        total["corpus"] = len(list(_folder("corpus", name).iterdir()))
        total["faults"] = len(list(_folder("faults", name).glob("*.txt")))
        SUMMARY.write_text(json.dumps(summary, indent=1))
        print(f"{ROUNDS - rounds_left + 1}: {name}: {total}", flush=True)


def _folder(kind, name):
    path = OUTPUT / kind / re.sub(r"\W+", "-", name)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _in_a_process(target, seconds):
    """Fuzzes in a process, which libFuzzer ends; returns inputs tried, and seconds."""
    log = _folder("logs", target.name) / "stderr"
    with tempfile.TemporaryDirectory(dir=memory()) as work:
        process = os.fork()
        if not process:
            os.environ["TFPRIV_FUZZ_FOLDER"] = work
            with open(log, "wb") as file:
                os.dup2(file.fileno(), 2)
            fuzz_one(target, seconds)
            os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    text = log.read_text(errors="replace")
    found = _DONE.search(text)
    if found is None or status:
        ended = _folder("faults", target.name) / "ended.txt"
        ended.write_text(f"exit status {status}\n{text[-5000:]}")
    return map(int, found.groups()) if found else (0, 0)


def fuzz_one(target, seconds: int) -> None:
    """Fuzzes a parser in this process, which ends with it.

    Args:
        target: the parser.
        seconds: how long.
    """
    import atheris
    import engine
    import mutation

    corpus, faults = _folder("corpus", target.name), _folder("faults", target.name)
    seeds = target.seeds()
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)

    def one_input(data):
        error = engine.fault(target, data)
        if error is not None:
            # One of each kind is kept: libFuzzer itself would end at the first.
            text = engine.described(error)
            name = re.sub(r"\W+", "-", text.partition(": ")[0])
            (faults / f"{name}.bin").write_bytes(data)
            (faults / f"{name}.txt").write_text(f"{target.name}\n{text}\n")

    def mutated(data, most, seed):
        rng = random.Random(seed)
        if rng.random() < 0.5:
            return atheris.Mutate(data, most)
        return mutation.mutate(data, rng, rng.choice(seeds))[:most]

    options = {
        "max_total_time": seconds,
        "max_len": _MOST_BYTES,
        "timeout": _MOST_SECONDS,
        "rss_limit_mb": 0,  # bounded_memory() sees to it
        "artifact_prefix": f"{faults}/",
    }
    flags = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], one_input, custom_mutator=mutated)
    with engine.bounded_memory():
        atheris.Fuzz()


def main(minutes: float, only: list[str]) -> int:
    """Fuzzes, and prints a table; 1 if there was a fault.

    Args:
        minutes: for all together.
        only: names of parsers; none for all.
    """
    began = time.monotonic()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    SUMMARY.write_text("{}")
    for left in range(ROUNDS, 0, -1):
        # tfpriv is imported once for all parsers of a round, and never here.
        process = os.fork()
        if not process:
            one_round(began + 60 * minutes, left, only)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]):
            return 1
    print(f"\n{(time.monotonic() - began) / 60:.1f} minutes\n")
    columns = ("inputs", "seconds", "corpus", "faults")
    print(f"| parser | {' | '.join(columns)} |\n| ---{' | ---' * len(columns)} |")
    totals = json.loads(SUMMARY.read_text())
    for name, total in totals.items():
        print(f"| {name} | {' | '.join(f'{total[key]:,}' for key in columns)} |")
    return int(any(total["faults"] for total in totals.values()))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    sys.path.insert(0, str(ROOT))
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--only", nargs="*", default=[], help="names of parsers")
    chosen = options.parse_args()
    sys.exit(main(chosen.minutes, chosen.only))

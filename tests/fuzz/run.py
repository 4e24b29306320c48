"""Damages good files at random and lets the parsers read them: `make fuzz MINUTES=60`.

What a parser does not answer as it documents is written to `build/fuzz`.
"""

import argparse
import dataclasses
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import parsers

MEMORY = 8 << 30  # bytes that the process may address: a hostile size shows
SHARED = Path("/dev/shm")  # files in memory, where there are such


@dataclasses.dataclass
class Count:
    """What became of a parser's inputs."""

    runs: int = 0
    refused: int = 0
    failures: list = dataclasses.field(default_factory=list)


class Fuzzer:
    """A parser, its good file, and a folder for the damaged ones.

    Args:
        parser: What is fuzzed.
        folder: An empty folder.
        rng: Where damage comes from.
    """

    def __init__(self, parser, folder: Path, rng: np.random.Generator) -> None:
        self.parser, self.rng, self.count = parser, rng, Count()
        self.path = parser.make(folder)
        self.good = self.path.read_bytes()
        parser.read(self.path)  # what is good must be read

    def once(self) -> bytes | None:
        """Reads a damaged file.

        Returns:
            It, if the parser did not answer as it documents.
        """
        content = self.parser.change(self.rng, self.good)
        self.path.write_bytes(content)
        self.count.runs += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.parser.read(self.path)
        except self.parser.refused:
            self.count.refused += 1
        except Exception:  # whatever else comes is what is looked for
            self.count.failures.append(traceback.format_exc())
            return content
        return None


def table(fuzzers) -> str:
    """What became of all, in Markdown."""
    lines = ["| parser | inputs | refused | read | other |", "| --- " * 5 + "|"]
    for fuzzer in fuzzers:
        count = fuzzer.count
        read = count.runs - count.refused - len(count.failures)
        cells = count.runs, count.refused, read, len(count.failures)
        lines.append(
            f"| {fuzzer.parser.name} | {' | '.join(f'{n:,}' for n in cells)} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Runs for the time given; 1 if a parser failed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--output", type=Path, default=Path("build/fuzz"))
    options = options.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    seed = np.random.SeedSequence().entropy
    print(f"seed {seed}", flush=True)
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(dir=SHARED if SHARED.is_dir() else None) as work:
        fuzzers = []
        for number, parser in enumerate(parsers.parsers()):
            folder = Path(work) / str(number)
            folder.mkdir()
            fuzzers.append(Fuzzer(parser, folder, rng))
        end = time.monotonic() + 60 * options.minutes
        while time.monotonic() < end:
            for fuzzer in fuzzers:
                _share(fuzzer, options.output)
    print(table(fuzzers))
    return int(any(fuzzer.count.failures for fuzzer in fuzzers))


def _share(fuzzer, output, seconds=1.0):
    """A second for a parser; what it fails at is kept."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        content = fuzzer.once()
        if content is not None and len(fuzzer.count.failures) <= 20:
            name = f"{fuzzer.parser.name.replace(' ', '_')}-{fuzzer.count.runs}"
            output.mkdir(parents=True, exist_ok=True)
            (output / name).write_bytes(content)
            print(f"{name}\n{fuzzer.count.failures[-1]}", flush=True)


if __name__ == "__main__":
    shutil.rmtree("build/fuzz", ignore_errors=True)
    sys.exit(main())

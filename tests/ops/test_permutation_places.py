"""Drawing one of m places from 64-bit words: unbiased, on every word that matters.

No key is known whose stream holds a word that must be replaced (one in 2^33 words for
m = 2^31, fewer below), so the arithmetic is tested on words of the test's choice: the
twin's, and the native one in a program of its own.
"""

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import permutation_oracle as oracle
import pytest
import tensorflow as tf

from tfpriv.ops import loader
from tfpriv.ops.reference import permutations as permutations_reference

SOURCE = Path(loader.__file__).parent / "cc"
PROGRAM = """
#include <cstdio>
#include "permutations.h"
int main() {
  int64_t most;
  uint32_t words[16][WIDTH], places[4][WIDTH];
  while (fread(&most, sizeof most, 1, stdin) && fread(words, sizeof words, 1, stdin)) {
    tfpriv::Places<WIDTH>(words, most, places);
    fwrite(places, sizeof places, 1, stdout);
  }
}
"""
SIZES = (1, 2, 3, 5, 6, 7, 63, 64, 1000, 50_176, 2**22 - 1, 2**22, 3 * 2**20)
SIZES += (2**30 + 1, 3 * 2**29, 2**31 - 1)


def cases():
    """Lists of (first word, second word, number of places): edges, and random ones."""
    rng = np.random.default_rng(0)
    for size in SIZES:
        last = 2**64 - 1
        edge = 2**64 - 2**64 % size
        near = [edge - 2, edge - 1, edge, edge + 1, last - size, last - 1, last]
        near += [0, size - 1, size, 2**16 - 1, 2**32 - 1, 2**32, 2**48 + size]
        near += [k * size + d for k in (2**31, 2**32 + 1) for d in (-1, 0, 1)]
        near = [word for word in near if 0 <= word <= last]
        drawn = rng.integers(0, 2**64, 10, dtype=np.uint64).tolist()
        for word in near + drawn:
            yield word, int(rng.integers(0, 2**64, dtype=np.uint64)), size


def right(draw) -> bool:
    """Whether `draw(first, second, choices)` is the oracle's, on all cases."""
    rows = list(cases())
    return draw(*zip(*rows, strict=True)) == [oracle.place(*row) for row in rows]


def twin(first, second, choices):
    words = tf.constant(np.array([first, second], "uint64"))
    drawn = permutations_reference.places(
        words, tf.constant(np.array(choices, "uint64"))
    )
    return drawn.numpy().tolist()


def test_twin():
    assert right(twin)


@pytest.mark.parametrize(
    "fault",
    [
        lambda first, second, m: first % m,  # favours the lower places
        lambda first, second, m: first % 2**32 % m,  # too few bits for many places
        lambda first, second, m: (first if first <= 2**64 - 2**64 % m else second) % m,
        lambda first, second, m: (first if first < 2**64 - m else second) % m,
        lambda first, second, m: int(first / 2**64 * m),  # 53 bits, and reads the top
    ],
    ids=["no rejection", "32 bits", "edge", "too much rejected", "floating point"],
)
def test_a_fault_is_found(fault):
    def draw(*columns):
        return [fault(*row) for row in zip(*columns, strict=True)]

    assert not right(draw)


def native(program, lanes):
    """`draw` of the compiled program, which wants whole groups of steps."""

    def draw(first, second, choices):
        inputs, at = [], []
        rows = zip(first, second, choices, strict=True)
        for number, (word, other, size) in enumerate(rows):
            step = number % (4 * lanes)  # each step of each block gets its turn
            words = np.zeros((4, 4, lanes), "<u4")  # step, part of its words, block
            for part, value in enumerate((word, word >> 32, other, other >> 32)):
                words[step % 4, part, step // 4] = value % 2**32
            inputs.append(np.int64(size + step).tobytes() + words.tobytes())
            at.append((step % 4, step // 4))
        output = subprocess.run(
            [program], input=b"".join(inputs), capture_output=True, check=True
        ).stdout
        places = np.frombuffer(output, "<u4").reshape(-1, 4, lanes)
        return [int(places[i][place]) for i, place in enumerate(at)]

    return draw


def build(folder, lanes, flags):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    processor = set(Path("/proc/cpuinfo").read_text().split())
    if not {flag.removeprefix("-m") for flag in flags if "-m" in flag} <= processor:
        pytest.skip(f"this processor lacks {flags}")
    (folder / "places.cc").write_text(PROGRAM)
    command = [compiler, "-std=c++17", "-ffp-contract=off", "-Wno-psabi", *flags]
    command += [f"-DWIDTH={lanes}", "-I", str(SOURCE), "places.cc", "-o", "places"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "places"


def test_native(tmp_path):
    assert right(native(build(tmp_path, 4, ["-O1"]), 4))


@pytest.mark.slow
@pytest.mark.parametrize("optimisation", ["-O0", "-O3"])
@pytest.mark.parametrize(
    ("lanes", "flags"),
    [
        (4, []),
        (8, ["-mavx2", "-mfma"]),
        (16, ["-mavx512f", "-mavx512dq", "-mavx512vl"]),
    ],
)
def test_native_width(tmp_path, lanes, flags, optimisation):
    assert right(native(build(tmp_path, lanes, [optimisation, *flags]), lanes))


def test_the_bound_on_the_distance_from_uniform():
    """Exactly, for words of five bits: at most 4 m^2 / (27 * 2^10)."""
    words = 32
    for m in range(1, words + 1):
        counts = [Fraction(0)] * m
        for first in range(words):
            if first < words - words % m:
                counts[first % m] += words
                continue
            for second in range(words):
                counts[second % m] += 1
        assert sum(counts) == words**2
        distance = sum(abs(count - Fraction(words**2, m)) for count in counts) / 2
        assert distance / words**2 <= Fraction(4 * m**2, 27 * words**2)

"""Every build of the noise's inner loop gives the twin's bits, whatever its width."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfpriv.ops import loader
from tfpriv.ops.reference import noise as noise_reference

SOURCE = Path(loader.__file__).parent / "cc"
PROGRAM = """
#include <cstdio>
#include <vector>
#include "noise.h"
int main() {
  tfpriv::StreamKey key{{1, 2, 3, 4, 5, 6, 7, 8}, 9};
  std::vector<double> values(1003);
  tfpriv::Fill<double, WIDTH>(key, 0, values.size(), values.data());
  return fwrite(values.data(), 8, values.size(), stdout) != values.size();
}
"""


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
def test_width(tmp_path, lanes, flags, optimisation):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    processor = set(Path("/proc/cpuinfo").read_text().split())
    if not {flag.removeprefix("-m") for flag in flags} <= processor:
        pytest.skip(f"this processor lacks {flags}")
    (tmp_path / "noise.cc").write_text(PROGRAM)
    build = [compiler, "-std=c++17", optimisation, "-ffp-contract=off", "-Wno-psabi"]
    build += [*flags, f"-DWIDTH={lanes}", "-I", str(SOURCE), "noise.cc", "-o", "noise"]
    subprocess.run(build, cwd=tmp_path, check=True)
    output = subprocess.run([tmp_path / "noise"], check=True, capture_output=True)
    key = np.arange(1, 9, dtype="<u4").view(np.uint8)
    expected = noise_reference.gaussian_noise(
        tf.constant(key), tf.constant([1003], tf.int64), tf.constant(9, tf.int64)
    )
    np.testing.assert_array_equal(np.frombuffer(output.stdout), expected)

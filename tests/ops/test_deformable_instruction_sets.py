"""The inner loops of deformable convolutions are right for every instruction set."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tfpriv.ops import loader

SOURCE = Path(loader.__file__).parent / "cc"
PROGRAM = """
#include <cmath>
#include <cstdio>
#include "deformable_samples.h"

using namespace tfpriv::deformable;

constexpr int64_t kPositions = 40, kTaps = 3, kStride = 5, kSize = 7, kChannels = 50;
int wrong = 0;

double Value(int64_t i) { return std::sin(1.0 + i * i); }

void Same(double actual, double expected, double tolerance, const char* what) {
  if (!(std::abs(actual - expected) <= tolerance) && wrong++ == 0) {
    std::printf("%s: %g is not %g\\n", what, actual, expected);
  }
}

template <typename T>
void Check(int64_t width, double tolerance) {
  const SampleFunctions<T>& functions = FUNCTIONS<T>::kFunctions;
  Deformable d{};
  d.size[0] = d.size[1] = kSize, d.channels = kChannels;
  std::vector<Sample<T>> samples;
  for (int64_t i = 0; i < kPositions * kStride; ++i) {
    T y = 5 * Value(i) + 3, x = 5 * Value(i + 1) + 3;
    if (i % 3 == 0) y = std::round(y);
    if (i % 5 == 0) x = std::round(x);
    samples.push_back(Locate<T>(d, y, x, Value(i + 2)));
  }
  std::vector<T> inputs(kSize * kSize * kChannels), added(inputs.size(), 2);
  std::vector<double> sums(inputs.size(), 2);
  for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = Value(i);
  std::vector<T> columns(kPositions * kTaps * width), dots(samples.size() * 4, 1);
  const SampleBlock<T> block{samples.data() + 1, kStride, kPositions, kTaps, width};
  functions.read(block, inputs.data() + 1, columns.data());
  functions.add(block, columns.data(), added.data() + 1);
  functions.dot(block, inputs.data() + 1, columns.data(), dots.data());
  for (int64_t p = 0; p < kPositions; ++p) {
    for (int64_t t = 0; t < kTaps; ++t) {
      const Sample<T>& sample = samples[1 + p * kStride + t];
      const T* column = columns.data() + (p * kTaps + t) * width;
      for (int64_t c = 0; c < width; ++c) {
        double blend = 0;
        for (int i = 0; i < 4; ++i) {
          if (sample.cells[i] == kOutside) continue;
          blend += 1.0 * sample.weights[i] * inputs[1 + sample.cells[i] + c];
          sums[1 + sample.cells[i] + c] += 1.0 * sample.weights[i] * column[c];
        }
        Same(column[c], blend, tolerance, "read");
      }
      for (int i = 0; i < 4; ++i) {
        double dot = 1;
        for (int64_t c = 0; c < width && sample.cells[i] != kOutside; ++c) {
          dot += 1.0 * column[c] * inputs[1 + sample.cells[i] + c];
        }
        Same(dots[4 * (p * kStride + t) + i], dot, tolerance * width, "dot");
      }
    }
  }
  for (size_t i = 0; i < sums.size(); ++i) {
    Same(added[i], sums[i], 9 * tolerance, "add");
  }
}

int main() {
  for (const int64_t width : {1, 3, 4, 8, 15, 16, 33, 48}) {
    Check<float>(width, 1e-6);
    Check<double>(width, 1e-15);
  }
  return wrong != 0;
}
"""


@pytest.mark.slow
@pytest.mark.parametrize("optimisation", ["-O0", "-O3"])
@pytest.mark.parametrize(
    ("functions", "needs"), [("BaselineSamples", set()), ("Avx2Samples", {"avx2"})]
)
def test_instruction_set(tmp_path, functions, needs, optimisation):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    if not needs <= set(Path("/proc/cpuinfo").read_text().split()):
        pytest.skip(f"this processor lacks {needs}")
    (tmp_path / "check.cc").write_text(PROGRAM)
    build = [compiler, "-std=c++17", optimisation, "-ffp-contract=off", "-Wno-psabi"]
    build += [f"-DFUNCTIONS={functions}", "-I", str(SOURCE), "check.cc", "-o", "check"]
    subprocess.run(build, cwd=tmp_path, check=True)
    result = subprocess.run([tmp_path / "check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout

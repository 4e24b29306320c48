"""The matrix arithmetic of every instruction set is right, edges and all."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tfpriv.ops import loader

SOURCE = Path(loader.__file__).parent / "cc"
PROGRAM = """
#include <cmath>
#include <cstdio>
#include <vector>
#include "multiply.h"

// The sizes of AVX-512 on any processor.
namespace tfpriv::wide {
#define TFPRIV_TARGET
constexpr int kBytes = 64, kRows = 8;
template <typename V>
TFPRIV_INLINE V MultiplyAdd(V a, V b, V c) {
  return a * b + c;
}
#include "multiply_kernels.h"
#include "gathered_kernels.h"
#include "multiply_choice.h"
}  // namespace tfpriv::wide

using namespace tfpriv;

double Value(int64_t i) { return std::sin(1.0 + i * i); }

int wrong = 0;
void Same(double actual, double expected, double tolerance, const char* what) {
  if (!(std::abs(actual - expected) <= tolerance) && wrong++ == 0) {
    std::printf("%s: %g is not %g\\n", what, actual, expected);
  }
}

template <typename From, typename T>
void Check(int64_t rows, int64_t depth, int64_t columns, double tolerance) {
  const Arithmetic<From, T> functions = INSTRUCTIONS::Functions<From, T>();
  std::vector<T> left(rows * depth * 3);
  std::vector<From> right(depth * columns), turned(depth * columns);
  std::vector<int64_t> row_offsets, depth_offsets, offsets;
  for (int64_t i = 0; i < rows + kMostRows; ++i) {
    row_offsets.push_back(2 * std::min(i, rows - 1));
  }
  for (int64_t d = 0; d < depth; ++d) depth_offsets.push_back(3 * rows * d);
  for (int64_t c = 0; c < columns; ++c) offsets.push_back(depth * (columns - 1 - c));
  for (size_t i = 0; i < left.size(); ++i) left[i] = Value(i);
  for (int64_t d = 0; d < depth; ++d) {
    for (int64_t c = 0; c < columns; ++c) {
      right[d * columns + c] = turned[offsets[c] + d] = Value(d * columns + c + 7);
    }
  }
  const int64_t panels = (columns + functions.panel - 1) / functions.panel;
  std::vector<T> packed(panels * functions.panel * depth, 99), again(packed);
  functions.pack_rows(right.data(), depth, columns, packed.data());
  functions.pack_transposed(turned.data(), offsets.data(), columns, depth,
                            again.data());
  Same(packed == again, 1, 0, "packing");
  for (const bool add : {false, true}) {
    for (const bool upper : {false, true}) {
      const int64_t stride = columns + 3;
      std::vector<T> out(rows * stride, 5);
      functions.multiply({left.data(), row_offsets.data(), rows, depth_offsets.data(),
                          depth, packed.data(), columns, out.data(), stride, add,
                          upper});
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = upper ? r : 0; c < stride; ++c) {
          double sum = add || c >= columns ? 5 : 0;
          for (int64_t d = 0; d < depth && c < columns; ++d) {
            sum += 1.0 * left[depth_offsets[d] + row_offsets[r]] *
                   right[d * columns + c];
          }
          Same(out[r * stride + c], sum, tolerance * depth, "multiply");
        }
      }
    }
  }
  double sum = 0;
  for (const T value : left) sum += 1.0 * value * value;
  Same(functions.sum_squares(left.data(), left.size()), sum, 1e-12 * sum, "squares");
}

void CheckShiftedDot(std::vector<Segment> segments) {
  constexpr int64_t kPositions = 40, kCells = 50;
  std::vector<double> a(kPositions * kPositions), b(kCells * kCells);
  for (int64_t i = 0; i < kPositions; ++i) {
    for (int64_t j = 0; j < kPositions; ++j) a[i * kPositions + j] = Value(i * j);
  }
  for (int64_t i = 0; i < kCells; ++i) {
    for (int64_t j = 0; j < kCells; ++j) b[i * kCells + j] = Value(i + j);
  }
  std::vector<std::pair<int64_t, int64_t>> pairs;
  for (const Segment& segment : segments) {
    for (int64_t i = 0; i < segment.length; ++i) {
      pairs.push_back({segment.position + i, segment.cell + i});
    }
  }
  double sum = 0;
  for (const auto& p : pairs) {
    for (const auto& q : pairs) {
      sum += a[p.first * kPositions + q.first] * b[p.second * kCells + q.second];
    }
  }
  for (int64_t i = 0; i < kPositions; ++i) {  // the lower halves are not to be read
    for (int64_t j = 0; j < i; ++j) a[i * kPositions + j] = NAN;
  }
  const auto functions = INSTRUCTIONS::Functions<double, double>();
  Same(functions.shifted_dot(segments.data(), segments.size(), {a.data(), kPositions},
                             {b.data(), kCells}),
       sum, 1e-10, "shifted_dot");
}

int main() {
  for (const int64_t rows : {1, 5, 6, 8, 13, 48}) {
    for (const int64_t depth : {1, 3, 70}) {
      for (const int64_t columns : {1, 4, 8, 15, 16, 17, 32, 33, 64, 71}) {
        Check<float, float>(rows, depth, columns, 1e-6);
        Check<float, double>(rows, depth, columns, 1e-14);
        Check<double, double>(rows, depth, columns, 1e-14);
      }
    }
  }
  CheckShiftedDot({{0, 10, 40}});
  CheckShiftedDot({{1, 0, 1}, {3, 5, 17}, {21, 30, 8}, {30, 40, 10}});
  CheckShiftedDot({});
  return wrong != 0;
}
"""


@pytest.mark.slow
@pytest.mark.parametrize("optimisation", ["-O0", "-O3"])
@pytest.mark.parametrize(
    ("instructions", "needs"),
    [
        ("baseline", set()),
        ("wide", set()),
        ("avx2", {"avx2", "fma"}),
        ("avx512", {"avx512f"}),
    ],
)
def test_instruction_set(tmp_path, instructions, needs, optimisation):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    if not needs <= set(Path("/proc/cpuinfo").read_text().split()):
        pytest.skip(f"this processor lacks {needs}")
    (tmp_path / "check.cc").write_text(PROGRAM)
    build = [compiler, "-std=c++17", optimisation, "-ffp-contract=off", "-Wno-psabi"]
    build += [f"-DINSTRUCTIONS={instructions}", "-fno-trapping-math", "-I", str(SOURCE)]
    subprocess.run([*build, "check.cc", "-o", "check"], cwd=tmp_path, check=True)
    result = subprocess.run([tmp_path / "check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout

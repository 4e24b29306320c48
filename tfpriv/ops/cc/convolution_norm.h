// Squared norms of the gradients of a convolution's kernel, example by example.
//
// Two ways, the cheaper one chosen from the sizes alone:
// (a) the gradient itself, then its sum of squares;
// (b) sum over pairs of positions p, q of <P_p, P_q> <g_p, g_q>, where P_p is the patch
//     of the input below p: all in float64, and without the gradient. Since P_p . P_q is
//     a sum of x[p + k] . x[q + k] over the kernel's offsets k, only products of cells of
//     the input are computed, and with strides only those whose coordinates agree modulo
//     the stride.
// Both are sums of terms that may cancel. Where the result is small beside them, (a) in
// float64 replaces it; docs/ops.md says what accuracy that leaves.
//
// Reference: Rochette, Manoel, Tramel, "Efficient per-example gradient computations in
// convolutional neural networks", 2019; Bu, Mao, Xu, "Scalable and efficient training of
// large convolutional neural networks with differential privacy", 2022.

#ifndef TFPRIV_OPS_CC_CONVOLUTION_NORM_H_
#define TFPRIV_OPS_CC_CONVOLUTION_NORM_H_

#include <cmath>
#include <utility>
#include <vector>

#include "convolution.h"

namespace tfpriv {

// The cells of the input whose coordinates agree modulo the strides, and for each offset
// of the kernel that lands on them, which positions lie over which cells.
struct Residue {
  std::vector<int64_t> cells;  // where each begins in an example's input
  std::vector<std::vector<Segment>> offsets;
};

inline int64_t FloorDivide(int64_t a, int64_t b) { return a / b - (a % b < 0); }

// The segments of the offset that moves position p to cell p + shift.
inline std::vector<Segment> Segments(const Convolution& c, const int64_t shift[kAxes],
                                     const int64_t cells[kAxes]) {
  int64_t low[kAxes], high[kAxes];
  for (int axis = 0; axis < kAxes; ++axis) {
    low[axis] = std::max<int64_t>(0, -shift[axis]);
    high[axis] = std::min(c.Output(axis), cells[axis] - shift[axis]);
  }
  std::vector<Segment> segments;
  if (high[2] <= low[2]) return segments;
  for (int64_t i = low[0]; i < high[0]; ++i) {
    for (int64_t j = low[1]; j < high[1]; ++j) {
      const int64_t position = (i * c.Output(1) + j) * c.Output(2) + low[2];
      const int64_t cell =
          ((i + shift[0]) * cells[1] + j + shift[1]) * cells[2] + low[2] + shift[2];
      Segment* last = segments.empty() ? nullptr : &segments.back();
      if (last != nullptr && last->position + last->length == position &&
          last->cell + last->length == cell) {
        last->length += high[2] - low[2];  // they are neighbours: one longer segment
      } else {
        segments.push_back({position, cell, high[2] - low[2]});
      }
    }
  }
  return segments;
}

inline Residue MakeResidue(const Convolution& c, const int64_t residue[kAxes]) {
  Residue result;
  int64_t cells[kAxes];
  for (int axis = 0; axis < kAxes; ++axis) {
    cells[axis] = (c.size[axis] - residue[axis] + c.stride[axis] - 1) / c.stride[axis];
  }
  for (int64_t k = 0; k < c.Offsets(); ++k) {
    const int64_t offset[kAxes] = {k / (c.kernel[1] * c.kernel[2]),
                                   k / c.kernel[2] % c.kernel[1], k % c.kernel[2]};
    int64_t shift[kAxes];
    bool lands = true;
    for (int axis = 0; axis < kAxes; ++axis) {
      const int64_t start =
          offset[axis] * c.dilation[axis] - c.before[axis] - residue[axis];
      shift[axis] = FloorDivide(start, c.stride[axis]);
      lands &= start % c.stride[axis] == 0;
    }
    if (!lands) continue;
    auto segments = Segments(c, shift, cells);
    if (!segments.empty()) result.offsets.push_back(std::move(segments));
  }
  if (result.offsets.empty()) return result;
  for (int64_t i = residue[0]; i < c.size[0]; i += c.stride[0]) {
    for (int64_t j = residue[1]; j < c.size[1]; j += c.stride[1]) {
      for (int64_t k = residue[2]; k < c.size[2]; k += c.stride[2]) {
        result.cells.push_back(((i * c.size[1] + j) * c.size[2] + k) * c.channels);
      }
    }
  }
  return result;
}

// What way (b) needs to know, the same for each example.
struct Pairs {
  explicit Pairs(const Convolution& convolution);

  std::vector<Residue> residues;
  std::vector<int64_t> outputs;  // where each position begins in an example's gradient
  int64_t most_cells = 0;
};

inline Pairs::Pairs(const Convolution& c) {
  for (int64_t i = 0; i < std::min(c.stride[0], c.size[0]); ++i) {
    for (int64_t j = 0; j < std::min(c.stride[1], c.size[1]); ++j) {
      for (int64_t k = 0; k < std::min(c.stride[2], c.size[2]); ++k) {
        const int64_t residue[kAxes] = {i, j, k};
        Residue made = MakeResidue(c, residue);
        if (made.offsets.empty()) continue;
        most_cells = std::max<int64_t>(most_cells, made.cells.size());
        residues.push_back(std::move(made));
      }
    }
  }
  for (int64_t p = 0; p < c.Positions(); ++p) outputs.push_back(p * c.filters);
}

// The squared norm of one example's gradient by way (b), and the scale of its terms.
struct Norm {
  double square;
  double scale;  // (sum over positions of |P_p| |g_p|)^2: the square is not above it
};

// Computes norms by way (b), with memory of its own: one per thread.
template <typename From>
class PairwiseNorm {
 public:
  PairwiseNorm(const Convolution& convolution, const Pairs& pairs)
      : convolution_(convolution),
        pairs_(pairs),
        arithmetic_(ChooseArithmetic<From, double>()),
        packed_(RoundUp(std::max<int64_t>(pairs.most_cells, pairs.outputs.size()),
                        arithmetic_.panel) *
                std::max(convolution.channels, convolution.filters)),
        positions_(pairs.outputs.size() * pairs.outputs.size()),
        cells_(pairs.most_cells * pairs.most_cells),
        patches_(pairs.outputs.size()) {}

  Norm operator()(const From* input, const From* gradient) {
    const Gram positions =
        Products(gradient, pairs_.outputs, convolution_.filters, positions_.get());
    Norm norm{0, 0};
    std::fill(patches_.begin(), patches_.end(), 0.0);
    for (const Residue& residue : pairs_.residues) {
      const Gram cells =
          Products(input, residue.cells, convolution_.channels, cells_.get());
      for (const auto& segments : residue.offsets) {
        norm.square += arithmetic_.shifted_dot(segments.data(), segments.size(),
                                               positions, cells);
        for (const Segment& segment : segments) {
          for (int64_t i = 0; i < segment.length; ++i) {
            patches_[segment.position + i] +=
                cells.values[(segment.cell + i) * (cells.stride + 1)];
          }
        }
      }
    }
    double terms = 0;
    for (size_t p = 0; p < patches_.size(); ++p) {
      terms += std::sqrt(patches_[p] * positions.values[p * (positions.stride + 1)]);
    }
    norm.scale = terms * terms;
    return norm;
  }

 private:
  // All products of the vectors of `length` that begin at `offsets`.
  Gram Products(const From* source, const std::vector<int64_t>& offsets, int64_t length,
                double* out) {
    const int64_t size = offsets.size(), panel = arithmetic_.panel;
    arithmetic_.pack_transposed(source, offsets.data(), size, length, packed_.get());
    rows_.clear();
    for (int64_t i = 0; i < size + kMostRows; ++i) {
      const int64_t row = std::min(i, size - 1);
      rows_.push_back(row / panel * panel * length + row % panel);
    }
    depths_.clear();
    for (int64_t d = 0; d < length; ++d) depths_.push_back(d * panel);
    arithmetic_.multiply({packed_.get(), rows_.data(), size, depths_.data(), length,
                          packed_.get(), size, out, size, false, true});
    return {out, size};
  }

  const Convolution& convolution_;
  const Pairs& pairs_;
  const Arithmetic<From, double>& arithmetic_;
  Buffer<double> packed_, positions_, cells_;
  std::vector<double> patches_;
  std::vector<int64_t> rows_, depths_;
};

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_CONVOLUTION_NORM_H_

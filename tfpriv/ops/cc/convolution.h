// Gradients of a convolution's kernel, one example at a time, without TensorFlow.
//
// dK[k, c, f] = sum over output positions p of x[p * stride + k * dilation - before, c]
// * g[p, f]: a product of matrices, whose left one is read where it lies, in a copy of
// the input with zeros around it. Three space axes; fewer are given as axes of size 1.

#ifndef TFPRIV_OPS_CC_CONVOLUTION_H_
#define TFPRIV_OPS_CC_CONVOLUTION_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "multiply.h"

namespace tfpriv {

constexpr int kAxes = 3;

struct Convolution {
  int64_t size[kAxes], kernel[kAxes], stride[kAxes], dilation[kAxes];
  int64_t before[kAxes], after[kAxes];
  int64_t channels, filters;

  // Positions of the kernel along an axis.
  int64_t Output(int axis) const {
    const int64_t free =
        size[axis] + before[axis] + after[axis] - (kernel[axis] - 1) * dilation[axis] - 1;
    return free < 0 ? 0 : free / stride[axis] + 1;
  }
  int64_t Positions() const { return Output(0) * Output(1) * Output(2); }
  int64_t Offsets() const { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t Rows() const { return Offsets() * channels; }
  int64_t InputSize() const { return size[0] * size[1] * size[2] * channels; }
  int64_t OutputSize() const { return Positions() * filters; }
  int64_t GradientSize() const { return Rows() * filters; }
};

// Where the values lie that an example's gradient is made of: the same for each example.
struct Columns {
  explicit Columns(const Convolution& convolution);

  int64_t chunk;          // rows of output positions along axis 0 taken at a time
  int64_t window[kAxes];  // the part of the padded input below a chunk
  std::vector<int64_t> row_offsets, depth_offsets;  // of a Product
};

inline Columns::Columns(const Convolution& convolution) {
  // A panel of g for so many positions fits the first-level cache.
  constexpr int64_t kPositions = 256;
  const auto& c = convolution;
  const int64_t in_row = c.Output(1) * c.Output(2);
  chunk = std::clamp<int64_t>(kPositions / in_row, 1, c.Output(0));
  for (int axis = 0; axis < kAxes; ++axis) {
    const int64_t positions = axis == 0 ? chunk : c.Output(axis);
    window[axis] =
        (positions - 1) * c.stride[axis] + (c.kernel[axis] - 1) * c.dilation[axis] + 1;
  }
  const auto cell = [&](int64_t i, int64_t j, int64_t k) {
    return ((i * window[1] + j) * window[2] + k) * c.channels;
  };
  for (int64_t i = 0; i < c.kernel[0]; ++i) {
    for (int64_t j = 0; j < c.kernel[1]; ++j) {
      for (int64_t k = 0; k < c.kernel[2]; ++k) {
        for (int64_t l = 0; l < c.channels; ++l) {
          row_offsets.push_back(
              cell(i * c.dilation[0], j * c.dilation[1], k * c.dilation[2]) + l);
        }
      }
    }
  }
  row_offsets.resize(c.Rows() + kMostRows, row_offsets.back());
  for (int64_t i = 0; i < chunk; ++i) {
    for (int64_t j = 0; j < c.Output(1); ++j) {
      for (int64_t k = 0; k < c.Output(2); ++k) {
        depth_offsets.push_back(cell(i * c.stride[0], j * c.stride[1], k * c.stride[2]));
      }
    }
  }
}

// Computes gradients in T from inputs in From, with memory of its own: one per thread.
template <typename From, typename T>
class Direct {
 public:
  Direct(const Convolution& convolution, const Columns& columns)
      : convolution_(convolution),
        columns_(columns),
        arithmetic_(ChooseArithmetic<From, T>()),
        window_(columns.window[0] * columns.window[1] * columns.window[2] *
                convolution.channels),
        panels_(columns.depth_offsets.size() *
                RoundUp(convolution.filters, arithmetic_.panel)) {}

  // The gradient of one example.
  void Gradient(const From* input, const From* gradient, T* out) const {
    const auto& c = convolution_;
    const int64_t in_row = c.Output(1) * c.Output(2);
    for (int64_t first = 0; first < c.Output(0); first += columns_.chunk) {
      const int64_t rows = std::min(columns_.chunk, c.Output(0) - first);
      FillWindow(input, first * c.stride[0] - c.before[0]);
      arithmetic_.pack_rows(gradient + first * in_row * c.filters, rows * in_row,
                            c.filters, panels_.get());
      arithmetic_.multiply({window_.get(), columns_.row_offsets.data(), c.Rows(),
                            columns_.depth_offsets.data(), rows * in_row, panels_.get(),
                            c.filters, out, c.filters, first > 0, false});
    }
  }

 private:
  // Copies the input from `start` on along axis 0, zeros where there is none.
  void FillWindow(const From* input, int64_t start) const {
    const auto& c = convolution_;
    const int64_t* window = columns_.window;
    const int64_t begin = std::min(c.before[2], window[2]);
    const int64_t end = std::clamp(c.before[2] + c.size[2], begin, window[2]);
    T* out = window_.get();
    for (int64_t i = start; i < start + window[0]; ++i) {
      for (int64_t j = -c.before[1]; j < window[1] - c.before[1]; ++j) {
        T* const row_end = out + window[2] * c.channels;
        if (i < 0 || i >= c.size[0] || j < 0 || j >= c.size[1]) {
          std::fill(out, row_end, T{0});
        } else {
          const From* row = input + (i * c.size[1] + j) * c.size[2] * c.channels;
          std::fill(out, out + begin * c.channels, T{0});
          std::copy(row, row + (end - begin) * c.channels, out + begin * c.channels);
          std::fill(out + end * c.channels, row_end, T{0});
        }
        out = row_end;
      }
    }
  }

  const Convolution& convolution_;
  const Columns& columns_;
  const Arithmetic<From, T>& arithmetic_;
  Buffer<T> window_, panels_;
};

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_CONVOLUTION_H_

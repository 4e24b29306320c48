// What the keyed ops share: their attributes, the check of what they are called with, and
// the tables for a range of examples.

#ifndef TFPRIV_OPS_CC_KEYED_OP_H_
#define TFPRIV_OPS_CC_KEYED_OP_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "keyed.h"
#include "op.h"
#include "parallel.h"
#include "tf_c_api.h"

namespace tfpriv {

constexpr double kMostNumbers = 0x1p31;  // pixels and taps, so that int32 numbers them

// An op's attributes.
struct KeyedKernel {
  TF_DataType dtype;
  int64_t num_threads;
  bool average;     // pooling
  Window window;  // without what the tensors' shapes say

  static KeyedKernel* Create(TF_OpKernelConstruction* construction, bool has_kernel,
                             bool has_size, bool has_average) {
    Attributes attributes(construction);
    auto kernel = std::make_unique<KeyedKernel>();
    kernel->dtype = attributes.Type("T");
    kernel->num_threads = attributes.Integer("num_threads");
    attributes.Integers("strides", 1, kernel->window.stride);
    attributes.Integers("dilations", 1, kernel->window.dilation);
    attributes.Integers("before", 0, kernel->window.before);
    attributes.Integers("after", 0, kernel->window.after);
    if (has_kernel) attributes.Integers("kernel_size", 1, kernel->window.kernel);
    if (has_size) attributes.Integers("input_size", 0, kernel->window.size);
    kernel->average = has_average && attributes.Integer("average") != 0;
    return kernel.release();
  }
};

inline std::string ShapeOf(const TF_Tensor* tensor) {
  std::string shape;
  for (int i = 0; i < TF_NumDims(tensor); ++i) {
    shape += (i == 0 ? "" : ", ") + std::to_string(TF_Dim(tensor, i));
  }
  return "(" + shape + ")";
}

// The permutations of a call and the tables that follow from them.
class KeyedTables {
 public:
  // Checks everything; the window must be complete.
  KeyedTables(Call* call, const Window& window, int64_t examples, TF_Tensor* source,
              TF_Tensor* target);

  bool shared() const { return sources_ == 1 && targets_ == 1; }

  // How many examples' tables may be in memory at a time.
  int64_t ExamplesAtATime() const {
    constexpr int64_t kMostEntries = int64_t{1} << 23;
    const int64_t entries = std::max(window_.Positions(), window_.Pixels()) * window_.Taps();
    return shared() ? examples_ : std::max<int64_t>(1, kMostEntries / std::max<int64_t>(entries, 1));
  }

  // The tables of examples [begin, end), one after the other: one table if shared.
  std::vector<int32_t> Seen(int64_t begin, int64_t end, int64_t threads) const;
  std::vector<int32_t> Seeing(int64_t begin, int64_t end, int64_t threads) const;

 private:
  template <typename Work>
  std::vector<int32_t> Fill(int64_t begin, int64_t end, int64_t threads, int64_t entries,
                            const Work& work) const {
    const int64_t tables = shared() ? 1 : end - begin;
    std::vector<int32_t> result(tables * entries);
    ParallelFor(tables, (1 << 15) / (entries + 1) + 1, threads, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        work(shared() ? 0 : begin + i, result.data() + i * entries);
      }
    });
    return result;
  }

  void SeenBy(int64_t example, int32_t* out) const {
    SeenPixels(true_pixels_, window_.Taps(),
               inverses_.data() + (sources_ == 1 ? 0 : example * window_.Pixels()),
               target_ + (targets_ == 1 ? 0 : example * window_.Positions()),
               window_.Positions(), out);
  }

  Window window_;
  int64_t examples_, sources_ = 1, targets_ = 1;
  const int32_t* target_ = nullptr;
  std::vector<int32_t> true_pixels_, inverses_;
};

inline KeyedTables::KeyedTables(Call* call, const Window& window, int64_t examples,
                                TF_Tensor* source, TF_Tensor* target)
    : window_(window), examples_(examples) {
  const auto check = [&](TF_Tensor* tensor, int64_t size, const char* name) {
    call->Require(TF_NumDims(tensor) == 2 && TF_Dim(tensor, 1) == size &&
                      (TF_Dim(tensor, 0) == 1 || TF_Dim(tensor, 0) == examples),
                  std::string(name) + " must have one permutation of " +
                      std::to_string(size) + " positions, or one for each of " +
                      std::to_string(examples) + " examples. Received: shape " +
                      ShapeOf(tensor));
  };
  const double taps = 1.0 * window.kernel[0] * window.kernel[1];
  double padded = 1;
  for (int axis = 0; axis < 2; ++axis) {
    padded *= 1.0 * window.size[axis] + window.before[axis] + window.after[axis] + 1;
  }
  call->Require(padded * taps < kMostNumbers, "planes or windows are too large.");
  if (!call->ok()) return;
  check(source, window.Pixels(), "source");
  check(target, window.Positions(), "target");
  if (!call->ok()) return;
  sources_ = TF_Dim(source, 0);
  targets_ = TF_Dim(target, 0);
  target_ = static_cast<const int32_t*>(TF_TensorData(target));
  const int32_t* sources = static_cast<const int32_t*>(TF_TensorData(source));
  inverses_.resize(sources_ * window.Pixels());
  bool valid = true;
  for (int64_t i = 0; i < sources_; ++i) {
    valid &= Invert(sources + i * window.Pixels(), window.Pixels(),
                    inverses_.data() + i * window.Pixels());
  }
  std::vector<int32_t> unused(window.Positions());
  for (int64_t i = 0; i < targets_; ++i) {
    valid &= Invert(target_ + i * window.Positions(), window.Positions(), unused.data());
  }
  call->Require(valid, "source and target must be permutations.");
  true_pixels_ = TruePixels(window);
}

inline std::vector<int32_t> KeyedTables::Seen(int64_t begin, int64_t end,
                                              int64_t threads) const {
  return Fill(begin, end, threads, window_.Positions() * window_.Taps(),
              [&](int64_t example, int32_t* out) { SeenBy(example, out); });
}

inline std::vector<int32_t> KeyedTables::Seeing(int64_t begin, int64_t end,
                                                int64_t threads) const {
  return Fill(begin, end, threads, window_.Pixels() * window_.Taps(),
              [&](int64_t example, int32_t* out) {
                std::vector<int32_t> seen(window_.Positions() * window_.Taps());
                SeenBy(example, seen.data());
                SeeingPositions(seen.data(), window_.Positions(), window_.Taps(),
                                window_.Pixels(), out);
              });
}

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_KEYED_OP_H_

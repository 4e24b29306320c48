// What the keyed ops share: their attributes, the check of what they are called with, and
// the tables for a range of examples.

#ifndef TFPRIV_OPS_CC_KEYED_OP_H_
#define TFPRIV_OPS_CC_KEYED_OP_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "keyed.h"
#include "op.h"
#include "parallel.h"
#include "tf_c_api.h"

namespace tfpriv {

constexpr double kMostNumbers = 0x1p31;  // pixels and taps, so that int32 numbers them

// Which way a table is read.
enum class Reading {
  kSeen,    // for each shuffled position and tap: the shuffled pixel below
  kSeeing,  // for each shuffled pixel and tap: the shuffled position above
};

typedef std::shared_ptr<const std::vector<int32_t>> Table;

// The last table of an op: with one key it is the same at each call.
class LastTable {
 public:
  Table Find(const Window& window, const int32_t* source, const int32_t* target) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const bool same = table_ != nullptr && window == window_ &&
                      std::equal(source_.begin(), source_.end(), source) &&
                      std::equal(target_.begin(), target_.end(), target);
    return same ? table_ : nullptr;
  }

  void Keep(const Window& window, const int32_t* source, const int32_t* target,
            const Table& table) {
    const std::lock_guard<std::mutex> lock(mutex_);
    window_ = window;
    source_.assign(source, source + window.Pixels());
    target_.assign(target, target + window.Positions());
    table_ = table;
  }

 private:
  std::mutex mutex_;
  Window window_{};
  std::vector<int32_t> source_, target_;
  Table table_;
};

// How a window moves.
inline void ReadWindow(Attributes* attributes, Window* window) {
  attributes->Integers("strides", 1, window->stride);
  attributes->Integers("dilations", 1, window->dilation);
  attributes->Integers("before", 0, window->before);
  attributes->Integers("after", 0, window->after);
}

// An op's attributes, and what it remembers.
struct KeyedKernel {
  TF_DataType dtype;
  int64_t num_threads;
  bool average;   // pooling
  Window window;  // without what the tensors' shapes say
  mutable LastTable last_table;

  static KeyedKernel* Create(TF_OpKernelConstruction* construction, bool has_kernel,
                             bool has_size, bool has_average) {
    Attributes attributes(construction);
    auto kernel = std::make_unique<KeyedKernel>();
    kernel->dtype = attributes.Type("T");
    kernel->num_threads = attributes.Integer("num_threads");
    ReadWindow(&attributes, &kernel->window);
    if (has_kernel) attributes.Integers("kernel_size", 1, kernel->window.kernel);
    if (has_size) attributes.Integers("input_size", 0, kernel->window.size);
    kernel->average = has_average && attributes.Integer("average") != 0;
    return kernel.release();
  }
};

// The permutations of a call and the tables that follow from them.
class KeyedTables {
 public:
  // Checks everything; the window must be complete.
  KeyedTables(Call* call, const KeyedKernel& kernel, const Window& window,
              int64_t examples, TF_Tensor* source, TF_Tensor* target, Reading reading);

  bool shared() const { return sources_ == 1 && targets_ == 1; }

  // How many examples' tables may be in memory at a time.
  int64_t ExamplesAtATime() const {
    constexpr int64_t kMostEntries = int64_t{1} << 23;
    if (shared()) return examples_;
    return std::max<int64_t>(1, kMostEntries / std::max<int64_t>(Entries(), 1));
  }

  // The tables of examples [begin, end), one after the other: one table if shared.
  Table Of(int64_t begin, int64_t end) const;

 private:
  int64_t Entries() const {
    const bool seen = reading_ == Reading::kSeen;
    return (seen ? window_.Positions() : window_.Pixels()) * window_.Taps();
  }

  void Check(Call* call, TF_Tensor* permutations, int64_t size, const char* name) const;
  bool Invert();
  void Fill(int64_t example, int32_t* out) const;

  Window window_;
  int64_t examples_, threads_;
  Reading reading_;
  int64_t sources_ = 1, targets_ = 1;
  const int32_t *source_ = nullptr, *target_ = nullptr;
  std::vector<int32_t> true_pixels_, inverses_;
  Table shared_table_;
};

inline KeyedTables::KeyedTables(Call* call, const KeyedKernel& kernel,
                                const Window& window, int64_t examples,
                                TF_Tensor* source, TF_Tensor* target, Reading reading)
    : window_(window),
      examples_(examples),
      threads_(kernel.num_threads),
      reading_(reading) {
  double padded = 1;
  for (int axis = 0; axis < 2; ++axis) {
    padded *= 1.0 * window.size[axis] + window.before[axis] + window.after[axis] + 1;
  }
  const double taps = 1.0 * window.kernel[0] * window.kernel[1];
  call->Require(padded * taps < kMostNumbers, "planes or windows are too large.");
  if (!call->ok()) return;
  Check(call, source, window.Pixels(), "source");
  Check(call, target, window.Positions(), "target");
  if (!call->ok()) return;
  sources_ = TF_Dim(source, 0);
  targets_ = TF_Dim(target, 0);
  source_ = static_cast<const int32_t*>(TF_TensorData(source));
  target_ = static_cast<const int32_t*>(TF_TensorData(target));
  if (shared()) shared_table_ = kernel.last_table.Find(window_, source_, target_);
  if (shared_table_ != nullptr) return;
  call->Require(Invert(), "source and target must be permutations.");
  if (!call->ok()) return;
  true_pixels_ = TruePixels(window_);
  if (!shared()) return;
  std::vector<int32_t> table(Entries());
  Fill(0, table.data());
  shared_table_ = std::make_shared<const std::vector<int32_t>>(std::move(table));
  kernel.last_table.Keep(window_, source_, target_, shared_table_);
}

inline void KeyedTables::Check(Call* call, TF_Tensor* permutations, int64_t size,
                               const char* name) const {
  call->Require(TF_NumDims(permutations) == 2 && TF_Dim(permutations, 1) == size &&
                    (TF_Dim(permutations, 0) == 1 || TF_Dim(permutations, 0) == examples_),
                std::string(name) + " must have one permutation of " +
                    std::to_string(size) + " positions, or one for each of " +
                    std::to_string(examples_) + " examples. Received: shape " +
                    Shape(permutations));
}

// False if something is no permutation.
inline bool KeyedTables::Invert() {
  const int64_t pixels = window_.Pixels(), positions = window_.Positions();
  inverses_.resize(sources_ * pixels);
  bool valid = true;
  for (int64_t i = 0; i < sources_; ++i) {
    valid &= tfpriv::Invert(source_ + i * pixels, pixels, inverses_.data() + i * pixels);
  }
  std::vector<int32_t> unused(positions);
  for (int64_t i = 0; i < targets_; ++i) {
    valid &= tfpriv::Invert(target_ + i * positions, positions, unused.data());
  }
  return valid;
}

inline void KeyedTables::Fill(int64_t example, int32_t* out) const {
  const int64_t pixels = window_.Pixels(), positions = window_.Positions();
  const int32_t* inverse = inverses_.data() + (sources_ == 1 ? 0 : example * pixels);
  const int32_t* target = target_ + (targets_ == 1 ? 0 : example * positions);
  if (reading_ == Reading::kSeen) {
    SeenPixels(true_pixels_, window_.Taps(), inverse, target, positions, out);
    return;
  }
  std::vector<int32_t> seen(positions * window_.Taps());
  SeenPixels(true_pixels_, window_.Taps(), inverse, target, positions, seen.data());
  SeeingPositions(seen.data(), positions, window_.Taps(), pixels, out);
}

inline Table KeyedTables::Of(int64_t begin, int64_t end) const {
  if (shared()) return shared_table_;
  std::vector<int32_t> tables((end - begin) * Entries());
  const int64_t grain = (1 << 15) / (Entries() + 1) + 1;
  ParallelFor(end - begin, grain, threads_, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) Fill(begin + i, tables.data() + i * Entries());
  });
  return std::make_shared<const std::vector<int32_t>>(std::move(tables));
}

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_KEYED_OP_H_

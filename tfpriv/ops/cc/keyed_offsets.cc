// The op TfprivKeyedOffsets: (source, target), permutations of an input's and an output's
// positions -> offsets with which a deformable convolution of inputs shuffled by source
// gives the plain convolution's outputs shuffled by target.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "keyed.h"
#include "keyed_op.h"
#include "op.h"
#include "parallel.h"
#include "tf_c_api.h"

namespace tfpriv::keyed {
namespace {

constexpr int64_t kOffsetsPerThread = 1 << 15;  // fewer are not worth a thread
constexpr int64_t kMostTaps = 1 << 20;
constexpr int64_t kMostExact = 1 << 24;  // integers up to it are float32 values

struct Layer {
  int64_t num_threads;
  Window window;

  // The farthest from the input that a tap's usual place or an offset may be.
  int64_t Farthest(int axis) const {
    return window.size[axis] + window.before[axis] + window.after[axis] +
           window.kernel[axis] * window.dilation[axis];
  }
};

// What one thread needs for an example.
class Example {
 public:
  explicit Example(const Window& window)
      : window_(window),
        shown_at_(window.Pixels()),
        target_inverse_(window.Positions()) {
    for (int64_t i = 0; i < window.kernel[0]; ++i) {
      for (int64_t j = 0; j < window.kernel[1]; ++j) {
        taps_.push_back({i * window.dilation[0] - window.before[0],
                         j * window.dilation[1] - window.before[1]});
      }
    }
  }

  // Writes (output height, output width, taps, 2) offsets; false if source or target is
  // no permutation.
  bool operator()(const int32_t* source, const int32_t* target, float* out) {
    const int64_t height = window_.Output(0), width = window_.Output(1);
    if (!Invert(source, window_.Pixels(), shown_at_.data())) return false;
    if (!Invert(target, window_.Positions(), target_inverse_.data())) return false;
    for (int64_t i = 0; i < height; ++i) {
      for (int64_t j = 0; j < width; ++j, ++target, out += 2 * taps_.size()) {
        Position({i * window_.stride[0], j * window_.stride[1]},
                 {*target / width * window_.stride[0], *target % width * window_.stride[1]},
                 out);
      }
    }
    return true;
  }

 private:
  struct Place {
    int64_t row, column;
  };

  // The offsets at a position whose kernel begins at `own` and is to see what the kernel
  // that begins at `truth` sees.
  void Position(Place own, Place truth, float* out) const {
    for (const Place& tap : taps_) {
      const int64_t y = truth.row + tap.row, x = truth.column + tap.column;
      Place lies_at{-2, -2};  // outside of any input
      if (y >= 0 && y < window_.size[0] && x >= 0 && x < window_.size[1]) {
        const int64_t pixel = shown_at_[y * window_.size[1] + x];
        lies_at = {pixel / window_.size[1], pixel % window_.size[1]};
      }
      *out++ = static_cast<float>(lies_at.row - own.row - tap.row);
      *out++ = static_cast<float>(lies_at.column - own.column - tap.column);
    }
  }

  const Window& window_;
  std::vector<int32_t> shown_at_;  // where a true position is shown
  std::vector<int32_t> target_inverse_;  // only to find what is no permutation
  std::vector<Place> taps_;
};

void Fill(Call* call, const Layer& layer, const int32_t* source, const int32_t* target,
          int64_t examples, float* out) {
  const Window& window = layer.window;
  const int64_t each = 2 * window.Positions() * window.Taps();
  const int64_t grain = kOffsetsPerThread / std::max<int64_t>(1, each) + 1;
  std::atomic<bool> valid{true};
  try {
    ParallelFor(examples, grain, layer.num_threads, [&](int64_t begin, int64_t end) {
      Example example(window);
      for (int64_t i = begin; i < end && valid; ++i) {
        if (!example(source + i * window.Pixels(), target + i * window.Positions(),
                     out + i * each)) {
          valid = false;
        }
      }
    });
  } catch (const std::bad_alloc&) {
    call->Fail(TF_RESOURCE_EXHAUSTED, "no memory for one example.");
  }
  call->Require(valid,
                "every row of source and target must be a permutation of 0, 1, 2, ...");
}

void Compute(void* state, TF_OpKernelContext* context) {
  const Layer& layer = *static_cast<const Layer*>(state);
  Call call(context, "keyed_offsets");
  TF_Tensor *source = call.Input(0), *target = call.Input(1);
  if (!call.ok()) return;
  const int64_t height = layer.window.Output(0), width = layer.window.Output(1);
  call.Require(std::max(layer.Farthest(0), layer.Farthest(1)) < kMostExact,
               "the layer is too large for offsets in float32.");
  call.Require(TF_NumDims(source) == 2 && TF_NumDims(target) == 2 &&
                   TF_Dim(source, 0) == TF_Dim(target, 0) &&
                   TF_Dim(source, 1) == layer.window.Pixels() &&
                   TF_Dim(target, 1) == height * width,
               "source must have shape (examples, " +
                   std::to_string(layer.window.Pixels()) +
                   ") and target (examples, " + std::to_string(height * width) +
                   "). Received: source of shape " + Shape(source) +
                   ", target of shape " + Shape(target));
  if (!call.ok()) return;
  const int64_t taps = layer.window.Taps();
  call.Require(taps <= kMostTaps, "the kernel is too large.");
  if (!call.ok()) return;
  TF_Tensor* offsets =
      call.Output(0, TF_FLOAT, {TF_Dim(source, 0), height, width, 2 * taps});
  if (!call.ok()) return;
  Fill(&call, layer, static_cast<const int32_t*>(TF_TensorData(source)),
       static_cast<const int32_t*>(TF_TensorData(target)), TF_Dim(source, 0),
       static_cast<float*>(TF_TensorData(offsets)));
}

void* Create(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  auto layer = std::make_unique<Layer>();
  layer->num_threads = attributes.Integer("num_threads");
  attributes.Integers("input_size", 1, layer->window.size);
  attributes.Integers("kernel_size", 1, layer->window.kernel);
  ReadWindow(&attributes, &layer->window);
  return layer.release();
}

void Destroy(void* state) { delete static_cast<Layer*>(state); }

// Runs when the library is loaded.
__attribute__((constructor)) void Register() {
  Op{"TfprivKeyedOffsets",
     {"source: int32", "target: int32"},
     {"offsets: float"},
     {"input_size: list(int)", "kernel_size: list(int)", "strides: list(int)",
      "dilations: list(int)", "before: list(int)", "after: list(int)",
      "num_threads: int >= 0 = 0"},
     Create,
     Compute,
     Destroy}
      .Register();
}

}  // namespace
}  // namespace tfpriv::keyed

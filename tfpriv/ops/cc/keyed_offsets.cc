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

#include "op.h"
#include "parallel.h"
#include "tf_c_api.h"

namespace tfpriv::keyed {
namespace {

constexpr int64_t kOffsetsPerThread = 1 << 15;  // fewer are not worth a thread
constexpr int64_t kMostTaps = 1 << 20;
constexpr int64_t kMostExact = 1 << 24;  // integers up to it are float32 values

// Pairs are (height, width).
struct Layer {
  int64_t num_threads;
  int64_t size[2], kernel[2], stride[2], dilation[2], before[2], after[2];

  int64_t Output(int axis) const {
    const int64_t free =
        size[axis] + before[axis] + after[axis] - (kernel[axis] - 1) * dilation[axis] - 1;
    return free < 0 ? 0 : free / stride[axis] + 1;
  }
  // The farthest from the input that a tap's usual place or an offset may be.
  int64_t Farthest(int axis) const {
    return size[axis] + before[axis] + after[axis] + kernel[axis] * dilation[axis];
  }
};

// What one thread needs for an example.
class Example {
 public:
  explicit Example(const Layer& layer)
      : layer_(layer),
        seen_(std::max(layer.size[0] * layer.size[1],
                       layer.Output(0) * layer.Output(1))),
        shown_at_(layer.size[0] * layer.size[1]) {
    for (int64_t i = 0; i < layer.kernel[0]; ++i) {
      for (int64_t j = 0; j < layer.kernel[1]; ++j) {
        taps_.push_back({i * layer.dilation[0] - layer.before[0],
                         j * layer.dilation[1] - layer.before[1]});
      }
    }
  }

  // Writes (output height, output width, taps, 2) offsets; false if source or target is
  // no permutation.
  bool operator()(const int32_t* source, const int32_t* target, float* out) {
    const int64_t height = layer_.Output(0), width = layer_.Output(1);
    if (!IsPermutation(source, shown_at_.size())) return false;
    if (!IsPermutation(target, height * width)) return false;
    for (int64_t i = 0; i < layer_.size[0]; ++i) {
      for (int64_t j = 0; j < layer_.size[1]; ++j) shown_at_[*source++] = {i, j};
    }
    for (int64_t i = 0; i < height; ++i) {
      for (int64_t j = 0; j < width; ++j, ++target, out += 2 * taps_.size()) {
        Position({i * layer_.stride[0], j * layer_.stride[1]},
                 {*target / width * layer_.stride[0], *target % width * layer_.stride[1]},
                 out);
      }
    }
    return true;
  }

 private:
  struct Place {
    int64_t row, column;
  };

  bool IsPermutation(const int32_t* values, int64_t size) {
    std::fill_n(seen_.begin(), size, 0);
    for (int64_t i = 0; i < size; ++i) {
      if (values[i] < 0 || values[i] >= size || seen_[values[i]]) return false;
      seen_[values[i]] = 1;
    }
    return true;
  }

  // The offsets at a position whose kernel begins at `own` and is to see what the kernel
  // that begins at `truth` sees.
  void Position(Place own, Place truth, float* out) const {
    for (const Place& tap : taps_) {
      const int64_t y = truth.row + tap.row, x = truth.column + tap.column;
      Place lies_at{-2, -2};  // outside of any input
      if (y >= 0 && y < layer_.size[0] && x >= 0 && x < layer_.size[1]) {
        lies_at = shown_at_[y * layer_.size[1] + x];
      }
      *out++ = static_cast<float>(lies_at.row - own.row - tap.row);
      *out++ = static_cast<float>(lies_at.column - own.column - tap.column);
    }
  }

  const Layer& layer_;
  std::vector<uint8_t> seen_;
  std::vector<Place> shown_at_;  // where a true position is shown
  std::vector<Place> taps_;
};

void Fill(Call* call, const Layer& layer, const int32_t* source, const int32_t* target,
          int64_t examples, float* out) {
  const int64_t in = layer.size[0] * layer.size[1];
  const int64_t positions = layer.Output(0) * layer.Output(1);
  const int64_t each = 2 * positions * layer.kernel[0] * layer.kernel[1];
  const int64_t grain = kOffsetsPerThread / std::max<int64_t>(1, each) + 1;
  std::atomic<bool> out_of_memory{false}, valid{true};
  ParallelFor(examples, grain, layer.num_threads, [&](int64_t begin, int64_t end) {
    try {
      Example example(layer);
      for (int64_t i = begin; i < end && valid; ++i) {
        if (!example(source + i * in, target + i * positions, out + i * each)) {
          valid = false;
        }
      }
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
  });
  if (out_of_memory) call->Fail(TF_RESOURCE_EXHAUSTED, "no memory for one example.");
  call->Require(valid,
                "every row of source and target must be a permutation of 0, 1, 2, ...");
}

void Compute(void* state, TF_OpKernelContext* context) {
  const Layer& layer = *static_cast<const Layer*>(state);
  Call call(context, "keyed_offsets");
  TF_Tensor *source = call.Input(0), *target = call.Input(1);
  if (!call.ok()) return;
  const int64_t height = layer.Output(0), width = layer.Output(1);
  call.Require(std::max(layer.Farthest(0), layer.Farthest(1)) < kMostExact,
               "the layer is too large for offsets in float32.");
  call.Require(TF_NumDims(source) == 2 && TF_NumDims(target) == 2 &&
                   TF_Dim(source, 0) == TF_Dim(target, 0) &&
                   TF_Dim(source, 1) == layer.size[0] * layer.size[1] &&
                   TF_Dim(target, 1) == height * width,
               "source must have shape (examples, " +
                   std::to_string(layer.size[0] * layer.size[1]) +
                   ") and target (examples, " + std::to_string(height * width) +
                   "). Received: source of shape " + Shape(source) +
                   ", target of shape " + Shape(target));
  if (!call.ok()) return;
  const int64_t taps = layer.kernel[0] * layer.kernel[1];
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
  attributes.Integers("input_size", 1, layer->size);
  attributes.Integers("kernel_size", 1, layer->kernel);
  attributes.Integers("strides", 1, layer->stride);
  attributes.Integers("dilations", 1, layer->dilation);
  attributes.Integers("before", 0, layer->before);
  attributes.Integers("after", 0, layer->after);
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

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
constexpr double kMostValues = 0x1p40;  // far from any overflow
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

// Fills the inverse of a permutation; false if it is none.
bool Invert(const int32_t* permutation, int64_t size, int32_t* inverse) {
  std::fill_n(inverse, size, -1);
  for (int64_t i = 0; i < size; ++i) {
    const int32_t value = permutation[i];
    if (value < 0 || value >= size || inverse[value] >= 0) return false;
    inverse[value] = static_cast<int32_t>(i);
  }
  return true;
}

// The offsets of one example, (output height, output width, taps, 2).
void FillOffsets(const Layer& l, const int32_t* shown_at, const int32_t* target,
                 float* out) {
  const int64_t columns = l.Output(1);
  for (int64_t i = 0; i < l.Output(0); ++i) {
    for (int64_t j = 0; j < columns; ++j, ++target) {
      for (int64_t tap = 0; tap < l.kernel[0] * l.kernel[1]; ++tap, out += 2) {
        const int64_t down = tap / l.kernel[1] * l.dilation[0] - l.before[0];
        const int64_t right = tap % l.kernel[1] * l.dilation[1] - l.before[1];
        // What the tap is to see, and where it lies; -2: outside of the input.
        const int64_t y = *target / columns * l.stride[0] + down;
        const int64_t x = *target % columns * l.stride[1] + right;
        int64_t row = -2, column = -2;
        if (y >= 0 && y < l.size[0] && x >= 0 && x < l.size[1]) {
          const int64_t cell = shown_at[y * l.size[1] + x];
          row = cell / l.size[1], column = cell % l.size[1];
        }
        out[0] = static_cast<float>(row - (i * l.stride[0] + down));
        out[1] = static_cast<float>(column - (j * l.stride[1] + right));
      }
    }
  }
}

void Fill(Call* call, const Layer& layer, const int32_t* source, const int32_t* target,
          int64_t examples, float* out) {
  const int64_t in = layer.size[0] * layer.size[1];
  const int64_t positions = layer.Output(0) * layer.Output(1);
  const int64_t each = 2 * positions * layer.kernel[0] * layer.kernel[1];
  const int64_t grain = kOffsetsPerThread / std::max<int64_t>(1, each) + 1;
  std::atomic<bool> out_of_memory{false}, valid{true};
  ParallelFor(examples, grain, layer.num_threads, [&](int64_t begin, int64_t end) {
    try {
      std::vector<int32_t> shown_at(in), reached(positions);
      for (int64_t i = begin; i < end && valid; ++i) {
        if (Invert(source + i * in, in, shown_at.data()) &&
            Invert(target + i * positions, positions, reached.data())) {
          FillOffsets(layer, shown_at.data(), target + i * positions, out + i * each);
        } else {
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
  call.Require(2.0 * TF_Dim(source, 0) * height * width * taps <= kMostValues,
               "there are too many offsets.");
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

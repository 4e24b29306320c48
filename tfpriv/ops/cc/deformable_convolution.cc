// The ops TfprivDeformableConv2D (inputs, offsets, mask, filters, bias -> outputs) and
// its gradients: ...InputGradients, ...OffsetGradients (offsets and mask) and
// ...FilterGradients (filters and bias). They are apart because few calls need them all.

#include "deformable_convolution.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "deformable_passes.h"
#include "op.h"
#include "parallel.h"
#include "shapes.h"
#include "tf_c_api.h"
#include "workers.h"

namespace tfpriv::deformable {
namespace {

constexpr double kMostValues = 0x1p40;  // far from any overflow
constexpr int64_t kBiasGrain = 64;      // columns summed by one thread

struct Kernel {
  TF_DataType dtype;
  int64_t num_threads;
  int64_t stride[2], dilation[2], groups;
};

// One call's tensors; `last` is the bias forward and the outputs' gradients backward.
struct Tensors {
  TF_Tensor *inputs, *offsets, *mask, *filters, *last, *padding;
};

// --- Checks. ---

std::vector<int64_t> ShapeOf(const TF_Tensor* tensor) {
  std::vector<int64_t> shape;
  for (int i = 0; i < TF_NumDims(tensor); ++i) shape.push_back(TF_Dim(tensor, i));
  return shape;
}

// Of so few dimensions, none so large that products of two could overflow.
bool IsSmall(const TF_Tensor* tensor, int dims) {
  if (TF_NumDims(tensor) != dims) return false;
  for (int i = 0; i < dims; ++i) {
    if (TF_Dim(tensor, i) > INT32_MAX) return false;
  }
  return true;
}

// For each position of the output, one value per sample and coordinate.
bool FitsSamples(const TF_Tensor* tensor, const Deformable& d, int64_t coordinates) {
  const int64_t batch = TF_Dim(tensor, 0);
  return (batch == d.examples || batch == 1) && TF_Dim(tensor, 1) == d.output[0] &&
         TF_Dim(tensor, 2) == d.output[1] &&
         TF_Dim(tensor, 3) == coordinates * d.offset_groups * d.Taps();
}

bool HasMask(const Tensors& tensors) { return TF_Dim(tensors.mask, 3) > 0; }

// What the shapes say, as far as they fit each other.
Deformable Checked(Call* call, const Kernel& kernel, const Tensors& t) {
  Deformable d{};
  call->Require(IsSmall(t.inputs, 4) && IsSmall(t.offsets, 4) && IsSmall(t.mask, 4) &&
                    IsSmall(t.filters, 4),
                "inputs, offsets, mask and filters must have 4 dimensions below 2^31.");
  call->Require(ShapeOf(t.padding) == std::vector<int64_t>{4},
                "padding must be top, bottom, left, right.");
  if (!call->ok()) return d;
  const int32_t* padding = static_cast<const int32_t*>(TF_TensorData(t.padding));
  call->Require(*std::min_element(padding, padding + 4) >= 0,
                "padding must not be negative.");
  d.examples = TF_Dim(t.inputs, 0), d.channels = TF_Dim(t.inputs, 3);
  d.filters = TF_Dim(t.filters, 3), d.groups = kernel.groups;
  for (int axis = 0; axis < 2; ++axis) {
    d.size[axis] = TF_Dim(t.inputs, axis + 1), d.kernel[axis] = TF_Dim(t.filters, axis);
    d.stride[axis] = kernel.stride[axis], d.dilation[axis] = kernel.dilation[axis];
    d.before[axis] = padding[2 * axis];
    const int64_t free = d.size[axis] + d.before[axis] + padding[2 * axis + 1] -
                         (d.kernel[axis] - 1) * d.dilation[axis] - 1;
    d.output[axis] = free < 0 ? 0 : free / d.stride[axis] + 1;
  }
  const std::string shapes =
      " Received: inputs of shape " + Shape(t.inputs) + ", offsets of shape " +
      Shape(t.offsets) + ", mask of shape " + Shape(t.mask) + ", filters of shape " +
      Shape(t.filters) + ", groups=" + std::to_string(d.groups);
  call->Require(d.Taps() > 0 && d.channels % d.groups == 0 &&
                    TF_Dim(t.filters, 2) == d.channels / d.groups &&
                    d.filters % d.groups == 0,
                "filters must have shape (height, width, channels / groups, filters), "
                "groups must divide the filters." +
                    shapes);
  if (!call->ok()) return d;
  d.offset_groups = TF_Dim(t.offsets, 3) / (2 * d.Taps());
  call->Require(d.offset_groups > 0 && d.channels % d.offset_groups == 0 &&
                    FitsSamples(t.offsets, d, 2),
                "offsets must have shape (examples or 1, output height, output width, "
                "2 * offset groups * taps), offset groups must divide the channels." +
                    shapes);
  if (!call->ok()) return d;
  d.shared_offsets = TF_Dim(t.offsets, 0) == 1;
  d.shared_mask = TF_Dim(t.mask, 0) == 1;
  call->Require(!HasMask(t) || FitsSamples(t.mask, d, 1),
                "mask must have the offsets' shape with half of their channels." +
                    shapes);
  const double places = 1.0 * d.examples * d.output[0] * d.output[1];
  call->Require(places * std::max(2 * d.offset_groups * d.Taps(), d.filters) <=
                    kMostValues,
                "the output is too large." + shapes);
  return d;
}

// --- The work, with T the tensors' type. ---

template <typename T>
DeformableValues<T> Values(const Tensors& tensors) {
  const auto data = [](const TF_Tensor* tensor) {
    return static_cast<const T*>(TF_TensorData(tensor));
  };
  return {data(tensors.inputs), data(tensors.offsets),
          HasMask(tensors) ? data(tensors.mask) : nullptr, data(tensors.filters),
          data(tensors.last)};
}

template <typename T>
T* Fresh(Call* call, int index, const Kernel& kernel, const std::vector<int64_t>& shape) {
  TF_Tensor* tensor = call->Output(index, kernel.dtype, shape);
  return call->ok() ? static_cast<T*>(TF_TensorData(tensor)) : nullptr;
}

// Products of so many positions; reading a sample costs as much as some.
double Work(const Deformable& d, double positions) {
  return positions * d.Taps() * d.channels * (d.GroupFilters() + 16.0);
}

// Examples that share their samples take turns chunk by chunk, others one by one.
Chunk ChunkOf(const Deformable& d, int64_t item) {
  if (d.shared_offsets) return Chunk(d, item % d.examples, item / d.examples);
  return Chunk(d, item / d.Chunks(), item % d.Chunks());
}

template <typename T>
void ComputeForward(Call* call, const Kernel& kernel, const Tensors& t,
                    const Deformable& d) {
  call->Require(ShapeOf(t.last) == std::vector<int64_t>{d.filters},
                "bias must have shape (filters,). Received: bias of shape " +
                    Shape(t.last));
  T* out = Fresh<T>(call, 0, kernel, {d.examples, d.output[0], d.output[1], d.filters});
  if (!call->ok() || d.examples * d.OutputSize() == 0) return;
  const DeformableValues<T> values = Values<T>(t);
  const T* bias = static_cast<const T*>(TF_TensorData(t.last));
  if (d.channels == 0) {
    for (T* end = out + d.examples * d.OutputSize(); out < end; out += d.filters) {
      std::copy_n(bias, d.filters, out);
    }
    return;
  }
  const ForwardFilters<T> filters(d, values.filters);
  ForEach<Forward<T>>(
      call, d.examples * d.Chunks(), Work(d, kChunk), kernel.num_threads,
      [&] { return std::make_unique<Forward<T>>(d, values, filters, bias, out); },
      [&](Forward<T>& forward, int64_t item) { forward(ChunkOf(d, item)); });
}

template <typename T>
void ComputeInputGradients(Call* call, const Kernel& kernel, const Tensors& t,
                           const Deformable& d) {
  T* out = Fresh<T>(call, 0, kernel, ShapeOf(t.inputs));
  if (!call->ok() || d.examples * d.InputSize() == 0) return;
  if (d.OutputSize() == 0) {
    std::fill_n(out, d.examples * d.InputSize(), T{0});
    return;
  }
  const DeformableValues<T> values = Values<T>(t);
  const BackwardFilters<T> filters(d, values.filters);
  std::vector<size_t> starts;  // of parts of other channels than before
  for (size_t i = 0; i < filters.parts.size(); ++i) {
    if (filters.parts[i].tap == 0) starts.push_back(i);
  }
  const int64_t ranges = starts.size();
  starts.push_back(filters.parts.size());
  ForEach<InputGradients<T>>(
      call, d.examples * ranges, Work(d, d.Positions()) / ranges, kernel.num_threads,
      [&] { return std::make_unique<InputGradients<T>>(d, values, filters, out); },
      [&](InputGradients<T>& gradients, int64_t item) {
        gradients(item / ranges, starts[item % ranges], starts[item % ranges + 1]);
      });
}

// Writes the sums over examples, which are `size` values each, in their order.
template <typename T>
void AddExamples(const T* values, int64_t examples, int64_t size, T* out) {
  std::copy_n(values, size, out);
  for (int64_t example = 1; example < examples; ++example) {
    values += size;
    for (int64_t i = 0; i < size; ++i) out[i] += values[i];
  }
}

template <typename T>
void ComputeOffsetGradients(Call* call, const Kernel& kernel, const Tensors& t,
                            const Deformable& d) {
  T* offsets = Fresh<T>(call, 0, kernel, ShapeOf(t.offsets));
  T* mask = Fresh<T>(call, 1, kernel, ShapeOf(t.mask));
  if (!call->ok()) return;
  const int64_t size = d.examples * d.Samples();
  if (size == 0 || d.channels * d.filters == 0) {
    std::fill_n(offsets, TF_TensorElementCount(t.offsets), T{0});
    std::fill_n(mask, TF_TensorElementCount(t.mask), T{0});
    return;
  }
  const DeformableValues<T> values = Values<T>(t);
  const BackwardFilters<T> filters(d, values.filters);
  const bool add_offsets = d.shared_offsets && d.examples > 1;
  const bool add_mask = values.mask && d.shared_mask && d.examples > 1;
  const Buffer<T> own_offsets(add_offsets ? 2 * size : 0), own_mask(add_mask ? size : 0);
  T* offsets_out = add_offsets ? own_offsets.get() : offsets;
  T* mask_out = add_mask ? own_mask.get() : values.mask ? mask : nullptr;
  typedef OffsetGradients<T> Worker;
  ForEach<Worker>(
      call, d.examples * d.Chunks(), Work(d, kChunk), kernel.num_threads,
      [&] { return std::make_unique<Worker>(d, values, filters, offsets_out, mask_out); },
      [&](Worker& gradients, int64_t item) { gradients(ChunkOf(d, item)); });
  if (add_offsets) AddExamples(offsets_out, d.examples, 2 * d.Samples(), offsets);
  if (add_mask) AddExamples(mask_out, d.examples, d.Samples(), mask);
}

// The sum of rows [0, rows) in columns [begin, end), a chunk of rows at a time.
template <typename T>
void AddRows(const T* values, int64_t rows, int64_t columns, int64_t begin, int64_t end,
             T* out) {
  T sums[kBiasGrain];
  for (; begin < end; begin += kBiasGrain) {
    const int64_t width = std::min(kBiasGrain, end - begin);
    std::fill_n(out + begin, width, T{0});
    for (int64_t row = 0; row < rows; row += kChunk) {
      std::fill_n(sums, width, T{0});
      for (int64_t i = row; i < std::min(rows, row + kChunk); ++i) {
        const T* from = values + i * columns + begin;
        for (int64_t c = 0; c < width; ++c) sums[c] += from[c];
      }
      for (int64_t c = 0; c < width; ++c) out[begin + c] += sums[c];
    }
  }
}

template <typename T>
void ComputeFilterGradients(Call* call, const Kernel& kernel, const Tensors& t,
                            const Deformable& d) {
  T* out = Fresh<T>(call, 0, kernel, ShapeOf(t.filters));
  T* bias = Fresh<T>(call, 1, kernel, {d.filters});
  if (!call->ok()) return;
  const DeformableValues<T> values = Values<T>(t);
  const int64_t places = d.examples * d.Positions();
  ParallelFor(d.filters, kBiasGrain, kernel.num_threads, [&](int64_t begin, int64_t end) {
    AddRows(values.gradients, places, d.filters, begin, end, bias);
  });
  if (d.FilterSize() == 0) return;
  if (places == 0) {
    std::fill_n(out, d.FilterSize(), T{0});
    return;
  }
  const std::vector<Part> parts = FilterParts(d);
  typedef FilterGradients<T> Worker;
  ForRanges<Worker>(
      call, parts.size(), Work(d, places) / parts.size(), kernel.num_threads,
      [&] { return std::make_unique<Worker>(d, values, parts, out); },
      [&](Worker& gradients, int64_t begin, int64_t end) { gradients(begin, end); });
}

// --- The kernels. ---

typedef void (*Computation)(Call*, const Kernel&, const Tensors&, const Deformable&);

template <bool backward, Computation single, Computation wide>
void Compute(void* state, TF_OpKernelContext* context) {
  const Kernel& kernel = *static_cast<const Kernel*>(state);
  Call call(context, "deformable_conv2d");
  const Tensors tensors{call.Input(0), call.Input(1), call.Input(2),
                        call.Input(3), call.Input(4), call.Input(5)};
  if (!call.ok()) return;
  try {
    const Deformable layer = Checked(&call, kernel, tensors);
    const std::vector<int64_t> outputs{layer.examples, layer.output[0], layer.output[1],
                                       layer.filters};
    call.Require(!backward || ShapeOf(tensors.last) == outputs,
                 "gradients must have the shape of the output. Received: " +
                     Shape(tensors.last));
    if (!call.ok()) return;
    (kernel.dtype == TF_DOUBLE ? wide : single)(&call, kernel, tensors, layer);
  } catch (const std::bad_alloc&) {
    call.Fail(TF_RESOURCE_EXHAUSTED, "no memory.");
  } catch (const std::length_error&) {
    call.Fail(TF_RESOURCE_EXHAUSTED, "no memory.");
  }
}

void* Create(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  auto kernel = std::make_unique<Kernel>();
  kernel->dtype = attributes.Type("T");
  kernel->num_threads = attributes.Integer("num_threads");
  attributes.Integers("strides", 1, kernel->stride);
  attributes.Integers("dilations", 1, kernel->dilation);
  kernel->groups = attributes.Integer("groups");
  return kernel.release();
}

void Destroy(void* state) { delete static_cast<Kernel*>(state); }

// An output of an input's shape.
Dimensions All(int input) { return {input, 4, 0, 4}; }

void RegisterOne(const char* name, const char* last,
                 std::initializer_list<const char*> outputs,
                 void (*compute)(void*, TF_OpKernelContext*),
                 void (*shapes)(TF_ShapeInferenceContext*, TF_Status*)) {
  Op{name,
     {"inputs: T", "offsets: T", "mask: T", "filters: T", last, "padding: int32"},
     outputs,
     {"T: {float, double}", "strides: list(int)", "dilations: list(int)",
      "groups: int >= 1 = 1", "num_threads: int >= 0 = 0"},
     Create,
     compute,
     Destroy,
     shapes}
      .Register();
}

// Runs when the library is loaded.
__attribute__((constructor)) void Register() {
  RegisterOne("TfprivDeformableConv2D", "bias: T", {"outputs: T"},
              Compute<false, ComputeForward<float>, ComputeForward<double>>,
              [](TF_ShapeInferenceContext* context, TF_Status* status) {
                SetOutputShape(context, 0, {{0, 4, 0, 1}, {1, 4, 1, 3}, {3, 4, 3, 4}},
                               status);
              });
  RegisterOne("TfprivDeformableConv2DInputGradients", "gradients: T",
              {"input_gradients: T"},
              Compute<true, ComputeInputGradients<float>, ComputeInputGradients<double>>,
              [](TF_ShapeInferenceContext* context, TF_Status* status) {
                SetOutputShape(context, 0, {All(0)}, status);
              });
  RegisterOne(
      "TfprivDeformableConv2DOffsetGradients", "gradients: T",
      {"offset_gradients: T", "mask_gradients: T"},
      Compute<true, ComputeOffsetGradients<float>, ComputeOffsetGradients<double>>,
      [](TF_ShapeInferenceContext* context, TF_Status* status) {
        SetOutputShape(context, 0, {All(1)}, status);
        if (TF_GetCode(status) == TF_OK) SetOutputShape(context, 1, {All(2)}, status);
      });
  RegisterOne(
      "TfprivDeformableConv2DFilterGradients", "gradients: T",
      {"filter_gradients: T", "bias_gradients: T"},
      Compute<true, ComputeFilterGradients<float>, ComputeFilterGradients<double>>,
      [](TF_ShapeInferenceContext* context, TF_Status* status) {
        SetOutputShape(context, 0, {All(3)}, status);
        if (TF_GetCode(status) == TF_OK) {
          SetOutputShape(context, 1, {{3, 4, 3, 4}}, status);
        }
      });
}

}  // namespace
}  // namespace tfpriv::deformable

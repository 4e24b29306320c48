// The ops TfprivKeyedPool2D and TfprivKeyedPool2DGradient: the largest value or the
// average below a window, of shuffled planes into shuffled planes. Padding counts for
// neither.

#include <algorithm>
#include <new>
#include <string>
#include <vector>

#include "inline.h"
#include "keyed_op.h"

namespace tfpriv {
namespace {

constexpr int64_t kGrainNumbers = 1 << 17;  // a thread's least work

// One position: `out` of the pixels that its row of the table names.
template <typename T>
TFPRIV_INLINE void Largest(const T* plane, const int32_t* seen, int64_t taps,
                           int64_t channels, T* out) {
  bool first = true;
  for (int64_t k = 0; k < taps; ++k) {
    if (seen[k] < 0) continue;
    const T* values = plane + seen[k] * channels;
    for (int64_t c = 0; c < channels; ++c) {
      out[c] = !first && !(values[c] > out[c]) ? out[c] : values[c];
    }
    first = false;
  }
  if (first) std::fill(out, out + channels, T{0});
}

template <typename T>
TFPRIV_INLINE void Average(const T* plane, const int32_t* seen, int64_t taps,
                           int64_t channels, T* out) {
  std::fill(out, out + channels, T{0});
  T count = 0;
  for (int64_t k = 0; k < taps; ++k) {
    if (seen[k] < 0) continue;
    const T* values = plane + seen[k] * channels;
    for (int64_t c = 0; c < channels; ++c) out[c] += values[c];
    count += 1;
  }
  for (int64_t c = 0; count > 0 && c < channels; ++c) out[c] /= count;
}

// Adds one position's gradient to the plane's: to the first of the largest values.
template <typename T>
TFPRIV_INLINE void AddToLargest(const T* plane, const T* gradient, const int32_t* seen,
                                int64_t taps, int64_t channels, T* out) {
  for (int64_t c = 0; c < channels; ++c) {
    int64_t best = -1;
    for (int64_t k = 0; k < taps; ++k) {
      if (seen[k] < 0) continue;
      const int64_t at = seen[k] * channels + c;
      if (best < 0 || plane[at] > plane[best]) best = at;
    }
    if (best >= 0) out[best] += gradient[c];
  }
}

template <typename T>
TFPRIV_INLINE void AddToAll(const T* gradient, const int32_t* seen, int64_t taps,
                            int64_t channels, T* out) {
  T count = 0;
  for (int64_t k = 0; k < taps; ++k) count += seen[k] >= 0;
  for (int64_t k = 0; k < taps; ++k) {
    if (seen[k] < 0) continue;
    T* values = out + seen[k] * channels;
    for (int64_t c = 0; c < channels; ++c) values[c] += gradient[c] / count;
  }
}

template <typename T>
struct Pool {
  const KeyedKernel& kernel;
  Window window;
  int64_t channels;

  int64_t TableSize() const { return window.Positions() * window.Taps(); }

  void Forward(const T* plane, const int32_t* seen, T* out) const {
    for (int64_t q = 0; q < window.Positions(); ++q) {
      const int32_t* row = seen + q * window.Taps();
      if (kernel.average) {
        Average(plane, row, window.Taps(), channels, out + q * channels);
      } else {
        Largest(plane, row, window.Taps(), channels, out + q * channels);
      }
    }
  }

  void Backward(const T* plane, const T* gradient, const int32_t* seen, T* out) const {
    std::fill(out, out + window.Pixels() * channels, T{0});
    for (int64_t q = 0; q < window.Positions(); ++q) {
      const int32_t* row = seen + q * window.Taps();
      if (kernel.average) {
        AddToAll(gradient + q * channels, row, window.Taps(), channels, out);
      } else {
        AddToLargest(plane, gradient + q * channels, row, window.Taps(), channels, out);
      }
    }
  }
};

// Calls work(pool, example, the example's table) for each example.
template <typename T, typename Work>
void ForExamples(const Pool<T>& pool, const KeyedTables& tables, int64_t examples,
                 const Work& work) {
  const int64_t threads = pool.kernel.num_threads;
  const int64_t grain = kGrainNumbers / (pool.TableSize() * pool.channels + 1) + 1;
  for (int64_t first = 0; first < examples; first += tables.ExamplesAtATime()) {
    const int64_t last = std::min(examples, first + tables.ExamplesAtATime());
    const Table table = tables.Of(first, last);
    ParallelFor(last - first, grain, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t at = tables.shared() ? 0 : i * pool.TableSize();
        work(first + i, table->data() + at);
      }
    });
  }
}

template <typename T>
void PoolAs(Call* call, const KeyedKernel& kernel, bool gradient) {
  TF_Tensor* input = call->Input(0);
  TF_Tensor* gradients = gradient ? call->Input(1) : nullptr;
  TF_Tensor* source = call->Input(gradient ? 2 : 1);
  TF_Tensor* target = call->Input(gradient ? 3 : 2);
  if (!call->ok()) return;
  call->Require(TF_NumDims(input) == 4,
                "inputs must be (n, h, w, c). Received: shape " + Shape(input));
  if (!call->ok()) return;
  const int64_t examples = TF_Dim(input, 0), channels = TF_Dim(input, 3);
  Pool<T> pool{kernel, kernel.window, channels};
  for (int axis = 0; axis < 2; ++axis) pool.window.size[axis] = TF_Dim(input, axis + 1);
  const Window& window = pool.window;
  const KeyedTables tables(call, kernel, window, examples, source, target, Reading::kSeen);
  if (!call->ok()) return;
  const int64_t plane = window.Pixels() * channels, out_plane = window.Positions() * channels;
  const T* values = static_cast<const T*>(TF_TensorData(input));
  if (!gradient) {
    TF_Tensor* output = call->Output(
        0, kernel.dtype, {examples, window.Output(0), window.Output(1), channels});
    if (!call->ok() || TF_TensorElementCount(output) == 0) return;
    T* out = static_cast<T*>(TF_TensorData(output));
    ForExamples(pool, tables, examples, [&](int64_t i, const int32_t* seen) {
      pool.Forward(values + i * plane, seen, out + i * out_plane);
    });
    return;
  }
  call->Require(TF_NumDims(gradients) == 4 && TF_Dim(gradients, 0) == examples &&
                    TF_Dim(gradients, 1) == window.Output(0) &&
                    TF_Dim(gradients, 2) == window.Output(1) &&
                    TF_Dim(gradients, 3) == channels,
                "gradients must have the output's shape. Received: " + Shape(gradients));
  if (!call->ok()) return;
  TF_Tensor* output = call->Output(
      0, kernel.dtype, {examples, window.size[0], window.size[1], channels});
  if (!call->ok() || TF_TensorElementCount(output) == 0) return;
  const T* from = static_cast<const T*>(TF_TensorData(gradients));
  T* out = static_cast<T*>(TF_TensorData(output));
  ForExamples(pool, tables, examples, [&](int64_t i, const int32_t* seen) {
    pool.Backward(values + i * plane, from + i * out_plane, seen, out + i * plane);
  });
}

template <bool gradient>
void Compute(void* state, TF_OpKernelContext* context) {
  const KeyedKernel& kernel = *static_cast<const KeyedKernel*>(state);
  Call call(context, "keyed_pool2d");
  try {
    (kernel.dtype == TF_DOUBLE ? PoolAs<double> : PoolAs<float>)(&call, kernel, gradient);
  } catch (const std::bad_alloc&) {
    call.Fail(TF_RESOURCE_EXHAUSTED, "no memory.");
  }
}

void* Create(TF_OpKernelConstruction* construction) {
  return KeyedKernel::Create(construction, true, false, true);
}

void Destroy(void* state) { delete static_cast<KeyedKernel*>(state); }

// Runs when the library is loaded.
__attribute__((constructor)) void Register() {
  const std::initializer_list<const char*> attributes = {
      "T: {float, double}", "kernel_size: list(int)",      "strides: list(int)",
      "dilations: list(int)", "before: list(int)",         "after: list(int)",
      "average: int",       "num_threads: int >= 0 = 0"};
  Op{"TfprivKeyedPool2D",
     {"inputs: T", "source: int32", "target: int32"},
     {"outputs: T"},
     attributes,
     Create,
     Compute<false>,
     Destroy}
      .Register();
  Op{"TfprivKeyedPool2DGradient",
     {"inputs: T", "gradients: T", "source: int32", "target: int32"},
     {"input_gradients: T"},
     attributes,
     Create,
     Compute<true>,
     Destroy}
      .Register();
}

}  // namespace
}  // namespace tfpriv

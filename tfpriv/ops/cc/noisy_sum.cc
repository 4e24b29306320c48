// The op TfprivNoisySum: a sum and Gaussian noise, added as whole numbers of a grid.
//
// Reference: tfpriv/ops/reference/noise.py, which gives the same bits.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "noise.h"
#include "op.h"
#include "parallel.h"
#include "secret.h"
#include "tf_c_api.h"

namespace tfpriv {
namespace {

constexpr int64_t kValuesPerThread = 1 << 15;  // less than that is not worth a thread
constexpr double kLargestSum = 0x1p52;  // beyond it, doubles are no longer exact integers

// What one call computes with; `unit` is unused where whole numbers are the output.
struct Scale {
  double steps_per_unit;   // 1 / grid step, a power of two
  double stddev_in_steps;  // of the noise
  double unit;             // the value of one step in the output
};

template <typename T>
TFPRIV_INLINE T Written(double whole, const Scale& scale) {
  return static_cast<T>(whole * scale.unit);
}

template <>
TFPRIV_INLINE int64_t Written<int64_t>(double whole, const Scale&) {
  return static_cast<int64_t>(whole);
}

// Values [begin, end); begin is the first value of a block of the stream.
template <typename T, int LANES>
TFPRIV_INLINE void AddNoise(const StreamKey& key, const Scale& scale, int64_t begin,
                            int64_t end, const double* sum, T* out) {
  constexpr int64_t kGroup = LANES * kValuesPerBlock;
  alignas(64) double noise[kGroup];
  for (; begin < end; begin += kGroup) {
    FillGroup<double, LANES>(key, begin / kValuesPerBlock, noise);
    const int64_t size = std::min(kGroup, end - begin);
    for (int64_t i = 0; i < size; ++i) {
      const double steps = sum[begin + i] * scale.steps_per_unit;
      const double bounded = std::min(std::max(steps, -kLargestSum), kLargestSum);
      const double whole =
          std::nearbyint(bounded) + std::nearbyint(noise[i] * scale.stddev_in_steps);
      out[begin + i] = Written<T>(whole, scale);
    }
  }
}

// --- One function per instruction set; the processor decides at run time. ---

template <typename T>
void AddBaseline(const StreamKey& key, const Scale& scale, int64_t begin, int64_t end,
                 const double* sum, T* out) {
  AddNoise<T, 4>(key, scale, begin, end, sum, out);
}

#if defined(__x86_64__)
template <typename T>
__attribute__((target("avx2"))) void AddAvx2(const StreamKey& key, const Scale& scale,
                                             int64_t begin, int64_t end,
                                             const double* sum, T* out) {
  AddNoise<T, 8>(key, scale, begin, end, sum, out);
}

template <typename T>
__attribute__((target("avx512f,avx512dq,avx512vl,prefer-vector-width=512"))) void
AddAvx512(const StreamKey& key, const Scale& scale, int64_t begin, int64_t end,
          const double* sum, T* out) {
  AddNoise<T, 16>(key, scale, begin, end, sum, out);
}
#endif

template <typename T>
void (*ChooseAdd())(const StreamKey&, const Scale&, int64_t, int64_t, const double*, T*) {
#if defined(__x86_64__)
  if (HasAvx512()) return AddAvx512<T>;
  if (HasAvx2()) return AddAvx2<T>;
#endif
  return AddBaseline<T>;
}

template <typename T>
void AddInParallel(const StreamKey& key, const Scale& scale, int64_t size,
                   int64_t threads, const double* sum, void* out) {
  static const auto add = ChooseAdd<T>();
  ParallelFor(size, kValuesPerThread, threads, [&](int64_t begin, int64_t end) {
    add(key, scale, begin, end, sum, static_cast<T*>(out));
  });
}

// --- The kernel. ---

struct Attribute {
  TF_DataType dtype;
  int64_t num_threads;
};

double PositiveInput(Call* call, int index, const char* name) {
  TF_Tensor* tensor = call->Input(index);
  if (!call->ok()) return 0;
  call->Require(TF_NumDims(tensor) == 0, std::string(name) + " must be a scalar.");
  if (!call->ok()) return 0;
  const double value = *static_cast<const double*>(TF_TensorData(tensor));
  call->Require(value > 0 && std::isfinite(value),
                std::string(name) + " must be finite and larger than 0. Received: " +
                    std::to_string(value));
  return value;
}

void Compute(void* state, TF_OpKernelContext* context) {
  const Attribute& attribute = *static_cast<const Attribute*>(state);
  Call call(context, "noisy_sum");
  TF_Tensor* sum = call.Input(0);
  StreamKey key;
  ReadKey(&call, 1, key.key);
  key.stream = ReadStream(&call, 2);
  const double step = PositiveInput(&call, 3, "step");
  const double stddev = PositiveInput(&call, 4, "stddev");
  const double scale = PositiveInput(&call, 5, "scale");
  if (!call.ok()) return;

  std::vector<int64_t> shape;
  for (int i = 0; i < TF_NumDims(sum); ++i) shape.push_back(TF_Dim(sum, i));
  TF_Tensor* output = call.Output(0, attribute.dtype, shape);
  const int64_t size = TF_TensorElementCount(sum);
  if (!call.ok() || size == 0) return;
  const Scale factors{1 / step, stddev / step, step * scale};
  const double* values = static_cast<const double*>(TF_TensorData(sum));
  void* out = TF_TensorData(output);
  const int64_t threads = attribute.num_threads;
  switch (attribute.dtype) {
    case TF_DOUBLE: return AddInParallel<double>(key, factors, size, threads, values, out);
    case TF_FLOAT: return AddInParallel<float>(key, factors, size, threads, values, out);
    default: return AddInParallel<int64_t>(key, factors, size, threads, values, out);
  }
}

void* Create(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  return new Attribute{attributes.Type("dtype"), attributes.Integer("num_threads")};
}

void Destroy(void* state) { delete static_cast<Attribute*>(state); }

// Runs when the library is loaded.
__attribute__((constructor)) void Register() {
  Op{"TfprivNoisySum",
     {"sum: double", "key: uint8", "stream: int64", "step: double", "stddev: double",
      "scale: double"},
     {"noisy: dtype"},
     {"dtype: {float, double, int64} = DT_FLOAT", "num_threads: int >= 0 = 0"},
     Create,
     Compute,
     Destroy}
      .Register();
}

}  // namespace
}  // namespace tfpriv

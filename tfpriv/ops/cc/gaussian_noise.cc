// The op TfprivGaussianNoise: (key, shape, stream) -> standard normal tensor.

#include <algorithm>
#include <string>
#include <vector>

#include "noise.h"
#include "op.h"
#include "parallel.h"
#include "secret.h"
#include "tf_c_api.h"

namespace tfpriv {
namespace {

constexpr int64_t kMaxDims = 254;  // TensorFlow's own limit
constexpr double kMaxValues = 0x1p40;  // far from any overflow
constexpr int64_t kValuesPerThread = 1 << 15;  // less than that is not worth a thread

struct Noise {
  TF_DataType dtype;
  int64_t num_threads;
};

// --- One function per instruction set; the processor decides at run time. ---

template <typename T>
void FillBaseline(const StreamKey& key, int64_t begin, int64_t end, T* out) {
  Fill<T, 4>(key, begin, end, out);
}

#if defined(__x86_64__)
template <typename T>
__attribute__((target("avx2"))) void FillAvx2(const StreamKey& key, int64_t begin,
                                              int64_t end, T* out) {
  Fill<T, 8>(key, begin, end, out);
}

template <typename T>
__attribute__((target("avx512f,avx512dq,avx512vl,prefer-vector-width=512"))) void
FillAvx512(const StreamKey& key, int64_t begin, int64_t end, T* out) {
  Fill<T, 16>(key, begin, end, out);
}
#endif

template <typename T>
void (*ChooseFill())(const StreamKey&, int64_t, int64_t, T*) {
#if defined(__x86_64__)
  if (HasAvx512()) return FillAvx512<T>;
  if (HasAvx2()) return FillAvx2<T>;
#endif
  return FillBaseline<T>;
}

template <typename T>
void FillInParallel(const StreamKey& key, int64_t size, int64_t threads, T* out) {
  static const auto fill = ChooseFill<T>();
  ParallelFor(size, kValuesPerThread, threads, [&](int64_t begin, int64_t end) {
    fill(key, begin, end, out);
  });
}

// --- The kernel. ---

// Checks the shape and returns its number of values.
int64_t CheckedSize(Call* call, TF_Tensor* shape) {
  const int64_t num_dims = TF_TensorElementCount(shape);
  const int64_t* dims = static_cast<const int64_t*>(TF_TensorData(shape));
  call->Require(TF_NumDims(shape) == 1, "shape must be a vector.");
  call->Require(num_dims <= kMaxDims, "shape must have at most 254 dimensions.");
  if (!call->ok()) return 0;
  double size = 1;  // does not wrap around as an integer would
  for (int64_t i = 0; i < num_dims; ++i) {
    call->Require(dims[i] >= 0, "shape must not be negative anywhere. Received: " +
                                    std::to_string(dims[i]) + " in dimension " +
                                    std::to_string(i));
    size *= static_cast<double>(dims[i]);
  }
  call->Require(size <= kMaxValues, "shape must have at most 2^40 values.");
  return call->ok() ? static_cast<int64_t>(size) : 0;
}

void Compute(void* state, TF_OpKernelContext* context) {
  const Noise& noise = *static_cast<const Noise*>(state);
  Call call(context, "gaussian_noise");
  StreamKey key;
  ReadKey(&call, 0, key.key);
  TF_Tensor* shape = call.Input(1);
  key.stream = ReadStream(&call, 2);
  if (!call.ok()) return;
  const int64_t size = CheckedSize(&call, shape);
  if (!call.ok()) return;

  const int64_t* dims = static_cast<const int64_t*>(TF_TensorData(shape));
  TF_Tensor* output = call.Output(
      0, noise.dtype, std::vector<int64_t>(dims, dims + TF_TensorElementCount(shape)));
  if (!call.ok() || size == 0) return;
  void* out = TF_TensorData(output);
  if (noise.dtype == TF_DOUBLE) {
    FillInParallel(key, size, noise.num_threads, static_cast<double*>(out));
  } else {
    FillInParallel(key, size, noise.num_threads, static_cast<float*>(out));
  }
}

void* Create(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  return new Noise{attributes.Type("dtype"), attributes.Integer("num_threads")};
}

void Destroy(void* state) { delete static_cast<Noise*>(state); }

// Runs when the library is loaded.
__attribute__((constructor)) void Register() {
  Op{"TfprivGaussianNoise",
     {"key: uint8", "shape: int64", "stream: int64"},
     {"noise: dtype"},
     {"dtype: {float, double} = DT_FLOAT", "num_threads: int >= 0 = 0"},
     Create,
     Compute,
     Destroy}
      .Register();
}

}  // namespace
}  // namespace tfpriv

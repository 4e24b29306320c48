// The op TfprivPermutations: (key, nonces, size) -> a permutation for each nonce.

#include <cstring>
#include <string>

#include "op.h"
#include "parallel.h"
#include "permutations.h"
#include "secret.h"
#include "tf_c_api.h"

namespace tfpriv {
namespace {

constexpr int64_t kNonceBytes = 12;
constexpr double kMaxValues = 0x1p40;  // far from any overflow
constexpr int64_t kStepsPerThread = 1 << 13;  // less than that is not worth a thread

struct Permutations {
  int64_t num_threads;
};

// --- One function per instruction set; the processor decides at run time. ---

void PermuteBaseline(const PictureKey& key, int64_t size, int32_t* out) {
  Permute<4>(key, size, out);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) void PermuteAvx2(const PictureKey& key, int64_t size,
                                                 int32_t* out) {
  Permute<8>(key, size, out);
}

__attribute__((target("avx512f,avx512dq,avx512vl,prefer-vector-width=512"))) void
PermuteAvx512(const PictureKey& key, int64_t size, int32_t* out) {
  Permute<16>(key, size, out);
}
#endif

void (*ChoosePermute())(const PictureKey&, int64_t, int32_t*) {
#if defined(__x86_64__)
  if (HasAvx512()) return PermuteAvx512;
  if (HasAvx2()) return PermuteAvx2;
#endif
  return PermuteBaseline;
}

// --- The kernel. ---

void Compute(void* state, TF_OpKernelContext* context) {
  const Permutations& op = *static_cast<const Permutations*>(state);
  Call call(context, "permutations");
  PictureKey secret;
  ReadKey(&call, 0, secret.key);
  TF_Tensor* nonce_tensor = call.Input(1);
  TF_Tensor* size_tensor = call.Input(2);
  if (!call.ok()) return;
  call.Require(TF_NumDims(nonce_tensor) == 2 && TF_Dim(nonce_tensor, 1) == kNonceBytes,
               "nonces must have shape (pictures, 12).");
  call.Require(TF_NumDims(size_tensor) == 0, "size must be a scalar.");
  if (!call.ok()) return;
  const int64_t size = *static_cast<const int64_t*>(TF_TensorData(size_tensor));
  const int64_t pictures = TF_Dim(nonce_tensor, 0);
  call.Require(size >= 1 && size <= INT32_MAX,
               "size must be in [1, 2^31). Received: " + std::to_string(size));
  call.Require(static_cast<double>(pictures) * static_cast<double>(size) <= kMaxValues,
               "there must be at most 2^40 places.");
  TF_Tensor* output = call.Output(0, TF_INT32, {pictures, size});
  if (!call.ok() || pictures == 0) return;

  const uint8_t* nonces = static_cast<const uint8_t*>(TF_TensorData(nonce_tensor));
  int32_t* out = static_cast<int32_t*>(TF_TensorData(output));
  static const auto permute = ChoosePermute();
  const int64_t grain = std::max<int64_t>(1, kStepsPerThread / size);
  ParallelFor(pictures, grain, op.num_threads, [&](int64_t begin, int64_t end) {
    PictureKey key = secret;
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(key.nonce, nonces + i * kNonceBytes, sizeof key.nonce);
      permute(key, size, out + i * size);
    }
  });
}

void* Create(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  return new Permutations{attributes.Integer("num_threads")};
}

void Destroy(void* state) { delete static_cast<Permutations*>(state); }

// Runs when the library is loaded.
__attribute__((constructor)) void Register() {
  Op{"TfprivPermutations",
     {"key: uint8", "nonces: uint8", "size: int64"},
     {"permutations: int32"},
     {"num_threads: int >= 0 = 0"},
     Create,
     Compute,
     Destroy}
      .Register();
}

}  // namespace
}  // namespace tfpriv

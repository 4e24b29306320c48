// The ops TfprivPhiloxKeys and TfprivPhiloxUniform: what TensorFlow's stateless random
// ops return for one seed, for many seeds at once.
//
// Reference: TensorFlow's own ops, seed by seed; both give the same bits.
// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "inline.h"
#include "op.h"
#include "parallel.h"
#include "tf_c_api.h"

namespace tfpriv {
namespace {

constexpr int kWords = 4;  // 32-bit words of a block
constexpr int kLanes = 8;  // blocks that are computed together
constexpr int64_t kValuesPerThread = 1 << 15;  // less than that is not worth a thread

TFPRIV_INLINE void Round(uint32_t key0, uint32_t key1, uint32_t (&words)[kWords][kLanes]) {
  for (int l = 0; l < kLanes; ++l) {
    const uint64_t a = uint64_t{0xD2511F53} * words[0][l];
    const uint64_t b = uint64_t{0xCD9E8D57} * words[2][l];
    words[0][l] = static_cast<uint32_t>(b >> 32) ^ words[1][l] ^ key0;
    words[2][l] = static_cast<uint32_t>(a >> 32) ^ words[3][l] ^ key1;
    words[1][l] = static_cast<uint32_t>(b);
    words[3][l] = static_cast<uint32_t>(a);
  }
}

// The blocks of kLanes counters, in place.
TFPRIV_INLINE void Philox(uint64_t key, uint32_t (&words)[kWords][kLanes]) {
  uint32_t key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    Round(key0, key1, words);
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
}

// Counter (low, high) + l in lane l, with 128 bits.
TFPRIV_INLINE void Count(uint64_t low, uint64_t high, uint32_t (&words)[kWords][kLanes]) {
  for (int l = 0; l < kLanes; ++l) {
    const uint64_t sum = low + l, carried = high + (sum < low);
    words[0][l] = static_cast<uint32_t>(sum);
    words[1][l] = static_cast<uint32_t>(sum >> 32);
    words[2][l] = static_cast<uint32_t>(carried);
    words[3][l] = static_cast<uint32_t>(carried >> 32);
  }
}

// 23 bits of a word, as a number in [0, 1).
TFPRIV_INLINE float Uniform(uint32_t word) {
  const uint32_t bits = (word & 0x7FFFFF) | 0x3F800000;
  float number;
  std::memcpy(&number, &bits, sizeof number);
  return number - 1.0f;
}

// Values [begin, end) of one key's stream; begin is a block's first value.
void Fill(uint64_t key, const uint64_t counter[2], int64_t begin, int64_t end, float* out) {
  constexpr int64_t kGroup = kWords * kLanes;
  uint32_t words[kWords][kLanes];
  float values[kGroup];
  for (; begin < end; begin += kGroup) {
    const uint64_t low = counter[0] + begin / kWords;
    Count(low, counter[1] + (low < counter[0]), words);
    Philox(key, words);
    for (int l = 0; l < kLanes; ++l) {
      for (int i = 0; i < kWords; ++i) values[l * kWords + i] = Uniform(words[i][l]);
    }
    const int64_t size = std::min(kGroup, end - begin);
    std::memcpy(out + begin, values, size * sizeof(float));
  }
}

// --- The kernels. ---

void Keys(void*, TF_OpKernelContext* context) {
  Call call(context, "philox_keys");
  TF_Tensor* seeds = call.Input(0);
  if (!call.ok()) return;
  call.Require(TF_NumDims(seeds) == 2 && TF_Dim(seeds, 1) == 2,
               "seeds must have shape (n, 2).");
  if (!call.ok()) return;
  const int64_t n = TF_Dim(seeds, 0);
  TF_Tensor* keys = call.Output(0, TF_UINT64, {n, 1});
  TF_Tensor* counters = call.Output(1, TF_UINT64, {n, 2});
  if (!call.ok() || n == 0) return;
  const uint64_t* seed = static_cast<const uint64_t*>(TF_TensorData(seeds));
  uint64_t* key = static_cast<uint64_t*>(TF_TensorData(keys));
  uint64_t* counter = static_cast<uint64_t*>(TF_TensorData(counters));
  for (int64_t i = 0; i < n; ++i) {
    uint32_t words[kWords][kLanes];
    Count(seed[2 * i], seed[2 * i + 1], words);
    Philox(0x02461E293EC8F720, words);
    key[i] = words[0][0] | uint64_t{words[1][0]} << 32;
    counter[2 * i] = 0;
    counter[2 * i + 1] = words[2][0] | uint64_t{words[3][0]} << 32;
  }
}

void Uniforms(void* state, TF_OpKernelContext* context) {
  Call call(context, "philox_uniform");
  TF_Tensor* keys = call.Input(0);
  TF_Tensor* counters = call.Input(1);
  TF_Tensor* size_input = call.Input(2);
  if (!call.ok()) return;
  call.Require(TF_NumDims(keys) == 2 && TF_Dim(keys, 1) == 1,
               "keys must have shape (n, 1).");
  call.Require(TF_NumDims(counters) == 2 && TF_Dim(counters, 1) == 2 &&
                   TF_Dim(counters, 0) == TF_Dim(keys, 0),
               "counters must have shape (n, 2).");
  call.Require(TF_NumDims(size_input) == 0, "size must be a scalar.");
  if (!call.ok()) return;
  const int64_t n = TF_Dim(keys, 0);
  const int64_t size = *static_cast<const int64_t*>(TF_TensorData(size_input));
  call.Require(size >= 0, "size must not be negative.");
  if (!call.ok()) return;
  TF_Tensor* output = call.Output(0, TF_FLOAT, {n, size});
  if (!call.ok() || n * size == 0) return;
  const uint64_t* key = static_cast<const uint64_t*>(TF_TensorData(keys));
  const uint64_t* counter = static_cast<const uint64_t*>(TF_TensorData(counters));
  float* out = static_cast<float*>(TF_TensorData(output));
  const int64_t grain = std::max<int64_t>(1, kValuesPerThread / size);
  ParallelFor(n, grain, *static_cast<const int64_t*>(state), [&](int64_t i, int64_t end) {
    for (; i < end; ++i) Fill(key[i], counter + 2 * i, 0, size, out + i * size);
  });
}

void* Create(TF_OpKernelConstruction* construction) {
  return new int64_t{Attributes(construction).Integer("num_threads")};
}

void Destroy(void* state) { delete static_cast<int64_t*>(state); }

void* CreateNothing(TF_OpKernelConstruction*) { return nullptr; }

void DestroyNothing(void*) {}

// Runs when the library is loaded.
__attribute__((constructor)) void Register() {
  Op{"TfprivPhiloxKeys",
     {"seeds: int64"},
     {"keys: uint64", "counters: uint64"},
     {},
     CreateNothing,
     Keys,
     DestroyNothing}
      .Register();
  Op{"TfprivPhiloxUniform",
     {"keys: uint64", "counters: uint64", "size: int64"},
     {"values: float"},
     {"num_threads: int >= 0 = 0"},
     Create,
     Uniforms,
     Destroy}
      .Register();
}

}  // namespace
}  // namespace tfpriv

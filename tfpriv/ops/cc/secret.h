// What ops with secret randomness share: how they read their key, and which build of
// their inner loop runs on this processor.

#ifndef TFPRIV_OPS_CC_SECRET_H_
#define TFPRIV_OPS_CC_SECRET_H_

#include <cstdint>
#include <cstring>
#include <string>

#include "op.h"
#include "tf_c_api.h"

namespace tfpriv {

// Reads the input `key`, 32 bytes. Check the call before the key is used.
inline void ReadKey(Call* call, int index, uint32_t (&key)[8]) {
  TF_Tensor* tensor = call->Input(index);
  if (!call->ok()) return;
  call->Require(TF_NumDims(tensor) == 1 &&
                    TF_TensorElementCount(tensor) == static_cast<int64_t>(sizeof key),
                "key must have shape (32,).");
  if (call->ok()) std::memcpy(key, TF_TensorData(tensor), sizeof key);
}

// Reads the input `stream`, an int64 scalar. Check the call before it is used.
inline uint64_t ReadStream(Call* call, int index) {
  TF_Tensor* tensor = call->Input(index);
  if (!call->ok()) return 0;
  call->Require(TF_NumDims(tensor) == 0, "stream must be a scalar.");
  if (!call->ok()) return 0;
  const int64_t stream = *static_cast<const int64_t*>(TF_TensorData(tensor));
  call->Require(stream >= 0, "stream must not be negative. Received: " +
                                 std::to_string(stream));
  return static_cast<uint64_t>(stream);
}

#if defined(__x86_64__)
inline bool HasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

inline bool HasAvx2() { return __builtin_cpu_supports("avx2"); }
#endif

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_SECRET_H_

// The op TfprivRowProducts: rows (b, t, n) -> products of each two rows (b, t, t).
//
// TensorFlow's batched product takes several times as long for few long rows: it neither
// uses the symmetry nor keeps an example in cache.

#include <algorithm>
#include <string>
#include <vector>

#include "inline.h"
#include "op.h"
#include "parallel.h"
#include "tf_c_api.h"

namespace tfpriv {
namespace {

constexpr int kTile = 3;  // rows on either side whose products are summed together
constexpr int64_t kDepth = 1024;  // numbers of each row that are looked at in turn
constexpr int64_t kWorkPerThread = 1 << 17;  // products; fewer are not worth a thread

struct RowProducts {
  TF_DataType dtype;
  int64_t num_threads;
};

// Adds the products of rows [i, i + kTile) and [j, j + kTile) over n numbers. The rows
// that do not exist are copies of the last one, and their products are not stored.
template <typename T, int LANES>
TFPRIV_INLINE void AddTile(const T* const (&a)[kTile], const T* const (&b)[kTile], int64_t n,
                           T (&sums)[kTile][kTile]) {
  typedef T Vector __attribute__((vector_size(LANES * sizeof(T)), aligned(sizeof(T))));
  Vector parts[kTile][kTile] = {};
  int64_t d = 0;
  for (; d + LANES <= n; d += LANES) {
    for (int r = 0; r < kTile; ++r) {
      const Vector left = *reinterpret_cast<const Vector*>(a[r] + d);
      for (int c = 0; c < kTile; ++c) {
        parts[r][c] += left * *reinterpret_cast<const Vector*>(b[c] + d);
      }
    }
  }
  for (int r = 0; r < kTile; ++r) {
    for (int c = 0; c < kTile; ++c) {
      T sum = 0;
      for (int lane = 0; lane < LANES; ++lane) sum += parts[r][c][lane];
      for (int64_t rest = d; rest < n; ++rest) sum += a[r][rest] * b[c][rest];
      sums[r][c] += sum;
    }
  }
}

// One example: the upper half of x x^T, then its mirror image.
template <typename T, int LANES>
TFPRIV_INLINE void Example(const T* x, int64_t t, int64_t n, T* out) {
  for (int64_t i = 0; i < t; i += kTile) {
    for (int64_t j = i; j < t; j += kTile) {
      T sums[kTile][kTile] = {};
      for (int64_t begin = 0; begin < n; begin += kDepth) {
        const T *a[kTile], *b[kTile];
        for (int r = 0; r < kTile; ++r) {
          a[r] = x + std::min(i + r, t - 1) * n + begin;
          b[r] = x + std::min(j + r, t - 1) * n + begin;
        }
        AddTile<T, LANES>(a, b, std::min(kDepth, n - begin), sums);
      }
      for (int64_t r = i; r < std::min(i + kTile, t); ++r) {
        for (int64_t c = j; c < std::min(j + kTile, t); ++c) {
          out[r * t + c] = out[c * t + r] = sums[r - i][c - j];
        }
      }
    }
  }
}

// --- One function per instruction set; the processor decides at run time. ---

template <typename T>
void ExampleBaseline(const T* x, int64_t t, int64_t n, T* out) {
  Example<T, 16 / sizeof(T)>(x, t, n, out);
}

#if defined(__x86_64__)
template <typename T>
__attribute__((target("avx2,fma"))) void ExampleAvx2(const T* x, int64_t t, int64_t n,
                                                     T* out) {
  Example<T, 32 / sizeof(T)>(x, t, n, out);
}
#endif

template <typename T>
void (*ChooseExample())(const T*, int64_t, int64_t, T*) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return ExampleAvx2<T>;
  }
#endif
  return ExampleBaseline<T>;
}

template <typename T>
void InParallel(const T* x, int64_t examples, int64_t t, int64_t n, int64_t threads,
                T* out) {
  static const auto example = ChooseExample<T>();
  const int64_t work = std::max<int64_t>(1, t * t * n / 2);
  const int64_t grain = std::max<int64_t>(1, kWorkPerThread / work);
  ParallelFor(examples, grain, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) example(x + i * t * n, t, n, out + i * t * t);
  });
}

// --- The kernel. ---

void Compute(void* state, TF_OpKernelContext* context) {
  const RowProducts& op = *static_cast<const RowProducts*>(state);
  Call call(context, "row_products");
  TF_Tensor* rows = call.Input(0);
  if (!call.ok()) return;
  call.Require(TF_NumDims(rows) == 3, "rows must have shape (examples, t, n).");
  if (!call.ok()) return;
  const int64_t examples = TF_Dim(rows, 0), t = TF_Dim(rows, 1), n = TF_Dim(rows, 2);
  TF_Tensor* output = call.Output(0, op.dtype, {examples, t, t});
  if (!call.ok() || examples * t == 0) return;
  const void* x = TF_TensorData(rows);
  void* out = TF_TensorData(output);
  if (op.dtype == TF_DOUBLE) {
    InParallel(static_cast<const double*>(x), examples, t, n, op.num_threads,
               static_cast<double*>(out));
  } else {
    InParallel(static_cast<const float*>(x), examples, t, n, op.num_threads,
               static_cast<float*>(out));
  }
}

void* Create(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  return new RowProducts{attributes.Type("dtype"), attributes.Integer("num_threads")};
}

void Destroy(void* state) { delete static_cast<RowProducts*>(state); }

// Runs when the library is loaded.
__attribute__((constructor)) void Register() {
  Op{"TfprivRowProducts",
     {"rows: dtype"},
     {"products: dtype"},
     {"dtype: {float, double} = DT_FLOAT", "num_threads: int >= 0 = 0"},
     Create,
     Compute,
     Destroy}
      .Register();
}

}  // namespace
}  // namespace tfpriv

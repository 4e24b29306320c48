// Small matrix products, sums of squares and packing, compiled per instruction set.
//
// Every result depends on its operands and the instruction set only: not on addresses,
// on threads or on what else is computed.

#ifndef TFPRIV_OPS_CC_MULTIPLY_H_
#define TFPRIV_OPS_CC_MULTIPLY_H_

#include <algorithm>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "inline.h"

namespace tfpriv {

// Rows that a tile may have: tables of row offsets are read so far beyond their end.
constexpr int64_t kMostRows = 8;

// out[r][c] (+)= sum over d of left[depth_offsets[d] + row_offsets[r]] * right[d][c].
// The left matrix is never built: the columns of a convolution overlap in its input.
template <typename T>
struct Product {
  const T* left;
  const int64_t* row_offsets;  // and kMostRows valid ones after them
  int64_t rows;
  const int64_t* depth_offsets;
  int64_t depth;
  const T* right;  // as PackRows or PackTransposed leave it
  int64_t columns;
  T* out;
  int64_t stride;
  bool add;    // to what is there
  bool upper;  // what lies below the diagonal is not needed
};

// Positions [position, position + length) of an output lie over cells [cell, ...).
struct Segment {
  int64_t position;
  int64_t cell;
  int64_t length;
};

// A symmetric matrix of which the upper half is there.
struct Gram {
  const double* values;
  int64_t stride;
};

// out[r][c] = start[c] + sum over taps k and d < run of left(r, k)[d] * right(k, d)[c].
// Row r belongs to example r / positions; left(r, k) is the run in the example's part of
// `left` whose number the table has for position r % positions and tap k, or zeros where
// that number is negative.
template <typename T>
struct Gathered {
  const T* left;
  int64_t example_stride;
  const int32_t* table;
  int64_t table_stride;  // 0 where all examples share one table
  int64_t positions, taps, run;
  const T* zeros;  // one run of them
  const T* right;  // of a panel: `panel` columns of (k, d) right_step after each other
  int64_t right_step, panel_stride;
  const T* start;  // as many as there are columns in all panels
  int64_t rows, columns;
  T* out;
};

// The part of the sum with taps [tap_begin, tap_end) and d in [begin, end): little enough
// for a panel of the right matrix to stay in the first-level cache.
struct GatheredPart {
  bool first;
  int64_t tap_begin, tap_end, begin, end;
};

// The functions of one instruction set. Matrices are packed in panels of `panel`
// columns, each panel row by row, the last one filled up with zeros.
template <typename From, typename T>
struct Arithmetic {
  int64_t panel;
  int64_t tile_rows;
  void (*multiply)(const Product<T>&);
  // Packs the matrix source[d][c].
  void (*pack_rows)(const From* source, int64_t depth, int64_t columns, T* packed);
  // Packs the matrix whose column c is source[offsets[c]...].
  void (*pack_transposed)(const From* source, const int64_t* offsets, int64_t columns,
                          int64_t depth, T* packed);
  double (*sum_squares)(const T* values, int64_t size);
  // Sum over all pairs of the segments' positions of positions[p][q] * cells[p'][q'].
  double (*shifted_dot)(const Segment* segments, int64_t size, Gram positions,
                        Gram cells);
  void (*multiply_gathered)(const Gathered<T>&, const GatheredPart&, int64_t row_begin,
                            int64_t row_end, int64_t panel_begin, int64_t panel_end);
  void (*add_outer)(const T* const* left, int64_t begin, int64_t end, int64_t depth,
                    const T* panels, T* out, int64_t columns);
};

namespace baseline {
#define TFPRIV_TARGET
constexpr int kBytes = 16, kRows = 6;
template <typename V>
TFPRIV_INLINE V MultiplyAdd(V a, V b, V c) {
  return a * b + c;
}
#include "multiply_kernels.h"
#include "gathered_kernels.h"
#include "multiply_choice.h"
#undef TFPRIV_TARGET
}  // namespace baseline

#if defined(__x86_64__)
namespace avx2 {
#define TFPRIV_TARGET __attribute__((target("avx2,fma")))
constexpr int kBytes = 32, kRows = 6;
TFPRIV_TARGET TFPRIV_INLINE __m256 MultiplyAdd(__m256 a, __m256 b, __m256 c) {
  return _mm256_fmadd_ps(a, b, c);
}
TFPRIV_TARGET TFPRIV_INLINE __m256d MultiplyAdd(__m256d a, __m256d b, __m256d c) {
  return _mm256_fmadd_pd(a, b, c);
}
#include "multiply_kernels.h"
#include "gathered_kernels.h"
#include "multiply_choice.h"
#undef TFPRIV_TARGET
}  // namespace avx2

namespace avx512 {
#define TFPRIV_TARGET __attribute__((target("avx512f,prefer-vector-width=512")))
constexpr int kBytes = 64, kRows = 8;
TFPRIV_TARGET TFPRIV_INLINE __m512 MultiplyAdd(__m512 a, __m512 b, __m512 c) {
  return _mm512_fmadd_ps(a, b, c);
}
TFPRIV_TARGET TFPRIV_INLINE __m512d MultiplyAdd(__m512d a, __m512d b, __m512d c) {
  return _mm512_fmadd_pd(a, b, c);
}
#include "multiply_kernels.h"
#include "gathered_kernels.h"
#include "multiply_choice.h"
#undef TFPRIV_TARGET
}  // namespace avx512
#endif

// The best that the processor has.
template <typename From, typename T>
const Arithmetic<From, T>& ChooseArithmetic() {
  static const Arithmetic<From, T> chosen = [] {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return avx512::Functions<From, T>();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      return avx2::Functions<From, T>();
    }
#endif
    return baseline::Functions<From, T>();
  }();
  return chosen;
}

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_MULTIPLY_H_

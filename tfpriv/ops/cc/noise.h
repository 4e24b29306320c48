// Standard normal noise from a ChaCha20 stream: the arithmetic, without TensorFlow.
//
// The operations and their order are those of tfpriv/ops/reference/noise.py, which says what
// they are for; both give the same bits. Do not compile with -ffast-math or contraction.
//
// Loops run over LANES blocks at a time, so that the compiler turns each into vector
// instructions of the function that they are inlined into.

#ifndef TFPRIV_OPS_CC_NOISE_H_
#define TFPRIV_OPS_CC_NOISE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "chacha.h"
#include "doubles.h"
#include "inline.h"

namespace tfpriv {

constexpr int kValuesPerBlock = 8;

struct StreamKey {
  uint32_t key[8];
  uint64_t stream;
};

TFPRIV_INLINE double Uniform(uint32_t low, uint32_t high) {
  return (ToDouble(high) * 0x1p32 + (ToDouble(low) + 1.0)) * 0x1p-64;
}

TFPRIV_INLINE double MinusLog(double u) {
  constexpr uint64_t kSqrtHalf = 0x3FE6A09E667F3BCD, kOne = 0x3FF0000000000000;
  const uint64_t biased = (Bits(u) + (kOne - kSqrtHalf)) >> 52;
  const double halvings = 1023.0 - ToDouble(biased);
  const double mantissa = FromBits(Bits(u) - (biased << 52) + kOne);
  double s = (mantissa - 1.0) / (mantissa + 1.0);
  const double z = s * s;
  s = 2.0 * s;
  double sum = 1.0 / 21;
  sum = sum * z + 1.0 / 19;
  sum = sum * z + 1.0 / 17;
  sum = sum * z + 1.0 / 15;
  sum = sum * z + 1.0 / 13;
  sum = sum * z + 1.0 / 11;
  sum = sum * z + 1.0 / 9;
  sum = sum * z + 1.0 / 7;
  sum = sum * z + 1.0 / 5;
  sum = sum * z + 1.0 / 3;
  constexpr double kLn2High = 0x1.62e42fefap-1, kLn2Low = 0x1.cf79abc9e3b39p-40;
  return halvings * kLn2High - ((s + s * (z * sum)) - halvings * kLn2Low);
}

TFPRIV_INLINE void CosSinTurns(double v, double* cos_out, double* sin_out) {
  constexpr double kTwoPi = 0x1.921fb54442d18p+2;
  constexpr double kRound = 0x1.8p52;  // adding it rounds to an integer
  const double shifted = v * 4.0 + kRound;
  const uint64_t quarter = Bits(shifted);  // modulo 4
  const double x = (v - (shifted - kRound) * 0.25) * kTwoPi;
  const double z = x * x;
  double sin = 1.0 / 355687428096000;
  sin = sin * z - 1.0 / 1307674368000;
  sin = sin * z + 1.0 / 6227020800;
  sin = sin * z - 1.0 / 39916800;
  sin = sin * z + 1.0 / 362880;
  sin = sin * z - 1.0 / 5040;
  sin = sin * z + 1.0 / 120;
  sin = sin * z - 1.0 / 6;
  sin = x + x * (z * sin);
  double cos = 1.0 / 20922789888000;
  cos = cos * z - 1.0 / 87178291200;
  cos = cos * z + 1.0 / 479001600;
  cos = cos * z - 1.0 / 3628800;
  cos = cos * z + 1.0 / 40320;
  cos = cos * z - 1.0 / 720;
  cos = cos * z + 1.0 / 24;
  cos = cos * z - 1.0 / 2;
  cos = 1.0 + z * cos;
  const uint64_t swap = 0 - (quarter & 1);
  const uint64_t differ = (Bits(cos) ^ Bits(sin)) & swap;
  *cos_out = FromBits(Bits(cos) ^ differ ^ (((quarter + 1) & 2) << 62));
  *sin_out = FromBits(Bits(sin) ^ differ ^ ((quarter & 2) << 62));
}

// The keystream of LANES blocks from `first_block` on, with a 64-bit counter.
template <int LANES>
TFPRIV_INLINE void KeyStream(const StreamKey& key, uint64_t first_block,
                             uint32_t out[16][LANES]) {
  alignas(64) uint32_t last_row[4][LANES];
  for (int l = 0; l < LANES; ++l) {
    last_row[0][l] = static_cast<uint32_t>(first_block + l);
    last_row[1][l] = static_cast<uint32_t>((first_block + l) >> 32);
    last_row[2][l] = static_cast<uint32_t>(key.stream);
    last_row[3][l] = static_cast<uint32_t>(key.stream >> 32);
  }
  ChaCha20<LANES>(key.key, last_row, out);
}

// The values of LANES blocks, in stream order.
template <typename T, int LANES>
TFPRIV_INLINE void FillGroup(const StreamKey& key, uint64_t first_block, T* out) {
  alignas(64) uint32_t words[16][LANES];
  alignas(64) T values[kValuesPerBlock][LANES];
  KeyStream<LANES>(key, first_block, words);
  for (int pair = 0; pair < 4; ++pair) {
    const uint32_t(*w)[LANES] = words + 4 * pair;
    for (int l = 0; l < LANES; ++l) {
      const double radius = std::sqrt(2.0 * MinusLog(Uniform(w[0][l], w[1][l])));
      double cos, sin;
      CosSinTurns(Uniform(w[2][l], w[3][l]), &cos, &sin);
      values[2 * pair][l] = static_cast<T>(radius * cos);
      values[2 * pair + 1][l] = static_cast<T>(radius * sin);
    }
  }
  for (int l = 0; l < LANES; ++l) {
    for (int i = 0; i < kValuesPerBlock; ++i) {
      out[l * kValuesPerBlock + i] = values[i][l];
    }
  }
}

// Values [begin, end) of the stream to out[begin..end); begin is a block's first value.
template <typename T, int LANES>
TFPRIV_INLINE void Fill(const StreamKey& key, int64_t begin, int64_t end, T* out) {
  constexpr int64_t kGroup = LANES * kValuesPerBlock;
  for (; begin + kGroup <= end; begin += kGroup) {
    FillGroup<T, LANES>(key, begin / kValuesPerBlock, out + begin);
  }
  if (begin < end) {
    alignas(64) T rest[kGroup];
    FillGroup<T, LANES>(key, begin / kValuesPerBlock, rest);
    std::memcpy(out + begin, rest, (end - begin) * sizeof(T));
  }
}

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_NOISE_H_

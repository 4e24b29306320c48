// Fisher-Yates shuffles from a ChaCha20 stream: the arithmetic, without TensorFlow.
//
// tfpriv/ops/reference/permutations.py says what is computed; both give the same permutation.
// Do not compile with -ffast-math or contraction.

#ifndef TFPRIV_OPS_CC_PERMUTATIONS_H_
#define TFPRIV_OPS_CC_PERMUTATIONS_H_

#include <algorithm>
#include <cstdint>

#include "chacha.h"
#include "doubles.h"
#include "inline.h"

namespace tfpriv {

constexpr int kStepsPerBlock = 4;  // two 64-bit words each

struct PictureKey {
  uint32_t key[8];
  uint32_t nonce[3];
};

// The keystream of LANES blocks from `first_block` on, with RFC 8439's 32-bit counter.
template <int LANES>
TFPRIV_INLINE void KeyStream(const PictureKey& key, uint32_t first_block,
                             uint32_t out[16][LANES]) {
  alignas(64) uint32_t last_row[4][LANES];
  for (int l = 0; l < LANES; ++l) {
    last_row[0][l] = first_block + l;
    for (int i = 0; i < 3; ++i) last_row[1 + i][l] = key.nonce[i];
  }
  ChaCha20<LANES>(key.key, last_row, out);
}

// x mod m of integers: x < 2^48, m < 2^31. Every number on the way is exact in a double.
TFPRIV_INLINE double Modulo(double x, double m, double inverse) {
  constexpr double kRound = 0x1.8p52;  // adding it rounds to an integer
  const double quotient = (x * inverse + kRound) - kRound;  // or the next one
  const double rest = x - quotient * m;  // between -m and m
  return rest + (rest < 0 ? m : 0.0);
}

// Which of m places: `first` mod m, or `second` mod m where that would favour the lower
// places, because 2^64 is no multiple of m.
inline uint32_t Place(uint64_t first, uint64_t second, uint64_t m) {
  const uint64_t surplus = (UINT64_MAX % m + 1) % m;  // 2^64 mod m
  return static_cast<uint32_t>((first > UINT64_MAX - surplus ? second : first) % m);
}

// The places of the steps in LANES blocks: step s of block l has `most` - 4 l - s of them
// to choose from.
template <int LANES>
TFPRIV_INLINE void Places(const uint32_t words[16][LANES], int64_t most,
                          uint32_t out[kStepsPerBlock][LANES]) {
  for (int s = 0; s < kStepsPerBlock; ++s) {
    const uint32_t(*w)[LANES] = words + 4 * s;
    for (int l = 0; l < LANES; ++l) {
      const double m = std::max(1.0, static_cast<double>(most - s) - 4.0 * l);
      const double inverse = 1.0 / m;
      const uint64_t high = w[1][l], low = w[0][l];
      const double rest = Modulo(ToDouble(high << 16 | low >> 16), m, inverse);
      const double place = Modulo(rest * 0x1p16 + ToDouble(low & 0xffff), m, inverse);
      out[s][l] = static_cast<uint32_t>(Bits(place + 0x1p52));
    }
  }
  for (int s = 0; s < kStepsPerBlock; ++s) {
    const uint32_t(*w)[LANES] = words + 4 * s;
    for (int l = 0; l < LANES; ++l) {
      // Only such words may have to be replaced: m < 2^31.
      if (w[1][l] != UINT32_MAX) continue;
      const int64_t m = most - kStepsPerBlock * l - s;
      if (m < 1) continue;
      out[s][l] = Place(static_cast<uint64_t>(w[1][l]) << 32 | w[0][l],
                        static_cast<uint64_t>(w[3][l]) << 32 | w[2][l], m);
    }
  }
}

// Writes a permutation of 0 .. size - 1, size < 2^31.
template <int LANES>
TFPRIV_INLINE void Permute(const PictureKey& key, int64_t size, int32_t* out) {
  for (int64_t i = 0; i < size; ++i) out[i] = static_cast<int32_t>(i);
  alignas(64) uint32_t words[16][LANES];
  alignas(64) uint32_t places[kStepsPerBlock][LANES];
  for (int64_t last = size - 1; last > 0; last -= kStepsPerBlock * LANES) {
    KeyStream<LANES>(key, static_cast<uint32_t>((size - 1 - last) / kStepsPerBlock), words);
    Places<LANES>(words, last + 1, places);
    const int64_t steps = std::min<int64_t>(last, kStepsPerBlock * LANES);
    for (int64_t s = 0; s < steps; ++s) {
      std::swap(out[last - s], out[places[s % kStepsPerBlock][s / kStepsPerBlock]]);
    }
  }
}

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_PERMUTATIONS_H_

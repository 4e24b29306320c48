// The ChaCha20 block function, several blocks at a time (RFC 8439, section 2.3).
//
// Loops run over LANES blocks at a time, so that the compiler turns each into vector
// instructions of the function that they are inlined into.

#ifndef TFPRIV_OPS_CC_CHACHA_H_
#define TFPRIV_OPS_CC_CHACHA_H_

#include <cstdint>
#include <cstring>

#include "inline.h"

namespace tfpriv {

// One word of the cipher's state for each of LANES blocks.
template <int LANES>
struct Lanes {
  typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
};

template <typename Words>
TFPRIV_INLINE void QuarterRound(Words& a, Words& b, Words& c, Words& d) {
  a += b, d ^= a, d = d << 16 | d >> 16;
  c += d, b ^= c, b = b << 12 | b >> 20;
  a += b, d ^= a, d = d << 8 | d >> 24;
  c += d, b ^= c, b = b << 7 | b >> 25;
}

// The words of LANES blocks: word i of block l is out[i][l]. `last_row` is the last row
// of each block's state, counter and nonce.
template <int LANES>
TFPRIV_INLINE void ChaCha20(const uint32_t key[8],
                            const uint32_t last_row[4][LANES],
                            uint32_t out[16][LANES]) {
  typedef typename Lanes<LANES>::Words Words;
  constexpr uint32_t kExpand32ByteK[4] = {0x61707865, 0x3320646e, 0x79622d32,
                                          0x6b206574};
  Words start[16], x[16];
  for (int i = 0; i < 4; ++i) start[i] = Words{} + kExpand32ByteK[i];
  for (int i = 0; i < 8; ++i) start[4 + i] = Words{} + key[i];
  std::memcpy(start + 12, last_row, 4 * sizeof(Words));
  std::memcpy(x, start, sizeof x);
  for (int round = 0; round < 20; round += 2) {
    QuarterRound(x[0], x[4], x[8], x[12]);
    QuarterRound(x[1], x[5], x[9], x[13]);
    QuarterRound(x[2], x[6], x[10], x[14]);
    QuarterRound(x[3], x[7], x[11], x[15]);
    QuarterRound(x[0], x[5], x[10], x[15]);
    QuarterRound(x[1], x[6], x[11], x[12]);
    QuarterRound(x[2], x[7], x[8], x[13]);
    QuarterRound(x[3], x[4], x[9], x[14]);
  }
  for (int i = 0; i < 16; ++i) x[i] += start[i];
  std::memcpy(out, x, sizeof x);
}

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_CHACHA_H_

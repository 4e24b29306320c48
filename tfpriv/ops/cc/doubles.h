// The bits of a double, and small integers as doubles without AVX-512's conversions.

#ifndef TFPRIV_OPS_CC_DOUBLES_H_
#define TFPRIV_OPS_CC_DOUBLES_H_

#include <cstdint>
#include <cstring>

#include "inline.h"

namespace tfpriv {

TFPRIV_INLINE uint64_t Bits(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

TFPRIV_INLINE double FromBits(uint64_t bits) {
  double x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// An integer below 2^52 in the last digits of 2^52: exact, and needs no AVX-512.
TFPRIV_INLINE double ToDouble(uint64_t small) {
  return FromBits(small | 0x4330000000000000) - 0x1p52;
}

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_DOUBLES_H_

// For functions that take the instruction set of the function they are inlined into.

#ifndef TFPRIV_OPS_CC_INLINE_H_
#define TFPRIV_OPS_CC_INLINE_H_

#define TFPRIV_INLINE __attribute__((always_inline)) inline

#endif  // TFPRIV_OPS_CC_INLINE_H_

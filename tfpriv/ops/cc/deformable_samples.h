// The inner loops of deformable convolutions, over contiguous channels: reading samples,
// adding to them, and their products with gradients; compiled per instruction set.

#ifndef TFPRIV_OPS_CC_DEFORMABLE_SAMPLES_H_
#define TFPRIV_OPS_CC_DEFORMABLE_SAMPLES_H_

#include <cstdint>

#include "deformable_convolution.h"
#include "inline.h"

namespace tfpriv::deformable {

// Samples of some positions and taps, for `width` channels. Their columns are
// [position][tap][channel].
template <typename T>
struct SampleBlock {
  const Sample<T>* samples;
  int64_t stride;  // from a position to the next one
  int64_t positions, taps, width;
};

// The functions of one instruction set. `inputs` points to the example's first cell, at
// the first of the channels.
template <typename T>
struct SampleFunctions {
  void (*read)(const SampleBlock<T>&, const T* inputs, T* columns);
  // Adds the columns to the cells that their samples were made of.
  void (*add)(const SampleBlock<T>&, const T* columns, T* inputs);
  // Adds each column's products with the cells to dots[position][tap][corner], whose
  // positions are as far apart as the samples'.
  void (*dot)(const SampleBlock<T>&, const T* inputs, const T* columns, T* dots);
};

template <typename T, int LANES>
struct SampleVector {
  typedef T Type __attribute__((vector_size(LANES * sizeof(T)), aligned(sizeof(T))));
};

// out = or += weight * cell.
template <typename T, int LANES, bool add>
TFPRIV_INLINE void Scale(T weight, const T* cell, int64_t width, T* out) {
  typedef typename SampleVector<T, LANES>::Type Vector;
  int64_t c = 0;
  for (; c + LANES <= width; c += LANES) {
    const Vector value = weight * *reinterpret_cast<const Vector*>(cell + c);
    Vector* target = reinterpret_cast<Vector*>(out + c);
    *target = add ? *target + value : value;
  }
  for (; c < width; ++c) out[c] = add ? out[c] + weight * cell[c] : weight * cell[c];
}

// The sum of the four corners, each times its weight.
template <typename T, int LANES>
TFPRIV_INLINE void Blend(const Sample<T>& sample, const T* inputs, int64_t width,
                         T* out) {
  typedef typename SampleVector<T, LANES>::Type Vector;
  const T *w = sample.weights, *a = inputs + sample.cells[0],
          *b = inputs + sample.cells[1], *c = inputs + sample.cells[2],
          *d = inputs + sample.cells[3];
  int64_t i = 0;
  for (; i + LANES <= width; i += LANES) {
    *reinterpret_cast<Vector*>(out + i) =
        w[0] * *reinterpret_cast<const Vector*>(a + i) +
        w[1] * *reinterpret_cast<const Vector*>(b + i) +
        w[2] * *reinterpret_cast<const Vector*>(c + i) +
        w[3] * *reinterpret_cast<const Vector*>(d + i);
  }
  for (; i < width; ++i) {
    out[i] = w[0] * a[i] + w[1] * b[i] + w[2] * c[i] + w[3] * d[i];
  }
}

// Cells of weight 0 are not read: an infinity there is nothing to this sample. A place
// on whole pixels is therefore one cell's copy.
template <typename T, int LANES>
TFPRIV_INLINE void ReadOne(const Sample<T>& sample, const T* inputs, int64_t width,
                           T* out) {
  int used[kCorners + 1], count = 0;
  for (int i = 0; i < kCorners; ++i) {
    used[count] = i;
    count += sample.weights[i] != 0;
  }
  if (count == kCorners) {
    Blend<T, LANES>(sample, inputs, width, out);
  } else if (count == 0) {
    for (int64_t c = 0; c < width; ++c) out[c] = 0;
  } else {
    Scale<T, LANES, false>(sample.weights[used[0]], inputs + sample.cells[used[0]], width,
                           out);
    for (int i = 1; i < count; ++i) {
      Scale<T, LANES, true>(sample.weights[used[i]], inputs + sample.cells[used[i]],
                            width, out);
    }
  }
}

template <typename T, int LANES>
TFPRIV_INLINE void Read(const SampleBlock<T>& block, const T* inputs, T* columns) {
  for (int64_t p = 0; p < block.positions; ++p) {
    const Sample<T>* samples = block.samples + p * block.stride;
    for (int64_t t = 0; t < block.taps; ++t, columns += block.width) {
      ReadOne<T, LANES>(samples[t], inputs, block.width, columns);
    }
  }
}

template <typename T, int LANES>
TFPRIV_INLINE void Add(const SampleBlock<T>& block, const T* columns, T* inputs) {
  for (int64_t p = 0; p < block.positions; ++p) {
    const Sample<T>* samples = block.samples + p * block.stride;
    for (int64_t t = 0; t < block.taps; ++t, columns += block.width) {
      for (int i = 0; i < kCorners; ++i) {
        const T weight = samples[t].weights[i];
        if (weight == 0) continue;
        Scale<T, LANES, true>(weight, columns, block.width, inputs + samples[t].cells[i]);
      }
    }
  }
}

template <typename T, int LANES>
TFPRIV_INLINE T DotProduct(const T* a, const T* b, int64_t width) {
  typedef typename SampleVector<T, LANES>::Type Vector;
  Vector sums = {};
  int64_t c = 0;
  for (; c + LANES <= width; c += LANES) {
    sums += *reinterpret_cast<const Vector*>(a + c) *
            *reinterpret_cast<const Vector*>(b + c);
  }
  T sum = 0;
  for (; c < width; ++c) sum += a[c] * b[c];
  for (int lane = 0; lane < LANES; ++lane) sum += sums[lane];
  return sum;
}

template <typename T, int LANES>
TFPRIV_INLINE void Dot(const SampleBlock<T>& block, const T* inputs, const T* columns,
                       T* dots) {
  for (int64_t p = 0; p < block.positions; ++p) {
    const Sample<T>* samples = block.samples + p * block.stride;
    T* out = dots + p * block.stride * kCorners;
    for (int64_t t = 0; t < block.taps; ++t, columns += block.width, out += kCorners) {
      for (int i = 0; i < kCorners; ++i) {
        const int64_t cell = samples[t].cells[i];
        if (cell == kOutside) continue;
        out[i] += DotProduct<T, LANES>(columns, inputs + cell, block.width);
      }
    }
  }
}

// --- One set of functions per instruction set; the processor decides at run time. ---

#define TFPRIV_SAMPLE_FUNCTIONS(name, target, bytes)                                   \
  template <typename T>                                                                \
  struct name {                                                                        \
    static constexpr int kLanes = bytes / sizeof(T);                                   \
    target static void DoRead(const SampleBlock<T>& block, const T* inputs,            \
                              T* columns) {                                            \
      Read<T, kLanes>(block, inputs, columns);                                         \
    }                                                                                  \
    target static void DoAdd(const SampleBlock<T>& block, const T* columns,            \
                             T* inputs) {                                              \
      Add<T, kLanes>(block, columns, inputs);                                          \
    }                                                                                  \
    target static void DoDot(const SampleBlock<T>& block, const T* inputs,             \
                             const T* columns, T* dots) {                              \
      Dot<T, kLanes>(block, inputs, columns, dots);                                    \
    }                                                                                  \
    static constexpr SampleFunctions<T> kFunctions{DoRead, DoAdd, DoDot};              \
  };

TFPRIV_SAMPLE_FUNCTIONS(BaselineSamples, , 16)
#if defined(__x86_64__)
TFPRIV_SAMPLE_FUNCTIONS(Avx2Samples, __attribute__((target("avx2"))), 32)
#endif
#undef TFPRIV_SAMPLE_FUNCTIONS

template <typename T>
const SampleFunctions<T>& ChooseSampleFunctions() {
#if defined(__x86_64__)
  static const bool avx2 = __builtin_cpu_supports("avx2");
  if (avx2) return Avx2Samples<T>::kFunctions;
#endif
  return BaselineSamples<T>::kFunctions;
}

}  // namespace tfpriv::deformable

#endif  // TFPRIV_OPS_CC_DEFORMABLE_SAMPLES_H_

// Where the values lie that a layer sees whose input and output are shuffled, without
// TensorFlow. Shuffled position q of a plane shows its true position permutation[q].

#ifndef TFPRIV_OPS_CC_KEYED_H_
#define TFPRIV_OPS_CC_KEYED_H_

#include <cstdint>
#include <vector>

namespace tfpriv {

// A window that slides over a plane.
struct Window {
  int64_t size[2], kernel[2], stride[2], dilation[2], before[2], after[2];

  int64_t Output(int axis) const {
    const int64_t free =
        size[axis] + before[axis] + after[axis] - (kernel[axis] - 1) * dilation[axis] - 1;
    return free < 0 ? 0 : free / stride[axis] + 1;
  }
  int64_t Pixels() const { return size[0] * size[1]; }
  int64_t Positions() const { return Output(0) * Output(1); }
  int64_t Taps() const { return kernel[0] * kernel[1]; }

  bool operator==(const Window& other) const {
    const auto same = [](const int64_t(&a)[2], const int64_t(&b)[2]) {
      return a[0] == b[0] && a[1] == b[1];
    };
    return same(size, other.size) && same(kernel, other.kernel) &&
           same(stride, other.stride) && same(dilation, other.dilation) &&
           same(before, other.before) && same(after, other.after);
  }
};

// For each true position of the window and each of its taps: the true pixel below, or -1
// for the padding. Taps of a position stand together.
inline std::vector<int32_t> TruePixels(const Window& w) {
  std::vector<int32_t> pixels;
  pixels.reserve(w.Positions() * w.Taps());
  for (int64_t i = 0; i < w.Output(0); ++i) {
    for (int64_t j = 0; j < w.Output(1); ++j) {
      for (int64_t k = 0; k < w.kernel[0]; ++k) {
        const int64_t y = i * w.stride[0] + k * w.dilation[0] - w.before[0];
        for (int64_t l = 0; l < w.kernel[1]; ++l) {
          const int64_t x = j * w.stride[1] + l * w.dilation[1] - w.before[1];
          const bool inside = y >= 0 && y < w.size[0] && x >= 0 && x < w.size[1];
          pixels.push_back(static_cast<int32_t>(inside ? y * w.size[1] + x : -1));
        }
      }
    }
  }
  return pixels;
}

// Writes the inverse of a permutation; false if it is none.
inline bool Invert(const int32_t* permutation, int64_t size, int32_t* inverse) {
  for (int64_t q = 0; q < size; ++q) inverse[q] = -1;
  for (int64_t q = 0; q < size; ++q) {
    const int64_t p = permutation[q];
    if (p < 0 || p >= size || inverse[p] >= 0) return false;
    inverse[p] = static_cast<int32_t>(q);
  }
  return true;
}

// For each shuffled position and tap: the shuffled pixel that is seen, or -1.
inline void SeenPixels(const std::vector<int32_t>& true_pixels, int64_t taps,
                       const int32_t* source_inverse, const int32_t* target,
                       int64_t positions, int32_t* out) {
  for (int64_t q = 0; q < positions; ++q) {
    const int32_t* pixels = true_pixels.data() + target[q] * taps;
    for (int64_t k = 0; k < taps; ++k) {
      *out++ = pixels[k] < 0 ? -1 : source_inverse[pixels[k]];
    }
  }
}

// The same table read backwards: for each pixel and tap, the one position that sees it.
inline void SeeingPositions(const int32_t* seen, int64_t positions, int64_t taps,
                            int64_t pixels, int32_t* out) {
  for (int64_t i = 0; i < pixels * taps; ++i) out[i] = -1;
  for (int64_t q = 0; q < positions; ++q) {
    for (int64_t k = 0; k < taps; ++k, ++seen) {
      if (*seen >= 0) out[*seen * taps + k] = static_cast<int32_t>(q);
    }
  }
}

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_KEYED_H_

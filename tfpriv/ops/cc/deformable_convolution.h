// Where a deformable convolution samples its input, and how its work is cut up.
//
// y[p, f] = sum over taps k and channels c of mask[p, k] * x(p * stride + k * dilation -
// before + offset[p, k], c) * w[k, c, f], with x blended from the four cells around a
// place; cells outside of the input are 0. Channels of one offset group move together.

#ifndef TFPRIV_OPS_CC_DEFORMABLE_CONVOLUTION_H_
#define TFPRIV_OPS_CC_DEFORMABLE_CONVOLUTION_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "multiply.h"

namespace tfpriv::deformable {

constexpr int kCorners = 4;  // top left, top right, bottom left, bottom right
constexpr int64_t kOutside = -1;
// Positions worked on together: whole tiles of a product, and their samples in cache.
constexpr int64_t kChunk = 96;

// A layer and its batch. Pairs are (height, width).
struct Deformable {
  int64_t examples, size[2], output[2], channels, filters;
  int64_t kernel[2], stride[2], dilation[2], before[2];
  int64_t groups, offset_groups;
  bool shared_offsets, shared_mask;  // by all examples

  int64_t Taps() const { return kernel[0] * kernel[1]; }
  int64_t Positions() const { return output[0] * output[1]; }
  int64_t Chunks() const { return (Positions() + kChunk - 1) / kChunk; }
  int64_t Samples() const { return Positions() * offset_groups * Taps(); }
  int64_t InputSize() const { return size[0] * size[1] * channels; }
  int64_t OutputSize() const { return Positions() * filters; }
  int64_t GroupChannels() const { return channels / groups; }
  int64_t GroupFilters() const { return filters / groups; }
  int64_t FilterSize() const { return Taps() * GroupChannels() * filters; }
};

// The tensors' values; mask is null where there is none.
template <typename T>
struct DeformableValues {
  const T *inputs, *offsets, *mask, *filters, *gradients;
};

// One sample: a blend of the cells around a place.
template <typename T>
struct Sample {
  int64_t cells[kCorners];  // values of the example before the cell's, or kOutside
  T weights[kCorners];      // times the mask; 0 for cells outside
  T down, right;            // from the top left cell, in [0, 1)
  T mask;                   // 0 where all cells are outside
};

// What is neither finite nor near the input is outside; nothing is rounded before that.
template <typename T>
inline Sample<T> Locate(const Deformable& d, T y, T x, T mask) {
  const bool near = y >= -1 && y < static_cast<T>(d.size[0]) && x >= -1 &&
                    x < static_cast<T>(d.size[1]);
  if (!near) return {{kOutside, kOutside, kOutside, kOutside}, {}, 0, 0, 0};
  int64_t top = static_cast<int64_t>(y), left = static_cast<int64_t>(x);
  top -= y < static_cast<T>(top);
  left -= x < static_cast<T>(left);
  const T down = y - static_cast<T>(top), right = x - static_cast<T>(left);
  const T across[2] = {1 - right, right}, along[2] = {1 - down, down};
  Sample<T> sample{{}, {}, down, right, mask};
  for (int i = 0; i < kCorners; ++i) {
    const int64_t row = top + i / 2, column = left + i % 2;
    const bool inside = row >= 0 && row < d.size[0] && column >= 0 && column < d.size[1];
    sample.cells[i] = inside ? (row * d.size[1] + column) * d.channels : kOutside;
    sample.weights[i] = inside ? along[i / 2] * across[i % 2] * mask : 0;
  }
  return sample;
}

// Positions of one example.
struct Chunk {
  Chunk(const Deformable& d, int64_t example_, int64_t number)
      : example(example_),
        first(number * kChunk),
        positions(std::min(kChunk, d.Positions() - first)) {}
  int64_t example, first, positions;
};

// The samples of a chunk and an offset group, kept until others are asked for.
template <typename T>
class Samples {
 public:
  Samples(const Deformable& layer, const DeformableValues<T>& values)
      : layer_(layer), values_(values), samples_(kChunk * layer.Taps()) {}

  // Position by position, the taps of each in order.
  const Sample<T>* operator()(const Chunk& chunk, int64_t offset_group) {
    const bool shared = layer_.shared_offsets && (!values_.mask || layer_.shared_mask);
    const int64_t example = shared ? 0 : chunk.example;
    if (example != example_ || chunk.first != first_ || offset_group != offset_group_) {
      Fill(chunk, offset_group);
      example_ = example, first_ = chunk.first, offset_group_ = offset_group;
    }
    return samples_.data();
  }

 private:
  void Fill(const Chunk& chunk, int64_t offset_group) {
    const auto& d = layer_;
    const int64_t taps = d.Taps();
    const auto start = [&](bool shared) {
      return ((shared ? 0 : chunk.example) * d.Positions() + chunk.first) *
                 d.offset_groups * taps +
             offset_group * taps;
    };
    const T* offset = values_.offsets + 2 * start(d.shared_offsets);
    const T* mask = values_.mask ? values_.mask + start(d.shared_mask) : nullptr;
    const int64_t others = (d.offset_groups - 1) * taps;  // of each position
    Sample<T>* sample = samples_.data();
    for (int64_t p = chunk.first; p < chunk.first + chunk.positions; ++p) {
      const int64_t y = p / d.output[1] * d.stride[0] - d.before[0];
      const int64_t x = p % d.output[1] * d.stride[1] - d.before[1];
      for (int64_t i = 0; i < d.kernel[0]; ++i) {
        for (int64_t j = 0; j < d.kernel[1]; ++j, offset += 2) {
          *sample++ = Locate(d, static_cast<T>(y + i * d.dilation[0]) + offset[0],
                             static_cast<T>(x + j * d.dilation[1]) + offset[1],
                             mask ? *mask++ : T{1});
        }
      }
      offset += 2 * others;
      if (mask) mask += others;
    }
  }

  const Deformable& layer_;
  const DeformableValues<T>& values_;
  std::vector<Sample<T>> samples_;
  int64_t example_ = -1, first_ = -1, offset_group_ = -1;
};

// Some taps of some channels: the columns that are sampled and multiplied together.
// The channels are of one offset group, and either all of one group or whole groups.
struct Part {
  int64_t offset_group, channel, width, tap, taps;
  int64_t group, groups, group_width;  // group_width: channels of each
  int64_t Depth() const { return taps * width; }
};

// Cuts a layer into parts; those of the same channels follow each other.
inline std::vector<Part> Parts(const Deformable& d, int64_t most_width,
                               int64_t most_depth) {
  const int64_t in_group = d.GroupChannels();
  const int64_t in_offset_group = d.channels / d.offset_groups;
  std::vector<Part> parts;
  for (int64_t begin = 0, end; begin < d.channels; begin = end) {
    const int64_t group = begin / in_group, offset_group = begin / in_offset_group;
    const int64_t most =
        std::min(most_width, (offset_group + 1) * in_offset_group - begin);
    const bool whole = begin % in_group == 0 && in_group <= most;
    const int64_t left = (group + 1) * in_group - begin;
    const int64_t width = whole ? most / in_group * in_group : std::min(most, left);
    end = begin + width;
    const int64_t blocks = (d.Taps() * width + most_depth - 1) / most_depth;
    const int64_t taps = std::max<int64_t>(1, (d.Taps() + blocks - 1) / blocks);
    for (int64_t tap = 0; tap < d.Taps(); tap += taps) {
      parts.push_back({offset_group, begin, width, tap, std::min(taps, d.Taps() - tap),
                       group, whole ? width / in_group : 1,
                       whole ? in_group : width});
    }
  }
  return parts;
}

inline int64_t MostDepth(const std::vector<Part>& parts) {
  int64_t most = 0;
  for (const Part& part : parts) most = std::max(most, part.Depth());
  return most;
}

// count numbers, `step` apart.
inline std::vector<int64_t> Multiples(int64_t count, int64_t step) {
  std::vector<int64_t> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = i * step;
  return values;
}

// A product whose right matrix is gone through a panel at a time, which stays in cache.
template <typename T>
void MultiplyPanels(Product<T> product) {
  const auto& arithmetic = ChooseArithmetic<T, T>();
  const int64_t columns = product.columns;
  for (int64_t done = 0; done < columns; done += arithmetic.panel) {
    product.columns = std::min(arithmetic.panel, columns - done);
    arithmetic.multiply(product);
    product.right += arithmetic.panel * product.depth;
    product.out += arithmetic.panel;
  }
}

// Packs rows that lie anywhere into panels as `multiply` wants them.
template <typename T>
void PackPanels(const T* source, const int64_t* rows, int64_t depth, int64_t columns,
                T* packed) {
  const int64_t panel = ChooseArithmetic<T, T>().panel;
  for (int64_t column = 0; column < columns; column += panel) {
    const int64_t width = std::min(panel, columns - column);
    for (int64_t d = 0; d < depth; ++d, packed += panel) {
      std::copy_n(source + rows[d] + column, width, packed);
      std::fill(packed + width, packed + panel, T{0});
    }
  }
}

}  // namespace tfpriv::deformable

#endif  // TFPRIV_OPS_CC_DEFORMABLE_CONVOLUTION_H_

// A deformable convolution and its gradients: samples are read into columns, a few
// positions at a time, and multiplied with the filters while they are in cache. No
// result depends on how the work is split over threads.

#ifndef TFPRIV_OPS_CC_DEFORMABLE_PASSES_H_
#define TFPRIV_OPS_CC_DEFORMABLE_PASSES_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "deformable_convolution.h"
#include "deformable_samples.h"
#include "multiply.h"

namespace tfpriv::deformable {

constexpr int64_t kPartWidth = 64;   // channels
constexpr int64_t kPartDepth = 256;  // a panel of so many rows fits first-level cache

// What the passes have in common.
template <typename T>
class Pass {
 protected:
  Pass(const Deformable& layer, const DeformableValues<T>& values,
       const std::vector<Part>& parts)
      : layer_(layer),
        values_(values),
        samples_(layer, values),
        columns_((kChunk + kMostRows) * MostDepth(parts) + kMostRows) {
    // Tiles also read rows after the last one, and forget what they made of them.
    const int64_t size = (kChunk + kMostRows) * MostDepth(parts) + kMostRows;
    std::fill_n(columns_.get(), size, T{0});
  }

  SampleBlock<T> Block(const Chunk& chunk, const Part& part) {
    return {samples_(chunk, part.offset_group) + part.tap, layer_.Taps(), chunk.positions,
            part.taps, part.width};
  }

  void ReadColumns(const Chunk& chunk, const Part& part) {
    ChooseSampleFunctions<T>().read(
        Block(chunk, part),
        values_.inputs + chunk.example * layer_.InputSize() + part.channel,
        columns_.get());
  }

  const T* Gradients(const Chunk& chunk) const {
    return values_.gradients + (chunk.example * layer_.Positions() + chunk.first) *
                                   layer_.filters;
  }

  const Deformable& layer_;
  const DeformableValues<T>& values_;
  Samples<T> samples_;
  Buffer<T> columns_;  // of one chunk and part: [position][tap][channel]
};

// --- Forward. ---

// The filters of each part and group, packed for products of columns with them.
template <typename T>
class ForwardFilters {
 public:
  ForwardFilters(const Deformable& d, const T* filters)
      : parts(Parts(d, kPartWidth, kPartDepth)),
        size_(RoundUp(d.GroupFilters(), ChooseArithmetic<T, T>().panel)),
        packed_(d.Taps() * d.channels * size_) {
    T* out = packed_.get();
    std::vector<int64_t> rows;
    for (const Part& part : parts) {
      starts_.push_back(out);
      for (int64_t g = 0; g < part.groups; ++g, out += rows.size() * size_) {
        const int64_t group = part.group + g;
        const int64_t channel = part.channel + g * part.group_width;
        rows.clear();
        for (int64_t tap = part.tap; tap < part.tap + part.taps; ++tap) {
          for (int64_t c = 0; c < part.group_width; ++c) {
            rows.push_back(
                (tap * d.GroupChannels() + channel % d.GroupChannels() + c) * d.filters);
          }
        }
        PackPanels(filters + group * d.GroupFilters(), rows.data(), rows.size(),
                   d.GroupFilters(), out);
      }
    }
  }

  // Of the g-th group of a part.
  const T* operator()(size_t part, int64_t g) const {
    return starts_[part] + g * parts[part].taps * parts[part].group_width * size_;
  }

  const std::vector<Part> parts;

 private:
  int64_t size_;  // of a row of a group's filters
  Buffer<T> packed_;
  std::vector<const T*> starts_;
};

template <typename T>
class Forward : Pass<T> {
 public:
  Forward(const Deformable& layer, const DeformableValues<T>& values,
          const ForwardFilters<T>& filters, const T* bias, T* outputs)
      : Pass<T>(layer, values, filters.parts),
        filters_(filters),
        bias_(bias),
        outputs_(outputs) {
    for (const Part& part : filters.parts) {
      rows_.push_back(Multiples(kChunk + kMostRows, part.Depth()));
      depths_.emplace_back();
      for (int64_t tap = 0; tap < part.taps; ++tap) {
        for (int64_t c = 0; c < part.group_width; ++c) {
          depths_.back().push_back(tap * part.width + c);
        }
      }
    }
  }

  void operator()(const Chunk& chunk) {
    const auto& d = this->layer_;
    T* out = outputs_ + (chunk.example * d.Positions() + chunk.first) * d.filters;
    for (int64_t p = 0; p < chunk.positions; ++p) {
      std::copy_n(bias_, d.filters, out + p * d.filters);
    }
    for (size_t i = 0; i < filters_.parts.size(); ++i) {
      const Part& part = filters_.parts[i];
      this->ReadColumns(chunk, part);
      for (int64_t g = 0; g < part.groups; ++g) {
        MultiplyPanels<T>({this->columns_.get() + g * part.group_width, rows_[i].data(),
                           chunk.positions, depths_[i].data(),
                           part.taps * part.group_width, filters_(i, g),
                           d.GroupFilters(), out + (part.group + g) * d.GroupFilters(),
                           d.filters, true, false});
      }
    }
  }

 private:
  const ForwardFilters<T>& filters_;
  const T* bias_;
  T* outputs_;
  std::vector<std::vector<int64_t>> rows_, depths_;  // of each part's product
};

// --- Gradients that go back through the filters: of inputs, offsets and masks. ---

// The filters of each part, packed for products of output gradients with them. A part
// of several groups has a matrix for each group and tap, another a single one.
template <typename T>
class BackwardFilters {
 public:
  BackwardFilters(const Deformable& d, const T* filters)
      : parts(Parts(d, kPartWidth, kPartDepth)), packed_(Size(d, parts)) {
    T* out = packed_.get();
    std::vector<int64_t> columns;
    for (const Part& part : parts) {
      starts_.push_back(out);
      for (int64_t run = 0; run < Runs(part); ++run, out += RunSize(d, part)) {
        const int64_t g = run / RunsOfGroup(part);
        const int64_t tap = part.tap + run % RunsOfGroup(part);
        const int64_t channel = part.channel + g * part.group_width;
        columns.clear();
        for (int64_t i = 0; i < RunColumns(part); ++i) {
          const int64_t c = channel % d.GroupChannels() + i % part.group_width;
          columns.push_back(
              ((tap + i / part.group_width) * d.GroupChannels() + c) * d.filters);
        }
        ChooseArithmetic<T, T>().pack_transposed(
            filters + (part.group + g) * d.GroupFilters(), columns.data(), columns.size(),
            d.GroupFilters(), out);
      }
    }
  }

  // columns = gradients times filters, for a chunk's positions.
  void Multiply(const Deformable& d, size_t index, const T* gradients,
                const int64_t* rows, int64_t positions, const int64_t* depths,
                T* columns) const {
    const Part& part = parts[index];
    const T* packed = starts_[index];
    for (int64_t run = 0; run < Runs(part); ++run, packed += RunSize(d, part)) {
      const int64_t g = run / RunsOfGroup(part), tap = run % RunsOfGroup(part);
      MultiplyPanels<T>({gradients + (part.group + g) * d.GroupFilters(), rows, positions,
                         depths, d.GroupFilters(), packed, RunColumns(part),
                         columns + tap * part.width + g * part.group_width, part.Depth(),
                         false, false});
    }
  }

  const std::vector<Part> parts;

 private:
  // The columns of one group and all taps lie side by side if there is but one group.
  static int64_t RunsOfGroup(const Part& part) {
    return part.groups == 1 ? 1 : part.taps;
  }
  static int64_t Runs(const Part& part) { return part.groups * RunsOfGroup(part); }
  static int64_t RunColumns(const Part& part) {
    return part.group_width * (part.groups == 1 ? part.taps : 1);
  }
  static int64_t RunSize(const Deformable& d, const Part& part) {
    return RoundUp(RunColumns(part), ChooseArithmetic<T, T>().panel) * d.GroupFilters();
  }
  static int64_t Size(const Deformable& d, const std::vector<Part>& parts) {
    int64_t size = 0;
    for (const Part& part : parts) size += Runs(part) * RunSize(d, part);
    return size;
  }

  Buffer<T> packed_;
  std::vector<const T*> starts_;
};

// Makes the columns' gradients.
template <typename T>
class BackwardPass : protected Pass<T> {
 protected:
  BackwardPass(const Deformable& layer, const DeformableValues<T>& values,
               const BackwardFilters<T>& filters)
      : Pass<T>(layer, values, filters.parts),
        filters_(filters),
        depths_(Multiples(layer.GroupFilters(), 1)),
        rows_(kChunk + kMostRows) {}

  void MakeColumns(const Chunk& chunk, size_t part) {
    for (int64_t p = 0; p < kChunk + kMostRows; ++p) {
      rows_[p] = std::min(p, chunk.positions - 1) * this->layer_.filters;
    }
    filters_.Multiply(this->layer_, part, this->Gradients(chunk), rows_.data(),
                      chunk.positions, depths_.data(), this->columns_.get());
  }

  const BackwardFilters<T>& filters_;

 private:
  std::vector<int64_t> depths_, rows_;
};

template <typename T>
class InputGradients : BackwardPass<T> {
 public:
  InputGradients(const Deformable& layer, const DeformableValues<T>& values,
                 const BackwardFilters<T>& filters, T* out)
      : BackwardPass<T>(layer, values, filters), out_(out) {}

  // Of one example's channels, those of the parts [begin, end).
  void operator()(int64_t example, size_t begin, size_t end) {
    const auto& d = this->layer_;
    const Part& first = this->filters_.parts[begin];
    T* out = out_ + example * d.InputSize() + first.channel;
    for (int64_t cell = 0; cell < d.size[0] * d.size[1]; ++cell) {
      std::fill_n(out + cell * d.channels, first.width, T{0});
    }
    for (int64_t number = 0; number < d.Chunks(); ++number) {
      const Chunk chunk(d, example, number);
      for (size_t i = begin; i < end; ++i) {
        this->MakeColumns(chunk, i);
        ChooseSampleFunctions<T>().add(this->Block(chunk, this->filters_.parts[i]),
                                       this->columns_.get(), out);
      }
    }
  }

 private:
  T* out_;
};

// Of offsets and masks, which every example has of its own here.
template <typename T>
class OffsetGradients : BackwardPass<T> {
 public:
  OffsetGradients(const Deformable& layer, const DeformableValues<T>& values,
                  const BackwardFilters<T>& filters, T* offsets, T* mask)
      : BackwardPass<T>(layer, values, filters),
        offsets_(offsets),
        mask_(mask),
        dots_(kChunk * layer.Taps() * kCorners) {}

  void operator()(const Chunk& chunk) {
    const auto& parts = this->filters_.parts;
    for (size_t begin = 0, end; begin < parts.size(); begin = end) {
      const int64_t offset_group = parts[begin].offset_group;
      std::fill(dots_.begin(), dots_.end(), T{0});
      for (end = begin; end < parts.size() && parts[end].offset_group == offset_group;
           ++end) {
        this->MakeColumns(chunk, end);
        const T* inputs = this->values_.inputs +
                          chunk.example * this->layer_.InputSize() + parts[end].channel;
        ChooseSampleFunctions<T>().dot(this->Block(chunk, parts[end]), inputs,
                                       this->columns_.get(),
                                       dots_.data() + parts[end].tap * kCorners);
      }
      Write(chunk, offset_group);
    }
  }

 private:
  // From the column's gradient times each corner to the place's and the mask's.
  void Write(const Chunk& chunk, int64_t offset_group) {
    const auto& d = this->layer_;
    const Sample<T>* sample = this->samples_(chunk, offset_group);
    const T* dot = dots_.data();
    for (int64_t p = chunk.first; p < chunk.first + chunk.positions; ++p) {
      const int64_t place = chunk.example * d.Positions() + p;
      int64_t at = (place * d.offset_groups + offset_group) * d.Taps();
      for (int64_t tap = 0; tap < d.Taps(); ++tap, ++at, ++sample, dot += kCorners) {
        const T down = sample->down, right = sample->right;
        const T top = dot[1] - dot[0], bottom = dot[3] - dot[2];
        const T left_side = dot[2] - dot[0], right_side = dot[3] - dot[1];
        offsets_[2 * at] = sample->mask * ((1 - right) * left_side + right * right_side);
        offsets_[2 * at + 1] = sample->mask * ((1 - down) * top + down * bottom);
        if (mask_ == nullptr) continue;
        mask_[at] = (1 - down) * ((1 - right) * dot[0] + right * dot[1]) +
                    down * ((1 - right) * dot[2] + right * dot[3]);
      }
    }
  }

  T *offsets_, *mask_;
  std::vector<T> dots_;  // [position][tap][corner]
};

// --- The filters' gradient. ---

// Cut finer than the other passes, so that each thread has some.
inline std::vector<Part> FilterParts(const Deformable& d) {
  constexpr int64_t kRows = 48;  // whole tiles
  return Parts(d, kRows, std::clamp<int64_t>(d.Taps() * d.channels / 8, 6, kRows));
}

template <typename T>
class FilterGradients : Pass<T> {
 public:
  FilterGradients(const Deformable& layer, const DeformableValues<T>& values,
                  const std::vector<Part>& parts, T* out)
      : Pass<T>(layer, values, parts),
        parts_(parts),
        out_(out),
        iota_(Multiples(MostDepth(parts) + kMostRows, 1)),
        positions_(Multiples(kChunk, layer.filters)),
        group_size_(kChunk *
                    RoundUp(layer.GroupFilters(), ChooseArithmetic<T, T>().panel)),
        gradients_(group_size_ * layer.groups) {
    for (const Part& part : parts) depths_.push_back(Multiples(kChunk, part.Depth()));
  }

  // The rows of the parts [begin, end), summed over all examples.
  void operator()(size_t begin, size_t end) {
    const auto& d = this->layer_;
    for (int64_t example = 0; example < d.examples; ++example) {
      for (int64_t number = 0; number < d.Chunks(); ++number) {
        const Chunk chunk(d, example, number);
        const int64_t group = parts_[begin].group;
        const int64_t groups = parts_[end - 1].group + parts_[end - 1].groups;
        PackGradients(chunk, group, groups);
        for (size_t i = begin; i < end; ++i) {
          this->ReadColumns(chunk, parts_[i]);
          AddProducts(chunk, i, example + number > 0);
        }
      }
    }
  }

 private:
  void PackGradients(const Chunk& chunk, int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      PackPanels(this->Gradients(chunk) + group * this->layer_.GroupFilters(),
                 positions_.data(), chunk.positions, this->layer_.GroupFilters(),
                 gradients_.get() + group * group_size_);
    }
  }

  void AddProducts(const Chunk& chunk, size_t index, bool add) {
    const auto& d = this->layer_;
    const Part& part = parts_[index];
    // Taps lie side by side in the filters if a group has no other channels.
    const bool together = part.width == d.GroupChannels();
    const int64_t width = together ? part.Depth() : part.group_width;
    for (int64_t g = 0; g < part.groups; ++g) {
      const int64_t channel = part.channel + g * part.group_width;
      for (int64_t tap = 0; tap < (together ? 1 : part.taps); ++tap) {
        const int64_t row =
            (part.tap + tap) * d.GroupChannels() + channel % d.GroupChannels();
        MultiplyPanels<T>(
            {this->columns_.get() + tap * part.width + g * part.group_width, iota_.data(),
             width, depths_[index].data(), chunk.positions,
             gradients_.get() + (part.group + g) * group_size_, d.GroupFilters(),
             out_ + row * d.filters + (part.group + g) * d.GroupFilters(), d.filters, add,
             false});
      }
    }
  }

  const std::vector<Part>& parts_;
  T* out_;
  std::vector<int64_t> iota_, positions_;
  int64_t group_size_;
  Buffer<T> gradients_;  // of a chunk, packed group by group
  std::vector<std::vector<int64_t>> depths_;
};

}  // namespace tfpriv::deformable

#endif  // TFPRIV_OPS_CC_DEFORMABLE_PASSES_H_

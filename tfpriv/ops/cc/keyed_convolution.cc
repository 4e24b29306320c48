// The ops TfprivKeyedConv2D, TfprivKeyedConv2DInputGradient and
// TfprivKeyedConv2DFilterGradient: a convolution of shuffled planes into shuffled planes.
//
// No plane is ever put in order: where a pixel of the window lies comes from a table, and
// the matrix product reads its rows there (M. Dukhan, "The Indirect Convolution
// Algorithm", 2019).

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "convolution.h"
#include "keyed_op.h"
#include "multiply.h"

namespace tfpriv {
namespace {

constexpr int64_t kDepth = 256;             // of a part of the sum: a panel in L1
constexpr int64_t kBlockBytes = 1 << 18;    // of the rows taken at a time: L2
// With fewer rows packing the filters would take longer than it saves.
constexpr int64_t kFewRows = 300;
// Filters that are not packed lie far apart, in few sets of the first-level cache: so many
// bytes of them, with what is between, stay there until the next tile.
constexpr int64_t kBytesInPlace = 1 << 15;
constexpr double kWorkPerThread = 0x1p20;

int64_t UsefulThreads(int64_t threads, double work) {
  if (threads <= 0) threads = std::thread::hardware_concurrency();
  return std::clamp<int64_t>(static_cast<int64_t>(work / kWorkPerThread), 1, threads);
}

// Filters of shape (taps, from, to), read as they are or with `from` and `to` exchanged.
template <typename T>
struct Filters {
  const T* values;
  int64_t taps, from, to;
  bool exchanged;

  int64_t run() const { return exchanged ? to : from; }
  int64_t columns() const { return exchanged ? from : to; }
  int64_t depth() const { return taps * run(); }
};

// Copies columns [column, column + panel) to where the product reads them one after
// another, zeros beyond the last.
template <typename T>
void PackPanel(const Filters<T>& filters, int64_t column, int64_t panel, T* packed) {
  const int64_t width = std::min(panel, filters.columns() - column);
  if (!filters.exchanged) {
    for (int64_t d = 0; d < filters.depth(); ++d, packed += panel) {
      const T* row = filters.values + d * filters.to + column;
      std::copy(row, row + width, packed);
      std::fill(packed + width, packed + panel, T{0});
    }
    return;
  }
  std::vector<int64_t> offsets;
  for (int64_t c = 0; c < width; ++c) offsets.push_back((column + c) * filters.to);
  for (int64_t k = 0; k < filters.taps; ++k, packed += filters.to * panel) {
    ChooseArithmetic<T, T>().pack_transposed(
        filters.values + k * filters.from * filters.to, offsets.data(), width, filters.to,
        packed);
  }
}

// The parts of the sum. Terms are added one by one in the same order, whatever the depth.
std::vector<GatheredPart> Parts(int64_t taps, int64_t run, int64_t depth) {
  std::vector<GatheredPart> parts;
  const int64_t taps_each = std::max<int64_t>(1, depth / run);
  const int64_t pieces = (run + depth - 1) / depth;
  for (int64_t k = 0; k < taps; k += taps_each) {
    for (int64_t i = 0; i < pieces; ++i) {
      parts.push_back({parts.empty(), k, std::min(taps, k + taps_each), run * i / pieces,
                       run * (i + 1) / pieces});
    }
  }
  return parts;
}

// Filters packed once for all examples.
template <typename T>
class KeyedProduct {
 public:
  KeyedProduct(const Filters<T>& filters, const T* bias, int64_t rows, int64_t threads)
      : filters_(filters),
        panel_(ChooseArithmetic<T, T>().panel),
        panels_((filters.columns() + panel_ - 1) / panel_),
        in_place_(rows <= kFewRows && !filters.exchanged &&
                  filters.columns() % panel_ == 0),
        zeros_(filters.run()),
        start_(panels_ * panel_),
        parts_(Parts(filters.taps, filters.run(), Depth(rows))) {
    if (bias != nullptr) std::copy(bias, bias + filters.columns(), start_.begin());
    if (in_place_) return;
    packed_ = std::make_unique<Buffer<T>>(panels_ * panel_ * filters.depth());
    const double work = 4.0 * panels_ * panel_ * filters.depth();
    ParallelFor(panels_, 1, UsefulThreads(threads, work), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        PackPanel(filters_, i * panel_, panel_, packed_->get() + i * panel_ * filters_.depth());
      }
    });
  }

  int64_t Depth(int64_t rows) const {
    if (!in_place_) return kDepth;
    if (rows <= ChooseArithmetic<T, T>().tile_rows) return 8;  // read once, in few streams
    const int64_t step = filters_.columns() * sizeof(T);
    return std::clamp<int64_t>(kBytesInPlace / step, 8, kDepth);
  }

  // Examples' planes of `pixels` to planes of `positions`, through their table or tables.
  void operator()(const T* left, int64_t examples, int64_t pixels, int64_t positions,
                  const std::vector<int32_t>& table, bool shared, int64_t threads,
                  T* out) const {
    const int64_t rows = examples * positions;
    Gathered<T> product;
    product.left = left;
    product.example_stride = pixels * filters_.run();
    product.table = table.data();
    product.table_stride = shared ? 0 : positions * filters_.taps;
    product.positions = positions;
    product.taps = filters_.taps;
    product.run = filters_.run();
    product.zeros = zeros_.data();
    product.right = in_place_ ? filters_.values : packed_->get();
    product.right_step = in_place_ ? filters_.columns() : panel_;
    product.panel_stride = in_place_ ? panel_ : panel_ * filters_.depth();
    product.start = start_.data();
    product.rows = rows;
    product.columns = filters_.columns();
    product.out = out;
    threads = UsefulThreads(threads, 1.0 * rows * filters_.depth() * filters_.columns());
    const int64_t tile = ChooseArithmetic<T, T>().tile_rows;
    if (rows >= 2 * tile * threads || panels_ < threads) {
      ParallelFor(rows, tile, threads, [&](int64_t begin, int64_t end) {
        Rows(product, begin, end, 0, panels_);
      });
    } else {
      ParallelFor(panels_, 1, threads, [&](int64_t begin, int64_t end) {
        Rows(product, 0, rows, begin, end);
      });
    }
  }

 private:
  void Rows(const Gathered<T>& product, int64_t begin, int64_t end, int64_t panel_begin,
            int64_t panel_end) const {
    const auto& arithmetic = ChooseArithmetic<T, T>();
    const int64_t fit = kBlockBytes / (product.run * sizeof(T)) * product.positions *
                        product.run / std::max<int64_t>(product.example_stride, 1);
    const int64_t block = RoundUp(std::max<int64_t>(fit, 96), arithmetic.tile_rows);
    for (int64_t row = begin; row < end; row += block) {
      for (const GatheredPart& part : parts_) {
        arithmetic.multiply_gathered(product, part, row, std::min(end, row + block),
                                     panel_begin, panel_end);
      }
    }
  }

  Filters<T> filters_;
  int64_t panel_, panels_;
  bool in_place_;
  std::vector<T> zeros_, start_;
  std::vector<GatheredPart> parts_;
  std::unique_ptr<Buffer<T>> packed_;
};

// Adds the filters' gradient of some examples to `out`, of shape (taps, channels, columns).
template <typename T>
class FilterGradient {
 public:
  FilterGradient(const Window& window, int64_t channels, int64_t columns)
      : window_(window), channels_(channels), columns_(columns), zeros_(channels) {}

  void operator()(const T* input, const T* gradient, int64_t examples,
                  const std::vector<int32_t>& table, bool shared, int64_t threads,
                  T* out) const {
    const int64_t tiles = (channels_ + kTile - 1) / kTile;
    const double work = 1.0 * examples * window_.Positions() * window_.Taps() * channels_ *
                        columns_;
    ParallelFor(window_.Taps() * tiles, 1, UsefulThreads(threads, work),
                [&](int64_t begin, int64_t end) {
                  Tiles(input, gradient, examples, table, shared, begin, end, tiles, out);
                });
  }

 private:
  static constexpr int64_t kTile = 6;  // rows: channels of one tap

  void Tiles(const T* input, const T* gradient, int64_t examples,
             const std::vector<int32_t>& table, bool shared, int64_t begin, int64_t end,
             int64_t tiles, T* out) const {
    const auto& arithmetic = ChooseArithmetic<T, T>();
    const int64_t positions = window_.Positions(), rows = examples * positions;
    Buffer<T> panels(kDepth * RoundUp(columns_, arithmetic.panel));
    const T* left[kDepth];
    for (int64_t row = 0; row < rows; row += kDepth) {
      const int64_t depth = std::min(kDepth, rows - row);
      arithmetic.pack_rows(gradient + row * columns_, depth, columns_, panels.get());
      for (int64_t k = begin / tiles; k * tiles < end; ++k) {
        FindRuns(input, row, depth, table, shared, k, left);
        const int64_t first = std::max(begin, k * tiles) - k * tiles;
        const int64_t last = std::min(end - k * tiles, tiles);
        arithmetic.add_outer(left, first * kTile, std::min(last * kTile, channels_), depth,
                             panels.get(), out + k * channels_ * columns_, columns_);
      }
    }
  }

  void FindRuns(const T* input, int64_t row, int64_t depth,
                const std::vector<int32_t>& table, bool shared, int64_t k,
                const T** left) const {
    const int64_t positions = window_.Positions(), taps = window_.Taps();
    int64_t example = row / positions, q = row % positions;
    for (int64_t d = 0; d < depth; ++example, q = 0) {
      const int32_t* at = table.data() + (shared ? 0 : example * positions * taps) + k;
      const T* plane = input + example * window_.Pixels() * channels_;
      for (; d < depth && q < positions; ++d, ++q) {
        const int64_t place = at[q * taps];
        left[d] = place < 0 ? zeros_.data() : plane + place * channels_;
      }
    }
  }

  Window window_;
  int64_t channels_, columns_;
  std::vector<T> zeros_;
};

// --- The kernels. ---

// Calls work(begin, end) for ranges of examples whose tables fit into memory.
template <typename Work>
void InRanges(int64_t examples, int64_t at_a_time, const Work& work) {
  for (int64_t begin = 0; begin < examples; begin += at_a_time) {
    work(begin, std::min(examples, begin + at_a_time));
  }
}

template <typename T>
const T* Values(const TF_Tensor* tensor) {
  return static_cast<const T*>(TF_TensorData(tensor));
}

template <typename T>
void ConvolveAs(Call* call, const KeyedKernel& kernel) {
  Window window = kernel.window;
  TF_Tensor* input = call->Input(0);
  TF_Tensor* filters = call->Input(1);
  TF_Tensor* source = call->Input(2);
  TF_Tensor* target = call->Input(3);
  TF_Tensor* bias = call->Input(4);
  if (!call->ok()) return;
  call->Require(TF_NumDims(input) == 4 && TF_NumDims(filters) == 4 &&
                    TF_Dim(input, 3) == TF_Dim(filters, 2) && TF_Dim(filters, 0) > 0 &&
                    TF_Dim(filters, 1) > 0 && TF_Dim(input, 3) > 0 &&
                    TF_NumDims(bias) == 1 && TF_Dim(bias, 0) == TF_Dim(filters, 3),
                "inputs (n, h, w, c), filters (kh, kw, c, f) and bias (f) must fit each "
                "other. Received: shapes " + Shape(input) + ", " + Shape(filters) +
                    " and " + Shape(bias));
  if (!call->ok()) return;
  const int64_t examples = TF_Dim(input, 0);
  for (int axis = 0; axis < 2; ++axis) {
    window.size[axis] = TF_Dim(input, axis + 1);
    window.kernel[axis] = TF_Dim(filters, axis);
  }
  const KeyedTables tables(call, kernel, window, examples, source, target, Reading::kSeen);
  const Filters<T> matrix{Values<T>(filters), window.Taps(), TF_Dim(filters, 2),
                          TF_Dim(filters, 3), false};
  TF_Tensor* output = call->Output(
      0, kernel.dtype, {examples, window.Output(0), window.Output(1), matrix.columns()});
  if (!call->ok() || TF_TensorElementCount(output) == 0) return;
  const int64_t positions = window.Positions(), pixels = window.Pixels();
  const KeyedProduct<T> product(matrix, Values<T>(bias), examples * positions,
                                kernel.num_threads);
  T* out = static_cast<T*>(TF_TensorData(output));
  InRanges(examples, tables.ExamplesAtATime(), [&](int64_t begin, int64_t end) {
    product(Values<T>(input) + begin * pixels * matrix.run(), end - begin, pixels, positions,
            *tables.Of(begin, end), tables.shared(),
            kernel.num_threads, out + begin * positions * matrix.columns());
  });
}

template <typename T>
void InputGradientAs(Call* call, const KeyedKernel& kernel) {
  Window window = kernel.window;
  TF_Tensor* gradients = call->Input(0);
  TF_Tensor* filters = call->Input(1);
  TF_Tensor* source = call->Input(2);
  TF_Tensor* target = call->Input(3);
  if (!call->ok()) return;
  call->Require(TF_NumDims(gradients) == 4 && TF_NumDims(filters) == 4 &&
                    TF_Dim(gradients, 3) == TF_Dim(filters, 3) && TF_Dim(filters, 0) > 0 &&
                    TF_Dim(filters, 1) > 0 && TF_Dim(filters, 2) > 0,
                "gradients and filters must fit each other. Received: shapes " +
                    Shape(gradients) + " and " + Shape(filters));
  if (!call->ok()) return;
  const int64_t examples = TF_Dim(gradients, 0);
  for (int axis = 0; axis < 2; ++axis) window.kernel[axis] = TF_Dim(filters, axis);
  const KeyedTables tables(call, kernel, window, examples, source, target,
                           Reading::kSeeing);
  if (!call->ok()) return;
  call->Require(TF_Dim(gradients, 1) == window.Output(0) &&
                    TF_Dim(gradients, 2) == window.Output(1),
                "gradients must have the output's shape. Received: " + Shape(gradients));
  const Filters<T> matrix{Values<T>(filters), window.Taps(), TF_Dim(filters, 2),
                          TF_Dim(filters, 3), true};
  TF_Tensor* output = call->Output(
      0, kernel.dtype, {examples, window.size[0], window.size[1], matrix.columns()});
  if (!call->ok() || TF_TensorElementCount(output) == 0) return;
  const int64_t positions = window.Positions(), pixels = window.Pixels();
  T* out = static_cast<T*>(TF_TensorData(output));
  if (TF_TensorElementCount(gradients) == 0) {
    std::fill(out, out + TF_TensorElementCount(output), T{0});
    return;
  }
  const KeyedProduct<T> product(matrix, nullptr, examples * pixels, kernel.num_threads);
  InRanges(examples, tables.ExamplesAtATime(), [&](int64_t begin, int64_t end) {
    product(Values<T>(gradients) + begin * positions * matrix.run(), end - begin, positions,
            pixels, *tables.Of(begin, end), tables.shared(),
            kernel.num_threads, out + begin * pixels * matrix.columns());
  });
}

template <typename T>
void FilterGradientAs(Call* call, const KeyedKernel& kernel) {
  Window window = kernel.window;
  TF_Tensor* input = call->Input(0);
  TF_Tensor* gradients = call->Input(1);
  TF_Tensor* source = call->Input(2);
  TF_Tensor* target = call->Input(3);
  if (!call->ok()) return;
  call->Require(TF_NumDims(input) == 4 && TF_NumDims(gradients) == 4 &&
                    TF_Dim(input, 0) == TF_Dim(gradients, 0),
                "inputs and gradients must fit each other. Received: shapes " +
                    Shape(input) + " and " + Shape(gradients));
  if (!call->ok()) return;
  const int64_t examples = TF_Dim(input, 0);
  for (int axis = 0; axis < 2; ++axis) window.size[axis] = TF_Dim(input, axis + 1);
  const KeyedTables tables(call, kernel, window, examples, source, target, Reading::kSeen);
  if (!call->ok()) return;
  call->Require(TF_Dim(gradients, 1) == window.Output(0) &&
                    TF_Dim(gradients, 2) == window.Output(1),
                "gradients must have the output's shape. Received: " + Shape(gradients));
  const int64_t channels = TF_Dim(input, 3), columns = TF_Dim(gradients, 3);
  TF_Tensor* output = call->Output(
      0, kernel.dtype, {window.kernel[0], window.kernel[1], channels, columns});
  if (!call->ok()) return;
  T* out = static_cast<T*>(TF_TensorData(output));
  std::fill(out, out + TF_TensorElementCount(output), T{0});
  if (TF_TensorElementCount(output) == 0 || TF_TensorElementCount(gradients) == 0) return;
  const FilterGradient<T> add(window, channels, columns);
  InRanges(examples, tables.ExamplesAtATime(), [&](int64_t begin, int64_t end) {
    add(Values<T>(input) + begin * window.Pixels() * channels,
        Values<T>(gradients) + begin * window.Positions() * columns, end - begin,
        *tables.Of(begin, end), tables.shared(), kernel.num_threads,
        out);
  });
}

template <void (*single)(Call*, const KeyedKernel&), void (*wide)(Call*, const KeyedKernel&)>
void Compute(void* state, TF_OpKernelContext* context, const char* name) {
  const KeyedKernel& kernel = *static_cast<const KeyedKernel*>(state);
  Call call(context, name);
  try {
    (kernel.dtype == TF_DOUBLE ? wide : single)(&call, kernel);
  } catch (const std::bad_alloc&) {
    call.Fail(TF_RESOURCE_EXHAUSTED, "no memory.");
  }
}

void Destroy(void* state) { delete static_cast<KeyedKernel*>(state); }

// Runs when the library is loaded.
__attribute__((constructor)) void Register() {
  Op{"TfprivKeyedConv2D",
     {"inputs: T", "filters: T", "source: int32", "target: int32", "bias: T"},
     {"outputs: T"},
     {"T: {float, double}", "strides: list(int)", "dilations: list(int)",
      "before: list(int)", "after: list(int)", "num_threads: int >= 0 = 0"},
     [](TF_OpKernelConstruction* construction) -> void* {
       return KeyedKernel::Create(construction, false, false, false);
     },
     [](void* state, TF_OpKernelContext* context) {
       Compute<ConvolveAs<float>, ConvolveAs<double>>(state, context, "keyed_conv2d");
     },
     Destroy}
      .Register();
  Op{"TfprivKeyedConv2DInputGradient",
     {"gradients: T", "filters: T", "source: int32", "target: int32"},
     {"input_gradients: T"},
     {"T: {float, double}", "input_size: list(int)", "strides: list(int)",
      "dilations: list(int)", "before: list(int)", "after: list(int)",
      "num_threads: int >= 0 = 0"},
     [](TF_OpKernelConstruction* construction) -> void* {
       return KeyedKernel::Create(construction, false, true, false);
     },
     [](void* state, TF_OpKernelContext* context) {
       Compute<InputGradientAs<float>, InputGradientAs<double>>(state, context,
                                                                "keyed_conv2d");
     },
     Destroy}
      .Register();
  Op{"TfprivKeyedConv2DFilterGradient",
     {"inputs: T", "gradients: T", "source: int32", "target: int32"},
     {"filter_gradients: T"},
     {"T: {float, double}", "kernel_size: list(int)", "strides: list(int)",
      "dilations: list(int)", "before: list(int)", "after: list(int)",
      "num_threads: int >= 0 = 0"},
     [](TF_OpKernelConstruction* construction) -> void* {
       return KeyedKernel::Create(construction, true, false, false);
     },
     [](void* state, TF_OpKernelContext* context) {
       Compute<FilterGradientAs<float>, FilterGradientAs<double>>(state, context,
                                                                  "keyed_conv2d");
     },
     Destroy}
      .Register();
}

}  // namespace
}  // namespace tfpriv

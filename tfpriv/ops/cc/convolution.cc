// The ops TfprivConvGradients and TfprivConvSquareNorms: (input, gradient) of a
// convolution -> its kernel's gradient for each example and the square of its norm, or
// the latter alone.

#include "convolution.h"

#include <cmath>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>

#include "convolution_norm.h"
#include "op.h"
#include "tf_c_api.h"
#include "workers.h"

namespace tfpriv {
namespace {

constexpr int kDims = kAxes + 2;      // examples, space, channels
constexpr double kMostValues = 0x1p40;  // far from any overflow
constexpr int64_t kMostPairs = 1024;  // cells or positions: some megabytes of products

struct Kernel {
  TF_DataType dtype;
  int64_t num_threads;
  Convolution attributes;  // without what the tensors' shapes say
};

// One call: what to compute, and where from.
struct Batch {
  Convolution convolution;
  int64_t examples;
  TF_Tensor* input;
  TF_Tensor* gradient;
};

// --- The work, with T the tensors' type. Sizes are not 0 here. ---

// What one product of two values costs in float32, as the unit of work.
template <typename T>
double DirectWork(const Convolution& c) {
  return sizeof(T) / sizeof(float) * 1.0 * c.Positions() * c.GradientSize();
}

double PairwiseWork(const Convolution& c, const Pairs& pairs) {
  const double positions = c.Positions();
  // Products in float64 of half a matrix each; packing costs some 16 units a value.
  double work = positions * c.filters * (positions + 16);
  for (const Residue& residue : pairs.residues) {
    const double cells = residue.cells.size();
    work += cells * c.channels * (cells + 16);
    work += 4 * positions * positions * residue.offsets.size();  // short sums
  }
  return work;
}

template <typename T>
void Gradients(Call* call, const Batch& batch, int64_t threads, T* out, double* norms) {
  const Convolution& c = batch.convolution;
  const T* input = static_cast<const T*>(TF_TensorData(batch.input));
  const T* gradient = static_cast<const T*>(TF_TensorData(batch.gradient));
  const Columns columns(c);
  typedef Direct<T, T> Worker;
  ForEach<Worker>(
      call, batch.examples, DirectWork<T>(c), threads,
      [&] { return std::make_unique<Worker>(c, columns); },
      [&](const Worker& worker, int64_t i) {
        T* result = out + i * c.GradientSize();
        worker.Gradient(input + i * c.InputSize(), gradient + i * c.OutputSize(), result);
        norms[i] = ChooseArithmetic<T, T>().sum_squares(result, c.GradientSize());
      });
}

// Computes squared norms, with memory of its own: one per thread.
template <typename T>
class SquareNorm {
 public:
  SquareNorm(const Convolution& convolution, const Columns& columns, const Pairs* pairs)
      : convolution_(convolution), columns_(columns) {
    if (pairs != nullptr) {
      pairwise_ = std::make_unique<PairwiseNorm<T>>(convolution, *pairs);
    } else {
      direct_ = std::make_unique<DirectNorm<T>>(convolution, columns);
    }
  }

  double operator()(const T* input, const T* gradient) {
    if (pairwise_ != nullptr) {
      const Norm norm = (*pairwise_)(input, gradient);
      if (!(norm.square < kCancelledPairs * norm.scale)) return norm.square;
    } else {
      const double square = (*direct_)(input, gradient);
      // What is not finite may come of a product that float32 cannot hold.
      if (std::isfinite(square) && square >= Cancelled(input, gradient)) return square;
    }
    return Exact(input, gradient);
  }

 private:
  // Float64 sums of pairs are right to some 1e-13 of their scale.
  static constexpr double kCancelledPairs = 1e-6;

  // Way (a), with the gradient in the cache.
  template <typename Wide>
  struct DirectNorm {
    DirectNorm(const Convolution& c, const Columns& columns)
        : direct(c, columns), size(c.GradientSize()), values(size) {}
    double operator()(const T* input, const T* gradient) {
      direct.Gradient(input, gradient, values.get());
      return ChooseArithmetic<T, Wide>().sum_squares(values.get(), size);
    }
    Direct<T, Wide> direct;
    int64_t size;
    Buffer<Wide> values;
  };

  // A squared norm below this is one of terms that cancelled more than random ones do,
  // whose sum is some 1/positions of the scale. The scale here is that of way (b) or
  // more: no offset of the kernel sees a value of the input twice.
  double Cancelled(const T* input, const T* gradient) const {
    const auto& sum_squares = ChooseArithmetic<T, T>().sum_squares;
    const double scale = convolution_.Offsets() *
                         sum_squares(input, convolution_.InputSize()) *
                         sum_squares(gradient, convolution_.OutputSize());
    return std::min(1e-4, 1.0 / 16 / convolution_.Positions()) * scale;
  }

  double Exact(const T* input, const T* gradient) {
    if (exact_ == nullptr) {
      exact_ = std::make_unique<DirectNorm<double>>(convolution_, columns_);
    }
    return (*exact_)(input, gradient);
  }

  const Convolution& convolution_;
  const Columns& columns_;
  std::unique_ptr<PairwiseNorm<T>> pairwise_;
  std::unique_ptr<DirectNorm<T>> direct_;
  std::unique_ptr<DirectNorm<double>> exact_;
};

template <typename T>
void SquareNorms(Call* call, const Batch& batch, int64_t threads, double* out) {
  const Convolution& c = batch.convolution;
  const T* input = static_cast<const T*>(TF_TensorData(batch.input));
  const T* gradient = static_cast<const T*>(TF_TensorData(batch.gradient));
  const Columns columns(c);
  std::unique_ptr<Pairs> pairs;
  double work = DirectWork<T>(c);
  if (std::max(c.Positions(), c.InputSize() / c.channels) <= kMostPairs) {
    pairs = std::make_unique<Pairs>(c);
    const double pairwise = PairwiseWork(c, *pairs);
    if (pairwise < work) {
      work = pairwise;
    } else {
      pairs = nullptr;
    }
  }
  typedef SquareNorm<T> Worker;
  ForEach<Worker>(
      call, batch.examples, work, threads,
      [&] { return std::make_unique<Worker>(c, columns, pairs.get()); },
      [&](Worker& worker, int64_t i) {
        out[i] = worker(input + i * c.InputSize(), gradient + i * c.OutputSize());
      });
}

// --- The kernels. ---

// Reads the inputs and checks that they fit each other.
Batch CheckedBatch(Call* call, const Kernel& kernel) {
  Batch batch{kernel.attributes, 0, call->Input(0), call->Input(1)};
  if (!call->ok()) return batch;
  call->Require(TF_NumDims(batch.input) == kDims && TF_NumDims(batch.gradient) == kDims,
                "inputs and gradients must have 5 dimensions.");
  if (!call->ok()) return batch;
  Convolution& c = batch.convolution;
  batch.examples = TF_Dim(batch.input, 0);
  c.channels = TF_Dim(batch.input, kDims - 1);
  c.filters = TF_Dim(batch.gradient, kDims - 1);
  bool fits = TF_Dim(batch.gradient, 0) == batch.examples;
  double window = c.channels, values = 1.0 * batch.examples * c.channels * c.filters;
  for (int axis = 0; axis < kAxes; ++axis) {
    c.size[axis] = TF_Dim(batch.input, axis + 1);
    fits &= TF_Dim(batch.gradient, axis + 1) == c.Output(axis);
    window *= c.size[axis] + c.before[axis] + c.after[axis];
    values *= c.kernel[axis];
  }
  call->Require(fits, "gradients must have the shape of the convolution's output. " +
                          std::string("Received: inputs of shape ") +
                          Shape(batch.input) + ", gradients of shape " +
                          Shape(batch.gradient));
  call->Require(window <= kMostValues && values <= kMostValues,
                "inputs or kernels are too large.");
  return batch;
}

template <typename T>
void ComputeGradients(Call* call, const Kernel& kernel, const Batch& batch) {
  const Convolution& c = batch.convolution;
  TF_Tensor* output =
      call->Output(0, kernel.dtype,
                   {batch.examples, c.kernel[0], c.kernel[1], c.kernel[2], c.channels,
                    c.filters});
  TF_Tensor* square_norms = call->Output(1, TF_DOUBLE, {batch.examples});
  if (!call->ok()) return;
  T* out = static_cast<T*>(TF_TensorData(output));
  double* norms = static_cast<double*>(TF_TensorData(square_norms));
  const int64_t size = batch.examples * c.GradientSize();
  if (size == 0 || c.Positions() == 0) {
    std::fill(out, out + size, T{0});
    std::fill(norms, norms + batch.examples, 0.0);
  } else {
    Gradients(call, batch, kernel.num_threads, out, norms);
  }
}

template <typename T>
void ComputeSquareNorms(Call* call, const Kernel& kernel, const Batch& batch) {
  const Convolution& c = batch.convolution;
  TF_Tensor* output = call->Output(0, TF_DOUBLE, {batch.examples});
  if (!call->ok()) return;
  double* out = static_cast<double*>(TF_TensorData(output));
  if (c.GradientSize() == 0 || c.Positions() == 0) {
    std::fill(out, out + batch.examples, 0.0);
  } else if (batch.examples > 0) {
    SquareNorms<T>(call, batch, kernel.num_threads, out);
  }
}

template <void (*single)(Call*, const Kernel&, const Batch&),
          void (*wide)(Call*, const Kernel&, const Batch&)>
void Compute(void* state, TF_OpKernelContext* context, const char* name) {
  const Kernel& kernel = *static_cast<const Kernel*>(state);
  Call call(context, name);
  const Batch batch = CheckedBatch(&call, kernel);
  if (!call.ok()) return;
  try {
    (kernel.dtype == TF_DOUBLE ? wide : single)(&call, kernel, batch);
  } catch (const std::bad_alloc&) {
    call.Fail(TF_RESOURCE_EXHAUSTED, "no memory.");
  }
}

void* Create(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  auto kernel = std::make_unique<Kernel>();
  kernel->dtype = attributes.Type("T");
  kernel->num_threads = attributes.Integer("num_threads");
  attributes.Integers("kernel_size", 1, kernel->attributes.kernel);
  attributes.Integers("strides", 1, kernel->attributes.stride);
  attributes.Integers("dilations", 1, kernel->attributes.dilation);
  attributes.Integers("before", 0, kernel->attributes.before);
  attributes.Integers("after", 0, kernel->attributes.after);
  return kernel.release();
}

void Destroy(void* state) { delete static_cast<Kernel*>(state); }

void RegisterOne(const char* name, std::initializer_list<const char*> outputs,
                 void (*compute)(void*, TF_OpKernelContext*)) {
  Op{name,
     {"inputs: T", "gradients: T"},
     outputs,
     {"T: {float, double}", "kernel_size: list(int)", "strides: list(int)",
      "dilations: list(int)", "before: list(int)", "after: list(int)",
      "num_threads: int >= 0 = 0"},
     Create,
     compute,
     Destroy}
      .Register();
}

// Runs when the library is loaded.
__attribute__((constructor)) void Register() {
  RegisterOne("TfprivConvGradients", {"kernel_gradients: T", "square_norms: double"},
              [](void* state, TF_OpKernelContext* context) {
                Compute<ComputeGradients<float>, ComputeGradients<double>>(
                    state, context, "conv_gradients");
              });
  RegisterOne("TfprivConvSquareNorms", {"square_norms: double"},
              [](void* state, TF_OpKernelContext* context) {
                Compute<ComputeSquareNorms<float>, ComputeSquareNorms<double>>(
                    state, context, "conv_square_norms");
              });
}

}  // namespace
}  // namespace tfpriv

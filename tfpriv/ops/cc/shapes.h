// What is known of an op's outputs before it runs: dimensions of its inputs.

#ifndef TFPRIV_OPS_CC_SHAPES_H_
#define TFPRIV_OPS_CC_SHAPES_H_

#include <cstdint>
#include <initializer_list>

#include "tf_c_api.h"

namespace tfpriv {

class ShapeHandle {
 public:
  ShapeHandle() : ShapeHandle(TF_NewShapeHandle()) {}
  explicit ShapeHandle(TF_ShapeHandle* handle) : handle_(handle) {}
  ShapeHandle(const ShapeHandle&) = delete;
  ~ShapeHandle() { TF_DeleteShapeHandle(handle_); }
  TF_ShapeHandle* get() const { return handle_; }

 private:
  TF_ShapeHandle* handle_;
};

// Dimensions [begin, end) of an input of that rank.
struct Dimensions {
  int input;
  int64_t rank, begin, end;
};

// Says that an output has these dimensions, one after another.
inline void SetOutputShape(TF_ShapeInferenceContext* context, int output,
                           std::initializer_list<Dimensions> dimensions,
                           TF_Status* status) {
  const ShapeHandle shape(TF_ShapeInferenceContextScalar(context));
  for (const Dimensions& part : dimensions) {
    const ShapeHandle input, ranked, cut;
    TF_ShapeInferenceContextGetInput(context, part.input, input.get(), status);
    if (TF_GetCode(status) != TF_OK) return;
    TF_ShapeInferenceContextWithRank(context, input.get(), part.rank, ranked.get(),
                                     status);
    if (TF_GetCode(status) != TF_OK) return;
    TF_ShapeInferenceContextSubshape(context, ranked.get(), part.begin, part.end,
                                     cut.get(), status);
    if (TF_GetCode(status) != TF_OK) return;
    TF_ShapeInferenceContextConcatenateShapes(context, shape.get(), cut.get(),
                                              shape.get(), status);
    if (TF_GetCode(status) != TF_OK) return;
  }
  TF_ShapeInferenceContextSetOutput(context, output, shape.get(), status);
}

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_SHAPES_H_

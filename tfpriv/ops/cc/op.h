// What every op needs of TensorFlow's C API: one call's tensors and errors, one op's
// attributes, and its registration.

#ifndef TFPRIV_OPS_CC_OP_H_
#define TFPRIV_OPS_CC_OP_H_

#include <sys/mman.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "tf_c_api.h"

namespace tfpriv {

// Large fresh memory is given page by page, which takes longer than filling it.
inline void UseHugePages(void* memory, size_t bytes) {
  constexpr uintptr_t kHuge = uintptr_t{1} << 21;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = (begin + kHuge - 1) & ~(kHuge - 1);
  const uintptr_t last = (begin + bytes) & ~(kHuge - 1);
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
}

inline size_t BytesOf(TF_DataType dtype) {
  switch (dtype) {
    case TF_DOUBLE: return sizeof(double);
    case TF_FLOAT: return sizeof(float);
    case TF_INT32: return sizeof(int32_t);
    case TF_INT64: return sizeof(int64_t);
    case TF_UINT64: return sizeof(uint64_t);
    case TF_UINT8: return sizeof(uint8_t);
  }
  return sizeof(double);
}

// For messages: "(2, 3)".
inline std::string Shape(const TF_Tensor* tensor) {
  std::string shape;
  for (int i = 0; i < TF_NumDims(tensor); ++i) {
    shape += (i == 0 ? "" : ", ") + std::to_string(TF_Dim(tensor, i));
  }
  return "(" + shape + ")";
}

// A status and the tensors of one call, released when it ends.
class Call {
 public:
  Call(TF_OpKernelContext* context, const char* op)
      : context_(context), op_(op), status_(TF_NewStatus()) {}
  Call(const Call&) = delete;
  ~Call() {
    if (!ok()) TF_OpKernelContext_Failure(context_, status_);
    for (TF_Tensor* tensor : tensors_) TF_DeleteTensor(tensor);
    TF_DeleteStatus(status_);
  }

  bool ok() const { return TF_GetCode(status_) == TF_OK; }

  void Fail(TF_Code code, const std::string& message) {
    if (ok()) TF_SetStatus(status_, code, (op_ + (": " + message)).c_str());
  }

  void Require(bool condition, const std::string& message) {
    if (!condition) Fail(TF_INVALID_ARGUMENT, message);
  }

  TF_Tensor* Input(int index) {
    TF_Tensor* tensor = nullptr;
    if (ok()) TF_GetInput(context_, index, &tensor, status_);
    return Keep(tensor);
  }

  TF_Tensor* Output(int index, TF_DataType dtype, const std::vector<int64_t>& shape) {
    size_t bytes = BytesOf(dtype);
    for (int64_t size : shape) bytes *= size;
    if (!ok()) return nullptr;
    TF_Tensor* tensor = TF_AllocateOutput(context_, index, dtype, shape.data(),
                                          static_cast<int>(shape.size()), bytes, status_);
    if (tensor != nullptr) UseHugePages(TF_TensorData(tensor), bytes);
    return Keep(tensor);
  }

 private:
  TF_Tensor* Keep(TF_Tensor* tensor) {
    if (tensor != nullptr) tensors_.push_back(tensor);
    return tensor;
  }

  TF_OpKernelContext* context_;
  const char* op_;
  TF_Status* status_;
  std::vector<TF_Tensor*> tensors_;
};

// Reads an op's attributes when its kernel is made; says so to TensorFlow if it cannot.
class Attributes {
 public:
  explicit Attributes(TF_OpKernelConstruction* construction)
      : construction_(construction), status_(TF_NewStatus()) {}
  Attributes(const Attributes&) = delete;
  ~Attributes() {
    if (!ok()) TF_OpKernelConstruction_Failure(construction_, status_);
    TF_DeleteStatus(status_);
  }

  TF_DataType Type(const char* name) {
    TF_DataType dtype = TF_FLOAT;
    if (ok()) TF_OpKernelConstruction_GetAttrType(construction_, name, &dtype, status_);
    return dtype;
  }

  int64_t Integer(const char* name) {
    int64_t value = 0;
    if (ok()) TF_OpKernelConstruction_GetAttrInt64(construction_, name, &value, status_);
    return value;
  }

  // A list of `count` integers, none below `least`.
  template <int count>
  void Integers(const char* name, int64_t least, int64_t (&values)[count]) {
    int32_t length = 0, bytes = 0;
    if (ok()) {
      TF_OpKernelConstruction_GetAttrSize(construction_, name, &length, &bytes, status_);
    }
    // The C API would cut a longer list off in silence.
    if (ok() && length != count) return Refuse(name);
    if (ok()) {
      TF_OpKernelConstruction_GetAttrInt64List(construction_, name, values, count,
                                               status_);
    }
    if (!ok()) return;
    for (int64_t value : values) {
      if (value < least || value > INT32_MAX) return Refuse(name);
    }
  }

 private:
  bool ok() const { return TF_GetCode(status_) == TF_OK; }

  void Refuse(const char* name) {
    TF_SetStatus(status_, TF_INVALID_ARGUMENT,
                 (std::string(name) + " has the wrong length or values.").c_str());
  }

  TF_OpKernelConstruction* construction_;
  TF_Status* status_;
};

// Registers an op and its CPU kernel. One that fails to register is missing from the
// module that tf.load_op_library returns, which the loader checks.
struct Op {
  const char* name;
  std::initializer_list<const char*> inputs, outputs, attributes;
  void* (*create)(TF_OpKernelConstruction*);
  void (*compute)(void*, TF_OpKernelContext*);
  void (*destroy)(void*);
  void (*shapes)(TF_ShapeInferenceContext*, TF_Status*) =
      TF_ShapeInferenceContextSetUnknownShape;

  void Register() const {
    TF_Status* status = TF_NewStatus();
    TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
    for (const char* spec : inputs) TF_OpDefinitionBuilderAddInput(op, spec);
    for (const char* spec : outputs) TF_OpDefinitionBuilderAddOutput(op, spec);
    for (const char* spec : attributes) TF_OpDefinitionBuilderAddAttr(op, spec);
    TF_OpDefinitionBuilderSetShapeInferenceFunction(op, shapes);
    TF_RegisterOpDefinition(op, status);
    if (TF_GetCode(status) == TF_OK) {
      TF_RegisterKernelBuilder(
          name, TF_NewKernelBuilder(name, "CPU", create, compute, destroy), status);
    }
    TF_DeleteStatus(status);
  }
};

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_OP_H_

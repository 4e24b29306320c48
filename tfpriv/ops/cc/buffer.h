// Memory for the work of one thread.

#ifndef TFPRIV_OPS_CC_BUFFER_H_
#define TFPRIV_OPS_CC_BUFFER_H_

#include <cstdint>
#include <new>

namespace tfpriv {

// Memory for vectors, not initialised.
template <typename T>
class Buffer {
 public:
  explicit Buffer(int64_t size)
      : values_(static_cast<T*>(operator new(size * sizeof(T), kLine))) {}
  Buffer(const Buffer&) = delete;
  ~Buffer() { operator delete(values_, kLine); }
  T* get() const { return values_; }

 private:
  static constexpr std::align_val_t kLine{64};
  T* values_;
};

inline int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_BUFFER_H_

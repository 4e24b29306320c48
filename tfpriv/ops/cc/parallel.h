// Splits work over threads of our own: the C API does not lend TensorFlow's pool.

#ifndef TFPRIV_OPS_CC_PARALLEL_H_
#define TFPRIV_OPS_CC_PARALLEL_H_

#include <algorithm>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace tfpriv {

// Calls work(begin, end) on ranges that cover [0, size), each on its own thread.
// Ranges start at multiples of `grain`; `threads` 0 means one per core. What a range throws
// is thrown again here, when all have ended.
template <typename Work>
void ParallelFor(int64_t size, int64_t grain, int64_t threads, const Work& work) {
  if (threads <= 0) threads = std::thread::hardware_concurrency();
  const int64_t grains = (size + grain - 1) / grain;
  threads = std::max<int64_t>(1, std::min(threads, grains));
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto range = [&](int64_t i) {
    try {
      work(grains * i / threads * grain, std::min(size, grains * (i + 1) / threads * grain));
    } catch (...) {
      const std::lock_guard<std::mutex> lock(failure_mutex);
      failure = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  int64_t started = 1;  // range 0 is for this thread
  try {
    others.reserve(threads - 1);
    for (; started < threads; ++started) others.emplace_back(range, started);
  } catch (const std::exception&) {
    // No more threads to be had: this one does the rest.
  }
  range(0);
  for (int64_t i = started; i < threads; ++i) range(i);
  for (std::thread& other : others) other.join();
  if (failure != nullptr) std::rethrow_exception(failure);
}

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_PARALLEL_H_

// Splits work over threads of our own: the C API does not lend TensorFlow's pool.

#ifndef TFPRIV_OPS_CC_PARALLEL_H_
#define TFPRIV_OPS_CC_PARALLEL_H_

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

namespace tfpriv {

// Calls work(begin, end) on ranges that cover [0, size), on as many threads as there are
// ranges. Ranges start at multiples of `grain`; `threads` 0 means one per core. What a range
// throws is thrown again here, when all have ended.
//
// A range belongs to the thread that comes first. Waking an idle core of a virtual machine
// takes longer than some layers: a thread that starts late finds nothing left, and nobody
// waits for it.
template <typename Work>
void ParallelFor(int64_t size, int64_t grain, int64_t threads, const Work& work) {
  if (threads <= 0) threads = std::thread::hardware_concurrency();
  const int64_t grains = (size + grain - 1) / grain;
  const int64_t ranges = std::max<int64_t>(1, std::min(threads, grains));
  if (ranges == 1) return work(0, size);
  struct Shared {
    std::mutex mutex;
    std::condition_variable all_ended;
    int64_t taken = 0, ended = 0;
    std::exception_ptr failure;
  };
  const auto shared = std::make_shared<Shared>();  // a late thread still looks at it
  // `work` is called in a range only, hence before this function returns.
  const auto take_ranges = [=, &work] {
    std::unique_lock<std::mutex> lock(shared->mutex);
    while (shared->taken < ranges) {
      const int64_t i = shared->taken++;
      std::exception_ptr failure;
      lock.unlock();
      try {
        work(grains * i / ranges * grain, std::min(size, grains * (i + 1) / ranges * grain));
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      if (failure != nullptr) shared->failure = failure;
      if (++shared->ended == ranges) shared->all_ended.notify_one();
    }
  };
  try {
    for (int64_t i = 1; i < ranges; ++i) std::thread(take_ranges).detach();
  } catch (const std::exception&) {
    // No more threads to be had: this one does the rest.
  }
  take_ranges();
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all_ended.wait(lock, [&] { return shared->ended == ranges; });
  if (shared->failure != nullptr) std::rethrow_exception(shared->failure);
}

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_PARALLEL_H_

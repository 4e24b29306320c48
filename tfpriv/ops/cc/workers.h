// Work on many items by a few threads, each with memory of its own.

#ifndef TFPRIV_OPS_CC_WORKERS_H_
#define TFPRIV_OPS_CC_WORKERS_H_

#include <cstdint>
#include <memory>
#include <new>

#include "op.h"
#include "parallel.h"

namespace tfpriv {

constexpr double kWorkPerThread = 0x1p21;  // products; fewer are not worth a thread

// Calls work(Worker&, begin, end) on ranges that cover the items; a Worker is made for
// each thread. `work_each` is an item's number of products.
template <typename Worker, typename Make, typename Work>
void ForRanges(Call* call, int64_t items, double work_each, int64_t threads,
               const Make& make, const Work& work) {
  const int64_t grain = static_cast<int64_t>(kWorkPerThread / work_each) + 1;
  try {
    ParallelFor(items, grain, threads, [&](int64_t begin, int64_t end) {
      const std::unique_ptr<Worker> worker = make();
      work(*worker, begin, end);
    });
  } catch (const std::bad_alloc&) {
    call->Fail(TF_RESOURCE_EXHAUSTED, "no memory for one example.");
  }
}

// The same, with work(Worker&, item) for each item.
template <typename Worker, typename Make, typename Work>
void ForEach(Call* call, int64_t items, double work_each, int64_t threads,
             const Make& make, const Work& work) {
  ForRanges<Worker>(call, items, work_each, threads, make,
                    [&](Worker& worker, int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i) work(worker, i);
                    });
}

}  // namespace tfpriv

#endif  // TFPRIV_OPS_CC_WORKERS_H_

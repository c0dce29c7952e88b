// Shares work among the threads of a host, without waiting for them to wake.

#ifndef TF_STN_CC_KERNELS_CPU_THREADS_H_
#define TF_STN_CC_KERNELS_CPU_THREADS_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "cc/kernels/cpu/host.h"

namespace tf_stn {

// Chunks of work that threads take one after the other.  It outlives the call that
// made it, since a thread that wakes late looks here and finds that nothing is left.
class SharedWork {
 public:
  explicit SharedWork(int64_t chunks) : chunks_(chunks) {}

  // Calls work(chunk) until no chunk is left to take.
  // REQUIRES: `work` exists until Wait() has returned in the thread that owns it.
  template <typename Work>
  void Take(const Work& work) {
    int64_t chunk;
    while ((chunk = next_.fetch_add(1)) < chunks_) {
      work(chunk);
      if (done_.fetch_add(1) + 1 == chunks_) {
        const std::lock_guard<std::mutex> lock(mutex_);
        all_done_.notify_all();
      }
    }
  }

  // Waits for the chunks that other threads have taken.
  void Wait() {
    constexpr int kSpins = 1 << 12;  // A thread that is about to end need not be slept for.
    for (int i = 0; i < kSpins; ++i) {
      if (done_.load() == chunks_) return;
    }
    std::unique_lock<std::mutex> lock(mutex_);
    all_done_.wait(lock, [this] { return done_.load() == chunks_; });
  }

 private:
  const int64_t chunks_;
  std::atomic<int64_t> next_{0}, done_{0};
  std::mutex mutex_;
  std::condition_variable all_done_;
};

// Calls work(worker, begin, end) for ranges that together are [0, total), each of whose units costs
// `cost` cycles.  Workers are numbered from 0 to host.threads - 1, and each is one thread.  The
// calling thread works too and may do everything by itself: it does not wait for threads that have
// not begun.
template <typename Work>
void ShareWork(const Host& host, int64_t total, int64_t cost, const Work& work) {
  constexpr int64_t kLeastChunk = 40'000;  // Cycles.
  constexpr int64_t kChunksPerThread = 8;  // So that nobody waits long for the last.
  const int64_t most = std::min<int64_t>(total, kChunksPerThread * host.threads);
  const int64_t chunks = std::min(most, total * cost / kLeastChunk);
  if (host.threads <= 1 || chunks <= 1) return work(0, 0, total);
  const auto run = [&work, total, chunks](int64_t worker, int64_t chunk) {
    work(worker, total * chunk / chunks, total * (chunk + 1) / chunks);
  };
  const auto shared = std::make_shared<SharedWork>(chunks);
  const int64_t helpers = std::min<int64_t>(host.threads, chunks) - 1;
  for (int64_t i = 1; i <= helpers; ++i) {
    host.schedule([shared, &run, i] { shared->Take([&run, i](int64_t chunk) { run(i, chunk); }); });
  }
  shared->Take([&run](int64_t chunk) { run(0, chunk); });
  shared->Wait();
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_THREADS_H_

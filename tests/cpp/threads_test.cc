// How work is shared among threads, and the plain loops run by many threads on shared inputs.  Run
// under ThreadSanitizer, which sees every access that nothing puts in order.

#include "cc/kernels/cpu/threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "cc/core/call.h"
#include "cc/core/modes.h"
#include "cc/core/plain_loops.h"
#include "cc/core/points.h"
#include "cc/kernels/cpu/host.h"
#include "tests/cpp/check.h"
#include "tests/cpp/support.h"

namespace tf_stn {
namespace {

// Threads that run what they are given, in order, after a while.
class Pool {
 public:
  Pool(int threads, std::chrono::microseconds delay) : delay_(delay) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
  }

  // Runs all that is left.
  ~Pool() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      is_closed_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void Schedule(std::function<void()> function) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      functions_.push_back(std::move(function));
    }
    changed_.notify_one();
  }

  // Shares work of which every unit is worth a chunk, by work(worker, begin, end).
  template <typename Work>
  void Share(int64_t total, const Work& work) {
    constexpr int64_t kCost = 1'000'000;
    ShareWork(host(), total, kCost, work);
  }

  // The calling thread works too.
  Host host() {
    Host host;
    host.threads = static_cast<int64_t>(threads_.size()) + 1;
    host.schedule = [this](std::function<void()> function) { Schedule(std::move(function)); };
    return host;
  }

 private:
  void Run() {
    while (true) {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return is_closed_ || !functions_.empty(); });
      if (functions_.empty()) return;
      const std::function<void()> function = std::move(functions_.front());
      functions_.pop_front();
      lock.unlock();
      if (delay_.count() > 0) std::this_thread::sleep_for(delay_);
      function();
    }
  }

  const std::chrono::microseconds delay_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> functions_;
  bool is_closed_ = false;
  std::vector<std::thread> threads_;
};

// From threads that wake at once to such that wake when everything has been done.
constexpr std::chrono::microseconds kDelays[] = {
    std::chrono::microseconds(0), std::chrono::microseconds(50), std::chrono::microseconds(2000)};

// Calls run(number) in as many threads at once.
template <typename Run>
void InThreads(int count, const Run& run) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back([&run, i] { run(i); });
  for (std::thread& thread : threads) thread.join();
}

TEST(EveryUnitIsDoneOnceAndSeenByTheCaller) {
  for (const auto delay : kDelays) {
    Pool pool(4, delay);
    std::atomic<int> wrong{0};
    // Callers at once, as TensorFlow runs several ops.
    InThreads(3, [&](int caller) {
      for (int64_t total = 0; total < 120; ++total) {
        std::vector<int> times(static_cast<size_t>(total));  // Not atomic: nothing else orders.
        pool.Share(total, [&](int64_t, int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) times[static_cast<size_t>(i)] += 1 + caller;
        });
        for (const int n : times) wrong += n != 1 + caller;
      }
    });
    CHECK(wrong == 0);
  }
}

TEST(WorkMayBeSharedFromWithinWork) {
  Pool pool(3, std::chrono::microseconds(0));
  std::atomic<int64_t> sum{0};
  pool.Share(20, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      pool.Share(10, [&](int64_t, int64_t first, int64_t last) { sum += last - first; });
    }
  });
  CHECK(sum == 200);
}

// So a worker may have memory of its own, which is not atomic and which nothing else orders.
TEST(AWorkerIsOneThreadAtATime) {
  for (const auto delay : kDelays) {
    Pool pool(4, delay);
    const Host host = pool.host();
    std::atomic<int> wrong{0};
    InThreads(3, [&](int) {
      for (int repeat = 0; repeat < 30; ++repeat) {
        std::vector<int64_t> done(static_cast<size_t>(host.threads));
        std::vector<std::thread::id> thread(done.size());
        pool.Share(100, [&](int64_t worker, int64_t begin, int64_t end) {
          if (worker < 0 || worker >= host.threads) {
            ++wrong;
            return;
          }
          const auto i = static_cast<size_t>(worker);
          const auto here = std::this_thread::get_id();
          wrong += thread[i] != std::thread::id() && thread[i] != here;
          thread[i] = here;
          done[i] += end - begin;
        });
        int64_t total = 0;
        for (const int64_t count : done) total += count;
        wrong += total != 100;
        wrong += thread[0] != std::thread::id() && thread[0] != std::this_thread::get_id();
        // Nor are there two workers in a thread: all chunks that it takes, it takes as one.
        for (size_t i = 0; i < thread.size(); ++i) {
          for (size_t j = 0; j < i; ++j) {
            wrong += thread[i] != std::thread::id() && thread[i] == thread[j];
          }
        }
      }
    });
    CHECK(wrong == 0);
  }
}

TEST(LittleWorkStaysWithTheCaller) {
  int calls = 0;
  const auto count = [&](int64_t worker, int64_t begin, int64_t end) {
    CHECK(worker == 0 && begin == 0 && end == 100);
    ++calls;
  };
  Host host;
  host.schedule = [](const std::function<void()>&) { CHECK(false); };
  host.threads = 8;
  ShareWork(host, 100, 10, count);  // Not worth a chunk.
  host.threads = 1;
  ShareWork(host, 100, 1'000'000, count);  // Nobody to help.
  CHECK(calls == 2);
}

// Threads that never come are not waited for, and those that come when all is done find nothing.
TEST(TheCallerWaitsForNobodyWhoHasNotBegun) {
  std::vector<std::function<void()>> late;
  Host host;
  host.threads = 8;
  host.schedule = [&](std::function<void()> function) { late.push_back(std::move(function)); };
  int64_t units = 0;
  ShareWork(host, 100, 1'000'000, [&](int64_t worker, int64_t begin, int64_t end) {
    CHECK(worker == 0);
    units += end - begin;
  });
  CHECK(units == 100);
  CHECK(late.size() == 7);
  for (const auto& function : late) function();
  CHECK(units == 100);
}

// Inputs that all threads read, of two images or volumes that share their points.
template <int Rank>
struct SharedProblem : Problem<WarpPoints<Rank, float>, float> {
  static Case CaseOf() {
    Case c;
    c.size.assign(Rank, 9);
    c.images = 2;
    c.channels = 3;
    c.columns = 150;
    c.shares_points = true;
    c.seed = 2;
    return c;
  }

  SharedProblem() : Problem<WarpPoints<Rank, float>, float>(CaseOf()) {}
};

// Returns all that there is to compute, the parts of it shared by share(total, work).
template <typename Stencil, typename Share>
std::vector<float> Compute(const SharedProblem<Stencil::kRank>& problem,
                           const typename Stencil::Rules& rules, const Share& share) {
  const auto& sizes = problem.sizes;
  const int64_t samples = problem.grad_output.size(), of_points = problem.parameters.size();
  const int64_t of_data = problem.data.size(), slabs = sizes.image.size[0];
  std::vector<float> all(static_cast<size_t>(2 * (samples + of_points + of_data)));
  float* next = all.data();
  const auto take = [&](int64_t size) { return std::exchange(next, next + size); };
  // The gradients of a call, each slab and each point of which is a unit.
  const auto gradients = [&](const auto& call) {
    share(sizes.points_per_image, [&](int64_t begin, int64_t end) {
      GradientOfRun<Stencil>(rules, call, {0, begin, end}, nullptr);
    });
    float* const sums = take(of_data);
    share(sizes.images * slabs, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t n = i / slabs, slab = i % slabs;
        GradientOfBand<Stencil>(rules, call, {n, slab, slab + 1, nullptr, 0},
                                sums + n * sizes.image.elements());
      }
    });
  };
  const auto sample = problem.Sample(take(samples));
  share(sizes.points(),
        [&](int64_t begin, int64_t end) { SamplePoints<Stencil>(rules, sample, begin, end); });
  gradients(problem.Gradient(nullptr, take(of_points)));
  float* const grad_points = take(of_points);
  gradients(problem.SecondOrder(nullptr, grad_points, take(samples)));
  return all;
}

// Of NaNs, the sign and payload may differ.
bool SameNumbers(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float x, float y) {
    return SameBits(x, y) || (std::isnan(x) && std::isnan(y));
  });
}

template <int Rank>
void CheckLoops() {
  const SharedProblem<Rank> problem;
  Pool pool(4, std::chrono::microseconds(0));
  for (const auto interpolation : kInterpolations) {
    for (const auto padding : {PaddingMode::kZeros, PaddingMode::kReflect}) {
      const Modes modes{interpolation, padding, {0, 0, 0}};
      VisitStencil<Rank, float>(modes, [&](auto tag, const auto& rules) {
        using Stencil = typename decltype(tag)::type;
        const auto alone = [](int64_t total, const auto& work) { work(0, total); };
        const std::vector<float> expected = Compute<Stencil>(problem, rules, alone);
        std::atomic<int> wrong{0};
        InThreads(3, [&](int) {
          const auto share = [&](int64_t total, const auto& work) {
            pool.Share(total, [&](int64_t, int64_t begin, int64_t end) { work(begin, end); });
          };
          wrong += !SameNumbers(Compute<Stencil>(problem, rules, share), expected);
        });
        CHECK(wrong == 0);
      });
    }
  }
}

TEST(ConcurrentCallsOnSharedImagesGiveTheSameBits) { CheckLoops<2>(); }
TEST(ConcurrentCallsOnSharedVolumesGiveTheSameBits) { CheckLoops<3>(); }

}  // namespace
}  // namespace tf_stn

int main() { return tf_stn::RunAllTests(); }

// How work is shared among threads, and the loops of cc/core run by many threads on shared
// inputs.  Run under ThreadSanitizer, which sees every access that nothing puts in order.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "cc/core/coordinates.h"
#include "cc/core/modes.h"
#include "cc/core/resample.h"
#include "cc/kernels/shared_work.h"
#include "tests/cpp/check.h"

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

  int64_t size() const { return static_cast<int64_t>(threads_.size()); }

  void Schedule(std::function<void()> function) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      functions_.push_back(std::move(function));
    }
    changed_.notify_one();
  }

  // Shares work of which every unit is worth a chunk.
  template <typename Work>
  void Share(int64_t total, const Work& work) {
    constexpr int64_t kCost = 1'000'000;
    const auto schedule = [this](std::function<void()> function) { Schedule(std::move(function)); };
    ShareWorkAmong(size(), schedule, total, kCost, work);
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
        pool.Share(total, [&](int64_t begin, int64_t end) {
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
  pool.Share(20, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      pool.Share(10, [&](int64_t first, int64_t last) { sum += last - first; });
    }
  });
  CHECK(sum == 200);
}

TEST(LittleWorkStaysWithTheCaller) {
  const auto refuse = [](const std::function<void()>&) { CHECK(false); };
  int calls = 0;
  const auto count = [&](int64_t begin, int64_t end) {
    CHECK(begin == 0 && end == 100);
    ++calls;
  };
  ShareWorkAmong(8, refuse, 100, 10, count);         // Not worth a chunk.
  ShareWorkAmong(1, refuse, 100, 1'000'000, count);  // Nobody to help.
  CHECK(calls == 2);
}

// Inputs that all threads read.
template <int kRank>
struct Problem {
  Problem() {
    std::mt19937 rng(1);
    const auto fill = [&](std::vector<float>* values, size_t count, float low, float high) {
      std::uniform_real_distribution<float> value(low, high);
      values->resize(count);
      for (float& x : *values) x = value(rng);
    };
    fill(&data, static_cast<size_t>(kImages * extent.elements()), -1, 1);
    fill(&warp, kRank * kPoints, -3, 12);
    fill(&directions, kRank * kPoints, -1, 1);
    fill(&grad_output, static_cast<size_t>(kImages * kPoints * extent.channels), -1, 1);
  }

  static constexpr int64_t kImages = 2, kPoints = 150;
  Extent<kRank> extent = [] {
    Extent<kRank> e{};
    for (int64_t& size : e.size) size = 9;
    e.channels = 3;
    return e;
  }();
  std::vector<float> data, grad_output;
  std::vector<float> warp, directions;  // All images share them.
};

// Returns all that there is to compute, the parts of it shared by share(total, work).
template <typename Stencil, typename Share>
std::vector<float> Compute(const Problem<Stencil::kRank>& problem,
                           const typename Stencil::Rules& rules, const Share& share) {
  constexpr int kRank = Stencil::kRank;
  const auto& extent = problem.extent;
  const WarpPoints<kRank, float> points{problem.warp.data(), 0, problem.kPoints};
  const Images<Stencil, float> images{
      rules, extent, problem.kImages, problem.kPoints, problem.data.data(), nullptr};
  const SecondOrder<Stencil, float> second{problem.grad_output.data(), problem.data.data(),
                                           problem.directions.data()};
  const int64_t count = problem.kImages * problem.kPoints, samples = count * extent.channels;
  const int64_t of_warp = problem.kPoints * kRank, of_data = problem.kImages * extent.elements();
  std::vector<float> all(static_cast<size_t>(2 * (samples + of_warp + of_data)));
  float* next = all.data();
  const auto take = [&](int64_t size) { return std::exchange(next, next + size); };
  const auto rows = [&](const auto& scatter) {
    float* const sums = take(of_data);
    share(problem.kImages * extent.size[0], [&, sums](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t n = i / extent.size[0], row = i % extent.size[0];
        scatter(n, row, sums + n * extent.elements());
      }
    });
  };
  const float* const grad_output = problem.grad_output.data();
  float* const output = take(samples);
  share(count, [&](int64_t b, int64_t e) { SamplePoints(images, points, b, e, output); });
  float* const grad_warp = take(of_warp);
  share(problem.kPoints, [&](int64_t b, int64_t e) {
    WarpGradientOfPoints(images, points, grad_output, b, e, grad_warp);
  });
  rows([&](int64_t n, int64_t row, float* image) {
    DataGradientOfRows(images, points, grad_output, n, row, row + 1, image);
  });
  float* const grad_grad_output = take(samples);
  share(count, [&](int64_t b, int64_t e) {
    SecondOrderSamples(images, points, second, b, e, grad_grad_output);
  });
  float* const second_warp = take(of_warp);
  share(problem.kPoints, [&](int64_t b, int64_t e) {
    SecondOrderWarpGradient(images, points, second, b, e, second_warp);
  });
  rows([&](int64_t n, int64_t row, float* image) {
    SecondOrderDataGradientOfRows(images, points, second, n, row, row + 1, image);
  });
  return all;
}

template <int Rank>
void CheckLoops() {
  const Problem<Rank> problem;
  Pool pool(4, std::chrono::microseconds(0));
  for (const auto interpolation :
       {InterpolationMode::kNearest, InterpolationMode::kLinear, InterpolationMode::kCubic}) {
    for (const auto padding : {PaddingMode::kZeros, PaddingMode::kReflect}) {
      const Modes modes{interpolation, padding, {0, 0, 0}};
      VisitStencil<Rank, float>(modes, [&](auto tag, const auto& rules) {
        using Stencil = typename decltype(tag)::type;
        const auto alone = [](int64_t total, const auto& work) { work(0, total); };
        const std::vector<float> expected = Compute<Stencil>(problem, rules, alone);
        std::atomic<int> wrong{0};
        InThreads(3, [&](int) {
          const auto share = [&](int64_t total, const auto& work) { pool.Share(total, work); };
          const std::vector<float> result = Compute<Stencil>(problem, rules, share);
          wrong += std::memcmp(result.data(), expected.data(), result.size() * sizeof(float)) != 0;
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

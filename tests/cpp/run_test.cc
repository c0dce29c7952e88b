// Runs whole calls on the CPU: how their work is divided among threads, that their results do not
// depend on it, and what happens without memory.

#include "cc/kernels/cpu/run.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "cc/core/call.h"
#include "cc/core/pixel_types.h"
#include "cc/core/plain_loops.h"
#include "cc/core/points.h"
#include "cc/kernels/cpu/bands.h"
#include "cc/kernels/cpu/choose.h"
#include "cc/kernels/cpu/division.h"
#include "cc/kernels/cpu/gradients.h"
#include "cc/kernels/cpu/host.h"
#include "cc/kernels/cpu/isa.h"
#include "cc/kernels/cpu/loops.h"
#include "tests/cpp/check.h"
#include "tests/cpp/support.h"

namespace tf_stn {
namespace {

// A host whose threads run at once what they are given, before the caller goes on; it may have
// memory for some requests only.
class TestHost {
 public:
  explicit TestHost(int64_t threads, int64_t most_allocations = 1 << 30) : left_(most_allocations) {
    host.threads = threads;
    host.schedule = [](const std::function<void()>& function) { function(); };
    host.allocate = [this](size_t bytes) -> void* {
      if (left_-- <= 0) return nullptr;
      blocks_.emplace_back(std::aligned_alloc(64, RoundUpToLine(bytes)), &std::free);
      return blocks_.back().get();
    };
  }

  int64_t allocations() const { return static_cast<int64_t>(blocks_.size()); }

  Host host;

 private:
  int64_t left_;
  std::vector<std::unique_ptr<void, void (*)(void*)>> blocks_;
};

// What the loops of a call were asked for.
struct Recorder {
  std::vector<int64_t> bands;  // Points of each.
  std::vector<int64_t> runs;
} recorder;

template <typename CallType>
void RecordPoints(const CallType&, const Run& run, double*, void*) {
  recorder.runs.push_back(run.end - run.begin);
}

template <typename CallType>
void RecordData(const CallType& call, const Band& band, typename CallType::Real*, void*) {
  int64_t count = 0;
  ForPointsOf(band, call.sizes.points_per_image, [&](int64_t q) {
    typename CallType::Real point[CallType::kRank];
    PointOf(call.points, band.image, q, point);
    const int64_t slab = SlabOf(call, point);
    count += band.begin <= slab && slab < band.end;
  });
  recorder.bands.push_back(count);
}

// Returns what tasks a gradient is divided into for so many threads.
template <typename CallType>
Recorder TasksOf(const CallType& call, int64_t threads) {
  using Points = typename CallType::Points;
  using T = typename CallType::Pixel;
  const LoopKind kKind = CallType::kRank == 2 ? LoopKind::kBilinear : LoopKind::kSeparable;
  Loops<Points, T> loops = kKind == LoopKind::kBilinear
                               ? *LoopsOf<LoopKind::kBilinear, Points, T>(Isa::k_baseline)
                               : *LoopsOf<LoopKind::kSeparable, Points, T>(Isa::k_baseline);
  loops.first_order.of_points = &RecordPoints<CallType>;
  loops.first_order.of_data = &RecordData<CallType>;
  loops.first_order.of_both = nullptr;
  recorder = {};
  TestHost host(threads);
  CHECK(GradientTasks<CallType>(host.host, call, loops, loops.first_order).Run());
  return recorder;
}

// A gradient of a warp that reads images of this size once, in order, or in none.
template <int Rank>
struct Warped {
  using Points = WarpPoints<Rank, Float>;

  Warped(std::vector<int64_t> size, int64_t images, int64_t channels, bool is_shuffled) {
    GradientCall<Points, Float>& c = call;
    std::copy(size.begin(), size.end(), c.sizes.image.size);
    c.sizes.image.channels = channels;
    c.sizes.images = images;
    c.sizes.points_per_image =
        std::accumulate(size.begin(), size.end(), int64_t{1}, std::multiplies<int64_t>());
    parameters = Memory<Float>(c.sizes.points() * Rank);
    std::vector<int64_t> order(static_cast<size_t>(c.sizes.points_per_image));
    std::iota(order.begin(), order.end(), 0);
    if (is_shuffled) std::shuffle(order.begin(), order.end(), std::mt19937(1));
    for (int64_t p = 0; p < c.sizes.points(); ++p) {
      int64_t rest = order[static_cast<size_t>(p % c.sizes.points_per_image)];
      for (int d = 0; d < Rank; ++d) {
        const int64_t side = size[static_cast<size_t>(Rank - 1 - d)];
        parameters[p * Rank + d] = static_cast<Float>(rest % side) + Float(0.25);
        rest /= side;
      }
    }
    grad_data = Memory<Float>(c.sizes.elements());
    c.points = {parameters.data(), c.sizes.points_per_image, c.sizes.points()};
    c.grad_data = grad_data.data();
  }

  GradientCall<Points, Float> call{};
  Memory<Float> parameters, grad_data;
};

void CheckBalance(const char* name, const std::vector<int64_t>& tasks) {
  const double mean = std::accumulate(tasks.begin(), tasks.end(), 0.0) /
                      static_cast<double>(std::max<size_t>(1, tasks.size()));
  const auto most = static_cast<double>(*std::max_element(tasks.begin(), tasks.end()));
  if (tasks.size() >= 64 && most <= 1.5 * mean) return;
  ++failures;
  std::printf("%s: %d tasks, the largest of %.2f times the mean\n", name,
              static_cast<int>(tasks.size()), most / mean);
}

TEST(GradientOfDataKeeps64ThreadsBusy) {
  for (const bool is_shuffled : {false, true}) {
    for (const int64_t images : {1, 8, 9}) {
      const Warped<2> warped({512, 320}, images, 4, is_shuffled);
      const std::string name = std::to_string(images) + (is_shuffled ? " shuffled" : " in order");
      CheckBalance(name.c_str(), TasksOf(warped.call, 64).bands);
    }
  }
  CheckBalance("volume", TasksOf(Warped<3>({160, 48, 56}, 1, 1, false).call, 64).bands);
}

TEST(GradientOfPointsKeeps64ThreadsBusy) {
  Warped<2> warped({256, 320}, 1, 4, false);
  warped.call.grad_points = warped.parameters.data();
  CheckBalance("points", TasksOf(warped.call, 64).runs);
}

TEST(OneImageForEachThreadIsNotDivided) {
  const Warped<2> warped({64, 64}, 2, 3, false);
  CHECK(TasksOf(warped.call, 2).bands.size() == 2);
  CHECK(TasksOf(warped.call, 1).bands.size() == 2);
}

// Points that fall into a few rows are divided by these rows.
TEST(CropKeepsTwoThreadsBusy) {
  for (const Float scale : {Float(1), Float(0.25), Float(0.04)}) {
    const Float shift = (1 - scale) * 128;
    const Float matrix[] = {scale, 0, shift, 0, scale, shift};
    GradientCall<MatrixPoints<2, Float>, Float> call{};
    call.sizes = {{{256, 256}, 1}, 1, 256 * 256};
    call.points = {matrix, 1, 1, {{PlainDivision(256), PlainDivision(256)}}};
    const Memory<Float> grad_data(256 * 256);
    call.grad_data = grad_data.data();
    const std::vector<int64_t> tasks = TasksOf(call, 2).bands;
    int64_t busy[2] = {};
    for (const int64_t task : tasks) *std::min_element(busy, busy + 2) += task;
    const double share = static_cast<double>(std::min(busy[0], busy[1])) /
                         static_cast<double>(std::max<int64_t>(1, busy[0] + busy[1]));
    if (share < 0.3)
      std::printf("scale %g: one of two threads has %.2f\n", static_cast<double>(scale), share);
    CHECK(share >= 0.3);
  }
}

// The results of a problem, one after the other.
template <typename Points, typename T>
std::vector<char> ResultsOf(const Problem<Points, T>& problem, const Host& host) {
  const Memory<T> output(problem.grad_output.size()), grad_data(problem.data.size());
  const Memory<T> second_data(problem.data.size()), second_output(problem.grad_output.size());
  const Memory<Coordinate<T>> grad_points(problem.parameters.size());
  const Memory<Coordinate<T>> second_points(problem.parameters.size());
  CHECK(RunOnCpu(host, problem.Sample(output.data())));
  CHECK(RunOnCpu(host, problem.Gradient(grad_data.data(), grad_points.data())));
  std::vector<char> bytes;
  const auto append = [&](const auto& memory) {
    const char* const begin = reinterpret_cast<const char*>(memory.data());
    bytes.insert(bytes.end(), begin, begin + memory.bytes());
  };
  append(output);
  append(grad_data);
  append(grad_points);
  if constexpr (Points::kIsStored) {
    CHECK(RunOnCpu(
        host, problem.SecondOrder(second_data.data(), second_points.data(), second_output.data())));
    append(second_data);
    append(second_points);
    append(second_output);
  }
  return bytes;
}

template <typename Points, typename T>
void CheckThreads(Case c) {
  for (const int64_t images : {1, 3}) {
    for (const int64_t channels : {1, 3, 20}) {
      c.images = images;
      c.channels = channels;
      const Problem<Points, T> problem(c);
      const auto expected = ResultsOf(problem, TestHost(1).host);
      for (const int64_t threads : {2, 3, 64}) {
        if (ResultsOf(problem, TestHost(threads).host) == expected) continue;
        ++failures;
        std::printf("other bits with %d threads: %s\n", static_cast<int>(threads),
                    NameOf(c).c_str());
      }
    }
  }
}

TEST(ResultsAreTheSameBitsForAnyNumberOfThreads) {
  for (const auto interpolation : kInterpolations) {
    for (const auto padding : kPaddings) {
      Case c;
      c.modes = {interpolation, padding, {}};
      c.place = Place::kMostlyInside;
      c.rows = 90;
      c.columns = 100;
      c.size = {40, 30};
      CheckThreads<WarpPoints<2, Float>, Float>(c);
      CheckThreads<MatrixPoints<2, float>, Half>(c);
      c.rows = 40;
      c.size = {20, 7, 9};
      CheckThreads<WarpPoints<3, float>, Brain>(c);
      CheckThreads<MatrixPoints<3, double>, double>(c);
    }
  }
}

TEST(SoAreThoseOfDisplacementsAndOfProjectiveMatrices) {
  Case c;
  c.place = Place::kMostlyInside;
  c.rows = 90;
  c.columns = 100;
  c.size = {40, 30};
  for (const Modes& modes : {Modes(), Modes{InterpolationMode::kCubic, PaddingMode::kWrap, {}}}) {
    c.modes = modes;
    c.seed = 2;
    CheckThreads<WarpPoints<2, Float>, Float>(c);
    c.seed = 4;
    CheckThreads<MatrixPoints<2, float>, Half>(c);
    CheckThreads<MatrixPoints<2, double>, double>(c);
  }
}

// Whichever request for memory fails, the call says so.
TEST(WithoutMemoryACallFails) {
  Case c;
  c.size = {40, 30};
  c.modes.interpolation = InterpolationMode::kCubic;
  c.modes.padding = PaddingMode::kBorder;
  c.rows = 90;
  c.columns = 100;
  c.channels = 5;
  const Problem<WarpPoints<2, float>, Half> problem(c);
  const Memory<Half> output(problem.grad_output.size()), grad_data(problem.data.size());
  const Memory<float> grad_points(problem.parameters.size());
  const auto run = [&](const Host& host) {
    const Memory<Half> second_output(problem.grad_output.size());
    return RunOnCpu(host, problem.Sample(output.data())) &&
           RunOnCpu(host, problem.Gradient(grad_data.data(), grad_points.data())) &&
           RunOnCpu(host, problem.SecondOrder(grad_data.data(), grad_points.data(),
                                              second_output.data()));
  };
  TestHost enough(4);
  CHECK(run(enough.host));
  CHECK(enough.allocations() > 10);
  for (int64_t most = 0; most < enough.allocations(); ++most) {
    CHECK(!run(TestHost(4, most).host));
  }
}

// Sums over no channels, or no points, are zero, wherever a point lies.
TEST(GradientsOfNothingAreZero) {
  for (const int64_t channels : {0, 2}) {
    Case c;
    c.size = {4, 5};
    c.channels = channels;
    c.columns = channels == 0 ? 50 : 0;
    const Problem<WarpPoints<2, float>, Half> problem(c);
    const Memory<Half> grad_data(problem.data.size()), grad_grad_output(problem.grad_output.size());
    const Memory<float> grad_points(problem.parameters.size());
    const TestHost host(2);
    for (const bool is_second : {false, true}) {
      if (is_second) {
        CHECK(RunOnCpu(host.host, problem.SecondOrder(grad_data.data(), grad_points.data(),
                                                      grad_grad_output.data())));
      } else {
        CHECK(RunOnCpu(host.host, problem.Gradient(grad_data.data(), grad_points.data())));
      }
      for (int64_t i = 0; i < grad_data.size(); ++i) CHECK(SameBits(grad_data[i], Half()));
      for (int64_t i = 0; i < grad_points.size(); ++i) CHECK(SameBits(grad_points[i], 0.0f));
    }
  }
}

}  // namespace
}  // namespace tf_stn

int main() { return tf_stn::RunAllTests(); }

// Runs the CPU's loops for a source of points that they do not know.  Compiled as the vector loops
// are, for an instruction set that TF_STN_ISA names.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <type_traits>
#include <vector>

#include "cc/core/call.h"
#include "cc/core/modes.h"
#include "cc/core/pixel_types.h"
#include "cc/core/plain_loops.h"
#include "cc/kernels/cpu/choose.h"
#include "cc/kernels/cpu/gradients.h"
#include "cc/kernels/cpu/host.h"
#include "cc/kernels/cpu/loops.h"
#include "cc/kernels/cpu/simd/bilinear.h"
#include "cc/kernels/cpu/simd/separable.h"
#include "tests/cpp/check.h"
#include "tests/cpp/support.h"
#include "tests/cpp/translated_points.h"

namespace tf_stn {

// An image has one output.
template <int Rank, typename Real>
struct MakePoints<TranslatedPoints<Rank, Real>> {
  static int64_t ItemsPerImage(const Case&) { return 1; }

  static void Fill(std::mt19937& rng, const Case&, int64_t items, Real* parameters) {
    std::uniform_real_distribution<double> shift(-3, 3);
    for (int64_t i = 0; i < items * Rank; ++i) parameters[i] = static_cast<Real>(shift(rng));
  }

  static void SetSize(const Case& c, TranslatedPoints<Rank, Real>* points) {
    const int64_t sides[] = {5, c.rows, c.columns};
    for (int d = 0; d < Rank; ++d) points->size.side[d] = PlainDivision(sides[3 - Rank + d]);
  }
};

namespace {

template <typename T>
struct Results {
  Memory<T> output, grad_data;
  Memory<Coordinate<T>> grad_points;
};

template <typename Points, typename T>
Results<T> MakeResults(const Problem<Points, T>& problem) {
  return {Memory<T>(problem.grad_output.size()), Memory<T>(problem.data.size()),
          Memory<Coordinate<T>>(problem.parameters.size())};
}

template <typename Points, typename T>
Results<T> ByPlainLoops(const Problem<Points, T>& problem) {
  using Real = Coordinate<T>;
  Results<T> results = MakeResults(problem);
  const auto& sizes = problem.sizes;
  VisitStencil<Points::kRank, Real>(problem.c.modes, [&](auto tag, const auto& rules) {
    using Stencil = typename decltype(tag)::type;
    SamplePoints<Stencil>(rules, problem.Sample(results.output.data()), 0, sizes.points());
    const auto call = problem.Gradient(results.grad_data.data(), results.grad_points.data());
    const Memory<Real> sums(sizes.elements());
    sums.Fill(0);
    for (int64_t n = 0; n < sizes.images; ++n) {
      double item[Points::kParameters] = {};
      GradientOfRun<Stencil>(rules, call, {n, 0, sizes.points_per_image}, item);
      for (int k = 0; k < Points::kParameters; ++k) {
        results.grad_points[n * Points::kParameters + k] = static_cast<Real>(item[k]);
      }
      GradientOfBand<Stencil>(rules, call, {n, 0, sizes.image.size[0], nullptr, 0},
                              sums.data() + n * sizes.image.elements());
    }
    for (int64_t i = 0; i < sums.size(); ++i) results.grad_data[i] = ToPixel<T>(sums[i]);
  });
  return results;
}

// In parts for several threads, which run here one after the other.
template <typename Points, typename T>
Results<T> ByLoops(const Problem<Points, T>& problem, const Loops<Points, T>& loops) {
  std::vector<std::unique_ptr<void, void (*)(void*)>> memory;
  Host host;
  host.threads = 4;
  host.schedule = [](const std::function<void()>& function) { function(); };
  host.allocate = [&memory](size_t bytes) {
    memory.emplace_back(std::aligned_alloc(64, RoundUpToLine(bytes)), &std::free);
    return memory.back().get();
  };
  Results<T> results = MakeResults(problem);
  const auto sample = problem.Sample(results.output.data());
  loops.sample(sample, 0, problem.sizes.points(), host.allocate(loops.scratch_bytes(sample)));
  const auto call = problem.Gradient(results.grad_data.data(), results.grad_points.data());
  using CallType = std::remove_const_t<decltype(call)>;
  CHECK(GradientTasks<CallType>(host, call, loops, loops.first_order).Run());
  return results;
}

template <typename Number>
void CheckNear(const char* what, const Memory<Number>& result, const Memory<Number>& expected,
               double scale) {
  for (int64_t i = 0; i < expected.size(); ++i) {
    const double a = ToDouble(result[i]), b = ToDouble(expected[i]);
    const double tolerance = scale * (32 * kRounding<Coordinate<Number>> + 2 * kRounding<Number>);
    if (Near(a, b, tolerance)) continue;
    ++failures;
    std::printf("%s [%d] is %.9g, expected %.9g\n", what, static_cast<int>(i), a, b);
    return;
  }
}

template <int Rank, typename T>
void CheckSource(const Case& c) {
  using Points = TranslatedPoints<Rank, Coordinate<T>>;
  const Problem<Points, T> problem(c);
  const Results<T> expected = ByPlainLoops(problem);
  const auto check = [&](const Loops<Points, T>& loops) {
    const Results<T> results = ByLoops(problem, loops);
    const auto points = static_cast<double>(problem.sizes.points_per_image);
    CheckNear("output", results.output, expected.output, 4);
    CheckNear("grad_data", results.grad_data, expected.grad_data, 30);
    CheckNear("grad_points", results.grad_points, expected.grad_points, 8 * points);
  };
  if constexpr (Rank == 2) {
    if (Accepts<LoopKind::kBilinear>(problem.Sample(nullptr))) {
      check(TF_STN_ISA::MakeBilinearLoops<Points, T>());
    }
  }
  check(TF_STN_ISA::MakeSeparableLoops<Points, T>());
}

Case CaseOf(std::vector<int64_t> size, int64_t images, int64_t channels) {
  Case c;
  c.size = std::move(size);
  c.images = images;
  c.channels = channels;
  c.rows = 90;
  c.columns = 100;
  return c;
}

TEST(LoopsTakeASourceOfPointsThatTheyDoNotKnow) {
  for (const int64_t images : {1, 5}) {
    for (const int64_t channels : {1, 3, 17}) {
      CheckSource<2, float>(CaseOf({60, 70}, images, channels));
      CheckSource<2, Half>(CaseOf({60, 70}, images, channels));
    }
    Case c = CaseOf({60, 70}, images, 2);
    c.modes = {InterpolationMode::kCubic, PaddingMode::kReflect, {}};
    CheckSource<2, double>(c);
    c = CaseOf({9, 30, 40}, images, 2);
    c.rows = 20;
    CheckSource<3, float>(c);
    c.modes.padding = PaddingMode::kWrap;
    CheckSource<3, BFloat16>(c);
  }
}

}  // namespace
}  // namespace tf_stn

int main() { return tf_stn::RunAllTests(); }

// Runs the GPU kernels on the host and compares them with the plain loops of cc/core, over sizes
// that do not fill a block, a warp or an access, and over all rules at edges.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cc/core/call.h"
#include "cc/core/modes.h"
#include "cc/core/pixel_types.h"
#include "cc/core/points.h"
#include "cc/kernels/gpu/fast_division.h"
#include "cc/kernels/gpu/launchers.h"
#include "cc/kernels/gpu/sums.h"
#include "tests/cpp/check.h"
#include "tests/cpp/cuda_on_host.h"
#include "tests/cpp/gpu_support.h"

namespace tf_stn {
namespace {

const Case kCases[] = {
    {1, 4, 5, 1, 1},
    {1, 1, 1, 1, 3},
    {2, 4, 5, 1, 300},
    {1, 7, 5, 2, 33},
    {2, 4, 5, 3, 31},
    {1, 4, 5, 4, 257},
    {2, 3, 3, 5, 40},
    {1, 4, 5, 7, 70},
    {2, 4, 5, 8, 65},
    {1, 4, 5, 8, 65, 1},
    {1, 3, 4, 12, 20},
    {1, 5, 4, 16, 33},
    {1, 3, 3, 31, 17},
    {2, 3, 3, 32, 9},
    {1, 3, 3, 33, 9},
    {1, 2, 3, 64, 12, 1},
    {1, 2, 3, 100, 12},
    {1, 2, 2, 257, 5},
    {1, 2, 2, 264, 5},
    {1, 1030, 2, 1, 300},
    {1, 5, 5, 3, 600, 0, true},
    {3, 4, 5, 2, 0},
    {2, 4, 5, 3, 90, 0, false, true},
    {1, 4, 5, 8, 90, 0, false, true},
    {3, 701, 2, 1, 200},
    {0, 4, 5, 2, 7},
    {2, 4, 5, 0, 7},
    {2, 0, 5, 2, 0},
    {1, 6, 5, 4, 64, 3},
    {3, 4, 5, 3, 70, 0, false, false, true},
    {2, 4, 5, 4, 33, 0, false, false, false, 3},
    {3, 3, 4, 2, 9, 0, false, false, true, 2},
    {0, 4, 5, 2, 7, 0, false, false, true, 2},
};

constexpr InterpolationMode kInterpolations[] = {
    InterpolationMode::kNearest, InterpolationMode::kLinear, InterpolationMode::kCubic};
constexpr PaddingMode kPaddings[] = {PaddingMode::kZeros, PaddingMode::kBorder,
                                     PaddingMode::kReflect, PaddingMode::kSymmetric,
                                     PaddingMode::kWrap};

// Every interpolation with every padding, `rounds` times; orders, sizes and the ways in which
// images and points go together take turns.
std::vector<Case> CasesOfModes(int rounds) {
  constexpr Case kSizes[] = {
      {2, 4, 5, 3, 42},
      {3, 3, 4, 5, 14, 0, false, false, true},
      {1, 5, 4, 8, 66},
      {2, 4, 3, 1, 31, 0, false, false, false, 2},
      {1, 1, 3, 33, 7},
      {2, 4, 5, 4, 30, 1, false, true},
      {3, 3, 4, 2, 12, 0, false, false, true, 2},
  };
  constexpr int kOrders[][3] = {{0, 0, 0}, {1, 0, 0}, {0, 0, 0}, {0, 2, 1}};
  std::vector<Case> cases;
  size_t turn = 0;
  for (int round = 0; round < rounds; ++round) {
    for (const auto interpolation : kInterpolations) {
      for (const auto padding : kPaddings) {
        Case c = kSizes[turn % std::size(kSizes)];
        c.modes.interpolation = interpolation;
        c.modes.padding = padding;
        // Where all pixels along an axis are one, derivatives along it are nothing but rounding.
        const auto& orders = kOrders[c.height == 1 ? 0 : turn % std::size(kOrders)];
        std::copy_n(orders, 3, c.modes.derivative);
        c.fill = padding == PaddingMode::kZeros && round % 2 == 0;
        cases.push_back(c);
        ++turn;
      }
    }
  }
  return cases;
}

// Points anywhere in and around the image, some of them odd.
template <int Rank, typename T>
struct WarpProblem : Problem<Rank, T> {
  using typename Problem<Rank, T>::Real;
  using Points = WarpPoints<Rank, Real>;

  explicit WarpProblem(const Case& c)
      : Problem<Rank, T>(c),
        shared(c.shared),
        warp((c.shared ? 1 : c.images) * this->sizes.points_per_image * Rank, c.shift) {
    std::uniform_real_distribution<double> place(-2, 7);
    const double scale = c.height > 100 ? static_cast<double>(c.height) / 7 : 1;
    for (int64_t i = 0; i < warp.size(); ++i) {
      const double at = place(this->rng) * (i % Rank == 1 ? scale : 1);
      // Beside odd pixels, many coordinates are pixel centres, which must not read them.
      const bool is_centre = c.odd_pixels && i % 3 != 0;
      warp[i] = static_cast<Real>(c.crowded ? 1.5 : is_centre ? std::floor(at) : at);
    }
    const double odd[] = {kNaN, kInf, -kInf, 1e30, -1e30, 3e9, 0, -1, 1, 2.5, 4, 5};
    if (!c.crowded) {
      for (size_t i = 0; i < std::size(odd); ++i) {
        const auto where = static_cast<int64_t>(i) * 5 + 3;
        if (where < warp.size()) warp[where] = static_cast<Real>(odd[i]);
      }
    }
  }

  Points points() {
    return {warp.data(), shared ? 0 : this->sizes.points_per_image, warp.size() / Rank};
  }
  int64_t parameters() const { return warp.size(); }

  bool shared;
  Memory<Real> warp;
};

// The same points, as displacements of the pixels of outputs, of which an image has two where it
// can.
template <int Rank, typename T>
struct DisplacementProblem : WarpProblem<Rank, T> {
  using typename WarpProblem<Rank, T>::Points;

  explicit DisplacementProblem(const Case& c) : WarpProblem<Rank, T>(c) {
    const Points points = this->points();
    for (int64_t i = 0; i < points.stored; ++i) {
      int64_t pixel[Rank];
      points.size.PixelOfAny(i, pixel);
      for (int d = 0; d < Rank; ++d) {
        this->warp[i * Rank + d] -= static_cast<Coordinate<T>>(pixel[d]);
      }
    }
  }

  Points points() {
    Points points = WarpProblem<Rank, T>::points();
    const int64_t count = std::max<int64_t>(1, this->sizes.points_per_image);
    const int64_t outputs = count % 2 == 0 ? 2 : 1, width = count / outputs % 3 == 0 ? 3 : 1;
    points.are_displacements = true;
    points.size.side[Rank - 1] = PlainDivision(width);
    points.size.side[0] = PlainDivision(count / outputs / width);
    return points;
  }
};

// Outputs of as many pixels as there are points, in rows that fill no warp; each has another
// matrix.
template <int Rank, typename T>
struct AffineProblem : Problem<Rank, T> {
  using typename Problem<Rank, T>::Real;
  using Points = MatrixPoints<Rank, Real>;
  static constexpr int kNumbers = Rank * (Rank + 1);  // Of a matrix.

  explicit AffineProblem(const Case& c)
      : Problem<Rank, T>(c),
        shared(c.shared),
        outputs(c.outputs),
        matrix((c.shared ? 1 : c.images) * c.outputs * kNumbers, c.shift) {
    for (const int64_t side : {31, 7, 3}) {
      if (width == 1 && c.points % side == 0) width = side;
    }
    if (Rank == 3 && c.points / width % 2 == 0) height = 2;
    const double columns = static_cast<double>(width);
    const double rows = static_cast<double>(c.points) / columns;
    std::uniform_real_distribution<double> value(-1, 1);
    for (int64_t n = 0; n * kNumbers < matrix.size(); ++n) {
      Real* const of_output = matrix.data() + n * kNumbers;
      for (int d = 0; d < Rank; ++d) {
        Real* const row = of_output + d * (Rank + 1);
        // About from one end of the image to the other, and turned; or pixels on pixels.
        const double along = d == 0   ? static_cast<double>(c.width) / columns
                             : d == 1 ? static_cast<double>(c.height) / rows
                                      : 1.0;
        const bool is_straight = c.odd_pixels && n % 2 == 0;
        for (int k = 0; k <= Rank; ++k) {
          const double random = value(this->rng);
          const double turned = k == d ? along * (1 + 0.3 * random) : (k < Rank ? 0.1 : 1) * random;
          const double straight = k == d ? (d == 1 ? -1 : 1) : k < Rank ? 0 : d == 1 ? 3 : -1;
          const double crowded = k == Rank ? 1.5 : 0;
          row[k] = static_cast<Real>(c.crowded ? crowded : is_straight ? straight : turned);
        }
      }
      // The last of several is nowhere.
      const double odd[] = {kNaN, kInf, 1e30};
      if (n > 0 && (n + 1) * kNumbers == matrix.size()) {
        of_output[Rank] = static_cast<Real>(odd[c.channels % 3]);
      }
    }
  }

  Points points() {
    const int64_t output_points = this->sizes.points_per_image / outputs;
    Points points = {matrix.data(), shared ? 0 : outputs, matrix.size() / kNumbers, {}};
    auto& side = points.size.side;
    side[Rank - 1] = PlainDivision(width);
    side[Rank - 2] = PlainDivision(Rank == 3 ? height : output_points / width);
    if (Rank == 3) side[0] = PlainDivision(output_points / width / height);
    return points;
  }
  int64_t parameters() const { return matrix.size(); }

  bool shared;
  int64_t outputs;
  int64_t width = 1, height = 1;
  Memory<Real> matrix;
};

// The same, divided by what differs little from 1 or -1; of every fifth output it is zero
// somewhere.
template <int Rank, typename T>
struct ProjectiveProblem : AffineProblem<Rank, T> {
  using Base = AffineProblem<Rank, T>;
  using typename Base::Points;
  using typename Base::Real;

  explicit ProjectiveProblem(const Case& c)
      : Base(c), numbers(this->matrix.size() / Rank * (Rank + 1), c.shift) {
    constexpr int kRow = Rank + 1;
    std::uniform_real_distribution<double> value(-1, 1);
    Real* to = numbers.data();
    for (int64_t n = 0; n * Base::kNumbers < this->matrix.size(); ++n) {
      const double scale = n % 2 == 0 ? 1.25 : -0.75;
      const Real* const rows = this->matrix.data() + n * Base::kNumbers;
      for (int k = 0; k < Base::kNumbers; ++k) *to++ = rows[k] * static_cast<Real>(scale);
      for (int k = 0; k < kRow; ++k) {
        const double crossing = k == Rank ? -scale : k == 0 ? scale / 2 : 0;
        const double near = k == Rank ? scale : scale * value(this->rng) / 400;
        *to++ = static_cast<Real>(n % 5 == 4 ? crossing : near);
      }
    }
  }

  Points points() {
    Points points = Base::points();
    points.parameters = numbers.data();
    points.has_divisors = true;
    return points;
  }
  int64_t parameters() const { return numbers.size(); }

  Memory<Real> numbers;
};

// What is there of the second order.
struct Parts {
  bool grad_grad_data = true, grad_grad_points = true;                 // Given.
  bool grad_data = true, grad_points = true, grad_grad_output = true;  // Wanted.
};

template <typename Problem>
void CheckSecondOrder(const Case& c, bool deterministic, const Parts& parts) {
  using T = typename Problem::Type;
  using Real = typename Problem::Real;
  Problem problem(c);
  const int64_t samples = problem.grad_output.size();
  Memory<T> grad_grad_data(problem.data.size(), c.shift);
  Memory<Real> grad_grad_points(problem.parameters(), c.shift);
  Randomize(problem.rng, grad_grad_data);
  Randomize(problem.rng, grad_grad_points);
  Memory<T> gpu_data = Stale<T>(problem.data.size(), c.shift);
  Memory<T> gpu_output = Stale<T>(samples, c.shift);
  Memory<Real> gpu_points = Stale<Real>(problem.parameters(), c.shift);
  SecondOrderCall<typename Problem::Points, T> call = {
      {problem.CallOf(problem.points()), problem.grad_output.data(),
       parts.grad_data ? gpu_data.data() : nullptr,
       parts.grad_points ? gpu_points.data() : nullptr},
      parts.grad_grad_data ? grad_grad_data.data() : nullptr,
      parts.grad_grad_points ? grad_grad_points.data() : nullptr,
      parts.grad_grad_output ? gpu_output.data() : nullptr};
  Memory<double> workspace = Workspace(SecondOrderWorkspace(call));
  CHECK(LaunchSecondOrder(call, workspace.data(), deterministic, nullptr) == nullptr);

  Memory<T> cpu_data(problem.data.size(), 0), cpu_output(samples, 0);
  Memory<Real> cpu_points(problem.parameters(), 0);
  call.grad_data = cpu_data.data();
  call.grad_points = cpu_points.data();
  call.grad_grad_output = cpu_output.data();
  if (parts.grad_grad_points) DataGradientByPlainLoops(call);
  if (c.channels > 0) PointGradientByPlainLoops(call);
  const std::string what =
      (deterministic ? "of the second order, ordered, " : "of the second order, ") + Name(c);
  if (parts.grad_data) {
    CheckEqual(gpu_data, cpu_data, deterministic ? 0 : kTolerance<T>, "grad_data " + what);
  }
  if (parts.grad_points) {
    CheckEqual(gpu_points, cpu_points, kTolerance<Real>, "grad_points " + what);
  }
  if (parts.grad_grad_output) {
    CheckEqual(gpu_output, cpu_output, kTolerance<T>, "grad_grad_output " + what);
  }
}

template <template <int, typename> typename Problem, typename T>
void CheckLinear() {
  for (const Case& c : kCases) CheckAll<Problem<2, T>>(c);
}

TEST(KernelsOfAWarpEqualTheCpuInFloat) { CheckLinear<WarpProblem, float>(); }
TEST(KernelsOfAWarpEqualTheCpuInDouble) { CheckLinear<WarpProblem, double>(); }
TEST(KernelsOfAWarpEqualTheCpuInHalf) { CheckLinear<WarpProblem, Half>(); }
TEST(KernelsOfAWarpEqualTheCpuInBFloat16) { CheckLinear<WarpProblem, BFloat16>(); }
TEST(KernelsOfDisplacementsEqualTheCpuInFloat) { CheckLinear<DisplacementProblem, float>(); }
TEST(KernelsOfAMatrixEqualTheCpuInFloat) { CheckLinear<AffineProblem, float>(); }
TEST(KernelsOfAMatrixEqualTheCpuInDouble) { CheckLinear<AffineProblem, double>(); }
TEST(KernelsOfAMatrixEqualTheCpuInHalf) { CheckLinear<AffineProblem, Half>(); }
TEST(KernelsOfAMatrixEqualTheCpuInBFloat16) { CheckLinear<AffineProblem, BFloat16>(); }

TEST(KernelsOfAProjectiveMatrixEqualTheCpuInFloat) { CheckLinear<ProjectiveProblem, float>(); }
TEST(KernelsOfAProjectiveMatrixEqualTheCpuInHalf) { CheckLinear<ProjectiveProblem, Half>(); }

// Each case by the forward kernel and both gradients at once.
template <template <int, typename> typename Problem, int Rank, typename T>
void CheckModes(int rounds) {
  for (const Case& c : CasesOfModes(rounds)) {
    CheckForward<Problem<Rank, T>>(c);
    CheckGradient<Problem<Rank, T>>(c, /*deterministic=*/false, true, true);
    CheckGradient<Problem<Rank, T>>(c, /*deterministic=*/true, true, false);
  }
}

template <int Rank>
void CheckModesOfAllTypes() {
  CheckModes<WarpProblem, Rank, float>(2);
  CheckModes<WarpProblem, Rank, double>(1);
  CheckModes<WarpProblem, Rank, Half>(1);
  CheckModes<WarpProblem, Rank, BFloat16>(1);
  CheckModes<DisplacementProblem, Rank, float>(1);
  CheckModes<AffineProblem, Rank, float>(2);
  CheckModes<AffineProblem, Rank, double>(1);
  CheckModes<AffineProblem, Rank, Half>(1);
  CheckModes<AffineProblem, Rank, BFloat16>(1);
  CheckModes<ProjectiveProblem, Rank, float>(1);
  CheckModes<ProjectiveProblem, Rank, double>(1);
}

TEST(KernelsOfAllModesEqualTheCpuInImages) { CheckModesOfAllTypes<2>(); }
TEST(KernelsOfAllModesEqualTheCpuInVolumes) { CheckModesOfAllTypes<3>(); }

TEST(KernelsOfAllModesKeepTheRulesOfBatchesAndOfWhatIsWanted) {
  for (const auto interpolation : {InterpolationMode::kLinear, InterpolationMode::kCubic}) {
    for (Case c : kCases) {
      if (c.points > 100) continue;
      c.modes.interpolation = interpolation;
      c.modes.padding = PaddingMode::kSymmetric;
      CheckAll<WarpProblem<2, float>>(c);
      CheckAll<AffineProblem<3, Half>>(c);
    }
  }
}

template <int Rank, typename T>
void CheckSecondOrderOfModes(int rounds) {
  for (const Case& c : CasesOfModes(rounds)) {
    CheckSecondOrder<WarpProblem<Rank, T>>(c, /*deterministic=*/false, Parts());
    CheckSecondOrder<WarpProblem<Rank, T>>(c, /*deterministic=*/true, Parts());
  }
}

TEST(TheSecondOrderEqualsTheCpuInImages) {
  CheckSecondOrderOfModes<2, float>(2);
  CheckSecondOrderOfModes<2, double>(1);
  CheckSecondOrderOfModes<2, Half>(1);
  CheckSecondOrderOfModes<2, BFloat16>(1);
}

TEST(TheSecondOrderEqualsTheCpuInVolumes) {
  CheckSecondOrderOfModes<3, float>(1);
  CheckSecondOrderOfModes<3, double>(1);
  CheckSecondOrderOfModes<3, Half>(1);
  CheckSecondOrderOfModes<3, BFloat16>(1);
}

TEST(PartsOfTheSecondOrderMayBeAbsent) {
  const Case cases[] = {{2, 4, 5, 3, 20},
                        {2, 4, 5, 3, 20, 0, false, false, true},
                        {0, 4, 5, 3, 20, 0, false, false, true},
                        {2, 4, 5, 0, 20, 0, true},
                        {2, 4, 5, 3, 0}};
  for (const Case& c : cases) {
    for (int mask = 0; mask < 64; ++mask) {
      const auto has = [&](int bit) { return (mask >> bit & 1) != 0; };
      CheckSecondOrder<WarpProblem<2, float>>(c, has(5), {has(0), has(1), has(2), has(3), has(4)});
    }
  }
}

// Every pixel at an edge is infinite, and most points are outside.  Where a padding brings several
// taps onto one such pixel, it must have the sum of their weights and slopes.
template <template <int, typename> typename Problem, int Rank>
void CheckInfinitePixels() {
  for (Case c : CasesOfModes(1)) {
    if (c.modes.padding == PaddingMode::kZeros || c.odd_pixels) continue;
    c.infinite_edges = true;
    CheckForward<Problem<Rank, float>>(c);
    CheckGradient<Problem<Rank, float>>(c, /*deterministic=*/false, true, true);
    if constexpr (Problem<Rank, float>::Points::kIsStored) {
      CheckSecondOrder<Problem<Rank, float>>(c, /*deterministic=*/true, Parts());
    }
  }
}

TEST(InfinitePixelsAtEdgesEqualTheCpu) {
  CheckInfinitePixels<WarpProblem, 2>();
  CheckInfinitePixels<WarpProblem, 3>();
  CheckInfinitePixels<AffineProblem, 2>();
  CheckInfinitePixels<AffineProblem, 3>();
}

TEST(AnInfinitePixelOutsideHasNoSlope) {
  const float data[] = {static_cast<float>(kInf), 1, 2}, grad_output[] = {1};
  const float point[] = {-0.5f, 0};  // Both taps along x are the infinite pixel.
  float output[1], grad_points[2];
  const Modes modes = {InterpolationMode::kLinear, PaddingMode::kBorder};
  const Call<WarpPoints<2, float>, float> call = {
      modes, {{{1, 3}, 1}, 1, 1}, data, nullptr, {point, 1, 1}};
  CHECK(LaunchSample(SampleCall<WarpPoints<2, float>, float>{call, output}, nullptr) == nullptr);
  CHECK(LaunchGradient(
            GradientCall<WarpPoints<2, float>, float>{call, grad_output, nullptr, grad_points},
            nullptr, false, nullptr) == nullptr);
  CHECK(output[0] == static_cast<float>(kInf));
  CHECK(grad_points[0] == 0 && grad_points[1] == 0);
}

// A sum over no channels is 0, even for a NaN coordinate.
TEST(GradientsOfPointsAreZeroWithoutChannels) {
  Case c = {2, 4, 5, 0, 20};
  for (const auto interpolation : kInterpolations) {
    c.modes.interpolation = interpolation;
    CheckAll<WarpProblem<2, float>>(c);
    CheckAll<AffineProblem<2, Half>>(c);
    CheckAll<WarpProblem<3, double>>(c);
    CheckSecondOrder<WarpProblem<3, float>>(c, /*deterministic=*/true, Parts());
  }
}

TEST(TheSecondOrderNeedsStoredPoints) {
  const SecondOrderCall<MatrixPoints<2, float>, float> call = {};
  CHECK(LaunchSecondOrder(call, nullptr, false, nullptr) != nullptr);
}

TEST(AGradientOfAMatrixLosesNothingOverManyPoints) {
  constexpr int64_t kSide = 350, kPixels = 8;
  const Case c = {1, kPixels, kPixels, 1, kSide * kSide};
  AffineProblem<2, float> problem(c);
  AffineProblem<2, double> exact(c);
  for (int i = 0; i < kPixels * kPixels; ++i) problem.data[i] = static_cast<float>(1 + 0.3 * i);
  for (int i = 0; i < kPixels * kPixels; ++i) exact.data[i] = static_cast<double>(problem.data[i]);
  for (int64_t i = 0; i < c.points; ++i) problem.grad_output[i] = 1;
  for (int64_t i = 0; i < c.points; ++i) exact.grad_output[i] = 1;
  const float values[] = {0.0196f, 3e-5f, 0.01f, -3e-5f, 0.0196f, 0.02f};
  for (int i = 0; i < 6; ++i) problem.matrix[i] = values[i];
  for (int i = 0; i < 6; ++i) exact.matrix[i] = static_cast<double>(values[i]);
  problem.width = exact.width = kSide;

  Memory<float> gpu(6, 0);
  Memory<double> cpu(6, 0);
  const GradientCall<MatrixPoints<2, float>, float> call = {
      problem.CallOf(problem.points()), problem.grad_output.data(), nullptr, gpu.data()};
  Memory<double> workspace = Workspace(GradientWorkspace(call));
  CHECK(LaunchGradient(call, workspace.data(), false, nullptr) == nullptr);
  PointGradientByPlainLoops(GradientCall<MatrixPoints<2, double>, double>{
      exact.CallOf(exact.points()), exact.grad_output.data(), nullptr, cpu.data()});
  double largest = 0;
  for (int i = 0; i < 6; ++i) largest = std::max(largest, std::abs(cpu[i]));
  for (int i = 0; i < 6; ++i) CHECK_NEAR(gpu[i], cpu[i], 3e-7 * largest);
}

TEST(HalfConvertsEveryNumberThereAndBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    Half half;
    half.bits = static_cast<uint16_t>(bits);
    const float value = static_cast<float>(half);
    const int exponent = static_cast<int>(bits >> 10 & 31),
              fraction = static_cast<int>(bits & 1023);
    if (exponent == 31) {
      CHECK(fraction == 0 ? std::isinf(value) : std::isnan(value));
    } else {
      const double expected =
          exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
      CHECK_NEAR(value, bits & 0x8000 ? -expected : expected, 0);
    }
    CHECK(std::isnan(value) || Half(value).bits == bits);
  }
}

TEST(HalfRoundsToTheNearestAndTiesToEven) {
  CHECK(Half(1.0f + 0x1p-11f).bits == 0x3c00);
  CHECK(Half(1.0f + 0x1.8p-10f).bits == 0x3c02);
  CHECK(Half(1.0f + 0x1.002p-11f).bits == 0x3c01);
  CHECK(Half(65519.0f).bits == 0x7bff);
  CHECK(Half(65520.0f).bits == 0x7c00);
  CHECK(Half(-1e30f).bits == 0xfc00);
  CHECK(Half(0x1p-25f).bits == 0);
  CHECK(Half(0x1.002p-25f).bits == 1);
  CHECK(Half(-0.0f).bits == 0x8000);
  CHECK(std::isnan(static_cast<float>(Half(static_cast<float>(kNaN)))));
}

TEST(BFloat16ConvertsEveryNumberThereAndBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    BFloat16 half;
    half.bits = static_cast<uint16_t>(bits);
    const float value = static_cast<float>(half);
    CHECK(BitCast<uint32_t>(value) == bits << 16);
    CHECK(std::isnan(value) ? std::isnan(static_cast<float>(BFloat16(value)))
                            : BFloat16(value).bits == bits);
  }
  CHECK(BFloat16(1.0f + 0x1p-8f).bits == 0x3f80);
  CHECK(BFloat16(1.0f + 0x1.8p-7f).bits == 0x3f82);
  CHECK(BFloat16(3.4e38f).bits == 0x7f80);
}

TEST(AFastDivisionIsExact) {
  std::mt19937 rng(1);
  std::vector<int64_t> divisors = {1,   2,     3,     5,     7,          10,
                                   641, 65535, 65536, 65537, 0x3fffffff, 0x7fffffff};
  for (int i = 0; i < 2000; ++i) divisors.push_back((rng() >> (1 + rng() % 30)) + 1);
  for (const int64_t divisor : divisors) {
    const FastDivision<int32_t> narrow(divisor);
    const FastDivision<int64_t> wide(divisor);
    const int64_t most = std::numeric_limits<int32_t>::max();
    const int64_t multiple = most / divisor * divisor;
    std::vector<int64_t> dividends = {0, 1, divisor - 1, divisor, multiple - 1, multiple, most};
    for (int i = 0; i < 200; ++i) dividends.push_back(rng() >> (1 + rng() % 30));
    for (const int64_t dividend : dividends) {
      CHECK(narrow.Quotient(static_cast<int32_t>(dividend)) == dividend / divisor);
      CHECK(wide.Quotient(dividend << 20) == (dividend << 20) / divisor);
    }
  }
}

TEST(ASumOfFloatsKeepsWhatRoundingLoses) {
  RunningSum<float> sum;
  for (int i = 0; i < 1000000; ++i) sum.Add(0.1f);
  CHECK_NEAR(sum.Value(), 1e6 * static_cast<double>(0.1f), 1e-2);
  sum.Add(static_cast<float>(-kInf));
  CHECK(sum.Value() == -kInf);
  sum.Add(static_cast<float>(kInf));
  CHECK(std::isnan(sum.Value()));
}

// The machine that runs kernels on the host

void MeetAndAdd(int* sum, int* seen) {
  atomicAdd(sum, 1);
  __syncthreads();
  seen[threadIdx.x] = *sum;
}

TEST(ABarrierWaitsForAllThreads) {
  int sum = 0;
  std::vector<int> seen(96);
  CHECK(Launch(&MeetAndAdd, 1, 96, nullptr, &sum, seen.data()) == nullptr);
  for (const int value : seen) CHECK(value == 96);
}

void Shuffle(int* below, unsigned int* votes) {
  const int thread = static_cast<int>(threadIdx.x);
  below[thread] = __shfl_down_sync(0xffffffffu, thread, 2, 8);
  votes[thread] = __ballot_sync(0xffffffffu, thread % 3 == 0);
}

TEST(AShuffleReadsTheLaneBelowInItsGroup) {
  std::vector<int> below(64);
  std::vector<unsigned int> votes(64);
  CHECK(Launch(&Shuffle, 1, 64, nullptr, below.data(), votes.data()) == nullptr);
  for (int i = 0; i < 64; ++i) {
    CHECK(below[static_cast<size_t>(i)] == (i % 8 < 6 ? i + 2 : i));
    for (int lane = 0; lane < 32; ++lane) {
      CHECK((votes[static_cast<size_t>(i)] >> lane & 1) == ((i / 32 * 32 + lane) % 3 == 0));
    }
  }
}

void LeaveAndRead(int* seen) {
  __shared__ Shared<int> left;
  if (threadIdx.x == 1) seen[blockIdx.x] = left.value;
  __syncthreads();
  if (threadIdx.x == 0) left.value = 7;
}

TEST(SharedMemoryIsPoisonInEveryBlock) {
  std::vector<int> seen(3);
  CHECK(Launch(&LeaveAndRead, 3, 32, nullptr, seen.data()) == nullptr);
  for (const int value : seen) CHECK(value == -1);
}

void MeetWithoutTheLast(bool in_warp) {
  if (threadIdx.x == 63) return;
  if (in_warp) {
    __ballot_sync(0xffffffffu, true);
  } else {
    __syncthreads();
  }
}

// Runs a kernel in a process of its own, and returns what that said before it aborted.
std::string WordsOfAbortedLaunch(void (*kernel)(bool), bool argument) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    Launch(kernel, 1, 64, nullptr, argument);
    _exit(0);
  }
  close(ends[1]);
  std::string words;
  char buffer[256];
  for (ssize_t count; (count = read(ends[0], buffer, sizeof(buffer))) > 0;) {
    words.append(buffer, static_cast<size_t>(count));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? words : "not aborted: " + words;
}

TEST(AThreadThatStaysAwayStopsTheProgram) {
  for (const bool in_warp : {false, true}) {
    const std::string words = WordsOfAbortedLaunch(&MeetWithoutTheLast, in_warp);
    CHECK(words == "A barrier or a shuffle was not reached by all of its threads\n");
  }
}

TEST(AWrongLaunchIsAnError) {
  int sum = 0;
  CHECK(Launch(&MeetAndAdd, 0, 32, nullptr, &sum, &sum) != nullptr);
  CHECK(Launch(&MeetAndAdd, 1, 2048, nullptr, &sum, &sum) != nullptr);
}

}  // namespace
}  // namespace tf_stn

int main() { return tf_stn::RunAllTests(); }

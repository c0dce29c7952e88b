// Tests of cc/core alone: invariants that hold for every policy, and the loops
// against sums written out.  Run plainly and under sanitizers, so every array
// here is exactly as long as it may be read.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "cc/core/coordinates.h"
#include "cc/core/interpolation.h"
#include "cc/core/modes.h"
#include "cc/core/padding.h"
#include "cc/core/resample.h"
#include "cc/core/shapes.h"
#include "cc/core/stencil.h"
#include "tests/cc/check.h"

namespace tf_stn {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();
const double kOddCoordinates[] = {kNaN, kInf, -kInf, 1e30, -1e30, 3e9,  -3e9, 9.3e18, -9.3e18,
                                  0.0,  -0.0, 1.0,   -1.0, 2.5,   -0.5, 4.0,  5.0,    1e-45};

template <typename Real>
std::vector<Real> Random(std::mt19937& rng, int64_t count, double low, double high) {
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<Real> values(static_cast<size_t>(count));
  for (Real& value : values) value = static_cast<Real>(uniform(rng));
  return values;
}

// A type that converts as Eigen::half does, explicitly in both directions.
struct Rounded {
  float value = 0;
  Rounded() = default;
  explicit Rounded(float v) : value(v) {}
  explicit operator float() const { return value; }
};

// Interpolation

template <typename Policy, typename Real>
void CheckTaps(double tolerance) {
  std::mt19937 rng(0);
  for (const Real x : Random<Real>(rng, 1000, -10, 10)) {
    Tap<Real> taps[Policy::kTaps];
    Policy::Taps(x, taps);
    double weights = 0, slopes = 0, position = 0;
    for (const Tap<Real>& tap : taps) {
      weights += tap.weight;
      slopes += tap.slope;
      position += tap.weight * static_cast<double>(tap.index);
    }
    CHECK_NEAR(weights, 1, tolerance);
    CHECK_NEAR(slopes, 0, tolerance);
    CHECK_NEAR(position, x, 20 * tolerance);
  }
}

TEST(WeightsSumToOneAndSlopesToZero) {
  CheckTaps<Linear, float>(1e-6);
  CheckTaps<Linear, double>(1e-15);
}

template <typename Policy>
void CheckSlopes() {
  constexpr double kStep = 1e-4;
  std::mt19937 rng(0);
  for (const double x : Random<double>(rng, 1000, -10, 10)) {
    Tap<double> before[Policy::kTaps], here[Policy::kTaps], after[Policy::kTaps];
    Policy::Taps(x - kStep, before);
    Policy::Taps(x, here);
    Policy::Taps(x + kStep, after);
    if (before[0].index != after[0].index) continue;  // A kink lies between.
    for (int k = 0; k < Policy::kTaps; ++k) {
      CHECK_NEAR(here[k].slope, (after[k].weight - before[k].weight) / (2 * kStep), 1e-9);
    }
  }
}

TEST(SlopeIsTheDifferenceQuotientOfTheWeight) { CheckSlopes<Linear>(); }

TEST(SlopeOnAPixelCentreIsTheRightHandOne) {
  for (const double x : {-3.0, 0.0, 7.0}) {
    Tap<double> taps[2];
    Linear::Taps(x, taps);
    CHECK_NEAR(taps[0].index, x, 0);
    CHECK_NEAR(taps[1].index, x + 1, 0);
    CHECK_NEAR(taps[0].weight, 1, 0);
    CHECK_NEAR(taps[1].slope, 1, 0);
  }
}

template <typename Real>
void CheckOddCoordinates() {
  for (const double odd : kOddCoordinates) {
    Tap<Real> taps[Linear::kTaps];
    Linear::Taps(static_cast<Real>(odd), taps);
    CHECK(taps[1].index == taps[0].index + 1);
    for (const Tap<Real>& tap : taps) {
      CHECK(std::isnan(tap.weight) == std::isnan(odd));
      CHECK(std::isnan(tap.slope) == std::isnan(odd));
    }
  }
}

TEST(OddCoordinatesGiveDefinedTaps) {
  CheckOddCoordinates<float>();
  CheckOddCoordinates<double>();
}

// Padding

TEST(ZerosReadsNothingOutside) {
  for (const int64_t index : {int64_t{-1}, int64_t{4}, int64_t{1} << 60, -(int64_t{1} << 60)}) {
    CHECK(Zeros::Resolve<int64_t>(index, 4) == kReadsAsZero);
  }
  for (int64_t index = 0; index < 4; ++index) CHECK(Zeros::Resolve<int64_t>(index, 4) == index);
  CHECK(Zeros::Resolve<int64_t>(0, 0) == kReadsAsZero);
}

// Stencil

template <int Rank>
Extent<Rank> SmallExtent(int64_t channels) {
  Extent<Rank> extent{};
  for (int d = 0; d < Rank; ++d) extent.size[d] = 4 + d;
  extent.channels = channels;
  return extent;
}

// An image whose value is a sum of its coordinates with distinct factors is
// interpolated exactly, and its derivatives are the factors.
template <int Rank>
void CheckStencilOfALinearImage() {
  const Extent<Rank> extent = SmallExtent<Rank>(1);
  std::vector<double> image(static_cast<size_t>(extent.elements()));
  for (int64_t i = 0; i < extent.elements(); ++i) {
    int64_t rest = i;
    for (int d = Rank - 1; d >= 0; rest /= extent.size[d], --d) {
      image[static_cast<size_t>(i)] += std::pow(10.0, Rank - 1 - d) * (rest % extent.size[d]);
    }
  }
  std::mt19937 rng(0);
  for (int repeat = 0; repeat < 100; ++repeat) {
    const std::vector<double> point = Random<double>(rng, Rank, 0, 2.99);
    const Stencil<Rank, Linear, Zeros, double> stencil(extent, point.data());
    double value = 0, expected = 0;
    std::vector<double> slopes(Rank);
    for (int k = 0; k < stencil.kCount; ++k) {
      const double pixel = image[static_cast<size_t>(stencil.offset(k))];
      value += stencil.weight(k) * pixel;
      for (int d = 0; d < Rank; ++d) slopes[static_cast<size_t>(d)] += stencil.slope(k, d) * pixel;
    }
    for (int d = 0; d < Rank; ++d) {
      expected += std::pow(10.0, d) * point[static_cast<size_t>(d)];
      CHECK_NEAR(slopes[static_cast<size_t>(d)], std::pow(10.0, d), 1e-11);
    }
    CHECK_NEAR(value, expected, 1e-11);
  }
}

TEST(StencilIsTheTensorProductAtEveryRank) {
  CHECK((Stencil<1, Linear, Zeros, float>::kCount == 2));
  CHECK((Stencil<2, Linear, Zeros, float>::kCount == 4));
  CHECK((Stencil<3, Linear, Zeros, float>::kCount == 8));
  CheckStencilOfALinearImage<1>();
  CheckStencilOfALinearImage<2>();
  CheckStencilOfALinearImage<3>();
}

TEST(OffsetsStayInsideTheImage) {
  const Extent<2> extent = SmallExtent<2>(3);
  for (const double x : kOddCoordinates) {
    for (const double y : kOddCoordinates) {
      const double point[] = {x, y};
      const Stencil<2, Linear, Zeros, double> stencil(extent, point);
      for (int k = 0; k < stencil.kCount; ++k) {
        const int64_t offset = stencil.offset(k);
        CHECK(offset == kReadsAsZero || (0 <= offset && offset <= extent.elements() - 3));
        CHECK(offset == kReadsAsZero || offset % 3 == 0);
      }
    }
  }
}

TEST(StencilOfALargeImageDoesNotOverflow) {
  const Extent<2> extent{{100000, 100000}, 3};  // 3e10 elements.
  const double point[] = {99998.5, 99998.5};
  const Stencil<2, Linear, Zeros, double> stencil(extent, point);
  CHECK(stencil.offset(3) == extent.elements() - 3);
}

// Of the rows of a small image, those in which a stencil reads are touched.
TEST(TouchedRowsAreThoseOfTheStencil) {
  const Extent<2> extent = SmallExtent<2>(3);
  for (const double y : kOddCoordinates) {
    const double point[] = {1.5, y};
    const Stencil<2, Linear, Zeros, double> stencil(extent, point);
    for (int64_t row = 0; row < extent.size[0]; ++row) {
      bool reads = false;
      for (int k = 0; k < stencil.kCount; ++k) {
        reads = reads || (stencil.offset(k) != kReadsAsZero &&
                          stencil.offset(k) / extent.row_elements() == row);
      }
      CHECK((reads == Stencil<2, Linear, Zeros, double>::Touches(extent, point, row, row + 1)));
    }
  }
}

// Loops

using Bilinear = Stencil<2, Linear, Zeros, double>;

TEST(SampleReadsEveryChannelOnce) {
  std::mt19937 rng(0);
  for (const int64_t channels : {1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100}) {
    const Extent<2> extent = SmallExtent<2>(channels);
    const auto image = Random<double>(rng, extent.elements(), -1, 1);
    const double point[] = {1.25, 0.5};
    const Bilinear stencil(extent, point);
    std::vector<double> output(static_cast<size_t>(channels));
    SamplePoint(stencil, channels, image.data(), output.data());
    for (int64_t c = 0; c < channels; ++c) {
      double expected = 0;
      for (int k = 0; k < 4; ++k) {
        expected += stencil.weight(k) * image[static_cast<size_t>(stencil.offset(k) + c)];
      }
      CHECK_NEAR(output[static_cast<size_t>(c)], expected, 1e-15);
    }
  }
}

TEST(InnerProductIsTheSumOfProducts) {
  std::mt19937 rng(0);
  for (int64_t channels = 0; channels < 40; ++channels) {
    const auto a = Random<double>(rng, channels, -1, 1), b = Random<double>(rng, channels, -1, 1);
    double expected = 0;
    for (size_t c = 0; c < a.size(); ++c) expected += a[c] * b[c];
    CHECK_NEAR(InnerProduct<double>(a.data(), b.data(), channels), expected, 1e-14);
  }
}

TEST(APixelCentreReadsNoNeighbour) {
  const Extent<2> extent{{2, 2}, 1};
  const double image[] = {-0.0, kNaN, kInf, 7};
  double output;
  double point[] = {0, 0};
  SamplePoint(Bilinear(extent, point), 1, image, &output);
  CHECK(output == 0 && std::signbit(output));
  point[0] = point[1] = 1;
  SamplePoint(Bilinear(extent, point), 1, image, &output);
  CHECK_NEAR(output, 7, 0);
  point[0] = 5;
  SamplePoint(Bilinear(extent, point), 1, image, &output);
  CHECK(output == 0 && !std::signbit(output));
}

// Inputs of a whole problem, with odd points among random ones.
struct Problem {
  explicit Problem(int64_t channels) : extent(SmallExtent<2>(channels)) {
    std::mt19937 rng(0);
    data = Random<double>(rng, images * extent.elements(), -1, 1);
    warp = Random<double>(rng, images * points_per_image * 2, -2, 7);
    for (size_t i = 0; i < std::size(kOddCoordinates); ++i) warp[i * 5] = kOddCoordinates[i];
    grad_output = Random<double>(rng, images * points_per_image * channels, -1, 1);
  }

  WarpPoints<2, double> points() const { return {warp.data()}; }

  std::vector<double> Sample(int64_t step) const {
    std::vector<double> output(grad_output.size());
    const int64_t count = images * points_per_image;
    for (int64_t p = 0; p < count; p += step) {
      SamplePoints<Bilinear>(extent, points(), points_per_image, data.data(), p,
                             std::min(p + step, count), output.data());
    }
    return output;
  }

  std::vector<double> DataGradient(int64_t step) const {
    std::vector<double> gradient(data.size(), kNaN);  // Every element must be written.
    for (int64_t n = 0; n < images; ++n) {
      for (int64_t row = 0; row < extent.size[0]; row += step) {
        DataGradientOfRows<Bilinear>(extent, points(), points_per_image, grad_output.data(), n, row,
                                     std::min(row + step, extent.size[0]),
                                     gradient.data() + n * extent.elements());
      }
    }
    return gradient;
  }

  std::vector<double> WarpGradient(int64_t step) const {
    std::vector<double> gradient(warp.size());
    const int64_t count = images * points_per_image;
    for (int64_t p = 0; p < count; p += step) {
      WarpGradientOfPoints<Bilinear>(extent, points(), points_per_image, data.data(),
                                     grad_output.data(), p, std::min(p + step, count),
                                     gradient.data());
    }
    return gradient;
  }

  int64_t images = 3;
  int64_t points_per_image = 50;
  Extent<2> extent;
  std::vector<double> data, warp, grad_output;
};

bool SameBits(const std::vector<double>& a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!(a[i] == b[i]) && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
  }
  return a.size() == b.size();
}

TEST(AnyDivisionOfTheWorkGivesTheSameBits) {
  for (const int64_t channels : {1, 3, 9}) {
    const Problem problem(channels);
    for (const int64_t step : {1, 2, 3, 7}) {
      CHECK(SameBits(problem.Sample(step), problem.Sample(1000)));
      CHECK(SameBits(problem.DataGradient(step), problem.DataGradient(1000)));
      CHECK(SameBits(problem.WarpGradient(step), problem.WarpGradient(1000)));
    }
  }
}

TEST(DataGradientIsFiniteAndTheAdjointOfSampling) {
  Problem problem(3);
  for (const double gradient : problem.DataGradient(1)) CHECK(std::isfinite(gradient));
  for (double& x : problem.warp) x = std::isnan(x) ? 0 : x;
  const std::vector<double> output = problem.Sample(1), gradient = problem.DataGradient(1);
  double left = 0, right = 0;
  for (size_t i = 0; i < output.size(); ++i) left += output[i] * problem.grad_output[i];
  for (size_t i = 0; i < gradient.size(); ++i) right += gradient[i] * problem.data[i];
  CHECK_NEAR(left, right, 1e-12);
}

TEST(WarpGradientIsTheDifferenceQuotient) {
  constexpr double kStep = 1e-6;
  Problem problem(2);
  std::mt19937 rng(1);
  problem.warp = Random<double>(rng, 3 * 50 * 2, 0.01, 0.99);
  for (size_t i = 0; i < problem.warp.size(); i += 3)
    problem.warp[i] += static_cast<int>(i % 7) - 2;
  const std::vector<double> gradient = problem.WarpGradient(1);
  for (size_t i = 0; i < problem.warp.size(); ++i) {
    const double x = problem.warp[i];
    double quotient = 0;
    for (const double sign : {1.0, -1.0}) {
      problem.warp[i] = x + sign * kStep;
      const std::vector<double> output = problem.Sample(1000);
      for (size_t j = 0; j < output.size(); ++j) {
        quotient += sign * output[j] * problem.grad_output[j] / (2 * kStep);
      }
    }
    problem.warp[i] = x;
    CHECK_NEAR(gradient[i], quotient, 1e-8);
  }
}

TEST(HalfTypesAreConvertedExplicitly) {
  const Extent<2> extent{{1, 2}, 1};
  const Rounded image[] = {Rounded(1), Rounded(3)}, grad_output[] = {Rounded(2)};
  const float point[] = {0.25f, 0};
  const Stencil<2, Linear, Zeros, float> stencil(extent, point);
  Rounded output;
  SamplePoint(stencil, 1, image, &output);
  CHECK_NEAR(output.value, 1.5, 0);
  float grad_point[2], grad_image[2] = {0, 0};
  WarpGradientOfPoint(stencil, 1, image, grad_output, grad_point);
  CHECK_NEAR(grad_point[0], 4, 0);
  CHECK_NEAR(grad_point[1], -3, 0);
  DataGradientOfPoint(stencil, 1, grad_output, 0, 2, grad_image);
  CHECK_NEAR(grad_image[0], 1.5, 0);
  CHECK_NEAR(grad_image[1], 0.5, 0);
}

// Modes and shapes

TEST(ModesAreFoundByName) {
  InterpolationMode interpolation;
  PaddingMode padding;
  CHECK(ParseInterpolation("linear", &interpolation));
  CHECK(ParsePadding("zeros", &padding));
  CHECK(!ParseInterpolation("zeros", &interpolation));
  CHECK(!ParsePadding("", &padding));
  int visits = 0;
  VisitStencil<2, float>(Modes(), [&](auto tag) { visits += decltype(tag)::type::kCount == 4; });
  CHECK(visits == 1);
}

TEST(CoordinatesAreDoubleOnlyForDouble) {
  CHECK((std::is_same_v<Coordinate<double>, double>));
  CHECK((std::is_same_v<Coordinate<float>, float>));
  CHECK((std::is_same_v<Coordinate<Rounded>, float>));
}

TEST(ShapesAreCheckedAsFarAsTheyAreKnown) {
  const PartialShape unknown;
  const PartialShape data({2, 5, 5, 3}), warp({2, 4, 2}), late({-1, -1, -1, -1});
  CHECK(CheckResamplerShapes(data, warp).empty());
  CHECK(CheckResamplerShapes(unknown, unknown).empty());
  CHECK(CheckResamplerShapes(late, warp).empty());
  CHECK(CheckResamplerShapes(unknown, PartialShape({2, 3})) ==
        "`warp` must have shape [batch, ..., 2], received [2, 3]");
  CHECK(!CheckResamplerShapes(PartialShape({3, 5, 5, 3}), warp).empty());
  CHECK(!CheckResamplerShapes(PartialShape({2, 0, 5, 3}), warp).empty());
  CHECK(CheckResamplerShapes(PartialShape({2, 0, 5, 3}), PartialShape({2, 0, 2})).empty());
  CHECK(CheckResamplerShapes(PartialShape({2, 0, 5, 3}), PartialShape({2, -1, 2})).empty());
  CHECK(CheckResamplerGradShapes(data, warp, PartialShape({2, 4, 3})).empty());
  CHECK(CheckResamplerGradShapes(data, warp, PartialShape({2, -1, -1})).empty());
  CHECK(CheckResamplerGradShapes(data, warp, unknown).empty());
  CHECK(!CheckResamplerGradShapes(data, warp, PartialShape({2, 4})).empty());
  CHECK(!CheckResamplerGradShapes(data, unknown, PartialShape({3})).empty());
  CHECK(!CheckResamplerGradShapes(unknown, warp, PartialShape({2, 5, 3})).empty());
}

}  // namespace
}  // namespace tf_stn

int main() { return tf_stn::RunAllTests(); }

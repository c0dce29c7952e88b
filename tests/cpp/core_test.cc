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
#include <utility>
#include <vector>

#include "cc/core/coordinates.h"
#include "cc/core/interpolation.h"
#include "cc/core/modes.h"
#include "cc/core/padding.h"
#include "cc/core/resample.h"
#include "cc/core/shapes.h"
#include "cc/core/stencil.h"
#include "tests/cpp/check.h"

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

// Calls check(policy) with each interpolation.
template <typename Check>
void ForInterpolations(const Check& check) {
  check(Nearest());
  check(Linear());
  check(Cubic());
}

template <typename Policy, typename Real, typename Index = int64_t>
std::vector<Tap<Real, Index>> TapsAt(Real x, int order = 0) {
  std::vector<Tap<Real, Index>> taps(Policy::kTaps);
  FindTaps<Policy>(x, order, taps.data());
  return taps;
}

template <typename Policy, typename Real>
void CheckSums(double tolerance) {
  std::mt19937 rng(0);
  for (const Real x : Random<Real>(rng, 1000, -10, 10)) {
    double weights = 0, slopes = 0, curvatures = 0;
    int64_t index = TapsAt<Policy>(x)[0].index;
    for (const auto& tap : TapsAt<Policy>(x)) {
      weights += static_cast<double>(tap.weight);
      slopes += static_cast<double>(tap.slope);
      curvatures += static_cast<double>(tap.curvature);
      CHECK(tap.index == index++);
      CHECK(std::abs(static_cast<double>(tap.index) - static_cast<double>(x)) <=
            (Policy::kTaps + 1) / 2.0);
    }
    CHECK_NEAR(weights, 1, tolerance);
    CHECK_NEAR(slopes, 0, 10 * tolerance);
    CHECK_NEAR(curvatures, 0, 10 * tolerance);
  }
}

TEST(WeightsSumToOneAndTheirDerivativesToZero) {
  ForInterpolations([](auto policy) {
    CheckSums<decltype(policy), float>(1e-6);
    CheckSums<decltype(policy), double>(1e-15);
  });
}

TEST(SlopesAndCurvaturesAreDifferenceQuotients) {
  constexpr double kStep = 1e-5;
  ForInterpolations([](auto policy) {
    using Policy = decltype(policy);
    std::mt19937 rng(0);
    for (const double x : Random<double>(rng, 1000, -10, 10)) {
      for (int order = 0; order < 4; ++order) {
        const auto before = TapsAt<Policy>(x - kStep, order), here = TapsAt<Policy>(x, order),
                   after = TapsAt<Policy>(x + kStep, order);
        if (before[0].index != after[0].index) continue;  // A kink lies between.
        for (size_t k = 0; k < here.size(); ++k) {
          CHECK_NEAR(here[k].slope, (after[k].weight - before[k].weight) / (2 * kStep), 1e-7);
          CHECK_NEAR(here[k].curvature, (after[k].slope - before[k].slope) / (2 * kStep), 1e-7);
        }
      }
    }
  });
}

TEST(NearestTakesTheEvenOneOfTwo) {
  const std::pair<double, int64_t> expected[] = {{-1.5, -2}, {-0.5, 0},   {0.5, 0},    {1.5, 2},
                                                 {2.5, 2},   {0.4999, 0}, {0.5001, 1}, {-2.6, -3}};
  for (const auto& [x, index] : expected) CHECK(TapsAt<Nearest>(x)[0].index == index);
}

TEST(LinearWeightsReproducePosition) {
  std::mt19937 rng(0);
  for (const double x : Random<double>(rng, 1000, -10, 10)) {
    double position = 0;
    for (const auto& tap : TapsAt<Linear>(x)) {
      position += tap.weight * static_cast<double>(tap.index);
    }
    CHECK_NEAR(position, x, 1e-14);
  }
}

TEST(CubicHasContinuousSlopesAndTheKernelOfKeys) {
  // At t = 1/2: a / 8 outside, (1 - a / 4) / 2 inside.
  const auto middle = TapsAt<Cubic>(2.5);
  CHECK_NEAR(middle[0].weight, -0.75 / 8, 1e-16);
  CHECK_NEAR(middle[1].weight, 0.5 + 0.75 / 8, 1e-16);
  const auto before = TapsAt<Cubic>(std::nextafter(3.0, 0.0)), after = TapsAt<Cubic>(3.0);
  for (size_t k = 0; k < 3; ++k) {
    CHECK_NEAR(before[k + 1].weight, after[k].weight, 1e-14);
    CHECK_NEAR(before[k + 1].slope, after[k].slope, 1e-14);
  }
}

TEST(SlopeOnAPixelCentreIsTheRightHandOne) {
  for (const double x : {-3.0, 0.0, 7.0}) {
    const auto taps = TapsAt<Linear>(x);
    CHECK_NEAR(taps[0].index, x, 0);
    CHECK_NEAR(taps[0].weight, 1, 0);
    CHECK_NEAR(taps[1].slope, 1, 0);
    const auto cubic = TapsAt<Cubic>(x);
    CHECK_NEAR(cubic[0].index, x - 1, 0);
    CHECK_NEAR(cubic[1].weight, 1, 0);
    CHECK_NEAR(cubic[0].weight, 0, 0);
    CHECK_NEAR(cubic[3].weight, 0, 0);
  }
}

template <typename Policy, typename Real, typename Index>
void CheckOddCoordinates() {
  for (const double odd : kOddCoordinates) {
    for (int order = 0; order < 5; ++order) {
      const auto taps = TapsAt<Policy, Real, Index>(static_cast<Real>(odd), order);
      int nans[3] = {};
      for (const auto& tap : taps) {
        CHECK(tap.index - taps[0].index == &tap - taps.data());
        const Real values[] = {tap.weight, tap.slope, tap.curvature};
        for (int i = 0; i < 3; ++i) {
          nans[i] += std::isnan(values[i]);
          CHECK(std::isnan(odd) || std::isfinite(values[i]));
        }
      }
      for (const int count : nans) CHECK((count > 0) == std::isnan(odd));
    }
  }
}

TEST(OddCoordinatesGiveDefinedTapsOfEveryOrder) {
  ForInterpolations([](auto policy) {
    CheckOddCoordinates<decltype(policy), float, int64_t>();
    CheckOddCoordinates<decltype(policy), double, int64_t>();
    CheckOddCoordinates<decltype(policy), float, int32_t>();
  });
}

// Padding

constexpr PaddingMode kPaddings[] = {PaddingMode::kZeros, PaddingMode::kBorder,
                                     PaddingMode::kReflect, PaddingMode::kSymmetric,
                                     PaddingMode::kWrap};

TEST(ZerosReadsNothingOutside) {
  for (const int64_t index : {int64_t{-1}, int64_t{4}, int64_t{1} << 60, -(int64_t{1} << 60)}) {
    CHECK(Zeros::Resolve<int64_t>(index, 4) == kReadsAsZero);
  }
  for (int64_t index = 0; index < 4; ++index) CHECK(Zeros::Resolve<int64_t>(index, 4) == index);
  CHECK(Zeros::Resolve<int64_t>(0, 0) == kReadsAsZero);
}

TEST(PaddingsRepeatTheImageAsTheyArePictured) {
  const int64_t border[] = {0, 0, 0, 0, 0, 0, 1, 2, 3, 3, 3, 3, 3, 3},
                reflect[] = {1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2},
                symmetric[] = {3, 3, 2, 1, 0, 0, 1, 2, 3, 3, 2, 1, 0, 0},
                wrap[] = {3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0};
  for (int64_t i = 0; i < 14; ++i) {
    const int64_t index = i - 5;
    CHECK(Border::Resolve<int64_t>(index, 4) == border[i]);
    CHECK(Reflect::Resolve<int64_t>(index, 4) == reflect[i]);
    CHECK(Symmetric::Resolve<int64_t>(index, 4) == symmetric[i]);
    CHECK(Wrap::Resolve<int64_t>(index, 4) == wrap[i]);
  }
}

TEST(AnyPaddingStaysInsideAndIsTheSameForAllTypesOfIndex) {
  for (const PaddingMode mode : kPaddings) {
    const AnyPadding padding{mode};
    for (const int64_t size : {1, 2, 3, 7}) {
      for (const int64_t index : {0, 1, 2, -1, -9, 100, 1 << 30, -(1 << 30), (1 << 30) + 1000}) {
        const int64_t place = padding.Resolve<int64_t>(index, size);
        CHECK(place == kReadsAsZero ? mode == PaddingMode::kZeros : 0 <= place && place < size);
        CHECK(place ==
              padding.Resolve<int32_t>(static_cast<int32_t>(index), static_cast<int32_t>(size)));
      }
      // What is too far out is pulled in to 2^30.
      CHECK(padding.Resolve<int64_t>(int64_t{1} << 60, size) ==
            padding.Resolve<int64_t>(int64_t{1} << 30, size));
      CHECK(padding.Resolve<int64_t>(-(int64_t{1} << 60), size) ==
            padding.Resolve<int64_t>(-(int64_t{1} << 30), size));
    }
    const int64_t huge = int64_t{1} << 40;
    CHECK(padding.Resolve<int64_t>(huge - 1, huge) == huge - 1);
  }
}

// Stencil

template <int Rank>
Extent<Rank> SmallExtent(int64_t channels) {
  Extent<Rank> extent{};
  for (int d = 0; d < Rank; ++d) extent.size[d] = 4 + d;
  extent.channels = channels;
  return extent;
}

template <int Rank, typename Real = double>
using LinearWithZeros = Stencil<Rank, Linear, Zeros, Real>;

// As VisitStencil makes it for all modes but the most frequent.
template <int Rank, typename Interpolation>
using AnyStencil = Stencil<Rank, Interpolation, AnyPadding, double, int64_t, Orders<Rank>>;

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
    const LinearWithZeros<Rank> stencil({}, extent, point.data());
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
  CHECK((LinearWithZeros<1, float>::kCount == 2));
  CHECK((LinearWithZeros<2, float>::kCount == 4));
  CHECK((LinearWithZeros<3, float>::kCount == 8));
  CHECK((AnyStencil<2, Nearest>::kCount == 1));
  CHECK((AnyStencil<2, Cubic>::kCount == 16));
  CHECK((AnyStencil<3, Cubic>::kCount == 64));
  CheckStencilOfALinearImage<1>();
  CheckStencilOfALinearImage<2>();
  CheckStencilOfALinearImage<3>();
}

// A stencil of derivatives has as weights what the one of an order less has as slopes.
TEST(StencilsOfDerivativesAreTheDerivativesOfStencils) {
  const Extent<3> extent = SmallExtent<3>(1);
  ForInterpolations([&](auto policy) {
    using Any = AnyStencil<3, decltype(policy)>;
    std::mt19937 rng(0);
    for (int repeat = 0; repeat < 10; ++repeat) {
      const std::vector<double> point = Random<double>(rng, 3, -3, 8);
      const Any stencil({{PaddingMode::kReflect}, {}}, extent, point.data());
      for (int a = 0; a < 3; ++a) {
        typename Any::Rules rules{{PaddingMode::kReflect}, {}};
        ++rules.orders.of[a];
        const Any along(rules, extent, point.data());
        for (int k = 0; k < Any::kCount; ++k) {
          CHECK(along.offset(k) == stencil.offset(k));
          CHECK_NEAR(along.weight(k), stencil.slope(k, a), 0);
          for (int b = 0; b < 3; ++b) {
            CHECK_NEAR(along.slope(k, b), stencil.curvature(k, a, b), 0);
            CHECK_NEAR(stencil.curvature(k, a, b), stencil.curvature(k, b, a), 0);
          }
        }
      }
    }
  });
}

// Calls check(stencil type, rules) with every interpolation and padding, for images.
template <typename Check>
void ForStencils(const Check& check) {
  check(TypeTag<LinearWithZeros<2>>(), LinearWithZeros<2>::Rules());
  ForInterpolations([&](auto policy) {
    using Any = AnyStencil<2, decltype(policy)>;
    for (const PaddingMode mode : kPaddings) {
      check(TypeTag<Any>(), typename Any::Rules{{mode}, {}});
    }
  });
}

TEST(OffsetsStayInsideTheImage) {
  const Extent<2> extent = SmallExtent<2>(3);
  ForStencils([&](auto tag, const auto& rules) {
    using Stencil = typename decltype(tag)::type;
    for (const double x : kOddCoordinates) {
      for (const double y : kOddCoordinates) {
        const double point[] = {x, y};
        const Stencil stencil(rules, extent, point);
        for (int k = 0; k < stencil.kCount; ++k) {
          const int64_t offset = stencil.offset(k);
          CHECK(offset == kReadsAsZero || (0 <= offset && offset <= extent.elements() - 3));
          CHECK(offset == kReadsAsZero || offset % 3 == 0);
        }
      }
    }
  });
}

TEST(StencilOfALargeImageDoesNotOverflow) {
  const Extent<2> extent{{100000, 100000}, 3};  // 3e10 elements.
  const double point[] = {99998.5, 99998.5};
  const LinearWithZeros<2> stencil({}, extent, point);
  CHECK(stencil.offset(3) == extent.elements() - 3);
}

// Of the rows of a small image, those in which a stencil reads are touched.
TEST(TouchedRowsAreThoseOfTheStencil) {
  const Extent<2> extent = SmallExtent<2>(3);
  ForStencils([&](auto tag, const auto& rules) {
    using Stencil = typename decltype(tag)::type;
    for (const double y : kOddCoordinates) {
      const double point[] = {1.5, y};
      const Stencil stencil(rules, extent, point);
      for (int64_t row = 0; row < extent.size[0]; ++row) {
        bool reads = false;
        for (int k = 0; k < stencil.kCount; ++k) {
          reads = reads || (stencil.offset(k) != kReadsAsZero &&
                            stencil.offset(k) / extent.row_elements() == row);
        }
        CHECK(reads == Stencil::Touches(rules, extent, point, row, row + 1));
      }
    }
  });
}

// Loops

using Bilinear = LinearWithZeros<2>;
const double* const kNoFill = nullptr;

TEST(SampleReadsEveryChannelOnce) {
  std::mt19937 rng(0);
  for (const int64_t channels : {1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100}) {
    const Extent<2> extent = SmallExtent<2>(channels);
    const auto image = Random<double>(rng, extent.elements(), -1, 1);
    const double point[] = {1.25, 0.5};
    const Bilinear stencil({}, extent, point);
    std::vector<double> output(static_cast<size_t>(channels));
    SamplePoint(stencil, channels, image.data(), kNoFill, output.data());
    for (int64_t c = 0; c < channels; ++c) {
      double expected = 0;
      for (int k = 0; k < 4; ++k) {
        expected += stencil.weight(k) * image[static_cast<size_t>(stencil.offset(k) + c)];
      }
      CHECK_NEAR(output[static_cast<size_t>(c)], expected, 1e-15);
    }
  }
}

TEST(FillStandsForThePixelsOutside) {
  const Extent<2> extent{{1, 1}, 20};
  const std::vector<double> image(20, 1);
  std::vector<double> fill(20), output(20);
  for (size_t c = 0; c < 20; ++c) fill[c] = static_cast<double>(c);
  const double point[] = {0.25, -9}, inside[] = {0.25, 0};
  SamplePoint(Bilinear({}, extent, point), 20, image.data(), fill.data(), output.data());
  for (size_t c = 0; c < 20; ++c) CHECK_NEAR(output[c], fill[c], 0);
  SamplePoint(Bilinear({}, extent, inside), 20, image.data(), fill.data(), output.data());
  for (size_t c = 0; c < 20; ++c) CHECK_NEAR(output[c], 0.75 + 0.25 * fill[c], 0);
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
  const auto sample = [&](double x, double y) {
    const double point[] = {x, y};
    double output;
    SamplePoint(Bilinear({}, extent, point), 1, image, kNoFill, &output);
    return output;
  };
  CHECK(sample(0, 0) == 0 && std::signbit(sample(0, 0)));
  CHECK_NEAR(sample(1, 1), 7, 0);
  CHECK(sample(5, 1) == 0 && !std::signbit(sample(5, 1)));
}

// Inputs of a whole problem, with odd points among random ones.
template <typename Stencil>
struct Problem {
  // If images share their points, there are those of one image alone.
  Problem(const typename Stencil::Rules& rules, int64_t channels, bool is_shared = false)
      : images{rules, SmallExtent<2>(channels), 3, 50, nullptr, nullptr},
        points{nullptr, is_shared ? 0 : 50, is_shared ? 50 : 150} {
    std::mt19937 rng(0);
    data = Random<double>(rng, images.images * images.extent.elements(), -1, 1);
    grad_grad_data = Random<double>(rng, images.images * images.extent.elements(), -1, 1);
    fill = Random<double>(rng, channels, -1, 1);
    warp = Random<double>(rng, points.stored * 2, -2, 7);
    grad_grad_warp = Random<double>(rng, points.stored * 2, -1, 1);
    grad_output = Random<double>(rng, 150 * channels, -1, 1);
  }

  void PutOddPoints() {
    for (size_t i = 0; i < std::size(kOddCoordinates); ++i) warp[i * 5] = kOddCoordinates[i];
  }

  const Images<Stencil, double>& Inputs() {
    images.data = data.data();
    images.fill = fill.data();
    points.warp = warp.data();
    return images;
  }

  SecondOrder<Stencil, double> Second() const {
    return {grad_output.data(), grad_grad_data.data(), grad_grad_warp.data()};
  }

  // Calls part(begin, end, result) for parts of [0, count) of this length; all of the
  // result must be written.
  template <typename Part>
  static std::vector<double> InParts(size_t size, int64_t count, int64_t step, const Part& part) {
    std::vector<double> result(size, kNaN);
    for (int64_t i = 0; i < count; i += step) part(i, std::min(i + step, count), result.data());
    return result;
  }

  template <typename Rows>
  std::vector<double> InRows(int64_t step, const Rows& rows) const {
    std::vector<double> result(data.size(), kNaN);
    for (int64_t n = 0; n < images.images; ++n) {
      for (int64_t row = 0; row < images.extent.size[0]; row += step) {
        rows(n, row, std::min(row + step, images.extent.size[0]),
             result.data() + n * images.extent.elements());
      }
    }
    return result;
  }

  std::vector<double> Sample(int64_t step = 1000) {
    const auto& inputs = Inputs();
    return InParts(grad_output.size(), 150, step, [&](int64_t begin, int64_t end, double* result) {
      SamplePoints(inputs, points, begin, end, result);
    });
  }

  std::vector<double> WarpGradient(int64_t step = 1000) {
    const auto& inputs = Inputs();
    return InParts(warp.size(), points.stored, step,
                   [&](int64_t begin, int64_t end, double* result) {
                     WarpGradientOfPoints(inputs, points, grad_output.data(), begin, end, result);
                   });
  }

  std::vector<double> DataGradient(int64_t step = 1000) {
    const auto& inputs = Inputs();
    return InRows(step, [&](int64_t n, int64_t begin, int64_t end, double* result) {
      DataGradientOfRows(inputs, points, grad_output.data(), n, begin, end, result);
    });
  }

  std::vector<double> SecondSamples(int64_t step = 1000) {
    const auto& inputs = Inputs();
    return InParts(grad_output.size(), 150, step, [&](int64_t begin, int64_t end, double* result) {
      SecondOrderSamples(inputs, points, Second(), begin, end, result);
    });
  }

  std::vector<double> SecondWarpGradient(int64_t step = 1000) {
    const auto& inputs = Inputs();
    return InParts(warp.size(), points.stored, step,
                   [&](int64_t begin, int64_t end, double* result) {
                     SecondOrderWarpGradient(inputs, points, Second(), begin, end, result);
                   });
  }

  std::vector<double> SecondDataGradient(int64_t step = 1000) {
    const auto& inputs = Inputs();
    return InRows(step, [&](int64_t n, int64_t begin, int64_t end, double* result) {
      SecondOrderDataGradientOfRows(inputs, points, Second(), n, begin, end, result);
    });
  }

  // <grad_grad_data, dL/dU> + <grad_grad_warp, dL/dwarp>
  double Directed() {
    double sum = 0;
    const auto grad_data = DataGradient(), grad_warp = WarpGradient();
    for (size_t i = 0; i < grad_data.size(); ++i) sum += grad_data[i] * grad_grad_data[i];
    for (size_t i = 0; i < grad_warp.size(); ++i) sum += grad_warp[i] * grad_grad_warp[i];
    return sum;
  }

  Images<Stencil, double> images;
  WarpPoints<2, double> points;
  std::vector<double> data, fill, warp, grad_output, grad_grad_data, grad_grad_warp;
};

// Calls check(problem) for all stencils, with points of each image and with shared ones.
template <typename Check>
void ForProblems(int64_t channels, const Check& check) {
  ForStencils([&](auto tag, const auto& rules) {
    for (const bool is_shared : {false, true}) {
      check(Problem<typename decltype(tag)::type>(rules, channels, is_shared));
    }
  });
}

bool SameBits(const std::vector<double>& a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!(a[i] == b[i]) && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
  }
  return a.size() == b.size();
}

TEST(AnyDivisionOfTheWorkGivesTheSameBits) {
  for (const int64_t channels : {1, 3, 9}) {
    ForProblems(channels, [&](auto problem) {
      problem.PutOddPoints();
      for (const int64_t step : {1, 3, 7}) {
        CHECK(SameBits(problem.Sample(step), problem.Sample()));
        CHECK(SameBits(problem.DataGradient(step), problem.DataGradient()));
        CHECK(SameBits(problem.WarpGradient(step), problem.WarpGradient()));
        CHECK(SameBits(problem.SecondSamples(step), problem.SecondSamples()));
        CHECK(SameBits(problem.SecondDataGradient(step), problem.SecondDataGradient()));
        CHECK(SameBits(problem.SecondWarpGradient(step), problem.SecondWarpGradient()));
      }
    });
  }
}

TEST(SharedPointsGiveWhatCopiesGive) {
  ForStencils([&](auto tag, const auto& rules) {
    using P = Problem<typename decltype(tag)::type>;
    P shared(rules, 3, true), copied(rules, 3);
    copied.grad_output = shared.grad_output;
    copied.fill = shared.fill;
    for (size_t i = 0; i < copied.warp.size(); ++i) {
      copied.warp[i] = shared.warp[i % 100];
      copied.grad_grad_warp[i] = shared.grad_grad_warp[i % 100];
    }
    CHECK(SameBits(shared.Sample(), copied.Sample()));
    CHECK(SameBits(shared.DataGradient(), copied.DataGradient()));
    CHECK(SameBits(shared.SecondSamples(), copied.SecondSamples()));
    CHECK(SameBits(shared.SecondDataGradient(), copied.SecondDataGradient()));
    const auto check_sums = [](const std::vector<double>& sums, const std::vector<double>& parts) {
      for (size_t i = 0; i < 100; ++i) {
        CHECK_NEAR(sums[i], parts[i] + parts[i + 100] + parts[i + 200], 1e-13);
      }
    };
    check_sums(shared.WarpGradient(), copied.WarpGradient());
    check_sums(shared.SecondWarpGradient(), copied.SecondWarpGradient());
  });
}

TEST(DataGradientIsFiniteAndTheAdjointOfSampling) {
  ForProblems(3, [](auto problem) {
    problem.PutOddPoints();
    for (const double gradient : problem.DataGradient()) CHECK(std::isfinite(gradient));
    for (const double gradient : problem.SecondDataGradient()) CHECK(std::isfinite(gradient));
    for (double& x : problem.warp) x = std::isnan(x) ? 0 : x;
    for (double& x : problem.fill) x = 0;
    const std::vector<double> output = problem.Sample(), gradient = problem.DataGradient();
    double left = 0, right = 0;
    for (size_t i = 0; i < output.size(); ++i) left += output[i] * problem.grad_output[i];
    for (size_t i = 0; i < gradient.size(); ++i) right += gradient[i] * problem.data[i];
    CHECK_NEAR(left, right, 1e-12);
  });
}

// Moves all coordinates to where no kink is within a few steps.
void AvoidKinks(std::vector<double>* warp) {
  for (double& x : *warp) {
    const double half = std::round(2 * x) / 2;
    if (std::abs(x - half) < 0.01) x = half + 0.01;
  }
}

// Returns the difference quotient of value() in one number.
template <typename Value>
double Quotient(double* x, const Value& value) {
  constexpr double kStep = 1e-5;
  const double middle = *x;
  *x = middle + kStep;
  const double after = value();
  *x = middle - kStep;
  const double before = value();
  *x = middle;
  return (after - before) / (2 * kStep);
}

TEST(GradientsAreDifferenceQuotients) {
  ForProblems(2, [](auto problem) {
    AvoidKinks(&problem.warp);
    const auto loss = [&] {
      double sum = 0;
      const auto output = problem.Sample();
      for (size_t i = 0; i < output.size(); ++i) sum += output[i] * problem.grad_output[i];
      return sum;
    };
    const auto grad_data = problem.DataGradient(), grad_warp = problem.WarpGradient();
    for (size_t i = 0; i < problem.data.size(); i += 7) {
      CHECK_NEAR(grad_data[i], Quotient(&problem.data[i], loss), 1e-8);
    }
    for (size_t i = 0; i < problem.warp.size(); i += 3) {
      CHECK_NEAR(grad_warp[i], Quotient(&problem.warp[i], loss), 1e-8);
    }
  });
}

TEST(GradientsOfGradientsAreDifferenceQuotients) {
  ForProblems(2, [](auto problem) {
    AvoidKinks(&problem.warp);
    const auto directed = [&] { return problem.Directed(); };
    const auto of_output = problem.SecondSamples(), of_data = problem.SecondDataGradient(),
               of_warp = problem.SecondWarpGradient();
    for (size_t i = 0; i < problem.data.size(); i += 13) {
      CHECK_NEAR(of_data[i], Quotient(&problem.data[i], directed), 1e-8);
    }
    for (size_t i = 0; i < problem.warp.size(); i += 5) {
      CHECK_NEAR(of_warp[i], Quotient(&problem.warp[i], directed), 1e-7);
    }
    for (size_t i = 0; i < problem.grad_output.size(); i += 11) {
      CHECK_NEAR(of_output[i], Quotient(&problem.grad_output[i], directed), 1e-8);
    }
  });
}

TEST(AnAbsentDirectionIsZero) {
  ForProblems(2, [](auto problem) {
    const auto& inputs = problem.Inputs();
    std::vector<double> zero(problem.warp.size()), of_rows(problem.data.size(), kNaN),
        with_zero(problem.warp.size()), without(problem.warp.size());
    auto second = problem.Second();
    second.grad_grad_warp = nullptr;
    for (int64_t n = 0; n < inputs.images; ++n) {
      SecondOrderDataGradientOfRows(inputs, problem.points, second, n, 0, inputs.extent.size[0],
                                    of_rows.data() + n * inputs.extent.elements());
    }
    for (const double gradient : of_rows) CHECK_NEAR(gradient, 0, 0);
    const int64_t stored = problem.points.stored;
    SecondOrderWarpGradient(inputs, problem.points, second, 0, stored, without.data());
    second.grad_grad_warp = zero.data();
    SecondOrderWarpGradient(inputs, problem.points, second, 0, stored, with_zero.data());
    CHECK(SameBits(with_zero, without));
  });
}

TEST(MatrixGradientIsTheSumOverItsPoints) {
  // Three images with two matrices each, or all with the same two.
  for (const int64_t per_image : {2, 0}) {
    std::mt19937 rng(0);
    const Extent<2> extent = SmallExtent<2>(3);
    const auto data = Random<double>(rng, 3 * extent.elements(), -1, 1),
               matrix = Random<double>(rng, 6 * 6, -1, 2),
               grad_output = Random<double>(rng, 3 * 2 * 12 * 3, -1, 1);
    const int64_t stored = per_image == 0 ? 2 : 6;
    const AffinePoints<2, double> points{matrix.data(), per_image, stored, {3, 4}};
    const Images<Bilinear, double> images{{}, extent, 3, 24, data.data(), nullptr};
    std::vector<double> gradient(static_cast<size_t>(stored) * 6);
    MatrixGradients(images, points, grad_output.data(), 0, stored, gradient.data());
    std::vector<double> expected(gradient.size());
    for (int64_t n = 0; n < 3; ++n) {
      for (int64_t q = 0; q < 24; ++q) {
        double point[2], grad_point[2] = {};
        points.At(n, q, point);
        AddWarpGradientOfPoint(Bilinear({}, extent, point), 3, images.image(n), kNoFill,
                               grad_output.data() + (n * 24 + q) * 3, grad_point);
        const int64_t of = n * per_image + q / 12;
        const double pixel[] = {static_cast<double>(q % 4), static_cast<double>(q / 4 % 3), 1};
        for (int64_t d = 0; d < 2; ++d) {
          for (int64_t k = 0; k < 3; ++k) {
            expected[static_cast<size_t>(of * 6 + d * 3 + k)] += grad_point[d] * pixel[k];
          }
        }
      }
    }
    for (size_t i = 0; i < gradient.size(); ++i) CHECK_NEAR(gradient[i], expected[i], 1e-12);
  }
}

TEST(MatricesMapColumnRowAndSlice) {
  const double matrix[] = {1, 10, 100, 1000, 2, 20, 200, 2000, 3, 30, 300, 3000};
  const AffinePoints<3, double> points{matrix, 1, 1, {2, 3, 4}};
  double point[3];
  points.At<int64_t>(0, 23, point);  // The last: column 3, row 2, slice 1.
  CHECK_NEAR(point[0], 1123, 0);
  CHECK_NEAR(point[1], 2246, 0);
  CHECK_NEAR(point[2], 3369, 0);
  CHECK(points.output_points() == 24);
}

TEST(HalfTypesAreConvertedExplicitly) {
  const Extent<2> extent{{1, 2}, 1};
  const Rounded image[] = {Rounded(1), Rounded(3)}, grad_output[] = {Rounded(2)};
  const Rounded* const no_fill = nullptr;
  const float point[] = {0.25f, 0};
  const LinearWithZeros<2, float> stencil({}, extent, point);
  Rounded output;
  SamplePoint(stencil, 1, image, no_fill, &output);
  CHECK_NEAR(output.value, 1.5, 0);
  float grad_point[2] = {}, grad_image[2] = {0, 0};
  AddWarpGradientOfPoint(stencil, 1, image, no_fill, grad_output, grad_point);
  CHECK_NEAR(grad_point[0], 4, 0);
  CHECK_NEAR(grad_point[1], -3, 0);
  DataGradientOfPoint(stencil, 1, grad_output, 0, 2, grad_image);
  CHECK_NEAR(grad_image[0], 1.5, 0);
  CHECK_NEAR(grad_image[1], 0.5, 0);
}

// Modes and shapes

TEST(ModesAreFoundByName) {
  InterpolationMode interpolation = InterpolationMode::kNearest;
  PaddingMode padding = PaddingMode::kZeros;
  for (const char* name : {"nearest", "linear", "cubic"}) {
    CHECK(ParseInterpolation(name, &interpolation));
    CHECK(!ParsePadding(name, &padding));
  }
  for (const char* name : {"zeros", "border", "reflect", "symmetric", "wrap"}) {
    CHECK(ParsePadding(name, &padding));
    CHECK(!ParseInterpolation(name, &interpolation));
  }
  CHECK(padding == PaddingMode::kWrap && interpolation == InterpolationMode::kCubic);
  CHECK(!ParsePadding("", &padding));
}

TEST(ModesAreVisitedWithTheirStencil) {
  const auto taps_of = [](const Modes& modes) {
    int taps = 0;
    VisitStencil<2, float>(modes,
                           [&](auto tag, const auto&) { taps = decltype(tag)::type::kTaps; });
    return taps;
  };
  Modes modes;
  CHECK(modes.is_linear_with_zeros() && taps_of(modes) == 2);
  modes.derivative[1] = 1;
  CHECK(!modes.is_linear_with_zeros() && taps_of(modes) == 2);
  modes.interpolation = InterpolationMode::kCubic;
  CHECK(taps_of(modes) == 4);
  modes.interpolation = InterpolationMode::kNearest;
  CHECK(taps_of(modes) == 1);
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
  CHECK(CheckResamplerShapes(unknown, PartialShape({2, 3})).empty());
  CHECK(CheckResamplerShapes(unknown, PartialShape({2, 4})) ==
        "`warp` must have shape [batch, ..., 2] or [batch, ..., 3], received [2, 4]");
  CHECK(CheckResamplerShapes(data, PartialShape({2, 3})) ==
        "`warp` must have shape [batch, ..., 2], received [2, 3]");
  CHECK(!CheckResamplerShapes(PartialShape({2, 5, 5, 5, 3}), warp).empty());
  CHECK(CheckResamplerShapes(PartialShape({1, 5, 5, 3}), warp).empty());
  CHECK(CheckResamplerShapes(data, PartialShape({1, 4, 2})).empty());
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
  const PartialShape one({1, 5, 5, 3}), grad_output({2, 4, 3}), none({0});
  CHECK(CheckResamplerGradShapes(one, warp, grad_output).empty());
  CHECK(!CheckResamplerGradShapes(one, warp, PartialShape({1, 4, 3})).empty());
  CHECK(CheckResamplerGradGradShapes(one, warp, grad_output, none, none).empty());
  CHECK(CheckResamplerGradGradShapes(one, warp, grad_output, one, warp).empty());
  CHECK(!CheckResamplerGradGradShapes(one, warp, grad_output, data, warp).empty());
  CHECK(!CheckResamplerGradGradShapes(one, warp, grad_output, one, one).empty());
}

TEST(ShapesOfTheAffineResamplerAreChecked) {
  const PartialShape data({2, 5, 5, 3}), volumes({2, 5, 5, 5, 3}), unknown, size({4, 4});
  CHECK(CheckAffineResamplerShapes(data, PartialShape({2, 2, 3}), size).empty());
  CHECK(CheckAffineResamplerShapes(data, PartialShape({1, 7, 2, 3}), size).empty());
  CHECK(CheckAffineResamplerShapes(volumes, PartialShape({2, 3, 4}), unknown).empty());
  CHECK(CheckAffineResamplerShapes(unknown, PartialShape({2, 3, 4}), unknown).empty());
  CHECK(CheckAffineResamplerShapes(data, PartialShape({2, 3, 4}), size) ==
        "`matrix` must have shape [batch, ..., 2, 3], received [2, 3, 4]");
  CHECK(!CheckAffineResamplerShapes(volumes, PartialShape({2, 2, 3}), unknown).empty());
  CHECK(!CheckAffineResamplerShapes(data, PartialShape({3, 2, 3}), size).empty());
  CHECK(CheckAffineResamplerGradShapes(data, PartialShape({2, 7, 2, 3}),
                                       PartialShape({2, 7, 4, 4, 3}))
            .empty());
  CHECK(!CheckAffineResamplerGradShapes(data, PartialShape({2, 7, 2, 3}),
                                        PartialShape({2, 6, 4, 4, 3}))
             .empty());
}

}  // namespace
}  // namespace tf_stn

int main() { return tf_stn::RunAllTests(); }

// Tests of cc/core alone: invariants that hold for every policy and every source of points, and the
// plain loops against sums written out.  Run plainly and under sanitizers, so every array here is
// exactly as long as it may be read.

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "cc/core/call.h"
#include "cc/core/interpolation.h"
#include "cc/core/modes.h"
#include "cc/core/padding.h"
#include "cc/core/pixel_types.h"
#include "cc/core/plain_loops.h"
#include "cc/core/points.h"
#include "cc/core/shapes.h"
#include "cc/core/stencil.h"
#include "tests/cpp/check.h"
#include "tests/cpp/support.h"

namespace tf_stn {
namespace {

const double kOddCoordinates[] = {kNaN, kInf, -kInf, 1e30, -1e30, 3e9,  -3e9, 9.3e18, -9.3e18,
                                  0.0,  -0.0, 1.0,   -1.0, 2.5,   -0.5, 4.0,  5.0,    1e-45};

template <typename Real>
std::vector<Real> Random(std::mt19937& rng, int64_t count, double low, double high) {
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<Real> values(static_cast<size_t>(count));
  for (Real& value : values) value = static_cast<Real>(uniform(rng));
  return values;
}

// Interpolation

// Calls check(policy) with each interpolation.
template <typename Check>
void ForInterpolations(const Check& check) {
#define TF_STN_CHECK(Policy, ...) check(Policy());
  TF_STN_FOR_EACH_INTERPOLATION(TF_STN_CHECK)
#undef TF_STN_CHECK
}

// Pixels all over the plane.
struct NoPadding {
  template <typename Index>
  static Index Resolve(Index index, Index) {
    return index;
  }
};

template <typename Policy, typename Real, typename Index = int64_t>
std::vector<Tap<Real, Index>> TapsAt(Real x, int order = 0) {
  std::vector<Tap<Real, Index>> taps(Policy::kTaps);
  FindTaps<Policy>(NoPadding(), x, std::numeric_limits<Index>::max(), order, taps.data());
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

TEST(ZerosReadsNothingOutside) {
  for (const int64_t index : {int64_t{-1}, int64_t{4}, int64_t{1} << 60, -(int64_t{1} << 60)}) {
    CHECK(Zeros::Resolve<int64_t>(index, 4) == kReadsAsZero);
  }
  for (int64_t index = 0; index < 4; ++index) CHECK(Zeros::Resolve<int64_t>(index, 4) == index);
  CHECK(Zeros::Resolve<int64_t>(0, 0) == kReadsAsZero);
}

// A picture is one of an image a b c d and of three pixels on both sides of it.
template <typename Padding>
void CheckPicture(std::string_view picture) {
  int64_t index = -3;
  for (const char pixel : picture) {
    if (pixel == ' ' || pixel == '|') continue;
    const int64_t place = pixel == '0' ? kReadsAsZero : pixel - 'a';
    CHECK(Padding::template Resolve<int64_t>(index, 4) == place);
    CHECK(Padding::template Resolve<int32_t>(static_cast<int32_t>(index), 4) == place);
    ++index;
  }
  CHECK(index == 7);
}

TEST(PaddingsAreWhatTheListPictures) {
#define TF_STN_CHECK(Policy, name, picture) CheckPicture<Policy>(picture);
  TF_STN_FOR_EACH_PADDING(TF_STN_CHECK)
#undef TF_STN_CHECK
}

struct Pattern {
  std::string_view padding;
  int64_t places[16];  // Of indices from -6 on.
};

TEST(PaddingsGoOnAsTheyArePictured) {
  const Pattern patterns[] = {
      {"zeros", {-1, -1, -1, -1, -1, -1, 0, 1, 2, 3, -1, -1, -1, -1, -1, -1}},
      {"border", {0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 3, 3, 3, 3, 3, 3}},
      {"reflect", {0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3}},
      {"symmetric", {2, 3, 3, 2, 1, 0, 0, 1, 2, 3, 3, 2, 1, 0, 0, 1}},
      {"wrap", {2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1}},
  };
  CHECK(std::size(patterns) == std::size(kPaddings));
  for (const Pattern& pattern : patterns) {
    PaddingMode mode;
    CHECK(ParseMode(kPaddingNames, pattern.padding, &mode));
    for (int64_t i = 0; i < 16; ++i) {
      CHECK(AnyPadding{mode}.Resolve<int64_t>(i - 6, 4) == pattern.places[i]);
    }
  }
}

TEST(PaddingsThatRepeatTheImageAreKnown) {
  for (const PaddingMode mode : kPaddings) {
    // Far outside, one that does not repeat it reads one and the same pixel.
    const AnyPadding padding{mode};
    bool is_same = true;
    for (int64_t index = 1000; index < 1010; ++index) {
      is_same = is_same && padding.Resolve<int64_t>(index, 4) == padding.Resolve<int64_t>(1000, 4);
    }
    CHECK(is_same == !Repeats(mode));
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

// Taps on one pixel are one tap, so that all that is read of a pixel is its sum of weights.
template <typename Policy, typename Real>
void CheckMergedTaps(double tolerance) {
  std::mt19937 rng(0);
  for (const PaddingMode mode : kPaddings) {
    const AnyPadding padding{mode};
    for (const int64_t size : {1, 2, 3, 5}) {
      for (const Real x : Random<Real>(rng, 100, -9, 14)) {
        for (int order = 0; order < 3; ++order) {
          Tap<Real> taps[Policy::kTaps];
          FindTaps<Policy>(padding, x, size, order, taps);
          int64_t first;
          Real t;
          Policy::Locate(x, &first, &t);
          for (int64_t pixel = kReadsAsZero; pixel < size; ++pixel) {
            double expected[3] = {}, sums[3] = {};
            int count = 0;
            for (int k = 0; k < Policy::kTaps; ++k) {
              if (padding.Resolve(first + k, size) == pixel) {
                for (int i = 0; i < 3; ++i) {
                  expected[i] += static_cast<double>(Policy::Derivative(k, order + i, t));
                }
              }
              if (taps[k].index != pixel) continue;
              const Real values[] = {taps[k].weight, taps[k].slope, taps[k].curvature};
              for (int i = 0; i < 3; ++i) sums[i] += static_cast<double>(values[i]);
              ++count;
            }
            CHECK(pixel == kReadsAsZero || count <= 1);
            for (int i = 0; i < 3; ++i) CHECK_NEAR(sums[i], expected[i], tolerance);
          }
        }
      }
    }
  }
}

TEST(TapsOnOnePixelAreMerged) {
  ForInterpolations([](auto policy) {
    CheckMergedTaps<decltype(policy), float>(1e-5);
    CheckMergedTaps<decltype(policy), double>(1e-13);
  });
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
                            stencil.offset(k) / extent.slab_elements() == row);
        }
        CHECK(reads == Stencil::Touches(rules, extent, point, row, row + 1));
      }
    }
  });
}

// Points

TEST(DivisionIsThatOfIntegers) {
  CHECK(PlainDivision().divisor() == 1);
  for (const int64_t divisor : {int64_t{1}, int64_t{2}, int64_t{7}, int64_t{1} << 30}) {
    const PlainDivision division(divisor);
    CHECK(division.divisor() == divisor);
    for (const int64_t dividend :
         {int64_t{0}, int64_t{1}, int64_t{6}, int64_t{7}, int64_t{8}, (int64_t{1} << 31) - 1}) {
      CHECK(division.Quotient(dividend) == dividend / divisor);
      CHECK(division.Quotient(static_cast<int32_t>(dividend)) == dividend / divisor);
    }
    CHECK(division.Quotient(int64_t{1} << 60) == (int64_t{1} << 60) / divisor);
  }
}

TEST(PixelsOfAnOutputAreNumberedRowByRow) {
  const OutputSize<3> size{{PlainDivision(2), PlainDivision(3), PlainDivision(4)}};
  CHECK(size.points() == 24);
  int32_t number = 0;
  for (int slice = 0; slice < 2; ++slice) {
    for (int row = 0; row < 3; ++row) {
      for (int column = 0; column < 4; ++column, ++number) {
        int32_t pixel[3];
        size.PixelOf(number, pixel);
        CHECK(pixel[0] == column && pixel[1] == row && pixel[2] == slice);
      }
    }
  }
}

TEST(MatricesMapColumnRowAndSlice) {
  const double matrix[] = {1, 10, 100, 1000, 2, 20, 200, 2000, 3, 30, 300, 3000};
  const MatrixPoints<3, double> points{
      matrix, 1, 1, {{PlainDivision(2), PlainDivision(3), PlainDivision(4)}}};
  CHECK(points.points_per_item() == 24);
  double point[3];
  points.At<int64_t>(matrix, 23, point);  // The last: column 3, row 2, slice 1.
  CHECK_NEAR(point[0], 1123, 0);
  CHECK_NEAR(point[1], 2246, 0);
  CHECK_NEAR(point[2], 3369, 0);
}

TEST(DisplacementsAreAddedToThePixelsOfEachOutput) {
  const float displacement[] = {0.25f, -0.5f};
  WarpPoints<2, float> points{displacement, 1, 1};
  points.are_displacements = true;
  points.size = {{PlainDivision(3), PlainDivision(4)}};
  float number = 0;
  for (int output = 0; output < 3; ++output) {
    for (int row = 0; row < 3; ++row) {
      for (int column = 0; column < 4; ++column, ++number) {
        float point[2];
        points.At(displacement, static_cast<int64_t>(number), point);
        CHECK_NEAR(point[0], column + 0.25, 0);
        CHECK_NEAR(point[1], row - 0.5, 0);
      }
    }
  }
}

TEST(ProjectiveMatricesDivideByTheirLastRow) {
  const double matrix[] = {1, 10, 100, 2, 20, 200, 0.5, 0, 1};
  const MatrixPoints<2, double> points{matrix, 1, 1, {{PlainDivision(2), PlainDivision(3)}}, true};
  CHECK(points.parameters_per_item() == 9);
  double point[2];
  points.At<int64_t>(matrix, 5, point);  // The last: column 2, row 1.
  CHECK_NEAR(point[0], 112 / 2.0, 0);
  CHECK_NEAR(point[1], 224 / 2.0, 0);
}

// A divisor that is nearer to zero counts as 1e-6, of its sign, and does not move the point.
TEST(PointsAtInfinityAreFarAwayWithFiniteGradients) {
  for (const double divisor : {0.0, 1e-9, -1e-9}) {
    const double matrix[] = {0, 0, 3, 0, 0, -2, 0, 0, divisor}, grad_point[] = {1, 1};
    const MatrixPoints<2, double> points{matrix, 1, 1, {}, true};
    double point[2], pulled[9] = {};
    points.At<int64_t>(matrix, 0, point);
    CHECK_NEAR(point[0], divisor < 0 ? -3e6 : 3e6, 1e-6);
    CHECK_NEAR(point[1], divisor < 0 ? 2e6 : -2e6, 1e-6);
    points.Pull<int64_t>(matrix, 0, grad_point, [&](int k, double g) { pulled[k] += g; });
    CHECK_NEAR(pulled[2], divisor < 0 ? -1e6 : 1e6, 1e-6);
    CHECK(pulled[8] == 0);
  }
}

// Points of three images with two items each, or with the same two for all.
template <typename Points>
Problem<Points, double> PointsProblem(bool is_shared, unsigned seed = 3) {
  Case c;
  for (int d = 0; d < Points::kRank; ++d) c.size.push_back(4 + d);
  c.images = 3;
  c.rows = 3;
  c.columns = 5;
  c.place = Place::kInside;
  c.shares_points = is_shared;
  c.seed = seed;
  return Problem<Points, double>(c);
}

// Calls check(tag of the source, seed) for all sources of points of doubles: for stored points as
// they are and as displacements, and for affine and projective matrices.
template <typename Check>
void ForSources(const Check& check) {
  for (const unsigned seed : {3u, 6u, 9u}) {
#define TF_STN_CHECK(Source, Rank, T) check(TypeTag<Source<Rank, T>>(), seed);
    TF_STN_FOR_EACH_SOURCE(TF_STN_CHECK, 2, double)
    TF_STN_FOR_EACH_SOURCE(TF_STN_CHECK, 3, double)
#undef TF_STN_CHECK
  }
}

TEST(PointsOfImagesAreThoseOfTheirItems) {
  ForSources([](auto tag, unsigned seed) {
    using Points = typename decltype(tag)::type;
    for (const bool is_shared : {false, true}) {
      const auto problem = PointsProblem<Points>(is_shared, seed);
      const Points& points = problem.points;
      const int64_t per_item = points.points_per_item();
      CHECK(problem.sizes.points_per_image % per_item == 0);
      for (int64_t n = 0; n < 3; ++n) {
        for (int64_t q = 0; q < problem.sizes.points_per_image; ++q) {
          const int64_t item = (is_shared ? 0 : n * points.per_image) + q / per_item;
          double point[Points::kRank], expected[Points::kRank];
          PointOf(points, n, q, point);
          points.At(points.parameters + item * points.parameters_per_item(),
                    Points::kIsStored ? q : q % per_item, expected);
          for (int d = 0; d < Points::kRank; ++d) CHECK_NEAR(point[d], expected[d], 0);
        }
      }
    }
  });
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

TEST(PullIsTheTransposeOfTheDerivativeOfAt) {
  ForSources([](auto tag, unsigned seed) {
    using Points = typename decltype(tag)::type;
    const auto problem = PointsProblem<Points>(false, seed);
    const Points& points = problem.points;
    std::mt19937 rng(0);
    for (int64_t n = 0; n < points.stored; ++n) {
      double* const item = problem.parameters.data() + n * points.parameters_per_item();
      for (int64_t q = 0; q < points.points_per_item(); ++q) {
        const std::vector<double> grad_point = Random<double>(rng, Points::kRank, -1, 1);
        double pulled[Points::kParameters] = {};
        points.Pull(item, q, grad_point.data(), [&](int k, double g) { pulled[k] += g; });
        const auto product = [&] {
          double point[Points::kRank], sum = 0;
          points.At(item, q, point);
          for (int d = 0; d < Points::kRank; ++d)
            sum += grad_point[static_cast<size_t>(d)] * point[d];
          return sum;
        };
        for (int k = 0; k < points.parameters_per_item(); ++k) {
          CHECK_NEAR(pulled[k], Quotient(item + k, product), 1e-7);
        }
      }
    }
  });
}

// As the GPU's, which multiplies.
struct OtherDivision : PlainDivision {
  using PlainDivision::PlainDivision;
};

TEST(PointsAreTheSameWithAnyDivision) {
  ForSources([](auto tag, unsigned seed) {
    const auto problem = PointsProblem<typename decltype(tag)::type>(false, seed);
    const auto other = problem.points.template WithDivision<OtherDivision>();
    CHECK(other.points_per_item() == problem.points.points_per_item());
    for (int64_t q = 0; q < problem.sizes.points_per_image; ++q) {
      double point[3], expected[3];
      PointOf(other, 2, q, point);
      PointOf(problem.points, 2, q, expected);
      for (int d = 0; d < decltype(tag)::type::kRank; ++d) CHECK_NEAR(point[d], expected[d], 0);
    }
  });
}

// Pixels

// Conversion, of numbers on both sides of the middle between two neighbours.
template <typename T>
void CheckConversion() {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    T pixel;
    pixel.bits = static_cast<uint16_t>(bits);
    const float value = static_cast<float>(pixel);
    if (std::isnan(value)) {
      CHECK(std::isnan(static_cast<float>(T(value))));
      continue;
    }
    CHECK(T(value).bits == pixel.bits);
    T next;
    next.bits = static_cast<uint16_t>(bits + 1);
    const float upper = static_cast<float>(next);
    if (!std::isfinite(value) || !std::isfinite(upper) || (bits & 0x7fff) == 0x7fff) continue;
    const float middle = value + (upper - value) / 2;
    CHECK(T(middle).bits == (bits % 2 == 0 ? pixel.bits : next.bits));
    CHECK(T(std::nextafter(middle, value)).bits == pixel.bits);
    CHECK(T(std::nextafter(middle, upper)).bits == next.bits);
  }
}

TEST(HalfTypesRoundToTheNearest) {
  CheckConversion<Half>();
  CheckConversion<BFloat16>();
  CHECK(Half(65520.0f).bits == 0x7c00 && Half(65519.0f).bits == 0x7bff);
  CHECK(Half(-1e30f).bits == 0xfc00 && BFloat16(-std::numeric_limits<float>::max()).bits == 0xff80);
}

template <typename T, typename Real>
void CheckIntegerPixels() {
  using Limits = std::numeric_limits<T>;
  // Of two that are as near, the even one.
  const std::pair<double, int> rounded[] = {{0, 0},       {-0.0, 0},   {0.5, 0},  {1.5, 2},
                                            {2.5, 2},     {3.5, 4},    {2.49, 2}, {2.51, 3},
                                            {100.5, 100}, {99.5, 100}, {1e-45, 0}};
  for (const auto& [sum, pixel] : rounded) {
    CHECK(ToPixel<T>(static_cast<Real>(sum)) == static_cast<T>(pixel));
    if (!Limits::is_signed) continue;
    CHECK(ToPixel<T>(static_cast<Real>(-sum)) == static_cast<T>(-pixel));
  }
  CHECK(ToPixel<T>(static_cast<Real>(kNaN)) == 0);
  CHECK(ToPixel<T>(static_cast<Real>(-kNaN)) == 0);
  const Real largest = static_cast<Real>(Limits::max()), least = static_cast<Real>(Limits::min());
  for (const Real beyond : {largest, largest * 2, static_cast<Real>(kInf),
                            std::nextafter(largest, static_cast<Real>(kInf))}) {
    CHECK(ToPixel<T>(beyond) == Limits::max());
  }
  for (const Real beyond : {least, least * 2 - 1, static_cast<Real>(-kInf),
                            std::nextafter(least, static_cast<Real>(-kInf))}) {
    CHECK(ToPixel<T>(beyond) == Limits::min());
  }
  // The largest number of the type of sums that is a pixel, and below it.
  const Real below = std::nextafter(largest, Real(0));
  if (below == std::floor(below)) CHECK(ToPixel<T>(below) == static_cast<T>(below));
  if (sizeof(T) < sizeof(Real)) {
    CHECK(ToPixel<T>(largest - Real(0.5)) == Limits::max() - Limits::max() % 2);
    CHECK(ToPixel<T>(largest - Real(0.75)) == Limits::max() - 1);
  }
}

TEST(IntegerPixelsAreRoundedToTheEvenOneAndLimited) {
  CheckIntegerPixels<int8_t, float>();
  CheckIntegerPixels<uint8_t, float>();
  CheckIntegerPixels<int32_t, float>();
  CheckIntegerPixels<int64_t, float>();
  CheckIntegerPixels<int8_t, double>();
  CheckIntegerPixels<uint8_t, double>();
  CheckIntegerPixels<int32_t, double>();
  CheckIntegerPixels<int64_t, double>();
}

TEST(OtherPixelsAreConverted) {
  CHECK(ToPixel<float>(0.1f) == 0.1f && ToPixel<double>(0.1) == 0.1);
  CHECK(ToPixel<Half>(0.1f).bits == Half(0.1f).bits);
  CHECK(ToPixel<BFloat16>(0.1f).bits == BFloat16(0.1f).bits);
}

// Loops

using Bilinear = LinearWithZeros<2>;

// Writes the sample of one point in one image.
template <typename Stencil, typename T>
void SampleOf(const Stencil& stencil, const Extent<2>& extent, const T* image, const T* fill,
              T* output) {
  const Terms<T> terms{{{image, fill, false}, {}}, 1, nullptr};
  SamplePoint(stencil, terms, static_cast<const Coordinate<T>*>(nullptr), Sizes<2>{extent, 1, 1}, 0,
              output);
}

// Adds the gradient of one point in one image.
template <typename Stencil, typename T>
void AddGradient(const Stencil& stencil, const Extent<2>& extent, const T* image, const T* fill,
                 const T* grad_output, Coordinate<T>* grad_point) {
  AddPointGradient(stencil, Weights<Stencil>(stencil, nullptr), extent.channels, image, fill,
                   grad_output, grad_point);
}

TEST(SampleReadsEveryChannelOnce) {
  std::mt19937 rng(0);
  for (const int64_t channels : {1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100}) {
    const Extent<2> extent = SmallExtent<2>(channels);
    const auto image = Random<double>(rng, extent.elements(), -1, 1);
    const double point[] = {1.25, 0.5};
    const Bilinear stencil({}, extent, point);
    std::vector<double> output(static_cast<size_t>(channels));
    SampleOf<Bilinear, double>(stencil, extent, image.data(), nullptr, output.data());
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
  SampleOf(Bilinear({}, extent, point), extent, image.data(), fill.data(), output.data());
  for (size_t c = 0; c < 20; ++c) CHECK_NEAR(output[c], fill[c], 0);
  SampleOf(Bilinear({}, extent, inside), extent, image.data(), fill.data(), output.data());
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
    SampleOf<Bilinear, double>(Bilinear({}, extent, point), extent, image, nullptr, &output);
    return output;
  };
  CHECK(sample(0, 0) == 0 && std::signbit(sample(0, 0)));
  CHECK_NEAR(sample(1, 1), 7, 0);
  CHECK(sample(5, 1) == 0 && !std::signbit(sample(5, 1)));
}

// Where a padding brings all taps onto one pixel, the image is constant, even if that pixel is
// infinite: its weight is 1 and its slope 0.
template <typename Interpolation>
void CheckAnInfinitePixel(PaddingMode padding, int64_t width, double x, bool is_constant) {
  using Any = AnyStencil<2, Interpolation>;
  const Extent<2> extent{{1, width}, 1};
  std::vector<double> image(static_cast<size_t>(width), 3);
  image[0] = kInf;
  const double point[] = {x, 0}, grad_output = 1;
  double output, grad_point[2] = {};
  const Any stencil({{padding}, {}}, extent, point);
  SampleOf<Any, double>(stencil, extent, image.data(), nullptr, &output);
  AddGradient<Any, double>(stencil, extent, image.data(), nullptr, &grad_output, grad_point);
  CHECK_NEAR(output, kInf, 0);
  // Along y too there is but one pixel.
  CHECK_NEAR(grad_point[1], 0, 0);
  if (is_constant) CHECK_NEAR(grad_point[0], 0, 0);
  if (!is_constant) CHECK(std::isinf(grad_point[0]));
}

TEST(AnInfinitePixelHasTheWeightAndSlopeThatItReallyHas) {
  // Of cubic interpolation, the weights of some of these do not sum to 1, but for rounding.
  for (const double x : {-3.25, -5.1, -100.7, -7.123}) {
    CheckAnInfinitePixel<Nearest>(PaddingMode::kBorder, 4, x, true);
    CheckAnInfinitePixel<Linear>(PaddingMode::kBorder, 4, x, true);
    CheckAnInfinitePixel<Cubic>(PaddingMode::kBorder, 4, x, true);
    // An image of a single pixel is constant by all paddings.
    for (const PaddingMode padding : kPaddings) {
      if (padding == PaddingMode::kZeros) continue;
      CheckAnInfinitePixel<Linear>(padding, 1, x, true);
      CheckAnInfinitePixel<Cubic>(padding, 1, x, true);
    }
  }
  // Between the pixel and its own mirror image.
  CheckAnInfinitePixel<Linear>(PaddingMode::kSymmetric, 4, -0.25, true);
  // Between the pixel and another one.
  CheckAnInfinitePixel<Linear>(PaddingMode::kBorder, 4, 0.25, false);
  CheckAnInfinitePixel<Linear>(PaddingMode::kReflect, 4, -0.25, false);
  CheckAnInfinitePixel<Linear>(PaddingMode::kWrap, 4, -0.25, false);
  CheckAnInfinitePixel<Linear>(PaddingMode::kSymmetric, 4, -1.25, false);
}

// A whole problem, of three images with 50 points each or with the same 50, and what the plain
// loops make of it.
template <typename Stencil>
struct PlainProblem : Problem<WarpPoints<2, double>, double> {
  using Base = Problem<WarpPoints<2, double>, double>;
  using StencilType = Stencil;

  static Case CaseOf(int64_t channels, bool is_shared) {
    Case c;
    c.size = {4, 5};
    c.images = 3;
    c.channels = channels;
    c.columns = 50;
    c.shares_points = is_shared;
    c.has_fill = true;
    c.seed = 2;  // With grad_grad_data.
    return c;
  }

  PlainProblem(const typename Stencil::Rules& rules_, int64_t channels, bool is_shared = false)
      : Base(CaseOf(channels, is_shared)), rules(rules_) {
    std::uniform_real_distribution<double> coordinate(-2, 7);
    std::generate_n(parameters.data(), parameters.size(), [&] { return coordinate(rng); });
  }

  void PutOddPoints() {
    for (size_t i = 0; i < std::size(kOddCoordinates); ++i) {
      parameters[static_cast<int64_t>(i) * 5] = kOddCoordinates[i];
    }
  }

  // Calls part(run) for parts, of `step` points, of the points that are stored.
  template <typename Part>
  void ForRuns(int64_t step, const Part& part) const {
    for (int64_t n = 0; n < (c.shares_points ? 1 : c.images); ++n) {
      for (int64_t q = 0; q < sizes.points_per_image; q += step) {
        part(Run{n, q, std::min(q + step, sizes.points_per_image)});
      }
    }
  }

  // The sum of all bands of `step` rows.
  template <typename CallType>
  Memory<double> InBands(int64_t step, const CallType& call) const {
    Memory<double> sums(data.size());
    sums.Fill(0);
    for (int64_t n = 0; n < c.images; ++n) {
      for (int64_t row = 0; row < sizes.image.size[0]; row += step) {
        const Band band{n, row, std::min(row + step, sizes.image.size[0]), nullptr, 0};
        GradientOfBand<Stencil>(rules, call, band, sums.data() + n * sizes.image.elements());
      }
    }
    return sums;
  }

  Memory<double> Samples(int64_t step = 1000) const {
    Memory<double> output(grad_output.size());
    for (int64_t p = 0; p < sizes.points(); p += step) {
      SamplePoints<Stencil>(rules, Sample(output.data()), p, std::min(p + step, sizes.points()));
    }
    return output;
  }

  Memory<double> GradPoints(int64_t step = 1000) const {
    Memory<double> result(parameters.size());
    ForRuns(step, [&](const Run& run) {
      GradientOfRun<Stencil>(rules, Gradient(nullptr, result.data()), run, nullptr);
    });
    return result;
  }

  Memory<double> GradData(int64_t step = 1000) const {
    return InBands(step, Gradient(nullptr, nullptr));
  }

  Memory<double> SecondSamples(int64_t step = 1000) const {
    Memory<double> result(grad_output.size());
    ForRuns(step, [&](const Run& run) {
      GradientOfRun<Stencil>(rules, SecondOrder(nullptr, nullptr, result.data()), run, nullptr);
    });
    return result;
  }

  Memory<double> SecondGradPoints(int64_t step = 1000) const {
    Memory<double> result(parameters.size());
    ForRuns(step, [&](const Run& run) {
      GradientOfRun<Stencil>(rules, SecondOrder(nullptr, result.data(), nullptr), run, nullptr);
    });
    return result;
  }

  Memory<double> SecondGradData(int64_t step = 1000) const {
    return InBands(step, SecondOrder(nullptr, nullptr, nullptr));
  }

  // <grad_grad_data, dL/ddata> + <grad_grad_points, dL/dpoints>
  double Directed() const {
    return Product(GradData(), grad_grad_data) + Product(GradPoints(), grad_grad_points);
  }

  static double Product(const Memory<double>& a, const Memory<double>& b) {
    double sum = 0;
    for (int64_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  }

  typename Stencil::Rules rules;
};

// Calls check(problem) for all stencils, with points of each image and with shared ones.
template <typename Check>
void ForProblems(int64_t channels, const Check& check) {
  ForStencils([&](auto tag, const auto& rules) {
    for (const bool is_shared : {false, true}) {
      check(PlainProblem<typename decltype(tag)::type>(rules, channels, is_shared));
    }
  });
}

// Of NaNs, the sign and payload may differ.
bool SameNumbers(const Memory<double>& a, const Memory<double>& b) {
  for (int64_t i = 0; i < a.size(); ++i) {
    if (!SameBits(a[i], b[i]) && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
  }
  return a.size() == b.size();
}

TEST(AnyDivisionOfTheWorkGivesTheSameBits) {
  for (const int64_t channels : {1, 3, 9}) {
    ForProblems(channels, [&](auto problem) {
      problem.PutOddPoints();
      for (const int64_t step : {1, 3, 7}) {
        CHECK(SameNumbers(problem.Samples(step), problem.Samples()));
        CHECK(SameNumbers(problem.GradData(step), problem.GradData()));
        CHECK(SameNumbers(problem.GradPoints(step), problem.GradPoints()));
        CHECK(SameNumbers(problem.SecondSamples(step), problem.SecondSamples()));
        CHECK(SameNumbers(problem.SecondGradData(step), problem.SecondGradData()));
        CHECK(SameNumbers(problem.SecondGradPoints(step), problem.SecondGradPoints()));
      }
    });
  }
}

TEST(ABandSumsThePointsOfItsList) {
  ForProblems(2, [](auto problem) {
    const auto call = problem.Gradient(nullptr, nullptr);
    const auto& image = problem.sizes.image;
    // Every other point alone, and the rest.
    std::vector<uint32_t> lists[2];
    for (uint32_t q = 0; q < 50; ++q) lists[q % 2].push_back(q);
    Memory<double> sums(image.elements()), whole(image.elements());
    sums.Fill(0);
    whole.Fill(0);
    using Stencil = typename decltype(problem)::StencilType;
    for (const auto& list : lists) {
      const Band band{1, 0, image.size[0], list.data(), static_cast<int64_t>(list.size())};
      GradientOfBand<Stencil>(problem.rules, call, band, sums.data());
    }
    GradientOfBand<Stencil>(problem.rules, call, {1, 0, image.size[0], nullptr, 0}, whole.data());
    for (int64_t i = 0; i < sums.size(); ++i) CHECK_NEAR(sums[i], whole[i], 1e-13);
  });
}

TEST(SharedPointsGiveWhatCopiesGive) {
  ForStencils([&](auto tag, const auto& rules) {
    using P = PlainProblem<typename decltype(tag)::type>;
    P shared(rules, 3, true), copied(rules, 3);
    const auto copy = [](const Memory<double>& from, const Memory<double>& to) {
      for (int64_t i = 0; i < to.size(); ++i) to[i] = from[i % from.size()];
    };
    copy(shared.data, copied.data);
    copy(shared.grad_output, copied.grad_output);
    copy(shared.grad_grad_data, copied.grad_grad_data);
    copy(shared.fill, copied.fill);
    copy(shared.parameters, copied.parameters);
    copy(shared.grad_grad_points, copied.grad_grad_points);
    CHECK(SameNumbers(shared.Samples(), copied.Samples()));
    CHECK(SameNumbers(shared.GradData(), copied.GradData()));
    CHECK(SameNumbers(shared.SecondSamples(), copied.SecondSamples()));
    CHECK(SameNumbers(shared.SecondGradData(), copied.SecondGradData()));
    const auto check_sums = [](const Memory<double>& sums, const Memory<double>& parts) {
      for (int64_t i = 0; i < 100; ++i) {
        CHECK_NEAR(sums[i], parts[i] + parts[i + 100] + parts[i + 200], 1e-13);
      }
    };
    check_sums(shared.GradPoints(), copied.GradPoints());
    check_sums(shared.SecondGradPoints(), copied.SecondGradPoints());
  });
}

TEST(DataGradientIsFiniteAndTheAdjointOfSampling) {
  const auto check_finite = [](const Memory<double>& sums) {
    for (int64_t i = 0; i < sums.size(); ++i) CHECK(std::isfinite(sums[i]));
  };
  ForProblems(3, [&](auto problem) {
    problem.PutOddPoints();
    check_finite(problem.GradData());
    check_finite(problem.SecondGradData());
    for (int64_t i = 0; i < problem.parameters.size(); ++i) {
      if (std::isnan(problem.parameters[i])) problem.parameters[i] = 0;
    }
    problem.fill.Fill(0);
    CHECK_NEAR(problem.Product(problem.Samples(), problem.grad_output),
               problem.Product(problem.GradData(), problem.data), 1e-12);
  });
}

// Moves all coordinates to where no kink is within a few steps.
void AvoidKinks(const Memory<double>& coordinates) {
  for (int64_t i = 0; i < coordinates.size(); ++i) {
    const double half = std::round(2 * coordinates[i]) / 2;
    if (std::abs(coordinates[i] - half) < 0.01) coordinates[i] = half + 0.01;
  }
}

TEST(GradientsAreDifferenceQuotients) {
  ForProblems(2, [](auto problem) {
    AvoidKinks(problem.parameters);
    const auto loss = [&] { return problem.Product(problem.Samples(), problem.grad_output); };
    const auto grad_data = problem.GradData(), grad_points = problem.GradPoints();
    for (int64_t i = 0; i < problem.data.size(); i += 7) {
      CHECK_NEAR(grad_data[i], Quotient(&problem.data[i], loss), 1e-8);
    }
    for (int64_t i = 0; i < problem.parameters.size(); i += 3) {
      CHECK_NEAR(grad_points[i], Quotient(&problem.parameters[i], loss), 1e-8);
    }
  });
}

TEST(GradientsOfGradientsAreDifferenceQuotients) {
  ForProblems(2, [](auto problem) {
    AvoidKinks(problem.parameters);
    const auto directed = [&] { return problem.Directed(); };
    const auto of_output = problem.SecondSamples(), of_data = problem.SecondGradData(),
               of_points = problem.SecondGradPoints();
    for (int64_t i = 0; i < problem.data.size(); i += 13) {
      CHECK_NEAR(of_data[i], Quotient(&problem.data[i], directed), 1e-8);
    }
    for (int64_t i = 0; i < problem.parameters.size(); i += 5) {
      CHECK_NEAR(of_points[i], Quotient(&problem.parameters[i], directed), 1e-7);
    }
    for (int64_t i = 0; i < problem.grad_output.size(); i += 11) {
      CHECK_NEAR(of_output[i], Quotient(&problem.grad_output[i], directed), 1e-8);
    }
  });
}

// Of what is found for points.  For data, RunOnCpu() asks the loops for no such thing.
TEST(AnAbsentDirectionIsZero) {
  ForProblems(2, [](auto problem) {
    using Stencil = typename decltype(problem)::StencilType;
    for (const bool of_points : {true, false}) {
      auto with_zero = problem.SecondOrder(nullptr, nullptr, nullptr), without = with_zero;
      Memory<double> zero_data(problem.data.size()), zero_points(problem.parameters.size());
      zero_data.Fill(0);
      zero_points.Fill(0);
      if (of_points) {
        with_zero.grad_grad_points = zero_points.data();
        without.grad_grad_points = nullptr;
      } else {
        with_zero.grad_grad_data = zero_data.data();
        without.grad_grad_data = nullptr;
      }
      Memory<double> grad_points[2], samples[2];
      for (int i = 0; i < 2; ++i) {
        auto& call = i == 0 ? with_zero : without;
        grad_points[i] = Memory<double>(problem.parameters.size());
        samples[i] = Memory<double>(problem.grad_output.size());
        call.grad_points = grad_points[i].data();
        call.grad_grad_output = samples[i].data();
        problem.ForRuns(1000, [&](const Run& run) {
          GradientOfRun<Stencil>(problem.rules, call, run, nullptr);
        });
      }
      for (int64_t k = 0; k < samples[0].size(); ++k) CHECK(samples[0][k] == samples[1][k]);
      for (int64_t k = 0; k < grad_points[0].size(); ++k) {
        CHECK(grad_points[0][k] == grad_points[1][k]);
      }
    }
  });
}

template <int Rank>
void CheckMatrixGradient(bool is_shared) {
  using Stencil = LinearWithZeros<Rank>;
  using Points = MatrixPoints<Rank, double>;
  const auto problem = PointsProblem<Points>(is_shared);
  const Points& points = problem.points;
  const int64_t channels = problem.c.channels, per_item = points.points_per_item();
  const int64_t items = problem.sizes.points_per_image / per_item;
  CHECK(items == 2);
  const Memory<double> not_written(problem.parameters.size());
  const auto call = problem.Gradient(nullptr, not_written.data());
  for (int64_t n = 0; n < (is_shared ? 1 : 3); ++n) {
    for (int64_t item = 0; item < items; ++item) {
      // What is there already is added to.
      double sums[Points::kParameters], expected[Points::kParameters];
      for (int k = 0; k < Points::kParameters; ++k) sums[k] = expected[k] = k;
      const int64_t begin = item * per_item;
      GradientOfRun<Stencil>({}, call, {n, begin, begin + 7}, sums);
      GradientOfRun<Stencil>({}, call, {n, begin + 7, begin + per_item}, sums);
      for (int64_t image = n; image < (is_shared ? 3 : n + 1); ++image) {
        for (int64_t q = begin; q < begin + per_item; ++q) {
          double point[Rank], grad_point[Rank] = {};
          PointOf(points, image, q, point);
          const Stencil stencil({}, problem.sizes.image, point);
          AddPointGradient(
              stencil, Weights<Stencil>(stencil, nullptr), channels, call.image(image), call.fill,
              problem.grad_output.data() + (image * items * per_item + q) * channels, grad_point);
          int64_t pixel[Rank + 1];
          points.size.PixelOf(q - begin, pixel);
          pixel[Rank] = 1;
          for (int k = 0; k < points.parameters_per_item(); ++k) {
            expected[k] += grad_point[k / (Rank + 1)] * static_cast<double>(pixel[k % (Rank + 1)]);
          }
        }
      }
      for (int k = 0; k < Points::kParameters; ++k) CHECK_NEAR(sums[k], expected[k], 1e-12);
    }
  }
  for (int64_t i = 0; i < not_written.size(); ++i) CHECK(not_written.IsPoison(i));
}

TEST(MatrixGradientIsTheSumOverItsPoints) {
  for (const bool is_shared : {false, true}) {
    CheckMatrixGradient<2>(is_shared);
    CheckMatrixGradient<3>(is_shared);
  }
}

template <typename T>
void CheckHalfPixels() {
  const Extent<2> extent{{1, 2}, 1};
  const T image[] = {T(1), T(3)}, grad_output[] = {T(2)};
  const float point[] = {0.25f, 0};
  using Linear32 = LinearWithZeros<2, float>;
  const Linear32 stencil({}, extent, point);
  T output;
  SampleOf<Linear32, T>(stencil, extent, image, nullptr, &output);
  CHECK_NEAR(ToDouble(output), 1.5, 0);
  float grad_point[2] = {}, grad_image[2] = {};
  AddGradient<Linear32, T>(stencil, extent, image, nullptr, grad_output, grad_point);
  CHECK_NEAR(grad_point[0], 4, 0);
  CHECK_NEAR(grad_point[1], -3, 0);
  Scatter(stencil, Weights<Linear32>(stencil, nullptr), 1, grad_output, 0, 2, grad_image);
  CHECK_NEAR(grad_image[0], 1.5, 0);
  CHECK_NEAR(grad_image[1], 0.5, 0);
}

TEST(SumsOfHalfTypesAreFloats) {
  CheckHalfPixels<Half>();
  CheckHalfPixels<BFloat16>();
}

// Pixels of a type that is not in the list.
TEST(SamplesOfIntegersAreRounded) {
  const Extent<2> extent{{1, 2}, 1};
  const uint8_t image[] = {1, 2};
  using Linear32 = LinearWithZeros<2, float>;
  const auto sample = [&](float x) {
    const float point[] = {x, 0};
    uint8_t output;
    SampleOf<Linear32, uint8_t>(Linear32({}, extent, point), extent, image, nullptr, &output);
    return output;
  };
  CHECK(sample(0) == 1 && sample(0.5f) == 2 && sample(0.25f) == 1 && sample(-0.5f) == 0);
  CHECK(sample(static_cast<float>(kNaN)) == 0);
}

// Modes and shapes

// Names that are almost those of a list, and names of another list.
template <typename Mode, size_t kCount, size_t kOthers>
void CheckNames(const std::string_view (&names)[kCount], const Mode (&modes)[kCount],
                const std::string_view (&others)[kOthers]) {
  for (size_t i = 0; i < kCount; ++i) {
    Mode mode = modes[(i + 1) % kCount];
    CHECK(ParseMode(names, names[i], &mode) && mode == modes[i]);
    const std::string name(names[i]);
    std::string upper = name;
    upper[0] = static_cast<char>(std::toupper(upper[0]));
    for (const std::string& wrong : {name + " ", name + "s", name.substr(1), upper,
                                     name.substr(0, name.size() - 1), std::string()}) {
      CHECK(!ParseMode(names, wrong, &mode) && mode == modes[i]);
    }
    for (const std::string_view other : others) {
      CHECK(!ParseMode(names, other, &mode) && mode == modes[i]);
    }
  }
}

TEST(ModesAreFoundByTheNamesOfTheLists) {
  CheckNames(kInterpolationNames, kInterpolations, kPaddingNames);
  CheckNames(kPaddingNames, kPaddings, kInterpolationNames);
  const std::string_view interpolations[] = {"nearest", "linear", "cubic"};
  const std::string_view paddings[] = {"zeros", "border", "reflect", "symmetric", "wrap"};
  CHECK(std::equal(std::begin(interpolations), std::end(interpolations),
                   std::begin(kInterpolationNames), std::end(kInterpolationNames)));
  CHECK(std::equal(std::begin(paddings), std::end(paddings), std::begin(kPaddingNames),
                   std::end(kPaddingNames)));
}

TEST(TapsOfModesAreThoseOfTheirPolicies) {
  int most = 0;
  for (const InterpolationMode mode : kInterpolations) {
    VisitInterpolation(mode, [&](auto tag) {
      CHECK(TapsOf(mode) == decltype(tag)::type::kTaps);
      most = std::max(most, decltype(tag)::type::kTaps);
    });
  }
  CHECK(kMostTaps == most);
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
  CHECK((std::is_same_v<Coordinate<Half>, float>));
  CHECK((std::is_same_v<Coordinate<BFloat16>, float>));
}

TEST(ShapesAreCheckedAsFarAsTheyAreKnown) {
  const PartialShape unknown;
  const PartialShape data({2, 5, 5, 3}), warp({2, 4, 2}), late({-1, -1, -1, -1});
  CHECK(CheckResamplerShapes(kWarp, data, warp).empty());
  CHECK(CheckResamplerShapes(kWarp, unknown, unknown).empty());
  CHECK(CheckResamplerShapes(kWarp, late, warp).empty());
  CHECK(CheckResamplerShapes(kWarp, unknown, PartialShape({2, 3})).empty());
  CHECK(CheckResamplerShapes(kWarp, unknown, PartialShape({2, 4})) ==
        "`warp` must have shape [batch, ..., 2] or [batch, ..., 3], received [2, 4]");
  CHECK(CheckResamplerShapes(kWarp, data, PartialShape({2, 3})) ==
        "`warp` must have shape [batch, ..., 2], received [2, 3]");
  CHECK(!CheckResamplerShapes(kWarp, PartialShape({2, 5, 5, 5, 3}), warp).empty());
  CHECK(CheckResamplerShapes(kWarp, PartialShape({1, 5, 5, 3}), warp).empty());
  CHECK(CheckResamplerShapes(kWarp, data, PartialShape({1, 4, 2})).empty());
  CHECK(!CheckResamplerShapes(kWarp, PartialShape({3, 5, 5, 3}), warp).empty());
  CHECK(!CheckResamplerShapes(kWarp, PartialShape({2, 0, 5, 3}), warp).empty());
  CHECK(CheckResamplerShapes(kWarp, PartialShape({2, 0, 5, 3}), PartialShape({2, 0, 2})).empty());
  CHECK(CheckResamplerShapes(kWarp, PartialShape({2, 0, 5, 3}), PartialShape({2, -1, 2})).empty());
  CHECK(CheckResamplerGradShapes(kWarp, data, warp, PartialShape({2, 4, 3})).empty());
  CHECK(CheckResamplerGradShapes(kWarp, data, warp, PartialShape({2, -1, -1})).empty());
  CHECK(CheckResamplerGradShapes(kWarp, data, warp, unknown).empty());
  CHECK(!CheckResamplerGradShapes(kWarp, data, warp, PartialShape({2, 4})).empty());
  CHECK(!CheckResamplerGradShapes(kWarp, data, unknown, PartialShape({3})).empty());
  CHECK(!CheckResamplerGradShapes(kWarp, unknown, warp, PartialShape({2, 5, 3})).empty());
  const PartialShape one({1, 5, 5, 3}), grad_output({2, 4, 3}), none({0});
  CHECK(CheckResamplerGradShapes(kWarp, one, warp, grad_output).empty());
  CHECK(!CheckResamplerGradShapes(kWarp, one, warp, PartialShape({1, 4, 3})).empty());
  CHECK(CheckResamplerDirections(kWarp, one, warp, none, none).empty());
  CHECK(CheckResamplerDirections(kWarp, one, warp, one, warp).empty());
  CHECK(!CheckResamplerDirections(kWarp, one, warp, data, warp).empty());
  CHECK(!CheckResamplerDirections(kWarp, one, warp, one, one).empty());
}

TEST(ShapesOfProjectiveMatricesAreChecked) {
  const PartialShape data({2, 5, 5, 3}), volumes({2, 5, 5, 5, 3}), unknown;
  CHECK(CheckMatrixResamplerShapes(true, data, PartialShape({2, 3, 3}), unknown).empty());
  CHECK(CheckMatrixResamplerShapes(true, volumes, PartialShape({1, 7, 4, 4}), unknown).empty());
  CHECK(CheckMatrixResamplerShapes(true, data, PartialShape({2, 2, 3}), unknown) ==
        "`matrix` must have shape [batch, ..., 3, 3], received [2, 2, 3]");
  CHECK(CheckMatrixResamplerShapes(true, unknown, PartialShape({2, 3, 4}), unknown) ==
        "`matrix` must have shape [batch, ..., 3, 3] or [batch, ..., 4, 4], received [2, 3, 4]");
}

TEST(ShapesOfDisplacementsAreChecked) {
  const PartialShape data({2, 5, 5, 3}), volumes({2, 5, 5, 5, 3}), unknown;
  const auto check = [](const PartialShape& images, std::vector<int64_t> displacement) {
    return CheckResamplerShapes(kDisplacement, images, PartialShape(std::move(displacement)));
  };
  CHECK(check(data, {2, 4, 4, 2}).empty());
  CHECK(check(data, {1, 7, 4, 4, 2}).empty());
  CHECK(check(volumes, {2, 4, 4, 4, 3}).empty());
  CHECK(check(unknown, {2, 4, 4, 2}).empty());
  CHECK(check(unknown, {2, 4, 4, -1}).empty());
  CHECK(check(data, {2, 4, 2}) ==
        "`displacement` must have shape [batch, ..., height, width, 2], received [2, 4, 2]");
  CHECK(!check(volumes, {2, 4, 4, 3}).empty());
  CHECK(!check(data, {2, 4, 4, 3}).empty());
  CHECK(!check(unknown, {2, 4, -1}).empty());
  CHECK(check(data, {3, 4, 4, 2}) ==
        "`data` and `displacement` must have the same batch size, or one of them 1, received "
        "`data` of shape [2, 5, 5, 3] and `displacement` of shape [3, 4, 4, 2]");
  CHECK(check(PartialShape({2, 0, 5, 3}), {2, 4, 0, 2}).empty());
  CHECK(!check(PartialShape({2, 0, 5, 3}), {2, 4, 4, 2}).empty());
  CHECK(CheckResamplerDirections(kDisplacement, data, PartialShape({2, 4, 4, 2}), data, data) ==
        "`grad_grad_displacement` must have shape of `displacement`, [2, 4, 4, 2], or [0], "
        "received [2, 5, 5, 3]");
}

TEST(ShapesOfTheAffineResamplerAreChecked) {
  const PartialShape data({2, 5, 5, 3}), volumes({2, 5, 5, 5, 3}), unknown, size({4, 4});
  CHECK(CheckMatrixResamplerShapes(false, data, PartialShape({2, 2, 3}), size).empty());
  CHECK(CheckMatrixResamplerShapes(false, data, PartialShape({1, 7, 2, 3}), size).empty());
  CHECK(CheckMatrixResamplerShapes(false, volumes, PartialShape({2, 3, 4}), unknown).empty());
  CHECK(CheckMatrixResamplerShapes(false, unknown, PartialShape({2, 3, 4}), unknown).empty());
  CHECK(CheckMatrixResamplerShapes(false, data, PartialShape({2, 3, 4}), size) ==
        "`matrix` must have shape [batch, ..., 2, 3], received [2, 3, 4]");
  CHECK(!CheckMatrixResamplerShapes(false, volumes, PartialShape({2, 2, 3}), unknown).empty());
  CHECK(!CheckMatrixResamplerShapes(false, data, PartialShape({3, 2, 3}), size).empty());
  CHECK(CheckMatrixResamplerGradShapes(false, data, PartialShape({2, 7, 2, 3}),
                                       PartialShape({2, 7, 4, 4, 3}))
            .empty());
  CHECK(!CheckMatrixResamplerGradShapes(false, data, PartialShape({2, 7, 2, 3}),
                                        PartialShape({2, 6, 4, 4, 3}))
             .empty());
}

}  // namespace
}  // namespace tf_stn

int main() { return tf_stn::RunAllTests(); }

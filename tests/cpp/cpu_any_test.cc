// Holds the CPU's loops for every mode, rank and order, for every instruction set that this
// processor has, against the plain loops of cc/core.  Run plainly and under sanitizers, so
// all memory here ends where its last element does.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <random>
#include <type_traits>
#include <vector>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/core/modes.h"
#include "cc/core/resample.h"
#include "cc/core/stencil.h"
#include "cc/kernels/resampler.h"
#include "cc/kernels/resampler_cpu.h"
#include "tests/cpp/check.h"
#include "tests/cpp/cpu_support.h"

namespace tf_stn {
namespace {

enum class Sharing { kNone, kPoints };

struct Case {
  Modes modes;
  Sharing sharing;
  int64_t images, channels, points;  // Points of an image; rounded to outputs' pixels.
  std::vector<int64_t> size;
  bool has_fill, has_image_term, is_directed;
  Place place;
  int shift;
  unsigned seed;
};

const char* running_isa;
const char* running_type;
const Case* running;

void Fail(const char* what, int64_t i, double result, double expected) {
  ++failures;
  const Case& c = *running;
  std::printf(
      "%s of %s, %s: rank %d interpolation %d padding %d fill %d shared %d terms %d%d images %d "
      "channels %d points %d size %dx%d place %d seed %u: [%d] is %.17g, expected %.17g\n",
      what, running_isa, running_type, static_cast<int>(c.size.size()),
      static_cast<int>(c.modes.interpolation), static_cast<int>(c.modes.padding), c.has_fill,
      c.sharing == Sharing::kPoints, c.has_image_term, c.is_directed, static_cast<int>(c.images),
      static_cast<int>(c.channels), static_cast<int>(c.points),
      static_cast<int>(c.size[c.size.size() - 2]), static_cast<int>(c.size.back()),
      static_cast<int>(c.place), c.seed, static_cast<int>(i), result, expected);
}

// Equal but for rounding, of sums of numbers of size `scale`.
template <typename T>
void CheckEqual(const char* what, const Memory<T>& result, const Memory<T>& expected,
                double scale) {
  constexpr double kSums = 16 * kRounding<Coordinate<T>>;
  constexpr bool kIsHalf = sizeof(T) == 2;
  for (int64_t i = 0; i < expected.size(); ++i) {
    const double a = ToDouble(result[i]), b = ToDouble(expected[i]);
    const double tolerance = kSums * scale + (kIsHalf ? 2 * kRounding<T> * std::abs(b) : 0);
    if (!Near(a, b, std::isfinite(b) ? tolerance : 0)) return Fail(what, i, a, b);
  }
}

template <typename T>
void CheckSameBits(const char* what, const Memory<T>& result, const Memory<T>& expected) {
  for (int64_t i = 0; i < expected.size(); ++i) {
    const double a = ToDouble(result[i]), b = ToDouble(expected[i]);
    if (!SameBits(result[i], expected[i]) && !(std::isnan(a) && std::isnan(b))) {
      return Fail(what, i, a, b);
    }
  }
}

template <typename Points>
constexpr bool kIsAffine =
    std::is_same_v<Points, AffinePoints<Points::kRank, typename Points::Real>>;

template <typename Points, typename T>
struct Problem {
  using Real = Coordinate<T>;
  static constexpr int kRank = Points::kRank;

  explicit Problem(const Case& which) : c(which), rng(which.seed) {
    for (int d = 0; d < kRank; ++d) sizes.image.size[d] = c.size[static_cast<size_t>(d)];
    sizes.image.channels = c.channels;
    sizes.images = c.images;
    sizes.points_per_image = c.points;
    const int64_t stored_images = c.sharing == Sharing::kPoints ? 1 : c.images;
    if constexpr (kIsAffine<Points>) {
      for (int d = 0; d < kRank; ++d) points.size[d] = 1 + static_cast<int64_t>(rng() % 6);
      points.size[kRank - 1] = 1 + c.points % 90;
      sizes.points_per_image = kOutputs * points.output_points();
      points.stored = kOutputs * stored_images;
      points.per_image = c.sharing == Sharing::kPoints ? 0 : kOutputs;
      coordinates = Memory<Real>(points.stored * Points::kParameters, c.shift);
      // Exact in all types, with and without fused arithmetic.
      for (int64_t i = 0; i < coordinates.size(); ++i) {
        coordinates[i] = static_cast<Real>(static_cast<int>(rng() % 24) - 8) / 8;
      }
      points.matrix = coordinates.data();
    } else {
      points.stored = stored_images * c.points;
      points.per_image = c.sharing == Sharing::kPoints ? 0 : c.points;
      coordinates = Memory<Real>(points.stored * kRank, c.shift);
      for (int64_t i = 0; i < coordinates.size(); ++i) {
        const int64_t side = sizes.image.size[kRank - 1 - i % kRank];
        coordinates[i] = static_cast<Real>(AnyCoordinate(rng, c.place, side));
      }
      points.warp = coordinates.data();
      directions = Random<Real>(coordinates.size());
    }
    data = Random<T>(c.images * sizes.image.elements());
    // So that on pixel centres signs of zeros tell what was added to them.
    for (int64_t i = 0; i < data.size(); i += 3) data[i] = FromDouble<T>(-0.0);
    image_term = Random<T>(data.size());
    fill = Random<T>(c.channels);
    grad_output = Random<T>(sizes.points() * c.channels);
  }

  template <typename Number>
  Memory<Number> Random(int64_t count) {
    Memory<Number> memory(count, c.shift);
    std::uniform_real_distribution<double> value(-1, 1);
    for (int64_t i = 0; i < count; ++i) memory[i] = FromDouble<Number>(value(rng));
    return memory;
  }

  const T* FillOrNull() const { return c.has_fill ? fill.data() : nullptr; }

  // The terms are those of a first or of a second order.
  CpuSampling<Points, T> Sampling() const {
    CpuSampling<Points, T> sampling{c.modes, sizes, points, nullptr, {}, 0, grad_output.data()};
    if (!c.is_directed) {
      sampling.terms[sampling.terms_count++] = {data.data(), FillOrNull(), false};
      return sampling;
    }
    sampling.directions = directions.data();
    if (c.has_image_term)
      sampling.terms[sampling.terms_count++] = {image_term.data(), nullptr, false};
    sampling.terms[sampling.terms_count++] = {data.data(), FillOrNull(), true};
    return sampling;
  }

  static constexpr int64_t kOutputs = 2;
  Case c;
  std::mt19937 rng;
  ResamplerSizes<kRank> sizes{};
  Points points{};
  Memory<Real> coordinates, directions;
  Memory<T> data, image_term, fill, grad_output;
};

template <typename Points, typename T>
struct Results {
  using Real = Coordinate<T>;
  Memory<T> samples;
  Memory<Real> grad_points, grad_data;
};

template <typename Points, typename T>
Results<Points, T> MakeResults(const Problem<Points, T>& problem) {
  return {Memory<T>(problem.grad_output.size()), Memory<Coordinate<T>>(problem.coordinates.size()),
          Memory<Coordinate<T>>(problem.data.size())};
}

template <typename Points, typename T>
Results<Points, T> ResultsOfCore(const Problem<Points, T>& problem) {
  Results<Points, T> results = MakeResults(problem);
  const auto& sizes = problem.sizes;
  const Case& c = problem.c;
  VisitStencil<Points::kRank, Coordinate<T>>(c.modes, [&](auto tag, const auto& rules) {
    using Stencil = typename decltype(tag)::type;
    const Images<Stencil, T> images{rules,
                                    sizes.image,
                                    sizes.images,
                                    sizes.points_per_image,
                                    problem.data.data(),
                                    problem.FillOrNull()};
    const SecondOrder<Stencil, T> second{problem.grad_output.data(),
                                         c.has_image_term ? problem.image_term.data() : nullptr,
                                         problem.directions.data()};
    const T* const grad_output = problem.grad_output.data();
    for (int64_t n = 0; n < sizes.images; ++n) {
      auto* const grad_image = results.grad_data.data() + n * sizes.image.elements();
      if (c.is_directed) {
        SecondOrderDataGradientOfRows(images, problem.points, second, n, 0, sizes.image.size[0],
                                      grad_image);
      } else {
        DataGradientOfRows(images, problem.points, grad_output, n, 0, sizes.image.size[0],
                           grad_image);
      }
    }
    if (c.is_directed) {
      SecondOrderSamples(images, problem.points, second, 0, sizes.points(), results.samples.data());
    } else {
      SamplePoints(images, problem.points, 0, sizes.points(), results.samples.data());
    }
    if constexpr (kIsAffine<Points>) {
      MatrixGradients(images, problem.points, grad_output, 0, problem.points.stored,
                      results.grad_points.data());
    } else if (c.is_directed) {
      SecondOrderWarpGradient(images, problem.points, second, 0, problem.points.stored,
                              results.grad_points.data());
    } else {
      WarpGradientOfPoints(images, problem.points, grad_output, 0, problem.points.stored,
                           results.grad_points.data());
    }
  });
  return results;
}

// By loops, with points and rows divided at these places, last part first.
template <typename Points, typename T>
Results<Points, T> ResultsOfLoops(const Problem<Points, T>& problem,
                                  const AnyCpuLoops<Points, T>& loops, bool in_parts) {
  Results<Points, T> results = MakeResults(problem);
  const auto& sizes = problem.sizes;
  const auto sampling = problem.Sampling();
  const auto in_order = [&](int64_t count, int64_t step, const auto& body) {
    for (int64_t end = count; end > 0;) {
      const int64_t begin = in_parts ? (end - 1) / step * step : 0;
      body(begin, end);
      end = begin;
    }
  };
  in_order(sizes.points(), 37, [&](int64_t begin, int64_t end) {
    loops.sample(sampling, begin, end, results.samples.data());
  });
  if constexpr (kIsAffine<Points>) {
    std::vector<double> total(Points::kParameters), part(Points::kParameters);
    for (int64_t i = 0; i < problem.points.stored; ++i) {
      std::fill(total.begin(), total.end(), 0);
      in_order(problem.points.output_points(), 50, [&](int64_t begin, int64_t end) {
        loops.matrix_gradient(sampling, i, begin, end, part.data());
        for (size_t k = 0; k < part.size(); ++k) total[k] += part[k];
      });
      for (size_t k = 0; k < part.size(); ++k) {
        results.grad_points[i * Points::kParameters + static_cast<int64_t>(k)] =
            static_cast<Coordinate<T>>(total[k]);
      }
    }
  } else {
    in_order(problem.points.stored, 29, [&](int64_t begin, int64_t end) {
      loops.warp_gradient(sampling, begin, end, results.grad_points.data());
    });
  }
  const int64_t number = (sizes.points_per_image + kRangePoints - 1) / kRangePoints;
  std::vector<RowRange> ranges(static_cast<size_t>(number));
  for (int64_t n = 0; n < sizes.images; ++n) {
    in_order(number, 1, [&](int64_t begin, int64_t end) {
      loops.find_rows(sampling, n, begin, end, ranges.data());
    });
    in_order(sizes.image.size[0], 2, [&](int64_t begin, int64_t end) {
      loops.scatter(sampling, n, begin, end, in_parts ? ranges.data() : nullptr,
                    results.grad_data.data() + n * sizes.image.elements());
    });
  }
  return results;
}

// The second order of bilinear images, by the loops of its own: in bands of rows, with ranges
// or without, or if `in_parts` is false as one task for each image.
template <typename T>
Results<WarpPoints<2, Coordinate<T>>, T> ResultsOfSecondOrder(
    const Problem<WarpPoints<2, Coordinate<T>>, T>& problem, const Isa& isa, bool in_parts) {
  using Points = WarpPoints<2, Coordinate<T>>;
  Results<Points, T> results = MakeResults(problem);
  const auto& sizes = problem.sizes;
  const T* const image_term = problem.c.has_image_term ? problem.image_term.data() : nullptr;
  Memory<T> grad_data(problem.data.size());
  const WarpGradGradArguments<T> arguments{problem.c.modes,
                                           sizes,
                                           problem.data.data(),
                                           nullptr,
                                           problem.points,
                                           problem.grad_output.data(),
                                           image_term,
                                           problem.directions.data(),
                                           grad_data.data(),
                                           results.grad_points.data(),
                                           results.samples.data()};
  const ResamplerGradArguments<Points, T> of_first_order{
      problem.c.modes, sizes,          problem.data.data(),
      nullptr,         problem.points, problem.grad_output.data(),
      nullptr,         nullptr};
  const int64_t number = (sizes.points_per_image + kRangePoints - 1) / kRangePoints;
  std::vector<RowRange> ranges(static_cast<size_t>(number));
  for (int64_t n = 0; n < sizes.images; ++n) {
    LoopsOf<Points, T>(isa).find_rows(of_first_order, n, 0, number, ranges.data());
    const int64_t rows = sizes.image.size[0], step = in_parts ? 2 : rows;
    for (int64_t begin = (rows - 1) / step * step; begin >= 0; begin -= step) {
      const GradientTask task{n, 0, sizes.points_per_image, begin, std::min(rows, begin + step)};
      SecondOrderLoopsOf<T>(isa).gradients(arguments, task, in_parts ? ranges.data() : nullptr,
                                           results.grad_data.data());
    }
  }
  return results;
}

template <typename Points, typename T>
void CheckProblem(const Isa& isa, const Case& c) {
  running_isa = isa.name;
  running_type = kTypeName<T>;
  running = &c;
  const Problem<Points, T> problem(c);
  const Results<Points, T> expected = ResultsOfCore(problem);
  const auto& loops = AnyLoopsOf<Points, T>(isa);
  const Results<Points, T> whole = ResultsOfLoops(problem, loops, false);
  const Results<Points, T> parts = ResultsOfLoops(problem, loops, true);
  const auto channels = static_cast<double>(c.channels);
  const auto images = static_cast<double>(c.images);
  // Weights of cubic interpolation and their derivatives are greater than one.
  const double size = c.modes.interpolation == InterpolationMode::kCubic ? 30 : 1;
  const auto points = static_cast<double>(problem.sizes.points_per_image);
  CheckEqual("samples", whole.samples, expected.samples, 4 * size);
  if (!kIsAffine<Points> && c.place == Place::kCentres && !c.is_directed) {
    for (int64_t i = 0; i < expected.samples.size(); ++i) {
      const double a = ToDouble(whole.samples[i]), b = ToDouble(expected.samples[i]);
      if (std::signbit(a) != std::signbit(b)) return Fail("signs of samples", i, a, b);
    }
  }
  CheckEqual("gradients of data", whole.grad_data, expected.grad_data, size * points);
  const double sums = kIsAffine<Points> ? 90 * points : 1;
  CheckEqual("gradients of points", whole.grad_points, expected.grad_points,
             4 * size * sums * channels * images);
  CheckSameBits("samples in parts", parts.samples, whole.samples);
  CheckSameBits("gradients of data in bands", parts.grad_data, whole.grad_data);
  if constexpr (Points::kRank == 2 && !kIsAffine<Points>) {
    if (!c.is_directed || !c.modes.is_linear_with_zeros() || c.has_fill ||
        c.sharing == Sharing::kPoints) {
      return CheckSameBits("gradients of points in parts", parts.grad_points, whole.grad_points);
    }
    const Results<Points, T> own = ResultsOfSecondOrder(problem, isa, false);
    const Results<Points, T> in_bands = ResultsOfSecondOrder(problem, isa, true);
    CheckEqual("second order of data", own.samples, expected.samples, 4);
    CheckEqual("gradients of data of second order", own.grad_data, expected.grad_data, points);
    CheckEqual("gradients of points of second order", own.grad_points, expected.grad_points,
               4 * channels);
    CheckSameBits("second order of data in bands", in_bands.samples, own.samples);
    CheckSameBits("gradients of data of second order in bands", in_bands.grad_data, own.grad_data);
    CheckSameBits("gradients of points of second order in bands", in_bands.grad_points,
                  own.grad_points);
  }
  if (!kIsAffine<Points>) {
    CheckSameBits("gradients of points in parts", parts.grad_points, whole.grad_points);
  }
}

// Cases whose numbers of points and channels go through the residues of vectors.
class Chooser {
 public:
  Case Any(int rank, InterpolationMode interpolation, PaddingMode padding) {
    Case c{};
    c.modes.interpolation = interpolation;
    c.modes.padding = padding;
    c.sharing = Choose(4) == 0 ? Sharing::kPoints : Sharing::kNone;
    c.images = 1 + Choose(2);
    const int64_t channels[] = {1, 1, 2, 3, 3, 4, 5, 7, 16, 19, 33};
    c.channels = channels[Choose(std::size(channels))];
    c.points = 1 + Choose(Choose(3) == 0 ? 600 : 140);
    for (int d = 0; d < rank; ++d) c.size.push_back(2 + Choose(7));
    if (rank == 3 && Choose(3) == 0) c.size[0] = 1;
    c.has_fill = padding == PaddingMode::kZeros && Choose(2) == 0;
    c.place = kPlaces[Choose(std::size(kPlaces))];
    c.shift = static_cast<int>(Choose(5));
    c.seed = static_cast<unsigned>(rng_());
    return c;
  }

  Case SecondOrder(Case c) {
    c.is_directed = true;
    c.has_image_term = Choose(2) == 0;
    return c;
  }

 private:
  int64_t Choose(size_t count) { return static_cast<int64_t>(rng_() % count); }
  std::mt19937 rng_{7};
};

template <int Rank, typename T>
void CheckEveryMode(int rounds) {
  Chooser choose;
  using Warp = WarpPoints<Rank, Coordinate<T>>;
  using Affine = AffinePoints<Rank, Coordinate<T>>;
  for (const Isa& isa : Isas()) {
    if (!isa.is_here) continue;
    for (const auto interpolation :
         {InterpolationMode::kNearest, InterpolationMode::kLinear, InterpolationMode::kCubic}) {
      for (const auto padding : {PaddingMode::kZeros, PaddingMode::kBorder, PaddingMode::kReflect,
                                 PaddingMode::kSymmetric, PaddingMode::kWrap}) {
        for (int i = 0; i < rounds; ++i) {
          const Case c = choose.Any(Rank, interpolation, padding);
          CheckProblem<Warp, T>(isa, c);
          CheckProblem<Warp, T>(isa, choose.SecondOrder(c));
          if (c.place == Place::kInside) continue;  // Places are those of warps.
          CheckProblem<Affine, T>(isa, c);
        }
      }
    }
  }
}

// Of what has loops of its own.
template <typename T>
void CheckSecondOrder() {
  Chooser choose;
  for (const Isa& isa : Isas()) {
    if (!isa.is_here) continue;
    for (int i = 0; i < 120; ++i) {
      Case c = choose.Any(2, InterpolationMode::kLinear, PaddingMode::kZeros);
      c.has_fill = false;
      c.sharing = Sharing::kNone;
      CheckProblem<WarpPoints<2, Coordinate<T>>, T>(isa, choose.SecondOrder(c));
    }
  }
}

TEST(SecondOrderOfFloats) { CheckSecondOrder<float>(); }
TEST(SecondOrderOfDoubles) { CheckSecondOrder<double>(); }
TEST(SecondOrderOfHalves) { CheckSecondOrder<Half>(); }
TEST(SecondOrderOfBFloat16) { CheckSecondOrder<BFloat16>(); }

TEST(ImagesOfFloats) { CheckEveryMode<2, float>(8); }
TEST(ImagesOfDoubles) { CheckEveryMode<2, double>(8); }
TEST(ImagesOfHalves) { CheckEveryMode<2, Half>(5); }
TEST(ImagesOfBFloat16) { CheckEveryMode<2, BFloat16>(5); }
TEST(VolumesOfFloats) { CheckEveryMode<3, float>(4); }
TEST(VolumesOfDoubles) { CheckEveryMode<3, double>(4); }
TEST(VolumesOfHalves) { CheckEveryMode<3, Half>(2); }
TEST(VolumesOfBFloat16) { CheckEveryMode<3, BFloat16>(2); }

}  // namespace
}  // namespace tf_stn

int main() {
  for (const tf_stn::Isa& isa : tf_stn::Isas()) {
    if (!isa.is_here) std::printf("skipped: this processor has no %s\n", isa.name);
  }
  return tf_stn::RunAllTests();
}

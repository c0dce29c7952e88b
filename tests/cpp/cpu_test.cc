// Holds the CPU's loops, for every instruction set that this processor has, against the
// plain loops of cc/core: over all residues of vectors' widths, all alignments and all
// edge rules.  Run plainly and under sanitizers, so all memory here ends where its last
// element does.

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <random>
#include <type_traits>
#include <utility>
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

struct Case {
  int64_t images, height, width, channels;
  int64_t rows, columns;  // Of the points; a warp has their product.
  int shift;
  Place place;
  bool odd_values;  // NaN, infinities and -0 among pixels and gradients.
  unsigned seed;
};

// The matrix of an image.  Its numbers are such that coordinates are exact, with and
// without fused arithmetic, unless they are far outside.
template <typename Real>
void FillMatrix(std::mt19937& rng, const Case& c, Real* matrix) {
  const auto eighths = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low * 8, high * 8)(rng) / 8.0;
  };
  const double across = static_cast<double>(c.width), down = static_cast<double>(c.height);
  double m[6] = {1, 0, 0, 0, 1, 0};
  if (c.place == Place::kInside) {
    const double values[] = {1 / 64.0, 0, 0.25, 0, 1 / 64.0, 0.5};
    std::copy(std::begin(values), std::end(values), m);
  } else if (c.place == Place::kAnywhere || c.place == Place::kNear) {
    const int kind = static_cast<int>(rng() % 14);
    for (double& value : m) value = eighths(-2, 2);
    if (kind == 0) m[0] = -1, m[2] = across - 1, m[1] = m[3] = m[5] = 0, m[4] = 1;  // A flip.
    if (kind == 1) m[0] = m[4] = 0, m[1] = 1, m[3] = -1, m[5] = down;  // A quarter turn.
    if (kind == 2) m[0] = m[1] = m[3] = m[4] = 0;                      // A single place.
    if (kind == 3) m[3] = m[4] = 0;
    if (kind == 4) m[rng() % 6] = kNaN;
    if (kind == 5) m[rng() % 6] = kInf;
    if (kind == 6) m[rng() % 6] = -kInf, m[rng() % 6] = kInf;
    if (kind == 7) m[rng() % 6] = rng() % 2 == 0 ? 1e30 : -1e30;
    if (kind == 8) m[2] = 1e6;  // Nothing of the image.
    if (kind == 9) m[0] = 0.125, m[2] = -16;
    if (kind == 10) m[0] = -0.25, m[3] = 0.125, m[2] = across + 20, m[5] = -10;
    if (kind == 11) m[0] = 64, m[2] = -128;
    if (kind == 12) m[3] = 0.125, m[4] = 0.5, m[5] = -5;
  } else if (c.place == Place::kMostlyInside) {
    m[0] = m[4] = 0.125;
    m[2] = m[5] = 0.0625;
  } else if (c.place == Place::kCancelling) {
    const double column = static_cast<double>(rng() % static_cast<unsigned>(c.columns));
    for (const int d : {0, 3}) {
      const double far[] = {0.7e5, 1.1e7, 3.3e14};
      m[d] = far[rng() % 3];
      m[d + 1] = 0;
      m[d + 2] = -m[d] * column;
    }
  }
  for (int i = 0; i < 6; ++i) matrix[i] = static_cast<Real>(m[i]);
}

// Says of what a comparison is, if it fails.
struct Context {
  Case c;
  const char* type;
  const char* points;
  const char* isa;
};
Context context;

void Fail(const char* what, int64_t i, double result, double expected) {
  ++failures;
  const Case& c = context.c;
  std::printf(
      "%s of %s, %s, %s: images %d size %dx%d channels %d points %dx%d shift %d place %d odd %d "
      "seed %u: [%d] is %.17g, expected %.17g\n",
      what, context.isa, context.type, context.points, static_cast<int>(c.images),
      static_cast<int>(c.height), static_cast<int>(c.width), static_cast<int>(c.channels),
      static_cast<int>(c.rows), static_cast<int>(c.columns), c.shift, static_cast<int>(c.place),
      c.odd_values, c.seed, static_cast<int>(i), result, expected);
}

// Checks that two results are equal but for rounding, and have the same infinities and NaN,
// and zeros if `signed_zeros`.  `scale` is the size of the numbers that were added up.
template <typename T>
void CheckEqual(const char* what, const Memory<T>& result, const Memory<T>& expected, double scale,
                bool signed_zeros = false) {
  if (context.c.place == Place::kCancelling) return;  // It matters which roundings are fused.
  constexpr double kSums = 4 * kRounding<Coordinate<T>>;
  constexpr bool kIsHalf = sizeof(T) == 2;
  for (int64_t i = 0; i < result.size(); ++i) {
    const double a = ToDouble(result[i]), b = ToDouble(expected[i]);
    const double tolerance = kSums * scale + (kIsHalf ? 2 * kRounding<T> * std::abs(b) : 0);
    const bool same_zero = !signed_zeros || a != 0 || b != 0 || std::signbit(a) == std::signbit(b);
    if (!Near(a, b, std::isfinite(b) ? tolerance : 0) || !same_zero) {
      return Fail(what, i, a, b);
    }
  }
}

template <typename T>
void CheckSameBits(const char* what, const Memory<T>& result, const Memory<T>& expected) {
  for (int64_t i = 0; i < result.size(); ++i) {
    const double a = ToDouble(result[i]), b = ToDouble(expected[i]);
    if (!SameBits(result[i], expected[i]) && !(std::isnan(a) && std::isnan(b))) {
      return Fail(what, i, a, b);
    }
  }
}

// Copies what has been written of `part` to `whole`, and checks that it was not there.
template <typename T>
void Merge(const char* what, const Memory<T>& part, const Memory<T>& whole, bool is_exclusive) {
  for (int64_t i = 0; i < part.size(); ++i) {
    if (part.IsPoison(i)) continue;
    if (is_exclusive && !whole.IsPoison(i))
      return Fail(what, i, ToDouble(part[i]), ToDouble(whole[i]));
    whole[i] = part[i];
  }
}

template <typename Points>
constexpr bool kIsAffine = std::is_same_v<Points, AffinePoints<2, typename Points::Real>>;

// What the loops are to compute, and what cc/core does.
template <typename Points, typename T>
struct Problem {
  using Real = Coordinate<T>;
  using CoreStencil = Stencil<2, Linear, Zeros, Real>;

  explicit Problem(const Case& which)
      : c(which),
        sizes{{{c.height, c.width}, c.channels}, c.images, c.rows * c.columns},
        data(c.images * sizes.image.elements(), c.shift),
        coordinates(kIsAffine<Points> ? 6 * c.images : 2 * sizes.points(), c.shift),
        grad_output(sizes.points() * c.channels, c.shift),
        rng(c.seed) {
    context = {c, kTypeName<T>, kIsAffine<Points> ? "affine" : "warp", "core"};
    std::uniform_real_distribution<double> value(-1, 1);
    const double odd_values[] = {kNaN, kInf, -kInf, -0.0};
    const auto fill = [&](const Memory<T>& memory) {
      for (int64_t i = 0; i < memory.size(); ++i) memory[i] = FromDouble<T>(value(rng));
      if (!c.odd_values) return;
      const int64_t step = 3 + static_cast<int64_t>(rng() % 40);
      for (int64_t i = 0; i < memory.size(); i += step) {
        memory[i] = FromDouble<T>(odd_values[rng() % std::size(odd_values)]);
      }
    };
    fill(data);
    fill(grad_output);
    if constexpr (kIsAffine<Points>) {
      for (int64_t n = 0; n < c.images; ++n) FillMatrix(rng, c, coordinates.data() + 6 * n);
      points = {coordinates.data(), 1, c.images, {c.rows, c.columns}};
    } else {
      for (int64_t i = 0; i < coordinates.size(); ++i) {
        coordinates[i] =
            static_cast<Real>(AnyCoordinate(rng, c.place, i % 2 == 0 ? c.width : c.height));
      }
      points = {coordinates.data(), sizes.points_per_image, sizes.points()};
    }
  }

  int64_t elements() const { return sizes.image.elements(); }
  Images<CoreStencil, T> images() const {
    return {{}, sizes.image, sizes.images, sizes.points_per_image, data.data(), nullptr};
  }
  int64_t ranges() const { return (sizes.points_per_image + kRangePoints - 1) / kRangePoints; }

  Case c;
  ResamplerSizes<2> sizes;
  Memory<T> data;
  Memory<Real> coordinates;
  Memory<T> grad_output;
  std::mt19937 rng;
  Points points;
};

template <typename Points, typename T>
Memory<T> SampleByCore(const Problem<Points, T>& problem) {
  const auto& sizes = problem.sizes;
  Memory<T> output(sizes.points() * sizes.image.channels);
  SamplePoints(problem.images(), problem.points, 0, sizes.points(), output.data());
  return output;
}

// Cuts [0, count) into parts at random multiples of `step`.
std::vector<int64_t> Cuts(std::mt19937& rng, int64_t count, int64_t step) {
  std::vector<int64_t> cuts = {0, count};
  const int64_t places = count / step;
  for (unsigned i = rng() % 4; i > 0 && places > 0; --i) {
    cuts.push_back(static_cast<int64_t>(rng() % static_cast<unsigned>(places)) * step);
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  return cuts;
}

template <typename Points, typename T>
void CheckSamples(Problem<Points, T>& problem, const CpuLoops<Points, T>& loops,
                  const Memory<T>& expected) {
  const int64_t count = problem.sizes.points(), channels = problem.sizes.image.channels;
  const auto sample = [&](const std::vector<int64_t>& cuts) {
    Memory<T> output(count * channels, problem.c.shift);
    // From the last part on, so that one that writes beyond its end spoils another.
    for (size_t i = cuts.size() - 1; i > 0; --i) {
      loops.sample(
          {Modes(), problem.sizes, problem.data.data(), nullptr, problem.points, output.data()},
          cuts[i - 1], cuts[i]);
      for (int64_t j = 0; i == cuts.size() - 1 && j < cuts[i - 1] * channels; ++j) {
        if (!output.IsPoison(j)) Fail("samples before the first", j, ToDouble(output[j]), 0);
      }
    }
    return output;
  };
  const Memory<T> whole = sample({0, count});
  // What is rounded to zero, in a product or at the end, has a sign that depends on when.
  const bool signed_zeros = sizeof(T) > 2 && problem.c.place != Place::kNear;
  CheckEqual("samples", whole, expected, 1, signed_zeros);
  CheckSameBits("samples in parts", sample(Cuts(problem.rng, count, 1)), whole);
  // So few that no columns are left out for where they are.
  std::vector<int64_t> short_parts;
  for (int64_t i = 0; i < count; i += 60) short_parts.push_back(i);
  short_parts.push_back(count);
  CheckSameBits("samples in short parts", sample(short_parts), whole);
}

template <typename T>
struct Gradients {
  using Real = Coordinate<T>;
  Memory<T> data;
  Memory<Real> points;  // Of a warp.
  Memory<Real> matrix;
};

template <typename Points, typename T>
Gradients<T> GradientsByCore(const Problem<Points, T>& problem) {
  using Real = Coordinate<T>;
  const auto& sizes = problem.sizes;
  const int64_t elements = problem.elements();
  Gradients<T> result{Memory<T>(problem.data.size()), Memory<Real>(sizes.points() * 2),
                      Memory<Real>(sizes.images * 6)};
  Memory<Real> sums(elements);
  for (int64_t n = 0; n < sizes.images; ++n) {
    DataGradientOfRows(problem.images(), problem.points, problem.grad_output.data(), n, 0,
                       sizes.image.size[0], sums.data());
    for (int64_t i = 0; i < elements; ++i) result.data[n * elements + i] = static_cast<T>(sums[i]);
  }
  if constexpr (kIsAffine<Points>) {
    MatrixGradients(problem.images(), problem.points, problem.grad_output.data(), 0, sizes.images,
                    result.matrix.data());
  } else {
    WarpGradientOfPoints(problem.images(), problem.points, problem.grad_output.data(), 0,
                         sizes.points(), result.points.data());
  }
  return result;
}

// Computes gradients task by task, each in memory of its own, so that what each has
// written can be told.
template <typename Points, typename T>
Gradients<T> GradientsByTasks(const Problem<Points, T>& problem, const CpuLoops<Points, T>& loops,
                              const std::vector<GradientTask>& tasks, bool of_data, bool of_points,
                              const RowRange* ranges) {
  using Real = Coordinate<T>;
  constexpr bool kSumsAreData = std::is_same_v<T, Real>;
  const auto& sizes = problem.sizes;
  const int shift = problem.c.shift;
  const auto make = [&](int shift_of_it) {
    return Gradients<T>{
        Memory<T>(of_data ? problem.data.size() : 0, shift_of_it),
        Memory<Real>(of_points ? (kIsAffine<Points> ? 6 * sizes.images : 2 * sizes.points()) : 0,
                     shift_of_it),
        Memory<Real>(of_points ? 6 * sizes.images : 0)};
  };
  Gradients<T> whole = make(0);
  std::vector<double> matrix(static_cast<size_t>(6 * sizes.images));
  const int64_t row_elements = sizes.image.row_elements();
  for (const GradientTask& task : tasks) {
    const Gradients<T> part = make(shift);
    const Memory<Real> copy(kSumsAreData || !of_data ? 0 : problem.data.size(), shift);
    Real* sums = nullptr;
    if constexpr (kSumsAreData) {
      sums = of_data ? part.data.data() : nullptr;
    } else {
      sums = of_data ? copy.data() : nullptr;
    }
    MatrixSums matrix_sums;
    loops.gradients(
        {Modes(), sizes, problem.data.data(), nullptr, problem.points, problem.grad_output.data(),
         of_data ? part.data.data() : nullptr, of_points ? part.points.data() : nullptr},
        task, ranges == nullptr ? nullptr : ranges + task.image * problem.ranges(), sums,
        kIsAffine<Points> ? &matrix_sums : nullptr);
    const int64_t begin = task.image * problem.elements() + task.row_begin * row_elements;
    const int64_t end = task.image * problem.elements() + task.row_end * row_elements;
    const auto check_rows = [&](const auto& memory) {
      for (int64_t i = 0; i < memory.size(); ++i) {
        if ((i < begin || i >= end) && !memory.IsPoison(i)) {
          return Fail("rows of others", i, ToDouble(memory[i]), 0);
        }
      }
    };
    check_rows(part.data);
    check_rows(copy);
    for (int64_t i = begin; of_data && i < end; ++i) whole.data[i] = part.data[i];
    Merge("points of others", part.points, whole.points, true);
    if (!kIsAffine<Points> || !of_points) continue;
    for (int64_t i = 0; i < 6; ++i) {
      matrix[static_cast<size_t>(6 * task.image + i)] += matrix_sums.of[i / 3][i % 3];
    }
  }
  for (int64_t i = 0; i < whole.matrix.size(); ++i) {
    whole.matrix[i] = static_cast<Real>(matrix[static_cast<size_t>(i)]);
  }
  return whole;
}

template <typename Points, typename T>
void CheckGradients(Problem<Points, T>& problem, const CpuLoops<Points, T>& loops,
                    const Gradients<T>& expected) {
  const auto& sizes = problem.sizes;
  const int64_t count = sizes.points_per_image, rows = sizes.image.size[0];
  const double channels = static_cast<double>(std::max<int64_t>(sizes.image.channels, 1));
  const double matrix_scale = channels * std::sqrt(static_cast<double>(count)) *
                              static_cast<double>(std::max(problem.c.rows, problem.c.columns));
  const auto check = [&](const Gradients<T>& result, bool of_data, bool of_points) {
    // Some pixels have many points.
    if (of_data) CheckEqual("grad_data", result.data, expected.data, static_cast<double>(count));
    if (!of_points) return;
    if constexpr (kIsAffine<Points>) {
      CheckEqual("grad_matrix", result.matrix, expected.matrix, matrix_scale);
    } else {
      CheckEqual("grad_warp", result.points, expected.points, channels);
    }
  };

  std::vector<GradientTask> images;
  for (int64_t n = 0; n < sizes.images; ++n) images.push_back({n, 0, count, 0, rows});
  const Gradients<T> both = GradientsByTasks(problem, loops, images, true, true, nullptr);
  const Gradients<T> of_data = GradientsByTasks(problem, loops, images, true, false, nullptr);
  const Gradients<T> of_points = GradientsByTasks(problem, loops, images, false, true, nullptr);
  check(both, true, true);
  check(of_data, true, false);
  check(of_points, false, true);
  CheckSameBits("grad_data alone", of_data.data, both.data);
  CheckSameBits("grad_points alone", of_points.points, both.points);
  CheckSameBits("grad_matrix alone", of_points.matrix, both.matrix);

  // Bands of rows.
  std::vector<GradientTask> bands;
  for (int64_t n = 0; n < sizes.images; ++n) {
    const std::vector<int64_t> cuts = Cuts(problem.rng, rows, 1);
    for (size_t i = 1; i < cuts.size(); ++i) bands.push_back({n, 0, count, cuts[i - 1], cuts[i]});
  }
  std::vector<RowRange> ranges(static_cast<size_t>(sizes.images * problem.ranges()), {-9, -9});
  for (int64_t n = 0; n < sizes.images; ++n) {
    const std::vector<int64_t> cuts = Cuts(problem.rng, problem.ranges(), 1);
    for (size_t i = 1; i < cuts.size(); ++i) {
      loops.find_rows({Modes(), sizes, problem.data.data(), nullptr, problem.points,
                       problem.grad_output.data(), nullptr, nullptr},
                      n, cuts[i - 1], cuts[i], ranges.data() + n * problem.ranges());
    }
  }
  const RowRange* const known = kIsAffine<Points> ? nullptr : ranges.data();
  const Gradients<T> by_bands = GradientsByTasks(problem, loops, bands, true, true, known);
  check(by_bands, true, true);
  CheckSameBits("grad_data by bands", by_bands.data, both.data);
  CheckSameBits("grad_points by bands", by_bands.points, both.points);
  const Gradients<T> data_by_bands = GradientsByTasks(problem, loops, bands, true, false, known);
  CheckSameBits("grad_data alone by bands", data_by_bands.data, both.data);

  // Runs of points: those that callers choose, and any others.
  for (const int64_t step : {kRangePoints, int64_t{1}}) {
    std::vector<GradientTask> runs;
    for (int64_t n = 0; n < sizes.images; ++n) {
      const std::vector<int64_t> cuts = Cuts(problem.rng, count, step);
      for (size_t i = 1; i < cuts.size(); ++i) runs.push_back({n, cuts[i - 1], cuts[i], 0, rows});
    }
    const Gradients<T> by_runs = GradientsByTasks(problem, loops, runs, false, true, nullptr);
    check(by_runs, false, true);
    CheckSameBits("grad_points by runs", by_runs.points, both.points);
  }
}

template <typename Points, typename T>
void CheckPointsAndType(const Case& c) {
  Problem<Points, T> problem(c);
  const Memory<T> samples = SampleByCore(problem);
  const Gradients<T> gradients = GradientsByCore(problem);
  for (const Isa& isa : Isas()) {
    if (!isa.is_here) continue;
    context.isa = isa.name;
    const auto& loops = LoopsOf<Points, T>(isa);
    CheckSamples(problem, loops, samples);
    CheckGradients(problem, loops, gradients);
  }
}

template <typename T>
void CheckType(Case c) {
  CheckPointsAndType<AffinePoints<2, Coordinate<T>>, T>(c);
  CheckPointsAndType<WarpPoints<2, Coordinate<T>>, T>(c);
}

void CheckCase(const Case& c) {
  CheckType<Half>(c);
  CheckType<BFloat16>(c);
  CheckType<float>(c);
  CheckType<double>(c);
}

// Chooses what a test leaves open.
class Chooser {
 public:
  int64_t OneOf(std::initializer_list<int64_t> values) {
    return values.begin()[rng_() % values.size()];
  }
  int64_t Between(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(rng_);
  }
  Case Any() {
    Case c;
    c.images = Between(1, 3);
    c.height = Between(2, 9);
    c.width = Between(2, 9);
    c.channels = OneOf({1, 2, 3, 4, 5, 8, 16, 17});
    c.rows = OneOf({1, 1, 2, 3});
    c.columns = Between(1, 70);
    c.shift = static_cast<int>(Between(0, 15));
    c.place = kPlaces[Between(0, std::size(kPlaces) - 1)];
    c.odd_values = Between(0, 2) == 0;
    c.seed = static_cast<unsigned>(rng_());
    return c;
  }

 private:
  std::mt19937 rng_{1};
};

TEST(EveryNumberOfChannels) {
  Chooser choose;
  for (int64_t channels = 1; channels <= 43; ++channels) {
    for (const Place place : kPlaces) {
      Case c = choose.Any();
      c.channels = channels <= 40 ? channels : channels == 41 ? 64 : channels == 42 ? 67 : 130;
      c.columns = choose.Between(1, 20);
      c.place = place;
      CheckCase(c);
    }
  }
}

TEST(EveryNumberOfPoints) {
  Chooser choose;
  for (int64_t points = 1; points <= 73; ++points) {
    for (const int64_t channels : {1, 2, 3, 4, 5}) {
      Case c = choose.Any();
      c.rows = 1;
      c.columns = points <= 70 ? points : points == 71 ? 129 : points == 72 ? 257 : 300;
      c.channels = channels;
      CheckCase(c);
    }
  }
}

TEST(EveryAlignment) {
  Chooser choose;
  for (int shift = 0; shift < 16; ++shift) {
    for (const int64_t channels : {1, 2, 3, 4, 7, 16, 32}) {
      Case c = choose.Any();
      c.shift = shift;
      c.channels = channels;
      CheckCase(c);
    }
  }
}

TEST(EverySizeOfImage) {
  Chooser choose;
  const int64_t sizes[] = {2, 3, 4, 5, 33};
  for (const int64_t height : sizes) {
    for (const int64_t width : sizes) {
      for (const Place place : kPlaces) {
        Case c = choose.Any();
        c.height = height;
        c.width = width;
        c.place = place;
        CheckCase(c);
      }
    }
  }
}

// Far more than one block, so that columns are narrowed and ranges of points are passed over.
TEST(ManyPoints) {
  Chooser choose;
  for (int i = 0; i < 40; ++i) {
    Case c = choose.Any();
    c.height = choose.Between(2, 40);
    c.rows = choose.OneOf({3, 8});
    c.columns = choose.OneOf({65, 100, 129, 257, 300});
    c.channels = choose.OneOf({1, 2, 3, 4, 6});
    if (i % 4 != 0) c.place = Place::kAnywhere;
    CheckCase(c);
  }
}

// Terms of coordinates that cancel each other leave what they were rounded by.
TEST(CancellingTermsOfCoordinates) {
  Chooser choose;
  for (int i = 0; i < 40; ++i) {
    Case c = choose.Any();
    c.height = choose.Between(6, 40);
    c.rows = 2;
    c.columns = 300;
    c.place = Place::kCancelling;
    CheckCase(c);
  }
}

TEST(NoChannelsAndNoPoints) {
  Chooser choose;
  for (int i = 0; i < 8; ++i) {
    Case c = choose.Any();
    (i % 2 == 0 ? c.channels : c.columns) = 0;
    CheckCase(c);
  }
}

// Calls check(isa, TypeTag<T>) for all instruction sets and types.
template <typename Check>
void ForAllLoops(const Check& check) {
  for (const Isa& isa : Isas()) {
    if (!isa.is_here) continue;
    check(isa, TypeTag<Half>());
    check(isa, TypeTag<BFloat16>());
    check(isa, TypeTag<float>());
    check(isa, TypeTag<double>());
  }
}

// Returns the samples of one image at these points.
template <typename T>
Memory<T> SampleAt(const Isa& isa, const Extent<2>& image, const T* data,
                   const std::vector<double>& warp) {
  using Real = Coordinate<T>;
  const int64_t count = static_cast<int64_t>(warp.size()) / 2;
  const Memory<Real> coordinates(2 * count);
  for (int64_t i = 0; i < 2 * count; ++i) {
    coordinates[i] = static_cast<Real>(warp[static_cast<size_t>(i)]);
  }
  Memory<T> output(count * image.channels);
  LoopsOf<WarpPoints<2, Real>, T>(isa).sample({Modes(),
                                               {image, 1, count},
                                               data,
                                               nullptr,
                                               {coordinates.data(), count, count},
                                               output.data()},
                                              0, count);
  return output;
}

TEST(PointOnAPixelCentreReturnsThePixelBitForBit) {
  ForAllLoops([](const Isa& isa, auto tag) {
    using T = typename decltype(tag)::type;
    const double values[] = {-0.0, 0, kInf, -kInf, kNaN, 1e-45, -6e-8, 0.1, -3};
    for (const int64_t channels : {1, 2, 3, 4, 5, 19}) {
      const Extent<2> image = {{5, 7}, channels};
      const Memory<T> data(image.elements());
      for (int64_t i = 0; i < data.size(); ++i) {
        data[i] = FromDouble<T>(values[i * i % static_cast<int64_t>(std::size(values))]);
      }
      std::vector<double> centres;
      for (int i = 0; i < 35; ++i) {
        centres.push_back(i % 7);
        centres.push_back(i / 7);
      }
      const Memory<T> output = SampleAt(isa, image, data.data(), centres);
      for (int64_t i = 0; i < data.size(); ++i) {
        if (!(std::isnan(ToDouble(data[i])))) CHECK(SameBits(output[i], data[i]));
      }
    }
  });
}

TEST(SampleOutsideIsAPositiveZero) {
  ForAllLoops([](const Isa& isa, auto tag) {
    using T = typename decltype(tag)::type;
    for (const int64_t channels : {1, 2, 3, 4, 5, 19}) {
      const Extent<2> image = {{2, 3}, channels};
      const Memory<T> data(image.elements());
      for (int64_t i = 0; i < data.size(); ++i) data[i] = FromDouble<T>(kNaN);
      const Memory<T> output =
          SampleAt(isa, image, data.data(),
                   {-1, 0, 3, 0, 0, -1, 0, 2, kInf, 0, 1, -kInf, 1e30, 1e30, -2, 1});
      for (int64_t i = 0; i < output.size(); ++i) CHECK(SameBits(output[i], T()));
    }
  });
}

// The weight of the pixel outside is 1 - x, rounded to zero.
TEST(NegativeZeroKeepsItsSignWhereItHasAllTheWeight) {
  ForAllLoops([](const Isa& isa, auto tag) {
    using T = typename decltype(tag)::type;
    const Extent<2> image = {{2, 2}, 1};
    const Memory<T> data(4);
    for (int64_t i = 0; i < 4; ++i) data[i] = FromDouble<T>(-0.0);
    const Memory<T> output = SampleAt(isa, image, data.data(), {-1e-20, 0, 1, -1e-20});
    for (int64_t i = 0; i < 2; ++i) CHECK(SameBits(output[i], data[0]));
  });
}

TEST(WeightThatIsZeroAsAProductReadsNoPixel) {
  ForAllLoops([](const Isa& isa, auto tag) {
    using T = typename decltype(tag)::type;
    constexpr bool kIsDouble = std::is_same_v<T, double>;
    const double tiny = kIsDouble ? 1e-320 : 1e-40, almost = kIsDouble ? 1 - 0x1p-53 : 1 - 0x1p-24;
    const Extent<2> image = {{2, 2}, 1};
    const Memory<T> data(4);
    for (int64_t i = 0; i < 4; ++i) data[i] = FromDouble<T>(i == 1 ? kInf : 0.5);
    const Memory<T> output = SampleAt(isa, image, data.data(), {tiny, almost, 0.5, 0.5});
    CHECK_NEAR(ToDouble(output[0]), 0.5, 1e-6);
  });
}

// Returns the samples and the gradient of the matrix for one row of an output.
template <typename T>
std::pair<Memory<T>, MatrixSums> SampleRow(const Isa& isa, const std::vector<double>& matrix,
                                           int64_t columns, const Memory<T>& grad_output) {
  using Real = Coordinate<T>;
  using Points = AffinePoints<2, Real>;
  const ResamplerSizes<2> sizes = {{{4, 4}, 1}, 1, columns};
  const Memory<T> data(16);
  const Memory<Real> numbers(6);
  for (int64_t i = 0; i < 16; ++i) data[i] = FromDouble<T>(static_cast<double>(i));
  for (int64_t i = 0; i < 6; ++i) numbers[i] = static_cast<Real>(matrix[static_cast<size_t>(i)]);
  const Points points = {numbers.data(), 1, 1, {1, columns}};
  Memory<T> output(columns);
  MatrixSums sums;
  const auto& loops = LoopsOf<Points, T>(isa);
  loops.sample({Modes(), sizes, data.data(), nullptr, points, output.data()}, 0, columns);
  loops.gradients(
      {Modes(), sizes, data.data(), nullptr, points, grad_output.data(), nullptr, numbers.data()},
      {0, 0, columns, 0, 4}, nullptr, nullptr, &sums);
  return {std::move(output), sums};
}

TEST(NaNInOneCoordinateShowsWhereTheOtherIsOutside) {
  ForAllLoops([](const Isa& isa, auto tag) {
    using T = typename decltype(tag)::type;
    for (const int64_t columns : {64, 65, 300}) {
      const Memory<T> grad_output(columns);
      const auto [output, sums] = SampleRow<T>(isa, {1, 0, -9, 0, 0, kNaN}, columns, grad_output);
      for (int64_t i = 0; i < columns; ++i) CHECK(std::isnan(ToDouble(output[i])));
      for (int i = 0; i < 6; ++i) CHECK(std::isnan(sums.of[i / 3][i % 3]));
    }
  });
}

TEST(InfiniteGradientOfAColumnIsAnInfiniteOneOfTheMatrix) {
  ForAllLoops([](const Isa& isa, auto tag) {
    using T = typename decltype(tag)::type;
    for (const int64_t column : {1, 2, 64, 65, 128}) {
      const Memory<T> grad_output(130);
      for (int64_t i = 0; i < 130; ++i) grad_output[i] = FromDouble<T>(i == column ? kInf : 0);
      // All points lie outside of a corner, and have one pixel.
      const auto sums = SampleRow<T>(isa, {0, 0, -0.5, 0, 0, 3.5}, 130, grad_output).second;
      CHECK(sums.of[0][0] == kInf && sums.of[0][2] == kInf);
      CHECK(sums.of[1][0] == -kInf && sums.of[1][2] == -kInf);
    }
  });
}

// As a float, the size of such an image may be less than it is, or more.
TEST(FarOutsideOfAnImageThatIsLongerThanAFloatCanTell) {
  for (const int64_t size : {(1 << 24) + 1, (1 << 25) + 1, (1 << 26) + 2, (1 << 26) + 3}) {
    // Memory that is never touched takes no room.
    const std::unique_ptr<void, void (*)(void*)> zeros(
        std::calloc(static_cast<size_t>(2 * size), sizeof(Half)), std::free);
    Half* const data = static_cast<Half*>(zeros.get());
    for (int64_t i = size - 16; i < size; ++i) data[i] = data[size + i] = Half(1);
    for (const Isa& isa : Isas()) {
      if (!isa.is_here) continue;
      const std::vector<double> far = {1e30, 0, kInf, 1, 2.0 * static_cast<double>(size), 0.5};
      const Memory<Half> output = SampleAt(isa, {{2, size}, 1}, data, far);
      for (int64_t i = 0; i < output.size(); ++i) CHECK(SameBits(output[i], Half()));

      // Points without pixels belong to one of two bands, also the one far below.
      const Memory<float> warp(4), grad_warp(4);
      const float coordinates[] = {0.5f, 1e30f, 0.5f, -1e30f};
      std::copy(std::begin(coordinates), std::end(coordinates), warp.data());
      const Memory<Half> grad_output(2);
      const ResamplerGradArguments<WarpPoints<2, float>, Half> arguments = {
          Modes(), {{{size, 2}, 1}, 1, 2}, data, nullptr, {warp.data(), 2, 2}, grad_output.data(),
          nullptr, grad_warp.data()};
      const auto& loops = LoopsOf<WarpPoints<2, float>, Half>(isa);
      loops.gradients(arguments, {0, 0, 2, 9, size}, nullptr, nullptr, nullptr);
      for (int64_t i = 0; i < 4; ++i) CHECK(grad_warp.IsPoison(i));
      loops.gradients(arguments, {0, 0, 2, 0, 9}, nullptr, nullptr, nullptr);
      for (int64_t i = 0; i < 4; ++i) CHECK(grad_warp[i] == 0);
    }
  }
}

#if defined(__SSE2__)
// TensorFlow's threads take numbers that are subnormal for zero.
TEST(SubnormalsAsZero) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);
  Chooser choose;
  for (int i = 0; i < 60; ++i) {
    Case c = choose.Any();
    c.place = i % 2 == 0 ? Place::kNear : Place::kMostlyInside;
    CheckCase(c);
  }
  _mm_setcsr(before);
}
#endif

}  // namespace
}  // namespace tf_stn

int main() {
  for (const tf_stn::Isa& isa : tf_stn::Isas()) {
    if (!isa.is_here) std::printf("skipped: this processor has no %s\n", isa.name);
  }
  return tf_stn::RunAllTests();
}

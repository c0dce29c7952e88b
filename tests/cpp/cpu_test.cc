// Holds the CPU's vector loops, for every instruction set that this processor has, against the
// plain loops: over all modes, ranks and types, all residues of vectors' widths, all alignments and
// all edge rules.  Run plainly and under sanitizers, so all memory here ends where its last element
// does.

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <memory>
#include <random>
#include <type_traits>
#include <utility>
#include <vector>

#include "cc/core/call.h"
#include "cc/core/modes.h"
#include "cc/core/pixel_types.h"
#include "cc/core/points.h"
#include "cc/kernels/cpu/choose.h"
#include "cc/kernels/cpu/isa.h"
#include "cc/kernels/cpu/loops.h"
#include "tests/cpp/check.h"
#include "tests/cpp/support.h"

namespace tf_stn {
namespace {

std::vector<Isa> IsasHere() {
  std::vector<Isa> isas;
  for (int i = 0; i < static_cast<int>(Isa::kCount); ++i) {
    if (IsHere(static_cast<Isa>(i))) isas.push_back(static_cast<Isa>(i));
  }
  return isas;
}

// Says of what a comparison is, if it fails.
struct Context {
  std::string name;
  bool is_cancelling = false;
} context;

void Fail(const char* what, int64_t i, double result, double expected) {
  ++failures;
  std::printf("%s of %s: [%d] is %.17g, expected %.17g\n", what, context.name.c_str(),
              static_cast<int>(i), result, expected);
}

// Checks that two results are equal but for rounding, and have the same infinities and NaN, and
// zeros if `signed_zeros`.  `scale` is the size of the numbers that were added up.
template <typename T>
void CheckEqual(const char* what, const Memory<T>& result, const Memory<T>& expected, double scale,
                bool signed_zeros = false) {
  if (context.is_cancelling) return;  // It matters which roundings are fused.
  constexpr double kSums = 16 * kRounding<Coordinate<T>>;
  constexpr bool kIsHalf = sizeof(T) == 2;
  for (int64_t i = 0; i < expected.size(); ++i) {
    const double a = ToDouble(result[i]), b = ToDouble(expected[i]);
    const double tolerance = kSums * scale + (kIsHalf ? 2 * kRounding<T> * std::abs(b) : 0);
    const bool same_zero = !signed_zeros || a != 0 || b != 0 || std::signbit(a) == std::signbit(b);
    if (!Near(a, b, std::isfinite(b) ? tolerance : 0) || !same_zero) return Fail(what, i, a, b);
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

// Cuts [0, count) into parts.
std::vector<int64_t> Cuts(std::mt19937& rng, int64_t count) {
  std::vector<int64_t> cuts = {0, count};
  for (unsigned i = rng() % 4; i > 0 && count > 0; --i) {
    cuts.push_back(static_cast<int64_t>(rng() % static_cast<unsigned>(count)));
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  return cuts;
}

template <typename Points, typename T>
struct Results {
  Memory<T> samples;
  Memory<Coordinate<T>> grad_points;
  Memory<T> grad_data;
};

// Runs a problem by loops, as a whole or divided at random, the last part first so that one that
// writes beyond its end spoils another.
template <typename ProblemType, typename T>
class Runner {
 public:
  using Points = typename ProblemType::Points;
  using Real = Coordinate<T>;

  Runner(const ProblemType& problem, const Loops<Points, T>& loops)
      : problem_(problem), loops_(loops), rng_(problem.c.seed) {
    SampleCall<Points, T> call = problem.Sample(nullptr);
    scratch_ = Memory<char>(static_cast<int64_t>(loops.scratch_bytes(call)));
  }

  Memory<T> Samples(bool in_parts) {
    const auto& sizes = problem_.sizes;
    const int64_t channels = sizes.image.channels;
    Memory<T> output(sizes.points() * channels, problem_.c.shift);
    const auto call = problem_.Sample(output.data());
    const std::vector<int64_t> cuts =
        in_parts ? Cuts(rng_, sizes.points()) : std::vector<int64_t>{0, sizes.points()};
    for (size_t i = cuts.size() - 1; i > 0; --i) {
      loops_.sample(call, cuts[i - 1], cuts[i], scratch_.data());
      for (int64_t j = 0; i == cuts.size() - 1 && j < cuts[i - 1] * channels; ++j) {
        if (!output.IsPoison(j)) Fail("samples before the first", j, ToDouble(output[j]), 0);
      }
    }
    return output;
  }

  // Of the first order, or of the second.
  template <typename CallType>
  Results<Points, T> Gradients(const GradientLoops<CallType>& loops, bool in_parts, bool at_once) {
    Results<Points, T> results{Memory<T>(problem_.grad_output.size(), problem_.c.shift),
                               Memory<Real>(problem_.parameters.size(), problem_.c.shift),
                               Memory<T>(problem_.data.size(), problem_.c.shift)};
    const auto call = MakeCall<CallType>(&results);
    const Memory<Real> sums(problem_.data.size(), problem_.c.shift);
    item_sums_.assign(static_cast<size_t>(problem_.points.stored * Points::kParameters), 0);
    if (at_once) {
      BothAtOnce(call, loops, sums);
    } else {
      OfPoints(call, loops, in_parts);
      OfData(call, loops, in_parts, sums);
    }
    const int of_item = problem_.points.parameters_per_item();
    for (int64_t i = 0; !Points::kIsStored && i < results.grad_points.size(); ++i) {
      const int64_t item = i / of_item, in_sums = item * Points::kParameters + i % of_item;
      results.grad_points[i] = static_cast<Real>(item_sums_[static_cast<size_t>(in_sums)]);
    }
    loops_.round(sums.data(), sums.size(), results.grad_data.data());
    return results;
  }

 private:
  template <typename CallType>
  CallType MakeCall(Results<Points, T>* results) const {
    if constexpr (std::is_same_v<CallType, GradientCall<Points, T>>) {
      return problem_.Gradient(results->grad_data.data(), results->grad_points.data());
    } else {
      return problem_.SecondOrder(results->grad_data.data(), results->grad_points.data(),
                                  results->samples.data());
    }
  }

  // Calls body(run, sums of its item) for runs of each image's points, of one item each.
  template <typename Body>
  void ForRuns(bool in_parts, const Body& body) {
    const int64_t images = problem_.c.shares_points ? 1 : problem_.sizes.images;
    const int64_t points = problem_.sizes.points_per_image;
    const int64_t of_item = Points::kIsStored ? points : problem_.points.points_per_item();
    for (int64_t n = images - 1; n >= 0; --n) {
      for (int64_t first = points - of_item; first >= 0 && of_item > 0; first -= of_item) {
        const std::vector<int64_t> cuts =
            in_parts ? Cuts(rng_, of_item) : std::vector<int64_t>{0, of_item};
        const int64_t item =
            Points::kIsStored ? 0 : n * problem_.points.per_image + first / of_item;
        for (size_t i = cuts.size() - 1; i > 0; --i) {
          body(Run{n, first + cuts[i - 1], first + cuts[i]},
               item_sums_.data() + item * Points::kParameters);
        }
      }
    }
  }

  template <typename CallType>
  void OfPoints(const CallType& call, const GradientLoops<CallType>& loops, bool in_parts) {
    ForRuns(in_parts, [&](const Run& run, double* item_sums) {
      loops.of_points(call, run, item_sums, scratch_.data());
    });
  }

  void Clear(const Memory<Real>& sums, const Band& band) const {
    const int64_t slab = problem_.sizes.image.slab_elements();
    std::fill_n(sums.data() + band.image * problem_.sizes.image.elements() + band.begin * slab,
                (band.end - band.begin) * slab, Real(0));
  }

  template <typename CallType>
  void BothAtOnce(const CallType& call, const GradientLoops<CallType>& loops,
                  const Memory<Real>& sums) {
    const auto& image = problem_.sizes.image;
    for (int64_t n = 0; n < problem_.sizes.images; ++n)
      Clear(sums, {n, 0, image.size[0], nullptr, 0});
    // In the order of the points, as every pixel's sum.
    std::vector<std::pair<Run, double*>> runs;
    ForRuns(false, [&](const Run& run, double* item_sums) { runs.emplace_back(run, item_sums); });
    for (auto it = runs.rbegin(); it != runs.rend(); ++it) {
      loops.of_both(call, it->first, sums.data() + it->first.image * image.elements(), it->second,
                    scratch_.data());
    }
  }

  // Each band in memory of its own, so that what each has written can be told.
  template <typename CallType>
  void OfData(const CallType& call, const GradientLoops<CallType>& loops, bool in_parts,
              const Memory<Real>& sums) {
    const auto& image = problem_.sizes.image;
    for (int64_t n = 0; n < problem_.sizes.images; ++n) {
      const std::vector<int64_t> cuts =
          in_parts ? Cuts(rng_, image.size[0]) : std::vector<int64_t>{0, image.size[0]};
      const auto lists = ListsOf(call, loops, n, cuts);
      for (size_t i = 1; i < cuts.size(); ++i) {
        const auto& list = lists[i - 1];
        const bool is_listed = in_parts && loops.find_bands != nullptr && rng_() % 4 != 0;
        const uint32_t none = 0;
        const Band band{n, cuts[i - 1], cuts[i],
                        !is_listed     ? nullptr
                        : list.empty() ? &none
                                       : list.data(),
                        static_cast<int64_t>(list.size())};
        Memory<Real> part(sums.size(), problem_.c.shift);
        Clear(part, band);
        loops.of_data(call, band, part.data() + n * image.elements(), scratch_.data());
        Take(part, band, sums);
      }
    }
  }

  void Take(const Memory<Real>& part, const Band& band, const Memory<Real>& sums) const {
    const auto& image = problem_.sizes.image;
    const int64_t begin = band.image * image.elements() + band.begin * image.slab_elements();
    const int64_t end = begin + (band.end - band.begin) * image.slab_elements();
    for (int64_t i = 0; i < part.size(); ++i) {
      if (begin <= i && i < end) {
        sums[i] = part[i];
      } else if (!part.IsPoison(i)) {
        return Fail("slabs of others", i, static_cast<double>(part[i]), 0);
      }
    }
  }

  template <typename CallType>
  std::vector<std::vector<uint32_t>> ListsOf(const CallType& call,
                                             const GradientLoops<CallType>& loops, int64_t n,
                                             const std::vector<int64_t>& cuts) {
    std::vector<std::vector<uint32_t>> lists(cuts.size() - 1);
    if (loops.find_bands == nullptr) return lists;
    const int64_t points = problem_.sizes.points_per_image;
    std::vector<uint16_t> band_of_slab(static_cast<size_t>(problem_.sizes.image.size[0]));
    for (size_t i = 1; i < cuts.size(); ++i) {
      std::fill(band_of_slab.begin() + cuts[i - 1], band_of_slab.begin() + cuts[i],
                static_cast<uint16_t>(i - 1));
    }
    for (int64_t begin = 0; begin < points; begin += kBlockOfBands) {
      const Run block{n, begin, std::min(points, begin + kBlockOfBands)};
      BandRange ranges[kBlockOfBands];
      const BandRange all = loops.find_bands(call, block, band_of_slab.data(), ranges);
      if (all.is_none()) continue;
      if (all.first == all.last) {
        lists[all.first].push_back(static_cast<uint32_t>(begin) | Band::kRunOfPoints);
        continue;
      }
      for (int64_t q = begin; q < block.end; ++q) {
        for (int band = ranges[q - begin].first; band <= ranges[q - begin].last; ++band) {
          lists[static_cast<size_t>(band)].push_back(static_cast<uint32_t>(q));
        }
      }
    }
    return lists;
  }

  const ProblemType& problem_;
  const Loops<Points, T>& loops_;
  std::mt19937 rng_;
  Memory<char> scratch_;
  std::vector<double> item_sums_;
};

// How large numbers may be that results are rounded from.
struct Scales {
  double samples, data, points;
};

// Returns how much larger a gradient in the numbers of matrices may be than one in points, since
// these are divided.
template <typename Points, typename T>
double Stretch(const Problem<Points, T>& problem) {
  double most = 1;
  if constexpr (!Points::kIsStored) {
    const double grad_point[] = {1, 1, 1};
    for (int64_t q = 0; q < problem.points.stored * problem.points.points_per_item(); ++q) {
      const int64_t item = q / problem.points.points_per_item();
      double size = 0;
      problem.points.Pull(problem.parameters.data() + item * problem.points.parameters_per_item(),
                          q % problem.points.points_per_item(), grad_point,
                          [&](int, double pulled) { size = std::max(size, std::abs(pulled)); });
      if (std::isfinite(size)) most = std::max(most, size);
    }
  }
  return most;
}

template <typename Points, typename T>
Scales ScalesOf(const Problem<Points, T>& problem) {
  const auto channels = static_cast<double>(std::max<int64_t>(problem.c.channels, 1));
  const auto points = static_cast<double>(problem.sizes.points_per_image);
  const auto images = static_cast<double>(problem.c.images);
  // Weights of cubic interpolation and their derivatives are greater than one.
  const double size = TapsOf(problem.c.modes.interpolation) > 2 ? 30 : 1;
  const double side = static_cast<double>(std::max(problem.c.rows, problem.c.columns));
  const bool is_divided =
      !Points::kIsStored && problem.points.parameters_per_item() == Points::kParameters;
  const double sums =
      (Points::kIsStored ? 1 : side * std::sqrt(points) * 4) * (is_divided ? Stretch(problem) : 1);
  return {4 * size, size * std::max(points, 1.0), 4 * size * sums * channels * images};
}

template <typename Points, typename T>
void CheckGradients(const char* order, const Results<Points, T>& result,
                    const Results<Points, T>& expected, const Scales& scales) {
  CheckEqual(order, result.samples, expected.samples, scales.samples);
  CheckEqual("gradient of data", result.grad_data, expected.grad_data, scales.data);
  CheckEqual("gradient of points", result.grad_points, expected.grad_points, scales.points);
}

// Of one order: as a whole, in parts, and at once, against the plain loops.
template <typename CallType, typename Points, typename T>
void CheckOrder(const char* order, const Problem<Points, T>& problem,
                const Loops<Points, T>& all_loops, const GradientLoops<CallType>& loops,
                const Results<Points, T>& expected) {
  using TheRunner = Runner<Problem<Points, T>, T>;
  const Scales scales = ScalesOf(problem);
  const auto whole = TheRunner(problem, all_loops).Gradients(loops, false, false);
  const auto parts = TheRunner(problem, all_loops).Gradients(loops, true, false);
  CheckGradients(order, whole, expected, scales);
  CheckSameBits("samples in parts", parts.samples, whole.samples);
  CheckSameBits("gradient of data in bands", parts.grad_data, whole.grad_data);
  if (Points::kIsStored) {
    CheckSameBits("gradient of points in runs", parts.grad_points, whole.grad_points);
  } else {
    CheckEqual("gradient of items in runs", parts.grad_points, whole.grad_points, scales.points);
  }
  if (loops.of_both == nullptr || problem.c.shares_points) return;
  const auto both = TheRunner(problem, all_loops).Gradients(loops, false, true);
  CheckSameBits("samples at once", both.samples, whole.samples);
  CheckSameBits("gradient of data at once", both.grad_data, whole.grad_data);
  CheckSameBits("gradient of points at once", both.grad_points, whole.grad_points);
}

template <LoopKind kKind, typename Points, typename T>
void CheckKind(const Problem<Points, T>& problem, const std::string& name) {
  if (!Accepts<kKind>(problem.Sample(nullptr))) return;
  using TheRunner = Runner<Problem<Points, T>, T>;
  const Loops<Points, T>& plain = PlainLoops<Points, T>();
  const Case& c = problem.c;
  context.is_cancelling = c.place == Place::kCancelling;
  const auto samples = TheRunner(problem, plain).Samples(false);
  const auto first = TheRunner(problem, plain).Gradients(plain.first_order, false, false);
  for (const Isa isa : IsasHere()) {
    context.name = std::string(kIsaNames[static_cast<int>(isa)]) +
                   (kKind == LoopKind::kBilinear ? " bilinear, " : " separable, ") + name;
    const auto* const loops = LoopsOf<kKind, Points, T>(isa);
    if (loops == nullptr) return;
    const auto whole = TheRunner(problem, *loops).Samples(false);
    // What is rounded to zero, in a product or at the end, has a sign that depends on when.
    const bool signed_zeros = sizeof(T) > 2 && c.place == Place::kCentres &&
                              !c.modes.has_derivative() && Points::kIsStored;
    CheckEqual("samples", whole, samples, ScalesOf(problem).samples, signed_zeros);
    CheckSameBits("samples in parts", TheRunner(problem, *loops).Samples(true), whole);
    CheckOrder("no samples", problem, *loops, loops->first_order, first);
    if constexpr (Points::kIsStored) {
      if (c.odd_values) continue;
      CheckOrder("second order of output", problem, *loops, loops->second_order,
                 TheRunner(problem, plain).Gradients(plain.second_order, false, false));
    }
  }
}

template <typename Points, typename T>
void CheckPointsAndType(const Case& c) {
  const Problem<Points, T> problem(c);
  const std::string name =
      std::string(kTypeName<T>) + (Points::kIsStored ? " warp " : " matrix ") + NameOf(c);
  CheckKind<LoopKind::kBilinear>(problem, name);
  // Beside an infinite pixel, how many times it is read makes a difference.
  if (!c.odd_values) CheckKind<LoopKind::kSeparable>(problem, name);
}

template <int Rank, typename T>
void CheckType(const Case& c) {
  CheckPointsAndType<WarpPoints<Rank, Coordinate<T>>, T>(c);
  // Its matrices are for coordinates of any place.
  if (c.place == Place::kCentres || (Rank == 3 && c.place == Place::kInside)) return;
  CheckPointsAndType<MatrixPoints<Rank, Coordinate<T>>, T>(c);
}

template <typename T>
void CheckTypeOfCase(const Case& c) {
  c.rank() == 2 ? CheckType<2, T>(c) : CheckType<3, T>(c);
}

void CheckCase(const Case& c) {
#define TF_STN_CHECK(T, ...) CheckTypeOfCase<T>(c);
  TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_CHECK)
#undef TF_STN_CHECK
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

  // A case of linear interpolation of images with zeros outside.
  Case Bilinear() {
    Case c;
    c.images = Between(1, 3);
    c.size = {Between(1, 9), Between(2, 9)};
    c.channels = OneOf({1, 2, 3, 4, 5, 8, 16, 17});
    c.rows = OneOf({1, 1, 2, 3});
    c.columns = Between(1, 70);
    c.shares_points = Between(0, 5) == 0;
    c.shift = static_cast<int>(Between(0, 15));
    c.place = kPlaces[Between(0, std::size(kPlaces) - 1)];
    c.odd_values = Between(0, 2) == 0;
    c.seed = static_cast<unsigned>(rng_());
    return c;
  }

  // A case of any mode.
  Case Any(int rank, InterpolationMode interpolation, PaddingMode padding) {
    Case c;
    c.modes.interpolation = interpolation;
    c.modes.padding = padding;
    if (Between(0, 3) == 0) {
      for (int d = 0; d < rank; ++d)
        c.modes.derivative[d] = static_cast<int>(OneOf({0, 0, 1, 2, 4}));
    }
    c.shares_points = Between(0, 3) == 0;
    c.images = Between(1, 2);
    c.channels = OneOf({1, 1, 2, 3, 3, 4, 5, 7, 16, 19, 33});
    c.columns = Between(1, Between(0, 2) == 0 ? 300 : 70);
    c.rows = Between(1, 2);
    for (int d = 0; d < rank; ++d) c.size.push_back(Between(1, 8));
    if (c.size[static_cast<size_t>(rank - 2)] == 1) c.size.back() = Between(2, 8);
    c.has_fill = padding == PaddingMode::kZeros && Between(0, 1) == 0;
    c.place = kPlaces[Between(0, std::size(kPlaces) - 1)];
    c.shift = static_cast<int>(Between(0, 4));
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
      Case c = choose.Bilinear();
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
      Case c = choose.Bilinear();
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
      Case c = choose.Bilinear();
      c.shift = shift;
      c.channels = channels;
      CheckCase(c);
    }
  }
}

TEST(EverySizeOfImage) {
  Chooser choose;
  const int64_t sizes[] = {1, 2, 3, 4, 5, 33};
  for (const int64_t height : sizes) {
    for (const int64_t width : sizes) {
      for (const Place place : kPlaces) {
        if (height == 1 && width == 1) continue;
        Case c = choose.Bilinear();
        c.size = {height, width};
        c.place = place;
        CheckCase(c);
      }
    }
  }
}

// Far more than one block, so that columns are left out and bands have few of the points.
TEST(ManyPoints) {
  Chooser choose;
  for (int i = 0; i < 40; ++i) {
    Case c = choose.Bilinear();
    c.size[0] = choose.Between(2, 40);
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
    Case c = choose.Bilinear();
    c.size[0] = choose.Between(6, 40);
    c.rows = 2;
    c.columns = 300;
    c.place = Place::kCancelling;
    CheckPointsAndType<MatrixPoints<2, float>, Half>(c);
    CheckPointsAndType<MatrixPoints<2, Float>, Float>(c);
    CheckPointsAndType<MatrixPoints<2, double>, double>(c);
  }
}

template <int Rank, typename T>
void CheckEveryMode(int rounds) {
  Chooser choose;
  for (const auto interpolation : kInterpolations) {
    for (const auto padding : kPaddings) {
      for (int i = 0; i < rounds; ++i) {
        CheckType<Rank, T>(choose.Any(Rank, interpolation, padding));
      }
    }
  }
}

#define TF_STN_TEST(T, name)                                            \
  TEST(ImagesOf_##T) { CheckEveryMode<2, T>(sizeof(T) == 2 ? 6 : 10); } \
  TEST(VolumesOf_##T) { CheckEveryMode<3, T>(sizeof(T) == 2 ? 3 : 5); }
TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_TEST)
#undef TF_STN_TEST

// Calls check(loops of WarpPoints<2>, TypeTag<T>) for all instruction sets, types and kinds of
// loops.
template <typename Check>
void ForAllLoops(const Check& check) {
  const auto for_type = [&](auto tag, Isa isa) {
    using T = typename decltype(tag)::type;
    using Points = WarpPoints<2, Coordinate<T>>;
    check(*LoopsOf<LoopKind::kBilinear, Points, T>(isa), tag);
    check(*LoopsOf<LoopKind::kSeparable, Points, T>(isa), tag);
    check(PlainLoops<Points, T>(), tag);
  };
  for (const Isa isa : IsasHere()) {
#define TF_STN_CHECK(T, ...) for_type(TypeTag<T>(), isa);
    TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_CHECK)
#undef TF_STN_CHECK
  }
}

// Returns the samples of one image at these points.
template <typename T>
Memory<T> SampleAt(const Loops<WarpPoints<2, Coordinate<T>>, T>& loops, const Extent<2>& image,
                   const T* data, const std::vector<double>& warp, const T* fill = nullptr) {
  using Real = Coordinate<T>;
  const int64_t count = static_cast<int64_t>(warp.size()) / 2;
  const Memory<Real> coordinates(2 * count);
  for (int64_t i = 0; i < 2 * count; ++i) {
    coordinates[i] = static_cast<Real>(warp[static_cast<size_t>(i)]);
  }
  Memory<T> output(count * image.channels);
  SampleCall<WarpPoints<2, Real>, T> call{};
  call.sizes = {image, 1, count};
  call.data = data;
  call.fill = fill;
  call.points = {coordinates.data(), count, count};
  call.output = output.data();
  const Memory<char> scratch(static_cast<int64_t>(loops.scratch_bytes(call)));
  loops.sample(call, 0, count, scratch.data());
  return output;
}

TEST(PointOnAPixelCentreReturnsThePixelBitForBit) {
  ForAllLoops([](const auto& loops, auto tag) {
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
      const Memory<T> output = SampleAt(loops, image, data.data(), centres);
      for (int64_t i = 0; i < data.size(); ++i) {
        if (!(std::isnan(ToDouble(data[i])))) CHECK(SameBits(output[i], data[i]));
      }
    }
  });
}

TEST(SampleOutsideIsAPositiveZero) {
  ForAllLoops([](const auto& loops, auto tag) {
    using T = typename decltype(tag)::type;
    for (const int64_t channels : {1, 2, 3, 4, 5, 19}) {
      const Extent<2> image = {{2, 3}, channels};
      const Memory<T> data(image.elements());
      data.Fill(FromDouble<T>(kNaN));
      const Memory<T> output =
          SampleAt(loops, image, data.data(),
                   {-1, 0, 3, 0, 0, -1, 0, 2, kInf, 0, 1, -kInf, 1e30, 1e30, -2, 1});
      for (int64_t i = 0; i < output.size(); ++i) CHECK(SameBits(output[i], T()));
    }
  });
}

// The weight of the pixel outside is 1 - x, rounded to zero.
TEST(NegativeZeroKeepsItsSignWhereItHasAllTheWeight) {
  ForAllLoops([](const auto& loops, auto tag) {
    using T = typename decltype(tag)::type;
    const Memory<T> data(4);
    data.Fill(FromDouble<T>(-0.0));
    const Memory<T> output = SampleAt(loops, {{2, 2}, 1}, data.data(), {-1e-20, 0, 1, -1e-20});
    for (int64_t i = 0; i < 2; ++i) CHECK(SameBits(output[i], data[0]));
  });
}

// However small the weight outside is, a NaN or an infinity there shows.
TEST(FillShowsWhereItHasTheLeastWeight) {
  ForAllLoops([](const auto& loops, auto tag) {
    using T = typename decltype(tag)::type;
    using Real = Coordinate<T>;
    for (const Isa isa : IsasHere()) {  // The bilinear loops take no fill.
      if (&loops == LoopsOf<LoopKind::kBilinear, WarpPoints<2, Real>, T>(isa)) return;
    }
    const double beyond = std::nextafter(Real(1), Real(2));
    const Memory<T> data(4), fill(1);
    data.Fill(FromDouble<T>(0.5));
    for (const double value : {kNaN, kInf}) {
      fill[0] = FromDouble<T>(value);
      const Memory<T> output =
          SampleAt(loops, {{2, 2}, 1}, data.data(), {beyond, 0.5, 0.5, 0.5, 1, 1}, fill.data());
      const auto is_like = [&](double x) { return std::isnan(value) ? std::isnan(x) : x == value; };
      CHECK(is_like(ToDouble(output[0])));
      CHECK(ToDouble(output[1]) == 0.5 && ToDouble(output[2]) == 0.5);
    }
  });
}

TEST(WeightThatIsZeroAsAProductReadsNoPixel) {
  ForAllLoops([](const auto& loops, auto tag) {
    using T = typename decltype(tag)::type;
    constexpr bool kIsDouble = std::is_same_v<T, double>;
    const double tiny = kIsDouble ? 1e-320 : 1e-40, almost = kIsDouble ? 1 - 0x1p-53 : 1 - 0x1p-24;
    const Memory<T> data(4);
    for (int64_t i = 0; i < 4; ++i) data[i] = FromDouble<T>(i == 1 ? kInf : 0.5);
    const Memory<T> output = SampleAt(loops, {{2, 2}, 1}, data.data(), {tiny, almost, 0.5, 0.5});
    CHECK_NEAR(ToDouble(output[0]), 0.5, 1e-6);
  });
}

// Returns the samples and the gradient of the matrix for one row of an output.
template <typename T>
std::pair<Memory<T>, std::vector<double>> SampleRow(Isa isa, const std::vector<double>& matrix,
                                                    int64_t columns, const Memory<T>& grad_output) {
  using Real = Coordinate<T>;
  using Points = MatrixPoints<2, Real>;
  const Memory<T> data(16);
  const Memory<Real> numbers(6);
  for (int64_t i = 0; i < 16; ++i) data[i] = FromDouble<T>(static_cast<double>(i));
  for (int64_t i = 0; i < 6; ++i) numbers[i] = static_cast<Real>(matrix[static_cast<size_t>(i)]);
  Memory<T> output(columns);
  std::vector<double> sums(Points::kParameters);
  GradientCall<Points, T> call{};
  call.sizes = {{{4, 4}, 1}, 1, columns};
  call.data = data.data();
  call.points = {numbers.data(), 1, 1, {{PlainDivision(1), PlainDivision(columns)}}};
  call.grad_output = grad_output.data();
  call.grad_points = numbers.data();
  const auto& loops = *LoopsOf<LoopKind::kBilinear, Points, T>(isa);
  loops.sample(SampleCall<Points, T>{call, output.data()}, 0, columns, nullptr);
  loops.first_order.of_points(call, {0, 0, columns}, sums.data(), nullptr);
  sums.resize(6);
  return {std::move(output), sums};
}

TEST(NaNInOneCoordinateShowsWhereTheOtherIsOutside) {
  for (const Isa isa : IsasHere()) {
    for (const int64_t columns : {64, 65, 300}) {
      Memory<Float> grad_output(columns);
      const auto [output, sums] = SampleRow(isa, {1, 0, -9, 0, 0, kNaN}, columns, grad_output);
      for (int64_t i = 0; i < columns; ++i) CHECK(std::isnan(output[i]));
      for (const double sum : sums) CHECK(std::isnan(sum));
    }
  }
}

TEST(InfiniteGradientOfAColumnIsAnInfiniteOneOfTheMatrix) {
  for (const Isa isa : IsasHere()) {
    for (const int64_t column : {1, 2, 64, 65, 128}) {
      Memory<Float> grad_output(130);
      grad_output.Fill(0);
      grad_output[column] = static_cast<Float>(kInf);
      // All points lie outside of a corner, and have one pixel.
      const auto sums = SampleRow(isa, {0, 0, -0.5, 0, 0, 3.5}, 130, grad_output).second;
      CHECK(sums[0] == kInf && sums[2] == kInf);
      CHECK(sums[3] == -kInf && sums[5] == -kInf);
    }
  }
}

// Terms that cancel each other, wherever they meet, are summed in double.
TEST(GradientOfAMatrixIsSummedInDouble) {
  for (const Isa isa : IsasHere()) {
    for (int64_t distance = 1; distance <= 33; ++distance) {
      Memory<Float> grad_output(100);
      grad_output.Fill(0);
      grad_output[1] = Float(1e8);
      grad_output[1 + distance] = 1;
      grad_output[1 + 2 * distance] = Float(-1e8);
      // Between the pixels 5 and 6 of the second row, of a slope of 1.
      const auto sums = SampleRow(isa, {0, 0, 1.5, 0, 0, 1}, 100, grad_output).second;
      CHECK(sums[2] == 1);
      CHECK(sums[0] == static_cast<double>(1 + distance) - 1e8 * 2 * static_cast<double>(distance));
    }
  }
}

// As a float, the size of such an image may be less than it is, or more.
TEST(FarOutsideOfAnImageThatIsLongerThanAFloatCanTell) {
  for (const int64_t size : {(1 << 24) + 1, (1 << 25) + 1, (1 << 26) + 2, (1 << 26) + 3}) {
    // Memory that is never touched takes no room.
    const std::unique_ptr<void, void (*)(void*)> zeros(
        std::calloc(static_cast<size_t>(2 * size), sizeof(Half)), std::free);
    Half* const data = static_cast<Half*>(zeros.get());
    for (int64_t i = size - 16; i < size; ++i) data[i] = data[size + i] = Half(1);
    for (const Isa isa : IsasHere()) {
      const auto& loops = *LoopsOf<LoopKind::kBilinear, WarpPoints<2, float>, Half>(isa);
      const std::vector<double> far = {1e30, 0, kInf, 1, 2.0 * static_cast<double>(size), 0.5};
      const Memory<Half> output = SampleAt(loops, {{2, size}, 1}, data, far);
      for (int64_t i = 0; i < output.size(); ++i) CHECK(SameBits(output[i], Half()));
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
    Case c = choose.Bilinear();
    c.place = i % 2 == 0 ? Place::kNear : Place::kMostlyInside;
    CheckCase(c);
  }
  _mm_setcsr(before);
}
#endif

}  // namespace
}  // namespace tf_stn

int main() {
  for (int i = 0; i < static_cast<int>(tf_stn::Isa::kCount); ++i) {
    if (!tf_stn::IsHere(static_cast<tf_stn::Isa>(i))) {
      std::printf("skipped: this processor has no %s\n", tf_stn::kIsaNames[i]);
    }
  }
  return tf_stn::RunAllTests();
}

// A fuzz target: any bytes are decoded to a problem, of any shape, mode, rank, source of points and
// type, which the plain loops solve, and the vector loops for an instruction set where they take
// it. It is then run as a whole, on one thread and on several.
//
// Memory ends where the last element does, so that sanitizers see whatever is read beyond.  Results
// must have the same bits however the work is divided, and be finite where the inputs are.  Whether
// a result is a NaN must not depend on the division either, but the NaN's sign and payload may: of
// two NaNs that are added, a processor keeps the one that the compiler put first.
//
// Sanitizers watch the loops, and all memory that they touch; this file needs none.  It is linked
// with cc/kernels/cpu/plain.cc and cc/kernels/cpu/run.cc.  With TF_STN_FUZZ_CPU_LOOPS=avx2 it needs
// the vector loops for this instruction set, too, which the processor must have.
//
// Under clang, link with -fsanitize=fuzzer and define TF_STN_LIBFUZZER.  Otherwise main() makes
// inputs by itself: fuzz [count [seed [first]]], or fuzz file... for those of a fuzzer.

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
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
#include "cc/kernels/cpu/host.h"
#include "cc/kernels/cpu/isa.h"
#include "cc/kernels/cpu/loops.h"
#include "cc/kernels/cpu/run.h"
#include "tests/cpp/support.h"

namespace tf_stn {

// In place of cc/kernels/cpu/loops.cc: the loops in vectors for the one instruction set, if any.
template <LoopKind kKind, typename Points, typename T>
const Loops<Points, T>* LoopsForThisCpu() {
  if constexpr (kKind == LoopKind::kPlain) {
    return &PlainLoops<Points, T>();
#if defined(TF_STN_FUZZ_CPU_LOOPS)
  } else if constexpr (kKind == LoopKind::kSeparable) {
    return &TF_STN_FUZZ_CPU_LOOPS::SeparableLoops<Points, T>();
  } else if constexpr (Points::kRank == 2) {
    return &TF_STN_FUZZ_CPU_LOOPS::BilinearLoops<Points, T>();
#endif
  }
  return nullptr;
}

#define TF_STN_INSTANTIATE_KIND(kind, Source, Rank, T) \
  template const Loops<Source<Rank, Coordinate<T>>, T>* LoopsForThisCpu<LoopKind::kind>();
#define TF_STN_INSTANTIATE_FOR(Source, Rank, T)        \
  TF_STN_INSTANTIATE_KIND(kBilinear, Source, Rank, T)  \
  TF_STN_INSTANTIATE_KIND(kSeparable, Source, Rank, T) \
  TF_STN_INSTANTIATE_KIND(kPlain, Source, Rank, T)
#define TF_STN_INSTANTIATE(T, ...)                     \
  TF_STN_FOR_EACH_SOURCE(TF_STN_INSTANTIATE_FOR, 2, T) \
  TF_STN_FOR_EACH_SOURCE(TF_STN_INSTANTIATE_FOR, 3, T)
TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_INSTANTIATE)
#undef TF_STN_INSTANTIATE
#undef TF_STN_INSTANTIATE_FOR
#undef TF_STN_INSTANTIATE_KIND

namespace {

// What is being checked, for the report of a failure.
const char* doing = "";

#define REQUIRE(condition)                                                                 \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      std::printf("%s:%d: %s: %s does not hold\n", __FILE__, __LINE__, doing, #condition); \
      std::abort();                                                                        \
    }                                                                                      \
  } while (false)

// Reads choices from bytes, and from those of a random generator when there are none left.
class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), left_(size) {}

  template <typename T>
  T Take() {
    uint8_t bytes[sizeof(T)];
    for (uint8_t& byte : bytes) {
      byte = left_ > 0 ? *data_++ : static_cast<uint8_t>(rng_() >> 24);
      left_ -= left_ > 0;
    }
    T value;
    std::memcpy(&value, bytes, sizeof(T));
    return value;
  }

  int Below(int count) { return Take<uint8_t>() % count; }

  template <typename T, size_t N>
  T OneOf(const T (&values)[N]) {
    return values[Below(static_cast<int>(N))];
  }

 private:
  const uint8_t* data_;
  size_t left_;
  std::mt19937 rng_;
};

// A coordinate along an axis: any bits at all, or on one side of a border.
template <typename Real>
Real TakeCoordinate(Bytes& bytes, int64_t size) {
  const Real last = static_cast<Real>(size - 1);
  constexpr Real kMost = std::numeric_limits<Real>::max();
  constexpr Real kInfinity = std::numeric_limits<Real>::infinity();
  const Real places[] = {-2,       -1,      Real(-0.5), 0, last / 2, last, last + Real(0.5),
                         last + 1, last + 2};
  const Real far[] = {kInfinity,
                      -kInfinity,
                      kMost,
                      -kMost,
                      1e30f,
                      -3e9f,
                      0x1p31f,
                      -0x1p62f,
                      0x1p24f,
                      std::numeric_limits<Real>::quiet_NaN(),
                      std::numeric_limits<Real>::denorm_min()};
  switch (bytes.Below(6)) {
    case 0:
      return bytes.Take<Real>();
    case 1:
      return bytes.OneOf(far);
    case 2:
      return std::nextafter(bytes.OneOf(places), kInfinity);
    case 3:
      return std::nextafter(bytes.OneOf(places), -kInfinity);
    case 4:
      return bytes.OneOf(places);
    default:
      return static_cast<Real>(bytes.Take<uint16_t>()) / 65536 * static_cast<Real>(size + 4) - 2;
  }
}

template <typename Points>
Case TakeCase(Bytes& bytes) {
  const int64_t sides[] = {1, 2, 3, 4, 5, 9, 17};
  const int64_t channels[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 0};
  // Of points in a line: more than a block of them, too.
  const int64_t lengths[] = {0, 1, 2, 3, 4, 7, 16, 33, 40, 65, 70, 130};
  const int orders[] = {0, 0, 0, 1, 2, 3, 4, 100};
  Case c;
  c.modes.interpolation = bytes.OneOf(kInterpolations);
  c.modes.padding = bytes.OneOf(kPaddings);
  if (bytes.Below(3) == 0) {
    for (int d = 0; d < Points::kRank; ++d) c.modes.derivative[d] = bytes.OneOf(orders);
  }
  for (int d = 0; d < Points::kRank; ++d) c.size.push_back(bytes.OneOf(sides));
  c.images = bytes.Below(4);
  c.channels = bytes.OneOf(channels);
  c.rows = Points::kIsStored ? 1 : bytes.Below(6);
  c.columns = bytes.OneOf(lengths);
  c.shares_points = bytes.Below(3) == 0;
  c.has_fill = c.modes.padding == PaddingMode::kZeros && bytes.Below(3) == 0;
  c.odd_values = bytes.Below(4) == 0;
  c.place = bytes.OneOf(kPlaces);
  c.shift = bytes.Below(4);
  c.seed = bytes.Take<uint32_t>();
  return c;
}

template <typename Points, typename T>
struct FuzzProblem : Problem<Points, T> {
  using Real = Coordinate<T>;
  static constexpr int kRank = Points::kRank;

  explicit FuzzProblem(Bytes& bytes) : Problem<Points, T>(TakeCase<Points>(bytes)) {
    const auto& parameters = this->parameters;
    const int of_item = this->points.parameters_per_item();
    if (bytes.Below(2) == 0) {
      for (int64_t i = 0; i < parameters.size(); ++i) {
        const int64_t row = i % of_item / (Points::kIsStored ? 1 : kRank + 1);
        const int64_t coordinate = std::min<int64_t>(row, kRank - 1);
        parameters[i] = TakeCoordinate<Real>(bytes, this->sizes.image.size[kRank - 1 - coordinate]);
      }
    }
    is_finite = !this->c.odd_values;
    // Sums of a matrix's numbers, times columns and rows, are to be finite too, and what is divided
    // by a projective matrix's smallest divisor, twice.
    const bool is_divided = of_item == Points::kParameters && !Points::kIsStored;
    const Real most =
        is_divided ? Real(1e15) : std::numeric_limits<Real>::max() / (Points::kIsStored ? 1 : 1024);
    for (int64_t i = 0; i < parameters.size(); ++i) {
      is_finite = is_finite && std::abs(parameters[i]) <= most;
    }
    is_empty = this->sizes.points() * this->sizes.image.channels == 0;
    cut = bytes.Take<uint16_t>();
  }

  bool is_finite;  // All inputs are.
  bool is_empty;   // Nothing is sampled.
  int64_t cut;     // Where work is divided.
};

template <typename T>
bool IsNaN(T value) {
  return std::isnan(ToDouble(value));
}

// NaNs of any kind are the same.
template <typename T>
void RequireSame(const Memory<T>& result, const Memory<T>& expected) {
  REQUIRE(result.size() == expected.size());
  for (int64_t i = 0; i < result.size(); ++i) {
    if (SameBits(result[i], expected[i]) || (IsNaN(result[i]) && IsNaN(expected[i]))) continue;
    std::printf("element %d of %d is %.17g, expected %.17g\n", static_cast<int>(i),
                static_cast<int>(result.size()), ToDouble(result[i]), ToDouble(expected[i]));
    REQUIRE(!"the same bits");
  }
}

template <typename T>
void RequireFinite(const Memory<T>& memory) {
  if (std::is_same_v<T, Half>) return;  // Third derivatives may be larger than any.
  for (int64_t i = 0; i < memory.size(); ++i) REQUIRE(std::isfinite(ToDouble(memory[i])));
}

// Of 16 bits a computed number may have those of memory that is not written.
template <typename T>
void RequireWritten(const Memory<T>& memory) {
  if (sizeof(T) == 2) return;
  for (int64_t i = 0; i < memory.size(); ++i) REQUIRE(!memory.IsPoison(i));
}

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Aligned = std::unique_ptr<void, Free>;

// Memory as a host gives it, and not a byte behind it.
Aligned AllocateAligned(size_t bytes) {
  void* memory = nullptr;
  REQUIRE(posix_memalign(&memory, 64, bytes) == 0);
  if (bytes > 0) std::memset(memory, 0xa5, bytes);
  return Aligned(memory);
}

template <typename T>
Memory<T> ZeroMemory(int64_t count) {
  Memory<T> memory(count);
  memory.Fill(T{});
  return memory;
}

// Loops of a kind, by parts of a call.
template <typename Points, typename T>
class LoopsCheck {
 public:
  using Real = Coordinate<T>;
  static constexpr int kRank = Points::kRank;

  LoopsCheck(const FuzzProblem<Points, T>& problem, const Loops<Points, T>& loops)
      : problem_(problem), sizes_(problem.sizes), loops_(loops) {
    Call<Points, T> call{};
    problem.SetCall(&call);
    scratch_ = AllocateAligned(loops.scratch_bytes(call));
  }

  void Check() const {
    Sample();
    // The loops write to what they are given, never by these pointers of a call.
    const Memory<T> nothing(0);
    Gradients(loops_.first_order, [&](T*, Real* grad_points) {
      return problem_.Gradient(nothing.data(), grad_points);
    });
    if constexpr (Points::kIsStored) {
      for (const bool has_data : {true, false}) {
        Gradients(loops_.second_order, [&](T* samples, Real* grad_points) {
          auto call = problem_.SecondOrder(nothing.data(), grad_points, samples);
          call.grad_grad_data = has_data ? problem_.grad_grad_data.data() : nullptr;
          return call;
        });
      }
    }
  }

 private:
  // Some place in [0, count].
  int64_t CutOf(int64_t count) const { return problem_.cut % (count + 1); }

  void Sample() const {
    const int64_t count = sizes_.points(), cut = CutOf(count);
    const Memory<T> whole(problem_.grad_output.size(), problem_.c.shift), parts(whole.size());
    loops_.sample(problem_.Sample(whole.data()), 0, count, scratch_.get());
    loops_.sample(problem_.Sample(parts.data()), cut, count, scratch_.get());
    loops_.sample(problem_.Sample(parts.data()), 0, cut, scratch_.get());
    RequireWritten(whole);
    RequireSame(parts, whole);
    if (problem_.is_finite) RequireFinite(whole);
  }

  int64_t PointImages() const { return problem_.c.shares_points ? 1 : sizes_.images; }

  // Calls body(run, item, number) for the points of each item of each image, or, if they are
  // stored, of each image; these are numbered.
  template <typename Body>
  void ForItems(const Body& body) const {
    const int64_t count =
        Points::kIsStored ? sizes_.points_per_image : problem_.points.points_per_item();
    int64_t number = 0;
    for (int64_t n = 0; n < PointImages(); ++n) {
      for (int64_t begin = 0; begin < sizes_.points_per_image; begin += count) {
        body(Run{n, begin, begin + count}, number++);
      }
    }
  }

  template <typename CallType>
  struct OfPoints {
    Memory<Real> grad_points;
    Memory<double> item_sums;
    Memory<T> samples;
  };

  template <typename CallType>
  OfPoints<CallType> MakeOfPoints() const {
    const bool has_samples = std::is_same_v<CallType, SecondOrderCall<Points, T>>;
    const int64_t parameters = problem_.parameters.size();
    return {
        Memory<Real>(Points::kIsStored ? parameters : 0, problem_.c.shift),
        ZeroMemory<double>(Points::kIsStored ? 0 : problem_.points.stored * Points::kParameters),
        Memory<T>(has_samples ? problem_.grad_output.size() : 0, problem_.c.shift)};
  }

  // Runs of points, of which compute(run, item sums) adds to or writes the result.
  template <typename CallType, typename Compute>
  void InRuns(const OfPoints<CallType>& result, bool in_parts, const Compute& compute) const {
    ForItems([&](const Run& run, int64_t number) {
      double* const sums =
          Points::kIsStored ? nullptr : result.item_sums.data() + number * Points::kParameters;
      if (!in_parts) return compute(run, sums);
      const int64_t middle = run.begin + CutOf(run.end - run.begin);
      compute(Run{run.image, middle, run.end}, sums);
      compute(Run{run.image, run.begin, middle}, sums);
    });
  }

  template <typename GradientLoopsType, typename Make>
  void Gradients(const GradientLoopsType& loops, const Make& make) const {
    using CallType = decltype(make(nullptr, nullptr));
    const auto whole = MakeOfPoints<CallType>(), parts = MakeOfPoints<CallType>();
    const auto call = make(whole.samples.data(), whole.grad_points.data());
    const auto call_of_parts = make(parts.samples.data(), parts.grad_points.data());
    InRuns(whole, false,
           [&](const Run& run, double* sums) { loops.of_points(call, run, sums, scratch_.get()); });
    InRuns(parts, true, [&](const Run& run, double* sums) {
      loops.of_points(call_of_parts, run, sums, scratch_.get());
    });
    RequireWritten(whole.grad_points);
    RequireWritten(whole.samples);
    RequireSame(parts.grad_points, whole.grad_points);
    RequireSame(parts.samples, whole.samples);
    if (problem_.is_finite) {
      RequireFinite(whole.grad_points);
      RequireFinite(whole.item_sums);
      RequireFinite(whole.samples);
    }
    if constexpr (!Points::kIsStored) {
      CheckItemSums(loops, call, whole.item_sums, parts.item_sums);
    }
    if constexpr (std::is_same_v<CallType, SecondOrderCall<Points, T>>) {
      // Either of the outputs alone.
      const auto alone = MakeOfPoints<CallType>();
      for (const bool of_samples : {true, false}) {
        const auto one = make(of_samples ? alone.samples.data() : nullptr,
                              of_samples ? nullptr : alone.grad_points.data());
        InRuns(alone, false, [&](const Run& run, double* sums) {
          loops.of_points(one, run, sums, scratch_.get());
        });
      }
      RequireSame(alone.grad_points, whole.grad_points);
      RequireSame(alone.samples, whole.samples);
    }
    const Memory<Real> sums = DataGradient(loops, call);
    if (loops.of_both == nullptr || problem_.c.shares_points) return;
    const auto both = MakeOfPoints<CallType>();
    const auto call_of_both = make(both.samples.data(), both.grad_points.data());
    const Memory<Real> sums_of_both = ZeroMemory<Real>(sums.size());
    InRuns(both, false, [&](const Run& run, double* item_sums) {
      loops.of_both(call_of_both, run, sums_of_both.data() + run.image * sizes_.image.elements(),
                    item_sums, scratch_.get());
    });
    RequireSame(both.grad_points, whole.grad_points);
    RequireSame(both.item_sums, whole.item_sums);
    RequireSame(both.samples, whole.samples);
    RequireSame(sums_of_both, sums);
  }

  // The sums over a matrix's points depend on the division of these, as far as they are rounded.
  template <typename GradientLoopsType, typename CallType>
  void CheckItemSums(const GradientLoopsType& loops, const CallType& call,
                     const Memory<double>& whole, const Memory<double>& parts) const {
    if (!problem_.is_finite) return;
    ForItems([&](const Run& run, int64_t number) {
      double size[Points::kParameters] = {};
      for (int64_t q = run.begin; q < run.end; ++q) {
        double of_point[Points::kParameters] = {};
        loops.of_points(call, {run.image, q, q + 1}, of_point, scratch_.get());
        for (int k = 0; k < Points::kParameters; ++k) size[k] += std::abs(of_point[k]);
      }
      for (int k = 0; k < Points::kParameters; ++k) {
        const int64_t i = number * Points::kParameters + k;
        REQUIRE(std::abs(whole[i] - parts[i]) <= 1e-12 * size[k]);
      }
    });
  }

  // Returns the sums for whole images; in bands, with lists and without, they are the same.
  template <typename GradientLoopsType, typename CallType>
  Memory<Real> DataGradient(const GradientLoopsType& loops, const CallType& call) const {
    const int64_t slabs = sizes_.image.size[0], elements = sizes_.image.elements();
    // Odd addresses, as those of bands within images are.
    Memory<Real> whole(problem_.data.size(), problem_.c.shift);
    whole.Fill(0);
    for (int64_t n = 0; n < sizes_.images; ++n) {
      loops.of_data(call, {n, 0, slabs, nullptr, 0}, whole.data() + n * elements, scratch_.get());
    }
    if (problem_.is_finite) RequireFinite(whole);
    const Memory<T> pixels(whole.size());
    loops_.round(whole.data(), whole.size(), pixels.data());
    const Memory<T> rounded(whole.size());
    for (int64_t i = 0; i < whole.size(); ++i) rounded[i] = ToPixel<T>(whole[i]);
    RequireSame(pixels, rounded);
    // Two bands, or three, of which one may be empty.
    const int64_t a = CutOf(slabs), b = CutOf(a), bounds[] = {0, b, a, slabs};
    for (const bool has_lists : {false, true}) {
      if (has_lists && loops.find_bands == nullptr) continue;
      const Memory<Real> sums = ZeroMemory<Real>(whole.size());
      for (int64_t n = 0; n < sizes_.images; ++n) {
        std::vector<uint32_t> lists[3];
        if (has_lists) FindLists(loops, call, n, bounds, lists);
        for (size_t band = 0; band < 3; ++band) {
          if (bounds[band] == bounds[band + 1]) continue;
          // As long as it is, and not null.
          const Memory<uint32_t> list(static_cast<int64_t>(lists[band].size()));
          std::copy(lists[band].begin(), lists[band].end(), list.data());
          loops.of_data(
              call,
              {n, bounds[band], bounds[band + 1], has_lists ? list.data() : nullptr, list.size()},
              sums.data() + n * elements, scratch_.get());
        }
      }
      RequireSame(sums, whole);
    }
    return whole;
  }

  template <typename GradientLoopsType, typename CallType>
  void FindLists(const GradientLoopsType& loops, const CallType& call, int64_t n,
                 const int64_t* bounds, std::vector<uint32_t>* lists) const {
    const int64_t count = sizes_.points_per_image;
    const Memory<uint16_t> band_of_slab(sizes_.image.size[0]);
    for (int band = 0; band < 3; ++band) {
      std::fill(band_of_slab.data() + bounds[band], band_of_slab.data() + bounds[band + 1],
                static_cast<uint16_t>(band));
    }
    for (int64_t begin = 0; begin < count; begin += kBlockOfBands) {
      const Run block{n, begin, std::min(count, begin + kBlockOfBands)};
      const Memory<BandRange> ranges(block.end - block.begin);
      const BandRange all = loops.find_bands(call, block, band_of_slab.data(), ranges.data());
      if (all.is_none()) continue;
      REQUIRE(all.last < 3);
      if (all.first == all.last) {
        lists[all.first].push_back(static_cast<uint32_t>(begin) | Band::kRunOfPoints);
        continue;
      }
      for (int64_t q = begin; q < block.end; ++q) {
        const BandRange& range = ranges[q - begin];
        for (int band = range.first; band <= range.last; ++band) {
          REQUIRE(band < 3);
          lists[band].push_back(static_cast<uint32_t>(q));
        }
      }
    }
  }

  const FuzzProblem<Points, T>& problem_;
  const Sizes<kRank>& sizes_;
  const Loops<Points, T>& loops_;
  Aligned scratch_;
};

template <LoopKind kKind, typename Points, typename T>
void CheckLoops(const FuzzProblem<Points, T>& problem, const char* name) {
  const Loops<Points, T>* const loops = LoopsForThisCpu<kKind, Points, T>();
  Call<Points, T> call{};
  problem.SetCall(&call);
  if (loops == nullptr || !Accepts<kKind>(call)) return;
  doing = name;
  LoopsCheck<Points, T>(problem, *loops).Check();
}

// A host whose threads are the calling one: what they are given runs at once, or when the call has
// ended, as in threads that wake late.
class TestHost {
 public:
  // Of the allocations, number `failing` gives no memory.
  TestHost(int64_t threads, bool is_late, int failing) : failing_(failing) {
    host_.threads = threads;
    host_.schedule = [this, is_late](std::function<void()> function) {
      if (!is_late) return function();
      late_.push_back(std::move(function));
    };
    host_.allocate = [this](size_t bytes) -> void* {
      if (failing_-- == 0) return nullptr;
      memory_.push_back(AllocateAligned(bytes));
      return memory_.back().get();
    };
  }

  template <typename CallType>
  bool Run(const CallType& call) {
    const bool has_run = RunOnCpu(host_, call);
    memory_.clear();
    for (const auto& function : late_) function();
    late_.clear();
    return has_run;
  }

 private:
  Host host_;
  int failing_;
  std::vector<Aligned> memory_;
  std::vector<std::function<void()>> late_;
};

// Calls run(host) with hosts of all kinds, which writes the outputs that make() returns.  These
// must be the same, but for a host that has no memory.
template <typename Make, typename Run>
void OnHosts(const Make& make, bool is_finite, int64_t cut, const Run& run) {
  const auto expected = make();
  TestHost one(1, false, -1);
  REQUIRE(run(one, expected));
  expected.ForEach([&](const auto& memory) {
    RequireWritten(memory);
    if (is_finite) RequireFinite(memory);
  });
  for (const bool is_late : {false, true}) {
    const auto outputs = make();
    TestHost several(2 + cut % 15, is_late, -1);
    REQUIRE(run(several, outputs));
    outputs.RequireSameAs(expected);
  }
  const auto outputs = make();
  TestHost poor(2 + cut % 15, false, static_cast<int>(cut % 7));
  if (run(poor, outputs)) outputs.RequireSameAs(expected);
}

template <typename Points, typename T>
struct Outputs {
  using Real = Coordinate<T>;
  Memory<T> samples, grad_data;
  Memory<Real> grad_points;

  template <typename Body>
  void ForEach(const Body& body) const {
    body(samples);
    body(grad_data);
    body(grad_points);
  }

  void RequireSameAs(const Outputs& expected) const {
    RequireSame(samples, expected.samples);
    RequireSame(grad_data, expected.grad_data);
    RequireSame(grad_points, expected.grad_points);
  }

  T* samples_or_null() const { return samples.size() > 0 ? samples.data() : nullptr; }
  T* grad_data_or_null() const { return grad_data.size() > 0 ? grad_data.data() : nullptr; }
  Real* grad_points_or_null() const {
    return grad_points.size() > 0 ? grad_points.data() : nullptr;
  }
};

// Whole calls, by the loops that are chosen for them.
template <typename Points, typename T>
void CheckCalls(const FuzzProblem<Points, T>& problem, int wanted) {
  // Outputs that are wanted, one bit for each.
  const auto make = [&](bool samples, bool grad_data, bool grad_points) {
    return [&problem, samples, grad_data, grad_points] {
      const int shift = problem.c.shift;
      return Outputs<Points, T>{
          Memory<T>(samples ? problem.grad_output.size() : 0, shift),
          Memory<T>(grad_data ? problem.data.size() : 0, shift),
          Memory<Coordinate<T>>(grad_points ? problem.parameters.size() : 0, shift)};
    };
  };
  doing = "call of samples";
  OnHosts(
      make(true, false, false), problem.is_finite, problem.cut,
      [&](TestHost& host, const auto& to) { return host.Run(problem.Sample(to.samples.data())); });
  doing = "call of gradients";
  OnHosts(make(false, wanted & 1, wanted & 2), problem.is_finite, problem.cut,
          [&](TestHost& host, const auto& to) {
            return host.Run(problem.Gradient(to.grad_data_or_null(), to.grad_points_or_null()));
          });
  if constexpr (Points::kIsStored) {
    doing = "call of gradients of gradients";
    OnHosts(make(wanted & 4, wanted & 1, wanted & 2), problem.is_finite, problem.cut,
            [&](TestHost& host, const auto& to) {
              auto call = problem.SecondOrder(to.grad_data_or_null(), to.grad_points_or_null(),
                                              to.samples_or_null());
              call.grad_grad_data = wanted & 8 ? problem.grad_grad_data.data() : nullptr;
              call.grad_grad_points = wanted & 16 ? problem.grad_grad_points.data() : nullptr;
              return host.Run(call);
            });
  }
}

template <typename Points, typename T>
void Run(Bytes& bytes) {
  const int wanted = bytes.Take<uint8_t>();
  const FuzzProblem<Points, T> problem(bytes);
  // Loops are not asked for nothing.
  if (!problem.is_empty) {
    CheckLoops<LoopKind::kPlain>(problem, "plain loops");
    CheckLoops<LoopKind::kSeparable>(problem, "separable loops");
    CheckLoops<LoopKind::kBilinear>(problem, "bilinear loops");
  }
  CheckCalls(problem, wanted);
}

// Runs a problem of one of the sources and ranks that there are.
template <typename T>
void RunType(Bytes& bytes) {
  void (*const kRuns[])(Bytes&) = {
#define TF_STN_RUN(Source, Rank, T) &Run<Source<Rank, Coordinate<T>>, T>,
      TF_STN_FOR_EACH_SOURCE(TF_STN_RUN, 2, T) TF_STN_FOR_EACH_SOURCE(TF_STN_RUN, 3, T)
#undef TF_STN_RUN
  };
  bytes.OneOf(kRuns)(bytes);
}

}  // namespace
}  // namespace tf_stn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tf_stn;
  Bytes bytes(data, size);
  void (*const kRuns[])(Bytes&) = {
#define TF_STN_RUN(T, ...) &RunType<T>,
      TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_RUN)
#undef TF_STN_RUN
  };
  bytes.OneOf(kRuns)(bytes);
  return 0;
}

#if !defined(TF_STN_LIBFUZZER)

namespace {

// What is being run, for a report of its end.
unsigned long long seed = 1, number = 0;

extern "C" void PrintInput() {
  std::printf("input %llu of seed %llu: fuzz 1 %llu %llu\n", number, seed, seed, number);
  std::fflush(stdout);
}

void RunInput(unsigned long long index) {
  number = index;
  std::seed_seq sequence{seed, seed >> 32, index, index >> 32};
  std::mt19937 rng(sequence);
  const size_t size = rng() % 8 == 0 ? rng() % 2000 : 40 + rng() % 400;
  const auto bytes = std::make_unique<uint8_t[]>(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(rng() >> 24);
  LLVMFuzzerTestOneInput(bytes.get(), size);
}

void RunFile(const char* name) {
  std::ifstream file(name, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

extern "C" void __sanitizer_set_death_callback(void (*callback)()) __attribute__((weak));

int main(int count_of_arguments, char** arguments) {
  const auto number_at = [&](int i, unsigned long long otherwise) {
    return i < count_of_arguments ? std::strtoull(arguments[i], nullptr, 10) : otherwise;
  };
  if (count_of_arguments > 1 && number_at(1, 0) == 0) {
    for (int i = 1; i < count_of_arguments; ++i) RunFile(arguments[i]);
    return 0;
  }
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(PrintInput);
  std::signal(SIGABRT, [](int) { PrintInput(); });
  const unsigned long long count = number_at(1, 1000);
  seed = number_at(2, 1);
  const unsigned long long first = number_at(3, 0);
  for (unsigned long long i = first; i < first + count; ++i) RunInput(i);
  std::printf("%llu inputs of seed %llu\n", count, seed);
  return 0;
}

#endif

// A fuzz target: any bytes are decoded to a problem, of any shape, mode, rank and type, which
// the loops of cc/core solve, and those of the CPU's vectors where they take it.  Memory ends
// where the last element does, so that sanitizers see whatever is read beyond; besides,
// results must not depend on how the work is divided, and must be finite where the inputs are.
//
// Under clang, link with -fsanitize=fuzzer and define TF_STN_LIBFUZZER.  Otherwise main()
// makes inputs by itself: fuzz [count [seed [first]]], or fuzz file... for those of a fuzzer.

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <random>
#include <type_traits>
#include <vector>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/core/modes.h"
#include "cc/core/resample.h"
#include "cc/kernels/resampler.h"

#if defined(TF_STN_FUZZ_CPU_LOOPS)
#include "cc/kernels/resampler_cpu.h"
#endif

namespace tf_stn {
namespace {

#define REQUIRE(condition)                                                      \
  do {                                                                          \
    if (!(condition)) {                                                         \
      std::printf("%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      std::fflush(stdout);                                                      \
      std::abort();                                                             \
    }                                                                           \
  } while (false)

// Reads choices from bytes; zeros when there are none left.
class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), left_(size) {}

  template <typename T>
  T Take() {
    T value{};
    const size_t count = std::min(sizeof(T), left_);
    if (count > 0) std::memcpy(&value, data_, count);
    data_ += count;
    left_ -= count;
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
};

// Elements, and not a byte behind them.
template <typename T>
class Memory {
 public:
  explicit Memory(int64_t count)
      : count_(count), data_(static_cast<T*>(std::malloc(sizeof(T) * static_cast<size_t>(count)))) {
    if (count > 0) std::memset(static_cast<void*>(data_.get()), 0xa5, bytes());
  }
  T* data() const { return data_.get(); }
  T& operator[](int64_t i) const { return data_.get()[i]; }
  int64_t size() const { return count_; }
  size_t bytes() const { return sizeof(T) * static_cast<size_t>(count_); }

 private:
  struct Free {
    void operator()(T* data) const { std::free(data); }
  };
  int64_t count_;
  std::unique_ptr<T, Free> data_;
};

template <typename T>
double ToDouble(T value) {
  return static_cast<double>(static_cast<Coordinate<T>>(value));
}

// A coordinate along an axis: any bits at all, or on one side of a border.
template <typename Real>
Real TakeCoordinate(Bytes& bytes, int64_t size) {
  const Real last = static_cast<Real>(size - 1);
  constexpr Real kMost = std::numeric_limits<Real>::max();
  constexpr Real kInf = std::numeric_limits<Real>::infinity();
  const Real places[] = {-2,       -1,      Real(-0.5), 0, last / 2, last, last + Real(0.5),
                         last + 1, last + 2};
  const Real far[] = {kInf,
                      -kInf,
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
      return std::nextafter(bytes.OneOf(places), kInf);
    case 3:
      return std::nextafter(bytes.OneOf(places), -kInf);
    case 4:
      return bytes.OneOf(places);
    default:
      return static_cast<Real>(bytes.Take<uint16_t>()) / 65536 * static_cast<Real>(size + 4) - 2;
  }
}

template <typename Points, typename T>
struct Problem {
  static constexpr int kRank = Points::kRank;
  using Real = Coordinate<T>;
  static constexpr bool kIsAffine = std::is_same_v<Points, AffinePoints<kRank, Real>>;
  static constexpr int64_t kNumbers = kIsAffine ? kRank * (kRank + 1) : kRank;

  // What Points needs besides its numbers: how many of them an image has, and sizes.
  struct Layout {
    ResamplerSizes<kRank> sizes;
    int64_t per_image, stored;  // Points or matrices.
    int64_t output_size[kRank];
  };

  static Layout TakeLayout(Bytes& bytes) {
    Layout layout{};
    const int64_t sides[] = {1, 2, 3, 4, 5, 9, 17};
    const int64_t channels[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 0};
    for (int64_t& side : layout.sizes.image.size) side = bytes.OneOf(sides);
    layout.sizes.image.channels = bytes.OneOf(channels);
    layout.sizes.images = bytes.Below(4);
    int64_t of_output = 1;
    for (int64_t& side : layout.output_size) {
      side = kIsAffine ? bytes.Below(6) : 1;
      of_output *= side;
    }
    const int64_t items = kIsAffine ? bytes.Below(3) : bytes.Below(40);
    const bool is_shared = bytes.Below(3) == 0;
    layout.per_image = is_shared ? 0 : items;
    layout.stored = is_shared ? items : items * layout.sizes.images;
    layout.sizes.points_per_image = items * of_output;
    return layout;
  }

  explicit Problem(Bytes& bytes)
      : layout(TakeLayout(bytes)),
        sizes(layout.sizes),
        data(sizes.images * sizes.image.elements()),
        numbers(layout.stored * kNumbers),
        grad_output(sizes.points() * sizes.image.channels),
        fill(sizes.image.channels),
        grad_grad_data(data.size()),
        grad_grad_points(numbers.size()) {
    const InterpolationMode interpolations[] = {
        InterpolationMode::kLinear, InterpolationMode::kNearest, InterpolationMode::kCubic};
    const PaddingMode paddings[] = {PaddingMode::kZeros, PaddingMode::kBorder,
                                    PaddingMode::kReflect, PaddingMode::kSymmetric,
                                    PaddingMode::kWrap};
    modes.interpolation = bytes.OneOf(interpolations);
    modes.padding = bytes.OneOf(paddings);
    const int orders[] = {0, 0, 0, 1, 2, 3, 4, 100};
    if (bytes.Below(3) == 0) {
      for (int d = 0; d < kRank; ++d) modes.derivative[d] = bytes.OneOf(orders);
    }
    has_fill = modes.padding == PaddingMode::kZeros && bytes.Below(3) == 0;
    has_odd_values = bytes.Below(4) == 0;
    std::mt19937 rng(bytes.Take<uint32_t>());
    const auto set = [&](const Memory<T>& memory) {
      for (int64_t i = 0; i < memory.size(); ++i) memory[i] = Value<T>(rng);
    };
    for (const auto* memory : {&data, &grad_output, &fill, &grad_grad_data}) set(*memory);
    for (int64_t i = 0; i < numbers.size(); ++i) {
      grad_grad_points[i] = static_cast<Real>(static_cast<int>(rng() % 17) - 8) / 8;
      const int64_t coordinate = kIsAffine ? i / (kRank + 1) % kRank : i % kRank;
      numbers[i] = TakeCoordinate<Real>(bytes, sizes.image.size[kRank - 1 - coordinate]);
      has_finite_points = has_finite_points && std::isfinite(numbers[i]);
    }
    if constexpr (kIsAffine) {
      points = {numbers.data(), layout.per_image, layout.stored, {}};
      std::copy(std::begin(layout.output_size), std::end(layout.output_size), points.size);
      has_finite_points = false;  // Their sums may overflow.
    } else {
      points = {numbers.data(), layout.per_image, layout.stored};
    }
  }

  template <typename Value_>
  Value_ Value(std::mt19937& rng) const {
    if (has_odd_values && rng() % 8 == 0) {
      const Real odd[] = {std::numeric_limits<Real>::quiet_NaN(),
                          std::numeric_limits<Real>::infinity(), std::numeric_limits<Real>::max(),
                          std::numeric_limits<Real>::denorm_min(), -Real(0)};
      return static_cast<Value_>(odd[rng() % std::size(odd)]);
    }
    return static_cast<Value_>(static_cast<Real>(static_cast<int>(rng() % 33) - 16) / 8);
  }

  const T* fill_or_null() const { return has_fill ? fill.data() : nullptr; }

  Layout layout;
  ResamplerSizes<kRank> sizes;
  Modes modes;
  bool has_fill = false, has_odd_values = false, has_finite_points = true;
  Memory<T> data;
  Memory<Real> numbers;  // Of the warp or the matrices.
  Memory<T> grad_output, fill, grad_grad_data;
  Memory<Real> grad_grad_points;
  Points points{};
};

// Calls compute(begin, end, result) for [0, total) as a whole and in parts, and returns the
// result, which must be the same.
template <typename T, typename Compute>
Memory<T> WholeAndInParts(int64_t size, int64_t total, int64_t cut, const Compute& compute) {
  Memory<T> whole(size), parts(size);
  compute(0, total, whole.data());
  cut = total == 0 ? 0 : cut % total;
  compute(cut, total, parts.data());
  compute(0, cut, parts.data());
  REQUIRE(size == 0 || std::memcmp(whole.data(), parts.data(), whole.bytes()) == 0);
  return whole;
}

template <typename T>
void RequireFinite(const Memory<T>& memory) {
  if (std::is_same_v<T, Half>) return;  // Third derivatives may be larger than any.
  for (int64_t i = 0; i < memory.size(); ++i) REQUIRE(std::isfinite(ToDouble(memory[i])));
}

// Runs scatter(n, first row, end of rows, image) for whole images and in two bands.
template <typename Points, typename T, typename Scatter>
Memory<Coordinate<T>> Scattered(const Problem<Points, T>& problem, int64_t cut,
                                const Scatter& scatter) {
  const int64_t elements = problem.sizes.image.elements(), rows = problem.sizes.image.size[0];
  return WholeAndInParts<Coordinate<T>>(
      problem.data.size(), problem.sizes.images * rows, cut,
      [&](int64_t begin, int64_t end, Coordinate<T>* sums) {
        for (int64_t n = begin / rows; n * rows < end; ++n) {
          const int64_t first = std::max(begin, n * rows), last = std::min(end, (n + 1) * rows);
          scatter(n, first - n * rows, last - n * rows, sums + n * elements);
        }
      });
}

template <typename Stencil, typename Points, typename T>
void RunCore(const Problem<Points, T>& problem, const typename Stencil::Rules& rules, int64_t cut) {
  using Real = Coordinate<T>;
  const auto& sizes = problem.sizes;
  const auto& points = problem.points;
  const T* const grad_output = problem.grad_output.data();
  const Images<Stencil, T> images{rules,
                                  sizes.image,
                                  sizes.images,
                                  sizes.points_per_image,
                                  problem.data.data(),
                                  problem.fill_or_null()};
  const int64_t samples = problem.grad_output.size();
  const auto output = WholeAndInParts<T>(
      samples, sizes.points(), cut,
      [&](int64_t begin, int64_t end, T* to) { SamplePoints(images, points, begin, end, to); });
  const auto grad_points = WholeAndInParts<Real>(
      problem.numbers.size(), points.stored, cut, [&](int64_t begin, int64_t end, Real* to) {
        if constexpr (Problem<Points, T>::kIsAffine) {
          MatrixGradients(images, points, grad_output, begin, end, to);
        } else {
          WarpGradientOfPoints(images, points, grad_output, begin, end, to);
        }
      });
  const auto grad_data =
      Scattered(problem, cut, [&](int64_t n, int64_t begin, int64_t end, Real* image) {
        DataGradientOfRows(images, points, grad_output, n, begin, end, image);
      });
  if (problem.has_finite_points && !problem.has_odd_values) {
    RequireFinite(output);
    RequireFinite(grad_points);
    RequireFinite(grad_data);
  }
  if constexpr (!Problem<Points, T>::kIsAffine) {
    for (int absent = 0; absent < 3; ++absent) {
      const SecondOrder<Stencil, T> second{grad_output,
                                           absent == 1 ? nullptr : problem.grad_grad_data.data(),
                                           absent == 2 ? nullptr : problem.grad_grad_points.data()};
      const auto of_output =
          WholeAndInParts<T>(samples, sizes.points(), cut, [&](int64_t begin, int64_t end, T* to) {
            SecondOrderSamples(images, points, second, begin, end, to);
          });
      const auto of_points = WholeAndInParts<Real>(
          problem.numbers.size(), points.stored, cut, [&](int64_t begin, int64_t end, Real* to) {
            SecondOrderWarpGradient(images, points, second, begin, end, to);
          });
      const auto of_data =
          Scattered(problem, cut, [&](int64_t n, int64_t begin, int64_t end, Real* image) {
            SecondOrderDataGradientOfRows(images, points, second, n, begin, end, image);
          });
      if (problem.has_finite_points && !problem.has_odd_values) {
        RequireFinite(of_output);
        RequireFinite(of_points);
        RequireFinite(of_data);
      }
    }
  }
}

#if defined(TF_STN_FUZZ_CPU_LOOPS)
// Whether there are loops in vectors for this: as LoopsFor() in cc/kernels/functors_bilinear.h.
template <typename Points, typename T>
bool IsForCpuLoops(const Problem<Points, T>& problem) {
  const auto& sizes = problem.sizes;
  return problem.modes.is_linear_with_zeros() && sizes.image.size[0] >= 2 &&
         sizes.image.size[1] >= 2 && !problem.has_fill && problem.points.per_image != 0 &&
         sizes.images > 0 && (!Problem<Points, T>::kIsAffine || problem.points.per_image == 1);
}

template <typename T>
void RunSecondOrderLoops(const Problem<WarpPoints<2, Coordinate<T>>, T>& problem) {
  using Real = Coordinate<T>;
  const auto& sizes = problem.sizes;
  for (const bool has_both : {true, false}) {
    const Memory<T> grad_data(problem.data.size()), grad_grad_output(problem.grad_output.size());
    const Memory<Real> copy(problem.data.size()), grad_points(problem.numbers.size());
    Real* sums = copy.data();
    if constexpr (std::is_same_v<T, Real>) sums = grad_data.data();
    for (int64_t n = 0; n < sizes.images; ++n) {
      SecondOrderLoopsForThisCpu<T>()->gradients(
          {problem.modes, sizes, problem.data.data(), nullptr, problem.points,
           problem.grad_output.data(), has_both ? problem.grad_grad_data.data() : nullptr,
           problem.grad_grad_points.data(), grad_data.data(), grad_points.data(),
           grad_grad_output.data()},
          {n, 0, sizes.points_per_image, 0, sizes.image.size[0]}, nullptr, sums);
    }
    if (problem.has_finite_points && !problem.has_odd_values) {
      RequireFinite(grad_data);
      RequireFinite(grad_points);
      RequireFinite(grad_grad_output);
    }
  }
}

// The loops for the instruction set that TF_STN_CPU_ISA names.
template <typename Points, typename T>
void RunCpuLoops(const Problem<Points, T>& problem, int64_t cut) {
  using Real = Coordinate<T>;
  const CpuLoops<Points, T>* const loops = LoopsForThisCpu<Points, T>();
  if (loops == nullptr || !IsForCpuLoops(problem)) return;
  const auto& sizes = problem.sizes;
  const auto output = WholeAndInParts<T>(
      problem.grad_output.size(), sizes.points(), cut, [&](int64_t begin, int64_t end, T* to) {
        loops->sample({problem.modes, sizes, problem.data.data(), nullptr, problem.points, to},
                      begin, end);
      });
  const Memory<T> grad_data(problem.data.size());
  const Memory<Real> copy(problem.data.size()), grad_points(problem.numbers.size());
  Real* sums = copy.data();
  if constexpr (std::is_same_v<T, Real>) sums = grad_data.data();
  for (int64_t n = 0; n < sizes.images; ++n) {
    MatrixSums matrix_sums;
    loops->gradients({problem.modes, sizes, problem.data.data(), nullptr, problem.points,
                      problem.grad_output.data(), grad_data.data(), grad_points.data()},
                     {n, 0, sizes.points_per_image, 0, sizes.image.size[0]}, nullptr, sums,
                     Problem<Points, T>::kIsAffine ? &matrix_sums : nullptr);
  }
  if (problem.has_finite_points && !problem.has_odd_values) {
    RequireFinite(output);
    RequireFinite(grad_data);
    RequireFinite(grad_points);
  }
  if constexpr (!Problem<Points, T>::kIsAffine) RunSecondOrderLoops(problem);
}

// Whether there are loops for every mode for this: as AnyLoopsFor() in functors_any.h.
template <typename Points, typename T>
bool IsForAnyLoops(const Problem<Points, T>& problem) {
  constexpr int kRank = Points::kRank;
  const int64_t* const size = problem.sizes.image.size;
  return !problem.modes.has_derivative() && size[kRank - 1] >= 2 && size[kRank - 2] >= 2 &&
         problem.sizes.points() > 0 && problem.sizes.image.channels > 0;
}

template <typename Points, typename T>
void RunAnyLoops(const Problem<Points, T>& problem, bool is_directed, int64_t cut) {
  using Real = Coordinate<T>;
  const AnyCpuLoops<Points, T>* const loops = AnyLoopsForThisCpu<Points, T>();
  if (loops == nullptr || !IsForAnyLoops(problem)) return;
  const auto& sizes = problem.sizes;
  CpuSampling<Points, T> sampling{
      problem.modes, sizes, problem.points, nullptr, {}, 0, problem.grad_output.data()};
  if (is_directed) {
    sampling.directions = problem.grad_grad_points.data();
    sampling.terms[sampling.terms_count++] = {problem.grad_grad_data.data(), nullptr, false};
  }
  sampling.terms[sampling.terms_count++] = {problem.data.data(), problem.fill_or_null(),
                                            is_directed};
  const auto output = WholeAndInParts<T>(
      problem.grad_output.size(), sizes.points(), cut,
      [&](int64_t begin, int64_t end, T* to) { loops->sample(sampling, begin, end, to); });
  const auto grad_data =
      Scattered(problem, cut, [&](int64_t n, int64_t begin, int64_t end, Real* image) {
        loops->scatter(sampling, n, begin, end, nullptr, image);
      });
  Memory<Real> grad_points(0);
  if constexpr (Problem<Points, T>::kIsAffine) {
    double sums[Points::kParameters];
    for (int64_t i = 0; i < problem.points.stored; ++i) {
      loops->matrix_gradient(sampling, i, 0, problem.points.output_points(), sums);
    }
  } else {
    grad_points = WholeAndInParts<Real>(problem.numbers.size(), problem.points.stored, cut,
                                        [&](int64_t begin, int64_t end, Real* to) {
                                          loops->warp_gradient(sampling, begin, end, to);
                                        });
  }
  if (problem.has_finite_points && !problem.has_odd_values) {
    RequireFinite(output);
    RequireFinite(grad_data);
    RequireFinite(grad_points);
  }
}
#endif

template <typename Points, typename T>
void Run(Bytes& bytes) {
  const int64_t cut = bytes.Take<uint16_t>();
  const Problem<Points, T> problem(bytes);
  VisitStencil<Points::kRank, Coordinate<T>>(problem.modes, [&](auto tag, const auto& rules) {
    RunCore<typename decltype(tag)::type>(problem, rules, cut);
  });
#if defined(TF_STN_FUZZ_CPU_LOOPS)
  if constexpr (Points::kRank == 2) RunCpuLoops(problem, cut);
  RunAnyLoops(problem, false, cut);
  if constexpr (!Problem<Points, T>::kIsAffine) RunAnyLoops(problem, true, cut);
#endif
}

template <typename T>
void RunType(Bytes& bytes) {
  switch (bytes.Below(4)) {
    case 0:
      return Run<WarpPoints<2, Coordinate<T>>, T>(bytes);
    case 1:
      return Run<WarpPoints<3, Coordinate<T>>, T>(bytes);
    case 2:
      return Run<AffinePoints<2, Coordinate<T>>, T>(bytes);
    default:
      return Run<AffinePoints<3, Coordinate<T>>, T>(bytes);
  }
}

}  // namespace
}  // namespace tf_stn

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tf_stn::Bytes bytes(data, size);
  switch (bytes.Below(4)) {
#if !defined(TF_STN_FUZZ_QUICK)  // To compile: the others have as much in common with these.
    case 0:
      tf_stn::RunType<tf_stn::BFloat16>(bytes);
      break;
    case 1:
      tf_stn::RunType<float>(bytes);
      break;
#endif
    case 2:
      tf_stn::RunType<double>(bytes);
      break;
    default:
      tf_stn::RunType<tf_stn::Half>(bytes);
  }
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

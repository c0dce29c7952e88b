// What the tests of the GPU kernels share: problems, the plain loops that solve them, and
// comparisons with what the kernels return.

#ifndef TF_STN_TESTS_CPP_GPU_SUPPORT_H_
#define TF_STN_TESTS_CPP_GPU_SUPPORT_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "cc/core/call.h"
#include "cc/core/modes.h"
#include "cc/core/pixel_types.h"
#include "cc/core/plain_loops.h"
#include "cc/kernels/gpu/launchers.h"
#include "tests/cpp/check.h"

namespace tf_stn {

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kInf = std::numeric_limits<double>::infinity();

// Relative to the largest number in a result: rounding to T, or a float32 sum in
// another order.
template <typename T>
constexpr double kTolerance = std::is_same_v<T, double>     ? 1e-14
                              : std::is_same_v<T, float>    ? 2e-6
                              : std::is_same_v<T, BFloat16> ? 1e-2
                                                            : 2e-3;

// Memory that begins `shift` elements after a multiple of 16 bytes and ends where
// its last element does.
template <typename T>
class Memory {
 public:
  Memory(int64_t count, int shift, T value = T())
      : values_(static_cast<size_t>(count + shift + 16)), count_(count) {
    const auto begin = reinterpret_cast<uintptr_t>(values_.data());
    const size_t skip = (16 - begin % 16) % 16 / sizeof(T);
    start_ = skip + static_cast<size_t>(shift);
    values_.resize(start_ + static_cast<size_t>(count));
    values_.shrink_to_fit();
    std::fill(values_.begin(), values_.end(), value);
  }
  T* data() { return values_.data() + start_; }
  int64_t size() const { return count_; }
  T& operator[](int64_t i) { return data()[i]; }

 private:
  std::vector<T> values_;
  size_t start_;
  int64_t count_;
};

struct Case {
  int64_t images, height, width, channels, points;
  int shift = 0;            // Of all memory, to spoil its alignment.
  bool crowded = false;     // All points on one pixel.
  bool odd_pixels = false;  // NaN, infinities and -0 among them.
  bool shared = false;      // All images share the points.
  int64_t outputs = 1;      // Of each image, all with as many points.
  bool fill = false;
  Modes modes = {};
  bool infinite_edges = false;
};

inline std::string Name(const Case& c) {
  char text[256];
  std::snprintf(text, sizeof(text),
                "interpolation %d padding %d derivative %d %d %d images %d size %dx%d channels %d "
                "outputs %d points %d shift %d%s%s",
                static_cast<int>(c.modes.interpolation), static_cast<int>(c.modes.padding),
                c.modes.derivative[0], c.modes.derivative[1], c.modes.derivative[2],
                static_cast<int>(c.images), static_cast<int>(c.height), static_cast<int>(c.width),
                static_cast<int>(c.channels), static_cast<int>(c.outputs),
                static_cast<int>(c.points), c.shift, c.shared ? " shared" : "",
                c.fill ? " fill" : "");
  return text;
}

template <typename T>
void Randomize(std::mt19937& rng, Memory<T>& memory) {
  std::uniform_real_distribution<double> value(-1, 1);
  for (int64_t i = 0; i < memory.size(); ++i) memory[i] = T(static_cast<Coordinate<T>>(value(rng)));
}

// Volumes are three slices deep.
template <int Rank>
Extent<Rank> ExtentOf(const Case& c) {
  if constexpr (Rank == 2) {
    return {{c.height, c.width}, c.channels};
  } else {
    return {{3, c.height, c.width}, c.channels};
  }
}

// Images and gradients of the outputs, with points yet to come.
template <int Rank, typename T>
struct Problem {
  using Type = T;
  using Real = Coordinate<T>;
  static constexpr int kRank = Rank;

  explicit Problem(const Case& c)
      : modes(c.modes),
        sizes{ExtentOf<Rank>(c), c.images, c.outputs * c.points},
        data(sizes.images * sizes.image.elements(), c.shift),
        fill(c.fill ? c.channels : 0, c.shift),
        grad_output(sizes.points() * c.channels, c.shift) {
    Randomize(rng, data);
    Randomize(rng, fill);
    Randomize(rng, grad_output);
    const double odd_pixels[] = {kNaN, kInf, -kInf, -0.0};
    for (int64_t i = 0; c.odd_pixels && i < data.size(); i += 7) {
      data[i] = T(static_cast<Real>(odd_pixels[i / 7 % 4]));
    }
    for (int64_t i = 0; c.infinite_edges && i < data.size(); ++i) {
      const int64_t x = i / c.channels % c.width, y = i / c.channels / c.width % c.height;
      const bool is_edge = x == 0 || y == 0 || x == c.width - 1 || y == c.height - 1;
      if (is_edge) data[i] = T(static_cast<Real>(kInf));
    }
  }

  const T* fill_or_null() { return fill.size() > 0 ? fill.data() : nullptr; }

  template <typename Points>
  Call<Points, T> CallOf(const Points& points) {
    return {modes, sizes, data.data(), fill_or_null(), points};
  }

  std::mt19937 rng{1};
  Modes modes;
  Sizes<Rank> sizes;
  Memory<T> data;
  Memory<T> fill;
  Memory<T> grad_output;
};

template <typename T>
void CheckEqual(Memory<T>& gpu, Memory<T>& cpu, double tolerance, const std::string& what) {
  using Real = Coordinate<T>;
  double scale = 1e-30;
  for (int64_t i = 0; i < cpu.size(); ++i) {
    const double value = std::abs(static_cast<double>(static_cast<Real>(cpu[i])));
    if (std::isfinite(value)) scale = std::max(scale, value);
  }
  for (int64_t i = 0; i < cpu.size(); ++i) {
    const double a = static_cast<double>(static_cast<Real>(gpu[i]));
    const double b = static_cast<double>(static_cast<Real>(cpu[i]));
    if (Near(a, b, tolerance * scale)) continue;
    ++failures;
    std::printf("%s: element %d is %.9g, expected %.9g\n", what.c_str(), static_cast<int>(i), a, b);
    return;
  }
}

// Memory in which everything is stale.
template <typename T>
Memory<T> Stale(int64_t count, int shift) {
  return Memory<T>(count, shift, T(static_cast<Coordinate<T>>(kNaN)));
}

inline Memory<double> Workspace(size_t bytes) {
  return Memory<double>(static_cast<int64_t>((bytes + sizeof(double) - 1) / sizeof(double)), 0,
                        kNaN);
}

// The plain loops over all points of a call.

template <typename Points, typename T>
void SampleByPlainLoops(const SampleCall<Points, T>& call) {
  VisitStencil<Points::kRank, Coordinate<T>>(call.modes, [&](auto tag, const auto& rules) {
    SamplePoints<typename decltype(tag)::type>(rules, call, 0, call.sizes.points());
  });
}

// Computes grad_points and, of the second order, grad_grad_output.
template <typename CallType>
void PointGradientByPlainLoops(const CallType& call) {
  using Points = typename CallType::Points;
  using Real = typename CallType::Real;
  const Points& points = call.points;
  VisitStencil<Points::kRank, Real>(call.modes, [&](auto tag, const auto& rules) {
    using Stencil = typename decltype(tag)::type;
    if (Points::kIsStored) {
      const int64_t images = call.shares_points() ? 1 : call.sizes.images;
      for (int64_t n = 0; n < images; ++n) {
        GradientOfRun<Stencil>(rules, call, {n, 0, call.sizes.points_per_image}, nullptr);
      }
      return;
    }
    const int64_t per_item = points.points_per_item();
    for (int64_t i = 0; i < points.stored; ++i) {
      const int64_t n = call.shares_points() ? 0 : i / points.per_image;
      const int64_t begin = (i - n * points.per_image) * per_item;
      double sums[Points::kParameters] = {};
      GradientOfRun<Stencil>(rules, call, {n, begin, begin + per_item}, sums);
      const int parameters = points.parameters_per_item();
      for (int k = 0; k < parameters && call.grad_points != nullptr; ++k) {
        call.grad_points[i * parameters + k] = static_cast<Real>(sums[k]);
      }
    }
  });
}

template <typename CallType>
void DataGradientByPlainLoops(const CallType& call) {
  using Pixel = typename CallType::Pixel;
  using Real = typename CallType::Real;
  const auto& image = call.sizes.image;
  std::vector<Real> sums(static_cast<size_t>(image.elements()));
  VisitStencil<CallType::kRank, Real>(call.modes, [&](auto tag, const auto& rules) {
    for (int64_t n = 0; n < call.sizes.images; ++n) {
      std::fill(sums.begin(), sums.end(), Real(0));
      const Band band = {n, 0, image.size[0], nullptr, 0};
      GradientOfBand<typename decltype(tag)::type>(rules, call, band, sums.data());
      std::transform(sums.begin(), sums.end(), call.grad_data + n * image.elements(),
                     [](Real sum) { return ToPixel<Pixel>(sum); });
    }
  });
}

// The same problem, by the kernels and by the plain loops

template <typename Problem>
void CheckForward(const Case& c) {
  using T = typename Problem::Type;
  Problem problem(c);
  Memory<T> gpu = Stale<T>(problem.grad_output.size(), c.shift);
  Memory<T> cpu(problem.grad_output.size(), 0);
  SampleCall<typename Problem::Points, T> call = {problem.CallOf(problem.points()), gpu.data()};
  CHECK(LaunchSample(call, nullptr) == nullptr);
  call.output = cpu.data();
  SampleByPlainLoops(call);
  CheckEqual(gpu, cpu, 0, "forward, " + Name(c));  // The same sums in the same order.
}

template <typename Problem>
void CheckGradient(const Case& c, bool deterministic, bool needs_data, bool needs_points) {
  using T = typename Problem::Type;
  using Real = Coordinate<T>;
  Problem problem(c);
  Memory<T> gpu_data = Stale<T>(problem.data.size(), c.shift), cpu_data(problem.data.size(), 0);
  Memory<Real> gpu_points = Stale<Real>(problem.parameters(), c.shift);
  Memory<Real> cpu_points(problem.parameters(), 0);
  GradientCall<typename Problem::Points, T> call = {
      problem.CallOf(problem.points()), problem.grad_output.data(),
      needs_data ? gpu_data.data() : nullptr, needs_points ? gpu_points.data() : nullptr};
  Memory<double> workspace = Workspace(GradientWorkspace(call));
  CHECK(LaunchGradient(call, workspace.data(), deterministic, /*stream=*/nullptr) == nullptr);

  call.grad_data = cpu_data.data();
  call.grad_points = cpu_points.data();
  if (c.channels > 0) DataGradientByPlainLoops(call);
  if (c.channels > 0) PointGradientByPlainLoops(call);
  const std::string what = (deterministic ? "ordered, " : "") + Name(c);
  if (needs_data) {
    // In order means the sums of the CPU, to the bit where neither contracts products.
    CheckEqual(gpu_data, cpu_data, deterministic ? 0 : kTolerance<T>, "grad_data, " + what);
  }
  if (needs_points) CheckEqual(gpu_points, cpu_points, kTolerance<Real>, "grad_points, " + what);
}

template <typename Problem>
void CheckAll(const Case& c) {
  CheckForward<Problem>(c);
  for (const bool deterministic : {false, true}) {
    CheckGradient<Problem>(c, deterministic, true, true);
    CheckGradient<Problem>(c, deterministic, true, false);
    CheckGradient<Problem>(c, deterministic, false, true);
  }
}

}  // namespace tf_stn

#endif  // TF_STN_TESTS_CPP_GPU_SUPPORT_H_

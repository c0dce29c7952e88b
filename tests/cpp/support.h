// What C++ tests have in common: memory that tells what was written, and calls of every mode, shape
// and type, with points on all sides of all edges.

#ifndef TF_STN_TESTS_CPP_SUPPORT_H_
#define TF_STN_TESTS_CPP_SUPPORT_H_

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
#include <string>
#include <type_traits>
#include <vector>

#include "cc/core/call.h"
#include "cc/core/modes.h"
#include "cc/core/pixel_types.h"
#include "cc/core/points.h"

namespace tf_stn {

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kInf = std::numeric_limits<double>::infinity();

#define TF_STN_ENUMERATOR_OF(Policy, ...) InterpolationMode::k##Policy,
inline constexpr InterpolationMode kInterpolations[] = {
    TF_STN_FOR_EACH_INTERPOLATION(TF_STN_ENUMERATOR_OF)};
#undef TF_STN_ENUMERATOR_OF
#define TF_STN_ENUMERATOR_OF(Policy, ...) PaddingMode::k##Policy,
inline constexpr PaddingMode kPaddings[] = {TF_STN_FOR_EACH_PADDING(TF_STN_ENUMERATOR_OF)};
#undef TF_STN_ENUMERATOR_OF

#define TF_STN_NAME_OF(T, name) \
  template <>                   \
  inline constexpr const char* kTypeName<T> = name;
template <typename T>
inline constexpr const char* kTypeName = "";
TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_NAME_OF)
#undef TF_STN_NAME_OF

// float and bfloat16, or what takes their places in a build of few types; see few_pixel_types.h.
#if defined(TF_STN_FEW_PIXEL_TYPES)
using Float = double;
using Brain = Half;
#else
using Float = float;
using Brain = BFloat16;
#endif

// The rounding of a number of type T, relative to it.
template <typename T>
constexpr double kRounding = std::is_same_v<T, double>     ? 0x1p-53
                             : std::is_same_v<T, float>    ? 0x1p-24
                             : std::is_same_v<T, BFloat16> ? 0x1p-8
                                                           : 0x1p-11;

template <typename T>
double ToDouble(T value) {
  return static_cast<double>(static_cast<Coordinate<T>>(value));
}

template <typename T>
T FromDouble(double value) {
  return ToPixel<T>(static_cast<Coordinate<T>>(value));
}

template <typename T>
bool SameBits(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

// Elements that begin `shift` elements after what the allocator aligns, and not a byte behind them.
// Nothing that is computed has the bits that they start with.
template <typename T>
class Memory {
 public:
  static constexpr int kPoison = 0xa5;

  explicit Memory(int64_t count = 0, int shift = 0)
      : count_(count),
        shift_(shift),
        bytes_(static_cast<char*>(std::malloc(sizeof(T) * static_cast<size_t>(count + shift)))) {
    if (count + shift > 0) {
      std::memset(bytes_.get(), kPoison, sizeof(T) * static_cast<size_t>(count + shift));
    }
  }
  T* data() const { return reinterpret_cast<T*>(bytes_.get()) + shift_; }
  T& operator[](int64_t i) const { return data()[i]; }
  int64_t size() const { return count_; }
  size_t bytes() const { return sizeof(T) * static_cast<size_t>(count_); }

  void Fill(T value) const { std::fill_n(data(), count_, value); }

  bool IsPoison(int64_t i) const {
    T poison;
    std::memset(static_cast<void*>(&poison), kPoison, sizeof(T));
    return SameBits(data()[i], poison);
  }

 private:
  struct Free {
    void operator()(char* bytes) const { std::free(bytes); }
  };
  int64_t count_;
  int shift_;
  std::unique_ptr<char, Free> bytes_;
};

// Where points lie.
enum class Place {
  kInside,        // Between four pixels.
  kCentres,       // On pixel centres, of the border too.
  kAnywhere,      // On every side of every edge, far outside, not a number.
  kMostlyInside,  // Few of them anywhere.
  kNear,          // Anywhere, or so near to pixels that weights are subnormal.
  kCancelling,    // Affine points that are differences of large numbers.
};
inline constexpr Place kPlaces[] = {Place::kInside, Place::kCentres, Place::kAnywhere,
                                    Place::kMostlyInside, Place::kNear};

// One coordinate along an axis of `size` pixels.
inline double AnyCoordinate(std::mt19937& rng, Place place, int64_t size) {
  const auto last = static_cast<double>(size - 1);
  const auto between = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(rng);
  };
  const double centre = static_cast<double>(rng() % static_cast<unsigned>(size));
  if (place == Place::kMostlyInside) place = rng() % 40 == 0 ? Place::kAnywhere : Place::kInside;
  if (place == Place::kInside) return between(0, last);
  if (place == Place::kCentres) return centre;
  switch (rng() % 12) {
    case 0:
      return between(-1, 0);
    case 1:
      return between(last, last + 1);
    case 2:
      return between(-4, last + 4);
    case 3: {
      const double edges[] = {-1, -0.0, 0, last, last + 1, -2, last + 2};
      return edges[rng() % std::size(edges)];
    }
    case 4: {
      const double far[] = {kInf, -kInf, 1e30, -1e30, 3e9, -3e9};
      return far[rng() % std::size(far)];
    }
    case 5:
      return kNaN;
    case 6: {
      // Closer to a pixel than rounding can tell, and than a product of weights.
      const double near[] = {1e-10, -1e-10, 1e-45, -1e-45, 1e-39, -1e-39, -1e-320};
      return near[rng() % (place == Place::kNear ? std::size(near) : 2)];
    }
    case 7:
      return std::nextafter(static_cast<float>(centre) + 1, rng() % 2 == 0 ? 1e9f : -1e9f);
    case 8:
      return centre;
    default:
      return between(0, last);
  }
}

// What a call is to be like.
struct Case {
  Modes modes;
  std::vector<int64_t> size;  // Of an image, or of a volume.
  int64_t images = 1, channels = 1;
  int64_t rows = 1, columns = 1;  // Of an item's points.
  bool shares_points = false;
  bool has_fill = false;
  bool odd_values = false;  // NaN, infinities and -0 among pixels and gradients.
  Place place = Place::kAnywhere;
  int shift = 0;  // Of all memory, to spoil its alignment.
  unsigned seed = 1;

  int rank() const { return static_cast<int>(size.size()); }
};

inline std::string NameOf(const Case& c) {
  const auto list = [](const auto& numbers) {
    std::string text;
    for (const auto number : numbers) text += (text.empty() ? "" : ", ") + std::to_string(number);
    return "{" + text + "}";
  };
  char text[256];
  std::snprintf(text, sizeof(text), " images %d channels %d points %dx%d place %d shift %d seed %u",
                static_cast<int>(c.images), static_cast<int>(c.channels), static_cast<int>(c.rows),
                static_cast<int>(c.columns), static_cast<int>(c.place), c.shift, c.seed);
  return std::string(kInterpolationNames[static_cast<int>(c.modes.interpolation)]) + " " +
         std::string(kPaddingNames[static_cast<int>(c.modes.padding)]) + " derivative " +
         list(c.modes.derivative) + " size " + list(c.size) + text +
         (c.shares_points ? " shared" : "") + (c.has_fill ? " fill" : "") +
         (c.odd_values ? " odd" : "");
}

// Writes the rows of a matrix for images, but for the divisors of a projective one.  Its numbers
// are such that coordinates are exact, with and without fused arithmetic, unless they are far
// outside.
template <typename Real>
void FillMatrix(std::mt19937& rng, const Case& c, Real* matrix) {
  const auto eighths = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low * 8, high * 8)(rng) / 8.0;
  };
  const double across = static_cast<double>(c.size[1]), down = static_cast<double>(c.size[0]);
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

// Items of points for a source, of which each image has one, or as many as it takes points.
template <typename Points>
struct MakePoints;

// In one case of four they are displacements, of one output or, where that can be, of two.
template <int Rank, typename Real>
struct MakePoints<WarpPoints<Rank, Real>> {
  using Points = WarpPoints<Rank, Real>;

  static int64_t ItemsPerImage(const Case& c) { return c.rows * c.columns; }

  static void Fill(std::mt19937& rng, const Case& c, int64_t items, Real* parameters) {
    Points points{};
    SetSize(c, &points);
    for (int64_t i = 0; i < items; ++i) {
      int64_t pixel[Rank] = {};
      if (points.are_displacements) points.size.PixelOfAny(i, pixel);
      for (int d = 0; d < Rank; ++d) {
        const int64_t side = c.size[static_cast<size_t>(Rank - 1 - d)];
        const auto place = static_cast<Real>(AnyCoordinate(rng, c.place, side));
        parameters[i * Rank + d] = place - static_cast<Real>(pixel[d]);
      }
    }
  }

  static void SetSize(const Case& c, Points* points) {
    points->are_displacements = c.seed % 4 == 2;
    if (!points->are_displacements) return;
    const int64_t half = c.rows % 2 == 0 ? c.rows / 2 : c.rows;
    const int64_t sides[] = {Rank == 3 ? c.rows / half : 1, half, c.columns};
    for (int d = 0; d < Rank; ++d) points->size.side[d] = PlainDivision(sides[3 - Rank + d]);
  }
};

// Writes the last row of a projective matrix.  Its numbers are as exact.
template <typename Real>
void FillDivisors(std::mt19937& rng, const Case& c, int rank, Real* row) {
  const bool is_mild = c.place == Place::kInside || c.place == Place::kMostlyInside;
  std::fill_n(row, rank, Real(0));
  row[rank] = 1;
  switch (rng() % (is_mild ? 2 : 8)) {
    case 1:
      row[0] = Real(1) / 64;
      break;
    case 2:
      row[rank] = -1;
      break;
    case 3:
      row[0] = Real(-1) / 64, row[1] = Real(1) / 64, row[rank] = 2;
      break;
    case 4:
      row[0] = Real(1) / 8, row[rank] = -2;  // Changes its sign along a line.
      break;
    case 5:
      row[rank] = 0;  // Everything is at infinity.
      break;
    case 6: {
      const double odd[] = {kNaN, kInf, -kInf, 1e30};
      row[rng() % static_cast<unsigned>(rank + 1)] = static_cast<Real>(odd[rng() % 4]);
      break;
    }
    default:
      break;
  }
}

// In one case of five they are projective.
template <int Rank, typename Real>
struct MakePoints<MatrixPoints<Rank, Real>> {
  using Points = MatrixPoints<Rank, Real>;

  static int64_t ItemsPerImage(const Case& c) { return c.seed % 3 == 0 ? 2 : 1; }

  static void Fill(std::mt19937& rng, const Case& c, int64_t items, Real* parameters) {
    Points points{};
    SetSize(c, &points);
    for (int64_t i = 0; i < items; ++i) {
      Real* const matrix = parameters + i * points.parameters_per_item();
      if constexpr (Rank == 2) {
        FillMatrix(rng, c, matrix);
      } else {
        for (int k = 0; k < Rank * (Rank + 1); ++k) {
          matrix[k] = static_cast<Real>(static_cast<int>(rng() % 24) - 8) / 8;
        }
      }
      if (points.is_projective()) FillDivisors(rng, c, Rank, matrix + Rank * (Rank + 1));
    }
  }

  static void SetSize(const Case& c, Points* points) {
    const int64_t sides[] = {2, c.rows, c.columns};
    for (int d = 0; d < Rank; ++d) points->size.side[d] = PlainDivision(sides[3 - Rank + d]);
    points->has_divisors = c.seed % 5 == 4;
  }
};

// A call's inputs.
template <typename PointsType, typename T>
struct Problem {
  using Points = PointsType;
  using Real = Coordinate<T>;
  static constexpr int kRank = Points::kRank;

  explicit Problem(const Case& which) : c(which), rng(which.seed) {
    for (int d = 0; d < kRank; ++d) sizes.image.size[d] = c.size[static_cast<size_t>(d)];
    sizes.image.channels = c.channels;
    sizes.images = c.images;
    const int64_t items = MakePoints<Points>::ItemsPerImage(c);
    points.per_image = c.shares_points ? 0 : items;
    points.stored = c.shares_points ? items : items * c.images;
    MakePoints<Points>::SetSize(c, &points);
    parameters = Memory<Real>(points.stored * points.parameters_per_item(), c.shift);
    MakePoints<Points>::Fill(rng, c, points.stored, parameters.data());
    points.parameters = parameters.data();
    sizes.points_per_image = items * points.points_per_item();
    data = Random(c.images * sizes.image.elements());
    // So that on pixel centres signs of zeros tell what was added to them.
    for (int64_t i = 0; i < data.size(); i += 3) data[i] = FromDouble<T>(-0.0);
    grad_output = Random(sizes.points() * c.channels);
    grad_grad_data = Random(data.size());
    fill = Random(c.channels);
    grad_grad_points = Memory<Real>(parameters.size(), c.shift);
    for (int64_t i = 0; i < parameters.size(); ++i) {
      grad_grad_points[i] = static_cast<Real>(static_cast<int>(rng() % 17) - 8) / 8;
    }
  }

  Memory<T> Random(int64_t count) {
    Memory<T> memory(count, c.shift);
    std::uniform_real_distribution<double> value(-1, 1);
    for (int64_t i = 0; i < count; ++i) memory[i] = FromDouble<T>(value(rng));
    if (!c.odd_values) return memory;
    const double odd_values[] = {kNaN, kInf, -kInf, -0.0};
    const int64_t step = 3 + static_cast<int64_t>(rng() % 40);
    for (int64_t i = 0; i < count; i += step) {
      memory[i] = FromDouble<T>(odd_values[rng() % std::size(odd_values)]);
    }
    return memory;
  }

  // Sets what all calls have.
  void SetCall(Call<Points, T>* call) const {
    call->modes = c.modes;
    call->sizes = sizes;
    call->data = data.data();
    call->fill = c.has_fill ? fill.data() : nullptr;
    call->points = points;
  }

  SampleCall<Points, T> Sample(T* output) const {
    SampleCall<Points, T> call{};
    SetCall(&call);
    call.output = output;
    return call;
  }

  GradientCall<Points, T> Gradient(T* grad_data, Real* grad_points) const {
    GradientCall<Points, T> call{};
    SetCall(&call);
    call.grad_output = grad_output.data();
    call.grad_data = grad_data;
    call.grad_points = grad_points;
    return call;
  }

  SecondOrderCall<Points, T> SecondOrder(T* to_grad_data, Real* to_grad_points,
                                         T* grad_grad_output) const {
    SecondOrderCall<Points, T> call{};
    static_cast<GradientCall<Points, T>&>(call) = Gradient(to_grad_data, to_grad_points);
    call.grad_grad_data = c.seed % 2 == 0 ? grad_grad_data.data() : nullptr;
    call.grad_grad_points = grad_grad_points.data();
    call.grad_grad_output = grad_grad_output;
    return call;
  }

  Case c;
  std::mt19937 rng;
  Sizes<kRank> sizes{};
  Points points{};
  Memory<Real> parameters, grad_grad_points;
  Memory<T> data, fill, grad_output, grad_grad_data;
};

}  // namespace tf_stn

#endif  // TF_STN_TESTS_CPP_SUPPORT_H_

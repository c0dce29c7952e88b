// What the tests of the CPU's loops have in common: the loops of every instruction set,
// memory that tells what was written, and coordinates on all sides of all edges.

#ifndef TF_STN_TESTS_CPP_CPU_SUPPORT_H_
#define TF_STN_TESTS_CPP_CPU_SUPPORT_H_

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
#include <vector>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/kernels/resampler_cpu.h"

namespace tf_stn {

#define TF_STN_DECLARE(isa)                         \
  namespace isa {                                   \
  template <typename Points, typename T>            \
  const CpuLoops<Points, T>& Loops();               \
  template <typename T>                             \
  const SecondOrderCpuLoops<T>& SecondOrderLoops(); \
  template <typename Points, typename T>            \
  const AnyCpuLoops<Points, T>& AnyLoops();         \
  }

TF_STN_DECLARE(baseline)
#if defined(__x86_64__)
TF_STN_DECLARE(avx2)
TF_STN_DECLARE(avx512)
#endif

#undef TF_STN_DECLARE

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kInf = std::numeric_limits<double>::infinity();

// The instruction sets for which there are loops, and whether this processor has them.
struct Isa {
  const char* name;
  bool is_here;
};

inline const std::vector<Isa>& Isas() {
  static const std::vector<Isa> isas = {
      {"baseline", true},
#if defined(__x86_64__)
      {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                   __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2")},
      {"avx512", __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512vl")},
#endif
  };
  return isas;
}

template <typename Points, typename T>
const CpuLoops<Points, T>& LoopsOf(const Isa& isa) {
#if defined(__x86_64__)
  if (std::strcmp(isa.name, "avx512") == 0) return avx512::Loops<Points, T>();
  if (std::strcmp(isa.name, "avx2") == 0) return avx2::Loops<Points, T>();
#endif
  return baseline::Loops<Points, T>();
}

template <typename T>
const SecondOrderCpuLoops<T>& SecondOrderLoopsOf(const Isa& isa) {
#if defined(__x86_64__)
  if (std::strcmp(isa.name, "avx512") == 0) return avx512::SecondOrderLoops<T>();
  if (std::strcmp(isa.name, "avx2") == 0) return avx2::SecondOrderLoops<T>();
#endif
  return baseline::SecondOrderLoops<T>();
}

template <typename Points, typename T>
const AnyCpuLoops<Points, T>& AnyLoopsOf(const Isa& isa) {
#if defined(__x86_64__)
  if (std::strcmp(isa.name, "avx512") == 0) return avx512::AnyLoops<Points, T>();
  if (std::strcmp(isa.name, "avx2") == 0) return avx2::AnyLoops<Points, T>();
#endif
  return baseline::AnyLoops<Points, T>();
}

template <typename T>
constexpr const char* kTypeName = std::is_same_v<T, double>     ? "double"
                                  : std::is_same_v<T, float>    ? "float"
                                  : std::is_same_v<T, BFloat16> ? "bfloat16"
                                                                : "half";

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
  return static_cast<T>(static_cast<Coordinate<T>>(value));
}

template <typename T>
bool SameBits(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

// Elements that begin `shift` elements after what the allocator aligns, and not a byte
// behind them.  Nothing that is computed has the bits that they start with.
template <typename T>
class Memory {
 public:
  static constexpr int kPoison = 0xa5;

  explicit Memory(int64_t count = 0, int shift = 0)
      : count_(count),
        shift_(shift),
        bytes_(static_cast<char*>(std::malloc(sizeof(T) * static_cast<size_t>(count + shift)))) {
    if (count + shift > 0)
      std::memset(bytes_.get(), kPoison, sizeof(T) * static_cast<size_t>(count + shift));
  }
  T* data() const { return reinterpret_cast<T*>(bytes_.get()) + shift_; }
  T& operator[](int64_t i) const { return data()[i]; }
  int64_t size() const { return count_; }

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

}  // namespace tf_stn

#endif  // TF_STN_TESTS_CPP_CPU_SUPPORT_H_

// The types of pixels: which there are, in which type their sums run, and how numbers become
// pixels.
//
// Half-precision pixels are plain bits here, for code that knows no framework.  They only convert,
// explicitly.  To add a type, add it to the list below, with its name in TensorFlow, and to
// cc/kernels/op_attributes.h if TensorFlow has a type of its own for it, and cc/xla/requests.h for
// XLA's.

#ifndef TF_STN_CC_CORE_PIXEL_TYPES_H_
#define TF_STN_CC_CORE_PIXEL_TYPES_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "cc/core/portability.h"

namespace tf_stn {

template <typename To, typename From>
TF_STN_HD inline To BitCast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

// Adds to `bits` so that cutting off the lowest `cut` of them rounds to the
// nearest, ties to the even one.
TF_STN_HD inline uint32_t RoundToEven(uint32_t bits, int cut) {
  return bits + (1u << (cut - 1)) - 1 + ((bits >> cut) & 1);
}

// IEEE binary16: 5 bits of exponent, 10 of fraction.
struct Half {
  uint16_t bits = 0;

  Half() = default;
  TF_STN_HD explicit Half(float value) {
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    const uint32_t word = BitCast<uint32_t>(value);
    const uint32_t magnitude = word & 0x7fffffffu;
    uint32_t half;
    if (magnitude > 0x7f800000u) {
      half = 0x7e00;  // NaN.
    } else if (magnitude >= 0x477ff000u) {
      half = 0x7c00;  // Rounds to infinity.
    } else if (magnitude < 0x38800000u) {
      // Subnormal: adding 0.5 leaves its fraction, rounded, in the lowest bits.
      half = BitCast<uint32_t>(BitCast<float>(magnitude) + 0.5f) - 0x3f000000u;
    } else {
      half = (RoundToEven(magnitude, 13) >> 13) - ((127 - 15) << 10);
    }
    bits = static_cast<uint16_t>(half | ((word >> 16) & 0x8000u));
#endif
  }

  TF_STN_HD explicit operator float() const {
#if defined(__CUDA_ARCH__)
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
#else
    const uint32_t magnitude = (bits & 0x7fffu) << 13;
    const uint32_t sign = (bits & 0x8000u) << 16;
    uint32_t word = magnitude + ((127 - 15) << 23);
    if (magnitude >= 0x0f800000u) {
      word = magnitude | 0x7f800000u;  // Infinite or NaN.
    } else if (magnitude < 0x00800000u) {
      // Subnormal.  The difference of two normal numbers, since threads may be set to
      // take numbers that are subnormal as a float for zero.
      word = BitCast<uint32_t>(BitCast<float>(magnitude + (113u << 23)) - 0x1p-14f);
    }
    return BitCast<float>(word | sign);
#endif
  }
};

// bfloat16: the upper half of a float.
struct BFloat16 {
  uint16_t bits = 0;

  BFloat16() = default;
  TF_STN_HD explicit BFloat16(float value) {
    const uint32_t word = BitCast<uint32_t>(value);
    const bool is_nan = !(value == value);
    bits = static_cast<uint16_t>(is_nan ? (word >> 16) | 0x40 : RoundToEven(word, 16) >> 16);
  }

  TF_STN_HD explicit operator float() const {
    return BitCast<float>(static_cast<uint32_t>(bits) << 16);
  }
};

// The type of coordinates, weights and sums for pixels of type T.  Half precision cannot tell
// neighbouring pixels apart beyond 2048.
template <typename T>
struct CoordinateOf {
  using type = float;
};

template <>
struct CoordinateOf<double> {
  using type = double;
};

template <typename T>
using Coordinate = typename CoordinateOf<T>::type;

// Returns a sum as a pixel.  Integers are rounded to the nearest, ties to the even one, and limited
// to what the type holds; a NaN gives 0.
template <typename T, typename Real>
TF_STN_HD inline T ToPixel(Real sum) {
  if constexpr (std::is_integral_v<T>) {
    // The largest of a wide type is rounded up to one that is just too large.
    constexpr Real kLow = static_cast<Real>(std::numeric_limits<T>::min());
    constexpr Real kHigh = static_cast<Real>(std::numeric_limits<T>::max());
    if (!(sum == sum)) return 0;
    const Real rounded = std::nearbyint(sum);
    if (rounded <= kLow) return std::numeric_limits<T>::min();
    return rounded >= kHigh ? std::numeric_limits<T>::max() : static_cast<T>(rounded);
  } else {
    return static_cast<T>(sum);
  }
}

// All types of pixels: the type, and its name in TensorFlow.  Everything that lists types is made
// from this.
#define TF_STN_FOR_EACH_PIXEL_TYPE(visit) \
  visit(Half, "half") visit(BFloat16, "bfloat16") visit(float, "float") visit(double, "double")

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_PIXEL_TYPES_H_

// Half-precision pixels as plain bits, for code that sees no framework.  They
// only convert, explicitly, since all sums run in float.

#ifndef TF_STN_CC_CORE_HALF_H_
#define TF_STN_CC_CORE_HALF_H_

#include <cstdint>
#include <cstring>

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

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_HALF_H_

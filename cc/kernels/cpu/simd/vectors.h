// Vectors of the instruction set that a file is compiled for: loads and stores that convert half
// types in registers, gathers, and reductions.
//
// Everything that depends on the instruction set is in namespace TF_STN_ISA, a macro that names it,
// or is always inlined.  Otherwise the linker might keep one copy of a function for all, made for a
// processor that this is not.

#ifndef TF_STN_CC_KERNELS_CPU_SIMD_VECTORS_H_
#define TF_STN_CC_KERNELS_CPU_SIMD_VECTORS_H_

#include <cstdint>
#include <type_traits>
#include <utility>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "cc/core/numbers.h"
#include "cc/core/pixel_types.h"

#if !defined(TF_STN_ISA)
#error "TF_STN_ISA must name the instruction set that this is compiled for"
#endif

#define TF_STN_INLINE inline __attribute__((always_inline))

namespace tf_stn {
namespace TF_STN_ISA {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif

template <typename Real>
inline constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(Real));

template <typename Element, int kCount>
struct VectorOf {
  typedef Element type __attribute__((vector_size(sizeof(Element) * kCount)));
};

template <typename Element>
struct VectorOf<Element, 1> {
  using type = Element;
};

// Vectors know the arithmetic and comparisons of their elements; a comparison
// gives integers of their size, -1 for true, by which ?: selects.
template <typename Element, int kCount>
using Vector = typename VectorOf<Element, kCount>::type;

// Indices have the size of coordinates, so that both have as many lanes.
template <typename Real>
using IndexOf = std::conditional_t<sizeof(Real) == 8, int64_t, int32_t>;

template <typename Real>
using RealVector = Vector<Real, kLanes<Real>>;

template <typename Real>
using IndexVector = Vector<IndexOf<Real>, kLanes<Real>>;

// Reads a vector from memory of any alignment.
template <int kCount, typename Element>
TF_STN_INLINE Vector<Element, kCount> LoadElements(const Element* from) {
  Vector<Element, kCount> vector;
  __builtin_memcpy(&vector, from, sizeof(vector));
  return vector;
}

// Load() and Store() convert between pixels and the type of sums.

template <int kCount>
TF_STN_INLINE Vector<float, kCount> Load(const float* from) {
  return LoadElements<kCount>(from);
}

template <int kCount>
TF_STN_INLINE Vector<double, kCount> Load(const double* from) {
  return LoadElements<kCount>(from);
}

template <int kCount>
TF_STN_INLINE void Store(const Vector<float, kCount>& vector, float* to) {
  __builtin_memcpy(to, &vector, sizeof(vector));
}

template <int kCount>
TF_STN_INLINE void Store(const Vector<double, kCount>& vector, double* to) {
  __builtin_memcpy(to, &vector, sizeof(vector));
}

template <int kCount>
TF_STN_INLINE Vector<float, kCount> Load(const BFloat16* from) {
  if constexpr (kCount == 1) {
    return static_cast<float>(*from);
  } else {
    const auto bits = LoadElements<kCount>(reinterpret_cast<const uint16_t*>(from));
    const auto words = __builtin_convertvector(bits, Vector<uint32_t, kCount>) << 16;
    return reinterpret_cast<Vector<float, kCount>>(words);
  }
}

template <int kCount>
TF_STN_INLINE void Store(const Vector<float, kCount>& vector, BFloat16* to) {
  if constexpr (kCount == 1) {
    *to = BFloat16(vector);
  } else {
    using Words = Vector<uint32_t, kCount>;
    const Words words = reinterpret_cast<Words>(vector);
    const Words rounded = (words + 0x7fff + ((words >> 16) & 1)) >> 16;  // Ties to even.
    const Words upper = (vector == vector) ? rounded : (words >> 16 | 0x40);
    const auto bits = __builtin_convertvector(upper, Vector<uint16_t, kCount>);
    __builtin_memcpy(static_cast<void*>(to), &bits, sizeof(bits));
  }
}

template <int kCount>
TF_STN_INLINE Vector<float, kCount> Load(const Half* from) {
#if defined(__AVX512F__)
  if constexpr (kCount == 16) {
    return reinterpret_cast<Vector<float, 16>>(
        _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
  }
#endif
#if defined(__F16C__)
  if constexpr (kCount == 8) {
    return reinterpret_cast<Vector<float, 8>>(
        _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
  } else if constexpr (kCount == 4) {
    return reinterpret_cast<Vector<float, 4>>(_mm_cvtph_ps(_mm_loadu_si64(from)));
  } else if constexpr (kCount == 1) {
    return _cvtsh_ss(from->bits);
  }
#elif defined(__aarch64__)
  if constexpr (kCount == 4) {
    const auto halfs = vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const uint16_t*>(from)));
    return reinterpret_cast<Vector<float, 4>>(vcvt_f32_f16(halfs));
  } else if constexpr (kCount == 1) {
    return static_cast<float>(BitCast<__fp16>(from->bits));
  }
#endif
  Vector<float, kCount> vector;
  if constexpr (kCount == 1) {
    vector = static_cast<float>(*from);
  } else {
    for (int i = 0; i < kCount; ++i) vector[i] = Load<1>(from + i);
  }
  return vector;
}

template <int kCount>
TF_STN_INLINE void Store(const Vector<float, kCount>& vector, Half* to) {
#if defined(__AVX512F__)
  if constexpr (kCount == 16) {
    return _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                               _mm512_cvtps_ph(reinterpret_cast<__m512>(vector),
                                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
#endif
#if defined(__F16C__)
  if constexpr (kCount == 8) {
    return _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                            _mm256_cvtps_ph(reinterpret_cast<__m256>(vector),
                                            _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  } else if constexpr (kCount == 4) {
    return _mm_storeu_si64(to, _mm_cvtps_ph(reinterpret_cast<__m128>(vector),
                                            _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
#elif defined(__aarch64__)
  if constexpr (kCount == 4) {
    const auto halfs = vcvt_f16_f32(reinterpret_cast<float32x4_t>(vector));
    return vst1_u16(reinterpret_cast<uint16_t*>(to), vreinterpret_u16_f16(halfs));
  } else if constexpr (kCount == 1) {
    to->bits = BitCast<uint16_t>(static_cast<__fp16>(vector));
    return;
  }
#endif
  if constexpr (kCount == 1) {
    *to = Half(vector);
  } else {
    for (int i = 0; i < kCount; ++i) to[i] = Half(vector[i]);
  }
}

template <int kCount, typename Real>
TF_STN_INLINE Vector<Real, kCount> Broadcast(Real value) {
  return value - Vector<Real, kCount>{};  // Not +, which would lose the sign of -0.
}

// Whether any lane of a comparison is true.
template <typename Mask>
TF_STN_INLINE bool Any(const Mask& mask) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Mask) == 64) {
    const auto bits = reinterpret_cast<__m512i>(mask);
    return _mm512_test_epi32_mask(bits, bits) != 0;
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(Mask) == 32) {
    const auto bits = reinterpret_cast<__m256i>(mask);
    return !_mm256_testz_si256(bits, bits);
  }
#endif
  bool any = false;
  for (unsigned i = 0; i < sizeof(Mask) / sizeof(mask[0]); ++i) any |= mask[i] != 0;
  return any;
}

// Returns the elements of two vectors, one after the other, that these numbers say.
template <int... kFrom, typename Values>
TF_STN_INLINE Values Shuffle(const Values& a, const Values& b) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, kFrom...);
#else
  const decltype(a == b) from = {kFrom...};
  return __builtin_shuffle(a, b, from);
#endif
}

// Splits vectors whose elements alternate, as (a0 b0 a1 b1 ...), into the two.
template <typename Values, int... kLane>
TF_STN_INLINE void Deinterleave(const Values& low, const Values& high, Values* even, Values* odd,
                                std::integer_sequence<int, kLane...>) {
  *even = Shuffle<(2 * kLane)...>(low, high);
  *odd = Shuffle<(2 * kLane + 1)...>(low, high);
}

template <typename Real>
TF_STN_INLINE void Deinterleave(const RealVector<Real>& low, const RealVector<Real>& high,
                                RealVector<Real>* even, RealVector<Real>* odd) {
  Deinterleave(low, high, even, odd, std::make_integer_sequence<int, kLanes<Real>>());
}

// The inverse: elements of two vectors in turn.
template <typename Values, int... kLane>
TF_STN_INLINE void Interleave(const Values& even, const Values& odd, Values* low, Values* high,
                              std::integer_sequence<int, kLane...>) {
  constexpr int kCount = sizeof...(kLane);
  *low = Shuffle<(kLane / 2 + (kLane % 2) * kCount)...>(even, odd);
  *high = Shuffle<(kLane / 2 + kCount / 2 + (kLane % 2) * kCount)...>(even, odd);
}

template <typename Real>
TF_STN_INLINE void Interleave(const RealVector<Real>& even, const RealVector<Real>& odd,
                              RealVector<Real>* low, RealVector<Real>* high) {
  Interleave(even, odd, low, high, std::make_integer_sequence<int, kLanes<Real>>());
}

// Reads elements offset[i] and offset[i] + 1 of `from`, for as many i as there are
// lanes.  Loads of pairs and shuffles, which no processor known to us does slower
// than its own instruction for it, and most do much faster.
template <typename T>
TF_STN_INLINE void GatherPairs(const T* from, const IndexOf<Coordinate<T>>* offset,
                               RealVector<Coordinate<T>>* first,
                               RealVector<Coordinate<T>>* second) {
  using Real = Coordinate<T>;
  constexpr int kCount = kLanes<Real>;
  if constexpr (std::is_same_v<T, float>) {
    // A pair moves as a double.
    const auto pairs = [&](int i) {
      const auto load = [&](int j) {
        return LoadElements<1>(reinterpret_cast<const double*>(from + offset[i + j]));
      };
      if constexpr (kCount == 16) {
        return Vector<double, 8>{load(0), load(1), load(2), load(3),
                                 load(4), load(5), load(6), load(7)};
      } else if constexpr (kCount == 8) {
        return Vector<double, 4>{load(0), load(1), load(2), load(3)};
      } else {
        return Vector<double, 2>{load(0), load(1)};
      }
    };
    Deinterleave<float>(reinterpret_cast<RealVector<float>>(pairs(0)),
                        reinterpret_cast<RealVector<float>>(pairs(kCount / 2)), first, second);
  } else if constexpr (sizeof(T) == 2) {
    Vector<uint32_t, kCount> pairs{};
    for (int i = 0; i < kCount; ++i) {
      pairs[i] = LoadElements<1>(reinterpret_cast<const uint32_t*>(from + offset[i]));
    }
    Vector<uint16_t, kCount> bits[2] = {
        __builtin_convertvector(pairs & 0xffff, Vector<uint16_t, kCount>),
        __builtin_convertvector(pairs >> 16, Vector<uint16_t, kCount>)};
    *first = Load<kCount>(reinterpret_cast<const T*>(&bits[0]));
    *second = Load<kCount>(reinterpret_cast<const T*>(&bits[1]));
  } else {
    for (int i = 0; i < kCount; ++i) {
      (*first)[i] = from[offset[i]];
      (*second)[i] = from[offset[i] + 1];
    }
  }
}

// Adds up parts of a vector until it has four elements.
template <int kCount, typename Real>
TF_STN_INLINE Vector<Real, 4> FoldToFour(const Vector<Real, kCount>& vector) {
  if constexpr (kCount == 1) {
    return Vector<Real, 4>{vector, 0, 0, 0};
  } else if constexpr (kCount == 2) {
    return Vector<Real, 4>{vector[0], vector[1], 0, 0};
  } else if constexpr (kCount == 4) {
    return vector;
  } else {
    Vector<Real, kCount / 2> halves[2];
    __builtin_memcpy(&halves, &vector, sizeof(vector));
    return FoldToFour<kCount / 2, Real>(halves[0] + halves[1]);
  }
}

// Returns the sums of the elements of four vectors; of their first three elements
// if the fourth is not to count.
template <int kCounted, typename Real>
TF_STN_INLINE Vector<Real, 4> Sums(const Vector<Real, 4>& a, const Vector<Real, 4>& b,
                                   const Vector<Real, 4>& c, const Vector<Real, 4>& d) {
  const Vector<Real, 4> ab_low = Shuffle<0, 4, 1, 5>(a, b);
  const Vector<Real, 4> cd_low = Shuffle<0, 4, 1, 5>(c, d);
  const Vector<Real, 4> ab_high = Shuffle<2, 6, 3, 7>(a, b);
  const Vector<Real, 4> cd_high = Shuffle<2, 6, 3, 7>(c, d);
  Vector<Real, 4> sum = Shuffle<0, 1, 4, 5>(ab_low, cd_low) + Shuffle<2, 3, 6, 7>(ab_low, cd_low) +
                        Shuffle<0, 1, 4, 5>(ab_high, cd_high);
  if constexpr (kCounted == 4) sum += Shuffle<2, 3, 6, 7>(ab_high, cd_high);
  return sum;
}

}  // namespace TF_STN_ISA

// The operations of cc/core/numbers.h on vectors.

template <typename Mask>
struct AnyLane<Mask, std::void_t<decltype(std::declval<Mask>()[0])>> {
  TF_STN_HD static bool Holds(const Mask& mask) { return TF_STN_ISA::Any(mask); }
};

template <typename Index>
struct RemainderOf<Index, std::void_t<decltype(std::declval<Index>()[0])>> {
  using Scalar = ScalarType<Index>;
  static constexpr int kCount = sizeof(Index) / sizeof(Scalar);
  using Real = std::conditional_t<sizeof(Scalar) == 8, double, float>;
  using Reals = TF_STN_ISA::Vector<Real, kCount>;

  TF_STN_HD static Index Divide(const Index& index, Scalar period) {
    // Up to here, the quotient of Reals is off by one at most.
    constexpr Scalar kExact = Scalar{1} << (sizeof(Scalar) == 8 ? 30 : 22);
    Index remainder;
    if (TF_STN_ISA::Any((index > kExact) | (index < -kExact))) {
      for (int i = 0; i < kCount; ++i) remainder[i] = Remainder<Scalar>(index[i], period);
      return remainder;
    }
    const Reals quotient =
        __builtin_convertvector(index, Reals) / (Reals{} + static_cast<Real>(period));
    remainder = index - __builtin_convertvector(quotient, Index) * period;
    for (int i = 0; i < 2; ++i) remainder += Select(remainder < 0, Index{} + period, Index{});
    return remainder - Select(remainder >= period, Index{} + period, Index{});
  }
};

template <typename Reals, typename Indices>
struct Arithmetic<Reals, Indices, std::void_t<decltype(std::declval<Reals>()[0])>> {
  TF_STN_HD static Indices Floor(const Reals& x) {
    const Reals number = Select(x == x, x, Reals{});
    const Indices truncated = __builtin_convertvector(number, Indices);
    return truncated + (number < ToReal(truncated));  // True is -1.
  }
  TF_STN_HD static Reals ToReal(const Indices& index) {
    return __builtin_convertvector(index, Reals);
  }
};

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_SIMD_VECTORS_H_

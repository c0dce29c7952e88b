// Operations that let a formula be written once, for a number and for a vector of numbers.
//
// Here they are for numbers; cc/kernels/cpu/simd/vectors.h specialises them for vectors.

#ifndef TF_STN_CC_CORE_NUMBERS_H_
#define TF_STN_CC_CORE_NUMBERS_H_

#include <cstdint>
#include <type_traits>
#include <utility>

#include "cc/core/portability.h"

namespace tf_stn {

// The type of the elements of a vector; of a number, its own.
template <typename Number, typename = void>
struct ScalarOf {
  using type = Number;
};

template <typename Vector>
struct ScalarOf<Vector, std::void_t<decltype(std::declval<Vector>()[0])>> {
  using type = std::decay_t<decltype(std::declval<Vector>()[0])>;
};

template <typename Number>
using ScalarType = typename ScalarOf<Number>::type;

// Returns `a` where the mask holds and `b` elsewhere.
template <typename Mask, typename Number>
TF_STN_HD inline Number Select(const Mask& mask, const Number& a, const Number& b) {
  return mask ? a : b;
}

// Returns a vector that has the value in every lane, or the value.
template <typename Number>
TF_STN_HD inline Number Filled(ScalarType<Number> value) {
  return Number{} + value;
}

// Whether a mask holds in any lane.
template <typename Mask, typename = void>
struct AnyLane {
  TF_STN_HD static bool Holds(Mask mask) { return mask != 0; }
};

// What is computed in one way for numbers and in another for vectors.
template <typename Real, typename Index, typename = void>
struct Arithmetic {
  // Returns floor(x), or 0 for a NaN.  By truncation, since std::floor() is a library call where
  // the processor has no instruction for it.
  // REQUIRES: the result is an Index.
  TF_STN_HD static Index Floor(Real x) {
    if (!(x == x)) return 0;
    const Index truncated = static_cast<Index>(x);
    return x < static_cast<Real>(truncated) ? truncated - 1 : truncated;
  }

  TF_STN_HD static Real ToReal(Index index) { return static_cast<Real>(index); }
};

// Returns remainders from 0 to period - 1.  The index is first limited to 2^30, or to a few times
// the period where that is longer: coordinates so far out are rounded to more than a pixel, and
// the result must not depend on the type of Index.
template <typename Index, typename = void>
struct RemainderOf {
  TF_STN_HD static Index Divide(Index index, Index period) {
    const Index half = Index{1} << 29;
    const Index far = sizeof(Index) == 4 || period < half ? half * 2 : 4 * period;
    const Index near = index < -far ? -far : index > far ? far : index;
    const Index remainder = near % period;
    return remainder < 0 ? remainder + period : remainder;
  }
};

template <typename Index>
TF_STN_HD inline Index Remainder(const Index& index, ScalarType<Index> period) {
  return RemainderOf<Index>::Divide(index, period);
}

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_NUMBERS_H_

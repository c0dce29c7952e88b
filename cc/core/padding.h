// Padding along one axis: where to read when an index leaves [0, size).
// A policy is a struct whose Resolve() returns an index inside the image, or
// kReadsAsZero.  It maps indices, not coordinates, so it has no derivative of
// its own.
//
// REQUIRES: size > 0.

#ifndef TF_STN_CC_CORE_PADDING_H_
#define TF_STN_CC_CORE_PADDING_H_

#include <cstdint>

#include "cc/core/portability.h"

namespace tf_stn {

inline constexpr int kReadsAsZero = -1;

struct Zeros {  // 0 0 0 | a b c d | 0 0 0
  template <typename Index>
  TF_STN_HD static Index Resolve(Index index, Index size) {
    return 0 <= index && index < size ? index : kReadsAsZero;
  }
};

struct Border {  // a a a | a b c d | d d d
  template <typename Index>
  TF_STN_HD static Index Resolve(Index index, Index size) {
    return index < 0 ? 0 : index < size ? index : size - 1;
  }
};

// Returns the remainder, from 0 to period - 1, of an index that is first pulled in to
// 2^30, or a few times the image where that is longer.  So far out coordinates are
// rounded to more than a pixel, and all types of Index shall give the same.
template <typename Index>
TF_STN_HD inline Index Remainder(Index index, Index period) {
  const Index half = Index{1} << 29;
  const Index far = sizeof(Index) == 4 || period < half ? half * 2 : 4 * period;
  const Index near = index < -far ? -far : index > far ? far : index;
  const Index remainder = near % period;
  return remainder < 0 ? remainder + period : remainder;
}

struct Reflect {  // d c b | a b c d | c b a
  template <typename Index>
  TF_STN_HD static Index Resolve(Index index, Index size) {
    if (size == 1) return 0;
    const Index period = 2 * (size - 1);
    const Index place = Remainder(index, period);
    return place < size ? place : period - place;
  }
};

struct Symmetric {  // c b a | a b c d | d c b
  template <typename Index>
  TF_STN_HD static Index Resolve(Index index, Index size) {
    const Index place = Remainder(index, 2 * size);
    return place < size ? place : 2 * size - 1 - place;
  }
};

struct Wrap {  // b c d | a b c d | a b c
  template <typename Index>
  TF_STN_HD static Index Resolve(Index index, Index size) {
    return Remainder(index, size);
  }
};

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_PADDING_H_

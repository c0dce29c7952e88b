// Padding along one axis: where to read when an index leaves [0, size).
// A policy is a stateless struct whose Resolve() returns an index inside the
// image, or kReadsAsZero.  It maps indices, not coordinates, so it has no
// derivative of its own.

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

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_PADDING_H_

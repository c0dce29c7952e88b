// Padding along one axis: which pixel is read for an index outside [0, size).
//
// A policy is a struct with
//
//   kRepeats              whether the image is repeated without end, so that it matters where a
//                         coordinate far outside lies, and
//   Resolve(index, size)  which returns an index inside the image, or kReadsAsZero.
//
// A padding maps indices, not coordinates, and so has no derivative of its own.  Index is a
// number or a vector of numbers.  To add a padding, write it here and add it to the list below.
//
// REQUIRES: size > 0.

#ifndef TF_STN_CC_CORE_PADDING_H_
#define TF_STN_CC_CORE_PADDING_H_

#include <cstdint>

#include "cc/core/numbers.h"
#include "cc/core/portability.h"

namespace tf_stn {

inline constexpr int kReadsAsZero = -1;

struct Zeros {
  static constexpr bool kRepeats = false;

  template <typename Index>
  TF_STN_HD static Index Resolve(const Index& index, ScalarType<Index> size) {
    return Select((index >= 0) & (index < size), index, Filled<Index>(kReadsAsZero));
  }
};

struct Border {
  static constexpr bool kRepeats = false;

  template <typename Index>
  TF_STN_HD static Index Resolve(const Index& index, ScalarType<Index> size) {
    const Index not_before = Select(index < 0, Index{}, index);
    return Select(not_before < size, not_before, Filled<Index>(size - 1));
  }
};

struct Reflect {
  static constexpr bool kRepeats = true;

  template <typename Index>
  TF_STN_HD static Index Resolve(const Index& index, ScalarType<Index> size) {
    const ScalarType<Index> period = size == 1 ? 1 : 2 * (size - 1);
    const Index place = Remainder(index, period);
    return Select(place < size, place, period - place);
  }
};

struct Symmetric {
  static constexpr bool kRepeats = true;

  template <typename Index>
  TF_STN_HD static Index Resolve(const Index& index, ScalarType<Index> size) {
    const ScalarType<Index> period = 2 * size;
    const Index place = Remainder(index, period);
    return Select(place < size, place, (period - 1) - place);
  }
};

struct Wrap {
  static constexpr bool kRepeats = true;

  template <typename Index>
  TF_STN_HD static Index Resolve(const Index& index, ScalarType<Index> size) {
    return Remainder(index, size);
  }
};

// All paddings: the policy, its public name, and what it makes of an image a b c d.  Everything
// that lists paddings is made from this.
#define TF_STN_FOR_EACH_PADDING(visit)                                 \
  visit(Zeros, "zeros", "0 0 0 | a b c d | 0 0 0")                     \
      visit(Border, "border", "a a a | a b c d | d d d")               \
          visit(Reflect, "reflect", "d c b | a b c d | c b a")         \
              visit(Symmetric, "symmetric", "c b a | a b c d | d c b") \
                  visit(Wrap, "wrap", "b c d | a b c d | a b c")

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_PADDING_H_

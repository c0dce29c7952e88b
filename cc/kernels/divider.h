// Division by a number that is known before a kernel starts.  A GPU has no
// instruction for it: a division is some twenty, or a hundred of 64 bits; this is a
// product and a shift.

#ifndef TF_STN_CC_KERNELS_DIVIDER_H_
#define TF_STN_CC_KERNELS_DIVIDER_H_

#include <cstdint>
#include <type_traits>

#include "cc/core/portability.h"

namespace tf_stn {

// REQUIRES: the divisor is positive and the dividend is not negative.
//
// With Index of b + 1 bits and s = ceil(log2(divisor)) the quotient is
// floor(dividend * m / 2^(b + s)), where m = ceil(2^(b + s) / divisor) < 2^(b + 1):
// m * divisor exceeds 2^(b + s) by less than 2^s, which a dividend below 2^b does not
// carry into the quotient.
template <typename Index>
class Divider {
 public:
  Divider() : Divider(1) {}
  explicit Divider(int64_t divisor) : divisor_(static_cast<Index>(divisor)) {
    while (Wide{1} << (shift_ - kBits) < static_cast<Wide>(divisor)) ++shift_;
    multiplier_ = static_cast<Unsigned>(((Wide{1} << shift_) - 1) / static_cast<Wide>(divisor) + 1);
  }

  TF_STN_HD Index Quotient(Index dividend) const {
    const Wide product = Wide{static_cast<Unsigned>(dividend)} * multiplier_;
    return static_cast<Index>(product >> shift_);
  }
  TF_STN_HD Index divisor() const { return divisor_; }

 private:
  static constexpr bool kIsLong = sizeof(Index) == 8;
  static constexpr int kBits = kIsLong ? 63 : 31;
  using Unsigned = std::conditional_t<kIsLong, uint64_t, uint32_t>;
  using Wide = std::conditional_t<kIsLong, unsigned __int128, uint64_t>;

  Index divisor_;
  int shift_ = kBits;
  Unsigned multiplier_;
};

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_DIVIDER_H_

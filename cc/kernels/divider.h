// Division by a number that is known before a kernel starts.  A GPU has no
// instruction for it: a division is some twenty, this is a product and a shift.

#ifndef TF_STN_CC_KERNELS_DIVIDER_H_
#define TF_STN_CC_KERNELS_DIVIDER_H_

#include <cstdint>

#include "cc/core/portability.h"

namespace tf_stn {

// REQUIRES: the divisor is positive and the dividend is not negative.
template <typename Index>
class Divider {
 public:
  Divider() = default;
  explicit Divider(int64_t divisor) : divisor_(static_cast<Index>(divisor)) {}

  TF_STN_HD Index Quotient(Index dividend) const { return dividend / divisor_; }
  TF_STN_HD Index divisor() const { return divisor_; }

 private:
  Index divisor_ = 1;
};

// With s = ceil(log2(divisor)) the quotient is floor(dividend * m / 2^(31 + s)), where
// m = ceil(2^(31 + s) / divisor) < 2^32: m * divisor exceeds 2^(31 + s) by less than
// 2^s, which a dividend below 2^31 does not carry into the quotient.
template <>
class Divider<int32_t> {
 public:
  Divider() : Divider(1) {}
  explicit Divider(int64_t divisor) : divisor_(static_cast<int32_t>(divisor)) {
    while (int64_t{1} << (shift_ - 31) < divisor) ++shift_;
    const auto unsigned_divisor = static_cast<uint64_t>(divisor);
    multiplier_ = static_cast<uint32_t>(((uint64_t{1} << shift_) - 1) / unsigned_divisor + 1);
  }

  TF_STN_HD int32_t Quotient(int32_t dividend) const {
    const uint64_t product = uint64_t{static_cast<uint32_t>(dividend)} * multiplier_;
    return static_cast<int32_t>(product >> shift_);
  }
  TF_STN_HD int32_t divisor() const { return divisor_; }

 private:
  int32_t divisor_;
  int shift_ = 31;
  uint32_t multiplier_;
};

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_DIVIDER_H_

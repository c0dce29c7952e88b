// Division by a number that is known before a kernel starts, as a multiplication and a shift; and
// sources of points that divide in this way.  GPUs have no instruction for division: one takes some
// twenty instructions, or a hundred for 64 bits.

#ifndef TF_STN_CC_KERNELS_GPU_FAST_DIVISION_H_
#define TF_STN_CC_KERNELS_GPU_FAST_DIVISION_H_

#include <cstdint>
#include <type_traits>
#include <utility>

#include "cc/core/points.h"
#include "cc/core/portability.h"

namespace tf_stn {

// Has the interface of PlainDivision in cc/core/points.h.
//
// With an Index of b + 1 bits and s = ceil(log2(divisor)), the quotient is
// floor(dividend * m / 2^(b + s)), where m = ceil(2^(b + s) / divisor) < 2^(b + 1).  It is exact:
// m * divisor exceeds 2^(b + s) by less than 2^s, and a dividend below 2^b is too small for that
// excess to reach the integer part.
//
// REQUIRES: the divisor is positive and the dividend is not negative.
template <typename Index>
class FastDivision {
 public:
  FastDivision() : FastDivision(1) {}
  explicit FastDivision(int64_t divisor) : divisor_(static_cast<Index>(divisor)) {
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

// A source of points as kernels take it.
template <typename Points, typename Index>
struct FastPoints {
  using Source = decltype(std::declval<Points>().template WithDivision<FastDivision<Index>>());
  using Real = typename Points::Real;

  explicit FastPoints(const Points& points)
      : source(points.template WithDivision<FastDivision<Index>>()),
        points_per_item(points.points_per_item()) {}

  // Writes the coordinates of a point that is counted within its image.
  TF_STN_HD void At(Index image, Index point, Real* coordinates) const {
    if constexpr (Points::kIsStored) {
      source.At(ItemOf(source, image, point), point, coordinates);
    } else {
      const Index item = points_per_item.Quotient(point);
      source.At(ItemOf(source, image, item), point - item * points_per_item.divisor(), coordinates);
    }
  }

  Source source;
  FastDivision<Index> points_per_item;
};

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_FAST_DIVISION_H_

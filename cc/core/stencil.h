// The pixels that one sample point reads: the tensor product of its taps along
// each axis.
//
//   value            =  sum_k  weight(k)    * pixel(offset(k))
//   d value / d x_d  =  sum_k  slope(k, d)  * pixel(offset(k))
//   d value / d data =         weight(k)    at offset(k)
//
// A pixel outside the image is a zero that takes part in these sums, so that a
// NaN coordinate, whose weights and slopes are NaN, shows in all of them.

#ifndef TF_STN_CC_CORE_STENCIL_H_
#define TF_STN_CC_CORE_STENCIL_H_

#include <cstdint>

#include "cc/core/interpolation.h"
#include "cc/core/padding.h"
#include "cc/core/portability.h"

namespace tf_stn {

// Shape of one image, channels last; size[0] is the slowest axis.
template <int Rank, typename Index = int64_t>
struct Extent {
  Index size[Rank];
  Index channels;

  // Elements of one step along axis 0: a row of an image, a slice of a volume.
  TF_STN_HD Index row_elements() const {
    Index product = channels;
    for (int d = 1; d < Rank; ++d) product *= size[d];
    return product;
  }

  TF_STN_HD Index elements() const { return size[0] * row_elements(); }
};

template <int Rank, typename Interpolation, typename Padding, typename RealType,
          typename IndexType = int64_t>
class Stencil {
 public:
  using Real = RealType;
  using Index = IndexType;
  static constexpr int kRank = Rank;
  static constexpr int kTaps = Interpolation::kTaps;

  // Number of pixels read: kTaps to the power of the rank.
  TF_STN_HD static constexpr int Count() {
    int count = 1;
    for (int d = 0; d < kRank; ++d) count *= kTaps;
    return count;
  }
  static constexpr int kCount = Count();

  // `point` is (x, y[, z]) in pixels: x runs along the last spatial axis.
  TF_STN_HD Stencil(const Extent<kRank, Index>& extent, const Real* point) {
    Index stride = extent.channels;
    for (int d = kRank - 1; d >= 0; --d) {
      Tap<Real, Index>* taps = taps_[d];
      Interpolation::Taps(point[kRank - 1 - d], taps);
      for (int k = 0; k < kTaps; ++k) {
        const Index index = Padding::Resolve(taps[k].index, extent.size[d]);
        taps[k].index = index == kReadsAsZero ? kReadsAsZero : index * stride;
      }
      stride *= extent.size[d];
    }
  }

  // Returns where pixel `k` starts in the image, or kReadsAsZero.
  TF_STN_HD Index offset(int k) const {
    Index sum = 0;
    for (int d = kRank - 1; d >= 0; --d, k /= kTaps) {
      const Index index = taps_[d][k % kTaps].index;
      if (index == kReadsAsZero) return kReadsAsZero;
      sum += index;
    }
    return sum;
  }

  TF_STN_HD Real weight(int k) const { return Product(k, kNoAxis); }

  // Returns d weight(k) / d point[coordinate].
  TF_STN_HD Real slope(int k, int coordinate) const { return Product(k, kRank - 1 - coordinate); }

  // Whether the stencil of `point` may read a row in [begin, end), a row being a
  // step along axis 0.  Cheaper than making the stencil.
  TF_STN_HD static bool Touches(const Extent<kRank, Index>& extent, const Real* point, Index begin,
                                Index end) {
    Tap<Real, Index> taps[kTaps];
    Interpolation::Taps(point[kRank - 1], taps);
    for (int k = 0; k < kTaps; ++k) {
      const Index row = Padding::Resolve(taps[k].index, extent.size[0]);
      if (begin <= row && row < end) return true;
    }
    return false;
  }

 private:
  static constexpr int kNoAxis = -1;

  TF_STN_HD Real Product(int k, int sloped_axis) const {
    Real product = 1;
    for (int d = kRank - 1; d >= 0; --d, k /= kTaps) {
      const Tap<Real, Index>& tap = taps_[d][k % kTaps];
      product *= d == sloped_axis ? tap.slope : tap.weight;
    }
    return product;
  }

  // Taps of each axis; their indices are in elements.
  Tap<Real, Index> taps_[kRank][kTaps];
};

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_STENCIL_H_

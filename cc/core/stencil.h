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
template <int Rank>
struct Extent {
  int64_t size[Rank];
  int64_t channels;

  // Elements of one step along axis 0: a row of an image, a slice of a volume.
  TF_STN_HD int64_t row_elements() const {
    int64_t product = channels;
    for (int d = 1; d < Rank; ++d) product *= size[d];
    return product;
  }

  TF_STN_HD int64_t elements() const { return size[0] * row_elements(); }
};

template <int Rank, typename Interpolation, typename Padding, typename RealType>
class Stencil {
 public:
  using Real = RealType;
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
  TF_STN_HD Stencil(const Extent<kRank>& extent, const Real* point) {
    int64_t stride = extent.channels;
    for (int d = kRank - 1; d >= 0; --d) {
      Tap<Real>* taps = taps_[d];
      Interpolation::Taps(point[kRank - 1 - d], taps);
      for (int k = 0; k < kTaps; ++k) {
        const int64_t index = Padding::Resolve(taps[k].index, extent.size[d]);
        taps[k].index = index == kReadsAsZero ? kReadsAsZero : index * stride;
      }
      stride *= extent.size[d];
    }
  }

  // Returns where pixel `k` starts in the image, or kReadsAsZero.
  TF_STN_HD int64_t offset(int k) const {
    int64_t sum = 0;
    for (int d = kRank - 1; d >= 0; --d, k /= kTaps) {
      const int64_t index = taps_[d][k % kTaps].index;
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
  TF_STN_HD static bool Touches(const Extent<kRank>& extent, const Real* point, int64_t begin,
                                int64_t end) {
    Tap<Real> taps[kTaps];
    Interpolation::Taps(point[kRank - 1], taps);
    for (int k = 0; k < kTaps; ++k) {
      const int64_t row = Padding::Resolve(taps[k].index, extent.size[0]);
      if (begin <= row && row < end) return true;
    }
    return false;
  }

 private:
  static constexpr int kNoAxis = -1;

  TF_STN_HD Real Product(int k, int sloped_axis) const {
    Real product = 1;
    for (int d = kRank - 1; d >= 0; --d, k /= kTaps) {
      const Tap<Real>& tap = taps_[d][k % kTaps];
      product *= d == sloped_axis ? tap.slope : tap.weight;
    }
    return product;
  }

  // Taps of each axis; their indices are in elements.
  Tap<Real> taps_[kRank][kTaps];
};

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_STENCIL_H_

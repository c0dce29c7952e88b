// A source of points that only tests have.  It shows that the loops and kernels know no source by
// name, and what one needs; see cc/core/points.h.

#ifndef TF_STN_TESTS_CPP_TRANSLATED_POINTS_H_
#define TF_STN_TESTS_CPP_TRANSLATED_POINTS_H_

#include <cstdint>

#include "cc/core/points.h"
#include "cc/core/portability.h"

namespace tf_stn {

// The pixels of outputs, each shifted by its output's translation:
//
//   (x, y[, z]) = (column, row[, slice]) + translation
template <int Rank, typename RealType, typename Division = PlainDivision>
struct TranslatedPoints {
  static constexpr int kRank = Rank;
  static constexpr int kParameters = Rank;
  static constexpr bool kIsStored = false;
  using Real = RealType;

  const Real* parameters;  // [images or 1, outputs, Rank]
  int64_t per_image;
  int64_t stored;
  OutputSize<Rank, Division> size;

  TF_STN_HD int parameters_per_item() const { return kParameters; }
  TF_STN_HD int64_t points_per_item() const { return size.points(); }

  template <typename Index>
  TF_STN_HD void At(const Real* item, Index point, Real* coordinates) const {
    Index pixel[kRank];
    size.PixelOf(point, pixel);
    for (int d = 0; d < kRank; ++d) coordinates[d] = static_cast<Real>(pixel[d]) + item[d];
  }

  template <typename Index, typename Number, typename Add>
  TF_STN_HD void Pull(const Real*, Index, const Number* grad_point, const Add& add) const {
    for (int d = 0; d < kRank; ++d) add(d, grad_point[d]);
  }

  template <typename Other>
  TranslatedPoints<Rank, Real, Other> WithDivision() const {
    return {parameters, per_image, stored, size.template WithDivision<Other>()};
  }
};

}  // namespace tf_stn

#endif  // TF_STN_TESTS_CPP_TRANSLATED_POINTS_H_

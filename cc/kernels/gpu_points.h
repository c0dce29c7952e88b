// Sources of points as GPU kernels take them.  A kernel knows a point by three
// numbers: its own in the batch, its image, and its own in that image.

#ifndef TF_STN_CC_KERNELS_GPU_POINTS_H_
#define TF_STN_CC_KERNELS_GPU_POINTS_H_

#include "cc/core/coordinates.h"
#include "cc/core/portability.h"
#include "cc/kernels/divider.h"

namespace tf_stn {

template <typename Index>
struct PointNumbers {
  Index in_batch, image, in_image;
};

// Whether points come from a matrix, so that their gradient is one of it.
template <typename Points>
inline constexpr bool kAreFromMatrix = false;

template <int Rank, typename Real>
inline constexpr bool kAreFromMatrix<AffinePoints<Rank, Real>> = true;

template <typename Points, typename Index>
struct DevicePoints;

template <int Rank, typename Real, typename Index>
struct DevicePoints<WarpPoints<Rank, Real>, Index> {
  explicit DevicePoints(const WarpPoints<Rank, Real>& points) : points(points) {}

  TF_STN_HD void At(const PointNumbers<Index>& point, Real* coordinates) const {
    points.At(point.in_batch, coordinates);
  }

  WarpPoints<Rank, Real> points;
};

template <int Rank, typename Real, typename Index>
struct DevicePoints<AffinePoints<Rank, Real>, Index> {
  using Points = AffinePoints<Rank, Real>;

  explicit DevicePoints(const Points& points) : matrix(points.matrix) {
    for (int d = 0; d < Rank; ++d) size[d] = Divider<Index>(points.size[d]);
  }

  // Writes the (column, row[, slice]) of a point.
  TF_STN_HD void PixelOf(const PointNumbers<Index>& point, Index* pixel) const {
    Index left = point.in_image;
    for (int d = Rank - 1; d > 0; --d) {
      const Index next = size[d].Quotient(left);
      pixel[Rank - 1 - d] = left - next * size[d].divisor();
      left = next;
    }
    pixel[Rank - 1] = left;
  }

  TF_STN_HD void At(const PointNumbers<Index>& point, Real* coordinates) const {
    Index pixel[Rank];
    PixelOf(point, pixel);
    Points::Map(matrix + point.image * Points::kParameters, pixel, coordinates);
  }

  const Real* matrix;
  Divider<Index> size[Rank];  // Of the output.
};

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_POINTS_H_

// Sources of points as GPU kernels take them: with divisions prepared.

#ifndef TF_STN_CC_KERNELS_GPU_POINTS_H_
#define TF_STN_CC_KERNELS_GPU_POINTS_H_

#include "cc/core/coordinates.h"
#include "cc/core/portability.h"
#include "cc/kernels/divider.h"

namespace tf_stn {

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

  TF_STN_HD void At(Index image, Index point, Real* coordinates) const {
    points.At(image, point, coordinates);
  }

  WarpPoints<Rank, Real> points;
};

template <int Rank, typename Real, typename Index>
struct DevicePoints<AffinePoints<Rank, Real>, Index> {
  using Points = AffinePoints<Rank, Real>;

  explicit DevicePoints(const Points& points)
      : matrix(points.matrix),
        per_image(static_cast<Index>(points.per_image)),
        output_points(points.output_points()) {
    for (int d = 0; d < Rank; ++d) size[d] = Divider<Index>(points.size[d]);
  }

  // Writes the (column, row[, slice]) of a point of an output.
  TF_STN_HD void PixelOf(Index point, Index* pixel) const {
    for (int d = Rank - 1; d > 0; --d) {
      const Index next = size[d].Quotient(point);
      pixel[Rank - 1 - d] = point - next * size[d].divisor();
      point = next;
    }
    pixel[Rank - 1] = point;
  }

  TF_STN_HD const Real* MatrixOf(Index image, Index output) const {
    return matrix + (image * per_image + output) * Points::kParameters;
  }

  TF_STN_HD void At(Index image, Index point, Real* coordinates) const {
    const Index output = output_points.Quotient(point);
    Index pixel[Rank];
    PixelOf(point - output * output_points.divisor(), pixel);
    Points::Map(MatrixOf(image, output), pixel, coordinates);
  }

  const Real* matrix;
  Index per_image;  // Matrices; 0 if all images share them.
  Divider<Index> output_points;
  Divider<Index> size[Rank];  // Of an output.
};

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_POINTS_H_

// Loops over sample points: forward and both gradients.
//
// They know no interpolation, no padding and no source of points by name.
// Points are numbered through the batch; points_per_image of them belong to
// each image.  Sums run in the coordinate type, over a stencil in its own
// order, over points in theirs: so the result does not depend on how points or
// rows are divided among callers.

#ifndef TF_STN_CC_CORE_RESAMPLE_H_
#define TF_STN_CC_CORE_RESAMPLE_H_

#include <cstdint>

#include "cc/core/portability.h"
#include "cc/core/stencil.h"

namespace tf_stn {

// Channels that are summed together, enough for the sums to stay in registers.
inline constexpr int kChannelBlock = 16;

// Writes the sample of one point.
//
// A pixel of weight zero is not read.  So a point on a pixel centre returns that
// pixel bit for bit, even beside a NaN; -0 as the start is part of that, since
// -0 + x is x for every x.
template <typename Stencil, typename T>
TF_STN_HD void SamplePoint(const Stencil& stencil, int64_t channels, const T* image, T* output) {
  using Real = typename Stencil::Real;
  for (int64_t first = 0; first < channels; first += kChannelBlock) {
    const int64_t left = channels - first;
    const int count = left < kChannelBlock ? static_cast<int>(left) : kChannelBlock;
    Real sum[kChannelBlock];
    for (int c = 0; c < count; ++c) sum[c] = -Real(0);
    for (int k = 0; k < Stencil::kCount; ++k) {
      const Real weight = stencil.weight(k);
      const int64_t offset = stencil.offset(k);
      if (weight == Real(0)) continue;
      if (offset == kReadsAsZero) {
        for (int c = 0; c < count; ++c) sum[c] += weight * Real(0);
      } else {
        const T* pixel = image + offset + first;
        for (int c = 0; c < count; ++c) sum[c] += weight * static_cast<Real>(pixel[c]);
      }
    }
    for (int c = 0; c < count; ++c) output[first + c] = static_cast<T>(sum[c]);
  }
}

// Returns the inner product of two pixels, summed in lanes that a compiler can
// keep in one vector; what does not fill them is added one by one.
template <typename Real, typename T>
TF_STN_HD Real InnerProduct(const T* a, const T* b, int64_t channels) {
  constexpr int kLanes = 8;
  const auto product = [&](int64_t c) { return static_cast<Real>(a[c]) * static_cast<Real>(b[c]); };
  Real sum = 0;
  int64_t c = 0;
  if (channels >= kLanes) {
    Real lanes[kLanes] = {};
    for (; c + kLanes <= channels; c += kLanes) {
      for (int i = 0; i < kLanes; ++i) lanes[i] += product(c + i);
    }
    for (int i = 0; i < kLanes; ++i) sum += lanes[i];
  }
  for (; c < channels; ++c) sum += product(c);
  return sum;
}

// Writes dL/d(x, y[, z]) of one point, given dL/dV of its channels.  A pixel of
// slope zero takes no part, so that an infinite one beside the point does no harm.
template <typename Stencil, typename T>
TF_STN_HD void WarpGradientOfPoint(const Stencil& stencil, int64_t channels, const T* image,
                                   const T* grad_output, typename Stencil::Real* grad_point) {
  using Real = typename Stencil::Real;
  for (int d = 0; d < Stencil::kRank; ++d) grad_point[d] = 0;
  for (int k = 0; k < Stencil::kCount; ++k) {
    const int64_t offset = stencil.offset(k);
    const Real product = offset == kReadsAsZero
                             ? Real(0)
                             : InnerProduct<Real>(image + offset, grad_output, channels);
    for (int d = 0; d < Stencil::kRank; ++d) {
      const Real slope = stencil.slope(k, d);
      if (slope != Real(0)) grad_point[d] += slope * product;
    }
  }
}

// Adds dL/dU of one point to elements [begin, end) of its image.  A NaN
// coordinate adds nothing.
template <typename Stencil, typename T>
TF_STN_HD void DataGradientOfPoint(const Stencil& stencil, int64_t channels, const T* grad_output,
                                   int64_t begin, int64_t end, typename Stencil::Real* grad_image) {
  using Real = typename Stencil::Real;
  for (int k = 0; k < Stencil::kCount; ++k) {
    const Real weight = stencil.weight(k);
    const int64_t offset = stencil.offset(k);
    const bool is_nan_or_zero = !(weight < 0 || weight > 0);
    if (is_nan_or_zero || offset < begin || offset >= end) continue;
    Real* pixel = grad_image + offset;
    for (int64_t c = 0; c < channels; ++c) pixel[c] += weight * static_cast<Real>(grad_output[c]);
  }
}

// Writes the samples of points [begin, end).
template <typename Stencil, typename Points, typename T>
void SamplePoints(const Extent<Stencil::kRank>& extent, const Points& points,
                  int64_t points_per_image, const T* data, int64_t begin, int64_t end, T* output) {
  for (int64_t p = begin; p < end; ++p) {
    typename Stencil::Real point[Stencil::kRank];
    points.At(p, point);
    SamplePoint(Stencil(extent, point), extent.channels,
                data + p / points_per_image * extent.elements(), output + p * extent.channels);
  }
}

// Writes dL/dwarp of points [begin, end).
template <typename Stencil, typename Points, typename T>
void WarpGradientOfPoints(const Extent<Stencil::kRank>& extent, const Points& points,
                          int64_t points_per_image, const T* data, const T* grad_output,
                          int64_t begin, int64_t end, typename Stencil::Real* grad_warp) {
  for (int64_t p = begin; p < end; ++p) {
    typename Stencil::Real point[Stencil::kRank];
    points.At(p, point);
    WarpGradientOfPoint(Stencil(extent, point), extent.channels,
                        data + p / points_per_image * extent.elements(),
                        grad_output + p * extent.channels, grad_warp + p * Stencil::kRank);
  }
}

// Writes dL/dmatrix of images [begin, end), for points that come from a matrix:
// the sum over points of dL/d(x, y[, z]) times (column, row[, slice], 1), in double.
template <typename Stencil, typename Points, typename T>
void MatrixGradientOfImages(const Extent<Stencil::kRank>& extent, const Points& points,
                            int64_t points_per_image, const T* data, const T* grad_output,
                            int64_t begin, int64_t end, typename Stencil::Real* grad_matrix) {
  constexpr int kRank = Stencil::kRank;
  for (int64_t n = begin; n < end; ++n) {
    double sums[kRank][kRank + 1] = {};
    for (int64_t p = n * points_per_image; p < (n + 1) * points_per_image; ++p) {
      typename Stencil::Real point[kRank], grad_point[kRank];
      int64_t pixel[kRank];
      points.At(p, point);
      points.PixelOf(p, pixel);
      WarpGradientOfPoint(Stencil(extent, point), extent.channels, data + n * extent.elements(),
                          grad_output + p * extent.channels, grad_point);
      for (int d = 0; d < kRank; ++d) {
        const double gradient = static_cast<double>(grad_point[d]);
        for (int k = 0; k < kRank; ++k) sums[d][k] += gradient * static_cast<double>(pixel[k]);
        sums[d][kRank] += gradient;
      }
    }
    typename Stencil::Real* row = grad_matrix + n * Points::kParameters;
    for (int d = 0; d < kRank; ++d) {
      for (int k = 0; k <= kRank; ++k) *row++ = static_cast<typename Stencil::Real>(sums[d][k]);
    }
  }
}

// Writes dL/dU of rows [row_begin, row_end) of image `image`, and nothing else.
// A row is a step along axis 0.  Every pixel sums its points in their order,
// so that any division into rows gives the same bits.
//
// REQUIRES: `grad_image` is the start of that image, in the type of the sums.
template <typename Stencil, typename Points, typename T>
void DataGradientOfRows(const Extent<Stencil::kRank>& extent, const Points& points,
                        int64_t points_per_image, const T* grad_output, int64_t image,
                        int64_t row_begin, int64_t row_end, typename Stencil::Real* grad_image) {
  using Real = typename Stencil::Real;
  const int64_t begin = row_begin * extent.row_elements();
  const int64_t end = row_end * extent.row_elements();
  for (int64_t i = begin; i < end; ++i) grad_image[i] = Real(0);
  for (int64_t p = image * points_per_image; p < (image + 1) * points_per_image; ++p) {
    Real point[Stencil::kRank];
    points.At(p, point);
    if (!Stencil::Touches(extent, point, row_begin, row_end)) continue;
    DataGradientOfPoint(Stencil(extent, point), extent.channels, grad_output + p * extent.channels,
                        begin, end, grad_image);
  }
}

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_RESAMPLE_H_

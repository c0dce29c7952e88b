// Loops over sample points: forward, both gradients, and the gradients of those.
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

// A batch of images, and how the points that sample them are numbered.
template <typename Stencil, typename T>
struct Images {
  typename Stencil::Rules rules;
  Extent<Stencil::kRank> extent;
  int64_t images;
  int64_t points_per_image;
  const T* data;  // [images, ..., channels]; null where only a gradient of it is asked for.
  const T* fill;  // [channels]: the pixels outside, or null if they are zeros.

  const T* image(int64_t n) const { return data + n * extent.elements(); }
};

// Calls body(image, point, number) for points [begin, end), numbered through the
// batch; `point` is counted within its image.
template <typename Body>
void ForPoints(int64_t points_per_image, int64_t begin, int64_t end, const Body& body) {
  int64_t n = begin < end ? begin / points_per_image : 0;
  int64_t q = begin - n * points_per_image;
  for (int64_t p = begin; p < end; ++p) {
    body(n, q, p);
    if (++q == points_per_image) ++n, q = 0;
  }
}

// Adds to sum[0, count) the pixels of a stencil from channel `first` on, times
// weight(k).
//
// A pixel of weight zero is not read.  So a point on a pixel centre returns that
// pixel bit for bit, even beside a NaN, if the sum starts at -0, since -0 + x is
// x for every x.
template <typename Stencil, typename T, typename Weight>
TF_STN_HD void AddPixels(const Stencil& stencil, const Weight& weight_of, int64_t first, int count,
                         const T* image, const T* fill, typename Stencil::Real* sum) {
  using Real = typename Stencil::Real;
  for (int k = 0; k < Stencil::kCount; ++k) {
    const Real weight = weight_of(k);
    const int64_t offset = stencil.offset(k);
    if (weight == Real(0)) continue;
    const T* pixel = offset == kReadsAsZero ? fill : image + offset;
    if (pixel == nullptr) {
      for (int c = 0; c < count; ++c) sum[c] += weight * Real(0);
    } else {
      for (int c = 0; c < count; ++c) sum[c] += weight * static_cast<Real>(pixel[first + c]);
    }
  }
}

// Calls add(first, count, sum) for blocks of channels, and writes the sums.
template <typename Real, typename T, typename Add>
TF_STN_HD void SumChannels(int64_t channels, const Add& add, T* output) {
  for (int64_t first = 0; first < channels; first += kChannelBlock) {
    const int64_t left = channels - first;
    const int count = left < kChannelBlock ? static_cast<int>(left) : kChannelBlock;
    Real sum[kChannelBlock];
    for (int c = 0; c < count; ++c) sum[c] = -Real(0);
    add(first, count, sum);
    for (int c = 0; c < count; ++c) output[first + c] = static_cast<T>(sum[c]);
  }
}

// Writes the sample of one point.
template <typename Stencil, typename T>
TF_STN_HD void SamplePoint(const Stencil& stencil, int64_t channels, const T* image, const T* fill,
                           T* output) {
  using Real = typename Stencil::Real;
  const auto weight = [&](int k) { return stencil.weight(k); };
  const auto add = [&](int64_t first, int count, Real* sum) {
    AddPixels(stencil, weight, first, count, image, fill, sum);
  };
  SumChannels<Real>(channels, add, output);
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

// Adds to grad_point the inner products of a stencil's pixels with dL/dV, times
// slope(k, d).  A pixel of slope zero takes no part, so that an infinite one beside the
// point does no harm.
template <typename Stencil, typename T, typename Slope>
TF_STN_HD void AddPointGradient(const Stencil& stencil, const Slope& slope_of, int64_t channels,
                                const T* image, const T* fill, const T* grad_output,
                                typename Stencil::Real* grad_point) {
  using Real = typename Stencil::Real;
  for (int k = 0; k < Stencil::kCount; ++k) {
    Real slopes[Stencil::kRank];
    bool is_needed = false;
    for (int d = 0; d < Stencil::kRank; ++d) {
      slopes[d] = slope_of(k, d);
      is_needed = is_needed || slopes[d] != Real(0);
    }
    if (!is_needed) continue;
    const int64_t offset = stencil.offset(k);
    const T* pixel = offset == kReadsAsZero ? fill : image + offset;
    const Real product =
        pixel == nullptr ? Real(0) : InnerProduct<Real>(pixel, grad_output, channels);
    for (int d = 0; d < Stencil::kRank; ++d) {
      if (slopes[d] != Real(0)) grad_point[d] += slopes[d] * product;
    }
  }
}

// Adds dL/d(x, y[, z]) of one point, given dL/dV of its channels.
template <typename Stencil, typename T>
TF_STN_HD void AddWarpGradientOfPoint(const Stencil& stencil, int64_t channels, const T* image,
                                      const T* fill, const T* grad_output,
                                      typename Stencil::Real* grad_point) {
  const auto slope = [&](int k, int d) { return stencil.slope(k, d); };
  AddPointGradient(stencil, slope, channels, image, fill, grad_output, grad_point);
}

// Adds grad_output times weight(k) to elements [begin, end) of an image.  A NaN
// coordinate adds nothing.
template <typename Stencil, typename T, typename Weight>
TF_STN_HD void Scatter(const Stencil& stencil, const Weight& weight_of, int64_t channels,
                       const T* grad_output, int64_t begin, int64_t end,
                       typename Stencil::Real* grad_image) {
  using Real = typename Stencil::Real;
  for (int k = 0; k < Stencil::kCount; ++k) {
    const Real weight = weight_of(k);
    const int64_t offset = stencil.offset(k);
    const bool is_nan_or_zero = !(weight < 0 || weight > 0);
    if (is_nan_or_zero || offset < begin || offset >= end) continue;
    Real* pixel = grad_image + offset;
    for (int64_t c = 0; c < channels; ++c) pixel[c] += weight * static_cast<Real>(grad_output[c]);
  }
}

// Adds dL/dU of one point to elements [begin, end) of its image.
template <typename Stencil, typename T>
TF_STN_HD void DataGradientOfPoint(const Stencil& stencil, int64_t channels, const T* grad_output,
                                   int64_t begin, int64_t end, typename Stencil::Real* grad_image) {
  const auto weight = [&](int k) { return stencil.weight(k); };
  Scatter(stencil, weight, channels, grad_output, begin, end, grad_image);
}

// A stencil differentiated in a direction of its point: the weights of d/ds value and of
// d/ds d value / d x_d at point + s * direction.
template <typename Stencil>
class DirectedStencil {
 public:
  using Real = typename Stencil::Real;

  TF_STN_HD DirectedStencil(const Stencil& stencil, const Real* direction)
      : stencil_(stencil), direction_(direction) {}

  TF_STN_HD Real weight(int k) const {
    Real sum = 0;
    for (int d = 0; d < Stencil::kRank; ++d) sum += direction_[d] * stencil_.slope(k, d);
    return sum;
  }

  TF_STN_HD Real slope(int k, int coordinate) const {
    Real sum = 0;
    for (int d = 0; d < Stencil::kRank; ++d) {
      sum += direction_[d] * stencil_.curvature(k, d, coordinate);
    }
    return sum;
  }

 private:
  const Stencil& stencil_;
  const Real* direction_;
};

// Writes the samples of points [begin, end).
template <typename Stencil, typename Points, typename T>
void SamplePoints(const Images<Stencil, T>& images, const Points& points, int64_t begin,
                  int64_t end, T* output) {
  const auto& extent = images.extent;
  ForPoints(images.points_per_image, begin, end, [&](int64_t n, int64_t q, int64_t p) {
    typename Stencil::Real point[Stencil::kRank];
    points.At(n, q, point);
    SamplePoint(Stencil(images.rules, extent, point), extent.channels, images.image(n), images.fill,
                output + p * extent.channels);
  });
}

// Calls body(image, point, number) for each image that a stored point samples: its own,
// or all, one after the other, if they share the points.
template <typename Points, typename Stencil, typename T, typename Body>
void ForImagesOfPoint(const Images<Stencil, T>& images, const Points& points, int64_t stored,
                      const Body& body) {
  if (points.per_image != 0) {
    const int64_t n = stored / images.points_per_image;
    return body(n, stored - n * images.points_per_image, stored);
  }
  for (int64_t n = 0; n < images.images; ++n) {
    body(n, stored, n * images.points_per_image + stored);
  }
}

// Writes dL/dwarp of stored points [begin, end).
template <typename Stencil, typename Points, typename T>
void WarpGradientOfPoints(const Images<Stencil, T>& images, const Points& points,
                          const T* grad_output, int64_t begin, int64_t end,
                          typename Stencil::Real* grad_warp) {
  const int64_t channels = images.extent.channels;
  for (int64_t i = begin; i < end; ++i) {
    typename Stencil::Real grad_point[Stencil::kRank] = {};
    ForImagesOfPoint(images, points, i, [&](int64_t n, int64_t q, int64_t p) {
      typename Stencil::Real point[Stencil::kRank];
      points.At(n, q, point);
      AddWarpGradientOfPoint(Stencil(images.rules, images.extent, point), channels, images.image(n),
                             images.fill, grad_output + p * channels, grad_point);
    });
    for (int d = 0; d < Stencil::kRank; ++d) grad_warp[i * Stencil::kRank + d] = grad_point[d];
  }
}

// Writes dL/dmatrix of stored matrices [begin, end), for points that come from a matrix:
// the sum over points of dL/d(x, y[, z]) times (column, row[, slice], 1), in double.
template <typename Stencil, typename Points, typename T>
void MatrixGradients(const Images<Stencil, T>& images, const Points& points, const T* grad_output,
                     int64_t begin, int64_t end, typename Stencil::Real* grad_matrix) {
  constexpr int kRank = Stencil::kRank;
  const int64_t channels = images.extent.channels;
  for (int64_t i = begin; i < end; ++i) {
    double sums[kRank][kRank + 1] = {};
    for (int64_t q = 0; q < points.output_points(); ++q) {
      int64_t pixel[kRank];
      points.PixelOf(q, pixel);
      // The matrix's own point, among all that are stored.
      ForImagesOfPoint(images, points, i * points.output_points() + q,
                       [&](int64_t n, int64_t in_image, int64_t p) {
                         typename Stencil::Real point[kRank], grad_point[kRank] = {};
                         points.At(n, in_image, point);
                         AddWarpGradientOfPoint(Stencil(images.rules, images.extent, point),
                                                channels, images.image(n), images.fill,
                                                grad_output + p * channels, grad_point);
                         for (int d = 0; d < kRank; ++d) {
                           const double gradient = static_cast<double>(grad_point[d]);
                           for (int k = 0; k < kRank; ++k) {
                             sums[d][k] += gradient * static_cast<double>(pixel[k]);
                           }
                           sums[d][kRank] += gradient;
                         }
                       });
    }
    typename Stencil::Real* row = grad_matrix + i * Points::kParameters;
    for (int d = 0; d < kRank; ++d) {
      for (int k = 0; k <= kRank; ++k) *row++ = static_cast<typename Stencil::Real>(sums[d][k]);
    }
  }
}

template <typename Stencil, typename T>
void ZeroRows(const Images<Stencil, T>& images, int64_t row_begin, int64_t row_end,
              typename Stencil::Real* grad_image) {
  const int64_t row_elements = images.extent.row_elements();
  for (int64_t i = row_begin * row_elements; i < row_end * row_elements; ++i) grad_image[i] = 0;
}

// Adds up, in rows [row_begin, row_end) of image `n`, what add(stencil, number of the
// point, begin, end) adds to elements [begin, end) for each point, and writes nothing else.
// A row is a step along axis 0.  Every pixel sums its points in their order, so that
// any division into rows gives the same bits.
//
// REQUIRES: `grad_image` is the start of that image, in the type of the sums.
template <typename Stencil, typename Points, typename T, typename Add>
void ScatterToRows(const Images<Stencil, T>& images, const Points& points, int64_t n,
                   int64_t row_begin, int64_t row_end, typename Stencil::Real* grad_image,
                   const Add& add) {
  using Real = typename Stencil::Real;
  const auto& extent = images.extent;
  const int64_t begin = row_begin * extent.row_elements();
  const int64_t end = row_end * extent.row_elements();
  ZeroRows(images, row_begin, row_end, grad_image);
  for (int64_t q = 0; q < images.points_per_image; ++q) {
    Real point[Stencil::kRank];
    points.At(n, q, point);
    if (!Stencil::Touches(images.rules, extent, point, row_begin, row_end)) continue;
    add(Stencil(images.rules, extent, point), n * images.points_per_image + q, begin, end);
  }
}

// Writes dL/dU of rows of image `n`, as ScatterToRows().
template <typename Stencil, typename Points, typename T>
void DataGradientOfRows(const Images<Stencil, T>& images, const Points& points,
                        const T* grad_output, int64_t n, int64_t row_begin, int64_t row_end,
                        typename Stencil::Real* grad_image) {
  const int64_t channels = images.extent.channels;
  ScatterToRows(images, points, n, row_begin, row_end, grad_image,
                [&](const Stencil& stencil, int64_t p, int64_t begin, int64_t end) {
                  DataGradientOfPoint(stencil, channels, grad_output + p * channels, begin, end,
                                      grad_image);
                });
}

// The gradients of
//
//   <grad_grad_data, dL/dU> + <grad_grad_warp, dL/dwarp>,
//
// that is, of both gradients in the direction of the first factors, either of which may
// be null, for zero.  With d/ds the derivative of a sample in the direction of its
// point's grad_grad_warp, they are
//
//   grad_grad_output = sample of grad_grad_data + d/ds sample of data
//   grad_warp        = warp gradient of grad_grad_data + d/ds warp gradient of data
//   grad_data        = scatter of dL/dV by the weights of d/ds
template <typename Stencil, typename T>
struct SecondOrder {
  using Real = typename Stencil::Real;

  const T* grad_output;        // [points, channels]
  const T* grad_grad_data;     // As data.
  const Real* grad_grad_warp;  // As warp.

  const T* image(const Images<Stencil, T>& images, int64_t n) const {
    return grad_grad_data + n * images.extent.elements();
  }
};

// Writes grad_grad_output of points [begin, end).
template <typename Stencil, typename Points, typename T>
void SecondOrderSamples(const Images<Stencil, T>& images, const Points& points,
                        const SecondOrder<Stencil, T>& second, int64_t begin, int64_t end,
                        T* grad_grad_output) {
  using Real = typename Stencil::Real;
  const auto& extent = images.extent;
  const T* const no_fill = nullptr;
  ForPoints(images.points_per_image, begin, end, [&](int64_t n, int64_t q, int64_t p) {
    Real point[Stencil::kRank];
    points.At(n, q, point);
    const Stencil stencil(images.rules, extent, point);
    const Real zero[Stencil::kRank] = {};
    const int64_t stored = n * points.per_image + q;
    const DirectedStencil<Stencil> directed(
        stencil, second.grad_grad_warp ? second.grad_grad_warp + stored * Stencil::kRank : zero);
    const auto weight = [&](int k) { return stencil.weight(k); };
    const auto slope = [&](int k) { return directed.weight(k); };
    const auto add = [&](int64_t first, int count, Real* sum) {
      if (second.grad_grad_data != nullptr) {
        AddPixels(stencil, weight, first, count, second.image(images, n), no_fill, sum);
      }
      if (second.grad_grad_warp != nullptr) {
        AddPixels(stencil, slope, first, count, images.image(n), images.fill, sum);
      }
    };
    SumChannels<Real>(extent.channels, add, grad_grad_output + p * extent.channels);
  });
}

// Writes grad_warp of stored points [begin, end).
template <typename Stencil, typename Points, typename T>
void SecondOrderWarpGradient(const Images<Stencil, T>& images, const Points& points,
                             const SecondOrder<Stencil, T>& second, int64_t begin, int64_t end,
                             typename Stencil::Real* grad_warp) {
  using Real = typename Stencil::Real;
  constexpr int kRank = Stencil::kRank;
  const int64_t channels = images.extent.channels;
  const T* const no_fill = nullptr;
  for (int64_t i = begin; i < end; ++i) {
    Real grad_point[kRank] = {};
    ForImagesOfPoint(images, points, i, [&](int64_t n, int64_t q, int64_t p) {
      Real point[kRank];
      points.At(n, q, point);
      const Stencil stencil(images.rules, images.extent, point);
      const T* const grad_output = second.grad_output + p * channels;
      if (second.grad_grad_data != nullptr) {
        AddWarpGradientOfPoint(stencil, channels, second.image(images, n), no_fill, grad_output,
                               grad_point);
      }
      if (second.grad_grad_warp != nullptr) {
        const DirectedStencil<Stencil> directed(stencil, second.grad_grad_warp + i * kRank);
        const auto slope = [&](int k, int d) { return directed.slope(k, d); };
        AddPointGradient(stencil, slope, channels, images.image(n), images.fill, grad_output,
                         grad_point);
      }
    });
    for (int d = 0; d < kRank; ++d) grad_warp[i * kRank + d] = grad_point[d];
  }
}

// Writes grad_data of rows of image `n`, as ScatterToRows().  Zero without grad_grad_warp,
// since the gradients are linear in the data.
template <typename Stencil, typename Points, typename T>
void SecondOrderDataGradientOfRows(const Images<Stencil, T>& images, const Points& points,
                                   const SecondOrder<Stencil, T>& second, int64_t n,
                                   int64_t row_begin, int64_t row_end,
                                   typename Stencil::Real* grad_image) {
  const int64_t channels = images.extent.channels;
  if (second.grad_grad_warp == nullptr) return ZeroRows(images, row_begin, row_end, grad_image);
  ScatterToRows(images, points, n, row_begin, row_end, grad_image,
                [&](const Stencil& stencil, int64_t p, int64_t begin, int64_t end) {
                  const int64_t stored = p - n * (images.points_per_image - points.per_image);
                  const DirectedStencil<Stencil> directed(
                      stencil, second.grad_grad_warp + stored * Stencil::kRank);
                  const auto weight = [&](int k) { return directed.weight(k); };
                  Scatter(stencil, weight, channels, second.grad_output + p * channels, begin, end,
                          grad_image);
                });
}

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_RESAMPLE_H_

// Loops over sample points: forward, both gradients, and the gradients of those.
//
// They are the reference of all other loops, slow and plain.  They know no interpolation, no
// padding and no source of points by name.  Sums run in the coordinate type, over a stencil in its
// own order, over points in theirs: so the result does not depend on how points or slabs are
// divided among callers.

#ifndef TF_STN_CC_CORE_PLAIN_LOOPS_H_
#define TF_STN_CC_CORE_PLAIN_LOOPS_H_

#include <cstdint>
#include <type_traits>

#include "cc/core/call.h"
#include "cc/core/pixel_types.h"
#include "cc/core/points.h"
#include "cc/core/stencil.h"

namespace tf_stn {

// The weights and slopes of a stencil; with a direction of its point, those differentiated in it:
// of d/ds value and of d/ds d value / d x_d at point + s * direction.
template <typename Stencil>
class Weights {
 public:
  using Real = typename Stencil::Real;

  // A null direction is none.
  Weights(const Stencil& stencil, const Real* direction)
      : stencil_(stencil), direction_(direction) {}

  Real weight(int k) const {
    if (direction_ == nullptr) return stencil_.weight(k);
    Real sum = 0;
    for (int d = 0; d < Stencil::kRank; ++d) sum += direction_[d] * stencil_.slope(k, d);
    return sum;
  }

  Real slope(int k, int coordinate) const {
    if (direction_ == nullptr) return stencil_.slope(k, coordinate);
    Real sum = 0;
    for (int d = 0; d < Stencil::kRank; ++d) {
      sum += direction_[d] * stencil_.curvature(k, d, coordinate);
    }
    return sum;
  }

 private:
  const Stencil& stencil_;
  const Real* const direction_;
};

// Adds to sum[0, count) the pixels of a stencil from channel `first` on, times their weights.
//
// A pixel of weight zero is not read.  So a point on a pixel centre returns that pixel bit for
// bit, even beside a NaN, if the sum starts at -0, since -0 + x is x for every x.
template <typename Stencil, typename T>
void AddPixels(const Stencil& stencil, const Weights<Stencil>& weights, int64_t first, int count,
               const T* image, const T* fill, typename Stencil::Real* sum) {
  using Real = typename Stencil::Real;
  for (int k = 0; k < Stencil::kCount; ++k) {
    const Real weight = weights.weight(k);
    if (weight == Real(0)) continue;
    const int64_t offset = stencil.offset(k);
    const T* const pixel = offset == kReadsAsZero ? fill : image + offset;
    for (int c = 0; c < count; ++c) {
      sum[c] += weight * (pixel == nullptr ? Real(0) : static_cast<Real>(pixel[first + c]));
    }
  }
}

// Returns the inner product of two pixels.
template <typename Real, typename T>
Real InnerProduct(const T* a, const T* b, int64_t channels) {
  Real sum = 0;
  for (int64_t c = 0; c < channels; ++c) sum += static_cast<Real>(a[c]) * static_cast<Real>(b[c]);
  return sum;
}

// Adds to grad_point the inner products of a stencil's pixels with dL/dV, times their slopes.  A
// pixel of slope zero takes no part, so that an infinite one beside the point does no harm.
template <typename Stencil, typename T>
void AddPointGradient(const Stencil& stencil, const Weights<Stencil>& weights, int64_t channels,
                      const T* image, const T* fill, const T* grad_output,
                      typename Stencil::Real* grad_point) {
  using Real = typename Stencil::Real;
  for (int k = 0; k < Stencil::kCount; ++k) {
    Real slopes[Stencil::kRank];
    bool is_needed = false;
    for (int d = 0; d < Stencil::kRank; ++d) {
      slopes[d] = weights.slope(k, d);
      is_needed = is_needed || slopes[d] != Real(0);
    }
    if (!is_needed) continue;
    const int64_t offset = stencil.offset(k);
    const T* const pixel = offset == kReadsAsZero ? fill : image + offset;
    const Real product =
        pixel == nullptr ? Real(0) : InnerProduct<Real>(pixel, grad_output, channels);
    for (int d = 0; d < Stencil::kRank; ++d) {
      if (slopes[d] != Real(0)) grad_point[d] += slopes[d] * product;
    }
  }
}

// Adds grad_output times the weights of a stencil to elements [begin, end) of an image.  A NaN
// coordinate adds nothing.
template <typename Stencil, typename T>
void Scatter(const Stencil& stencil, const Weights<Stencil>& weights, int64_t channels,
             const T* grad_output, int64_t begin, int64_t end, typename Stencil::Real* grad_image) {
  using Real = typename Stencil::Real;
  for (int k = 0; k < Stencil::kCount; ++k) {
    const Real weight = weights.weight(k);
    const int64_t offset = stencil.offset(k);
    const bool is_nan_or_zero = !(weight < 0 || weight > 0);
    if (is_nan_or_zero || offset < begin || offset >= end) continue;
    Real* const pixel = grad_image + offset;
    for (int64_t c = 0; c < channels; ++c) pixel[c] += weight * static_cast<Real>(grad_output[c]);
  }
}

// Returns the direction of a point of an image, or null.
template <typename Points, typename T>
const Coordinate<T>* DirectionOf(const Call<Points, T>& call, const Terms<T>& terms, int64_t image,
                                 int64_t point) {
  if (terms.directions == nullptr) return nullptr;
  return terms.directions + (image * call.points.per_image + point) * Points::kRank;
}

// Writes the sample of a point in image n.
template <typename Stencil, typename T>
void SamplePoint(const Stencil& stencil, const Terms<T>& terms, const Coordinate<T>* direction,
                 const Sizes<Stencil::kRank>& sizes, int64_t n, T* output) {
  using Real = typename Stencil::Real;
  constexpr int kMost = 16;  // Channels that are summed together.
  const int64_t channels = sizes.image.channels;
  for (int64_t first = 0; first < channels; first += kMost) {
    const int count = channels - first < kMost ? static_cast<int>(channels - first) : kMost;
    Real sum[kMost];
    for (int c = 0; c < count; ++c) sum[c] = -Real(0);
    for (int i = 0; i < terms.count; ++i) {
      const Term<T>& term = terms.term[i];
      const Weights<Stencil> weights(stencil, term.is_directed ? direction : nullptr);
      AddPixels(stencil, weights, first, count, term.data + n * sizes.image.elements(), term.fill,
                sum);
    }
    for (int c = 0; c < count; ++c) output[first + c] = ToPixel<T>(sum[c]);
  }
}

// Writes the samples of points [begin, end), numbered through the batch.
template <typename Stencil, typename Points, typename T>
void SamplePoints(const typename Stencil::Rules& rules, const SampleCall<Points, T>& call,
                  int64_t begin, int64_t end) {
  const auto& sizes = call.sizes;
  for (int64_t p = begin; p < end; ++p) {
    const int64_t n = p / sizes.points_per_image;
    typename Stencil::Real point[Stencil::kRank];
    PointOf(call.points, n, p - n * sizes.points_per_image, point);
    SamplePoint(Stencil(rules, sizes.image, point), TermsOf(call), nullptr, sizes, n,
                call.output + p * sizes.image.channels);
  }
}

// Computes the gradient of a run's points, and of the second order also their samples.  That of
// points that are stored is written; that of an item's parameters is added to `item_sums`.
template <typename Stencil, typename CallType>
void GradientOfRun(const typename Stencil::Rules& rules, const CallType& call, const Run& run,
                   double* item_sums) {
  using Real = typename Stencil::Real;
  constexpr int kRank = Stencil::kRank;
  using Points = typename CallType::Points;
  const auto& sizes = call.sizes;
  const int64_t channels = sizes.image.channels, per_item = call.points.points_per_item();
  const auto terms = TermsOf(call);
  auto* const samples = SamplesOf(call);
  const int64_t last_image = call.shares_points() ? sizes.images : run.image + 1;
  for (int64_t q = run.begin; q < run.end; ++q) {
    const int64_t item = q / per_item;
    const Real* const parameters = ItemOf(call.points, run.image, item);
    const Real* const direction = DirectionOf(call, terms, run.image, q);
    Real point[kRank], grad_point[kRank] = {};
    call.points.At(parameters, Points::kIsStored ? q : q - item * per_item, point);
    const Stencil stencil(rules, sizes.image, point);
    for (int64_t n = run.image; n < last_image; ++n) {
      const int64_t p = n * sizes.points_per_image + q;
      if (samples != nullptr) {
        SamplePoint(stencil, terms, direction, sizes, n, samples + p * channels);
      }
      for (int i = 0; i < terms.count && call.grad_points != nullptr; ++i) {
        const auto& term = terms.term[i];
        AddPointGradient(stencil, Weights<Stencil>(stencil, term.is_directed ? direction : nullptr),
                         channels, term.data + n * sizes.image.elements(), term.fill,
                         call.grad_output + p * channels, grad_point);
      }
    }
    if (call.grad_points == nullptr) continue;
    if constexpr (Points::kIsStored) {
      Real* const to = call.grad_points + (run.image * call.points.per_image + q) * kRank;
      for (int d = 0; d < kRank; ++d) to[d] = grad_point[d];
    } else {
      double wide[kRank];
      for (int d = 0; d < kRank; ++d) wide[d] = static_cast<double>(grad_point[d]);
      call.points.Pull(parameters, q - item * per_item, wide,
                       [&](int k, double value) { item_sums[k] += value; });
    }
  }
}

// Calls body(point) for the points of a band, in order.
template <typename Body>
void ForPointsOf(const Band& band, int64_t points_per_image, const Body& body) {
  if (band.points == nullptr) {
    for (int64_t q = 0; q < points_per_image; ++q) body(q);
    return;
  }
  for (int64_t i = 0; i < band.count; ++i) {
    const int64_t first = band.points[i] & ~Band::kRunOfPoints;
    const bool is_run = (band.points[i] & Band::kRunOfPoints) != 0;
    for (int64_t q = first; q < first + (is_run ? Band::kRunLength : 1); ++q) {
      if (q < points_per_image) body(q);
    }
  }
}

// Adds the gradient of a band's slabs to `grad_image`, the start of its image in the type of sums.
// Every pixel sums its points in their order, so that any division into bands gives the same bits.
//
// REQUIRES: a call of second order has grad_grad_points; without, grad_data is zero.
template <typename Stencil, typename CallType>
void GradientOfBand(const typename Stencil::Rules& rules, const CallType& call, const Band& band,
                    typename Stencil::Real* grad_image) {
  using Real = typename Stencil::Real;
  const auto& sizes = call.sizes;
  const int64_t channels = sizes.image.channels, slab = sizes.image.slab_elements();
  const auto terms = TermsOf(call);
  ForPointsOf(band, sizes.points_per_image, [&](int64_t q) {
    Real point[Stencil::kRank];
    PointOf(call.points, band.image, q, point);
    if (!Stencil::Touches(rules, sizes.image, point, band.begin, band.end)) return;
    const Stencil stencil(rules, sizes.image, point);
    const Weights<Stencil> weights(stencil, DirectionOf(call, terms, band.image, q));
    Scatter(stencil, weights, channels,
            call.grad_output + (band.image * sizes.points_per_image + q) * channels,
            band.begin * slab, band.end * slab, grad_image);
  });
}

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_PLAIN_LOOPS_H_

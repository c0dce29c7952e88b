// What an op is to compute, in plain pointers and sizes: the one description that passes from the
// framework to the loops over points, on every device.  The caller owns all memory and has checked
// all shapes.

#ifndef TF_STN_CC_CORE_CALL_H_
#define TF_STN_CC_CORE_CALL_H_

#include <cstdint>

#include "cc/core/modes.h"
#include "cc/core/pixel_types.h"
#include "cc/core/points.h"
#include "cc/core/portability.h"
#include "cc/core/stencil.h"

namespace tf_stn {

template <int Rank>
struct Sizes {
  Extent<Rank> image;
  int64_t images;
  int64_t points_per_image;

  TF_STN_HD int64_t points() const { return images * points_per_image; }
  TF_STN_HD int64_t elements() const { return images * image.elements(); }
};

// Which images are sampled, where, and how.  Points are numbered through the batch;
// points_per_image of them belong to each image.
template <typename PointsType, typename T>
struct Call {
  using Points = PointsType;
  using Pixel = T;
  using Real = Coordinate<T>;
  static constexpr int kRank = Points::kRank;

  Modes modes;
  Sizes<kRank> sizes;
  const T* data;  // [images, ..., channels]
  const T* fill;  // [channels]: the pixel outside; null if it is zero.
  Points points;

  // Whether all images share the points.
  TF_STN_HD bool shares_points() const { return points.per_image == 0; }

  const T* image(int64_t n) const { return data + n * sizes.image.elements(); }
};

template <typename Points, typename T>
struct SampleCall : Call<Points, T> {
  T* output;  // [images, points_per_image, channels]
};

// With L a function of the output, and grad_output its gradient there.
template <typename Points, typename T>
struct GradientCall : Call<Points, T> {
  const T* grad_output;        // As output.
  T* grad_data;                // As data; null if it is not needed.
  Coordinate<T>* grad_points;  // As points.parameters; null if it is not needed.

  bool has_outputs() const { return grad_data != nullptr || grad_points != nullptr; }
};

// The gradients of
//
//   <grad_grad_data, dL/ddata> + <grad_grad_points, dL/dpoints>,
//
// that is, of both gradients in the direction of the first factors, for points that are stored.
// With d/ds the derivative of a sample in the direction of its point's grad_grad_points, they are
//
//   grad_grad_output = sample of grad_grad_data + d/ds sample of data
//   grad_points      = gradient of points for grad_grad_data + d/ds that for data
//   grad_data        = grad_output, scattered by the weights of d/ds
template <typename Points, typename T>
struct SecondOrderCall : GradientCall<Points, T> {
  const T* grad_grad_data;                // As data; null for zero.
  const Coordinate<T>* grad_grad_points;  // As points.parameters; null for zero.
  T* grad_grad_output;                    // As output; null if it is not needed.

  bool has_outputs() const {
    return GradientCall<Points, T>::has_outputs() || grad_grad_output != nullptr;
  }
};

// Images of the shape of data that are sampled; with a direction for every point, possibly the
// derivative of the samples in it.
template <typename T>
struct Term {
  const T* data;
  const T* fill;
  bool is_directed;
};

// What a call's samples are the sum of.
template <typename T>
struct Terms {
  Term<T> term[2];
  int count;
  const Coordinate<T>* directions;  // As points.parameters; null if no term is directed.
};

template <typename Points, typename T>
Terms<T> TermsOf(const Call<Points, T>& call) {
  return {{{call.data, call.fill, false}, {}}, 1, nullptr};
}

template <typename Points, typename T>
Terms<T> TermsOf(const SecondOrderCall<Points, T>& call) {
  Terms<T> terms{{}, 0, call.grad_grad_points};
  if (call.grad_grad_data != nullptr) {
    terms.term[terms.count++] = {call.grad_grad_data, nullptr, false};
  }
  if (call.grad_grad_points != nullptr) terms.term[terms.count++] = {call.data, call.fill, true};
  return terms;
}

// Returns where the samples of the second order go; null if none are asked for.
template <typename Points, typename T>
T* SamplesOf(const GradientCall<Points, T>&) {
  return nullptr;
}

template <typename Points, typename T>
T* SamplesOf(const SecondOrderCall<Points, T>& call) {
  return call.grad_grad_output;
}

// A part of a call's points.
struct Run {
  int64_t image;       // 0 for points that all images share; then it is the points in all images.
  int64_t begin, end;  // Counted within the image; of one item, unless points are stored.
};

// Slabs [begin, end) of an image, of whose gradient one thread computes all.
struct Band {
  int64_t image;
  int64_t begin, end;
  // The points that have pixels here, in order: numbers within the image, or kRunOfPoints plus the
  // first of 64 points that follow each other, as far as the image has so many.  Null for all
  // points.
  const uint32_t* points;
  int64_t count;

  static constexpr uint32_t kRunOfPoints = 1u << 31;
  static constexpr int64_t kRunLength = 64;
};

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_CALL_H_

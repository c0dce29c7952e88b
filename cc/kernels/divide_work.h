// How the CPU's work is divided: into how many parts, and what they cost.
//
// Whatever is summed is divided by sizes alone, never by the number of threads, and so
// the bits of the result do not depend on it.

#ifndef TF_STN_CC_KERNELS_DIVIDE_WORK_H_
#define TF_STN_CC_KERNELS_DIVIDE_WORK_H_

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "cc/core/coordinates.h"
#include "cc/kernels/resampler.h"
#include "cc/kernels/share_work.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_stn {
namespace functor {

// Cycles that it takes to sample a point, and to find both gradients, by measurement.
template <int Rank>
int64_t SampleCost(const ResamplerSizes<Rank>& sizes) {
  return 5 + 2 * sizes.image.channels / 3;
}

template <int Rank>
int64_t GradientCost(const ResamplerSizes<Rank>& sizes) {
  return 10 + 4 * sizes.image.channels;
}

// The gradients of a batch of fewer than kManyImages are divided into about kTasks
// parts, unless they are small.
inline constexpr int64_t kManyImages = 8;
inline constexpr int64_t kTasks = 16;
inline constexpr int64_t kSmallTask = 1 << 15;  // Points times channels.

inline int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <typename Points>
inline constexpr bool kIsAffine =
    std::is_same_v<Points, AffinePoints<Points::kRank, typename Points::Real>>;

// Returns into how many bands of rows each image is divided, all of which look at its
// points.
template <int Rank>
int64_t BandsPerImage(const ResamplerSizes<Rank>& sizes) {
  if (sizes.images == 0 || sizes.images >= kManyImages) return 1;
  const int64_t work = sizes.points_per_image * sizes.image.channels;
  const int64_t bands = std::min({CeilDivide(kTasks, sizes.images), CeilDivide(work, kSmallTask),
                                  static_cast<int64_t>(sizes.image.size[0])});
  return std::max<int64_t>(1, bands);
}

// Calls scatter(image, first row, last row + 1, sums of the image) for bands of rows that
// together are all images, and rounds the sums to `grad_data` where its type is another.
template <int Rank, typename T, typename ScatterRows>
void ShareRows(tensorflow::OpKernelContext* context, const ResamplerSizes<Rank>& sizes,
               int64_t point_cost, Coordinate<T>* sums, T* grad_data, const ScatterRows& scatter) {
  const auto& image = sizes.image;
  const int64_t rows = image.size[0], bands = BandsPerImage(sizes);
  const int64_t cost = sizes.points_per_image * point_cost / bands;
  ShareWork(context, sizes.images * bands, cost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / bands, band = i - n * bands;
      const int64_t row_begin = rows * band / bands, row_end = rows * (band + 1) / bands;
      Coordinate<T>* const grad_image = sums + n * image.elements();
      scatter(n, row_begin, row_end, grad_image);
      if constexpr (!std::is_same_v<T, Coordinate<T>>) {
        std::transform(grad_image + row_begin * image.row_elements(),
                       grad_image + row_end * image.row_elements(),
                       grad_data + n * image.elements() + row_begin * image.row_elements(),
                       [](Coordinate<T> sum) { return static_cast<T>(sum); });
      }
    }
  });
}

}  // namespace functor
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_DIVIDE_WORK_H_

// The functors' gradients by the loops for bilinear sampling with zeros outside.

#ifndef TF_STN_CC_KERNELS_FUNCTORS_BILINEAR_H_
#define TF_STN_CC_KERNELS_FUNCTORS_BILINEAR_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "cc/core/coordinates.h"
#include "cc/core/modes.h"
#include "cc/kernels/divide_work.h"
#include "cc/kernels/resampler.h"
#include "cc/kernels/resampler_cpu.h"
#include "cc/kernels/share_work.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_stn {
namespace functor {

// Divides each image into bands of rows, which all points have to look at, or if
// there is no grad_data, its points into runs.
template <typename Points, typename T>
std::vector<GradientTask> DivideGradients(const ResamplerGradArguments<Points, T>& arguments) {
  const auto& sizes = arguments.sizes;
  const int64_t rows = sizes.image.size[0];
  const int64_t work = sizes.points_per_image * sizes.image.channels;
  int64_t parts = sizes.images >= kManyImages
                      ? 1
                      : std::min(CeilDivide(kTasks, sizes.images), CeilDivide(work, kSmallTask));
  const bool are_bands = arguments.grad_data != nullptr;
  parts = std::max<int64_t>(1, are_bands ? std::min(parts, rows) : parts);
  std::vector<GradientTask> tasks;
  for (int64_t image = 0; image < sizes.images; ++image) {
    for (int64_t i = 0; i < parts; ++i) {
      if (are_bands) {
        tasks.push_back(
            {image, 0, sizes.points_per_image, rows * i / parts, rows * (i + 1) / parts});
      } else {
        const int64_t ranges = CeilDivide(sizes.points_per_image, kRangePoints);
        const auto point = [&](int64_t i) {
          return std::min(sizes.points_per_image, ranges * i / parts * kRangePoints);
        };
        tasks.push_back({image, point(i), point(i + 1), 0, rows});
      }
    }
  }
  return tasks;
}

// Computes the gradients by `loops`.
template <typename Points, typename T>
void GradientsByLoops(tensorflow::OpKernelContext* context, const CpuLoops<Points, T>& loops,
                      const ResamplerGradArguments<Points, T>& arguments, Coordinate<T>* sums) {
  const auto& sizes = arguments.sizes;
  const std::vector<GradientTask> tasks = DivideGradients(arguments);
  const bool are_bands =
      arguments.grad_data != nullptr && tasks.size() > static_cast<size_t>(sizes.images);
  const int64_t cost = sizes.points_per_image * GradientCost(sizes);

  // Bands need to know which points to look at.
  std::unique_ptr<RowRange[]> ranges;
  const int64_t ranges_per_image = CeilDivide(sizes.points_per_image, kRangePoints);
  if (are_bands && !kIsAffine<Points>) {
    ranges.reset(new RowRange[static_cast<size_t>(sizes.images * ranges_per_image)]);
    ShareWork(context, sizes.images * ranges_per_image, 2 * kRangePoints,
              [&](int64_t begin, int64_t end) {
                while (begin < end) {
                  const int64_t image = begin / ranges_per_image;
                  const int64_t first = image * ranges_per_image;
                  const int64_t until = std::min(end, first + ranges_per_image);
                  loops.find_rows(arguments, image, begin - first, until - first,
                                  ranges.get() + first);
                  begin = until;
                }
              });
  }
  std::vector<MatrixSums> matrix_sums(kIsAffine<Points> ? tasks.size() : 0);
  ShareWork(
      context, static_cast<int64_t>(tasks.size()),
      cost * sizes.images / static_cast<int64_t>(tasks.size()), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const GradientTask& task = tasks[static_cast<size_t>(i)];
          loops.gradients(arguments, task,
                          ranges ? ranges.get() + task.image * ranges_per_image : nullptr, sums,
                          kIsAffine<Points> ? &matrix_sums[static_cast<size_t>(i)] : nullptr);
        }
      });
  if constexpr (kIsAffine<Points>) {
    if (arguments.grad_points == nullptr) return;
    std::vector<MatrixSums> totals(static_cast<size_t>(sizes.images));
    for (size_t i = 0; i < tasks.size(); ++i) {
      const double* const part = &matrix_sums[i].of[0][0];
      double* const total = &totals[static_cast<size_t>(tasks[i].image)].of[0][0];
      for (int j = 0; j < Points::kParameters; ++j) total[j] += part[j];
    }
    const double* const total = &totals[0].of[0][0];
    for (int64_t i = 0; i < sizes.images * Points::kParameters; ++i) {
      arguments.grad_points[i] = static_cast<Coordinate<T>>(total[i]);
    }
  }
}

// Returns the loops that take these arguments, or null.
template <typename Points, typename T>
const CpuLoops<Points, T>* LoopsFor(const Modes& modes, const ResamplerSizes<Points::kRank>& sizes,
                                    const Points& points, const T* fill) {
  if constexpr (Points::kRank == 2) {
    const auto& image = sizes.image;
    const bool has_neighbours = image.size[0] >= 2 && image.size[1] >= 2;
    if (!modes.is_linear_with_zeros() || !has_neighbours || image.elements() > kMostElements ||
        fill != nullptr || points.per_image == 0 || sizes.images == 0) {
      return nullptr;
    }
    if constexpr (kIsAffine<Points>) {
      if (points.per_image != 1) return nullptr;
    }
    return LoopsForThisCpu<Points, T>();
  } else {
    return nullptr;
  }
}

}  // namespace functor
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_FUNCTORS_BILINEAR_H_

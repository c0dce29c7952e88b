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

// Divides each image into bands of rows, which all points have to look at, or else its
// points into runs.
template <int Rank>
std::vector<GradientTask> DivideGradients(const ResamplerSizes<Rank>& sizes, bool into_bands) {
  const int64_t rows = sizes.image.size[0];
  const int64_t work = sizes.points_per_image * sizes.image.channels;
  int64_t parts = sizes.images >= kManyImages
                      ? 1
                      : std::min(CeilDivide(kTasks, sizes.images), CeilDivide(work, kSmallTask));
  parts = std::max<int64_t>(1, into_bands ? std::min(parts, rows) : parts);
  std::vector<GradientTask> tasks;
  for (int64_t image = 0; image < sizes.images; ++image) {
    for (int64_t i = 0; i < parts; ++i) {
      if (into_bands) {
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

// The rows that the points of each image start in, range by range, which bands need to know
// in order to leave out what has nothing in them.
class Ranges {
 public:
  // Knows none, and lets every band look at all points.
  Ranges() = default;

  template <typename Points, typename T>
  Ranges(tensorflow::OpKernelContext* context, const CpuLoops<Points, T>& loops,
         const ResamplerGradArguments<Points, T>& arguments)
      : per_image_(CeilDivide(arguments.sizes.points_per_image, kRangePoints)),
        ranges_(new RowRange[static_cast<size_t>(arguments.sizes.images * per_image_)]) {
    ShareWork(context, arguments.sizes.images * per_image_, 2 * kRangePoints,
              [&](int64_t begin, int64_t end) {
                while (begin < end) {
                  const int64_t image = begin / per_image_;
                  const int64_t first = image * per_image_;
                  const int64_t until = std::min(end, first + per_image_);
                  loops.find_rows(arguments, image, begin - first, until - first,
                                  ranges_.get() + first);
                  begin = until;
                }
              });
  }

  // Returns those of an image, or null.
  const RowRange* OfImage(int64_t image) const {
    return ranges_ == nullptr ? nullptr : ranges_.get() + image * per_image_;
  }

 private:
  int64_t per_image_ = 0;
  std::unique_ptr<RowRange[]> ranges_;
};

// Calls work(number of the task, task, ranges of its image or null) for all tasks of both
// gradients.
template <typename Points, typename T, typename Work>
void ShareTasks(tensorflow::OpKernelContext* context, const CpuLoops<Points, T>& loops,
                const ResamplerGradArguments<Points, T>& arguments, int64_t point_cost,
                const std::vector<GradientTask>& tasks, const Work& work) {
  const auto& sizes = arguments.sizes;
  const auto count = static_cast<int64_t>(tasks.size());
  const bool are_bands = arguments.grad_data != nullptr && count > sizes.images;
  const Ranges ranges =
      are_bands && !kIsAffine<Points> ? Ranges(context, loops, arguments) : Ranges();
  ShareWork(context, count, sizes.points() * point_cost / count, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const GradientTask& task = tasks[static_cast<size_t>(i)];
      work(i, task, ranges.OfImage(task.image));
    }
  });
}

// Computes the gradients by `loops`.
template <typename Points, typename T>
void GradientsByLoops(tensorflow::OpKernelContext* context, const CpuLoops<Points, T>& loops,
                      const ResamplerGradArguments<Points, T>& arguments, Coordinate<T>* sums) {
  const auto& sizes = arguments.sizes;
  const std::vector<GradientTask> tasks =
      DivideGradients(sizes, /*into_bands=*/arguments.grad_data != nullptr);
  std::vector<MatrixSums> matrix_sums(kIsAffine<Points> ? tasks.size() : 0);
  ShareTasks(context, loops, arguments, GradientCost(sizes), tasks,
             [&](int64_t i, const GradientTask& task, const RowRange* ranges) {
               loops.gradients(arguments, task, ranges, sums,
                               kIsAffine<Points> ? &matrix_sums[static_cast<size_t>(i)] : nullptr);
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

// Computes the second order by `loops`; `first` finds the rows of points.
template <typename T>
void SecondOrderByLoops(tensorflow::OpKernelContext* context,
                        const CpuLoops<WarpPoints<2, Coordinate<T>>, T>& first,
                        const SecondOrderCpuLoops<T>& loops,
                        const WarpGradGradArguments<T>& arguments, Coordinate<T>* sums) {
  const auto& [modes, sizes, data, fill, points, grad_output, grad_grad_data, grad_grad_points,
               grad_data, grad_points, grad_grad_output] = arguments;
  if (grad_data == nullptr && grad_points == nullptr && grad_grad_output == nullptr) return;
  const ResamplerGradArguments<WarpPoints<2, Coordinate<T>>, T> of_first_order{
      modes, sizes, data, fill, points, grad_output, grad_data, grad_points};
  ShareTasks(context, first, of_first_order, 2 * GradientCost(sizes),
             DivideGradients(sizes, /*into_bands=*/grad_data != nullptr),
             [&](int64_t, const GradientTask& task, const RowRange* ranges) {
               loops.gradients(arguments, task, ranges, sums);
             });
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

// The functors for the CPU: how the work is shared among threads.

#ifndef TF_STN_CC_KERNELS_FUNCTORS_CPU_H_
#define TF_STN_CC_KERNELS_FUNCTORS_CPU_H_

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "cc/core/coordinates.h"
#include "cc/core/modes.h"
#include "cc/core/resample.h"
#include "cc/kernels/functors.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/util/work_sharder.h"

namespace tf_stn {
namespace functor {

// Rough cost in cycles of one stencil, and of one channel at one of its pixels.
inline constexpr int64_t kStencilCost = 40;
inline constexpr int64_t kTapCost = 2;

template <typename Work>
void ShardOnCpu(tensorflow::OpKernelContext* context, int64_t total, int64_t cost,
                const Work& work) {
  const auto& threads = *context->device()->tensorflow_cpu_worker_threads();
  tensorflow::Shard(threads.num_threads, threads.workers, total, cost, work);
}

template <typename Stencil>
int64_t PointCost(const Extent<Stencil::kRank>& image) {
  return kStencilCost + kTapCost * Stencil::kCount * image.channels;
}

// Calls work(begin, end) for ranges that together are all points of the batch.
template <typename Stencil, typename Work>
void ShardPointsOnCpu(tensorflow::OpKernelContext* context,
                      const ResamplerSizes<Stencil::kRank>& sizes, const Work& work) {
  ShardOnCpu(context, sizes.points(), PointCost<Stencil>(sizes.image), work);
}

// Computes grad_data.  The work is divided into bands of rows: one band an image,
// or as many as make one for each thread.  A band looks at the row of all points
// of its image and adds those that touch it, in their order; so points that
// crowd in few rows are the work of few threads.
template <typename Stencil, typename Points, typename T>
void DataGradientOnCpu(tensorflow::OpKernelContext* context,
                       const ResamplerGradArguments<Points, T>& arguments) {
  using Real = typename Stencil::Real;
  const auto& sizes = arguments.sizes;
  const Extent<Stencil::kRank>& image = sizes.image;
  if (sizes.images == 0 || image.elements() == 0) return;

  // Half types are summed in a copy of the right precision.
  tensorflow::Tensor sums;
  Real* grad_data = nullptr;
  if constexpr (std::is_same_v<T, Real>) {
    grad_data = arguments.grad_data;
  } else {
    OP_REQUIRES_OK(context, AllocateSums<T>(context, sizes, &sums));
    grad_data = static_cast<Real*>(sums.data());
  }

  const int64_t rows = image.size[0];
  const int64_t threads = context->device()->tensorflow_cpu_worker_threads()->num_threads;
  const int64_t bands = std::min(rows, (threads + sizes.images - 1) / sizes.images);
  const int64_t cost = kTapCost * image.elements() / bands +
                       sizes.points_per_image * (kStencilCost + PointCost<Stencil>(image) / bands);
  ShardOnCpu(context, sizes.images * bands, cost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / bands;
      const int64_t band = i % bands;
      const int64_t row_begin = rows * band / bands;
      const int64_t row_end = rows * (band + 1) / bands;
      Real* grad_image = grad_data + n * image.elements();
      DataGradientOfRows<Stencil>(image, arguments.points, sizes.points_per_image,
                                  arguments.grad_output, n, row_begin, row_end, grad_image);
      if constexpr (!std::is_same_v<T, Real>) {
        std::transform(
            grad_image + row_begin * image.row_elements(),
            grad_image + row_end * image.row_elements(),
            arguments.grad_data + n * image.elements() + row_begin * image.row_elements(),
            [](Real sum) { return static_cast<T>(sum); });
      }
    }
  });
}

template <typename Stencil, typename Points, typename T>
void PointsGradientOnCpu(tensorflow::OpKernelContext* context,
                         const ResamplerGradArguments<Points, T>& arguments) {
  const auto& [modes, sizes, data, points, grad_output, grad_data, grad_points] = arguments;
  if constexpr (std::is_same_v<Points, WarpPoints<Points::kRank, typename Points::Real>>) {
    ShardPointsOnCpu<Stencil>(context, sizes, [&](int64_t begin, int64_t end) {
      WarpGradientOfPoints<Stencil>(arguments.sizes.image, arguments.points,
                                    arguments.sizes.points_per_image, arguments.data,
                                    arguments.grad_output, begin, end, arguments.grad_points);
    });
  } else {
    ShardOnCpu(context, sizes.images, sizes.points_per_image * PointCost<Stencil>(sizes.image),
               [&](int64_t begin, int64_t end) {
                 MatrixGradientOfImages<Stencil>(
                     arguments.sizes.image, arguments.points, arguments.sizes.points_per_image,
                     arguments.data, arguments.grad_output, begin, end, arguments.grad_points);
               });
  }
}

template <typename Points, typename T>
struct Resampler<CPUDevice, Points, T> {
  void operator()(tensorflow::OpKernelContext* context,
                  const ResamplerArguments<Points, T>& arguments) {
    const auto& sizes = arguments.sizes;
    VisitStencil<Points::kRank, Coordinate<T>>(arguments.modes, [&](auto tag) {
      using Stencil = typename decltype(tag)::type;
      ShardPointsOnCpu<Stencil>(context, sizes, [&](int64_t begin, int64_t end) {
        SamplePoints<Stencil>(sizes.image, arguments.points, sizes.points_per_image, arguments.data,
                              begin, end, arguments.output);
      });
    });
  }
};

template <typename Points, typename T>
struct ResamplerGrad<CPUDevice, Points, T> {
  void operator()(tensorflow::OpKernelContext* context,
                  const ResamplerGradArguments<Points, T>& arguments) {
    VisitStencil<Points::kRank, Coordinate<T>>(arguments.modes, [&](auto tag) {
      using Stencil = typename decltype(tag)::type;
      if (arguments.grad_data != nullptr) DataGradientOnCpu<Stencil>(context, arguments);
      if (arguments.grad_points != nullptr) PointsGradientOnCpu<Stencil>(context, arguments);
    });
  }
};

}  // namespace functor
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_FUNCTORS_CPU_H_

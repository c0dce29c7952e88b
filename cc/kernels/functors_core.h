// The functors' work by the loops of cc/core: for what cc/kernels/resampler_cpu.h does not
// take.

#ifndef TF_STN_CC_KERNELS_FUNCTORS_CORE_H_
#define TF_STN_CC_KERNELS_FUNCTORS_CORE_H_

#include <algorithm>
#include <cstdint>

#include "cc/core/coordinates.h"
#include "cc/core/modes.h"
#include "cc/core/resample.h"
#include "cc/kernels/divide_work.h"
#include "cc/kernels/resampler.h"
#include "cc/kernels/share_work.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tf_stn {
namespace functor {

// Calls visit(images) with the batch as cc/core takes it, for the stencil of `modes`.
template <int Rank, typename T, typename Visit>
void VisitImages(const Modes& modes, const ResamplerSizes<Rank>& sizes, const T* data,
                 const T* fill, const Visit& visit) {
  VisitStencil<Rank, Coordinate<T>>(modes, [&](auto tag, const auto& rules) {
    using Stencil = typename decltype(tag)::type;
    visit(TypeTag<Stencil>(),
          Images<Stencil, T>{rules, sizes.image, sizes.images, sizes.points_per_image, data, fill});
  });
}

template <typename Points, typename T>
void SampleByCore(tensorflow::OpKernelContext* context,
                  const ResamplerArguments<Points, T>& arguments) {
  const auto& sizes = arguments.sizes;
  VisitImages(arguments.modes, sizes, arguments.data, arguments.fill,
              [&](auto tag, const auto& images) {
                using Stencil = typename decltype(tag)::type;
                const int64_t cost = SampleCost(sizes) * Stencil::kCount;
                ShareWork(context, sizes.points(), cost, [&](int64_t begin, int64_t end) {
                  SamplePoints(images, arguments.points, begin, end, arguments.output);
                });
              });
}

// Each gradient by itself; that of a warp is shared by points, the others by images.
// `sums` is grad_data in the type of sums.
template <typename Points, typename T>
void GradientsByCore(tensorflow::OpKernelContext* context,
                     const ResamplerGradArguments<Points, T>& arguments, Coordinate<T>* sums) {
  const auto& sizes = arguments.sizes;
  const auto& points = arguments.points;
  VisitImages(
      arguments.modes, sizes, arguments.data, arguments.fill, [&](auto tag, const auto& images) {
        using Stencil = typename decltype(tag)::type;
        const int64_t cost = GradientCost(sizes) * Stencil::kCount;
        if (arguments.grad_data != nullptr) {
          ShareRows(context, sizes, cost, sums, arguments.grad_data,
                    [&](int64_t n, int64_t row_begin, int64_t row_end, Coordinate<T>* grad_image) {
                      DataGradientOfRows(images, points, arguments.grad_output, n, row_begin,
                                         row_end, grad_image);
                    });
        }
        if (arguments.grad_points == nullptr) return;
        const int64_t of_all = sizes.points() * cost;
        ShareWork(context, points.stored, of_all / std::max<int64_t>(1, points.stored),
                  [&](int64_t begin, int64_t end) {
                    if constexpr (kIsAffine<Points>) {
                      MatrixGradients(images, points, arguments.grad_output, begin, end,
                                      arguments.grad_points);
                    } else {
                      WarpGradientOfPoints(images, points, arguments.grad_output, begin, end,
                                           arguments.grad_points);
                    }
                  });
      });
}

// The gradients of those, in the same way.
template <typename Points, typename T>
void GradGradByCore(tensorflow::OpKernelContext* context,
                    const ResamplerGradGradArguments<Points, T>& arguments, Coordinate<T>* sums) {
  const auto& sizes = arguments.sizes;
  const auto& points = arguments.points;
  VisitImages(
      arguments.modes, sizes, arguments.data, arguments.fill, [&](auto tag, const auto& images) {
        using Stencil = typename decltype(tag)::type;
        const int64_t cost = GradientCost(sizes) * Stencil::kCount;
        const SecondOrder<Stencil, T> second{arguments.grad_output, arguments.grad_grad_data,
                                             arguments.grad_grad_points};
        if (arguments.grad_grad_output != nullptr) {
          ShareWork(context, sizes.points(), cost, [&](int64_t begin, int64_t end) {
            SecondOrderSamples(images, points, second, begin, end, arguments.grad_grad_output);
          });
        }
        if (arguments.grad_points != nullptr) {
          const int64_t of_all = sizes.points() * cost;
          ShareWork(context, points.stored, of_all / std::max<int64_t>(1, points.stored),
                    [&](int64_t begin, int64_t end) {
                      SecondOrderWarpGradient(images, points, second, begin, end,
                                              arguments.grad_points);
                    });
        }
        if (arguments.grad_data != nullptr) {
          ShareRows(context, sizes, cost, sums, arguments.grad_data,
                    [&](int64_t n, int64_t row_begin, int64_t row_end, Coordinate<T>* grad_image) {
                      if (arguments.grad_grad_points == nullptr) {
                        const int64_t row = sizes.image.row_elements();
                        return std::fill(grad_image + row_begin * row, grad_image + row_end * row,
                                         Coordinate<T>(0));
                      }
                      SecondOrderDataGradientOfRows(images, points, second, n, row_begin, row_end,
                                                    grad_image);
                    });
        }
      });
}

}  // namespace functor
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_FUNCTORS_CORE_H_

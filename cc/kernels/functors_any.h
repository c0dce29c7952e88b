// The functors' work by the loops for every mode, rank and order.

#ifndef TF_STN_CC_KERNELS_FUNCTORS_ANY_H_
#define TF_STN_CC_KERNELS_FUNCTORS_ANY_H_

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

// Returns the loops that take these arguments, or null.
template <typename Points, typename T>
const AnyCpuLoops<Points, T>* AnyLoopsFor(const Modes& modes,
                                          const ResamplerSizes<Points::kRank>& sizes) {
  const auto& image = sizes.image;
  constexpr int kRank = Points::kRank;
  if (modes.has_derivative() || image.elements() > kMostElements) return nullptr;
  if (image.size[kRank - 1] < 2 || image.size[kRank - 2] < 2) return nullptr;
  for (int d = 0; d < kRank; ++d) {
    if (image.size[d] < 1 || image.size[d] >= kMostPixels) return nullptr;
  }
  return AnyLoopsForThisCpu<Points, T>();
}

// Passes that a stencil takes; see cc/kernels/cpu_passes.h.
template <int Rank>
int64_t PassesOf(const Modes& modes) {
  switch (modes.interpolation) {
    case InterpolationMode::kNearest:
      return 1;
    case InterpolationMode::kLinear:
      return Rank == 3 ? 2 : 1;
    case InterpolationMode::kCubic:
      return Rank == 3 ? 16 : 4;
  }
  return 1;
}

template <typename Points, typename T>
void SampleByAnyLoops(tensorflow::OpKernelContext* context, const AnyCpuLoops<Points, T>& loops,
                      const CpuSampling<Points, T>& sampling, T* output) {
  const int64_t cost = (10 + SampleCost(sampling.sizes)) * PassesOf<Points::kRank>(sampling.modes);
  ShareWork(context, sampling.sizes.points(), cost,
            [&](int64_t begin, int64_t end) { loops.sample(sampling, begin, end, output); });
}

// `sums` is grad_data in the type of sums.
template <typename Points, typename T>
void ScatterByAnyLoops(tensorflow::OpKernelContext* context, const AnyCpuLoops<Points, T>& loops,
                       const CpuSampling<Points, T>& sampling, Coordinate<T>* sums, T* grad_data) {
  const auto& sizes = sampling.sizes;
  const int64_t cost = GradientCost(sizes) * PassesOf<Points::kRank>(sampling.modes);
  // Bands need to know which points to look at.
  const int64_t ranges_per_image = CeilDivide(sizes.points_per_image, kRangePoints);
  std::unique_ptr<RowRange[]> ranges;
  if (BandsPerImage(sizes) > 1) {
    ranges.reset(new RowRange[static_cast<size_t>(sizes.images * ranges_per_image)]);
    ShareWork(context, sizes.images * ranges_per_image, 4 * kRangePoints,
              [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i) {
                  const int64_t n = i / ranges_per_image, range = i - n * ranges_per_image;
                  loops.find_rows(sampling, n, range, range + 1,
                                  ranges.get() + n * ranges_per_image);
                }
              });
  }
  ShareRows(context, sizes, cost, sums, grad_data,
            [&](int64_t n, int64_t row_begin, int64_t row_end, Coordinate<T>* grad_image) {
              loops.scatter(sampling, n, row_begin, row_end,
                            ranges ? ranges.get() + n * ranges_per_image : nullptr, grad_image);
            });
}

// The gradients of matrices, each of which is summed in parts of its points.
template <typename Points, typename T>
void MatrixGradientByAnyLoops(tensorflow::OpKernelContext* context,
                              const AnyCpuLoops<Points, T>& loops,
                              const CpuSampling<Points, T>& sampling, int64_t cost,
                              Coordinate<T>* grad_matrix) {
  constexpr int kParameters = Points::kParameters;
  constexpr int64_t kPart = 4096;
  const int64_t matrices = sampling.points.stored;
  const int64_t points = sampling.sizes.points() == 0 ? 0 : sampling.points.output_points();
  const int64_t parts = std::max<int64_t>(1, CeilDivide(points, kPart));
  std::vector<double> sums(static_cast<size_t>(matrices * parts * kParameters));
  ShareWork(context, matrices * parts, cost * std::min(points, kPart),
            [&](int64_t begin, int64_t end) {
              for (int64_t i = begin; i < end; ++i) {
                const int64_t matrix = i / parts, part = i - matrix * parts;
                loops.matrix_gradient(sampling, matrix, part * kPart,
                                      std::min(points, (part + 1) * kPart),
                                      sums.data() + i * kParameters);
              }
            });
  for (int64_t matrix = 0; matrix < matrices; ++matrix) {
    for (int k = 0; k < kParameters; ++k) {
      double total = 0;
      for (int64_t part = 0; part < parts; ++part) {
        total += sums[static_cast<size_t>((matrix * parts + part) * kParameters + k)];
      }
      grad_matrix[matrix * kParameters + k] = static_cast<Coordinate<T>>(total);
    }
  }
}

template <typename Points, typename T>
void PointGradientByAnyLoops(tensorflow::OpKernelContext* context,
                             const AnyCpuLoops<Points, T>& loops,
                             const CpuSampling<Points, T>& sampling, Coordinate<T>* grad_points) {
  const int64_t images = sampling.points.per_image == 0 ? sampling.sizes.images : 1;
  const int64_t cost =
      GradientCost(sampling.sizes) * PassesOf<Points::kRank>(sampling.modes) * images;
  if constexpr (kIsAffine<Points>) {
    MatrixGradientByAnyLoops(context, loops, sampling, cost, grad_points);
  } else {
    ShareWork(context, sampling.points.stored, cost, [&](int64_t begin, int64_t end) {
      loops.warp_gradient(sampling, begin, end, grad_points);
    });
  }
}

template <typename Points, typename T>
void GradientsByAnyLoops(tensorflow::OpKernelContext* context, const AnyCpuLoops<Points, T>& loops,
                         const ResamplerGradArguments<Points, T>& arguments, Coordinate<T>* sums) {
  const CpuSampling<Points, T> sampling{arguments.modes,
                                        arguments.sizes,
                                        arguments.points,
                                        nullptr,
                                        {{arguments.data, arguments.fill, false}, {}},
                                        1,
                                        arguments.grad_output};
  if (arguments.grad_data != nullptr) {
    ScatterByAnyLoops(context, loops, sampling, sums, arguments.grad_data);
  }
  if (arguments.grad_points != nullptr) {
    PointGradientByAnyLoops(context, loops, sampling, arguments.grad_points);
  }
}

// The gradients of those: see SecondOrder in cc/core/resample.h, whose two terms these are.
template <typename Points, typename T>
void GradGradByAnyLoops(tensorflow::OpKernelContext* context, const AnyCpuLoops<Points, T>& loops,
                        const ResamplerGradGradArguments<Points, T>& arguments,
                        Coordinate<T>* sums) {
  CpuSampling<Points, T> sampling{
      arguments.modes,      arguments.sizes, arguments.points, arguments.grad_grad_points, {}, 0,
      arguments.grad_output};
  if (arguments.grad_grad_data != nullptr) {
    sampling.terms[sampling.terms_count++] = {arguments.grad_grad_data, nullptr, false};
  }
  if (arguments.grad_grad_points != nullptr) {
    sampling.terms[sampling.terms_count++] = {arguments.data, arguments.fill, true};
  }
  if (arguments.grad_grad_output != nullptr) {
    SampleByAnyLoops(context, loops, sampling, arguments.grad_grad_output);
  }
  if (arguments.grad_points != nullptr) {
    PointGradientByAnyLoops(context, loops, sampling, arguments.grad_points);
  }
  if (arguments.grad_data != nullptr) {
    ScatterByAnyLoops(context, loops, sampling, sums, arguments.grad_data);
  }
}

}  // namespace functor
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_FUNCTORS_ANY_H_

// The functors for the CPU: how the work is shared among threads.
//
// Whatever is summed is divided by sizes alone, never by the number of threads, and so
// the bits of the result do not depend on it.

#ifndef TF_STN_CC_KERNELS_FUNCTORS_CPU_H_
#define TF_STN_CC_KERNELS_FUNCTORS_CPU_H_

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/core/modes.h"
#include "cc/core/resample.h"
#include "cc/kernels/functors.h"
#include "cc/kernels/resampler_cpu.h"
#include "cc/kernels/share_work.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/types.h"

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

// Asks for huge pages for memory that is about to be written for the first time: an
// output of 30 MB, which TensorFlow gets from the system anew in every step, is 8,000
// small pages, and to map them takes a third as long as to sample.  Best effort: where the
// system does not have them, nothing happens.
inline void AdviseHugePages([[maybe_unused]] void* memory, [[maybe_unused]] int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t kHugePage = 1 << 21;
  if (memory == nullptr || bytes < static_cast<int64_t>(4 * kHugePage)) return;
  const auto address = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t begin = (address + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (address + static_cast<uintptr_t>(bytes)) / kHugePage * kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

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

template <typename Points>
inline constexpr bool kIsAffine =
    std::is_same_v<Points, AffinePoints<Points::kRank, typename Points::Real>>;

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

// The loops of cc/core, for what the others do not take: other modes, and images of a
// single row or column or of more than kMostElements.  Each gradient by itself; that
// of a warp is shared by points, the others by images.
template <typename Points, typename T>
void GradientsByCore(tensorflow::OpKernelContext* context,
                     const ResamplerGradArguments<Points, T>& arguments, Coordinate<T>* sums) {
  using Real = Coordinate<T>;
  const auto& sizes = arguments.sizes;
  const auto& image = sizes.image;
  const int64_t cost = GradientCost(sizes);
  const int64_t image_cost = sizes.points_per_image * cost;
  VisitStencil<Points::kRank, Real>(arguments.modes, [&](auto tag) {
    using Stencil = typename decltype(tag)::type;
    if (arguments.grad_data != nullptr) {
      ShareWork(context, sizes.images, image_cost, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
          Real* const grad_image = sums + n * image.elements();
          DataGradientOfRows<Stencil>(image, arguments.points, sizes.points_per_image,
                                      arguments.grad_output, n, 0, image.size[0], grad_image);
          if constexpr (!std::is_same_v<T, Real>) {
            std::transform(grad_image, grad_image + image.elements(),
                           arguments.grad_data + n * image.elements(),
                           [](Real sum) { return static_cast<T>(sum); });
          }
        }
      });
    }
    if (arguments.grad_points == nullptr) return;
    if constexpr (kIsAffine<Points>) {
      ShareWork(context, sizes.images, image_cost, [&](int64_t begin, int64_t end) {
        MatrixGradientOfImages<Stencil>(image, arguments.points, sizes.points_per_image,
                                        arguments.data, arguments.grad_output, begin, end,
                                        arguments.grad_points);
      });
    } else {
      ShareWork(context, sizes.points(), cost, [&](int64_t begin, int64_t end) {
        WarpGradientOfPoints<Stencil>(image, arguments.points, sizes.points_per_image,
                                      arguments.data, arguments.grad_output, begin, end,
                                      arguments.grad_points);
      });
    }
  });
}

// Returns the loops that take these modes and images, or null.
template <typename Points, typename T>
const CpuLoops<Points, T>* LoopsFor(const Modes& modes, const Extent<Points::kRank>& image) {
  const bool is_bilinear = Points::kRank == 2 &&
                           modes.interpolation == InterpolationMode::kLinear &&
                           modes.padding == PaddingMode::kZeros;
  const bool has_neighbours = image.size[0] >= 2 && image.size[Points::kRank - 1] >= 2;
  if (!is_bilinear || !has_neighbours || image.elements() > kMostElements) return nullptr;
  return LoopsForThisCpu<Points, T>();
}

template <typename Points, typename T>
struct Resampler<CPUDevice, Points, T> {
  void operator()(tensorflow::OpKernelContext* context,
                  const ResamplerArguments<Points, T>& arguments) {
    using Plain = PlainType<T>;
    const auto& [modes, sizes, data, points, output] = arguments;
    const ResamplerArguments<Points, Plain> plain{modes, sizes, ToPlain(data), points,
                                                  ToPlain(output)};
    AdviseHugePages(output, sizes.points() * sizes.image.channels * int64_t{sizeof(T)});
    if (const auto* loops = LoopsFor<Points, Plain>(modes, sizes.image); loops != nullptr) {
      return ShareWork(context, sizes.points(), SampleCost(sizes),
                       [&](int64_t begin, int64_t end) { loops->sample(plain, begin, end); });
    }
    VisitStencil<Points::kRank, Coordinate<T>>(modes, [&](auto tag) {
      using Stencil = typename decltype(tag)::type;
      ShareWork(
          context, plain.sizes.points(), SampleCost(plain.sizes), [&](int64_t begin, int64_t end) {
            SamplePoints<Stencil>(plain.sizes.image, plain.points, plain.sizes.points_per_image,
                                  plain.data, begin, end, plain.output);
          });
    });
  }
};

template <typename Points, typename T>
struct ResamplerGrad<CPUDevice, Points, T> {
  void operator()(tensorflow::OpKernelContext* context,
                  const ResamplerGradArguments<Points, T>& arguments) {
    using Plain = PlainType<T>;
    const auto& [modes, sizes, data, points, grad_output, grad_data, grad_points] = arguments;
    if (sizes.images == 0 || (grad_data == nullptr && grad_points == nullptr)) return;
    // Half types are summed in a copy of the right precision.
    tensorflow::Tensor copy;
    Coordinate<T>* sums = nullptr;
    if constexpr (std::is_same_v<T, Coordinate<T>>) {
      sums = grad_data;
    } else if (grad_data != nullptr) {
      OP_REQUIRES_OK(context, AllocateSums<T>(context, sizes, &copy));
      sums = static_cast<Coordinate<T>*>(copy.data());
    }
    const int64_t elements = sizes.images * sizes.image.elements();
    AdviseHugePages(grad_data, elements * int64_t{sizeof(T)});
    if (!std::is_same_v<T, Coordinate<T>>) {
      AdviseHugePages(sums, elements * int64_t{sizeof(Coordinate<T>)});
    }
    if (!kIsAffine<Points>) {
      AdviseHugePages(grad_points, sizes.points() * Points::kRank * int64_t{sizeof(Coordinate<T>)});
    }
    const ResamplerGradArguments<Points, Plain> plain{
        modes, sizes, ToPlain(data), points, ToPlain(grad_output), ToPlain(grad_data), grad_points};
    if (const auto* loops = LoopsFor<Points, Plain>(modes, sizes.image); loops != nullptr) {
      GradientsByLoops(context, *loops, plain, sums);
    } else {
      GradientsByCore(context, plain, sums);
    }
  }
};

}  // namespace functor
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_FUNCTORS_CPU_H_

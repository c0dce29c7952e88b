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
#include "cc/kernels/functors.h"
#include "cc/kernels/functors_any.h"
#include "cc/kernels/functors_bilinear.h"
#include "cc/kernels/functors_core.h"
#include "cc/kernels/resampler_cpu.h"
#include "cc/kernels/share_work.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/types.h"

namespace tf_stn {
namespace functor {

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

// The place where grad_data is summed: itself, or for half types a copy that is more
// precise.
template <typename T>
class Sums {
 public:
  template <int Rank>
  absl::Status Allocate(tensorflow::OpKernelContext* context, const ResamplerSizes<Rank>& sizes,
                        T* grad_data) {
    const int64_t elements = sizes.images * sizes.image.elements();
    AdviseHugePages(grad_data, elements * int64_t{sizeof(T)});
    if constexpr (std::is_same_v<T, Coordinate<T>>) {
      sums_ = grad_data;
    } else if (grad_data != nullptr) {
      TF_RETURN_IF_ERROR(AllocateSums<T>(context, sizes, &copy_));
      sums_ = static_cast<Coordinate<T>*>(copy_.data());
      AdviseHugePages(sums_, elements * int64_t{sizeof(Coordinate<T>)});
    }
    return absl::OkStatus();
  }

  Coordinate<T>* get() const { return sums_; }

 private:
  tensorflow::Tensor copy_;
  Coordinate<T>* sums_ = nullptr;
};

template <typename Points, typename T>
struct Resampler<CPUDevice, Points, T> {
  void operator()(tensorflow::OpKernelContext* context,
                  const ResamplerArguments<Points, T>& arguments) {
    using Plain = PlainType<T>;
    const auto& [modes, sizes, data, fill, points, output] = arguments;
    const ResamplerArguments<Points, Plain> plain{modes,         sizes,  ToPlain(data),
                                                  ToPlain(fill), points, ToPlain(output)};
    AdviseHugePages(output, sizes.points() * sizes.image.channels * int64_t{sizeof(T)});
    if (const auto* loops = LoopsFor(modes, sizes, points, plain.fill); loops != nullptr) {
      return ShareWork(context, sizes.points(), SampleCost(sizes),
                       [&](int64_t begin, int64_t end) { loops->sample(plain, begin, end); });
    }
    if (const auto* loops = AnyLoopsFor<Points, Plain>(modes, sizes); loops != nullptr) {
      return SampleByAnyLoops(
          context, *loops,
          {modes, sizes, points, nullptr, {{plain.data, plain.fill, false}, {}}, 1, nullptr},
          plain.output);
    }
    SampleByCore(context, plain);
  }
};

template <typename Points, typename T>
struct ResamplerGrad<CPUDevice, Points, T> {
  void operator()(tensorflow::OpKernelContext* context,
                  const ResamplerGradArguments<Points, T>& arguments) {
    using Plain = PlainType<T>;
    const auto& [modes, sizes, data, fill, points, grad_output, grad_data, grad_points] = arguments;
    if (grad_data == nullptr && grad_points == nullptr) return;
    Sums<T> sums;
    OP_REQUIRES_OK(context, sums.Allocate(context, sizes, grad_data));
    if constexpr (!kIsAffine<Points>) {
      AdviseHugePages(grad_points, points.stored * Points::kRank * int64_t{sizeof(Coordinate<T>)});
    }
    const ResamplerGradArguments<Points, Plain> plain{modes,
                                                      sizes,
                                                      ToPlain(data),
                                                      ToPlain(fill),
                                                      points,
                                                      ToPlain(grad_output),
                                                      ToPlain(grad_data),
                                                      grad_points};
    if (const auto* loops = LoopsFor(modes, sizes, points, plain.fill); loops != nullptr) {
      GradientsByLoops(context, *loops, plain, sums.get());
    } else if (const auto* any = AnyLoopsFor<Points, Plain>(modes, sizes); any != nullptr) {
      GradientsByAnyLoops(context, *any, plain, sums.get());
    } else {
      GradientsByCore(context, plain, sums.get());
    }
  }
};

template <typename Points, typename T>
struct ResamplerGradGrad<CPUDevice, Points, T> {
  void operator()(tensorflow::OpKernelContext* context,
                  const ResamplerGradGradArguments<Points, T>& arguments) {
    const auto& a = arguments;
    if (a.grad_grad_points == nullptr) return InDirectionOfData(context, a);
    Sums<T> sums;
    OP_REQUIRES_OK(context, sums.Allocate(context, a.sizes, a.grad_data));
    const ResamplerGradGradArguments<Points, PlainType<T>> plain{a.modes,
                                                                 a.sizes,
                                                                 ToPlain(a.data),
                                                                 ToPlain(a.fill),
                                                                 a.points,
                                                                 ToPlain(a.grad_output),
                                                                 ToPlain(a.grad_grad_data),
                                                                 a.grad_grad_points,
                                                                 ToPlain(a.grad_data),
                                                                 a.grad_points,
                                                                 ToPlain(a.grad_grad_output)};
    if constexpr (Points::kRank == 2) {
      const auto* first = LoopsFor(a.modes, a.sizes, a.points, plain.fill);
      if (first != nullptr) {
        return SecondOrderByLoops(context, *first, *SecondOrderLoopsForThisCpu<PlainType<T>>(),
                                  plain, sums.get());
      }
    }
    if (const auto* loops = AnyLoopsFor<Points, PlainType<T>>(a.modes, a.sizes); loops != nullptr) {
      GradGradByAnyLoops(context, *loops, plain, sums.get());
    } else {
      GradGradByCore(context, plain, sums.get());
    }
  }

 private:
  // Without a direction of the points the gradients are linear in grad_grad_data, and the
  // data takes no part: they are the sample of it, and its warp gradient.
  static void InDirectionOfData(tensorflow::OpKernelContext* context,
                                const ResamplerGradGradArguments<Points, T>& a) {
    if (a.grad_data != nullptr) {
      std::fill_n(a.grad_data, a.sizes.images * a.sizes.image.elements(), T(0));
    }
    if (a.grad_grad_data == nullptr) {
      if (a.grad_points != nullptr) {
        std::fill_n(a.grad_points, a.points.stored * Points::kRank, Coordinate<T>(0));
      }
      if (a.grad_grad_output != nullptr) {
        std::fill_n(a.grad_grad_output, a.sizes.points() * a.sizes.image.channels, T(0));
      }
      return;
    }
    if (a.grad_grad_output != nullptr) {
      Resampler<CPUDevice, Points, T>()(
          context, {a.modes, a.sizes, a.grad_grad_data, nullptr, a.points, a.grad_grad_output});
    }
    ResamplerGrad<CPUDevice, Points, T>()(
        context, {a.modes, a.sizes, a.grad_grad_data, nullptr, a.points, a.grad_output, nullptr,
                  a.grad_points});
  }
};

}  // namespace functor
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_FUNCTORS_CPU_H_

// The second order of bilinear sampling with zeros outside, block by block.  Compiled once
// for each instruction set, which TF_STN_ISA names.

#include <cstdint>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/kernels/cpu_blocks.h"
#include "cc/kernels/cpu_gradients.h"
#include "cc/kernels/cpu_second_order.h"
#include "cc/kernels/cpu_stencils.h"
#include "cc/kernels/cpu_vectors.h"
#include "cc/kernels/resampler.h"
#include "cc/kernels/resampler_cpu.h"

namespace tf_stn {
namespace TF_STN_ISA {
namespace {

// A block of points, and what they are directed to.
template <typename Real>
struct Pair {
  Block<Real> plain, directed;
};

// Takes from both blocks what other bands do.  Of a point that the band owns, samples need
// all taps; of all others only what they add to its rows is left.
template <typename Real>
TF_STN_INLINE void ClipToBand(const Extent<2>& image, const GradientTask& task, bool owns_outside,
                              Pair<Real>* pair) {
  constexpr int kCount = kLanes<Real>;
  Block<Real>& plain = pair->plain;
  Block<Real>& directed = pair->directed;
  ClipToBand(image, task.row_begin, task.row_end, owns_outside, &directed);
  plain.all_owned = directed.all_owned;
  for (int i = 0; i < plain.count && !plain.all_owned; i += kCount) {
    const auto owned = LoadElements<kCount>(directed.owned + i);
    const auto used = LoadElements<kCount>(plain.used + i) & owned;
    __builtin_memcpy(plain.owned + i, &owned, sizeof(owned));
    __builtin_memcpy(plain.used + i, &used, sizeof(used));
  }
}

template <bool kBoth, typename T>
void GradientsOfPoints(const WarpGradGradArguments<T>& arguments, const GradientTask& task,
                       bool of_points, bool of_data, const RowRange* ranges,
                       SecondOrderBlock<T>* second, GradientBlock<T>* gradient) {
  using Real = Coordinate<T>;
  const auto& sizes = arguments.sizes;
  const Extent<2>& image = sizes.image;
  const bool is_band = task.row_begin > 0 || task.row_end < image.size[0];
  const int64_t first_of_image = task.image * sizes.points_per_image;
  const WarpPoints<2, Real> directions{arguments.grad_grad_points, arguments.points.per_image,
                                       arguments.points.stored};
  ForRanges(task, sizes, ranges, [&](int64_t begin, int64_t end, bool owns_outside) {
    const auto prepare = [&](Pair<Real>* pair, int64_t p) {
      if (p >= end) return false;
      const int count = static_cast<int>(Smaller(kBlockPoints, end - p));
      ReadCoordinates(arguments.points, first_of_image + p, count, &pair->plain);
      ReadCoordinates(directions, first_of_image + p, count, &pair->directed);
      FindStencils<2>(image, &pair->plain);
      FindDirected(pair->plain, &pair->directed);
      if (is_band) ClipToBand(image, task, owns_outside, pair);
      if (of_points) Prefetch(pair->plain, image, second->pixels);
      if (of_points && kBoth) Prefetch(pair->plain, image, second->grad_grad_data);
      if (of_data) Prefetch(pair->plain, image, gradient->grad_image);
      return true;
    };
    InTurn<Pair<Real>>(begin, prepare, [&](const Pair<Real>& pair, int64_t p) {
      const int64_t element = (first_of_image + p) * image.channels;
      if (of_points) {
        second->grad_output = arguments.grad_output + element;
        if (arguments.grad_grad_output != nullptr) {
          second->grad_grad_output = arguments.grad_grad_output + element;
        }
        FindSecondOrder<kBoth>(pair.plain, pair.directed, second);
        if (arguments.grad_points != nullptr) {
          WriteWarpGradient(pair.plain, second->x, second->y,
                            arguments.grad_points + 2 * (first_of_image + p));
        }
      }
      if (of_data) {
        gradient->grad_output = arguments.grad_output + element;
        AddDataGradient(pair.directed, gradient);
      }
    });
  });
}

template <typename T>
void Gradients(const WarpGradGradArguments<T>& arguments, const GradientTask& task,
               const RowRange* ranges, Coordinate<T>* sums) {
  const auto& sizes = arguments.sizes;
  const int64_t before = task.image * sizes.image.elements();
  const bool has_both = arguments.grad_grad_data != nullptr;
  SecondOrderBlock<T> second{sizes.image,
                             arguments.data + before,
                             has_both ? arguments.grad_grad_data + before : nullptr,
                             sizes.images * sizes.image.elements() - before,
                             nullptr,
                             nullptr,
                             {},
                             {},
                             {},
                             {}};
  GradientBlock<T> gradient{
      sizes.image, nullptr, 0, nullptr, sums == nullptr ? nullptr : sums + before, {}, {}};
  const auto add = [&](bool of_points, bool of_data) {
    if (has_both) {
      GradientsOfPoints<true>(arguments, task, of_points, of_data, ranges, &second, &gradient);
    } else {
      GradientsOfPoints<false>(arguments, task, of_points, of_data, ranges, &second, &gradient);
    }
  };
  const bool needs_points =
      arguments.grad_points != nullptr || arguments.grad_grad_output != nullptr;
  const bool needs_data = arguments.grad_data != nullptr;
  if (needs_data) ZeroRows(sizes.image, task, gradient.grad_image);
  if (needs_points && needs_data && sizes.image.channels >= kManyChannels) {
    add(true, false);
    add(false, true);
  } else {
    add(needs_points, needs_data);
  }
  if (needs_data) RoundRows(sizes.image, task, gradient.grad_image, arguments.grad_data + before);
}

}  // namespace

template <typename T>
const SecondOrderCpuLoops<T>& SecondOrderLoops() {
  static constexpr SecondOrderCpuLoops<T> kLoops = {&Gradients<T>};
  return kLoops;
}

template const SecondOrderCpuLoops<Half>& SecondOrderLoops<Half>();
template const SecondOrderCpuLoops<BFloat16>& SecondOrderLoops<BFloat16>();
template const SecondOrderCpuLoops<float>& SecondOrderLoops<float>();
template const SecondOrderCpuLoops<double>& SecondOrderLoops<double>();

}  // namespace TF_STN_ISA
}  // namespace tf_stn

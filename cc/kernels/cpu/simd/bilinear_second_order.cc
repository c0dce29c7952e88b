// The second order of bilinear sampling, block by block.  Compiled once for each instruction set,
// which TF_STN_ISA names.

#include <cstdint>

#include "cc/core/call.h"
#include "cc/core/pixel_types.h"
#include "cc/core/points.h"
#include "cc/kernels/cpu/simd/bilinear.h"
#include "cc/kernels/cpu/simd/bilinear_stencils.h"
#include "cc/kernels/cpu/simd/blocks.h"
#include "cc/kernels/cpu/simd/gradients.h"
#include "cc/kernels/cpu/simd/points.h"
#include "cc/kernels/cpu/simd/second_order.h"
#include "cc/kernels/cpu/simd/vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {
namespace bilinear {
namespace {

// A block of points, and their stencils differentiated in the directions.
template <typename Real>
struct BlockPair {
  Block<Real> plain, directed;

  TF_STN_INLINE void FindStencils(const Extent<2>& image) {
    TF_STN_ISA::FindStencils<2>(image, &plain);
    FindDirected(plain, &directed);
  }
};

// The directions, one for each point that is stored.
template <typename Points, typename T>
WarpPoints<2, typename Points::Real> DirectionsOf(const SecondOrderCall<Points, T>& call) {
  return {call.grad_grad_points, call.points.per_image, call.points.stored};
}

// Writes the samples and gradients of a block of points, in all images that share them.
template <bool kBoth, typename Points, typename T>
TF_STN_INLINE void FindSecondOrder(const SecondOrderCall<Points, T>& call,
                                   const BlockPair<typename Points::Real>& pair, int64_t image,
                                   int64_t q, SecondOrderBlock<T>* second) {
  using Real = typename Points::Real;
  const auto& sizes = call.sizes;
  const int count = pair.plain.count;
  const int64_t last = call.shares_points() ? sizes.images : image + 1;
  alignas(64) Real x[kBlockPoints], y[kBlockPoints];
  for (int64_t n = image; n < last; ++n) {
    const int64_t before = n * sizes.image.elements();
    const int64_t element = (n * sizes.points_per_image + q) * sizes.image.channels;
    second->pixels = call.data + before;
    second->grad_grad_data = kBoth ? call.grad_grad_data + before : nullptr;
    second->readable = sizes.elements() - before;
    second->grad_output = call.grad_output + element;
    second->grad_grad_output =
        call.grad_grad_output == nullptr ? nullptr : call.grad_grad_output + element;
    TF_STN_ISA::FindSecondOrder<kBoth>(pair.plain, pair.directed, second);
    for (int p = 0; p < count; ++p) {
      x[p] = n == image ? second->x[p] : x[p] + second->x[p];
      y[p] = n == image ? second->y[p] : y[p] + second->y[p];
    }
  }
  if (call.grad_points == nullptr) return;
  Real* const grads[] = {x, y};
  WriteWarpGradient(count, grads, call.grad_points + 2 * (image * call.points.per_image + q));
}

template <bool kBoth, typename Points, typename T>
void Compute(const SecondOrderCall<Points, T>& call, const Run& run, bool of_points, bool of_data,
             typename Points::Real* grad_image) {
  using Real = typename Points::Real;
  const auto& sizes = call.sizes;
  const Extent<2>& image = sizes.image;
  const auto directions = DirectionsOf(call);
  const int64_t before = run.image * image.elements();
  SecondOrderBlock<T> second{image, nullptr, nullptr, 0, nullptr, nullptr, {}, {}, {}, {}};
  GradientBlock<T> gradient{image, nullptr, 0, {}, grad_image, {}, {}};
  const auto prepare = [&](BlockPair<Real>* pair, int64_t q) {
    if (q >= run.end) return false;
    const int count = static_cast<int>(Smaller(kBlockPoints, run.end - q));
    ReadBlock(call.points, run.image, q, count, &pair->plain);
    ReadBlock(directions, run.image, q, count, &pair->directed);
    pair->FindStencils(image);
    if (of_points) Prefetch(pair->plain, image, call.data + before);
    if (of_points && kBoth) Prefetch(pair->plain, image, call.grad_grad_data + before);
    if (of_data) Prefetch(pair->plain, image, grad_image);
    return true;
  };
  InTurn<BlockPair<Real>>(run.begin, prepare, [&](const BlockPair<Real>& pair, int64_t q) {
    if (of_points) FindSecondOrder<kBoth>(call, pair, run.image, q, &second);
    if (of_data) {
      const int64_t number = run.image * sizes.points_per_image + q;
      gradient.grad_outputs = {call.grad_output + number * image.channels, nullptr};
      AddDataGradient(pair.directed, &gradient);
    }
  });
}

template <typename Points, typename T>
void ComputeRun(const SecondOrderCall<Points, T>& call, const Run& run, bool of_points,
                bool of_data, typename Points::Real* grad_image) {
  if (call.grad_grad_data != nullptr) {
    Compute<true>(call, run, of_points, of_data, grad_image);
  } else {
    Compute<false>(call, run, of_points, of_data, grad_image);
  }
}

}  // namespace

template <typename Points, typename T>
void SecondOrderOfPoints(const SecondOrderCall<Points, T>& call, const Run& run, double*, void*) {
  ComputeRun(call, run, true, false, nullptr);
}

template <typename Points, typename T>
void SecondOrderOfBoth(const SecondOrderCall<Points, T>& call, const Run& run,
                       typename Points::Real* grad_image, double*, void*) {
  ComputeRun(call, run, true, true, grad_image);
}

template <typename Points, typename T>
void SecondOrderOfData(const SecondOrderCall<Points, T>& call, const Band& band,
                       typename Points::Real* grad_image, void*) {
  using Real = typename Points::Real;
  struct Listed : ListedBlock<T> {
    Block<Real> directed;
  };
  const auto& sizes = call.sizes;
  const Extent<2>& image = sizes.image;
  if (band.begin == 0 && band.end == image.size[0] && band.points == nullptr) {
    return ComputeRun(call, {band.image, 0, sizes.points_per_image}, false, true, grad_image);
  }
  const auto directions = DirectionsOf(call);
  const Reach<2> reach(call.modes, image, band.begin, band.end);
  BandPoints<Points> points(call.points, reach, band, sizes.points_per_image);
  GradientBlock<T> gradient{image, nullptr, 0, {}, grad_image, {}, {}};
  const T* const grad_output =
      call.grad_output + band.image * sizes.points_per_image * image.channels;
  const auto prepare = [&](Listed* listed, int64_t) {
    if (!listed->Read(&points)) return false;
    listed->FindGradOutputs(grad_output, image.channels);
    const int count = listed->block.count;
    Real* const to[] = {listed->directed.x, listed->directed.y};
    ReadNumbered(directions, band.image, listed->numbers, count, to);
    listed->directed.count = count;
    FindStencils<2>(image, &listed->block);
    FindDirected(listed->block, &listed->directed);
    ClipToBand(image, band.begin, band.end, &listed->directed);
    Prefetch(listed->block, image, grad_image);
    return true;
  };
  InTurn<Listed>(0, prepare, [&](const Listed& listed, int64_t) {
    gradient.grad_outputs = listed.grad_outputs;
    AddDataGradient(listed.directed, &gradient);
  });
}

#define TF_STN_INSTANTIATE_FOR(Source, Rank, T)                                             \
  template void SecondOrderOfPoints(const SecondOrderCall<Source<Rank, Coordinate<T>>, T>&, \
                                    const Run&, double*, void*);                            \
  template void SecondOrderOfData(const SecondOrderCall<Source<Rank, Coordinate<T>>, T>&,   \
                                  const Band&, Coordinate<T>*, void*);                      \
  template void SecondOrderOfBoth(const SecondOrderCall<Source<Rank, Coordinate<T>>, T>&,   \
                                  const Run&, Coordinate<T>*, double*, void*);
#define TF_STN_INSTANTIATE(T, ...) TF_STN_FOR_EACH_STORED_SOURCE(TF_STN_INSTANTIATE_FOR, 2, T)
TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_INSTANTIATE)
#undef TF_STN_INSTANTIATE
#undef TF_STN_INSTANTIATE_FOR

}  // namespace bilinear
}  // namespace TF_STN_ISA
}  // namespace tf_stn

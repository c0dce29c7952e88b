// Computes the gradient of data with the same bits in every run, see bands.h: the kernel of
// bilinear interpolation with zeros outside, the kernel of all modes, which also has the derivative
// of the gradient in directions of the points, and their launcher.

#include <cstdint>
#include <type_traits>

#include "cc/core/call.h"
#include "cc/core/pixel_types.h"
#include "cc/core/stencil.h"
#include "cc/kernels/gpu/bands.h"
#include "cc/kernels/gpu/cuda.h"
#include "cc/kernels/gpu/fast_division.h"
#include "cc/kernels/gpu/launch.h"
#include "cc/kernels/gpu/launchers.h"
#include "cc/kernels/gpu/tap_lines.h"

namespace tf_stn {
namespace {

// What a point adds to a band: nothing where the weight is zero.
template <typename Stencil>
struct Contribution {
  typename Stencil::Index point;
  typename Stencil::Index offset[Stencil::kCount];
  typename Stencil::Real weight[Stencil::kCount];
};

template <typename Stencil>
__device__ void FindContribution(const Stencil& stencil, typename Stencil::Index point,
                                 const BlockBand<typename Stencil::Index>& band,
                                 Contribution<Stencil>& contribution) {
  using Real = typename Stencil::Real;
  contribution.point = point;
#pragma unroll
  for (int k = 0; k < Stencil::kCount; ++k) {
    const Real weight = stencil.weight(k);
    const auto offset = stencil.offset(k);
    const bool is_nan_or_zero = !(weight < 0 || weight > 0);
    const bool is_in_band = band.begin <= offset && offset < band.end;
    contribution.offset[k] = offset;
    contribution.weight[k] = is_nan_or_zero || !is_in_band ? Real(0) : weight;
  }
}

template <typename Stencil, typename Points, typename T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    BilinearOrderedGradientKernel(Extent<Stencil::kRank, typename Stencil::Index> image,
                                  FastPoints<Points, typename Stencil::Index> points,
                                  typename Stencil::Index points_per_image, Bands bands,
                                  const T* __restrict__ grad_output,
                                  typename Stencil::Real* __restrict__ grad_data) {
  using Index = typename Stencil::Index;
  using Real = typename Stencil::Real;
  __shared__ Shared<Contribution<Stencil>[kThreads]> listed;
  for (Index i = blockIdx.x; i < static_cast<Index>(bands.count); i += gridDim.x) {
    const BlockBand<Index> band(bands, i, image);
    Real* grad_image = grad_data + band.image * image.elements();
    for (Index e = band.begin + threadIdx.x; e < band.end; e += kThreads) grad_image[e] = Real(0);

    for (Index base = 0; base < points_per_image; base += kThreads) {
      const Index mine = base + threadIdx.x;
      Real point[Stencil::kRank];
      bool touches = false;
      if (mine < points_per_image) {
        points.At(band.image, mine, point);
        touches = Stencil::Touches({}, image, point, band.slab_begin, band.slab_end);
      }
      int count;
      const int place = PlaceInList(touches, &count);  // By then, all have read the last list.
      if (touches) {
        FindContribution(Stencil({}, image, point), band.image * points_per_image + mine, band,
                         listed.value[place]);
      }
      __syncthreads();

      for (int j = 0; j < count; ++j) {
        const Contribution<Stencil>& contribution = listed.value[j];
        const T* gradient = grad_output + contribution.point * image.channels;
#pragma unroll
        for (int k = 0; k < Stencil::kCount; ++k) {
          const Real weight = contribution.weight[k];
          if (weight == Real(0)) continue;
          AddOwnElements(weight, gradient, image.channels, band.begin, contribution.offset[k],
                         grad_image);
        }
      }
    }
  }
}

#define TF_STN_ENUMERATOR(T, ...) k##T,
enum class PixelType { TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_ENUMERATOR) };
#undef TF_STN_ENUMERATOR

// Pixels of any type that is summed in Real.  The type is known at run time: so there are fewer
// kernels of all modes, for which speed is not the first concern.
template <typename Real>
class AnyPixels {
 public:
#define TF_STN_CONSTRUCTOR(T, ...)    \
  explicit AnyPixels(const T* pixels) \
      : AnyPixels(pixels, PixelType::k##T, static_cast<int>(sizeof(T))) {}
  TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_CONSTRUCTOR)
#undef TF_STN_CONSTRUCTOR

  // Returns those from the i-th on.
  __device__ AnyPixels From(int64_t i) const {
    return AnyPixels(static_cast<const char*>(pixels_) + i * bytes_, type_, bytes_);
  }

  __device__ Real operator[](int64_t i) const {
#define TF_STN_RETURN(T, ...)                                                      \
  if constexpr (std::is_same_v<Coordinate<T>, Real> && !std::is_same_v<T, Real>) { \
    if (type_ == PixelType::k##T) {                                                \
      return static_cast<Real>(static_cast<const T*>(pixels_)[i]);                 \
    }                                                                              \
  }
    TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_RETURN)
#undef TF_STN_RETURN
    return static_cast<const Real*>(pixels_)[i];
  }

 private:
  TF_STN_HD AnyPixels(const void* pixels, PixelType type, int bytes)
      : pixels_(pixels), type_(type), bytes_(bytes) {}

  const void* pixels_;
  PixelType type_;
  int bytes_;  // Of a pixel's channel.
};

// Blocks of the kernel of all modes that a multiprocessor must be able to run at once: with 64, 80
// or 128 registers for a thread.
template <typename Stencil, bool kIsDirected>
inline constexpr int kOrderedBlocks = [] {
  constexpr bool kIsLong = sizeof(typename Stencil::Real) == 8;
  if (kIsLong && kIsDirected) return 2;
  return kIsLong || Stencil::kTaps > 2 || kIsDirected ? 3 : 4;
}();

// Lists the points only: their taps may be too many to be stored, and each thread finds them anew.
// With kIsDirected, the weights are differentiated in the direction of the point.
template <typename Stencil, typename Points, bool kIsDirected>
__global__ void __launch_bounds__(kThreads, kOrderedBlocks<Stencil, kIsDirected>)
    OrderedGradientKernel(typename Stencil::Rules rules, Extent<Stencil::kRank> extent,
                          FastPoints<Points, int64_t> points, int64_t points_per_image, Bands bands,
                          const typename Stencil::Real* __restrict__ directions,
                          AnyPixels<typename Stencil::Real> grad_output,
                          typename Stencil::Real* __restrict__ grad_data) {
  using Real = typename Stencil::Real;
  constexpr int kRank = Stencil::kRank;
  __shared__ Shared<int64_t[kThreads]> listed;
  for (int64_t i = blockIdx.x; i < bands.count; i += gridDim.x) {
    const BlockBand<int64_t> band(bands, i, extent);
    Real* grad_image = grad_data + band.image * extent.elements();
#pragma unroll 1
    for (int64_t e = band.begin + threadIdx.x; e < band.end; e += kThreads) grad_image[e] = Real(0);

    for (int64_t base = 0; base < points_per_image; base += kThreads) {
      const int64_t mine = base + threadIdx.x;
      Real point[kRank];
      bool touches = false;
      if (mine < points_per_image) {
        points.At(band.image, mine, point);
        touches = TapLines<Stencil>::Touches(rules, extent, point, band.slab_begin, band.slab_end);
      }
      int count;
      const int place = PlaceInList(touches, &count);  // By then, all have read the last list.
      if (touches) listed.value[place] = mine;
      __syncthreads();

      for (int j = 0; j < count; ++j) {
        const int64_t q = listed.value[j];
        points.At(band.image, q, point);
        Real direction[kRank] = {};
        if constexpr (kIsDirected) {
          const int64_t stored = band.image * points.source.per_image + q;
          for (int d = 0; d < kRank; ++d) direction[d] = directions[stored * kRank + d];
        }
        const auto gradient =
            grad_output.From((band.image * points_per_image + q) * extent.channels);
        TapLines<Stencil>(rules, extent, point).ForEach([&](const auto& line) {
          if (line.start() < band.begin || line.start() >= band.end) return;
#pragma unroll
          for (int k = 0; k < Stencil::kTaps; ++k) {
            const Real weight = kIsDirected ? line.directed_weight(k, direction) : line.weight(k);
            const int64_t offset = line.offset(k);
            const bool is_nan_or_zero = !(weight < 0 || weight > 0);
            if (is_nan_or_zero || offset == kReadsAsZero) continue;
            AddOwnElements(weight, gradient, extent.channels, band.begin, offset, grad_image);
          }
        });
      }
    }
  }
}

template <typename Points, typename T>
const char* LaunchBilinear(const GradientCall<Points, T>& call, Coordinate<T>* sums, void* stream) {
  const Bands bands = BandsOf(call.sizes);
  return VisitBilinear(call, [&](auto tag) {
    using Stencil = typename decltype(tag)::type;
    using Index = typename Stencil::Index;
    return Launch(&BilinearOrderedGradientKernel<Stencil, Points, T>, Blocks(bands.count, 1),
                  kThreads, stream, To<Index>(call.sizes.image),
                  FastPoints<Points, Index>(call.points),
                  static_cast<Index>(call.sizes.points_per_image), bands, call.grad_output, sums);
  });
}

template <typename Points, typename T>
const char* LaunchGeneral(const GradientCall<Points, T>& call, const Coordinate<T>* directions,
                          Coordinate<T>* sums, void* stream) {
  using Real = Coordinate<T>;
  const Bands bands = BandsOf(call.sizes);
  return VisitGeneral(call, [&](auto tag, const auto& rules) {
    using Stencil = typename decltype(tag)::type;
    auto* kernel = &OrderedGradientKernel<Stencil, Points, false>;
    if constexpr (Points::kIsStored) {
      if (directions != nullptr) kernel = &OrderedGradientKernel<Stencil, Points, true>;
    }
    return Launch(kernel, Blocks(bands.count, 1), kThreads, stream, rules, call.sizes.image,
                  FastPoints<Points, int64_t>(call.points), call.sizes.points_per_image, bands,
                  directions, AnyPixels<Real>(call.grad_output), sums);
  });
}

}  // namespace

template <typename Points, typename T>
const char* LaunchOrderedGradient(const GradientCall<Points, T>& call,
                                  const Coordinate<T>* directions, Coordinate<T>* sums,
                                  void* stream) {
  if constexpr (Points::kRank == 2) {
    if (IsBilinear(call) && directions == nullptr) return LaunchBilinear(call, sums, stream);
  }
  return LaunchGeneral(call, directions, sums, stream);
}

#define TF_STN_INSTANTIATE(...)                                                      \
  template const char* LaunchOrderedGradient(const GradientCall<__VA_ARGS__>&,       \
                                             const GradientCall<__VA_ARGS__>::Real*, \
                                             GradientCall<__VA_ARGS__>::Real*, void*);
TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_INSTANTIATE_FOR_PIXEL)
#undef TF_STN_INSTANTIATE

}  // namespace tf_stn

// The gradient of the images without atomics for any modes, and its derivative.  No
// TensorFlow here: nvcc compiles it for the device, and g++ for a test that runs it on the
// host.

#include <cstdint>
#include <type_traits>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/core/padding.h"
#include "cc/core/resample.h"
#include "cc/kernels/cuda.h"
#include "cc/kernels/gpu_any.h"
#include "cc/kernels/gpu_launch.h"
#include "cc/kernels/gpu_ordered_gradient.h"
#include "cc/kernels/gpu_points.h"
#include "cc/kernels/gpu_rows.h"
#include "cc/kernels/resampler.h"

namespace tf_stn {
namespace {

// Numbers of any type that is summed in Real, which is known when running: three kernels in
// one, where speed is not the first concern.
template <typename Real>
class AnyNumbers {
 public:
  template <typename T>
  explicit AnyNumbers(const T* numbers)
      : numbers_(numbers),
        type_(std::is_same_v<T, Half>       ? Type::kHalf
              : std::is_same_v<T, BFloat16> ? Type::kBFloat16
                                            : Type::kReal) {}

  __device__ AnyNumbers From(int64_t i) const {
    const int64_t bytes = type_ == Type::kReal ? sizeof(Real) : sizeof(Half);
    return AnyNumbers(static_cast<const char*>(numbers_) + i * bytes, type_);
  }

  __device__ Real operator[](int64_t i) const {
    if constexpr (std::is_same_v<Real, float>) {
      if (type_ == Type::kHalf) return static_cast<Real>(static_cast<const Half*>(numbers_)[i]);
      if (type_ == Type::kBFloat16) {
        return static_cast<Real>(static_cast<const BFloat16*>(numbers_)[i]);
      }
    }
    return static_cast<const Real*>(numbers_)[i];
  }

 private:
  enum class Type { kHalf, kBFloat16, kReal };

  __device__ AnyNumbers(const void* numbers, Type type) : numbers_(numbers), type_(type) {}

  const void* numbers_;
  Type type_;
};

// As OrderedDataGradientKernel, but lists the points alone: their taps may be too many to
// be stored, and each thread finds them anew.  With kIsDirected, the weights are those of
// the derivative in the point's direction.
template <typename Stencil, typename Points, bool kIsDirected>
__global__ void __launch_bounds__(kThreads, kAnyBlocks<Stencil>)
    AnyOrderedGradientKernel(Images<Stencil, typename Stencil::Real> images,
                             DevicePoints<Points, int64_t> points, Bands bands,
                             int64_t directions_per_image,
                             const typename Stencil::Real* __restrict__ directions,
                             AnyNumbers<typename Stencil::Real> grad_output,
                             typename Stencil::Real* __restrict__ grad_data) {
  using Real = typename Stencil::Real;
  constexpr int kRank = Stencil::kRank;
  const auto& extent = images.extent;
  __shared__ Shared<int64_t[kThreads]> listed;
  for (int64_t i = blockIdx.x; i < bands.count; i += gridDim.x) {
    const Band<int64_t> band(bands, i, extent);
    Real* grad_image = grad_data + band.image * extent.elements();
#pragma unroll 1
    for (int64_t e = band.begin + threadIdx.x; e < band.end; e += kThreads) grad_image[e] = Real(0);

    for (int64_t base = 0; base < images.points_per_image; base += kThreads) {
      const int64_t mine = base + threadIdx.x;
      Real point[kRank];
      bool touches = false;
      if (mine < images.points_per_image) {
        points.At(band.image, mine, point);
        touches = StencilRows<Stencil>::Touches(images.rules, extent, point, band.row_begin,
                                                band.row_end);
      }
      int count;
      const int place = PlaceInList(touches, &count);  // All have read the list before.
      if (touches) listed.value[place] = mine;
      __syncthreads();

      for (int j = 0; j < count; ++j) {
        const int64_t q = listed.value[j];
        points.At(band.image, q, point);
        Real direction[kRank] = {};
        if constexpr (kIsDirected) {
          const int64_t stored = band.image * directions_per_image + q;
          for (int d = 0; d < kRank; ++d) direction[d] = directions[stored * kRank + d];
        }
        const auto gradient =
            grad_output.From((band.image * images.points_per_image + q) * extent.channels);
        StencilRows<Stencil>(images.rules, extent, point).ForEach([&](const auto& row) {
          if (row.start() < band.begin || row.start() >= band.end) return;
#pragma unroll
          for (int k = 0; k < Stencil::kTaps; ++k) {
            const Real weight = kIsDirected ? row.directed_weight(k, direction) : row.weight(k);
            const int64_t offset = row.offset(k);
            const bool is_nan_or_zero = !(weight < 0 || weight > 0);
            if (is_nan_or_zero || offset == kReadsAsZero) continue;
            AddOwnElements(weight, gradient, extent.channels, band.begin, offset, grad_image);
          }
        });
      }
    }
  }
}

}  // namespace

template <typename Points, typename T>
const char* LaunchAnyOrderedGradient(const ResamplerGradArguments<Points, T>& arguments,
                                     const Coordinate<T>* directions, Coordinate<T>* grad_data,
                                     void* stream) {
  const auto& sizes = arguments.sizes;
  const Bands bands = BandsOf(sizes);
  const char* error = nullptr;
  VisitAnyStencil<Points::kRank, Coordinate<T>>(arguments.modes, [&](auto tag, const auto& rules) {
    using Stencil = typename decltype(tag)::type;
    using Real = typename Stencil::Real;
    auto* kernel = &AnyOrderedGradientKernel<Stencil, Points, false>;
    if constexpr (!kAreFromMatrix<Points>) {
      if (directions != nullptr) kernel = &AnyOrderedGradientKernel<Stencil, Points, true>;
    }
    const Images<Stencil, Real> images = {rules,
                                          sizes.image,
                                          sizes.images,
                                          sizes.points_per_image,
                                          /*data=*/nullptr,
                                          /*fill=*/nullptr};
    error =
        Launch(kernel, Blocks(bands.count, 1), kThreads, stream, images,
               DevicePoints<Points, int64_t>(arguments.points), bands, arguments.points.per_image,
               directions, AnyNumbers<Real>(arguments.grad_output), grad_data);
  });
  return error;
}

#define TF_STN_INSTANTIATE(Points, Rank, T)                                                \
  template const char* LaunchAnyOrderedGradient(                                           \
      const ResamplerGradArguments<Points<Rank, Coordinate<T>>, T>&, const Coordinate<T>*, \
      Coordinate<T>*, void*)
TF_STN_FOR_ALL_WARPS(TF_STN_INSTANTIATE);
TF_STN_FOR_ALL_MATRICES(TF_STN_INSTANTIATE);
#undef TF_STN_INSTANTIATE

}  // namespace tf_stn

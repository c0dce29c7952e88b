// The launchers of kernels that take any modes, ranks and ways in which images and points
// go together.  Linear interpolation of images with zeros outside has others, which are
// faster.

#ifndef TF_STN_CC_KERNELS_GPU_ANY_H_
#define TF_STN_CC_KERNELS_GPU_ANY_H_

#include <type_traits>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/core/resample.h"
#include "cc/kernels/gpu_gradient.h"
#include "cc/kernels/resampler.h"

namespace tf_stn {

// Returns the batch as kernels for any modes take it.
template <typename Stencil, typename Arguments>
auto ImagesOf(const Arguments& arguments, const typename Stencil::Rules& rules) {
  using T = std::remove_const_t<std::remove_pointer_t<decltype(arguments.data)>>;
  const auto& sizes = arguments.sizes;
  return Images<Stencil, T>{rules,          sizes.image,   sizes.images, sizes.points_per_image,
                            arguments.data, arguments.fill};
}

// REQUIRES for all: there are points.

template <typename Points, typename T>
const char* LaunchAnySample(const ResamplerArguments<Points, T>& arguments, void* stream);

// Adds dL/dU to `grad_data`, unless it is null, and writes dL/dwarp to grad_points, unless
// that is null.
template <typename T, int Rank>
const char* LaunchAnyGradients(
    const ResamplerGradArguments<WarpPoints<Rank, Coordinate<T>>, T>& arguments,
    Coordinate<T>* grad_data, void* stream);

// The same, but writes to `parts` what each of `tiles` adds to dL/dmatrix, unless it is null.
template <typename T, int Rank>
const char* LaunchAnyGradients(
    const ResamplerGradArguments<AffinePoints<Rank, Coordinate<T>>, T>& arguments,
    const Tiles& tiles, Coordinate<T>* grad_data, double* parts, void* stream);

// Writes dL/dU to `grad_data`, with the same bits in every run; or, if there are
// `directions`, one for each stored point of a warp, its derivative in theirs.
template <typename Points, typename T>
const char* LaunchAnyOrderedGradient(const ResamplerGradArguments<Points, T>& arguments,
                                     const Coordinate<T>* directions, Coordinate<T>* grad_data,
                                     void* stream);

// Calls instantiate(Points, Rank, T) for all ranks and types of pixels.
#define TF_STN_FOR_ALL_TYPES(instantiate, Points, Rank) \
  instantiate(Points, Rank, Half);                      \
  instantiate(Points, Rank, BFloat16);                  \
  instantiate(Points, Rank, float);                     \
  instantiate(Points, Rank, double)
#define TF_STN_FOR_ALL_WARPS(instantiate)           \
  TF_STN_FOR_ALL_TYPES(instantiate, WarpPoints, 2); \
  TF_STN_FOR_ALL_TYPES(instantiate, WarpPoints, 3)
#define TF_STN_FOR_ALL_MATRICES(instantiate)          \
  TF_STN_FOR_ALL_TYPES(instantiate, AffinePoints, 2); \
  TF_STN_FOR_ALL_TYPES(instantiate, AffinePoints, 3)

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_ANY_H_

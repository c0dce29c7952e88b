// Access to pixels: several neighbouring channels at once, all loads of a stencil before the first
// use, and atomic additions.

#ifndef TF_STN_CC_KERNELS_GPU_PIXELS_H_
#define TF_STN_CC_KERNELS_GPU_PIXELS_H_

#include <type_traits>

#include "cc/core/padding.h"
#include "cc/kernels/gpu/cuda.h"

namespace tf_stn {

// Bytes of an access that moves kWidth numbers of type T: of all of them, or of one where there is
// no access of that size.
template <typename T, int kWidth>
inline constexpr int kAccessBytes = (kWidth == 3 ? 1 : kWidth) * static_cast<int>(sizeof(T));

// Neighbouring channels that the widest access, of 16 bytes, moves.
template <typename T>
inline constexpr int kWidest = 16 / static_cast<int>(sizeof(T));

template <typename T, int kWidth>
struct alignas(kAccessBytes<T, kWidth>) Channels {
  T values[kWidth];
};

template <typename T, int kWidth>
__device__ Channels<T, kWidth> Load(const T* __restrict__ from) {
  return *reinterpret_cast<const Channels<T, kWidth>*>(from);
}

template <typename T, int kWidth>
__device__ void Store(const Channels<T, kWidth>& channels, T* to) {
  *reinterpret_cast<Channels<T, kWidth>*>(to) = channels;
}

// Loads the pixels of a stencil for which is_needed(k) holds, from the image that begins at
// `start`.  All others, and those outside the image, are zeros.
template <int kWidth, typename Stencil, typename T, typename IsNeeded>
__device__ void LoadPixels(const Stencil& stencil, const T* __restrict__ data,
                           typename Stencil::Index start, const IsNeeded& is_needed,
                           Channels<T, kWidth>* pixels) {
#pragma unroll
  for (int k = 0; k < Stencil::kCount; ++k) {
    const typename Stencil::Index offset = stencil.offset(k);
    pixels[k] = Channels<T, kWidth>{};
    if (is_needed(k) && offset != kReadsAsZero)
      pixels[k] = Load<T, kWidth>(data + (start + offset));
  }
}

// Adds kWidth numbers to neighbouring places, atomically.
template <int kWidth, typename Real>
__device__ void AtomicAdd(Real* where, const Real* values) {
  if constexpr (kHasAtomicVectors && std::is_same_v<Real, float> && kWidth % 4 == 0) {
    for (int i = 0; i < kWidth; i += 4) {
      atomicAdd(reinterpret_cast<float4*>(where + i),
                make_float4(values[i], values[i + 1], values[i + 2], values[i + 3]));
    }
  } else if constexpr (kHasAtomicVectors && std::is_same_v<Real, float> && kWidth == 2) {
    atomicAdd(reinterpret_cast<float2*>(where), make_float2(values[0], values[1]));
  } else {
    for (int i = 0; i < kWidth; ++i) atomicAdd(where + i, values[i]);
  }
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_GPU_PIXELS_H_

// How GPU kernels move pixels: some neighbouring channels in one access, all loads
// of a stencil before the first is used, and additions that other threads may make
// at the same time.

#ifndef TF_STN_CC_KERNELS_GPU_PIXELS_H_
#define TF_STN_CC_KERNELS_GPU_PIXELS_H_

#include <type_traits>

#include "cc/core/padding.h"
#include "cc/kernels/cuda.h"

namespace tf_stn {

// Bytes of the access that moves kWidth numbers of type T: of all, or of one where
// there is no access of that size.
template <typename T, int kWidth>
inline constexpr int kAccessBytes = (kWidth == 3 ? 1 : kWidth) * static_cast<int>(sizeof(T));

template <typename T, int kWidth>
struct alignas(kAccessBytes<T, kWidth>) Channels {
  T values[kWidth];
};

template <typename T, int kWidth>
__device__ Channels<T, kWidth> Load(const T* __restrict__ from) {
  return *reinterpret_cast<const Channels<T, kWidth>*>(from);
}

// Reads the pixels of a stencil whose image begins at `start`; `is_needed(k)` says which
// of them.  The others and those outside the image are zeros.
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

// Adds kWidth numbers to neighbouring places, as other threads may at the same time.
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

// Reading, writing and adding up pixels of a number of channels that is known when
// compiling (1 to 4), or of any number, in the widest vectors that fit.

#ifndef TF_STN_CC_KERNELS_CPU_SIMD_PIXELS_H_
#define TF_STN_CC_KERNELS_CPU_SIMD_PIXELS_H_

#include <cstdint>
#include <type_traits>

#include "cc/core/pixel_types.h"
#include "cc/kernels/cpu/simd/vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {

inline constexpr int kAnyChannels = 0;
inline constexpr int kFewChannels = 4;  // Up to so many, a pixel is one vector.

// A pixel of kChannels in a vector; three channels have a fourth lane.
template <int kChannels>
inline constexpr int kPixelLanes = kChannels == 3 ? 4 : kChannels;

template <typename Real, int kChannels>
using Pixel = Vector<Real, kPixelLanes<kChannels>>;

// Reads a pixel.  The fourth lane of three channels is undefined.
// REQUIRES: that lane may be read too.
template <int kChannels, typename T>
TF_STN_INLINE Pixel<Coordinate<T>, kChannels> LoadPixel(const T* from) {
  return Load<kPixelLanes<kChannels>>(from);
}

// The same, and reads nothing else; the fourth lane is 0.
template <int kChannels, typename T>
TF_STN_INLINE Pixel<Coordinate<T>, kChannels> LoadPixelExactly(const T* from) {
  if constexpr (kChannels == 3) {
    const auto two = Load<2>(from);
    const Vector<Coordinate<T>, 4> pixel = {two[0], two[1], Load<1>(from + 2), 0};
    return pixel;
  } else {
    return LoadPixel<kChannels>(from);
  }
}

// Writes a pixel, and nothing else.
template <int kChannels, typename T>
TF_STN_INLINE void StorePixelExactly(const Pixel<Coordinate<T>, kChannels>& pixel, T* to) {
  if constexpr (kChannels == 3) {
    const Vector<Coordinate<T>, 2> two = {pixel[0], pixel[1]};
    Store<2>(two, to);
    Store<1>(pixel[2], to + 2);
  } else {
    Store<kPixelLanes<kChannels>>(pixel, to);
  }
}

// Adds a pixel to memory.  Always in the same accesses, two channels and one for
// three, since a load that overlaps an earlier store in part would wait for it.
template <int kChannels, typename Real>
TF_STN_INLINE void AddPixel(const Pixel<Real, kChannels>& pixel, Real* to) {
  if constexpr (kChannels == 3) {
    const Vector<Real, 2> two = {pixel[0], pixel[1]};
    Store<2>(Load<2>(to) + two, to);
    to[2] += pixel[2];
  } else {
    Store<kPixelLanes<kChannels>>(Load<kPixelLanes<kChannels>>(to) + pixel, to);
  }
}

// Reads values of one channel, of as many points as there are lanes; 0 beyond `count`.
template <typename T>
TF_STN_INLINE RealVector<Coordinate<T>> LoadLanes(const T* from, int count) {
  using Real = Coordinate<T>;
  constexpr int kCount = kLanes<Real>;
  if (count >= kCount) return Load<kCount>(from);
  RealVector<Real> lanes{};
  for (int i = 0; i < count; ++i) lanes[i] = Load<1>(from + i);
  return lanes;
}

// Calls body(std::integral_constant<int, width>, first channel) for vectors that
// together are all channels, the widest first.
template <typename Real, int kWidth = kLanes<Real>, typename Body>
TF_STN_INLINE void ForChannels(int64_t channels, const Body& body, int64_t first = 0) {
  for (; first + kWidth <= channels; first += kWidth) {
    body(std::integral_constant<int, kWidth>(), first);
  }
  if constexpr (kWidth > 1) {
    if (first < channels) ForChannels<Real, kWidth / 2>(channels, body, first);
  }
}

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_SIMD_PIXELS_H_

// Samples of a block of points.

#ifndef TF_STN_CC_KERNELS_CPU_SIMD_SAMPLE_H_
#define TF_STN_CC_KERNELS_CPU_SIMD_SAMPLE_H_

#include <cstdint>

#include "cc/core/pixel_types.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cpu/simd/bilinear_stencils.h"
#include "cc/kernels/cpu/simd/pixels.h"
#include "cc/kernels/cpu/simd/vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {

// Where the taps of a stencil are, counted from the first.  In an image of one row, the lower ones
// are where the upper ones are.
struct TapOffsets {
  int64_t at[kTaps];

  explicit TapOffsets(const Extent<2>& image)
      : at{0, image.channels, DownOf(image), DownOf(image) + image.channels} {}

 private:
  static int64_t DownOf(const Extent<2>& image) {
    return image.size[0] > 1 ? image.slab_elements() : 0;
  }
};

// One channel: points in vectors.  With kAdd, samples are added to the output.
template <bool kAdd, typename T, typename Output>
void SampleOneChannel(const Block<Coordinate<T>>& block, const Extent<2>& image, const T* pixels,
                      Output* output) {
  using Real = Coordinate<T>;
  constexpr int kCount = kLanes<Real>;
  const TapOffsets taps(image);
  for (int i = 0; i < block.count; i += kCount) {
    RealVector<Real> weight[kTaps], value[kTaps], sum;
    for (int k = 0; k < kTaps; ++k) weight[k] = LoadElements<kCount>(block.weight[k] + i);
    GatherPairs(pixels, block.offset + i, &value[0], &value[1]);
    GatherPairs(pixels + taps.at[2], block.offset + i, &value[2], &value[3]);
    if (block.all_used) {
      sum = weight[0] * value[0];
      for (int k = 1; k < kTaps; ++k) sum += weight[k] * value[k];
    } else {
      sum = LoadElements<kCount>(block.outside + i);
      for (int k = 0; k < kTaps; ++k) sum = weight[k] != 0 ? sum + weight[k] * value[k] : sum;
    }
    if (kAdd) sum += LoadLanes(output + i, block.count - i);
    if (i + kCount <= block.count) {
      Store<kCount>(sum, output + i);
    } else {
      for (int j = 0; i + j < block.count; ++j) Store<1>(sum[j], output + i + j);
    }
  }
}

// Two to four channels: a pixel is a vector.  `readable` elements may be read
// from `pixels` on.
template <bool kAdd, typename T, int kChannels, typename Output>
void SampleFewChannels(const Block<Coordinate<T>>& block, const Extent<2>& image, const T* pixels,
                       int64_t readable, Output* output) {
  using Real = Coordinate<T>;
  const TapOffsets taps(image);
  const int64_t last = readable - taps.at[3] - kPixelLanes<kChannels>;
  for (int p = 0; p < block.count; ++p, output += kChannels) {
    if (kAdd && block.used[p] == 0) continue;
    const int64_t offset = block.offset[p];
    const T* const pixel = pixels + offset;
    Pixel<Real, kChannels> sum;
    if (block.used[p] == kAllTaps && offset <= last) {
      sum = block.weight[0][p] * LoadPixel<kChannels>(pixel);
      for (int k = 1; k < kTaps; ++k) {
        sum += block.weight[k][p] * LoadPixel<kChannels>(pixel + taps.at[k]);
      }
    } else {
      sum = Broadcast<kPixelLanes<kChannels>>(block.outside[p]);
      for (int k = 0; k < kTaps; ++k) {
        if ((block.used[p] & (1 << k)) == 0) continue;
        sum += block.weight[k][p] * LoadPixelExactly<kChannels>(pixel + taps.at[k]);
      }
    }
    if constexpr (kAdd) {
      AddPixel<kChannels, Real>(sum, output);
    } else if (p + 1 < block.count) {
      Store<kPixelLanes<kChannels>>(sum, output);  // The next point overwrites a fourth lane.
    } else {
      StorePixelExactly<kChannels>(sum, output);
    }
  }
}

// Any number of channels, in vectors.
template <bool kAdd, typename T, typename Output>
void SampleManyChannels(const Block<Coordinate<T>>& block, const Extent<2>& image, const T* pixels,
                        Output* output) {
  using Real = Coordinate<T>;
  const TapOffsets taps(image);
  for (int p = 0; p < block.count; ++p, output += image.channels) {
    const T* const pixel = pixels + block.offset[p];
    const int64_t used = block.used[p];
    if (kAdd && used == 0) continue;
    const Real weight[kTaps] = {block.weight[0][p], block.weight[1][p], block.weight[2][p],
                                block.weight[3][p]};
    if (used == kAllTaps) {
      ForChannels<Real>(image.channels, [&](auto width, int64_t c) {
        constexpr int kWidth = decltype(width)::value;
        Vector<Real, kWidth> sum = weight[0] * Load<kWidth>(pixel + c);
        for (int k = 1; k < kTaps; ++k) sum += weight[k] * Load<kWidth>(pixel + taps.at[k] + c);
        if constexpr (kAdd) sum += Load<kWidth>(output + c);
        Store<kWidth>(sum, output + c);
      });
    } else {
      ForChannels<Real>(image.channels, [&](auto width, int64_t c) {
        constexpr int kWidth = decltype(width)::value;
        auto sum = Broadcast<kWidth>(block.outside[p]);
        for (int k = 0; k < kTaps; ++k) {
          if (used & (1 << k)) sum += weight[k] * Load<kWidth>(pixel + taps.at[k] + c);
        }
        if constexpr (kAdd) sum += Load<kWidth>(output + c);
        Store<kWidth>(sum, output + c);
      });
    }
  }
}

// Writes the samples of a block, or with kAdd adds them to the output, which is then of
// the type of sums.  `readable` elements may be read from `pixels` on.
template <bool kAdd, typename T, typename Output>
TF_STN_INLINE void SampleBlock(const Block<Coordinate<T>>& block, const Extent<2>& image,
                               const T* pixels, int64_t readable, Output* output) {
  switch (image.channels) {
    case 1:
      return SampleOneChannel<kAdd, T>(block, image, pixels, output);
    case 2:
      return SampleFewChannels<kAdd, T, 2>(block, image, pixels, readable, output);
    case 3:
      return SampleFewChannels<kAdd, T, 3>(block, image, pixels, readable, output);
    case 4:
      return SampleFewChannels<kAdd, T, 4>(block, image, pixels, readable, output);
    default:
      return SampleManyChannels<kAdd, T>(block, image, pixels, output);
  }
}

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_SIMD_SAMPLE_H_

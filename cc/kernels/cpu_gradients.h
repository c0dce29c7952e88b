// Gradients of a block of points: what they add to the image, and theirs in x and y.

#ifndef TF_STN_CC_KERNELS_CPU_GRADIENTS_H_
#define TF_STN_CC_KERNELS_CPU_GRADIENTS_H_

#include <cstdint>

#include "cc/core/coordinates.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cpu_pixels.h"
#include "cc/kernels/cpu_sample.h"
#include "cc/kernels/cpu_stencils.h"
#include "cc/kernels/cpu_vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {

// What a block reads and writes, beside its stencils.
template <typename T>
struct GradientBlock {
  using Real = Coordinate<T>;

  const Extent<2>& image;
  const T* pixels;       // Of the image; only for gradients of points.
  int64_t readable;      // Elements that may be read from `pixels` on.
  const T* grad_output;  // Of the block's first point.
  Real* grad_image;      // Of the image, added to; only for gradients of data.
  Real x[kBlockPoints];  // dL/dx of each point, and dL/dy.
  Real y[kBlockPoints];
};

// dL/dx and dL/dy of points in lanes, from the inner products of their pixels with
// dL/dV.  A pixel of slope zero takes no part, so that an infinite one beside the
// point does no harm.
template <int kCount, typename Real>
TF_STN_INLINE void PointGradients(const Block<Real>& block, int first,
                                  const Vector<Real, kCount>* products, Real* x, Real* y) {
  using Reals = Vector<Real, kCount>;
  const Reals right = LoadElements<kCount>(block.right + first);
  const Reals lower = LoadElements<kCount>(block.lower + first);
  const Reals outside = LoadElements<kCount>(block.outside + first);
  const Reals nan_or_zero = outside - outside;
  const Reals below = lower * (products[3] - products[2]);
  const Reals beside = right * (products[3] - products[1]);
  const Reals dx = (1 - lower) * (products[1] - products[0]) + (lower != 0 ? below : Reals{});
  const Reals dy = (1 - right) * (products[2] - products[0]) + (right != 0 ? beside : Reals{});
  Store<kCount>(dx + nan_or_zero, x + first);
  Store<kCount>(dy + nan_or_zero, y + first);
}

// One channel: points in vectors, but for the sums in the image, which must be made
// in the order of the points.
template <typename T, bool kData, bool kPoints>
void GradientsOfOneChannel(const Block<Coordinate<T>>& block, GradientBlock<T>* gradient) {
  using Real = Coordinate<T>;
  using Reals = RealVector<Real>;
  using Indices = IndexVector<Real>;
  constexpr int kCount = kLanes<Real>;
  const TapOffsets taps(gradient->image);
  for (int i = 0; i < block.count; i += kCount) {
    const int count = block.count - i < kCount ? block.count - i : kCount;
    Reals grad_output{};
    if (count == kCount) {
      grad_output = Load<kCount>(gradient->grad_output + i);
    } else {
      for (int j = 0; j < count; ++j) grad_output[j] = Load<1>(gradient->grad_output + i + j);
    }
    if constexpr (kPoints) {
      Indices offset, inside;
      __builtin_memcpy(&offset, block.offset + i, sizeof(offset));
      Reals products[kTaps];
      if (block.all_used) {
        GatherPairs(gradient->pixels, offset, &products[0], &products[1]);
        GatherPairs(gradient->pixels + taps.at[2], offset, &products[2], &products[3]);
        for (Reals& product : products) product *= grad_output;
      } else {
        __builtin_memcpy(&inside, block.inside + i, sizeof(inside));
        for (int k = 0; k < kTaps; ++k) {
          const Indices is_inside = (inside & (1 << k)) != 0;
          const Reals value = GatherMasked(gradient->pixels + taps.at[k], offset, is_inside);
          products[k] = is_inside ? value * grad_output : Reals{};
        }
      }
      PointGradients<kCount, Real>(block, i, products, gradient->x, gradient->y);
    }
    if constexpr (kData) {
      Real parts[kTaps][kCount];
      for (int k = 0; k < kTaps; ++k) {
        Store<kCount>(LoadElements<kCount>(block.weight[k] + i) * grad_output, parts[k]);
      }
      for (int j = 0; j < count; ++j) {
        Real* const pixel = gradient->grad_image + block.offset[i + j];
        const auto used = block.used[i + j];
        if (used == kAllTaps) {
          for (int k = 0; k < kTaps; ++k) pixel[taps.at[k]] += parts[k][j];
        } else if (used != 0) {
          for (int k = 0; k < kTaps; ++k) {
            if (used & (1 << k)) pixel[taps.at[k]] += parts[k][j];
          }
        }
      }
    }
  }
}

// Two to four channels: a pixel is a vector.
template <typename T, int kChannels, bool kData, bool kPoints>
void GradientsOfFewChannels(const Block<Coordinate<T>>& block, GradientBlock<T>* gradient) {
  using Real = Coordinate<T>;
  using Four = Vector<Real, 4>;
  constexpr int kWidth = kPixelLanes<kChannels>;
  const TapOffsets taps(gradient->image);
  const int64_t last = gradient->readable - taps.at[3] - kWidth;
  const T* grad_output = gradient->grad_output;
  alignas(64) Real dots[kBlockPoints][kTaps];
  for (int p = 0; p < block.count; ++p, grad_output += kChannels) {
    const int64_t offset = block.offset[p];
    const auto used = block.used[p], inside = block.inside[p];
    if (used == kAllTaps && inside == kAllTaps && offset <= last && p + 1 < block.count) {
      const auto grad = LoadPixel<kChannels>(grad_output);
      if constexpr (kPoints) {
        Four products[kTaps];
        for (int k = 0; k < kTaps; ++k) {
          const auto pixel = LoadPixel<kChannels>(gradient->pixels + offset + taps.at[k]);
          products[k] = FoldToFour<kWidth, Real>(pixel * grad);
        }
        Store<4>(Sums<kChannels, Real>(products[0], products[1], products[2], products[3]),
                 dots[p]);
      }
      if constexpr (kData) {
        for (int k = 0; k < kTaps; ++k) {
          AddPixel<kChannels, Real>(block.weight[k][p] * grad,
                                    gradient->grad_image + offset + taps.at[k]);
        }
      }
      continue;
    }
    if ((used | inside) == 0) {
      if constexpr (kPoints) Store<4>(Four{}, dots[p]);
      continue;
    }
    const auto grad = LoadPixelExactly<kChannels>(grad_output);
    if constexpr (kPoints) {
      Four products[kTaps] = {};
      for (int k = 0; k < kTaps; ++k) {
        if ((inside & (1 << k)) == 0) continue;
        const auto pixel = LoadPixelExactly<kChannels>(gradient->pixels + offset + taps.at[k]);
        products[k] = FoldToFour<kWidth, Real>(pixel * grad);
      }
      Store<4>(Sums<kChannels, Real>(products[0], products[1], products[2], products[3]), dots[p]);
    }
    if constexpr (kData) {
      for (int k = 0; k < kTaps; ++k) {
        if ((used & (1 << k)) == 0) continue;
        AddPixel<kChannels, Real>(block.weight[k][p] * grad,
                                  gradient->grad_image + offset + taps.at[k]);
      }
    }
  }
  if constexpr (kPoints) FinishPointGradients(block, dots, gradient);
}

// Any number of channels, in vectors.
template <typename T, bool kData, bool kPoints>
void GradientsOfManyChannels(const Block<Coordinate<T>>& block, GradientBlock<T>* gradient) {
  using Real = Coordinate<T>;
  using Four = Vector<Real, 4>;
  const int64_t channels = gradient->image.channels;
  const TapOffsets taps(gradient->image);
  const T* grad_output = gradient->grad_output;
  alignas(64) Real dots[kBlockPoints][kTaps];
  for (int p = 0; p < block.count; ++p, grad_output += channels) {
    const int64_t offset = block.offset[p];
    const auto used = block.used[p], inside = block.inside[p];
    const Real weight[kTaps] = {block.weight[0][p], block.weight[1][p], block.weight[2][p],
                                block.weight[3][p]};
    // Sums of full vectors, and of what is left.
    RealVector<Real> wide[kTaps] = {};
    Four narrow[kTaps] = {};
    const auto add = [&](auto width, int64_t c, auto is_used, auto is_inside) {
      constexpr int kWidth = decltype(width)::value;
      const Vector<Real, kWidth> grad = Load<kWidth>(grad_output + c);
      if constexpr (kPoints) {
        for (int k = 0; k < kTaps; ++k) {
          if (!is_inside(k)) continue;
          const Vector<Real, kWidth> pixel =
              Load<kWidth>(gradient->pixels + offset + taps.at[k] + c);
          if constexpr (kWidth == kLanes<Real>) {
            wide[k] += pixel * grad;
          } else {
            narrow[k] += FoldToFour<kWidth, Real>(pixel * grad);
          }
        }
      }
      if constexpr (kData) {
        for (int k = 0; k < kTaps; ++k) {
          if (!is_used(k)) continue;
          Real* const to = gradient->grad_image + offset + taps.at[k] + c;
          Store<kWidth>(Load<kWidth>(to) + weight[k] * grad, to);
        }
      }
    };
    if (used == kAllTaps && inside == kAllTaps) {
      const auto always = [](int) { return true; };
      ForChannels<Real>(channels, [&](auto width, int64_t c) { add(width, c, always, always); });
    } else if ((used | inside) != 0) {
      const auto is_used = [&](int k) { return (used & (1 << k)) != 0; };
      const auto is_inside = [&](int k) { return (inside & (1 << k)) != 0; };
      ForChannels<Real>(channels,
                        [&](auto width, int64_t c) { add(width, c, is_used, is_inside); });
    }
    if constexpr (kPoints) {
      for (int k = 0; k < kTaps; ++k) narrow[k] += FoldToFour<kLanes<Real>, Real>(wide[k]);
      Store<4>(Sums<4, Real>(narrow[0], narrow[1], narrow[2], narrow[3]), dots[p]);
    }
  }
  if constexpr (kPoints) FinishPointGradients(block, dots, gradient);
}

// From the inner products of each point to its gradients, four points at a time.
template <typename T>
TF_STN_INLINE void FinishPointGradients(const Block<Coordinate<T>>& block,
                                        Coordinate<T> (*dots)[kTaps], GradientBlock<T>* gradient) {
  using Real = Coordinate<T>;
  using Four = Vector<Real, 4>;
  for (int p = block.count; p % 4 != 0; ++p) Store<4>(Four{}, dots[p]);
  for (int p = 0; p < block.count; p += 4) {
    const Four a = Load<4>(dots[p]), b = Load<4>(dots[p + 1]);
    const Four c = Load<4>(dots[p + 2]), d = Load<4>(dots[p + 3]);
    const Four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const Four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const Four ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Four cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    const Four products[kTaps] = {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
                                  __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                                  __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                                  __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
    PointGradients<4, Real>(block, p, products, gradient->x, gradient->y);
  }
}

// Adds the block's gradient of data to grad_image, and writes that of its points.
template <typename T, bool kData, bool kPoints>
TF_STN_INLINE void AddGradients(const Block<Coordinate<T>>& block, GradientBlock<T>* gradient) {
  switch (gradient->image.channels) {
    case 1:
      return GradientsOfOneChannel<T, kData, kPoints>(block, gradient);
    case 2:
      return GradientsOfFewChannels<T, 2, kData, kPoints>(block, gradient);
    case 3:
      return GradientsOfFewChannels<T, 3, kData, kPoints>(block, gradient);
    case 4:
      return GradientsOfFewChannels<T, 4, kData, kPoints>(block, gradient);
    default:
      return GradientsOfManyChannels<T, kData, kPoints>(block, gradient);
  }
}

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_GRADIENTS_H_

// Gradients of a block of points: what they add to the image, and theirs in x and y.

#ifndef TF_STN_CC_KERNELS_CPU_SIMD_GRADIENTS_H_
#define TF_STN_CC_KERNELS_CPU_SIMD_GRADIENTS_H_

#include <cstdint>

#include "cc/core/pixel_types.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cpu/simd/bilinear_stencils.h"
#include "cc/kernels/cpu/simd/pixels.h"
#include "cc/kernels/cpu/simd/points.h"
#include "cc/kernels/cpu/simd/sample.h"
#include "cc/kernels/cpu/simd/vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {

// Where dL/dV of a block's points is.  Loops copy this, since a compiler would read it again after
// each vector that they store.
template <typename T>
struct GradOutputs {
  const T* first;           // Of the block's first point; with `numbers`, of the image's.
  const uint32_t* numbers;  // Those of the points, where they do not follow each other; or null.

  TF_STN_INLINE const T* Of(int p, int64_t channels) const {
    return first + (numbers == nullptr ? p : int64_t{numbers[p]}) * channels;
  }
};

// For points of these numbers; `grad_output` is that of the image.
template <typename T>
TF_STN_INLINE GradOutputs<T> GradOutputsOf(const T* grad_output, int64_t channels,
                                           const uint32_t* numbers, int count) {
  if (IsRun(numbers, count)) return {grad_output + numbers[0] * channels, nullptr};
  return {grad_output, numbers};
}

// What a block reads and writes, beside its stencils.
template <typename T>
struct GradientBlock {
  using Real = Coordinate<T>;

  const Extent<2>& image;
  const T* pixels;              // Of the image; only for gradients of points.
  int64_t readable;             // Elements that may be read from `pixels` on.
  GradOutputs<T> grad_outputs;  // With numbers only for gradients of data, of many channels.
  Real* grad_image;             // Of the image, added to; only for gradients of data.
  Real x[kBlockPoints];         // dL/dx of each point, and dL/dy.
  Real y[kBlockPoints];
};

// The points of a block that there is work for, in their order.  Without a branch for each: half
// of them may have no pixel in the band.
class WorkList {
 public:
  // Of `count` points, those whose mark is not 0; all of them if it `is_whole`.
  template <typename Index>
  TF_STN_INLINE WorkList(bool is_whole, int count, const Index* marks)
      : is_whole_(is_whole), count_(count) {
    if (is_whole_) return;
    count_ = 0;
    for (int p = 0; p < count; ++p) {
      points_[count_] = p;
      count_ += marks[p] != 0;
    }
  }

  TF_STN_INLINE int count() const { return count_; }
  TF_STN_INLINE int operator[](int i) const { return is_whole_ ? i : points_[i]; }

 private:
  bool is_whole_;
  int count_;
  int points_[kBlockPoints];
};

// dL/dx and dL/dy of points in lanes, from the inner products of their pixels with
// dL/dV.  A pixel of slope zero takes no part, so that an infinite one beside the
// point does no harm.
template <int kCount, typename Real>
TF_STN_INLINE void PointGradients(const Block<Real>& block, int first,
                                  const Vector<Real, kCount>* products, Real* x, Real* y) {
  using Reals = Vector<Real, kCount>;
  const auto part = [first](const Real* slopes, const Reals& difference) {
    const Reals slope = LoadElements<kCount>(slopes + first);
    return slope != 0 ? slope * difference : Reals{};
  };
  const Reals outside = LoadElements<kCount>(block.outside + first);
  const Reals nan_or_zero = outside - outside;
  Store<kCount>(part(block.slope_x[0], products[1] - products[0]) +
                    part(block.slope_x[1], products[3] - products[2]) + nan_or_zero,
                x + first);
  Store<kCount>(part(block.slope_y[0], products[2] - products[0]) +
                    part(block.slope_y[1], products[3] - products[1]) + nan_or_zero,
                y + first);
}

// Calls finish(std::integral_constant<int, lanes>, first point, products) for all points of
// a block, with the inner products of their pixels and dL/dV.
//
// One channel: points in vectors.
template <typename T, typename Finish>
void ProductsOfOneChannel(const Block<Coordinate<T>>& block, GradientBlock<T>* gradient,
                          const Finish& finish) {
  using Real = Coordinate<T>;
  using Reals = RealVector<Real>;
  constexpr int kCount = kLanes<Real>;
  const TapOffsets taps(gradient->image);
  for (int i = 0; i < block.count; i += kCount) {
    const Reals grad_output = LoadLanes(gradient->grad_outputs.first + i, block.count - i);
    Reals products[kTaps];
    GatherPairs(gradient->pixels, block.offset + i, &products[0], &products[1]);
    GatherPairs(gradient->pixels + taps.at[2], block.offset + i, &products[2], &products[3]);
    const auto inside = LoadElements<kCount>(block.inside + i);
    for (int k = 0; k < kTaps; ++k) {
      products[k] *= grad_output;
      if (!block.all_used) products[k] = (inside & (1 << k)) != 0 ? products[k] : Reals{};
    }
    finish(std::integral_constant<int, kCount>(), i, products);
  }
}

// In the order of the points, as all sums in the image.
template <typename T>
void AddOneChannel(const Block<Coordinate<T>>& block, GradientBlock<T>* gradient) {
  using Real = Coordinate<T>;
  constexpr int kCount = kLanes<Real>;
  const TapOffsets taps(gradient->image);
  const T* const first = gradient->grad_outputs.first;
  Real* const grad_image = gradient->grad_image;
  for (int i = 0; i < block.count; i += kCount) {
    const int count = block.count - i < kCount ? block.count - i : kCount;
    const RealVector<Real> grad_output = LoadLanes(first + i, count);
    Real parts[kTaps][kCount];
    for (int k = 0; k < kTaps; ++k) {
      Store<kCount>(LoadElements<kCount>(block.weight[k] + i) * grad_output, parts[k]);
    }
    for (int j = 0; j < count; ++j) {
      Real* const pixel = grad_image + block.offset[i + j];
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

// Hands on the inner products of each point, four points at a time.
template <typename Real, typename Finish>
TF_STN_INLINE void FinishProducts(const Block<Real>& block, Real (*dots)[kTaps],
                                  const Finish& finish) {
  using Four = Vector<Real, 4>;
  for (int p = block.count; p % 4 != 0; ++p) Store<4>(Four{}, dots[p]);
  for (int p = 0; p < block.count; p += 4) {
    const Four a = Load<4>(dots[p]), b = Load<4>(dots[p + 1]);
    const Four c = Load<4>(dots[p + 2]), d = Load<4>(dots[p + 3]);
    const Four ab_low = Shuffle<0, 4, 1, 5>(a, b);
    const Four cd_low = Shuffle<0, 4, 1, 5>(c, d);
    const Four ab_high = Shuffle<2, 6, 3, 7>(a, b);
    const Four cd_high = Shuffle<2, 6, 3, 7>(c, d);
    const Four products[kTaps] = {
        Shuffle<0, 1, 4, 5>(ab_low, cd_low), Shuffle<2, 3, 6, 7>(ab_low, cd_low),
        Shuffle<0, 1, 4, 5>(ab_high, cd_high), Shuffle<2, 3, 6, 7>(ab_high, cd_high)};
    finish(std::integral_constant<int, 4>(), p, products);
  }
}

// Two to four channels: a pixel is a vector.
template <typename T, int kChannels, typename Finish>
void ProductsOfFewChannels(const Block<Coordinate<T>>& block, GradientBlock<T>* gradient,
                           const Finish& finish) {
  using Real = Coordinate<T>;
  using Four = Vector<Real, 4>;
  constexpr int kWidth = kPixelLanes<kChannels>;
  const TapOffsets taps(gradient->image);
  const T* const first = gradient->grad_outputs.first;
  const T* const pixels = gradient->pixels;
  const int64_t last = gradient->readable - taps.at[3] - kWidth;
  alignas(64) Real dots[kBlockPoints][kTaps];
  const WorkList work(block.all_used, block.count, block.inside);
  if (work.count() < block.count) __builtin_memset(dots, 0, sizeof(dots));
  for (int i = 0; i < work.count(); ++i) {
    const int p = work[i];
    const T* const grad_output = first + p * kChannels;
    const int64_t offset = block.offset[p];
    const auto inside = block.inside[p];
    const T* const pixel = pixels + offset;
    Four products[kTaps] = {};
    if (inside == kAllTaps && offset <= last && p + 1 < block.count) {
      const auto grad = LoadPixel<kChannels>(grad_output);
      for (int k = 0; k < kTaps; ++k) {
        products[k] = FoldToFour<kWidth, Real>(LoadPixel<kChannels>(pixel + taps.at[k]) * grad);
      }
    } else {
      const auto grad = LoadPixelExactly<kChannels>(grad_output);
      for (int k = 0; k < kTaps; ++k) {
        if ((inside & (1 << k)) == 0) continue;
        products[k] =
            FoldToFour<kWidth, Real>(LoadPixelExactly<kChannels>(pixel + taps.at[k]) * grad);
      }
    }
    Store<4>(Sums<kChannels, Real>(products[0], products[1], products[2], products[3]), dots[p]);
  }
  FinishProducts(block, dots, finish);
}

template <typename T, int kChannels>
void AddFewChannels(const Block<Coordinate<T>>& block, GradientBlock<T>* gradient) {
  using Real = Coordinate<T>;
  const TapOffsets taps(gradient->image);
  const T* const first = gradient->grad_outputs.first;
  Real* const grad_image = gradient->grad_image;
  const WorkList work(block.all_used, block.count, block.used);
  for (int i = 0; i < work.count(); ++i) {
    const int p = work[i];
    const auto used = block.used[p];
    const T* const grad_output = first + p * kChannels;
    const auto grad = LoadPixelExactly<kChannels>(grad_output);
    Real* const pixel = grad_image + block.offset[p];
    for (int k = 0; k < kTaps; ++k) {
      if (used != kAllTaps && (used & (1 << k)) == 0) continue;
      AddPixel<kChannels, Real>(block.weight[k][p] * grad, pixel + taps.at[k]);
    }
  }
}

// Any number of channels, in vectors.
template <typename T, typename Finish>
void ProductsOfManyChannels(const Block<Coordinate<T>>& block, GradientBlock<T>* gradient,
                            const Finish& finish) {
  using Real = Coordinate<T>;
  using Four = Vector<Real, 4>;
  const int64_t channels = gradient->image.channels;
  const TapOffsets taps(gradient->image);
  alignas(64) Real dots[kBlockPoints][kTaps];
  const WorkList work(block.all_used, block.count, block.inside);
  if (work.count() < block.count) __builtin_memset(dots, 0, sizeof(dots));
  for (int i = 0; i < work.count(); ++i) {
    const int p = work[i];
    const T* const grad_output = gradient->grad_outputs.first + p * channels;
    const T* const pixel = gradient->pixels + block.offset[p];
    const auto inside = block.inside[p];
    // Sums of full vectors, and of what is left.
    RealVector<Real> wide[kTaps] = {};
    Four narrow[kTaps] = {};
    const auto add = [&](auto width, int64_t c, auto is_inside) {
      constexpr int kWidth = decltype(width)::value;
      const Vector<Real, kWidth> grad = Load<kWidth>(grad_output + c);
      for (int k = 0; k < kTaps; ++k) {
        if (!is_inside(k)) continue;
        const Vector<Real, kWidth> product = Load<kWidth>(pixel + taps.at[k] + c) * grad;
        if constexpr (kWidth == kLanes<Real>) {
          wide[k] += product;
        } else {
          narrow[k] += FoldToFour<kWidth, Real>(product);
        }
      }
    };
    if (inside == kAllTaps) {
      const auto always = [](int) { return true; };
      ForChannels<Real>(channels, [&](auto width, int64_t c) { add(width, c, always); });
    } else {
      const auto is_inside = [&](int k) { return (inside & (1 << k)) != 0; };
      ForChannels<Real>(channels, [&](auto width, int64_t c) { add(width, c, is_inside); });
    }
    for (int k = 0; k < kTaps; ++k) narrow[k] += FoldToFour<kLanes<Real>, Real>(wide[k]);
    Store<4>(Sums<4, Real>(narrow[0], narrow[1], narrow[2], narrow[3]), dots[p]);
  }
  FinishProducts(block, dots, finish);
}

template <typename T>
void AddManyChannels(const Block<Coordinate<T>>& block, GradientBlock<T>* gradient) {
  using Real = Coordinate<T>;
  const int64_t channels = gradient->image.channels;
  const TapOffsets taps(gradient->image);
  const GradOutputs<T> grad_outputs = gradient->grad_outputs;
  Real* const grad_image = gradient->grad_image;
  const WorkList work(block.all_used, block.count, block.used);
  for (int i = 0; i < work.count(); ++i) {
    const int p = work[i];
    const auto used = block.used[p];
    const T* const grad_output = grad_outputs.Of(p, channels);
    Real* const pixel = grad_image + block.offset[p];
    for (int k = 0; k < kTaps; ++k) {
      if ((used & (1 << k)) == 0) continue;
      const Real weight = block.weight[k][p];
      Real* const to = pixel + taps.at[k];
      ForChannels<Real>(channels, [&](auto width, int64_t c) {
        constexpr int kWidth = decltype(width)::value;
        Store<kWidth>(Load<kWidth>(to + c) + weight * Load<kWidth>(grad_output + c), to + c);
      });
    }
  }
}

// Calls function(std::integral_constant<int, channels>) for a small number of channels,
// with kAnyChannels for others.
template <typename Function>
TF_STN_INLINE void VisitChannels(int64_t channels, const Function& function) {
  switch (channels) {
    case 1:
      return function(std::integral_constant<int, 1>());
    case 2:
      return function(std::integral_constant<int, 2>());
    case 3:
      return function(std::integral_constant<int, 3>());
    case 4:
      return function(std::integral_constant<int, 4>());
    default:
      return function(std::integral_constant<int, kAnyChannels>());
  }
}

// Finds the inner products of a block, as ProductsOfOneChannel().
template <typename T, typename Finish>
TF_STN_INLINE void FindProducts(const Block<Coordinate<T>>& block, GradientBlock<T>* gradient,
                                const Finish& finish) {
  VisitChannels(gradient->image.channels, [&](auto channels) {
    constexpr int kChannels = decltype(channels)::value;
    if constexpr (kChannels == 1) {
      ProductsOfOneChannel<T>(block, gradient, finish);
    } else if constexpr (kChannels == kAnyChannels) {
      ProductsOfManyChannels<T>(block, gradient, finish);
    } else {
      ProductsOfFewChannels<T, kChannels>(block, gradient, finish);
    }
  });
}

// Writes the gradients of a block's points to gradient->x and y.
template <typename T>
TF_STN_INLINE void FindPointGradients(const Block<Coordinate<T>>& block,
                                      GradientBlock<T>* gradient) {
  FindProducts(block, gradient, [&](auto count, int first, const auto* products) {
    PointGradients<decltype(count)::value, Coordinate<T>>(block, first, products, gradient->x,
                                                          gradient->y);
  });
}

// Adds the block's gradient of data to gradient->grad_image.
template <typename T>
TF_STN_INLINE void AddDataGradient(const Block<Coordinate<T>>& block, GradientBlock<T>* gradient) {
  VisitChannels(gradient->image.channels, [&](auto channels) {
    constexpr int kChannels = decltype(channels)::value;
    if constexpr (kChannels == 1) {
      AddOneChannel<T>(block, gradient);
    } else if constexpr (kChannels == kAnyChannels) {
      AddManyChannels<T>(block, gradient);
    } else {
      AddFewChannels<T, kChannels>(block, gradient);
    }
  });
}

// Writes the gradients of a block's points where the warp is stored.
template <typename Real>
TF_STN_INLINE void WriteWarpGradient(int count, Real* const (&grads)[2], Real* to) {
  constexpr int kCount = kLanes<Real>;
  int p = 0;
  for (; p + kCount <= count; p += kCount) {
    RealVector<Real> low, high;
    Interleave<Real>(LoadElements<kCount>(grads[0] + p), LoadElements<kCount>(grads[1] + p), &low,
                     &high);
    Store<kCount>(low, to + 2 * p);
    Store<kCount>(high, to + 2 * p + kCount);
  }
  for (; p < count; ++p) {
    to[2 * p] = grads[0][p];
    to[2 * p + 1] = grads[1][p];
  }
}

template <int kRank, typename Real>
TF_STN_INLINE void WriteWarpGradient(int count, Real* const (&grads)[kRank], Real* to) {
  for (int p = 0; p < count; ++p) {
    for (int d = 0; d < kRank; ++d) to[p * kRank + d] = grads[d][p];
  }
}

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_SIMD_GRADIENTS_H_

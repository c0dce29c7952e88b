// The second order of a block of points in bilinear images: the gradients of
//
//   <grad_grad_data, dL/dU> + <grad_grad_warp, dL/dwarp>,
//
// as SecondOrderCall in cc/core/call.h says.  Every pixel is read once.

#ifndef TF_STN_CC_KERNELS_CPU_SIMD_SECOND_ORDER_H_
#define TF_STN_CC_KERNELS_CPU_SIMD_SECOND_ORDER_H_

#include <cstdint>

#include "cc/core/pixel_types.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cpu/simd/bilinear_stencils.h"
#include "cc/kernels/cpu/simd/gradients.h"
#include "cc/kernels/cpu/simd/pixels.h"
#include "cc/kernels/cpu/simd/sample.h"
#include "cc/kernels/cpu/simd/vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {

// What a block reads and writes, beside its stencils.
template <typename T>
struct SecondOrderBlock {
  using Real = Coordinate<T>;

  const Extent<2>& image;
  const T* pixels;          // Of the image.
  const T* grad_grad_data;  // Of the image; null for zero.
  int64_t readable;         // Elements that may be read from either of these on.
  const T* grad_output;     // Of the block's first point.
  T* grad_grad_output;      // The same; null if nobody needs it.
  Real x[kBlockPoints];     // The gradient in each point.
  Real y[kBlockPoints];
  // Inner products of dL/dV with the pixels, and with those of grad_grad_data.  Beyond the
  // last point they are anything, and nobody reads what comes of them.
  alignas(64) Real pixel_products[kTaps][kBlockPoints];
  alignas(64) Real direction_products[kTaps][kBlockPoints];
};

// Makes of `directed`, whose coordinates are directions, the stencils differentiated in the
// direction of each point: their weights are d/ds, and a sample or a scatter takes them as any
// others.  NaN weights are not used; the NaN is carried by `outside`.  `used` and `inside` are the
// taps that have weight.
template <typename Real>
TF_STN_INLINE void FindDirected(const Block<Real>& block, Block<Real>* directed) {
  constexpr int kCount = kLanes<Real>;
  using Indices = IndexVector<Real>;
  using Reals = RealVector<Real>;
  Indices all_used = Indices{} - 1;
  for (int i = 0; i < block.count; i += kCount) {
    const auto load = [i](const auto* from) { return LoadElements<kCount>(from + i); };
    const auto store = [i](const Indices& from, IndexOf<Real>* to) {
      __builtin_memcpy(to + i, &from, sizeof(from));
    };
    const Reals along_x[] = {load(directed->x) * load(block.slope_x[0]),
                             load(directed->x) * load(block.slope_x[1])};
    const Reals along_y[] = {load(directed->y) * load(block.slope_y[0]),
                             load(directed->y) * load(block.slope_y[1])};
    const Indices inside = load(block.inside);
    Indices used{}, is_nan{};
    for (int k = 0; k < kTaps; ++k) {
      const Reals in_x = along_x[k / 2], in_y = along_y[k % 2];
      const Reals weight = (k % 2 == 0 ? -in_x : in_x) + (k < 2 ? -in_y : in_y);
      // A zero there, which a direction that is not finite makes a NaN.
      const Reals masked = (inside & (1 << k)) != 0 ? weight : Reals{} * weight;
      Store<kCount>(masked, directed->weight[k] + i);
      used |= ((masked < 0) | (masked > 0)) & (1 << k);
      is_nan |= masked != masked;
    }
    const Reals nan = load(directed->x) + load(directed->y);
    const Reals none = Broadcast<kCount>(-Real(0));
    Store<kCount>(is_nan != 0 ? nan - nan : none, directed->outside + i);
    store(load(block.offset), directed->offset);
    store(load(block.row), directed->row);
    store(used, directed->inside);
    store(used, directed->used);
    all_used &= used == kAllTaps;
  }
  directed->all_used = !Any(~all_used);
}

// One of the two images that a sample of second order is of, and the taps there that have
// weight.
template <typename T>
struct WeightedImage {
  using Real = Coordinate<T>;

  const T* pixels;
  const Real (*weight)[kBlockPoints];
  const IndexOf<Real>* used;
  Real (*products)[kBlockPoints];  // Where its inner products with dL/dV go.
};

// Writes the gradients in a block's points, from the inner products.
template <bool kBoth, typename T>
TF_STN_INLINE void FinishPoints(const Block<Coordinate<T>>& block,
                                const Block<Coordinate<T>>& directed, SecondOrderBlock<T>* second) {
  using Real = Coordinate<T>;
  using Reals = RealVector<Real>;
  constexpr int kCount = kLanes<Real>;
  for (int i = 0; i < block.count; i += kCount) {
    const auto load = [i](const Real* from) { return LoadElements<kCount>(from + i); };
    Reals products[kTaps] = {};
    for (int k = 0; k < kTaps && kBoth; ++k) products[k] = load(second->direction_products[k]);
    PointGradients<kCount, Real>(block, i, products, second->x, second->y);
    const Reals twist =
        load(block.twist) * (load(second->pixel_products[0]) - load(second->pixel_products[1]) -
                             (load(second->pixel_products[2]) - load(second->pixel_products[3])));
    const auto part = [&](const Reals& direction) {
      return direction != 0 ? direction * twist : Reals{};
    };
    const Reals in_x = load(directed.x), in_y = load(directed.y);
    // Along one axis there is no curvature: a zero, but for what is not finite.
    Store<kCount>(load(second->x) + part(in_y) + (in_x - in_x), second->x + i);
    Store<kCount>(load(second->y) + part(in_x) + (in_y - in_y), second->y + i);
  }
}

// One channel: points in vectors.
template <int kImages, typename T>
void SecondOrderOfOneChannel(const Block<Coordinate<T>>& block,
                             const Block<Coordinate<T>>& directed, const WeightedImage<T>* images,
                             const SecondOrderBlock<T>& second) {
  using Real = Coordinate<T>;
  using Reals = RealVector<Real>;
  constexpr int kCount = kLanes<Real>;
  const TapOffsets taps(second.image);
  for (int i = 0; i < block.count; i += kCount) {
    const auto load = [i](const auto* from) { return LoadElements<kCount>(from + i); };
    const int count = block.count - i < kCount ? block.count - i : kCount;
    const Reals grad_output = LoadLanes(second.grad_output + i, count);
    const auto inside = load(block.inside);
    Reals sum = load(block.outside) + load(directed.outside);
    for (int t = 0; t < kImages; ++t) {
      const WeightedImage<T>& image = images[t];
      Reals value[kTaps];
      GatherPairs(image.pixels, block.offset + i, &value[0], &value[1]);
      GatherPairs(image.pixels + taps.at[2], block.offset + i, &value[2], &value[3]);
      const auto used = load(image.used);
      for (int k = 0; k < kTaps; ++k) {
        const Reals product = value[k] * grad_output;
        Store<kCount>((inside & (1 << k)) != 0 ? product : Reals{}, image.products[k] + i);
        sum = (used & (1 << k)) != 0 ? sum + load(image.weight[k]) * value[k] : sum;
      }
    }
    if (second.grad_grad_output == nullptr) continue;
    T* const output = second.grad_grad_output + i;
    if (count == kCount) {
      Store<kCount>(sum, output);
    } else {
      for (int j = 0; j < count; ++j) Store<1>(sum[j], output + j);
    }
  }
}

// Inner products of a block's points with the images, point by point, until they are handed
// on.
template <int kImages, typename Real>
struct Dots {
  alignas(64) Real of[kImages][kBlockPoints][kTaps];

  template <typename T>
  TF_STN_INLINE void Finish(const Block<Real>& block, const WeightedImage<T>* images) {
    for (int t = 0; t < kImages; ++t) {
      FinishProducts(block, of[t], [&](auto count, int first, const auto* products) {
        for (int k = 0; k < kTaps; ++k) {
          Store<decltype(count)::value>(products[k], images[t].products[k] + first);
        }
      });
    }
  }
};

// Whether a point has a weight at every tap of every image.
template <int kImages, typename T>
TF_STN_INLINE bool IsWhole(const WeightedImage<T>* images, int p) {
  bool is_whole = true;
  for (int t = 0; t < kImages; ++t) is_whole = is_whole && images[t].used[p] == kAllTaps;
  return is_whole;
}

// Two to four channels: a pixel is a vector.
template <int kImages, int kChannels, typename T>
void SecondOrderOfFewChannels(const Block<Coordinate<T>>& block,
                              const Block<Coordinate<T>>& directed, const WeightedImage<T>* images,
                              const SecondOrderBlock<T>& second) {
  using Real = Coordinate<T>;
  using Four = Vector<Real, 4>;
  constexpr int kWidth = kPixelLanes<kChannels>;
  const TapOffsets taps(second.image);
  const int64_t last = second.readable - taps.at[3] - kWidth;
  Dots<kImages, Real> dots;
  for (int p = 0; p < block.count; ++p) {
    const int64_t offset = block.offset[p];
    const T* const grad_output = second.grad_output + p * kChannels;
    const bool has_next = p + 1 < block.count;
    const auto inside = block.inside[p];
    Pixel<Real, kChannels> sum = Broadcast<kWidth>(block.outside[p] + directed.outside[p]);
    const bool is_whole = IsWhole<kImages>(images, p) && offset <= last && has_next;
    for (int t = 0; t < kImages; ++t) {
      const WeightedImage<T>& image = images[t];
      const T* const pixel = image.pixels + offset;
      Four products[kTaps] = {};
      if (is_whole) {
        const auto grad = LoadPixel<kChannels>(grad_output);
        for (int k = 0; k < kTaps; ++k) {
          const auto value = LoadPixel<kChannels>(pixel + taps.at[k]);
          products[k] = FoldToFour<kWidth, Real>(value * grad);
          sum += image.weight[k][p] * value;
        }
      } else {
        const auto grad = LoadPixelExactly<kChannels>(grad_output);
        for (int k = 0; k < kTaps; ++k) {
          if ((inside & (1 << k)) == 0) continue;
          const auto value = LoadPixelExactly<kChannels>(pixel + taps.at[k]);
          products[k] = FoldToFour<kWidth, Real>(value * grad);
          if (image.used[p] & (1 << k)) sum += image.weight[k][p] * value;
        }
      }
      Store<4>(Sums<kChannels, Real>(products[0], products[1], products[2], products[3]),
               dots.of[t][p]);
    }
    if (second.grad_grad_output == nullptr) continue;
    T* const output = second.grad_grad_output + p * kChannels;
    if (has_next) {
      Store<kWidth>(sum, output);  // The next point overwrites a fourth lane.
    } else {
      StorePixelExactly<kChannels>(sum, output);
    }
  }
  dots.Finish(block, images);
}

// Any number of channels, in vectors.
template <int kImages, typename T>
void SecondOrderOfManyChannels(const Block<Coordinate<T>>& block,
                               const Block<Coordinate<T>>& directed, const WeightedImage<T>* images,
                               const SecondOrderBlock<T>& second) {
  using Real = Coordinate<T>;
  using Four = Vector<Real, 4>;
  const int64_t channels = second.image.channels;
  const TapOffsets taps(second.image);
  Dots<kImages, Real> dots;
  for (int p = 0; p < block.count; ++p) {
    const T* const grad_output = second.grad_output + p * channels;
    T* const output =
        second.grad_grad_output == nullptr ? nullptr : second.grad_grad_output + p * channels;
    const auto inside = block.inside[p];
    const Real outside = block.outside[p] + directed.outside[p];
    const T* pixel[kImages];
    Real weight[kImages][kTaps];
    for (int t = 0; t < kImages; ++t) {
      pixel[t] = images[t].pixels + block.offset[p];
      for (int k = 0; k < kTaps; ++k) weight[t][k] = images[t].weight[k][p];
    }
    // Sums of full vectors, and of what is left.
    RealVector<Real> wide[kImages][kTaps] = {};
    Four narrow[kImages][kTaps] = {};
    const auto add = [&](auto width, int64_t c, auto is_inside, auto is_used) {
      constexpr int kWidth = decltype(width)::value;
      const Vector<Real, kWidth> grad = Load<kWidth>(grad_output + c);
      Vector<Real, kWidth> sum = Broadcast<kWidth>(outside);
      for (int t = 0; t < kImages; ++t) {
        for (int k = 0; k < kTaps; ++k) {
          if (!is_inside(k)) continue;
          const Vector<Real, kWidth> value = Load<kWidth>(pixel[t] + taps.at[k] + c);
          if constexpr (kWidth == kLanes<Real>) {
            wide[t][k] += value * grad;
          } else {
            narrow[t][k] += FoldToFour<kWidth, Real>(value * grad);
          }
          if (is_used(t, k)) sum += weight[t][k] * value;
        }
      }
      if (output != nullptr) Store<kWidth>(sum, output + c);
    };
    if (IsWhole<kImages>(images, p)) {
      const auto always = [](auto...) { return true; };
      ForChannels<Real>(channels, [&](auto width, int64_t c) { add(width, c, always, always); });
    } else {
      const auto is_inside = [&](int k) { return (inside & (1 << k)) != 0; };
      const auto is_used = [&](int t, int k) { return (images[t].used[p] & (1 << k)) != 0; };
      ForChannels<Real>(channels,
                        [&](auto width, int64_t c) { add(width, c, is_inside, is_used); });
    }
    for (int t = 0; t < kImages; ++t) {
      Four* const sums = narrow[t];
      for (int k = 0; k < kTaps; ++k) sums[k] += FoldToFour<kLanes<Real>, Real>(wide[t][k]);
      Store<4>(Sums<4, Real>(sums[0], sums[1], sums[2], sums[3]), dots.of[t][p]);
    }
  }
  dots.Finish(block, images);
}

// Writes grad_grad_output of the points that the block owns, and the gradients in them to
// second->x and y; with kBoth there is a grad_grad_data.
template <bool kBoth, typename T>
TF_STN_INLINE void FindSecondOrder(const Block<Coordinate<T>>& block,
                                   const Block<Coordinate<T>>& directed,
                                   SecondOrderBlock<T>* second) {
  constexpr int kImages = kBoth ? 2 : 1;
  const WeightedImage<T> images[] = {
      {second->pixels, directed.weight, directed.inside, second->pixel_products},
      {second->grad_grad_data, block.weight, block.used, second->direction_products}};
  VisitChannels(second->image.channels, [&](auto channels) {
    constexpr int kChannels = decltype(channels)::value;
    if constexpr (kChannels == 1) {
      SecondOrderOfOneChannel<kImages>(block, directed, images, *second);
    } else if constexpr (kChannels == kAnyChannels) {
      SecondOrderOfManyChannels<kImages>(block, directed, images, *second);
    } else {
      SecondOrderOfFewChannels<kImages, kChannels>(block, directed, images, *second);
    }
  });
  FinishPoints<kBoth, T>(block, directed, second);
}

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_SIMD_SECOND_ORDER_H_

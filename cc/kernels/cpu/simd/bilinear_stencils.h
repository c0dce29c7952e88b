// Bilinear stencils, a block of points at a time: coordinates become the offsets and weights that
// the loops over pixels read back, point by point or in vectors.
//
// cc/core is the reference: tests hold every result against it.

#ifndef TF_STN_CC_KERNELS_CPU_SIMD_BILINEAR_STENCILS_H_
#define TF_STN_CC_KERNELS_CPU_SIMD_BILINEAR_STENCILS_H_

#include <cstdint>

#include "cc/core/stencil.h"
#include "cc/kernels/cpu/simd/points.h"
#include "cc/kernels/cpu/simd/vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {

inline constexpr int kTaps = 4;      // In the order (x0, y0), (x1, y0), (x0, y1), (x1, y1).
inline constexpr int kAllTaps = 15;  // As bits.

// Up to kBlockPoints points of one image.  Arrays are filled to a multiple of the
// vector's lanes, by repeating the last point.
//
// The pixels of a stencil are always 2x2 neighbours in the image, so that all of them can be read
// without a check.  Where the stencil sticks out of the image, they are the nearest ones that do
// not: the pixel that both have in common keeps its weight, the others have none.  In an image of
// one row they are 2x1, and the lower ones the same as the upper ones, without weight.
template <typename Real>
struct alignas(64) Block {
  using Index = IndexOf<Real>;

  Real x[kBlockRoom<Real>], y[kBlockRoom<Real>];  // Coordinates in pixels.
  Real weight[kTaps][kBlockPoints];
  // dL/dx is slope_x[0] (D1 - D0) + slope_x[1] (D3 - D2), and dL/dy is
  // slope_y[0] (D2 - D0) + slope_y[1] (D3 - D1), where Dk is the inner product of
  // tap k with dL/dV, and 0 for a pixel that does not belong to the stencil.
  Real slope_x[2][kBlockPoints], slope_y[2][kBlockPoints];
  // d^2L/dxdy is twist (D0 - D1 - D2 + D3).
  Real twist[kBlockPoints];
  // What lies outside the image adds to the sample: -0, which changes no sum, if
  // nothing outside has weight; 0 if something has; NaN if a coordinate is NaN.
  Real outside[kBlockPoints];
  Index offset[kBlockPoints];  // Of the first tap.
  Index inside[kBlockPoints];  // Bits: taps that belong to the stencil.
  Index used[kBlockPoints];    // Bits: taps that have weight.
  Index row[kBlockPoints];     // floor(y), pulled in to just outside the image.
  int count;
  bool all_used;  // Every tap of every point is used.
  // Two blocks are used in turn: without this, their arrays would be 4 KiB apart, and processors
  // take a load for one that depends on a store at the same place of another page.
  char padding[1024];
};

// Splits coordinates into floor and fraction.  The floor is limited to -2 and to little more than
// size, which is as good as far outside; that of a NaN is within these limits.
template <typename Real>
TF_STN_INLINE void Split(const RealVector<Real>& x, IndexOf<Real> size, IndexVector<Real>* floor,
                         RealVector<Real>* fraction) {
  using Reals = RealVector<Real>;
  // A large size is rounded as a Real, though never to less than itself.
  const Reals low = Reals{} - 2, high = Reals{} + static_cast<Real>(size + 1 + (size >> 20));
  Reals bounded = x > low ? x : low;
  bounded = bounded < high ? bounded : high;
  const auto truncated = __builtin_convertvector(bounded, IndexVector<Real>);
  const auto back = __builtin_convertvector(truncated, Reals);
  *floor = truncated + (bounded < back);  // True is -1.
  *fraction = bounded - __builtin_convertvector(*floor, Reals);
}

// One axis of stencils that may stick out of the image.
template <typename Real>
struct Axis {
  IndexVector<Real> first;      // The first of the two pixels that are read.
  IndexVector<Real> inside[2];  // Whether each of them belongs to the stencil.
  RealVector<Real> weight[2];   // 0 for one that does not.
  RealVector<Real> sign;        // Of the slope: -1 where one of them took the other's place.
  IndexVector<Real> contained;  // Whether nothing outside the image has weight.

  // `weights` are those of pixels floor and floor + 1.
  TF_STN_INLINE Axis(const IndexVector<Real>& floor, const RealVector<Real>* weights,
                     IndexOf<Real> size) {
    using Reals = RealVector<Real>;
    using Indices = IndexVector<Real>;
    const Indices begin{}, end = begin + (size > 1 ? size - 2 : 0);
    first = Select(floor < begin, begin, floor);
    first = Select(first > end, end, first);
    const Indices is_in = floor == first;
    const Indices is_before = floor == -1, is_behind = floor == size - 1;
    inside[0] = is_in | is_before;
    inside[1] = is_in | is_behind;
    weight[0] = Select(is_in, weights[0], Select(is_before, weights[1], Reals{}));
    weight[1] = Select(is_in, weights[1], Select(is_behind, weights[0], Reals{}));
    sign = Select(is_in, Reals{} + 1, Reals{} - 1);
    contained = is_in | (is_before & (weights[0] == 0)) | (is_behind & (weights[1] == 0));
    if (size > 1) return;
    inside[1] = Indices{};
    weight[1] = Reals{};
    contained = (is_in & (weights[1] == 0)) | (is_before & (weights[0] == 0));
  }
};

// Fills the rest of a block that has coordinates: what samples need, and their
// derivatives up to order kOrder, which is 0, 1 or 2.
// REQUIRES: the image has at least two columns and at most 2^30 elements.
template <int kOrder, typename Real>
TF_STN_INLINE void FindStencils(const Extent<2>& image, Block<Real>* block) {
  constexpr bool kGradients = kOrder > 0;
  constexpr int kCount = kLanes<Real>;
  using Index = IndexOf<Real>;
  using Reals = RealVector<Real>;
  using Indices = IndexVector<Real>;
  const auto width = static_cast<Index>(image.size[1]), height = static_cast<Index>(image.size[0]);
  const auto channels = static_cast<Index>(image.channels);
  const auto slab_elements = static_cast<Index>(image.slab_elements());
  const auto last_x = static_cast<Real>(width - 1), last_y = static_cast<Real>(height - 1);
  // The product of two weights that are greater is not zero.
  constexpr Real kTiny = static_cast<Real>(sizeof(Real) == 8 ? 1e-150 : 1e-18);
  Indices all_used = Indices{} - 1;
  for (int i = 0; i < block->count; i += kCount) {
    const auto store = [i](const Indices& indices, Index* to) {
      __builtin_memcpy(to + i, &indices, sizeof(indices));
    };
    const auto store_products = [&](const Reals* in_x, const Reals* in_y) {
      for (int k = 0; k < kTaps; ++k)
        Store<kCount>(in_x[k % 2] * in_y[k / 2], block->weight[k] + i);
    };
    const Reals x = LoadElements<kCount>(block->x + i), y = LoadElements<kCount>(block->y + i);
    Indices column, row;
    Reals right, lower;
    Split<Real>(x, width, &column, &right);
    Split<Real>(y, height, &row, &lower);
    const Reals in_x[] = {1 - right, right}, in_y[] = {1 - lower, lower};
    const auto is_simple =
        (right > kTiny) & (lower > kTiny) & (x > 0) & (x < last_x) & (y > 0) & (y < last_y);
    store(row, block->row);
    if (!Any(~is_simple)) {
      // Every tap belongs to the image and has weight.
      store_products(in_x, in_y);
      for (int k = 0; k < 2 && kGradients; ++k) {
        Store<kCount>(in_y[k], block->slope_x[k] + i);
        Store<kCount>(in_x[k], block->slope_y[k] + i);
      }
      Store<kCount>(Broadcast<kCount>(-Real(0)), block->outside + i);
      store(row * slab_elements + column * channels, block->offset);
      if (kGradients) store(Indices{} + kAllTaps, block->inside);
      if (kOrder > 1) Store<kCount>(Broadcast<kCount>(Real(1)), block->twist + i);
      store(Indices{} + kAllTaps, block->used);
      continue;
    }
    const Axis<Real> columns(column, in_x, width), rows(row, in_y, height);
    store_products(columns.weight, rows.weight);
    Indices inside{}, used{};
    for (int k = 0; k < kTaps; ++k) {
      used |= (columns.weight[k % 2] * rows.weight[k / 2] != 0) & (1 << k);
      inside |= columns.inside[k % 2] & rows.inside[k / 2] & (1 << k);
    }
    for (int k = 0; k < 2 && kGradients; ++k) {
      Store<kCount>(columns.sign * rows.weight[k], block->slope_x[k] + i);
      Store<kCount>(rows.sign * columns.weight[k], block->slope_y[k] + i);
    }
    const Indices is_nan = (x != x) | (y != y);
    Reals outside =
        (columns.contained & rows.contained) != 0 ? Broadcast<kCount>(-Real(0)) : Reals{};
    outside = is_nan ? x + y : outside;
    Store<kCount>(outside, block->outside + i);
    store(rows.first * slab_elements + columns.first * channels, block->offset);
    if (kGradients) store(inside, block->inside);
    if (kOrder > 1) Store<kCount>(columns.sign * rows.sign, block->twist + i);
    store(used, block->used);
    all_used &= used == kAllTaps;
  }
  block->all_used = !Any(~all_used);
}

// Removes from a block the taps outside of rows [row_begin, row_end).
template <typename Real>
TF_STN_INLINE void ClipToBand(const Extent<2>& image, int64_t row_begin, int64_t row_end,
                              Block<Real>* block) {
  constexpr int kCount = kLanes<Real>;
  using Index = IndexOf<Real>;
  using Indices = IndexVector<Real>;
  const auto begin = static_cast<Index>(row_begin), end = static_cast<Index>(row_end);
  const Indices last = Indices{} + static_cast<Index>(image.size[0] > 1 ? image.size[0] - 2 : 0);
  Indices all_used = Indices{} - 1;
  for (int i = 0; i < block->count; i += kCount) {
    const Indices row = LoadElements<kCount>(block->row + i);
    Indices first = Select(row < 0, Indices{}, row);
    first = Select(first > last, last, first);
    const Indices upper = (first >= begin) & (first < end) & 3;
    const Indices lower = (first >= begin - 1) & (first < end - 1) & 12;
    const Indices used = LoadElements<kCount>(block->used + i) & (upper | lower);
    __builtin_memcpy(block->used + i, &used, sizeof(used));
    all_used &= used == kAllTaps;
  }
  block->all_used = !Any(~all_used);
}

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_SIMD_BILINEAR_STENCILS_H_

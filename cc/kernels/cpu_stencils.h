// Bilinear stencils, a block of points at a time: coordinates into the offsets
// and weights that the loops over pixels read back, point by point or in vectors.
//
// As cc/core, which is the reference: tests hold every result against it.

#ifndef TF_STN_CC_KERNELS_CPU_STENCILS_H_
#define TF_STN_CC_KERNELS_CPU_STENCILS_H_

#include <cstdint>

#include "cc/core/coordinates.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cpu_vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {

inline constexpr int kBlockPoints = 64;
inline constexpr int kTaps = 4;      // In the order (x0, y0), (x1, y0), (x0, y1), (x1, y1).
inline constexpr int kAllTaps = 15;  // As bits.

// Up to kBlockPoints points of one image.  Arrays are filled to a multiple of the
// vector's lanes, by repeating the last point.
template <typename Real>
struct alignas(64) Block {
  using Index = IndexOf<Real>;

  Real x[kBlockPoints], y[kBlockPoints];          // Coordinates in pixels.
  Real right[kBlockPoints], lower[kBlockPoints];  // Their fractions: weights of x1 and y1.
  Real weight[kTaps][kBlockPoints];
  // What lies outside the image adds to the sample: -0, which changes no sum, if
  // nothing outside has weight; 0 if something has; NaN if a coordinate is NaN.
  Real outside[kBlockPoints];
  Index offset[kBlockPoints];  // Of the first tap; in the image only where that tap is.
  Index inside[kBlockPoints];  // Bits: taps in the image.
  Index used[kBlockPoints];    // Bits: taps in the image that have weight.
  Index row[kBlockPoints];     // floor(y), pulled in to just outside the image.
  // Whether the caller's band of rows is the one that has the point's gradient.
  Index owned[kBlockPoints];
  int count;
  bool all_used;   // Every tap of every point is used.
  bool all_owned;  // Every point is owned.
};

// Writes the coordinates of points [first, first + count), all of one image.
template <typename Real>
TF_STN_INLINE void ReadCoordinates(const WarpPoints<2, Real>& points, int64_t first, int count,
                                   Block<Real>* block) {
  constexpr int kCount = kLanes<Real>;
  const Real* warp = points.warp + 2 * first;
  block->count = count;
  int i = 0;
  for (; i + kCount <= count; i += kCount) {
    RealVector<Real> x, y;
    Deinterleave<Real>(LoadElements<kCount>(warp + 2 * i),
                       LoadElements<kCount>(warp + 2 * i + kCount), &x, &y);
    Store<kCount>(x, block->x + i);
    Store<kCount>(y, block->y + i);
  }
  for (; i < count; ++i) {
    block->x[i] = warp[2 * i];
    block->y[i] = warp[2 * i + 1];
  }
  for (; i % kCount != 0; ++i) {
    block->x[i] = block->x[count - 1];
    block->y[i] = block->y[count - 1];
  }
}

// A row of an affine output: coordinates are a line.
template <typename Real>
struct AffineRow {
  Real step_x, step_y;    // From one column to the next.
  Real start_x, start_y;  // At column 0.

  AffineRow(const AffinePoints<2, Real>& points, int64_t image, int64_t row) {
    const Real* matrix = points.matrix + image * AffinePoints<2, Real>::kParameters;
    step_x = matrix[0];
    step_y = matrix[3];
    start_x = matrix[1] * static_cast<Real>(row) + matrix[2];
    start_y = matrix[4] * static_cast<Real>(row) + matrix[5];
  }
};

// Writes the coordinates of columns [first, first + count) of a row.
template <typename Real>
TF_STN_INLINE void ReadCoordinates(const AffineRow<Real>& line, int64_t first, int count,
                                   Block<Real>* block) {
  constexpr int kCount = kLanes<Real>;
  RealVector<Real> lane;
  for (int i = 0; i < kCount; ++i) lane[i] = static_cast<Real>(i);
  const auto last = Broadcast<kCount>(static_cast<Real>(first + count - 1));
  block->count = count;
  for (int i = 0; i < count; i += kCount) {
    RealVector<Real> column = lane + static_cast<Real>(first + i);
    column = column < last ? column : last;
    Store<kCount>(line.step_x * column + line.start_x, block->x + i);
    Store<kCount>(line.step_y * column + line.start_y, block->y + i);
  }
}

// Splits bounded coordinates into floor and fraction.
template <typename Real>
TF_STN_INLINE void Split(const RealVector<Real>& x, Real size, IndexVector<Real>* floor,
                         RealVector<Real>* fraction) {
  // Just outside is as good as far outside, and has an index.  So does a NaN.
  RealVector<Real> bounded = x > Real(-2) ? x : Broadcast<kLanes<Real>>(Real(-2));
  bounded = bounded < size + 1 ? bounded : Broadcast<kLanes<Real>>(size + 1);
  const auto truncated = __builtin_convertvector(bounded, IndexVector<Real>);
  const auto back = __builtin_convertvector(truncated, RealVector<Real>);
  *floor = truncated + (bounded < back);  // True is -1.
  *fraction = bounded - __builtin_convertvector(*floor, RealVector<Real>);
}

// Fills the rest of a block that has coordinates.
// REQUIRES: the image has at most 2^30 elements.
template <typename Real>
TF_STN_INLINE void FindStencils(const Extent<2>& image, Block<Real>* block) {
  constexpr int kCount = kLanes<Real>;
  using Index = IndexOf<Real>;
  using Reals = RealVector<Real>;
  using Indices = IndexVector<Real>;
  const auto width = static_cast<Index>(image.size[1]), height = static_cast<Index>(image.size[0]);
  const auto channels = static_cast<Index>(image.channels);
  const auto row_elements = static_cast<Index>(image.row_elements());
  Indices all_used = Indices{} - 1;
  for (int i = 0; i < block->count; i += kCount) {
    const Reals x = LoadElements<kCount>(block->x + i), y = LoadElements<kCount>(block->y + i);
    Indices column, row;
    Reals right, lower;
    Split<Real>(x, static_cast<Real>(width), &column, &right);
    Split<Real>(y, static_cast<Real>(height), &row, &lower);
    const Reals left = 1 - right, upper = 1 - lower;
    const Indices in_x0 = (column >= 0) & (column < width);
    const Indices in_x1 = (column >= -1) & (column < width - 1);
    const Indices in_y0 = (row >= 0) & (row < height);
    const Indices in_y1 = (row >= -1) & (row < height - 1);
    const Reals weights[kTaps] = {left * upper, right * upper, left * lower, right * lower};
    const Indices ins[kTaps] = {in_x0 & in_y0, in_x1 & in_y0, in_x0 & in_y1, in_x1 & in_y1};
    Indices inside{}, used{}, weighted{};
    for (int k = 0; k < kTaps; ++k) {
      const Indices has_weight = (weights[k] != 0) & (1 << k);
      inside |= ins[k] & (1 << k);
      used |= ins[k] & has_weight;
      weighted |= has_weight;
      Store<kCount>(weights[k], block->weight[k] + i);
    }
    const Reals nothing = Broadcast<kCount>(-Real(0));
    Reals outside = (used == weighted) ? nothing : Reals{};
    outside = (x == x) & (y == y) ? outside : x + y;
    Store<kCount>(right, block->right + i);
    Store<kCount>(lower, block->lower + i);
    Store<kCount>(outside, block->outside + i);
    const auto store = [&](const Indices& indices, Index* to) {
      __builtin_memcpy(to + i, &indices, sizeof(indices));
    };
    const Indices is_somewhere = inside != 0;
    store(((row & is_somewhere) * row_elements) + ((column & is_somewhere) * channels),
          block->offset);
    store(inside, block->inside);
    store(used, block->used);
    store(row, block->row);
    all_used &= used == kAllTaps;
  }
  block->all_used = !Any(~all_used);
  block->all_owned = true;
}

// Takes from a block what other bands do: the taps outside of rows
// [row_begin, row_end) and the points that start in a row of another band.  Who
// starts outside of the image belongs to its nearest row.
template <typename Real>
TF_STN_INLINE void ClipToBand(const Extent<2>& image, int64_t row_begin, int64_t row_end,
                              Block<Real>* block) {
  constexpr int kCount = kLanes<Real>;
  using Index = IndexOf<Real>;
  using Indices = IndexVector<Real>;
  const auto begin = static_cast<Index>(row_begin), end = static_cast<Index>(row_end);
  const Index above = begin == 0 ? -2 : begin;  // Pulled-in rows are from -2 on.
  const Index below = row_end == image.size[0] ? end + 2 : end;
  Indices all_used = Indices{} - 1, all_owned = all_used;
  const auto load = [](const Index* from) { return LoadElements<kCount>(from); };
  const auto store = [](const Indices& from, Index* to) {
    __builtin_memcpy(to, &from, sizeof(from));
  };
  for (int i = 0; i < block->count; i += kCount) {
    const Indices row = load(block->row + i);
    const Indices upper = (row >= begin) & (row < end) & 3;
    const Indices lower = (row >= begin - 1) & (row < end - 1) & 12;
    const Indices used = load(block->used + i) & (upper | lower);
    const Indices owned = (row >= above) & (row < below);
    store(used, block->used + i);
    store(owned, block->owned + i);
    store(load(block->inside + i) & owned, block->inside + i);
    all_used &= used == kAllTaps;
    all_owned &= owned;
  }
  block->all_used = !Any(~(all_used & all_owned));
  block->all_owned = !Any(~all_owned);
}

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_STENCILS_H_

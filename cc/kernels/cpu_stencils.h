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
//
// The pixels of a stencil are always 2x2 neighbours in the image, so that all of
// them can be read without a question.  Where the stencil sticks out of the image,
// they are the nearest ones that do not: the pixel that both have in common keeps
// its weight, the others have none.
template <typename Real>
struct alignas(64) Block {
  using Index = IndexOf<Real>;

  Real x[kBlockPoints], y[kBlockPoints];          // Coordinates in pixels.
  Real column[kBlockPoints], line[kBlockPoints];  // The output pixel of an affine point.
  int64_t first_line;
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
  // Whether the caller's band of rows is the one that has the point's gradient.
  Index owned[kBlockPoints];
  int count;
  bool all_used;     // Every tap of every point is used.
  bool all_owned;    // Every point is owned.
  bool is_one_line;  // Affine points are of one line of the output.
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

  TF_STN_INLINE AffineRow(const Real* matrix, int64_t row) {
    step_x = matrix[0];
    step_y = matrix[3];
    start_x = matrix[1] * static_cast<Real>(row) + matrix[2];
    start_y = matrix[4] * static_cast<Real>(row) + matrix[5];
  }
};

// Writes the coordinates of output pixels [first, first + count), counted row by row;
// for gradients also which pixels they are.
template <bool kGradients, typename Real>
TF_STN_INLINE void ReadCoordinates(const Real* matrix, int64_t width, int64_t first, int count,
                                   Block<Real>* block) {
  constexpr int kCount = kLanes<Real>;
  RealVector<Real> lane;
  for (int i = 0; i < kCount; ++i) lane[i] = static_cast<Real>(i);
  int64_t row = first / width, column = first - row * width;
  block->count = count;
  block->first_line = row;
  // A vector that reaches beyond its row, or beyond the block, is overwritten by the next.
  const auto write = [](const RealVector<Real>& vector, int at, Real* to) {
    if (at + kCount <= kBlockPoints) return Store<kCount>(vector, to + at);
    for (int j = 0; at + j < kBlockPoints; ++j) to[at + j] = vector[j];
  };
  for (int begin = 0; begin < count; ++row, column = 0) {
    const AffineRow<Real> line(matrix, row);
    const int64_t left = width - column;
    const int end = left < count - begin ? begin + static_cast<int>(left) : count;
    const auto last = Broadcast<kCount>(static_cast<Real>(column + end - begin - 1));
    const auto line_number = Broadcast<kCount>(static_cast<Real>(row));
    // The last row is repeated to fill the last vector.
    const int until = end < count ? end : (count + kCount - 1) / kCount * kCount;
    for (int i = begin; i < until; i += kCount) {
      RealVector<Real> columns = lane + static_cast<Real>(column + i - begin);
      columns = columns < last ? columns : last;
      write(line.step_x * columns + line.start_x, i, block->x);
      write(line.step_y * columns + line.start_y, i, block->y);
      if (kGradients) write(columns, i, block->column);
      if (kGradients) write(line_number, i, block->line);
    }
    block->is_one_line = begin == 0 && end == count;
    begin = end;
  }
}

// Splits coordinates into floor and fraction.  The floor is pulled in to -2 or to
// little more than size, which is as good as far outside and has an index; so does a NaN.
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
  // REQUIRES: size is at least 2.
  TF_STN_INLINE Axis(const IndexVector<Real>& floor, const RealVector<Real>* weights,
                     IndexOf<Real> size) {
    using Reals = RealVector<Real>;
    const IndexVector<Real> begin{}, end = begin + (size - 2);
    first = floor < begin ? begin : floor;
    first = first > end ? end : first;
    const auto is_in = floor == first;
    const auto is_before = floor == -1, is_behind = floor == size - 1;
    inside[0] = is_in | is_before;
    inside[1] = is_in | is_behind;
    weight[0] = is_in ? weights[0] : is_before ? weights[1] : Reals{};
    weight[1] = is_in ? weights[1] : is_behind ? weights[0] : Reals{};
    sign = is_in ? Reals{} + 1 : Reals{} - 1;
    contained = is_in | (is_before & (weights[0] == 0)) | (is_behind & (weights[1] == 0));
  }
};

// Fills the rest of a block that has coordinates: what samples need, and their
// derivatives up to order kOrder, which is 0, 1 or 2.
// REQUIRES: the image has at least two rows and columns and at most 2^30 elements.
template <int kOrder, typename Real>
TF_STN_INLINE void FindStencils(const Extent<2>& image, Block<Real>* block) {
  constexpr bool kGradients = kOrder > 0;
  constexpr int kCount = kLanes<Real>;
  using Index = IndexOf<Real>;
  using Reals = RealVector<Real>;
  using Indices = IndexVector<Real>;
  const auto width = static_cast<Index>(image.size[1]), height = static_cast<Index>(image.size[0]);
  const auto channels = static_cast<Index>(image.channels);
  const auto row_elements = static_cast<Index>(image.row_elements());
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
      store(row * row_elements + column * channels, block->offset);
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
    store(rows.first * row_elements + columns.first * channels, block->offset);
    if (kGradients) store(inside, block->inside);
    if (kOrder > 1) Store<kCount>(columns.sign * rows.sign, block->twist + i);
    store(used, block->used);
    all_used &= used == kAllTaps;
  }
  block->all_used = !Any(~all_used);
  block->all_owned = true;
}

// Takes from a block what other bands do: the taps outside of rows
// [row_begin, row_end) and the points that start in a row of another band.  Points
// without a pixel in the image are this band's if it `owns_outside`.
template <typename Real>
TF_STN_INLINE void ClipToBand(const Extent<2>& image, int64_t row_begin, int64_t row_end,
                              bool owns_outside, Block<Real>* block) {
  constexpr int kCount = kLanes<Real>;
  using Index = IndexOf<Real>;
  using Indices = IndexVector<Real>;
  const auto begin = static_cast<Index>(row_begin), end = static_cast<Index>(row_end);
  const Index above = begin == 0 ? -1 : begin;  // Where a point with pixels in row 0 may start.
  const Indices of_outside = Indices{} - (owns_outside ? 1 : 0);
  const Indices last = Indices{} + static_cast<Index>(image.size[0] - 2);
  Indices all_used = Indices{} - 1, all_owned = all_used;
  const auto load = [](const Index* from) { return LoadElements<kCount>(from); };
  const auto store = [](const Indices& from, Index* to) {
    __builtin_memcpy(to, &from, sizeof(from));
  };
  for (int i = 0; i < block->count; i += kCount) {
    const Indices row = load(block->row + i);
    Indices first = row < 0 ? Indices{} : row;
    first = first > last ? last : first;
    const Indices upper = (first >= begin) & (first < end) & 3;
    const Indices lower = (first >= begin - 1) & (first < end - 1) & 12;
    const Indices used = load(block->used + i) & (upper | lower);
    const Indices inside = load(block->inside + i);
    const Indices owned = inside != 0 ? (row >= above) & (row < end) : of_outside;
    store(used, block->used + i);
    store(owned, block->owned + i);
    store(inside & owned, block->inside + i);
    all_used &= used == kAllTaps;
    all_owned &= owned;
  }
  block->all_used = !Any(~(all_used & all_owned));
  block->all_owned = !Any(~all_owned);
}

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_STENCILS_H_

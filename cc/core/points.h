// Sources of points: where the points lie at which images are sampled, and how a gradient in a
// point becomes one of what the source stores.
//
// A source has items, one after the other for each image.  An item has parameters and gives one
// or more points: an item of WarpPoints is a point, whose parameters are its coordinates, or what
// is added to those of a pixel; an item of AffinePoints is a matrix, whose points are the pixels of
// an output.  A source is a struct with
//
//   kRank, Real        the number of coordinates, and their type,
//   kParameters        the number of parameters of an item,
//   kIsStored          whether every point is an item of its own,
//   parameters         those of all items,
//   per_image          the items of an image; 0 if all images share the same ones,
//   stored             the items in all,
//   points_per_item()  the number of points of an item,
//   At(item, point, coordinates)
//                      writes the (x, y[, z]) of a point of an item, in pixels; `item` points to
//                      its parameters; points are counted within their item, or where every point
//                      is an item within their image, or through images of as many points each,
//   Pull(item, point, grad_point, add)
//                      calls add(k, g) for what the gradient in a point adds to that of parameter
//                      k, and
//   WithDivision<Division>()
//                      returns the same source with its divisions done by another type, such as the
//                      fast ones of a GPU.
//
// The loops know no source by name.  To add one, write its struct, and an op whose kernel makes it;
// cc/kernels/cpu/simd/points.h may read it faster than point by point.

#ifndef TF_STN_CC_CORE_POINTS_H_
#define TF_STN_CC_CORE_POINTS_H_

#include <cstdint>

#include "cc/core/pixel_types.h"
#include "cc/core/portability.h"

namespace tf_stn {

// Division by a number that is not negative, nor is the dividend.
class PlainDivision {
 public:
  PlainDivision() = default;
  TF_STN_HD explicit PlainDivision(int64_t divisor) : divisor_(divisor) {}

  template <typename Index>
  TF_STN_HD Index Quotient(Index dividend) const {
    return dividend / static_cast<Index>(divisor_);
  }
  TF_STN_HD int64_t divisor() const { return divisor_; }

 private:
  int64_t divisor_ = 1;
};

// The sides of an output, whose pixels are numbered one after the other.
template <int Rank, typename Division = PlainDivision>
struct OutputSize {
  Division side[Rank];  // side[0] is the slowest axis.

  TF_STN_HD int64_t points() const {
    int64_t points = 1;
    for (int d = 0; d < Rank; ++d) points *= side[d].divisor();
    return points;
  }

  // Writes the (column, row[, slice]) of a pixel.
  template <typename Index>
  TF_STN_HD void PixelOf(Index number, Index* pixel) const {
    for (int d = Rank - 1; d > 0; --d) {
      const Index next = side[d].Quotient(number);
      pixel[Rank - 1 - d] = number - next * static_cast<Index>(side[d].divisor());
      number = next;
    }
    pixel[Rank - 1] = number;
  }

  // The same for pixels that are numbered through several outputs.
  template <typename Index>
  TF_STN_HD void PixelOfAny(Index number, Index* pixel) const {
    PixelOf(number, pixel);
    const Index outputs = side[0].Quotient(pixel[Rank - 1]);
    pixel[Rank - 1] -= outputs * static_cast<Index>(side[0].divisor());
  }

  template <typename Other>
  OutputSize<Rank, Other> WithDivision() const {
    OutputSize<Rank, Other> size;
    for (int d = 0; d < Rank; ++d) size.side[d] = Other(side[d].divisor());
    return size;
  }
};

// Points stored one after the other: in a warp tensor as they are, or as displacements of the
// pixels of outputs,
//
//   (x, y[, z]) = (column, row[, slice]) + displacement
//
// Both in one source, since nothing but the coordinates differs: one more source would be one more
// instance of all loops and kernels.
template <int Rank, typename RealType, typename Division = PlainDivision>
struct WarpPoints {
  static constexpr int kRank = Rank;
  static constexpr int kParameters = Rank;
  static constexpr bool kIsStored = true;
  using Real = RealType;

  const Real* parameters;  // [images or 1, points, Rank]
  int64_t per_image;
  int64_t stored;
  bool are_displacements = false;
  OutputSize<Rank, Division> size{};  // For displacements; points go through outputs of this size.

  TF_STN_HD int64_t points_per_item() const { return 1; }

  template <typename Index>
  TF_STN_HD void At(const Real* item, Index point, Real* coordinates) const {
    for (int d = 0; d < kRank; ++d) coordinates[d] = item[d];
    if (!are_displacements) return;
    Index pixel[kRank];
    size.PixelOfAny(point, pixel);
    for (int d = 0; d < kRank; ++d) coordinates[d] += static_cast<Real>(pixel[d]);
  }

  template <typename Index, typename Number, typename Add>
  TF_STN_HD void Pull(const Real*, Index, const Number* grad_point, const Add& add) const {
    for (int d = 0; d < kRank; ++d) add(d, grad_point[d]);
  }

  template <typename Other>
  WarpPoints<Rank, Real, Other> WithDivision() const {
    return {parameters, per_image, stored, are_displacements, size.template WithDivision<Other>()};
  }
};

// The pixels of outputs, each mapped into the input by its output's matrix:
//
//   (x, y[, z]) = matrix * (column, row[, slice], 1)
//
// The points are never stored.
template <int Rank, typename RealType, typename Division = PlainDivision>
struct AffinePoints {
  static constexpr int kRank = Rank;
  static constexpr int kParameters = Rank * (Rank + 1);
  static constexpr bool kIsStored = false;
  using Real = RealType;

  const Real* parameters;  // [images or 1, outputs, Rank, Rank + 1]
  int64_t per_image;
  int64_t stored;
  OutputSize<Rank, Division> size;

  TF_STN_HD int64_t points_per_item() const { return size.points(); }

  template <typename Index>
  TF_STN_HD void At(const Real* item, Index point, Real* coordinates) const {
    Index pixel[kRank];
    size.PixelOf(point, pixel);
    for (int d = 0; d < kRank; ++d, item += kRank + 1) {
      // From the slowest axis on, as tf_stn.affine_grid adds them.
      Real sum = item[kRank];
      for (int k = kRank - 1; k >= 0; --k) sum += item[k] * static_cast<Real>(pixel[k]);
      coordinates[d] = sum;
    }
  }

  template <typename Index, typename Number, typename Add>
  TF_STN_HD void Pull(const Real*, Index point, const Number* grad_point, const Add& add) const {
    Index pixel[kRank];
    size.PixelOf(point, pixel);
    for (int d = 0; d < kRank; ++d) {
      const int row = d * (kRank + 1);
      for (int k = 0; k < kRank; ++k) add(row + k, grad_point[d] * static_cast<Number>(pixel[k]));
      add(row + kRank, grad_point[d]);
    }
  }

  template <typename Other>
  AffinePoints<Rank, Real, Other> WithDivision() const {
    return {parameters, per_image, stored, size.template WithDivision<Other>()};
  }
};

// Returns the parameters of an image's item.
template <typename Points, typename Index>
TF_STN_HD inline const typename Points::Real* ItemOf(const Points& points, Index image,
                                                     Index item) {
  return points.parameters + (image * static_cast<Index>(points.per_image) + item) *
                                 static_cast<Index>(Points::kParameters);
}

// Writes the coordinates of a point that is counted within its image.
template <typename Points>
void PointOf(const Points& points, int64_t image, int64_t point,
             typename Points::Real* coordinates) {
  const int64_t per_item = points.points_per_item();
  const int64_t item = Points::kIsStored ? point : point / per_item;
  points.At(ItemOf(points, image, item), Points::kIsStored ? point : point - item * per_item,
            coordinates);
}

// All sources, as visit(Source, Rank, T) for pixels of type T.  Everything that lists sources is
// made from this.
#define TF_STN_FOR_EACH_STORED_SOURCE(visit, Rank, T) visit(WarpPoints, Rank, T)
#define TF_STN_FOR_EACH_SOURCE(visit, Rank, T) \
  TF_STN_FOR_EACH_STORED_SOURCE(visit, Rank, T) visit(AffinePoints, Rank, T)

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_POINTS_H_

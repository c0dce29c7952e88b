// Sources of points: where the points lie at which images are sampled, and how a gradient in a
// point becomes one of what the source stores.
//
// A source has items, one after the other for each image.  An item has parameters and gives one
// or more points: an item of WarpPoints is a point, whose parameters are its coordinates, or what
// is added to those of a pixel; an item of MatrixPoints is a matrix, whose points are the pixels of
// an output.  A source is a struct with
//
//   kRank, Real        the number of coordinates, and their type,
//   kParameters        the number of parameters of an item, at most,
//   kIsStored          whether every point is an item of its own,
//   parameters         those of all items,
//   per_image          the items of an image; 0 if all images share the same ones,
//   stored             the items in all,
//   parameters_per_item(), points_per_item()
//                      the number of parameters and of points of an item,
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

// A source may have kinds, between which it chooses at run time: all loops take kAny.  Of a known
// kind it takes fewer registers of a GPU.
enum class WarpKind { kAny, kPoints, kDisplacements };

// Points stored one after the other: in a warp tensor as they are, or as displacements of the
// pixels of outputs,
//
//   (x, y[, z]) = (column, row[, slice]) + displacement
//
// Both in one source, since nothing but the coordinates differs: one more source would be one more
// instance of all loops and kernels.
template <int Rank, typename RealType, typename Division = PlainDivision,
          WarpKind kKind = WarpKind::kAny>
struct WarpPoints {
  static constexpr int kRank = Rank;
  static constexpr int kParameters = Rank;
  static constexpr bool kIsStored = true;
  using Real = RealType;

  const Real* parameters;  // [images or 1, points, Rank]
  int64_t per_image;
  int64_t stored;
  bool are_displacements = false;     // Where the kind is not known.
  OutputSize<Rank, Division> size{};  // For displacements; points go through outputs of this size.

  TF_STN_HD int parameters_per_item() const { return kParameters; }
  TF_STN_HD int64_t points_per_item() const { return 1; }

  template <typename Index>
  TF_STN_HD void At(const Real* item, Index point, Real* coordinates) const {
    for (int d = 0; d < kRank; ++d) coordinates[d] = item[d];
    if (!(kKind == WarpKind::kAny ? are_displacements : kKind == WarpKind::kDisplacements)) return;
    Index pixel[kRank];
    size.PixelOfAny(point, pixel);
    for (int d = 0; d < kRank; ++d) coordinates[d] += static_cast<Real>(pixel[d]);
  }

  template <typename Index, typename Number, typename Add>
  TF_STN_HD void Pull(const Real*, Index, const Number* grad_point, const Add& add) const {
    for (int d = 0; d < kRank; ++d) add(d, grad_point[d]);
  }

  template <typename Other>
  WarpPoints<Rank, Real, Other, kKind> WithDivision() const {
    return {parameters, per_image, stored, are_displacements, size.template WithDivision<Other>()};
  }

  // REQUIRES: the points are of this kind.
  template <WarpKind kKnown>
  WarpPoints<Rank, Real, Division, kKnown> Of() const {
    return {parameters, per_image, stored, are_displacements, size};
  }
};

// Nearer to zero, a divisor counts as this: the point is far outside, with finite gradients.
inline constexpr double kSmallestDivisor = 1e-6;

template <typename Real>
TF_STN_HD bool IsSmallDivisor(Real divisor) {
  return divisor < Real(kSmallestDivisor) && divisor > -Real(kSmallestDivisor);
}

template <typename Real>
TF_STN_HD Real BoundedDivisor(Real divisor) {
  if (!IsSmallDivisor(divisor)) return divisor;
  return divisor < 0 ? -Real(kSmallestDivisor) : Real(kSmallestDivisor);
}

enum class MatrixKind { kAny, kAffine, kProjective };

// The pixels of outputs, each mapped into the input by its output's matrix:
//
//   (x, y[, z]) = matrix * (column, row[, slice], 1)
//
// or by a projective one, which has one more row,
//
//   (u, v[, t], divisor) = matrix * (column, row[, slice], 1), (x, y[, z]) = (u, v[, t]) / divisor
//
// The points are never stored.
template <int Rank, typename RealType, typename Division = PlainDivision,
          MatrixKind kKind = MatrixKind::kAny>
struct MatrixPoints {
  static constexpr int kRank = Rank;
  static constexpr int kColumns = Rank + 1;
  static constexpr int kParameters = (kKind == MatrixKind::kAffine ? Rank : Rank + 1) * kColumns;
  static constexpr bool kIsStored = false;
  using Real = RealType;

  const Real* parameters;  // [images or 1, outputs, Rank or Rank + 1, Rank + 1]
  int64_t per_image;
  int64_t stored;
  OutputSize<Rank, Division> size;
  bool has_divisors = false;  // Whether the matrices are projective, where the kind is not known.

  TF_STN_HD bool is_projective() const {
    return kKind == MatrixKind::kAny ? has_divisors : kKind == MatrixKind::kProjective;
  }
  TF_STN_HD int rows() const { return is_projective() ? kRank + 1 : kRank; }
  TF_STN_HD int parameters_per_item() const { return rows() * kColumns; }
  TF_STN_HD int64_t points_per_item() const { return size.points(); }

  template <typename Index>
  TF_STN_HD void At(const Real* item, Index point, Real* coordinates) const {
    Index pixel[kRank];
    size.PixelOf(point, pixel);
    for (int d = 0; d < kRank; ++d) coordinates[d] = Product(item + d * kColumns, pixel);
    if (!is_projective()) return;
    const Real divisor = BoundedDivisor(Product(item + kRank * kColumns, pixel));
    for (int d = 0; d < kRank; ++d) coordinates[d] /= divisor;
  }

  template <typename Index, typename Number, typename Add>
  TF_STN_HD void Pull(const Real* item, Index point, const Number* grad_point,
                      const Add& add) const {
    Index pixel[kRank];
    size.PixelOf(point, pixel);
    if (!is_projective()) {
      for (int d = 0; d < kRank; ++d) PullRow(d, grad_point[d], pixel, add);
      return;
    }
    const Real last = Product(item + kRank * kColumns, pixel);
    const auto divisor = static_cast<Number>(BoundedDivisor(last));
    Number grad_divisor = 0;
    for (int d = 0; d < kRank; ++d) {
      const Number grad = grad_point[d] / divisor;
      PullRow(d, grad, pixel, add);
      // A point so far away that it is infinite has no gradient.
      if (grad != 0) {
        grad_divisor -= grad * (static_cast<Number>(Product(item + d * kColumns, pixel)) / divisor);
      }
    }
    PullRow(kRank, IsSmallDivisor(last) ? Number(0) : grad_divisor, pixel, add);
  }

  template <typename Other>
  MatrixPoints<Rank, Real, Other, kKind> WithDivision() const {
    return {parameters, per_image, stored, size.template WithDivision<Other>(), has_divisors};
  }

  // REQUIRES: the matrices are of this kind.
  template <MatrixKind kKnown>
  MatrixPoints<Rank, Real, Division, kKnown> Of() const {
    return {parameters, per_image, stored, size, has_divisors};
  }

 private:
  // Returns a row of the matrix times (column, row[, slice], 1).
  template <typename Index>
  TF_STN_HD static Real Product(const Real* row, const Index* pixel) {
    // From the slowest axis on, as tf_stn.affine_grid adds them.
    Real sum = row[kRank];
    for (int k = kRank - 1; k >= 0; --k) sum += row[k] * static_cast<Real>(pixel[k]);
    return sum;
  }

  // Pulls the gradient in what row `d` gives.
  template <typename Number, typename Index, typename Add>
  TF_STN_HD static void PullRow(int d, Number grad, const Index* pixel, const Add& add) {
    for (int k = 0; k < kRank; ++k) add(d * kColumns + k, grad * static_cast<Number>(pixel[k]));
    add(d * kColumns + kRank, grad);
  }
};

// Returns the parameters of an image's item.
template <typename Points, typename Index>
TF_STN_HD inline const typename Points::Real* ItemOf(const Points& points, Index image,
                                                     Index item) {
  return points.parameters + (image * static_cast<Index>(points.per_image) + item) *
                                 static_cast<Index>(points.parameters_per_item());
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
  TF_STN_FOR_EACH_STORED_SOURCE(visit, Rank, T) visit(MatrixPoints, Rank, T)

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_POINTS_H_

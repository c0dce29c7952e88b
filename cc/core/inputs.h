// The inputs of the ops as every framework has them: shapes and plain pointers.  Doors fill them in
// and ask here what is wrong with them, what comes out, and which call they make.
//
// An op of a family has `data`, then the parameters of its points, then more.  An input is a class
// with
//
//   kName, kTypeAttribute, kComputeAttribute
//                               the name of the parameters and of their attributes,
//   kHasSize                    whether the forward op is told the size of its output,
//   Source<Rank, Real>          the source of points,
//   Check([shape and sides of the size])
//                               which says what is wrong with the inputs of the forward op,
//   CheckWithOutput(shape)      or, given its output or the gradient of that, with those of any op
//                               of the family,
//   CheckDirections(of data, of points)
//                               for points that are stored, what is wrong with directions of both,
//   OutputShape()               the shape of the output, and
//   Points<Rank, Real>(&points_per_image)
//                               the points.
//
// REQUIRES: one of the checks has found nothing before the last two are asked.

#ifndef TF_STN_CC_CORE_INPUTS_H_
#define TF_STN_CC_CORE_INPUTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cc/core/call.h"
#include "cc/core/modes.h"
#include "cc/core/pixel_types.h"
#include "cc/core/points.h"
#include "cc/core/shapes.h"

namespace tf_stn {

// A tensor that an op reads.
struct Operand {
  PartialShape shape;              // All of it is known.
  const void* elements = nullptr;  // Null where only shapes matter.

  int64_t count() const {
    int64_t count = 1;
    for (const int64_t size : shape.sizes()) count *= size;
    return count;
  }

  // REQUIRES: T is the type of the elements.
  template <typename T>
  const T* As() const {
    return static_cast<const T*>(elements);
  }

  // Returns null if there are no elements: a gradient's gradient that is absent.
  template <typename T>
  const T* AsUnlessEmpty() const {
    return count() == 0 ? nullptr : As<T>();
  }
};

// How images and the items of points go together.  One image takes all items, whatever their batch.
struct Batches {
  int64_t items_per_image;
  int64_t stored_per_image;  // 0 if all images share the items.

  // `items` are points or matrices, their batch and all axes that follow.
  static Batches Of(const PartialShape& data, int64_t batch, int64_t items) {
    if (data.size(0) == 1) return {items, items};
    const int64_t per_image = batch == 0 ? 0 : items / batch;
    return {per_image, batch == 1 ? 0 : per_image};
  }
};

// Of points that are stored, in an input that PointsInput describes.
template <const PointsInput& kInput>
class StoredInput {
 public:
  static constexpr const char* kName = kInput.name;
  static constexpr bool kHasSize = false;
  template <int Rank, typename Real>
  using Source = WarpPoints<Rank, Real>;

  StoredInput(Operand data, Operand points) : data_(std::move(data)), points_(std::move(points)) {}

  const Operand& data() const { return data_; }
  const Operand& parameters() const { return points_; }

  std::string Check() const { return CheckResamplerShapes(kInput, data_.shape, points_.shape); }

  std::string CheckWithOutput(const PartialShape& output) const {
    return CheckResamplerGradShapes(kInput, data_.shape, points_.shape, output);
  }

  std::string CheckDirections(const PartialShape& data, const PartialShape& points) const {
    return CheckResamplerDirections(kInput, data_.shape, points_.shape, data, points);
  }

  PartialShape OutputShape() const {
    std::vector<int64_t> sizes = points_.shape.sizes();
    sizes.front() = Broadcast(data_.shape.size(0), sizes.front());
    sizes.back() = data_.shape.size(-1);
    return PartialShape(std::move(sizes));
  }

  template <int Rank, typename Real>
  WarpPoints<Rank, Real> Points(int64_t* points_per_image) const {
    const int64_t stored = points_.count() / Rank;
    const Batches batches = Batches::Of(data_.shape, points_.shape.size(0), stored);
    *points_per_image = batches.items_per_image;
    WarpPoints<Rank, Real> points{points_.As<Real>(), batches.stored_per_image, stored};
    points.are_displacements = kInput.has_sides && stored > 0;
    for (int d = 0; d < Rank && points.are_displacements; ++d) {
      points.size.side[d] = PlainDivision(points_.shape.size(d - 1 - Rank));
    }
    return points;
  }

 private:
  Operand data_, points_;
};

struct WarpInput : StoredInput<kWarp> {
  static constexpr char kTypeAttribute[] = "Twarp";
  static constexpr char kComputeAttribute[] = "compute_grad_warp";
  static constexpr char kSecondName[] = "grad_grad_warp";
  using StoredInput::StoredInput;
};

struct DisplacementInput : StoredInput<kDisplacement> {
  static constexpr char kTypeAttribute[] = "Tdisplacement";
  static constexpr char kComputeAttribute[] = "compute_grad_displacement";
  static constexpr char kSecondName[] = "grad_grad_displacement";
  using StoredInput::StoredInput;
};

// Of the pixels of outputs, mapped by affine or projective matrices.
template <bool kIsProjective>
class MatrixInput {
 public:
  static constexpr char kName[] = "matrix";
  static constexpr char kTypeAttribute[] = "Tmatrix";
  static constexpr char kComputeAttribute[] = "compute_grad_matrix";
  static constexpr bool kHasSize = true;
  template <int Rank, typename Real>
  using Source = MatrixPoints<Rank, Real>;

  MatrixInput(Operand data, Operand matrix) : data_(std::move(data)), matrix_(std::move(matrix)) {}

  const Operand& data() const { return data_; }
  const Operand& parameters() const { return matrix_; }

  // `sides` are the numbers of a tensor `output_size` of this shape.
  std::string Check(const PartialShape& shape, std::vector<int64_t> sides) {
    std::string error = CheckData(data_.shape);
    if (error.empty()) error = CheckSizeShape("output_size", shape, SpatialRank(data_.shape));
    if (!error.empty()) return error;
    size_ = PartialShape(std::move(sides));
    error = CheckSize("output_size", size_);
    if (!error.empty()) return error;
    return CheckMatrixResamplerShapes(kIsProjective, data_.shape, matrix_.shape, size_);
  }

  std::string CheckWithOutput(const PartialShape& output) {
    std::string error =
        CheckMatrixResamplerGradShapes(kIsProjective, data_.shape, matrix_.shape, output);
    if (!error.empty()) return error;
    const auto end = output.sizes().end() - 1;
    size_ = PartialShape(std::vector<int64_t>(end - SpatialRank(data_.shape), end));
    return error;
  }

  PartialShape OutputShape() const {
    std::vector<int64_t> sizes = {Broadcast(data_.shape.size(0), matrix_.shape.size(0))};
    for (int d = 1; d + 2 < matrix_.shape.rank(); ++d) sizes.push_back(matrix_.shape.size(d));
    for (const int64_t side : size_.sizes()) sizes.push_back(side);
    sizes.push_back(data_.shape.size(-1));
    return PartialShape(std::move(sizes));
  }

  template <int Rank, typename Real>
  MatrixPoints<Rank, Real> Points(int64_t* points_per_image) const {
    MatrixPoints<Rank, Real> points{matrix_.As<Real>(), 0, 0, {}, kIsProjective};
    const int64_t stored = matrix_.count() / points.parameters_per_item();
    const Batches batches = Batches::Of(data_.shape, matrix_.shape.size(0), stored);
    points.per_image = batches.stored_per_image;
    points.stored = stored;
    // Where there are no points, a product of sides may overflow.
    bool is_empty = data_.count() == 0 || stored == 0;
    for (const int64_t side : size_.sizes()) is_empty = is_empty || side == 0;
    for (int d = 0; d < Rank; ++d) {
      points.size.side[d] = PlainDivision(is_empty ? 0 : size_.size(d));
    }
    *points_per_image = batches.items_per_image * points.size.points();
    return points;
  }

 private:
  Operand data_, matrix_;
  PartialShape size_;  // Of an output.
};

using AffineInput = MatrixInput<false>;
using ProjectiveInput = MatrixInput<true>;

// Returns what is wrong with orders of a derivative, or "".
// REQUIRES: the shape of `data` has been checked.
inline std::string CheckDerivative(const Modes& modes, const PartialShape& data) {
  if (data.rank() == 5 || modes.derivative[2] == 0) return "";
  return "`derivative` must have no order in z for images";
}

inline std::string CheckFill(const std::vector<PartialShape>& fill, const Modes& modes,
                             const PartialShape& data) {
  return CheckFill(fill, modes.padding == PaddingMode::kZeros, data);
}

// The source of an input's points, at pixels of type T.
template <typename Input, int Rank, typename T>
using PointsOf = typename Input::template Source<Rank, Coordinate<T>>;

// Returns what all kinds of calls have in common.
template <int Rank, typename T, typename Input>
Call<PointsOf<Input, Rank, T>, T> MakeCall(const Input& input, const Modes& modes, const T* fill) {
  Call<PointsOf<Input, Rank, T>, T> call;
  const PartialShape& data = input.data().shape;
  call.modes = modes;
  call.points = input.template Points<Rank, Coordinate<T>>(&call.sizes.points_per_image);
  for (int d = 0; d < Rank; ++d) call.sizes.image.size[d] = data.size(1 + d);
  call.sizes.image.channels = data.size(-1);
  call.sizes.images = data.size(0);
  call.data = input.data().template As<T>();
  call.fill = fill;
  return call;
}

// Returns visit(std::integral_constant<int, rank>) with the number of spatial axes.
// REQUIRES: the shape of `data` has been checked.
template <typename Visit>
auto VisitRank(const PartialShape& data, const Visit& visit) {
  if (data.rank() == 4) return visit(std::integral_constant<int, 2>());
  return visit(std::integral_constant<int, 3>());
}

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_INPUTS_H_

// Inputs that say where the points are: a source of points for each family of ops.
//
// An op of a family has `data`, then the parameters of the points, of type kTypeAttribute.  An
// input is a class with
//
//   kName, kTypeAttribute, kComputeAttribute
//                               the name of these parameters and of their attributes,
//   Source<Rank, Real>          the source of points,
//   ReadForSample(context)      which reads and checks the inputs of the forward op,
//   ReadForGradient(context)    or those of its gradients, of which input 2 is grad_output,
//   OutputShape()               the shape of the output, and
//   Points<Rank, Real>(&points_per_image)
//                               the points.

#ifndef TF_STN_CC_KERNELS_POINT_INPUTS_H_
#define TF_STN_CC_KERNELS_POINT_INPUTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "cc/core/points.h"
#include "cc/core/shapes.h"
#include "cc/kernels/op_inputs.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace tf_stn {

// How images and the items of points go together.  One image takes all items, whatever their batch.
struct Batches {
  int64_t items_per_image;
  int64_t stored_per_image;  // 0 if all images share the items.

  // `items` are points or matrices, their batch and all axes that follow.
  static Batches Of(const tensorflow::Tensor& data, int64_t batch, int64_t items) {
    if (data.dim_size(0) == 1) return {items, items};
    const int64_t per_image = batch == 0 ? 0 : items / batch;
    return {per_image, batch == 1 ? 0 : per_image};
  }
};

class WarpInput {
 public:
  static constexpr char kName[] = "warp";
  static constexpr char kTypeAttribute[] = "Twarp";
  static constexpr char kComputeAttribute[] = "compute_grad_warp";
  template <int Rank, typename Real>
  using Source = WarpPoints<Rank, Real>;

  absl::Status ReadForSample(tensorflow::OpKernelContext* context) {
    Read(context);
    return StatusOf(CheckResamplerShapes(ShapeOf(*data_), ShapeOf(*warp_)));
  }

  absl::Status ReadForGradient(tensorflow::OpKernelContext* context) {
    Read(context);
    return StatusOf(
        CheckResamplerGradShapes(ShapeOf(*data_), ShapeOf(*warp_), ShapeOf(context->input(2))));
  }

  absl::Status OutputShape(tensorflow::TensorShape* shape) const {
    *shape = warp_->shape();
    const int64_t batch = Broadcast(data_->dim_size(0), warp_->dim_size(0));
    TF_RETURN_IF_ERROR(shape->SetDimWithStatus(0, batch));
    return shape->SetDimWithStatus(shape->dims() - 1, data_->dim_size(data_->dims() - 1));
  }

  template <int Rank, typename Real>
  WarpPoints<Rank, Real> Points(int64_t* points_per_image) const {
    const int64_t stored = warp_->NumElements() / Rank;
    const Batches batches = Batches::Of(*data_, warp_->dim_size(0), stored);
    *points_per_image = batches.items_per_image;
    return {Elements<Real>(*warp_), batches.stored_per_image, stored};
  }

 private:
  void Read(tensorflow::OpKernelContext* context) {
    data_ = &context->input(0);
    warp_ = &context->input(1);
  }

  const tensorflow::Tensor* data_ = nullptr;
  const tensorflow::Tensor* warp_ = nullptr;
};

class MatrixInput {
 public:
  static constexpr char kName[] = "matrix";
  static constexpr char kTypeAttribute[] = "Tmatrix";
  static constexpr char kComputeAttribute[] = "compute_grad_matrix";
  template <int Rank, typename Real>
  using Source = AffinePoints<Rank, Real>;

  absl::Status ReadForSample(tensorflow::OpKernelContext* context) {
    Read(context);
    TF_RETURN_IF_ERROR(StatusOf(CheckData(ShapeOf(*data_))));
    const int rank = data_->dims() - 2;
    const tensorflow::Tensor& size = context->input(2);
    TF_RETURN_IF_ERROR(StatusOf(CheckSizeShape("output_size", ShapeOf(size), rank)));
    const auto* const sides = Elements<int32_t>(size);
    size_.assign(sides, sides + rank);
    TF_RETURN_IF_ERROR(StatusOf(CheckSize("output_size", PartialShape(size_))));
    return StatusOf(
        CheckAffineResamplerShapes(ShapeOf(*data_), ShapeOf(*matrix_), PartialShape(size_)));
  }

  absl::Status ReadForGradient(tensorflow::OpKernelContext* context) {
    Read(context);
    const tensorflow::Tensor& grad_output = context->input(2);
    TF_RETURN_IF_ERROR(StatusOf(
        CheckAffineResamplerGradShapes(ShapeOf(*data_), ShapeOf(*matrix_), ShapeOf(grad_output))));
    const int rank = data_->dims() - 2;
    for (int d = -1 - rank; d < -1; ++d) {
      size_.push_back(grad_output.dim_size(grad_output.dims() + d));
    }
    return absl::OkStatus();
  }

  absl::Status OutputShape(tensorflow::TensorShape* shape) const {
    const int64_t batch = Broadcast(data_->dim_size(0), matrix_->dim_size(0));
    TF_RETURN_IF_ERROR(shape->AddDimWithStatus(batch));
    for (int d = 1; d + 2 < matrix_->dims(); ++d) {
      TF_RETURN_IF_ERROR(shape->AddDimWithStatus(matrix_->dim_size(d)));
    }
    for (const int64_t side : size_) TF_RETURN_IF_ERROR(shape->AddDimWithStatus(side));
    return shape->AddDimWithStatus(data_->dim_size(data_->dims() - 1));
  }

  template <int Rank, typename Real>
  AffinePoints<Rank, Real> Points(int64_t* points_per_image) const {
    using Source = AffinePoints<Rank, Real>;
    const int64_t stored = matrix_->NumElements() / Source::kParameters;
    const Batches batches = Batches::Of(*data_, matrix_->dim_size(0), stored);
    Source points{Elements<Real>(*matrix_), batches.stored_per_image, stored, {}};
    // Where there are no points, a product of sides may overflow.
    bool is_empty = data_->NumElements() == 0 || stored == 0;
    for (const int64_t side : size_) is_empty = is_empty || side == 0;
    for (int d = 0; d < Rank; ++d) {
      const int64_t side = is_empty ? 0 : size_[static_cast<size_t>(d)];
      points.size.side[d] = PlainDivision(side);
    }
    *points_per_image = batches.items_per_image * points.size.points();
    return points;
  }

 private:
  void Read(tensorflow::OpKernelContext* context) {
    data_ = &context->input(0);
    matrix_ = &context->input(1);
  }

  const tensorflow::Tensor* data_ = nullptr;
  const tensorflow::Tensor* matrix_ = nullptr;
  std::vector<int64_t> size_;  // Of an output.
};

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_POINT_INPUTS_H_

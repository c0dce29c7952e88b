// The ops TfStn>AffineResampler and TfStn>AffineResamplerGrad: as the resampler's,
// with points that come from a matrix and are never stored.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cc/core/coordinates.h"
#include "cc/core/modes.h"
#include "cc/core/shapes.h"
#include "cc/kernels/functors.h"
#include "cc/kernels/functors_cpu.h"
#include "cc/kernels/op_support.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"

#if defined(TF_STN_CUDA)
#include "cc/kernels/functors_gpu.h"
#endif

namespace tf_stn {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// Returns the points of a batch of matrices, for outputs of this size, and how many
// an image has.
template <int Rank, typename Real>
AffinePoints<Rank, Real> PointsOf(const Tensor& data, const Tensor& matrix,
                                  const std::vector<int64_t>& output_size,
                                  int64_t* points_per_image) {
  using Points = AffinePoints<Rank, Real>;
  const int64_t matrices = matrix.NumElements() / Points::kParameters;
  const Batches batches = BatchesOf(data, matrix.dim_size(0), matrices);
  Points points{Elements<Real>(matrix), batches.stored_stride, matrices, {}};
  for (size_t d = 0; d < Rank; ++d) points.size[d] = output_size[d];
  // A product of sizes may overflow where there are no points.
  *points_per_image = batches.per_image == 0 ? 0 : batches.per_image * points.output_points();
  return points;
}

template <typename Device, typename T>
class AffineResamplerOp : public OpKernel {
 public:
  explicit AffineResamplerOp(OpKernelConstruction* context)
      : OpKernel(context), modes_(ReadModes(context)) {}

  void Compute(OpKernelContext* context) override {
    const Tensor& data = context->input(0);
    const Tensor& matrix = context->input(1);
    const Tensor& size = context->input(2);
    const PartialShape data_shape = ToPartialShape(data.shape());
    std::string error = CheckData(data_shape);
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    const int rank = data.dims() - 2;
    error = CheckSizeShape("output_size", ToPartialShape(size.shape()), rank);
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    const auto* sides = Elements<int32_t>(size);
    const std::vector<int64_t> output_size(sides, sides + rank);
    error = CheckSize("output_size", PartialShape(output_size));
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    error = CheckAffineResamplerShapes(data_shape, ToPartialShape(matrix.shape()),
                                       PartialShape(output_size));
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    const T* fill;
    OP_REQUIRES_OK(context, ReadFill(context, modes_, data_shape, &fill));

    TensorShape shape;
    const auto add = [&](int64_t side) { OP_REQUIRES_OK(context, shape.AddDimWithStatus(side)); };
    add(Broadcast(data.dim_size(0), matrix.dim_size(0)));
    for (int d = 1; d + 2 < matrix.dims(); ++d) add(matrix.dim_size(d));
    for (const int64_t side : output_size) add(side);
    add(data.dim_size(data.dims() - 1));
    if (!context->status().ok()) return;
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    if (output->NumElements() == 0) return;

    VisitRank(data, [&](auto rank) {
      using Points = AffinePoints<rank, Coordinate<T>>;
      int64_t points_per_image;
      const Points points =
          PointsOf<rank, Coordinate<T>>(data, matrix, output_size, &points_per_image);
      functor::Resampler<Device, Points, T>()(
          context, {modes_, SizesOf<rank>(data, points_per_image), Elements<T>(data), fill, points,
                    Elements<T>(output)});
    });
  }

 private:
  const Modes modes_;
};

template <typename Device, typename T>
class AffineResamplerGradOp : public OpKernel {
 public:
  explicit AffineResamplerGradOp(OpKernelConstruction* context)
      : OpKernel(context), modes_(ReadModes(context)) {
    OP_REQUIRES_OK(context, context->GetAttr("compute_grad_data", &compute_grad_data_));
    OP_REQUIRES_OK(context, context->GetAttr("compute_grad_matrix", &compute_grad_matrix_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& data = context->input(0);
    const Tensor& matrix = context->input(1);
    const Tensor& grad_output = context->input(2);
    const PartialShape data_shape = ToPartialShape(data.shape());
    const std::string error = CheckAffineResamplerGradShapes(
        data_shape, ToPartialShape(matrix.shape()), ToPartialShape(grad_output.shape()));
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    const T* fill;
    OP_REQUIRES_OK(context, ReadFill(context, modes_, data_shape, &fill));

    VisitRank(data, [&](auto rank) {
      using Points = AffinePoints<rank, Coordinate<T>>;
      std::vector<int64_t> output_size;
      for (int d = -1 - rank; d < -1; ++d) {
        output_size.push_back(grad_output.dim_size(grad_output.dims() + d));
      }
      // Without an element there may be no room to multiply the sizes.
      if (grad_output.NumElements() == 0) output_size.assign(rank, 0);
      int64_t points_per_image;
      const Points points =
          PointsOf<rank, Coordinate<T>>(data, matrix, output_size, &points_per_image);
      ResamplerGradArguments<Points, T> arguments{modes_,
                                                  SizesOf<rank>(data, points_per_image),
                                                  Elements<T>(data),
                                                  fill,
                                                  points,
                                                  Elements<T>(grad_output),
                                                  nullptr,
                                                  nullptr};
      OP_REQUIRES_OK(context, AllocateGradient(context, 0, compute_grad_data_, data.shape(),
                                               &arguments.grad_data));
      OP_REQUIRES_OK(context, AllocateGradient(context, 1, compute_grad_matrix_, matrix.shape(),
                                               &arguments.grad_points));
      functor::ResamplerGrad<Device, Points, T>()(context, arguments);
    });
  }

 private:
  const Modes modes_;
  bool compute_grad_data_ = true;
  bool compute_grad_matrix_ = true;
};

struct Matrix {
  static constexpr char kName[] = "matrix";
};

#define TF_STN_REGISTER(DEVICE, T)                                                                 \
  TF_STN_REGISTER_KERNEL("TfStn>AffineResampler", DEVICE, T, "Tmatrix", Matrix, AffineResamplerOp, \
                         .HostMemory("output_size"));                                              \
  TF_STN_REGISTER_KERNEL("TfStn>AffineResamplerGrad", DEVICE, T, "Tmatrix", Matrix,                \
                         AffineResamplerGradOp, )

TF_STN_REGISTER_ALL(TF_STN_REGISTER);

#undef TF_STN_REGISTER

}  // namespace
}  // namespace tf_stn

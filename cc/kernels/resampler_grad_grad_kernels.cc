// The op TfStn>ResamplerGradGrad: check, allocate, call the device.

#include <string>

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

// Returns the elements of a gradient's gradient, or null if it is absent.
template <typename T>
const T* ElementsUnlessAbsent(const Tensor& tensor) {
  return tensor.NumElements() == 0 ? nullptr : Elements<T>(tensor);
}

template <typename Device, typename T>
class ResamplerGradGradOp : public OpKernel {
 public:
  explicit ResamplerGradGradOp(OpKernelConstruction* context)
      : OpKernel(context), modes_(ReadModes(context)) {
    OP_REQUIRES_OK(context, context->GetAttr("compute_grad_data", &compute_grad_data_));
    OP_REQUIRES_OK(context, context->GetAttr("compute_grad_warp", &compute_grad_warp_));
    OP_REQUIRES_OK(context,
                   context->GetAttr("compute_grad_grad_output", &compute_grad_grad_output_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& data = context->input(0);
    const Tensor& warp = context->input(1);
    const Tensor& grad_output = context->input(2);
    const Tensor& grad_grad_data = context->input(3);
    const Tensor& grad_grad_warp = context->input(4);
    const PartialShape data_shape = ToPartialShape(data.shape());
    const std::string error = CheckResamplerGradGradShapes(
        data_shape, ToPartialShape(warp.shape()), ToPartialShape(grad_output.shape()),
        ToPartialShape(grad_grad_data.shape()), ToPartialShape(grad_grad_warp.shape()));
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));
    const T* fill;
    OP_REQUIRES_OK(context, ReadFill(context, modes_, data_shape, &fill));

    VisitRank(data, [&](auto rank) {
      using Points = WarpPoints<rank, Coordinate<T>>;
      const Batches batches = BatchesOf(data, warp.dim_size(0), warp.NumElements() / rank);
      ResamplerGradGradArguments<Points, T> arguments{
          modes_,
          SizesOf<rank>(data, batches.per_image),
          Elements<T>(data),
          fill,
          PointsOf<rank, Coordinate<T>>(warp, batches),
          Elements<T>(grad_output),
          ElementsUnlessAbsent<T>(grad_grad_data),
          ElementsUnlessAbsent<Coordinate<T>>(grad_grad_warp),
          nullptr,
          nullptr,
          nullptr};
      OP_REQUIRES_OK(context, AllocateGradient(context, 0, compute_grad_data_, data.shape(),
                                               &arguments.grad_data));
      OP_REQUIRES_OK(context, AllocateGradient(context, 1, compute_grad_warp_, warp.shape(),
                                               &arguments.grad_points));
      OP_REQUIRES_OK(context, AllocateGradient(context, 2, compute_grad_grad_output_,
                                               grad_output.shape(), &arguments.grad_grad_output));
      functor::ResamplerGradGrad<Device, Points, T>()(context, arguments);
    });
  }

 private:
  const Modes modes_;
  bool compute_grad_data_ = true;
  bool compute_grad_warp_ = true;
  bool compute_grad_grad_output_ = true;
};

struct Warp {
  static constexpr char kName[] = "warp";
};

#define TF_STN_REGISTER(DEVICE, T) \
  TF_STN_REGISTER_KERNEL("TfStn>ResamplerGradGrad", DEVICE, T, "Twarp", Warp, ResamplerGradGradOp, )

TF_STN_REGISTER_ALL(TF_STN_REGISTER);

#undef TF_STN_REGISTER

}  // namespace
}  // namespace tf_stn

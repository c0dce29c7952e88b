// What the ops ask of a device: one functor for sampling, one for its gradients and one
// for theirs.  functors_cpu.h and functors_gpu.h have them.

#ifndef TF_STN_CC_KERNELS_FUNCTORS_H_
#define TF_STN_CC_KERNELS_FUNCTORS_H_

#include <cstdint>
#include <type_traits>

#include "absl/status/status.h"
#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/kernels/resampler.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"

namespace tf_stn {

struct CPUDevice;
struct GPUDevice;

namespace functor {

// Fills the output.  It has at least one element.
template <typename Device, typename Points, typename T>
struct Resampler {
  void operator()(tensorflow::OpKernelContext* context,
                  const ResamplerArguments<Points, T>& arguments);
};

// Fills the gradients that the arguments point to, none of which is empty.
template <typename Device, typename Points, typename T>
struct ResamplerGrad {
  void operator()(tensorflow::OpKernelContext* context,
                  const ResamplerGradArguments<Points, T>& arguments);
};

// Fills the gradients of the gradients that the arguments point to, none of which is
// empty.  Points come from a warp.
template <typename Device, typename Points, typename T>
struct ResamplerGradGrad {
  void operator()(tensorflow::OpKernelContext* context,
                  const ResamplerGradGradArguments<Points, T>& arguments);
};

// The type by which code without TensorFlow knows T, and pointers to it.
template <typename T>
using PlainType =
    std::conditional_t<std::is_same_v<T, Eigen::half>, Half,
                       std::conditional_t<std::is_same_v<T, Eigen::bfloat16>, BFloat16, T>>;

template <typename T>
const PlainType<T>* ToPlain(const T* pointer) {
  return reinterpret_cast<const PlainType<T>*>(pointer);
}

template <typename T>
PlainType<T>* ToPlain(T* pointer) {
  return reinterpret_cast<PlainType<T>*>(pointer);
}

// Allocates as many numbers as there are in grad_data, of the type of its sums.
template <typename T, int Rank>
absl::Status AllocateSums(tensorflow::OpKernelContext* context, const ResamplerSizes<Rank>& sizes,
                          tensorflow::Tensor* sums) {
  tensorflow::TensorShape shape;
  TF_RETURN_IF_ERROR(shape.AddDimWithStatus(sizes.images));
  TF_RETURN_IF_ERROR(shape.AddDimWithStatus(sizes.image.elements()));
  return context->allocate_temp(tensorflow::DataTypeToEnum<Coordinate<T>>::value, shape, sums);
}

}  // namespace functor
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_FUNCTORS_H_

// The resampler as TensorFlow ops: checks, allocates, shares the work among
// threads and registers a kernel for each device and data type.

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cc/core/resample.h"
#include "cc/core/shapes.h"
#include "cc/kernels/resampler.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/util/work_sharder.h"

#if defined(TF_STN_CUDA)
#include "cc/core/half.h"
#include "tensorflow/core/util/determinism.h"
#include "xla/stream_executor/stream.h"
#endif

namespace tf_stn {

using tensorflow::DataTypeToEnum;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

struct CPUDevice;
struct GPUDevice;

namespace functor {

// One functor per device; each fills the outputs that its arguments point to.
template <typename Device, int Rank, typename T>
struct Resampler {
  void operator()(OpKernelContext* context, const ResamplerArguments<Rank, T>& arguments);
};

template <typename Device, int Rank, typename T>
struct ResamplerGrad {
  void operator()(OpKernelContext* context, const ResamplerGradArguments<Rank, T>& arguments);
};

namespace {

// Rough cost in cycles of one stencil, and of one channel at one of its pixels.
constexpr int64_t kStencilCost = 40;
constexpr int64_t kTapCost = 2;

template <typename Work>
void ShardOnCpu(OpKernelContext* context, int64_t total, int64_t cost, const Work& work) {
  const auto& threads = *context->device()->tensorflow_cpu_worker_threads();
  tensorflow::Shard(threads.num_threads, threads.workers, total, cost, work);
}

// Allocates as many numbers as there are in grad_data, of the type of its sums.
template <typename T, int Rank>
absl::Status AllocateSums(OpKernelContext* context, const ResamplerSizes<Rank>& sizes,
                          Tensor* sums) {
  TensorShape shape;
  TF_RETURN_IF_ERROR(shape.AddDimWithStatus(sizes.images));
  TF_RETURN_IF_ERROR(shape.AddDimWithStatus(sizes.image.elements()));
  return context->allocate_temp(DataTypeToEnum<Coordinate<T>>::value, shape, sums);
}

template <typename Stencil>
int64_t PointCost(const Extent<Stencil::kRank>& image) {
  return kStencilCost + kTapCost * Stencil::kCount * image.channels;
}

// Calls work(begin, end) for ranges that together are all points of the batch.
template <typename Stencil, typename Work>
void ShardPointsOnCpu(OpKernelContext* context, const ResamplerSizes<Stencil::kRank>& sizes,
                      const Work& work) {
  ShardOnCpu(context, sizes.points(), PointCost<Stencil>(sizes.image), work);
}

// Computes grad_data.  The work is divided into bands of rows: one band an image,
// or as many as make one for each thread.  A band looks at the row of all points
// of its image and adds those that touch it, in their order; so points that
// crowd in few rows are the work of few threads.
template <typename Stencil, typename Points, typename T>
void DataGradientOnCpu(OpKernelContext* context, const Points& points,
                       const ResamplerGradArguments<Stencil::kRank, T>& arguments) {
  using Real = typename Stencil::Real;
  const auto& sizes = arguments.sizes;
  const Extent<Stencil::kRank>& image = sizes.image;
  if (sizes.images == 0 || image.elements() == 0) return;

  // Half types are summed in a copy of the right precision.
  Tensor sums;
  Real* grad_data = nullptr;
  if constexpr (std::is_same_v<T, Real>) {
    grad_data = arguments.grad_data;
  } else {
    OP_REQUIRES_OK(context, AllocateSums<T>(context, sizes, &sums));
    grad_data = static_cast<Real*>(sums.data());
  }

  const int64_t rows = image.size[0];
  const int64_t threads = context->device()->tensorflow_cpu_worker_threads()->num_threads;
  const int64_t bands = std::min(rows, (threads + sizes.images - 1) / sizes.images);
  const int64_t cost = kTapCost * image.elements() / bands +
                       sizes.points_per_image * (kStencilCost + PointCost<Stencil>(image) / bands);
  ShardOnCpu(context, sizes.images * bands, cost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / bands;
      const int64_t band = i % bands;
      const int64_t row_begin = rows * band / bands;
      const int64_t row_end = rows * (band + 1) / bands;
      Real* grad_image = grad_data + n * image.elements();
      DataGradientOfRows<Stencil>(image, points, sizes.points_per_image, arguments.grad_output, n,
                                  row_begin, row_end, grad_image);
      if constexpr (!std::is_same_v<T, Real>) {
        std::transform(
            grad_image + row_begin * image.row_elements(),
            grad_image + row_end * image.row_elements(),
            arguments.grad_data + n * image.elements() + row_begin * image.row_elements(),
            [](Real sum) { return static_cast<T>(sum); });
      }
    }
  });
}

}  // namespace

template <int Rank, typename T>
struct Resampler<CPUDevice, Rank, T> {
  void operator()(OpKernelContext* context, const ResamplerArguments<Rank, T>& arguments) {
    const auto& sizes = arguments.sizes;
    const WarpPoints<Rank, Coordinate<T>> points{arguments.warp};
    VisitStencil<Rank, Coordinate<T>>(arguments.modes, [&](auto tag) {
      using Stencil = typename decltype(tag)::type;
      ShardPointsOnCpu<Stencil>(context, sizes, [&](int64_t begin, int64_t end) {
        SamplePoints<Stencil>(sizes.image, points, sizes.points_per_image, arguments.data, begin,
                              end, arguments.output);
      });
    });
  }
};

template <int Rank, typename T>
struct ResamplerGrad<CPUDevice, Rank, T> {
  void operator()(OpKernelContext* context, const ResamplerGradArguments<Rank, T>& arguments) {
    const auto& sizes = arguments.sizes;
    const WarpPoints<Rank, Coordinate<T>> points{arguments.warp};
    VisitStencil<Rank, Coordinate<T>>(arguments.modes, [&](auto tag) {
      using Stencil = typename decltype(tag)::type;
      if (arguments.grad_data != nullptr) DataGradientOnCpu<Stencil>(context, points, arguments);
      if (arguments.grad_warp == nullptr) return;
      ShardPointsOnCpu<Stencil>(context, sizes, [&](int64_t begin, int64_t end) {
        WarpGradientOfPoints<Stencil>(sizes.image, points, sizes.points_per_image, arguments.data,
                                      arguments.grad_output, begin, end, arguments.grad_warp);
      });
    });
  }
};

#if defined(TF_STN_CUDA)

namespace {

// The type by which CUDA code knows T.
template <typename T>
using DeviceType =
    std::conditional_t<std::is_same_v<T, Eigen::half>, Half,
                       std::conditional_t<std::is_same_v<T, Eigen::bfloat16>, BFloat16, T>>;

template <typename T>
const DeviceType<T>* OnDevice(const T* pointer) {
  return reinterpret_cast<const DeviceType<T>*>(pointer);
}

template <typename T>
DeviceType<T>* OnDevice(T* pointer) {
  return reinterpret_cast<DeviceType<T>*>(pointer);
}

// Returns the cudaStream_t on which TensorFlow runs the op.
void* StreamOf(OpKernelContext* context) {
  return context->op_device_context()->stream()->platform_specific_handle().stream;
}

absl::Status StatusOfLaunch(const char* error) {
  if (error == nullptr) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("The resampler's GPU kernel was not launched: ", error));
}

}  // namespace

template <int Rank, typename T>
struct Resampler<GPUDevice, Rank, T> {
  void operator()(OpKernelContext* context, const ResamplerArguments<Rank, T>& arguments) {
    const auto& [modes, sizes, data, warp, output] = arguments;
    OP_REQUIRES_OK(context,
                   StatusOfLaunch(LaunchResampler<Rank, DeviceType<T>>(
                       {modes, sizes, OnDevice(data), warp, OnDevice(output)}, StreamOf(context))));
  }
};

template <int Rank, typename T>
struct ResamplerGrad<GPUDevice, Rank, T> {
  void operator()(OpKernelContext* context, const ResamplerGradArguments<Rank, T>& arguments) {
    const auto& [modes, sizes, data, warp, grad_output, grad_data, grad_warp] = arguments;
    Tensor sums;
    const bool needs_sums = grad_data != nullptr && !std::is_same_v<T, Coordinate<T>>;
    if (needs_sums) OP_REQUIRES_OK(context, AllocateSums<T>(context, sizes, &sums));
    OP_REQUIRES_OK(context, StatusOfLaunch(LaunchResamplerGrad<Rank, DeviceType<T>>(
                                {modes, sizes, OnDevice(data), warp, OnDevice(grad_output),
                                 OnDevice(grad_data), grad_warp},
                                needs_sums ? static_cast<Coordinate<T>*>(sums.data()) : nullptr,
                                tensorflow::OpDeterminismRequired(), StreamOf(context))));
  }
};

#endif  // TF_STN_CUDA

}  // namespace functor

namespace {

constexpr int kRank = 2;

// Returns the elements of a tensor.  Unlike flat(), it takes a tensor that begins
// anywhere, such as a view that another library has handed over.
// REQUIRES: T is its type.
template <typename T>
T* Elements(Tensor* tensor) {
  return static_cast<T*>(tensor->data());
}

template <typename T>
const T* Elements(const Tensor& tensor) {
  return static_cast<const T*>(tensor.data());
}

PartialShape ToPartialShape(const TensorShape& shape) {
  const auto sizes = shape.dim_sizes();
  return PartialShape(std::vector<int64_t>(sizes.begin(), sizes.end()));
}

// REQUIRES: the shapes have passed CheckResamplerShapes().
ResamplerSizes<kRank> SizesOf(const Tensor& data, const Tensor& warp) {
  ResamplerSizes<kRank> sizes;
  sizes.image = {{data.dim_size(1), data.dim_size(2)}, data.dim_size(3)};
  sizes.images = data.dim_size(0);
  // From the number of elements, since the product of the sizes of an empty
  // tensor may overflow.
  sizes.points_per_image = sizes.images == 0 ? 0 : warp.NumElements() / kRank / sizes.images;
  return sizes;
}

Modes ReadModes(OpKernelConstruction* context) {
  Modes modes;
  std::string name;
  const auto read = [&](const char* attribute, auto parse, auto* mode) {
    OP_REQUIRES_OK(context, context->GetAttr(attribute, &name));
    OP_REQUIRES(
        context, parse(name, mode),
        absl::InvalidArgumentError(absl::StrCat("`", attribute, "` has no mode '", name, "'")));
  };
  read("interpolation", ParseInterpolation, &modes.interpolation);
  read("padding", ParsePadding, &modes.padding);
  return modes;
}

template <typename Device, typename T>
class ResamplerOp : public OpKernel {
 public:
  explicit ResamplerOp(OpKernelConstruction* context)
      : OpKernel(context), modes_(ReadModes(context)) {}

  void Compute(OpKernelContext* context) override {
    const Tensor& data = context->input(0);
    const Tensor& warp = context->input(1);
    const std::string error =
        CheckResamplerShapes(ToPartialShape(data.shape()), ToPartialShape(warp.shape()));
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));

    TensorShape shape = warp.shape();
    OP_REQUIRES_OK(context, shape.SetDimWithStatus(shape.dims() - 1, data.dim_size(3)));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    if (output->NumElements() == 0) return;

    functor::Resampler<Device, kRank, T>()(
        context, {modes_, SizesOf(data, warp), Elements<T>(data), Elements<Coordinate<T>>(warp),
                  Elements<T>(output)});
  }

 private:
  const Modes modes_;
};

template <typename Device, typename T>
class ResamplerGradOp : public OpKernel {
 public:
  explicit ResamplerGradOp(OpKernelConstruction* context)
      : OpKernel(context), modes_(ReadModes(context)) {
    OP_REQUIRES_OK(context, context->GetAttr("compute_grad_data", &compute_[0]));
    OP_REQUIRES_OK(context, context->GetAttr("compute_grad_warp", &compute_[1]));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& data = context->input(0);
    const Tensor& warp = context->input(1);
    const Tensor& grad_output = context->input(2);
    const std::string error =
        CheckResamplerGradShapes(ToPartialShape(data.shape()), ToPartialShape(warp.shape()),
                                 ToPartialShape(grad_output.shape()));
    OP_REQUIRES(context, error.empty(), absl::InvalidArgumentError(error));

    ResamplerGradArguments<kRank, T> arguments{modes_,
                                               SizesOf(data, warp),
                                               Elements<T>(data),
                                               Elements<Coordinate<T>>(warp),
                                               Elements<T>(grad_output),
                                               nullptr,
                                               nullptr};
    OP_REQUIRES_OK(context, Allocate(context, 0, data.shape(), &arguments.grad_data));
    OP_REQUIRES_OK(context, Allocate(context, 1, warp.shape(), &arguments.grad_warp));
    functor::ResamplerGrad<Device, kRank, T>()(context, arguments);
  }

 private:
  // Points `gradient` to output `index`, or leaves it null if nobody needs it.
  template <typename Real>
  absl::Status Allocate(OpKernelContext* context, int index, const TensorShape& shape,
                        Real** gradient) const {
    if (!context->output_required(index)) return absl::OkStatus();
    Tensor* output = nullptr;
    if (!compute_[index]) return context->allocate_output(index, TensorShape({0}), &output);
    TF_RETURN_IF_ERROR(context->allocate_output(index, shape, &output));
    if (output->NumElements() > 0) *gradient = Elements<Real>(output);
    return absl::OkStatus();
  }

  const Modes modes_;
  bool compute_[2] = {true, true};
};

// Stands where `data` and `warp` are of types that do not go together, to say so.
template <typename T, typename Twarp>
class WrongCoordinateTypeOp : public OpKernel {
 public:
  explicit WrongCoordinateTypeOp(OpKernelConstruction* context) : OpKernel(context) {
    const auto name = [](auto type) { return tensorflow::DataTypeString(type); };
    context->CtxFailure(absl::InvalidArgumentError(
        absl::StrCat("`warp` must be of type ", name(DataTypeToEnum<Coordinate<T>>::value),
                     " for `data` of type ", name(DataTypeToEnum<T>::value), ", received ",
                     name(DataTypeToEnum<Twarp>::value))));
  }
  void Compute(OpKernelContext*) override {}
};

template <typename T>
using OtherCoordinate = std::conditional_t<std::is_same_v<Coordinate<T>, float>, double, float>;

#define TF_STN_REGISTER_KERNEL(op, DEVICE, T, Twarp, ...)          \
  REGISTER_KERNEL_BUILDER(Name(op)                                 \
                              .Device(tensorflow::DEVICE_##DEVICE) \
                              .TypeConstraint<T>("T")              \
                              .TypeConstraint<Twarp>("Twarp"),     \
                          __VA_ARGS__)

// The types here are those that the ops advertise; a test compares the lists.
#define TF_STN_REGISTER(DEVICE, T)                                             \
  TF_STN_REGISTER_KERNEL("TfStn>Resampler", DEVICE, T, Coordinate<T>,          \
                         ResamplerOp<DEVICE##Device, T>);                      \
  TF_STN_REGISTER_KERNEL("TfStn>ResamplerGrad", DEVICE, T, Coordinate<T>,      \
                         ResamplerGradOp<DEVICE##Device, T>);                  \
  TF_STN_REGISTER_KERNEL("TfStn>Resampler", DEVICE, T, OtherCoordinate<T>,     \
                         WrongCoordinateTypeOp<T, OtherCoordinate<T>>);        \
  TF_STN_REGISTER_KERNEL("TfStn>ResamplerGrad", DEVICE, T, OtherCoordinate<T>, \
                         WrongCoordinateTypeOp<T, OtherCoordinate<T>>)

TF_STN_REGISTER(CPU, Eigen::half);
TF_STN_REGISTER(CPU, Eigen::bfloat16);
TF_STN_REGISTER(CPU, float);
TF_STN_REGISTER(CPU, double);

#if defined(TF_STN_CUDA)
TF_STN_REGISTER(GPU, Eigen::half);
TF_STN_REGISTER(GPU, Eigen::bfloat16);
TF_STN_REGISTER(GPU, float);
TF_STN_REGISTER(GPU, double);
#endif

#undef TF_STN_REGISTER
#undef TF_STN_REGISTER_KERNEL

}  // namespace
}  // namespace tf_stn

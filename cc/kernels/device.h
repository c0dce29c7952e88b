// TensorFlow's devices: how a kernel runs a call on them.

#ifndef TF_STN_CC_KERNELS_DEVICE_H_
#define TF_STN_CC_KERNELS_DEVICE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "cc/kernels/cpu/host.h"
#include "cc/kernels/cpu/run.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/threadpool.h"
#include "tensorflow/core/util/work_sharder.h"

#if defined(TF_STN_CUDA)
#include <string>

#include "cc/kernels/gpu/run.h"
#include "tensorflow/core/util/determinism.h"
#include "xla/stream_executor/stream.h"
#endif

namespace tf_stn {

// Memory that lasts as long as this does.
class Workspace {
 public:
  explicit Workspace(tensorflow::OpKernelContext* context) : context_(context) {}

  // Returns memory, or null, after which status() is an error.
  void* Allocate(size_t bytes) {
    tensorflow::TensorShape shape;
    tensorflow::Tensor tensor;
    status_ = shape.AddDimWithStatus(static_cast<int64_t>(bytes));
    if (status_.ok()) status_ = context_->allocate_temp(tensorflow::DT_INT8, shape, &tensor);
    if (!status_.ok()) return nullptr;
    tensors_.push_back(std::move(tensor));
    return tensors_.back().data();
  }

  const absl::Status& status() const { return status_; }

 private:
  tensorflow::OpKernelContext* const context_;
  std::vector<tensorflow::Tensor> tensors_;
  absl::Status status_;
};

struct CpuDevice {
  static constexpr char kName[] = "CPU";

  template <typename CallType>
  static absl::Status Run(tensorflow::OpKernelContext* context, const CallType& call) {
    Workspace workspace(context);
    const auto& pool = *context->device()->tensorflow_cpu_worker_threads();
    Host host;
    // No more than the calling thread may take: tf.data has an option that says so.
    host.threads = std::min(pool.num_threads, tensorflow::GetPerThreadMaxParallelism());
    host.schedule = [&pool](std::function<void()> function) {
      pool.workers->Schedule(std::move(function));
    };
    host.allocate = [&workspace](size_t bytes) { return workspace.Allocate(bytes); };
    return RunOnCpu(host, call) ? absl::OkStatus() : workspace.status();
  }
};

#if defined(TF_STN_CUDA)
struct GpuDevice {
  static constexpr char kName[] = "GPU";

  template <typename CallType>
  static absl::Status Run(tensorflow::OpKernelContext* context, const CallType& call) {
    Workspace workspace(context);
    Gpu gpu;
    gpu.stream = context->op_device_context()->stream()->platform_specific_handle().stream;
    gpu.deterministic = tensorflow::OpDeterminismRequired();
    gpu.allocate = [&workspace](size_t bytes) { return workspace.Allocate(bytes); };
    const std::string error = RunOnGpu(gpu, call);
    if (!workspace.status().ok()) return workspace.status();
    return error.empty() ? absl::OkStatus() : absl::InternalError(error);
  }
};
#endif

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_DEVICE_H_

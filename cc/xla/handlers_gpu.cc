// The handlers that code compiled by XLA calls on a GPU, on its stream.
//
// They are not declared compatible with command buffers: a gradient asks for memory when it is
// called, and CUDA may load a kernel when it is first launched.

#if defined(TF_STN_CUDA)

#include <cstddef>
#include <string>

#include "cc/kernels/gpu/run.h"
#include "cc/xla/requests.h"
#include "xla/ffi/api/ffi.h"

namespace tf_stn {
namespace {

struct Cuda {
  template <typename Kind, typename Input>
  static ffi::Error Run(void* stream, ffi::ScratchAllocator scratch, ffi::RemainingArgs operands,
                        ffi::RemainingRets results, ffi::Dictionary attributes) {
    Request request;
    ffi::Error error = request.Read(operands, results, attributes);
    if (error.failure()) return error;
    Gpu gpu;
    gpu.stream = stream;
    gpu.deterministic = request.deterministic();
    gpu.allocate = [&scratch](size_t bytes) {
      return scratch.Allocate(bytes, 16).value_or(nullptr);
    };
    return RunRequest<Kind, Input>(request, [&gpu](const auto& call) {
      const std::string error = RunOnGpu(gpu, call);
      return error.empty() ? ffi::Error::Success() : ffi::Error::Internal(error);
    });
  }

  template <typename Kind, typename Input>
  static XLA_FFI_Error* Handle(XLA_FFI_CallFrame* frame) {
    static const ffi::Ffi* const handler = ffi::Ffi::Bind()
                                               .Ctx<ffi::PlatformStream<void*>>()
                                               .Ctx<ffi::ScratchAllocator>()
                                               .RemainingArgs()
                                               .RemainingRets()
                                               .Attrs()
                                               .To(Run<Kind, Input>)
                                               .release();
    return handler->Call(frame);
  }
};

[[maybe_unused]] const bool kHasRegistered = RegisterHandlers<Cuda>("CUDA");

}  // namespace
}  // namespace tf_stn

#endif

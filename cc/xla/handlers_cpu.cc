// The handlers that code compiled by XLA calls on the CPU, on the threads of TensorFlow.

#include <cstddef>
#include <cstdlib>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "cc/kernels/cpu/host.h"
#include "cc/kernels/cpu/run.h"
#include "cc/xla/requests.h"
#include "xla/ffi/api/ffi.h"

namespace tf_stn {
namespace {

// Memory that lasts as long as this does.  XLA has none to give on the CPU.
class Memory {
 public:
  // Returns memory that is aligned to 64 bytes, or null.
  void* Allocate(size_t bytes) {
    parts_.emplace_back(std::aligned_alloc(64, RoundUpToLine(bytes)));
    return parts_.back().get();
  }

 private:
  struct Free {
    void operator()(void* part) const { std::free(part); }
  };
  std::vector<std::unique_ptr<void, Free>> parts_;
};

struct Cpu {
  template <typename Kind, typename Input>
  static ffi::Error Run(ffi::ThreadPool pool, ffi::RemainingArgs operands,
                        ffi::RemainingRets results, ffi::Dictionary attributes) {
    Request request;
    ffi::Error error = request.Read(operands, results, attributes);
    if (error.failure()) return error;
    Memory memory;
    Host host;
    if (pool.num_threads() > 0) host.threads = pool.num_threads();
    host.schedule = [&pool](std::function<void()> function) { pool.Schedule(std::move(function)); };
    host.allocate = [&memory](size_t bytes) { return memory.Allocate(bytes); };
    return RunRequest<Kind, Input>(request, [&host](const auto& call) {
      if (RunOnCpu(host, call)) return ffi::Error::Success();
      return ffi::Error(ffi::ErrorCode::kResourceExhausted, "The resampler is out of memory");
    });
  }

  template <typename Kind, typename Input>
  static XLA_FFI_Error* Handle(XLA_FFI_CallFrame* frame) {
    static const ffi::Ffi* const handler = ffi::Ffi::Bind()
                                               .Ctx<ffi::ThreadPool>()
                                               .RemainingArgs()
                                               .RemainingRets()
                                               .Attrs()
                                               .To(Run<Kind, Input>)
                                               .release();
    return handler->Call(frame);
  }
};

[[maybe_unused]] const bool kHasRegistered = RegisterHandlers<Cpu>("Host");

}  // namespace
}  // namespace tf_stn

#include "cc/kernels/cpu/run.h"

#include <cstdint>
#include <cstring>

#include "cc/core/call.h"
#include "cc/core/pixel_types.h"
#include "cc/core/points.h"
#include "cc/kernels/cpu/choose.h"
#include "cc/kernels/cpu/division.h"
#include "cc/kernels/cpu/gradients.h"
#include "cc/kernels/cpu/host.h"
#include "cc/kernels/cpu/huge_pages.h"
#include "cc/kernels/cpu/threads.h"

namespace tf_stn {
namespace {

// Fills memory with zeros, which in every type of pixels are zero bytes.
template <typename Number>
void Clear(const Host& host, Number* memory, int64_t count) {
  if (memory == nullptr) return;
  ShareWork(host, count, 1, [&](int64_t, int64_t begin, int64_t end) {
    std::memset(static_cast<void*>(memory + begin), 0,
                sizeof(Number) * static_cast<size_t>(end - begin));
  });
}

template <typename Points, typename T>
bool IsEmpty(const Call<Points, T>& call) {
  return call.sizes.points() * call.sizes.image.channels == 0;
}

// Clears the gradients of a call without points or channels, which are sums over nothing.
template <typename Points, typename T>
void ClearGradients(const Host& host, const GradientCall<Points, T>& call) {
  Clear(host, call.grad_data, call.sizes.elements());
  Clear(host, call.grad_points, call.points.stored * call.points.parameters_per_item());
}

}  // namespace

template <typename Points, typename T>
bool RunOnCpu(const Host& host, const SampleCall<Points, T>& call) {
  if (IsEmpty(call)) return true;
  const auto& sizes = call.sizes;
  const auto& loops = ChooseLoops(call);
  const size_t bytes = RoundUpToLine(loops.scratch_bytes(call));
  char* scratch = nullptr;
  if (bytes > 0) {
    scratch = Allocate<char>(host, static_cast<int64_t>(bytes) * host.threads);
    if (scratch == nullptr) return false;
  }
  AdviseHugePages(call.output, sizes.points() * sizes.image.channels * int64_t{sizeof(T)});
  ShareWork(host, sizes.points(), SampleCost(sizes.image.channels, loops.passes(call.modes)),
            [&](int64_t worker, int64_t begin, int64_t end) {
              loops.sample(call, begin, end, scratch + static_cast<size_t>(worker) * bytes);
            });
  return true;
}

template <typename Points, typename T>
bool RunOnCpu(const Host& host, const GradientCall<Points, T>& call) {
  if (!call.has_outputs()) return true;
  if (IsEmpty(call)) return ClearGradients(host, call), true;
  const auto& loops = ChooseLoops(call);
  return GradientTasks<GradientCall<Points, T>>(host, call, loops, loops.first_order).Run();
}

template <typename Points, typename T>
bool RunOnCpu(const Host& host, const SecondOrderCall<Points, T>& call) {
  if (!call.has_outputs()) return true;
  const auto& sizes = call.sizes;
  const bool has_direction = call.grad_grad_data != nullptr || call.grad_grad_points != nullptr;
  if (IsEmpty(call) || !has_direction) {
    ClearGradients(host, call);
    Clear(host, call.grad_grad_output, sizes.points() * sizes.image.channels);
    return true;
  }
  if (call.grad_grad_points != nullptr) {
    const auto& loops = ChooseLoops(call);
    return GradientTasks<SecondOrderCall<Points, T>>(host, call, loops, loops.second_order).Run();
  }
  // In a direction of the data alone, the gradients are of first order, of that direction.
  Clear(host, call.grad_data, sizes.elements());
  GradientCall<Points, T> gradient = call;
  gradient.data = call.grad_grad_data;
  gradient.fill = nullptr;
  gradient.grad_data = nullptr;
  if (!RunOnCpu(host, gradient)) return false;
  if (call.grad_grad_output == nullptr) return true;
  return RunOnCpu(host, SampleCall<Points, T>{gradient, call.grad_grad_output});
}

#define TF_STN_INSTANTIATE_FOR(Source, Rank, T)                                           \
  template bool RunOnCpu(const Host&, const SampleCall<Source<Rank, Coordinate<T>>, T>&); \
  template bool RunOnCpu(const Host&, const GradientCall<Source<Rank, Coordinate<T>>, T>&);
#define TF_STN_INSTANTIATE_STORED(Source, Rank, T) \
  template bool RunOnCpu(const Host&, const SecondOrderCall<Source<Rank, Coordinate<T>>, T>&);
#define TF_STN_INSTANTIATE(T, ...)                               \
  TF_STN_FOR_EACH_SOURCE(TF_STN_INSTANTIATE_FOR, 2, T)           \
  TF_STN_FOR_EACH_SOURCE(TF_STN_INSTANTIATE_FOR, 3, T)           \
  TF_STN_FOR_EACH_STORED_SOURCE(TF_STN_INSTANTIATE_STORED, 2, T) \
  TF_STN_FOR_EACH_STORED_SOURCE(TF_STN_INSTANTIATE_STORED, 3, T)
TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_INSTANTIATE)
#undef TF_STN_INSTANTIATE
#undef TF_STN_INSTANTIATE_STORED
#undef TF_STN_INSTANTIATE_FOR

}  // namespace tf_stn

// Runs CUDA kernels on the host, so that a test executes the very source that
// nvcc compiles.  Every thread of a block is a fibre; blocks run one after the
// other.  A barrier or a shuffle switches to the next fibre until all that take
// part have arrived; who does not arrive makes the program stop with a message.
// Shared memory is poisoned before every block.

#ifndef TF_STN_TESTS_CPP_CUDA_ON_HOST_H_
#define TF_STN_TESTS_CPP_CUDA_ON_HOST_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "tests/cpp/fibres.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define TF_STN_CUDA_ON_HOST  // For cc/kernels/gpu/cuda.h.
#define __global__
#define __device__
#define __shared__ static  // Blocks do not overlap in time.
#define __launch_bounds__(...)
#define TF_STN_OUT_OF_LINE

namespace tf_stn {
namespace cuda_on_host {

constexpr unsigned int kWarpSize = 32;
constexpr size_t kStackBytes = 256 * 1024;

struct Dim3 {
  unsigned int x = 1, y = 1, z = 1;
};

// Counts arrivals; a fibre that waits leaves when the generation has changed.
struct Barrier {
  unsigned int arrived = 0;
  unsigned int generation = 0;
};

struct Fibre {
  Context context;
  char* stack = nullptr;
  Dim3 thread;
  bool done = false;
  void* sanitizer_stack = nullptr;
};

// What lanes exchange stays for one exchange more: until all of them have arrived there,
// and so have read it.
struct Warp {
  Barrier barrier;
  uint64_t exchanged[2][kWarpSize];
};

struct Block {
  Dim3 index, grid, size;
  std::vector<Fibre> fibres;
  std::vector<Warp> warps;
  Barrier barrier;
  unsigned int current = 0;
  unsigned int idle_switches = 0;  // Since a fibre last got anywhere.
  Context scheduler;
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_bytes = 0;
  std::function<void()> body;
};

inline Block* block = nullptr;

struct Memory {
  void* begin;
  size_t bytes;
};

// All shared variables that a kernel has come across.
inline std::vector<Memory>& SharedMemory() {
  static std::vector<Memory> memory;
  return memory;
}

// Fills memory with what no kernel computes: NaN, or -1.
inline void Poison(const Memory& memory) { std::memset(memory.begin, 0xff, memory.bytes); }

inline Fibre& Current() { return block->fibres[block->current]; }

// Tells AddressSanitizer that the stack is about to change, and that it has.
inline void BeforeSwitch([[maybe_unused]] void** save, [[maybe_unused]] const void* stack,
                         [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(save, stack, bytes);
#endif
}

inline void AfterSwitch([[maybe_unused]] void* saved, [[maybe_unused]] const void** from,
                        [[maybe_unused]] size_t* bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(saved, from, bytes);
#endif
}

// Gives way to the other fibres of the block.
inline void Yield() {
  Fibre& fibre = Current();
  BeforeSwitch(&fibre.sanitizer_stack, block->scheduler_stack, block->scheduler_stack_bytes);
  Switch(fibre.context, block->scheduler);
  AfterSwitch(fibre.sanitizer_stack, nullptr, nullptr);
}

// Waits until `count` fibres have arrived.
inline void Wait(Barrier& barrier, unsigned int count) {
  block->idle_switches = 0;
  const unsigned int generation = barrier.generation;
  if (++barrier.arrived == count) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  while (barrier.generation == generation) Yield();
}

inline void FibreMain() {
  AfterSwitch(nullptr, &block->scheduler_stack, &block->scheduler_stack_bytes);
  block->body();
  Current().done = true;
  block->idle_switches = 0;
  BeforeSwitch(nullptr, block->scheduler_stack, block->scheduler_stack_bytes);
  Switch(Current().context, block->scheduler);
}

inline void Resume(unsigned int thread) {
  block->current = thread;
  Fibre& fibre = block->fibres[thread];
  void* saved = nullptr;
  BeforeSwitch(&saved, fibre.stack, kStackBytes);
  Switch(block->scheduler, fibre.context);
  AfterSwitch(saved, nullptr, nullptr);
  // A full round in which nobody arrived anywhere: some thread will never come.
  if (++block->idle_switches > 4 * block->fibres.size()) {
    std::fprintf(stderr, "A barrier or a shuffle was not reached by all of its threads\n");
    std::abort();
  }
}

// Returns the stack of a thread, which all launches use in turn.
inline char* StackOf(unsigned int thread) {
  static std::vector<std::unique_ptr<char[]>> stacks;
  while (stacks.size() <= thread) stacks.emplace_back(new char[kStackBytes]);
  return stacks[thread].get();
}

inline void Prepare(Fibre& fibre, unsigned int thread) {
  fibre.stack = StackOf(thread);
  fibre.thread.x = thread;
  fibre.done = false;
  Begin(fibre.context, fibre.stack, kStackBytes, &FibreMain);
}

inline void RunBlock(Block& next) {
  block = &next;
  for (const Memory& memory : SharedMemory()) Poison(memory);
  for (unsigned int i = 0; i < next.fibres.size(); ++i) Prepare(next.fibres[i], i);
  for (bool running = true; running;) {
    running = false;
    for (unsigned int i = 0; i < next.fibres.size(); ++i) {
      if (next.fibres[i].done) continue;
      Resume(i);
      running = true;
    }
  }
  block = nullptr;
}

// Leaves `value` for the other lanes of the warp, and returns read(all values).
template <typename T, typename Read>
auto Exchange(T value, const Read& read) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  const unsigned int thread = Current().thread.x;
  Warp& warp = block->warps[thread / kWarpSize];
  uint64_t* exchanged = warp.exchanged[warp.barrier.generation % 2];
  std::memcpy(&exchanged[thread % kWarpSize], &value, sizeof(T));
  Wait(warp.barrier, kWarpSize);
  return read([&](unsigned int lane) {
    T other;
    std::memcpy(&other, &exchanged[lane], sizeof(T));
    return other;
  });
}

}  // namespace cuda_on_host

#define threadIdx (::tf_stn::cuda_on_host::Current().thread)
#define blockIdx (::tf_stn::cuda_on_host::block->index)
#define blockDim (::tf_stn::cuda_on_host::block->size)
#define gridDim (::tf_stn::cuda_on_host::block->grid)

inline void __syncthreads() {
  cuda_on_host::Wait(cuda_on_host::block->barrier,
                     static_cast<unsigned int>(cuda_on_host::block->fibres.size()));
}

template <typename T>
T __shfl_down_sync(unsigned int, T value, unsigned int delta, int width) {
  const unsigned int lane = threadIdx.x % cuda_on_host::kWarpSize;
  const unsigned int group = static_cast<unsigned int>(width);
  const unsigned int source = lane % group + delta < group ? lane + delta : lane;
  return cuda_on_host::Exchange(value, [&](const auto& of_lane) { return of_lane(source); });
}

inline unsigned int __ballot_sync(unsigned int, bool vote) {
  return cuda_on_host::Exchange(vote, [](const auto& of_lane) {
    unsigned int votes = 0;
    for (unsigned int lane = 0; lane < cuda_on_host::kWarpSize; ++lane) {
      votes |= static_cast<unsigned int>(of_lane(lane)) << lane;
    }
    return votes;
  });
}

inline int __popc(unsigned int bits) { return __builtin_popcount(bits); }

template <typename T>
T atomicAdd(T* where, T value) {
  const T before = *where;
  *where += value;
  return before;
}

// As in cc/kernels/gpu/cuda.h.
template <typename T>
struct Shared {
  Shared() {
    const cuda_on_host::Memory memory = {&value, sizeof(value)};
    cuda_on_host::Poison(memory);
    cuda_on_host::SharedMemory().push_back(memory);
  }
  T value;
};

#if defined(TF_STN_NO_ATOMIC_VECTORS)  // As on a GPU that is older.
inline constexpr bool kHasAtomicVectors = false;
#else
inline constexpr bool kHasAtomicVectors = true;
#endif

struct alignas(8) float2 {
  float x, y;
};

struct alignas(16) float4 {
  float x, y, z, w;
};

inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

template <typename Vector>
void CheckIsAligned(const Vector* where) {
  if (reinterpret_cast<uintptr_t>(where) % alignof(Vector) == 0) return;
  std::fprintf(stderr, "Not aligned: a vector of %zu bytes\n", sizeof(Vector));
  std::abort();
}

inline void atomicAdd(float2* where, float2 value) {
  CheckIsAligned(where);
  where->x += value.x;
  where->y += value.y;
}

inline void atomicAdd(float4* where, float4 value) {
  CheckIsAligned(where);
  where->x += value.x;
  where->y += value.y;
  where->z += value.z;
  where->w += value.w;
}

template <typename T>
struct TypeIdentity {
  using type = T;
};

template <typename... Parameters>
const char* Launch(void (*kernel)(Parameters...), unsigned int blocks, unsigned int threads, void*,
                   typename TypeIdentity<Parameters>::type... arguments) {
  if (blocks == 0 || threads == 0 || threads > 1024 || threads % cuda_on_host::kWarpSize != 0) {
    return "invalid configuration argument";
  }
  cuda_on_host::Block block;
  block.size.x = threads;
  block.grid.x = blocks;
  block.fibres.resize(threads);
  block.warps.resize(threads / cuda_on_host::kWarpSize);
  block.body = [&] { kernel(arguments...); };
  for (block.index.x = 0; block.index.x < blocks; ++block.index.x) cuda_on_host::RunBlock(block);
  return nullptr;
}

inline const char* FillWithZeros(void* memory, size_t bytes, void*) {
  std::memset(memory, 0, bytes);
  return nullptr;
}

}  // namespace tf_stn

#endif  // TF_STN_TESTS_CPP_CUDA_ON_HOST_H_

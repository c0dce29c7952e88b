// What a framework provides to the CPU's loops: threads and memory.

#ifndef TF_STN_CC_KERNELS_CPU_HOST_H_
#define TF_STN_CC_KERNELS_CPU_HOST_H_

#include <cstddef>
#include <cstdint>
#include <functional>

namespace tf_stn {

struct Host {
  // How many threads may work at once, the calling one included.
  int64_t threads = 1;

  // Hands a function to one of the other threads, to be called at any time.
  std::function<void(std::function<void()>)> schedule;

  // Returns memory for as long as the call lasts, aligned to 64 bytes, or null if there is none.
  std::function<void*(size_t bytes)> allocate;
};

// Returns memory for `count` numbers, or null; not null for a count of 0.
template <typename T>
T* Allocate(const Host& host, int64_t count) {
  return static_cast<T*>(host.allocate(sizeof(T) * static_cast<size_t>(count > 0 ? count : 1)));
}

// Rounds bytes up to a multiple of a cache line, so that threads do not share one.
inline size_t RoundUpToLine(size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_HOST_H_

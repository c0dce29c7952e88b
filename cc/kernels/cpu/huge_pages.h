// Huge pages for memory that is about to be written.

#ifndef TF_STN_CC_KERNELS_CPU_HUGE_PAGES_H_
#define TF_STN_CC_KERNELS_CPU_HUGE_PAGES_H_

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstdint>

namespace tf_stn {

// Asks for huge pages for memory that is about to be written for the first time: an output of 30
// MB, which TensorFlow gets from the system anew in every step, is 8,000 small pages, and to map
// them takes a third as long as to sample.  Best effort: where the system does not have them,
// nothing happens.
inline void AdviseHugePages([[maybe_unused]] void* memory, [[maybe_unused]] int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t kHugePage = 1 << 21;
  if (memory == nullptr || bytes < static_cast<int64_t>(4 * kHugePage)) return;
  const auto address = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t begin = (address + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (address + static_cast<uintptr_t>(bytes)) / kHugePage * kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_HUGE_PAGES_H_

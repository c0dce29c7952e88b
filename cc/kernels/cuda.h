// What the GPU kernels need of CUDA beyond the language.  Under a compiler that
// is not nvcc, a test provides the same by running kernels on the host.

#ifndef TF_STN_CC_KERNELS_CUDA_H_
#define TF_STN_CC_KERNELS_CUDA_H_

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)

#include <cuda_runtime_api.h>

namespace tf_stn {

// Whether four neighbouring floats can be added to memory in one atomic access.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
inline constexpr bool kHasAtomicFloat4 = true;
#else
inline constexpr bool kHasAtomicFloat4 = false;
#endif

// Runs `kernel` on `stream`.  Returns null, or what went wrong.
template <typename... Parameters, typename... Arguments>
const char* Launch(void (*kernel)(Parameters...), unsigned int blocks, unsigned int threads,
                   void* stream, const Arguments&... arguments) {
  kernel<<<blocks, threads, 0, static_cast<cudaStream_t>(stream)>>>(arguments...);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

// Fills device memory with zeros, which for every number type is 0.
inline const char* FillWithZeros(void* memory, size_t bytes, void* stream) {
  const cudaError_t error = cudaMemsetAsync(memory, 0, bytes, static_cast<cudaStream_t>(stream));
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace tf_stn

#else

#include "tests/cc/cuda_on_host.h"

#endif  // __CUDACC__

#endif  // TF_STN_CC_KERNELS_CUDA_H_

// What the GPU kernels need of CUDA beyond the language.  A test provides the same
// for another compiler, and runs the kernels on the host.

#ifndef TF_STN_CC_KERNELS_CUDA_H_
#define TF_STN_CC_KERNELS_CUDA_H_

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)

#include <cuda_runtime_api.h>

namespace tf_stn {

// Marks a function of which a kernel shall have no more than one copy.
#define TF_STN_OUT_OF_LINE __noinline__

// A variable in the memory that a block shares: __shared__ Shared<int[32]> numbers.
// It is uninitialised in every block; the test sees to it that nobody relies on more.
template <typename T>
struct Shared {
  T value;
};

// Whether two or four neighbouring floats can be added to memory in one atomic access,
// by the device and by a compiler that is not too old to say so.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900 && \
    (__CUDACC_VER_MAJOR__ > 12 || (__CUDACC_VER_MAJOR__ == 12 && __CUDACC_VER_MINOR__ >= 4))
inline constexpr bool kHasAtomicVectors = true;
#else
inline constexpr bool kHasAtomicVectors = false;
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
  cudaMemsetAsync(memory, 0, bytes, static_cast<cudaStream_t>(stream));
  const cudaError_t error = cudaGetLastError();  // Also clears it.
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace tf_stn

#elif !defined(TF_STN_CUDA_ON_HOST)
#error "Compile with nvcc or, to run kernels on the host, with -include tests/cpp/cuda_on_host.h"
#endif

#endif  // TF_STN_CC_KERNELS_CUDA_H_

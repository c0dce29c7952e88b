// The part of CUDA that the kernels use beyond the language.
//
// tests/cpp/cuda_on_host.h provides the same for other compilers, so that tests can run the kernels
// on the host.

#ifndef TF_STN_CC_KERNELS_GPU_CUDA_H_
#define TF_STN_CC_KERNELS_GPU_CUDA_H_

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)

#include <cuda_runtime_api.h>

namespace tf_stn {

// Marks a function that is called rather than inlined: code that few threads reach.
#define TF_STN_OUT_OF_LINE __noinline__

// A variable in the memory that the threads of a block share:
//
//   __shared__ Shared<int[32]> numbers;
//
// It is uninitialised at the start of every block.
template <typename T>
struct Shared {
  T value;
};

// Whether two or four neighbouring floats can be added to memory in one atomic access.  Depends on
// the device, and on the compiler, which must know the overloads.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900 && \
    (__CUDACC_VER_MAJOR__ > 12 || (__CUDACC_VER_MAJOR__ == 12 && __CUDACC_VER_MINOR__ >= 4))
inline constexpr bool kHasAtomicVectors = true;
#else
inline constexpr bool kHasAtomicVectors = false;
#endif

// Returns null for success, or the text of an error.  Also resets the error that the failed call
// has recorded, so that a later call of cudaGetLastError() by others does not find it.
inline const char* ErrorText(cudaError_t error) {
  if (error == cudaSuccess) return nullptr;
  (void)cudaGetLastError();
  return cudaGetErrorString(error);
}

template <typename T>
struct TypeIdentity {
  using type = T;
};

// Launches a kernel on a stream.  Returns null, or the text of an error.
//
// The error is the one that the launch itself returns: cudaGetLastError() might return one of an
// earlier launch, by someone else.
template <typename... Parameters>
const char* Launch(void (*kernel)(Parameters...), unsigned int blocks, unsigned int threads,
                   void* stream, typename TypeIdentity<Parameters>::type... arguments) {
  void* addresses[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
  return ErrorText(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(blocks),
                                    dim3(threads), addresses, /*sharedMem=*/0,
                                    static_cast<cudaStream_t>(stream)));
}

// Fills device memory with zero bytes, which are 0 in every number type.
inline const char* FillWithZeros(void* memory, size_t bytes, void* stream) {
  return ErrorText(cudaMemsetAsync(memory, 0, bytes, static_cast<cudaStream_t>(stream)));
}

}  // namespace tf_stn

#elif !defined(TF_STN_CUDA_ON_HOST)
#error "Compile with nvcc, or for the host with -include tests/cpp/cuda_on_host.h"
#endif

#endif  // TF_STN_CC_KERNELS_GPU_CUDA_H_

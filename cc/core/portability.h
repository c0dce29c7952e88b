// Marks functions that run on the host and, when compiled by nvcc, on the
// device too.

#ifndef TF_STN_CC_CORE_PORTABILITY_H_
#define TF_STN_CC_CORE_PORTABILITY_H_

#if defined(__CUDACC__)
#define TF_STN_HD __host__ __device__
#elif defined(TF_STN_ISA)
// A file that is compiled for an instruction set of its own leaves no copy of a
// function that the linker could give to others.
#define TF_STN_HD __attribute__((always_inline))
#else
#define TF_STN_HD
#endif

#endif  // TF_STN_CC_CORE_PORTABILITY_H_

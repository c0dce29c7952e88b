// Marks functions that run on the host and, when compiled by nvcc, on the
// device too.

#ifndef TF_STN_CC_CORE_PORTABILITY_H_
#define TF_STN_CC_CORE_PORTABILITY_H_

#if defined(__CUDACC__)
#define TF_STN_HD __host__ __device__
#else
#define TF_STN_HD
#endif

#endif  // TF_STN_CC_CORE_PORTABILITY_H_

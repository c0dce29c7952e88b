// Runs a call on the CPU: what the doors of all frameworks ask for.

#ifndef TF_STN_CC_KERNELS_CPU_RUN_H_
#define TF_STN_CC_KERNELS_CPU_RUN_H_

#include "cc/core/call.h"
#include "cc/kernels/cpu/host.h"

namespace tf_stn {

// They write all outputs that the call has, of whatever size.  They return false, and may have
// written anything, if the host has no memory.
template <typename Points, typename T>
bool RunOnCpu(const Host& host, const SampleCall<Points, T>& call);

template <typename Points, typename T>
bool RunOnCpu(const Host& host, const GradientCall<Points, T>& call);

// REQUIRES: points are stored.
template <typename Points, typename T>
bool RunOnCpu(const Host& host, const SecondOrderCall<Points, T>& call);

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_RUN_H_

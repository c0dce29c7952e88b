// Shares the work of an op among the threads of TensorFlow's pool.

#ifndef TF_STN_CC_KERNELS_SHARE_WORK_H_
#define TF_STN_CC_KERNELS_SHARE_WORK_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>

#include "cc/kernels/shared_work.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/platform/threadpool.h"
#include "tensorflow/core/util/work_sharder.h"

namespace tf_stn {

// Calls work(begin, end) for ranges that together are [0, total), each of whose units
// costs `cost` cycles.  Unlike tensorflow::Shard(), which hands all to others and
// sleeps, it loses nothing where it takes as long to wake them as to do the work.  Like it,
// it takes no more threads than the calling one may: tf.data has an option that says so.
template <typename Work>
void ShareWork(tensorflow::OpKernelContext* context, int64_t total, int64_t cost,
               const Work& work) {
  const auto& pool = *context->device()->tensorflow_cpu_worker_threads();
  const auto schedule = [&pool](std::function<void()> function) {
    pool.workers->Schedule(std::move(function));
  };
  const int threads = std::min(pool.num_threads, tensorflow::GetPerThreadMaxParallelism());
  ShareWorkAmong(threads, schedule, total, cost, work);
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_SHARE_WORK_H_

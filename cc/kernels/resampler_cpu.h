// The CPU's loops for bilinear sampling with zeros outside, in versions for several
// instruction sets.  No TensorFlow here; functors_cpu.h shares the work among threads.

#ifndef TF_STN_CC_KERNELS_RESAMPLER_CPU_H_
#define TF_STN_CC_KERNELS_RESAMPLER_CPU_H_

#include <cstdint>

#include "cc/core/coordinates.h"
#include "cc/kernels/resampler.h"

namespace tf_stn {

// A part of the gradients: points [point_begin, point_end) of one image, and of its
// rows [row_begin, row_end) of grad_data.  Either all points or all rows.
struct GradientTask {
  int64_t image;
  int64_t point_begin, point_end;  // Counted within the image.
  int64_t row_begin, row_end;
};

// What the affine points of a task add to the gradient of their matrix.
struct MatrixSums {
  double of[2][3];
};

// The rows of an image that some neighbouring points start in, those that have no
// pixel in it left aside.
struct RowRange {
  int32_t first, last;
};

// Points that one RowRange is about.
inline constexpr int64_t kRangePoints = 256;

// The loops for one instruction set.
//
// They take images of at most kMostElements elements.
template <typename Points, typename T>
struct CpuLoops {
  using Real = Coordinate<T>;

  // Writes the samples of points [begin, end), counted through the batch.
  void (*sample)(const ResamplerArguments<Points, T>& arguments, int64_t begin, int64_t end);

  // Writes ranges [begin, end) of one image's points.  Those of affine points are
  // known without.
  void (*find_rows)(const ResamplerGradArguments<Points, T>& arguments, int64_t image,
                    int64_t begin, int64_t end, RowRange* ranges);

  // Writes the gradients of a task, as far as the arguments ask for them.  `sums` is
  // the place of grad_data in the type of sums: grad_data itself, or a copy that is
  // rounded to it.  `ranges` are those of the image, or null if they are not known.
  // For affine points, `matrix_sums` gets what the task adds to their gradient.
  void (*gradients)(const ResamplerGradArguments<Points, T>& arguments, const GradientTask& task,
                    const RowRange* ranges, Real* sums, MatrixSums* matrix_sums);
};

inline constexpr int64_t kMostElements = int64_t{1} << 30;

// Returns the best loops that this processor can run.  TF_STN_CPU_ISA in the environment
// names lesser ones: avx512, avx2, baseline, or core for none at all, in which case null
// is returned and the loops of cc/core/resample.h are to be used.
template <typename Points, typename T>
const CpuLoops<Points, T>* LoopsForThisCpu();

}  // namespace tf_stn

// Returns the name of what was chosen.
extern "C" const char* tf_stn_cpu_isa();

#endif  // TF_STN_CC_KERNELS_RESAMPLER_CPU_H_

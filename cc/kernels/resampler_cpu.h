// The CPU's loops in versions for several instruction sets: some for bilinear sampling with
// zeros outside, by which most networks are trained, and others for every mode, rank and
// order.  No TensorFlow here; functors_cpu.h shares the work among threads.

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

template <typename T>
using WarpGradGradArguments = ResamplerGradGradArguments<WarpPoints<2, Coordinate<T>>, T>;

// The loops for the second order of the same, of a warp, where there is a grad_grad_warp;
// what is without one is of the first order, of grad_grad_data.
template <typename T>
struct SecondOrderCpuLoops {
  // As CpuLoops::gradients.
  void (*gradients)(const WarpGradGradArguments<T>& arguments, const GradientTask& task,
                    const RowRange* ranges, Coordinate<T>* sums);
};

// Images to sample, with zeros or `fill` outside; if it is directed, the derivative of
// their samples in the direction of the points.
template <typename T>
struct Term {
  const T* data;
  const T* fill;
  bool is_directed;
};

// What the loops for every mode work on.
template <typename Points, typename T>
struct CpuSampling {
  Modes modes;  // Without a derivative.
  ResamplerSizes<Points::kRank> sizes;
  Points points;
  const Coordinate<T>* directions;  // As a warp; null if nothing is directed.
  Term<T> terms[2];                 // Whose samples are added up.
  int terms_count;
  const T* grad_output;  // [images, points_per_image, channels]; for gradients.
};

// They take images of at least two rows and columns, at most kMostElements elements and
// fewer than kMostPixels along an axis.
template <typename Points, typename T>
struct AnyCpuLoops {
  using Real = Coordinate<T>;

  // Writes the samples of points [begin, end), counted through the batch.
  void (*sample)(const CpuSampling<Points, T>& sampling, int64_t begin, int64_t end, T* output);

  // Writes the gradient of stored points [begin, end) of a warp.
  void (*warp_gradient)(const CpuSampling<Points, T>& sampling, int64_t begin, int64_t end,
                        Real* grad_warp);

  // Writes what points [begin, end) of an output add to the gradient of its matrix.
  void (*matrix_gradient)(const CpuSampling<Points, T>& sampling, int64_t matrix, int64_t begin,
                          int64_t end, double* sums);

  // Writes for ranges [begin, end) of one image's points the rows, or slices, that they
  // may read.
  void (*find_rows)(const CpuSampling<Points, T>& sampling, int64_t image, int64_t begin,
                    int64_t end, RowRange* ranges);

  // Writes rows [row_begin, row_end) of an image's gradient; if there are directions, by
  // weights that are differentiated in them.  `ranges` are those of the image, or null.
  void (*scatter)(const CpuSampling<Points, T>& sampling, int64_t image, int64_t row_begin,
                  int64_t row_end, const RowRange* ranges, Real* grad_image);
};

inline constexpr int64_t kMostPixels = int64_t{1} << 27;

// Returns the best loops that this processor can run.  TF_STN_CPU_ISA in the environment
// names lesser ones: avx512, avx2, baseline, or core for none at all, in which case null
// is returned and the loops of cc/core/resample.h are to be used.
template <typename Points, typename T>
const CpuLoops<Points, T>* LoopsForThisCpu();

template <typename T>
const SecondOrderCpuLoops<T>* SecondOrderLoopsForThisCpu();

template <typename Points, typename T>
const AnyCpuLoops<Points, T>* AnyLoopsForThisCpu();

}  // namespace tf_stn

// Returns the name of what was chosen.
extern "C" const char* tf_stn_cpu_isa();

#endif  // TF_STN_CC_KERNELS_RESAMPLER_CPU_H_

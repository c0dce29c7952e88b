// The interface of loops over points, of which there are several kinds: the plain loops of cc/core,
// and loops in vectors for several instruction sets.  cc/kernels/cpu/run.h divides a call into the
// parts that they take.

#ifndef TF_STN_CC_KERNELS_CPU_LOOPS_H_
#define TF_STN_CC_KERNELS_CPU_LOOPS_H_

#include <cstddef>
#include <cstdint>

#include "cc/core/call.h"
#include "cc/core/points.h"

namespace tf_stn {

// The bands of an image, from the first to the last one, in which a point may have pixels; none if
// `first` is greater.
struct BandRange {
  uint16_t first, last;

  bool is_none() const { return first > last; }
};

inline constexpr int kBlockOfBands = 64;

// `scratch` is memory of the calling thread, of scratch_bytes(call).
template <typename CallType>
struct GradientLoops {
  using Real = typename CallType::Real;

  // Computes what is asked for of the points of a run: their gradient, and of the second order
  // their samples.  The gradient of points that are stored is written; that of an item's parameters
  // is added to `item_sums`.
  void (*of_points)(const CallType& call, const Run& run, double* item_sums, void* scratch);

  // Adds the gradient of a band's slabs to `grad_image`, the start of the image's gradient in the
  // type of sums.
  void (*of_data)(const CallType& call, const Band& band, Real* grad_image, void* scratch);

  // Does both for all slabs of the run's image at once, if the loops can; otherwise null.
  void (*of_both)(const CallType& call, const Run& run, Real* grad_image, double* item_sums,
                  void* scratch);

  // Returns the bands of a block of points, a run of at most kBlockOfBands; if these are several,
  // writes those of each point.  Null if of_data() needs no list of points.
  BandRange (*find_bands)(const CallType& call, const Run& block, const uint16_t* band_of_slab,
                          BandRange* ranges);
};

template <typename Points, typename T>
struct Loops {
  // Passes over the points that it takes to read all pixels of a stencil.
  int (*passes)(const Modes& modes);

  size_t (*scratch_bytes)(const Call<Points, T>& call);

  // Writes the samples of points [begin, end), numbered through the batch.
  void (*sample)(const SampleCall<Points, T>& call, int64_t begin, int64_t end, void* scratch);

  GradientLoops<GradientCall<Points, T>> first_order;
  GradientLoops<SecondOrderCall<Points, T>> second_order;  // Of points that are stored.

  // Writes sums as pixels.
  void (*round)(const Coordinate<T>* sums, int64_t count, T* pixels);
};

// Kinds of loops, each of which takes some calls.
//
//   kBilinear   images, linear interpolation with zeros outside, by which most networks train;
//   kSeparable  every mode and rank, axis by axis;
//   kPlain      every call.
enum class LoopKind { kBilinear, kSeparable, kPlain };

// Images and volumes of more elements are sampled by the plain loops, as the others' indices have
// 32 bits.
inline constexpr int64_t kMostElements = int64_t{1} << 30;

// And so are those that have so many pixels along an axis.
inline constexpr int64_t kMostPixels = int64_t{1} << 27;

// Returns the fastest loops of a kind that this processor can run; null if there are none for such
// points, or if the environment variable TF_STN_CPU_ISA asks for the plain loops.  It may name a
// lesser instruction set than the processor's: avx512, avx2, baseline or plain.
template <LoopKind kKind, typename Points, typename T>
const Loops<Points, T>* LoopsForThisCpu();

}  // namespace tf_stn

// Returns the name of the instruction set in use.
extern "C" const char* tf_stn_cpu_isa();

#endif  // TF_STN_CC_KERNELS_CPU_LOOPS_H_

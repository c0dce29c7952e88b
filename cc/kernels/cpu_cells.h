// The gradient of small images of one channel, summed by cells.
//
// A point adds to four pixels, two by two.  Added one by one they are four loads and
// four stores, more than all else of its gradient.  Here every place that a stencil
// can have is a cell of four sums, next to each other, which a point adds to at once.
// At the end each pixel is the sum of what the cells around have for it: in an order
// that depends on nothing, and for each cell in that of the points.

#ifndef TF_STN_CC_KERNELS_CPU_CELLS_H_
#define TF_STN_CC_KERNELS_CPU_CELLS_H_

#include <cstdint>

#include "cc/core/stencil.h"
#include "cc/kernels/cpu_pixels.h"
#include "cc/kernels/cpu_stencils.h"
#include "cc/kernels/cpu_vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {

template <typename Real>
class Cells {
 public:
  static constexpr int64_t kMostBytes = 1 << 16;

  // Whether there are so many points that it pays to go through all cells at the end,
  // and the cells fit into a cache near by.
  static bool Pays(const Extent<2>& image, int64_t points) {
    return image.channels == 1 && points >= image.elements() &&
           Size(image) * static_cast<int64_t>(sizeof(Real)) <= kMostBytes;
  }

  // Returns how many numbers it needs room for.
  static int64_t Size(const Extent<2>& image) {
    // What is read at the end of the last cells, and two rows of sums.
    return kTaps * (image.elements() + kCount) + 2 * RowSize(image);
  }

  // REQUIRES: `memory` has room for Size() numbers.
  Cells(const Extent<2>& image, Real* memory) : image_(image), cells_(memory) {
    __builtin_memset(cells_, 0, static_cast<size_t>(Size(image)) * sizeof(Real));
  }

  // Adds a block of points, given their dL/dV.
  template <typename T>
  void Add(const Block<Real>& block, const T* grad_output) {
    using Reals = RealVector<Real>;
    for (int i = 0; i < block.count; i += kCount) {
      const Reals gradient = LoadLanes(grad_output + i, block.count - i);
      const auto used = LoadElements<kCount>(block.used + i);
      Reals part[kTaps];
      for (int k = 0; k < kTaps; ++k) {
        part[k] = LoadElements<kCount>(block.weight[k] + i) * gradient;
        if (!block.all_used) part[k] = (used & (1 << k)) != 0 ? part[k] : Reals{};
      }
      Reals even[2], odd[2];
      Interleave<Real>(part[0], part[2], &even[0], &even[1]);
      Interleave<Real>(part[1], part[3], &odd[0], &odd[1]);
      alignas(64) Reals of_point[kTaps];
      for (int half = 0; half < 2; ++half) {
        Interleave<Real>(even[half], odd[half], &of_point[2 * half], &of_point[2 * half + 1]);
      }
      const Real* const parts = reinterpret_cast<const Real*>(&of_point);
      const int count = block.count - i < kCount ? block.count - i : kCount;
      for (int j = 0; j < count; ++j) {
        Real* const cell = cells_ + kTaps * block.offset[i + j];
        Store<kTaps>(LoadElements<kTaps>(cell) + LoadElements<kTaps>(parts + kTaps * j), cell);
      }
    }
  }

  // Writes the image's gradient.
  void Finish(Real* grad_image) const {
    using Reals = RealVector<Real>;
    const int64_t width = image_.size[1];
    Real* const sums = cells_ + kTaps * (image_.elements() + kCount);
    Real* const below = sums + RowSize(image_);  // For the next row.
    IndexVector<Real> shift{};
    for (int i = 0; i < kCount; ++i) shift[i] = kCount - 1 + i;
    for (int64_t row = 0; row < image_.size[0]; ++row) {
      Reals last_right{}, last_lower_right{};
      for (int64_t x = 0; x < width; x += kCount) {
        const Real* const cells = cells_ + kTaps * (row * width + x);
        Reals even[2], odd[2], left, right, lower_left, lower_right;
        for (int half = 0; half < 2; ++half) {
          Deinterleave<Real>(LoadElements<kCount>(cells + 2 * half * kCount),
                             LoadElements<kCount>(cells + (2 * half + 1) * kCount), &even[half],
                             &odd[half]);
        }
        Deinterleave<Real>(even[0], even[1], &left, &lower_left);
        Deinterleave<Real>(odd[0], odd[1], &right, &lower_right);
        Store<kCount>(
            LoadElements<kCount>(below + x) + left + __builtin_shuffle(last_right, right, shift),
            sums + x);
        Store<kCount>(lower_left + __builtin_shuffle(last_lower_right, lower_right, shift),
                      below + x);
        last_right = right;
        last_lower_right = lower_right;
      }
      __builtin_memcpy(grad_image + row * width, sums, static_cast<size_t>(width) * sizeof(Real));
    }
  }

 private:
  static constexpr int kCount = kLanes<Real>;

  static int64_t RowSize(const Extent<2>& image) { return image.size[1] + kCount; }

  const Extent<2>& image_;
  Real* const cells_;  // [height, width, kTaps]; the last of a row and of a column stay empty.
};

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_CELLS_H_

// Stencils of every interpolation, padding and rank as passes, each of which reads 2x2
// neighbouring pixels of a slice for every point of a block: one for images and linear
// interpolation, four for cubic; once for each slice that a volume's stencil reads.  Cubic
// images that are not directed go by cpu_cubic.h instead.

#ifndef TF_STN_CC_KERNELS_CPU_PASSES_H_
#define TF_STN_CC_KERNELS_CPU_PASSES_H_

#include <cstdint>
#include <type_traits>

#include "cc/core/coordinates.h"
#include "cc/core/modes.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cpu_axes.h"
#include "cc/kernels/cpu_stencils.h"
#include "cc/kernels/cpu_vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {

// Up to kBlockPoints points of one image: x first.
template <int Rank, typename Real>
struct alignas(64) Coordinates {
  Real of[Rank][kBlockPoints];
  int count;

  // Repeats the last point until the last vector is full.
  TF_STN_INLINE void Fill() {
    for (int d = 0; d < Rank; ++d) {
      for (int i = count; i % kLanes<Real> != 0; ++i) of[d][i] = of[d][count - 1];
    }
  }
};

// Reads points [q, q + count) of image n.
template <int Rank, typename Real>
TF_STN_INLINE void ReadPoints(const WarpPoints<Rank, Real>& points, int64_t n, int64_t q, int count,
                              Coordinates<Rank, Real>* coordinates) {
  const Real* const warp = points.warp + (n * points.per_image + q) * Rank;
  for (int i = 0; i < count; ++i) {
    for (int d = 0; d < Rank; ++d) coordinates->of[d][i] = warp[i * Rank + d];
  }
  coordinates->count = count;
  coordinates->Fill();
}

// Line by line of the output.
template <int Rank, typename Real>
TF_STN_INLINE void ReadPoints(const AffinePoints<Rank, Real>& points, int64_t n, int64_t q,
                              int count, Coordinates<Rank, Real>* coordinates) {
  const int64_t width = points.size[Rank - 1];
  for (int i = 0; i < count;) {
    int64_t pixel[Rank];
    const int64_t output = points.PixelOf(q + i, pixel);
    const Real* row =
        points.matrix + (n * points.per_image + output) * AffinePoints<Rank, Real>::kParameters;
    const int64_t left = width - pixel[0];
    const int until = left < count - i ? i + static_cast<int>(left) : count;
    for (int d = 0; d < Rank; ++d, row += Rank + 1) {
      Real start = row[Rank];
      for (int k = Rank - 1; k > 0; --k) start += row[k] * static_cast<Real>(pixel[k]);
      const int first = static_cast<int>(i);
      for (int j = first; j < until; ++j) {
        coordinates->of[d][j] = row[0] * static_cast<Real>(pixel[0] + (j - first)) + start;
      }
    }
    i = until;
  }
  coordinates->count = count;
  coordinates->Fill();
}

// 2x2 pixels of every point of a block: one pair of taps along each axis.
template <int Rank, typename Real>
struct Pass {
  using Reals = RealVector<Real>;
  using Indices = IndexVector<Real>;

  const AxisTaps<Real>* axes;
  IndexOf<Real> strides[Rank];
  int pairs[Rank];

  // Writes the products of the axes' factors, of these orders, for a vector of points
  // from i on: for taps (x0, y0), (x1, y0), (x0, y1), (x1, y1).
  TF_STN_INLINE void Products(const int* orders, int i, Reals* products) const {
    const auto factor = [&](int d, int slot) {
      return LoadElements<kLanes<Real>>(axes[d].factor[pairs[d]][orders[d]][slot] + i);
    };
    Reals in_y[] = {factor(1, 0), factor(1, 1)};
    if constexpr (Rank == 3) {
      const Reals in_z = factor(2, 0);
      for (Reals& y : in_y) y *= in_z;
    }
    const Reals in_x[] = {factor(0, 0), factor(0, 1)};
    for (int k = 0; k < kTaps; ++k) products[k] = in_x[k % 2] * in_y[k / 2];
  }

  TF_STN_INLINE Indices First(int d, int i) const {
    return LoadElements<kLanes<Real>>(axes[d].first[pairs[d]] + i);
  }

  // Returns where the first pixel is.
  TF_STN_INLINE Indices Offset(int i) const {
    Indices offset{};
    for (int d = 0; d < Rank; ++d) offset += First(d, i) * strides[d];
    return offset;
  }
};

// The stencils of a block of points.
template <int Rank, typename Real>
class Stencils {
 public:
  using Index = IndexOf<Real>;

  // Of what is needed up to `orders - 1` derivatives along an axis.
  // REQUIRES: sizes as AnyCpuLoops takes them.
  TF_STN_INLINE Stencils(const Modes& modes, const Extent<Rank>& image) : modes_(modes) {
    int64_t stride = image.channels;
    for (int d = 0; d < Rank; ++d) {
      const int64_t size = image.size[Rank - 1 - d];
      sizes_[d] = static_cast<Index>(size);
      strides_[d] = static_cast<Index>(stride);
      stride *= size;
    }
  }

  TF_STN_INLINE void Find(const Coordinates<Rank, Real>& coordinates, int orders) {
    count_ = coordinates.count;
    for (int d = 0; d < Rank; ++d) FindAxis(coordinates, d, orders);
  }

  // Along one axis alone.  Not inlined: it is large, and called for blocks of points.
  __attribute__((noinline)) void FindAxis(const Coordinates<Rank, Real>& coordinates, int d,
                                          int orders) {
    const auto find = [&](auto interpolation, auto pairs) {
      TF_STN_ISA::FindAxis<typename decltype(interpolation)::type, decltype(pairs)::value, Real>(
          modes_.padding, sizes_[d], coordinates.of[d], coordinates.count, orders, &axes_[d]);
    };
    const auto find_in_pairs = [&](auto interpolation) {
      if (d == 2) return find(interpolation, std::false_type());
      find(interpolation, std::true_type());
    };
    switch (modes_.interpolation) {
      case InterpolationMode::kNearest:
        return find_in_pairs(TypeTag<Nearest>());
      case InterpolationMode::kLinear:
        return find_in_pairs(TypeTag<Linear>());
      case InterpolationMode::kCubic:
        return find_in_pairs(TypeTag<Cubic>());
    }
  }

  // Calls body(pass, whether it is the first one).
  template <typename Body>
  TF_STN_INLINE void ForPasses(const Body& body) const {
    Pass<Rank, Real> pass{axes_, {}, {}};
    for (int d = 0; d < Rank; ++d) pass.strides[d] = strides_[d];
    const int slices = Rank == 3 ? axes_[Rank - 1].pairs : 1;
    for (int z = 0; z < slices; ++z) {
      if (Rank == 3) pass.pairs[Rank - 1] = z;
      for (int y = 0; y < axes_[1].pairs; ++y) {
        for (int x = 0; x < axes_[0].pairs; ++x) {
          if (axes_[0].is_empty[x] || axes_[1].is_empty[y]) continue;
          pass.pairs[0] = x;
          pass.pairs[1] = y;
          body(pass, x + y + z == 0);
        }
      }
    }
  }

  TF_STN_INLINE bool IsCubic() const { return modes_.interpolation == InterpolationMode::kCubic; }

  int count() const { return count_; }
  const AxisTaps<Real>& axis(int d) const { return axes_[d]; }

  // Whether a tap that has a factor of these orders has no pixel: -1 or 0, for a vector of
  // points from i on.
  TF_STN_INLINE IndexVector<Real> SticksOut(const int* orders, int i) const {
    IndexVector<Real> sticks_out{};
    for (int d = 0; d < Rank; ++d) {
      sticks_out |= LoadElements<kLanes<Real>>(axes_[d].sticks_out[orders[d]] + i);
    }
    return sticks_out;
  }

 private:
  const Modes& modes_;
  Index sizes_[Rank], strides_[Rank];
  int count_ = 0;
  AxisTaps<Real> axes_[Rank];
};

// Makes a pass a block, for the loops over pixels, with the weights that
// weights_of(i, weights) writes for a vector of points from i on.  `outside` is -0, which
// adds nothing.
template <int Rank, typename Real, typename Weights>
TF_STN_INLINE void MakeBlock(const Pass<Rank, Real>& pass, int count, const Weights& weights_of,
                             Block<Real>* block) {
  using Indices = IndexVector<Real>;
  Indices all_used = Indices{} - 1;
  block->count = count;
  for (int i = 0; i < count; i += kLanes<Real>) {
    RealVector<Real> weights[kTaps];
    weights_of(i, weights);
    Indices used{};
    for (int k = 0; k < kTaps; ++k) {
      Store<kLanes<Real>>(weights[k], block->weight[k] + i);
      used |= (weights[k] != 0) & (1 << k);
    }
    const Indices offset = pass.Offset(i);
    __builtin_memcpy(block->offset + i, &offset, sizeof(offset));
    __builtin_memcpy(block->used + i, &used, sizeof(used));
    Store<kLanes<Real>>(Broadcast<kLanes<Real>>(-Real(0)), block->outside + i);
    all_used &= used == kAllTaps;
  }
  block->all_used = !Any(~all_used);
}

// Takes from a block what is not to be added to rows [row_begin, row_end), and NaNs.  A row
// is a slice of a volume.
template <int Rank, typename Real>
TF_STN_INLINE void ClipToRows(const Pass<Rank, Real>& pass, int64_t row_begin, int64_t row_end,
                              Block<Real>* block) {
  using Indices = IndexVector<Real>;
  const auto begin = static_cast<IndexOf<Real>>(row_begin);
  const auto end = static_cast<IndexOf<Real>>(row_end);
  Indices all_used = Indices{} - 1;
  for (int i = 0; i < block->count; i += kLanes<Real>) {
    Indices used = LoadElements<kLanes<Real>>(block->used + i);
    const Indices row = pass.First(Rank - 1, i);
    if constexpr (Rank == 3) {
      used &= (row >= begin) & (row < end);
    } else {
      used &= ((row >= begin) & (row < end) & 3) | ((row >= begin - 1) & (row < end - 1) & 12);
    }
    for (int k = 0; k < kTaps; ++k) {
      const auto weight = LoadElements<kLanes<Real>>(block->weight[k] + i);
      used &= (weight == weight) | ~(Indices{} + (1 << k));
    }
    __builtin_memcpy(block->used + i, &used, sizeof(used));
    all_used &= used == kAllTaps;
  }
  block->all_used = !Any(~all_used);
}

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_PASSES_H_

// Stencils of every interpolation, padding and rank as passes, each of which reads 2x2 neighbouring
// pixels of a slice for every point of a block: one for images and linear interpolation, four for
// cubic; once for each slice that a volume's stencil reads.

#ifndef TF_STN_CC_KERNELS_CPU_SIMD_PASSES_H_
#define TF_STN_CC_KERNELS_CPU_SIMD_PASSES_H_

#include <cstdint>
#include <type_traits>

#include "cc/core/call.h"
#include "cc/core/modes.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cpu/simd/axes.h"
#include "cc/kernels/cpu/simd/bilinear_stencils.h"
#include "cc/kernels/cpu/simd/gradients.h"
#include "cc/kernels/cpu/simd/pixels.h"
#include "cc/kernels/cpu/simd/points.h"
#include "cc/kernels/cpu/simd/vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {

// Up to kBlockPoints points of one image, or directions or gradients of points: an array for each
// axis of the stencils.
template <int Rank, typename Real>
struct alignas(64) PointArrays {
  Real of[Rank][kBlockRoom<Real>];
};

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
//
// Axis 0 is the one along which pixels follow each other, as a rule that of x, axis 1 that of y. An
// image of one column is taken for one of one row, with these two exchanged.
template <int Rank, typename Real>
class Stencils {
 public:
  using Index = IndexOf<Real>;

  // REQUIRES: sizes as separable loops take them.
  TF_STN_INLINE Stencils(const Modes& modes, const Extent<Rank>& image)
      : modes_(modes), is_column_(image.size[Rank - 1] == 1) {
    int64_t stride = image.channels;
    for (int c = 0; c < Rank; ++c) {
      const int64_t size = image.size[Rank - 1 - c];
      sizes_[AxisOf(c)] = static_cast<Index>(size);
      strides_[AxisOf(c)] = static_cast<Index>(stride);
      base_[AxisOf(c)] = modes.derivative[c];
      stride *= size;
    }
  }

  // Returns the axis of a coordinate: 0 for x.
  TF_STN_INLINE int AxisOf(int coordinate) const {
    return is_column_ && coordinate < 2 ? 1 - coordinate : coordinate;
  }

  // Returns the axis of slabs.
  TF_STN_INLINE int SlabAxis() const { return AxisOf(Rank - 1); }

  // Returns the images, or slices of volumes, that passes read.
  TF_STN_INLINE Extent<2> Slice(int64_t channels) const {
    return {{sizes_[1], sizes_[0]}, channels};
  }

  // Finds what is needed for `orders - 1` derivatives along an axis.
  TF_STN_INLINE void Find(const PointArrays<Rank, Real>& points, int count, int orders) {
    count_ = count;
    for (int d = 0; d < Rank; ++d) FindAxis(points, d, orders);
  }

  // Along one axis alone, for the points of the last Find().  Not inlined: it is large, and called
  // for blocks of points.
  __attribute__((noinline)) void FindAxis(const PointArrays<Rank, Real>& points, int d,
                                          int orders) {
    VisitInterpolation(modes_.interpolation, [&](auto tag) {
      using Interpolation = typename decltype(tag)::type;
      const auto find = [&](auto in_pairs) {
        AxisFinder<Interpolation, decltype(in_pairs)::value, Real> finder(
            modes_.padding, sizes_[d], base_[d], orders, &axes_[d]);
        finder.Find(points.of[d], count_);
      };
      if (d == 2 || sizes_[d] == 1) return find(std::false_type());
      find(std::true_type());
    });
  }

  void set_count(int count) { count_ = count; }

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
          pass.pairs[0] = x;
          pass.pairs[1] = y;
          body(pass, x + y + z == 0);
        }
      }
    }
  }

  TF_STN_INLINE int CountPasses() const {
    const int of_slice = axes_[0].pairs * axes_[1].pairs;
    return Rank == 3 ? of_slice * axes_[Rank - 1].pairs : of_slice;
  }

  // Whether the 4x4 pixels of a point can be read at once.
  TF_STN_INLINE bool HasFourTaps() const {
    return Rank == 2 && TapsOf(modes_.interpolation) == 4 && sizes_[0] > 1 && sizes_[1] > 1;
  }

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

  // Returns the weights, of these orders, of what is outside the image.  From the weights outside
  // along each axis, since the sum of those inside may have been rounded to that of all.
  TF_STN_INLINE RealVector<Real> OutsideWeight(const int* orders, int i) const {
    using Reals = RealVector<Real>;
    const auto all = [&](int d) {
      return Reals{} + (base_[d] + orders[d] == 0 ? Real(1) : Real(0));
    };
    Reals before = Reals{} + 1, sum{};
    for (int d = 0; d < Rank; ++d) {
      Reals part = before * LoadElements<kLanes<Real>>(axes_[d].outside[orders[d]] + i);
      for (int e = d + 1; e < Rank; ++e) part *= all(e);
      sum += part;
      before *= all(d) - LoadElements<kLanes<Real>>(axes_[d].outside[orders[d]] + i);
    }
    return sum;
  }

 private:
  const Modes& modes_;
  const bool is_column_;
  Index sizes_[Rank], strides_[Rank];
  int base_[Rank];
  int count_ = 0;
  AxisTaps<Real> axes_[Rank];
};

// The arrays of coordinates, x first, wherever their axes are.
template <int Rank, typename Real>
struct CoordinateArrays {
  Real* const to[Rank];
};

template <int Rank, typename Real>
TF_STN_INLINE CoordinateArrays<Rank, Real> CoordinatesOf(const Stencils<Rank, Real>& stencils,
                                                         PointArrays<Rank, Real>* arrays) {
  const auto of = [&](int coordinate) { return arrays->of[stencils.AxisOf(coordinate)]; };
  if constexpr (Rank == 2) {
    return {{of(0), of(1)}};
  } else {
    return {{of(0), of(1), of(2)}};
  }
}

// The weights of a pass, and the places of its pixels, for a block of points.
template <typename Real>
struct alignas(64) PassWeights {
  using Index = IndexOf<Real>;

  Real weight[kTaps][kBlockPoints];
  Index offset[kBlockPoints];  // Of the first tap.
  Index used[kBlockPoints];    // Bits: taps that have weight.
};

// Writes those that weights_of(i, weights) gives for a vector of points from i on; also to a Block.
// Returns whether every tap of every point is used.
template <int Rank, typename Real, typename Weights, typename To>
TF_STN_INLINE bool WriteWeights(const Pass<Rank, Real>& pass, int count, const Weights& weights_of,
                                To* to) {
  using Indices = IndexVector<Real>;
  Indices all_used = Indices{} - 1;
  for (int i = 0; i < count; i += kLanes<Real>) {
    RealVector<Real> weights[kTaps];
    weights_of(i, weights);
    Indices used{};
    for (int k = 0; k < kTaps; ++k) {
      Store<kLanes<Real>>(weights[k], to->weight[k] + i);
      used |= (weights[k] != 0) & (1 << k);
    }
    const Indices offset = pass.Offset(i);
    __builtin_memcpy(to->offset + i, &offset, sizeof(offset));
    __builtin_memcpy(to->used + i, &used, sizeof(used));
    all_used &= used == kAllTaps;
  }
  return !Any(~all_used);
}

// Makes a pass a block, for the loops over pixels.  `outside` is -0, which adds nothing.
template <int Rank, typename Real, typename Weights>
TF_STN_INLINE void MakeBlock(const Pass<Rank, Real>& pass, int count, const Weights& weights_of,
                             Block<Real>* block) {
  block->count = count;
  block->all_used = WriteWeights(pass, count, weights_of, block);
  for (int i = 0; i < count; i += kLanes<Real>) {
    Store<kLanes<Real>>(Broadcast<kLanes<Real>>(-Real(0)), block->outside + i);
  }
}

// Removes the taps outside of slabs [slab_begin, slab_end), and those whose weights are NaN.  Slabs
// are along axis `slab_axis`.  Returns whether any tap is left.
template <int Rank, typename Real>
TF_STN_INLINE bool ClipToBand(const Pass<Rank, Real>& pass, int slab_axis, int64_t slab_begin,
                              int64_t slab_end, int count, PassWeights<Real>* weights) {
  using Indices = IndexVector<Real>;
  const auto begin = static_cast<IndexOf<Real>>(slab_begin);
  const auto end = static_cast<IndexOf<Real>>(slab_end);
  // The taps, as bits, on the first and on the second pixel of a pair along that axis.
  const int first = slab_axis == 0 ? 5 : 3, second = kAllTaps - first;
  Indices any{};
  for (int i = 0; i < count; i += kLanes<Real>) {
    Indices used = LoadElements<kLanes<Real>>(weights->used + i);
    const Indices slab = pass.First(slab_axis, i);
    if (slab_axis == 2) {
      used &= (slab >= begin) & (slab < end);
    } else {
      used &= ((slab >= begin) & (slab < end) & first) |
              ((slab >= begin - 1) & (slab < end - 1) & second);
    }
    for (int k = 0; k < kTaps; ++k) {
      const auto weight = LoadElements<kLanes<Real>>(weights->weight[k] + i);
      used &= (weight == weight) | ~(Indices{} + (1 << k));
    }
    __builtin_memcpy(weights->used + i, &used, sizeof(used));
    any |= used;
  }
  return Any(any);
}

// Adds the gradient of data of a block of points: point by point, and all passes of a point one
// after the other, so that the order of sums does not depend on which points are together in a
// block.
template <int kChannels, typename T>
void AddPasses(const PassWeights<Coordinate<T>>* passes, int number, int count,
               const GradientBlock<T>& gradient) {
  using Real = Coordinate<T>;
  const TapOffsets taps(gradient.image);
  const GradOutputs<T> grad_outputs = gradient.grad_outputs;
  Real* const grad_image = gradient.grad_image;
  const int64_t channels = kChannels == kAnyChannels ? gradient.image.channels : kChannels;
  for (int p = 0; p < count; ++p) {
    const T* const grad_output = grad_outputs.Of(p, channels);
    Pixel<Real, kChannels == kAnyChannels ? 1 : kChannels> grad{};
    if constexpr (kChannels != kAnyChannels) grad = LoadPixelExactly<kChannels>(grad_output);
    for (int i = 0; i < number; ++i) {
      const auto used = passes[i].used[p];
      if (used == 0) continue;
      Real* const pixel = grad_image + passes[i].offset[p];
      for (int k = 0; k < kTaps; ++k) {
        if (used != kAllTaps && (used & (1 << k)) == 0) continue;
        const Real weight = passes[i].weight[k][p];
        Real* const to = pixel + taps.at[k];
        if constexpr (kChannels == kAnyChannels) {
          ForChannels<Real>(channels, [&](auto width, int64_t c) {
            constexpr int kWidth = decltype(width)::value;
            Store<kWidth>(Load<kWidth>(to + c) + weight * Load<kWidth>(grad_output + c), to + c);
          });
        } else {
          AddPixel<kChannels, Real>(weight * grad, to);
        }
      }
    }
  }
}

template <typename T>
TF_STN_INLINE void AddPasses(const PassWeights<Coordinate<T>>* passes, int number, int count,
                             const GradientBlock<T>& gradient) {
  VisitChannels(gradient.image.channels, [&](auto channels) {
    AddPasses<decltype(channels)::value, T>(passes, number, count, gradient);
  });
}

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_SIMD_PASSES_H_

// Stencils of four taps along both axes of an image, all 4x4 pixels of a point at once, summed in
// registers, which takes half the time of four passes over 2x2 pixels.

#ifndef TF_STN_CC_KERNELS_CPU_SIMD_FOUR_TAPS_H_
#define TF_STN_CC_KERNELS_CPU_SIMD_FOUR_TAPS_H_

#include <cstdint>
#include <type_traits>

#include "cc/core/points.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cpu/simd/axes.h"
#include "cc/kernels/cpu/simd/bilinear_stencils.h"
#include "cc/kernels/cpu/simd/gradients.h"
#include "cc/kernels/cpu/simd/pixels.h"
#include "cc/kernels/cpu/simd/vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {

inline constexpr int kFour = 4;  // Taps along each axis.

// The stencils of a block of points, with factors for kOrders - 1 derivatives.
template <int kOrders, typename Real>
class FourTapStencils {
 public:
  using Index = IndexOf<Real>;

  // REQUIRES: the axes have four taps.
  TF_STN_INLINE FourTapStencils(const AxisTaps<Real>& x, const AxisTaps<Real>& y, int count,
                                const Extent<2>& image)
      : x_(x), y_(y), channels_(image.channels), slab_elements_(image.slab_elements()) {
    using Reals = RealVector<Real>;
    const auto channels = static_cast<Index>(channels_);
    const auto slab_elements = static_cast<Index>(slab_elements_);
    // The product of two factors that are greater is not zero.
    constexpr Real kTiny = static_cast<Real>(sizeof(Real) == 8 ? 1e-150 : 1e-18);
    for (int i = 0; i < count; i += kLanes<Real>) {
      IndexVector<Real> is_whole = IndexVector<Real>{} - 1;
      for (int order = 0; order < kOrders; ++order) {
        for (int k = 0; k < kFour; ++k) {
          for (const AxisTaps<Real>* axis : {&x, &y}) {
            const Reals factor = LoadElements<kLanes<Real>>(axis->factor[k / 2][order][k % 2] + i);
            is_whole &= (factor > kTiny) | (factor < -kTiny);
          }
        }
      }
      __builtin_memcpy(is_whole_ + i, &is_whole, sizeof(is_whole));
      for (int pair = 0; pair < 2; ++pair) {
        const auto column = LoadElements<kLanes<Real>>(x.first[pair] + i) * channels;
        const auto row = LoadElements<kLanes<Real>>(y.first[pair] + i) * slab_elements;
        __builtin_memcpy(column_[pair] + i, &column, sizeof(column));
        __builtin_memcpy(row_[pair] + i, &row, sizeof(row));
      }
    }
  }

  // Whether all factors of a point are other than zero, and so are their products.
  TF_STN_INLINE bool IsWhole(int p) const { return is_whole_[p] != 0; }

  // Factors of a point along an axis.
  TF_STN_INLINE Real InX(int order, int k, int p) const {
    return x_.factor[k / 2][order][k % 2][p];
  }
  TF_STN_INLINE Real InY(int order, int k, int p) const {
    return y_.factor[k / 2][order][k % 2][p];
  }

  // Where the first pixel of a pair is, in elements, along an axis.
  TF_STN_INLINE int64_t Column(int pair, int p) const { return column_[pair][p]; }
  TF_STN_INLINE int64_t Row(int pair, int p) const { return row_[pair][p]; }

  // The number of a tap's row.
  TF_STN_INLINE int64_t Line(int k, int p) const { return y_.first[k / 2][p] + k % 2; }

  // Calls body(product, line, offset) for all taps of a point, also those that a seam parts,
  // whose product of factors is not zero.  For points that are not whole.
  template <typename Body>
  TF_STN_INLINE void ForProducts(int p, const Body& body) const {
    const Columns columns(*this, p);
    for (int j = 0; j < 2 * y_.pairs && columns.count > 0; ++j) {
      const Real in_y = InY(0, j, p);
      if (in_y == 0 && !columns.has_nan) continue;
      const int64_t line = Line(j, p), row = line * slab_elements_;
      for (int i = 0; i < columns.count; ++i) {
        const Real product = columns.factor[0][i] * in_y;
        if (product != 0) body(product, line, row + columns.offset[i]);
      }
    }
  }

  // Calls body(slope_x, slope_y, offset) for all taps of such a point, if one of these is not
  // zero.
  template <typename Body>
  TF_STN_INLINE void ForSlopes(int p, const Body& body) const {
    static_assert(kOrders == 2);
    const Columns columns(*this, p);
    for (int j = 0; j < 2 * y_.pairs && columns.count > 0; ++j) {
      const Real in_y = InY(0, j, p), slope_in_y = InY(1, j, p);
      if (in_y == 0 && slope_in_y == 0 && !columns.has_nan) continue;
      const int64_t row = Line(j, p) * slab_elements_;
      for (int i = 0; i < columns.count; ++i) {
        const Real slope_x = columns.factor[1][i] * in_y;
        const Real slope_y = columns.factor[0][i] * slope_in_y;
        if (slope_x != 0 || slope_y != 0) body(slope_x, slope_y, row + columns.offset[i]);
      }
    }
  }

 private:
  // The columns of a point that have a factor; all of them if y is a NaN, which shows in any.
  struct Columns {
    static constexpr int kMost = 2 * AxisTaps<Real>::kMostPairs;

    Real factor[kOrders][kMost];
    int64_t offset[kMost];
    int count = 0;
    bool has_nan;  // It shows where all factors along y are zero, too.

    TF_STN_INLINE Columns(const FourTapStencils& stencils, int p) {
      Real sum = 0, sum_in_y = 0;
      for (int j = 0; j < 2 * stencils.y_.pairs; ++j) sum_in_y += stencils.InY(0, j, p);
      for (int i = 0; i < 2 * stencils.x_.pairs; ++i) {
        bool is_used = sum_in_y != sum_in_y;
        for (int order = 0; order < kOrders; ++order) {
          factor[order][count] = stencils.InX(order, i, p);
          sum += factor[order][count];
          is_used |= factor[order][count] != 0;
        }
        offset[count] = (int64_t{stencils.x_.first[i / 2][p]} + i % 2) * stencils.channels_;
        count += is_used;
      }
      has_nan = sum != sum;
    }
  };

  const AxisTaps<Real>& x_;
  const AxisTaps<Real>& y_;
  const int64_t channels_, slab_elements_;
  alignas(64) Index is_whole_[kBlockPoints];
  alignas(64) Index column_[2][kBlockPoints];
  alignas(64) Index row_[2][kBlockPoints];
};

// The factors and places of one point that is whole, which a compiler that unrolls keeps in
// registers.
template <int kOrders, typename Real>
struct FourTapPoint {
  Real x[kOrders][kFour], y[kOrders][kFour];
  int64_t column[kFour], row[kFour];

  TF_STN_INLINE FourTapPoint(const FourTapStencils<kOrders, Real>& stencils, int64_t channels,
                             int64_t slab_elements, int p) {
#pragma GCC unroll 4
    for (int k = 0; k < kFour; ++k) {
#pragma GCC unroll 2
      for (int order = 0; order < kOrders; ++order) {
        x[order][k] = stencils.InX(order, k, p);
        y[order][k] = stencils.InY(order, k, p);
      }
      column[k] = stencils.Column(k / 2, p) + (k % 2 == 0 ? 0 : channels);
      row[k] = stencils.Row(k / 2, p) + (k % 2 == 0 ? 0 : slab_elements);
    }
  }

  // Returns the factors of all columns.
  TF_STN_INLINE Vector<Real, 4> AlongX(int order) const {
    return Vector<Real, 4>{x[order][0], x[order][1], x[order][2], x[order][3]};
  }

  // Returns the greatest offset of a pixel.
  TF_STN_INLINE int64_t Last() const {
    const auto larger = [](int64_t a, int64_t b) { return a > b ? a : b; };
    return larger(row[1], row[3]) + larger(column[1], column[3]);
  }
};

// Writes the sum of a whole point's pixels times their factors where nothing behind them may
// be read, in the same order as elsewhere.  Not inlined: it is rare.
template <int kChannels, typename T, typename Real>
__attribute__((noinline)) void SumOfLastPixels(const FourTapPoint<1, Real>& point, const T* pixels,
                                               Pixel<Real, kChannels>* sum) {
#pragma GCC unroll 4
  for (int j = 0; j < kFour; ++j) {
    const T* const row = pixels + point.row[j];
    auto of_row = point.x[0][0] * LoadPixelExactly<kChannels>(row + point.column[0]);
#pragma GCC unroll 4
    for (int i = 1; i < kFour; ++i) {
      of_row += point.x[0][i] * LoadPixelExactly<kChannels>(row + point.column[i]);
    }
    *sum = j == 0 ? point.y[0][j] * of_row : *sum + point.y[0][j] * of_row;
  }
}

// Reads four pixels of a row that are two pairs of neighbours, of one channel.
template <typename T>
TF_STN_INLINE Vector<Coordinate<T>, 4> LoadTwoPairs(const T* row, int64_t first, int64_t second) {
  if constexpr (std::is_same_v<T, float>) {
    // A pair moves as a double.
    const auto load = [](const float* from) {
      return LoadElements<1>(reinterpret_cast<const double*>(from));
    };
    const Vector<double, 2> pairs{load(row + first), load(row + second)};
    return reinterpret_cast<Vector<float, 4>>(pairs);
  } else {
    return Vector<Coordinate<T>, 4>{Load<1>(row + first), Load<1>(row + first + 1),
                                    Load<1>(row + second), Load<1>(row + second + 1)};
  }
}

// Writes the samples of a block; `outside` is what the pixels outside add to them.
//
// One channel: the columns of a point in a vector, until four points are added up.
template <typename T, typename Output>
void SampleFourTapsOneChannel(const FourTapStencils<1, Coordinate<T>>& stencils, int count,
                              const Extent<2>& image, const T* pixels, const Coordinate<T>* outside,
                              Output* output) {
  using Real = Coordinate<T>;
  const int64_t slab_elements = image.slab_elements();
  using Four = Vector<Real, 4>;
  for (int first = 0; first < count; first += 4) {
    Four parts[4] = {};
    for (int q = 0; q < 4 && first + q < count; ++q) {
      if (stencils.IsWhole(first + q)) {
        const FourTapPoint<1, Real> point(stencils, 1, slab_elements, first + q);
#pragma GCC unroll 4
        for (int j = 0; j < kFour; ++j) {
          parts[q] +=
              point.y[0][j] * LoadTwoPairs(pixels + point.row[j], point.column[0], point.column[2]);
        }
        parts[q] *= point.AlongX(0);
      } else {
        Real sum = outside[first + q];
        stencils.ForProducts(first + q, [&](Real weight, int64_t, int64_t offset) {
          sum += weight * Load<1>(pixels + offset);
        });
        parts[q] = Four{sum, -Real(0), -Real(0), -Real(0)};
      }
    }
    const Four sums = Sums<4, Real>(parts[0], parts[1], parts[2], parts[3]);
    for (int q = 0; q < 4 && first + q < count; ++q) Store<1>(sums[q], output + first + q);
  }
}

// Two to four channels: a pixel is a vector.
template <int kChannels, typename T, typename Output>
void SampleFourTapsFewChannels(const FourTapStencils<1, Coordinate<T>>& stencils, int count,
                               const Extent<2>& image, const T* pixels, int64_t readable,
                               const Coordinate<T>* outside, Output* output) {
  using Real = Coordinate<T>;
  const int64_t slab_elements = image.slab_elements();
  using Values = Pixel<Real, kChannels>;
  constexpr int kWidth = kPixelLanes<kChannels>;
  for (int p = 0; p < count; ++p, output += kChannels) {
    const FourTapPoint<1, Real> point(stencils, kChannels, slab_elements, p);
    Values sum;
    if (stencils.IsWhole(p) && point.Last() + kWidth <= readable) {
#pragma GCC unroll 4
      for (int j = 0; j < kFour; ++j) {
        const T* const row = pixels + point.row[j];
        Values of_row = point.x[0][0] * LoadPixel<kChannels>(row + point.column[0]);
#pragma GCC unroll 4
        for (int i = 1; i < kFour; ++i) {
          of_row += point.x[0][i] * LoadPixel<kChannels>(row + point.column[i]);
        }
        sum = j == 0 ? point.y[0][j] * of_row : sum + point.y[0][j] * of_row;
      }
    } else if (stencils.IsWhole(p)) {
      SumOfLastPixels<kChannels>(point, pixels, &sum);
    } else {
      sum = Broadcast<kWidth>(outside[p]);
      stencils.ForProducts(p, [&](Real weight, int64_t, int64_t offset) {
        sum += weight * LoadPixelExactly<kChannels>(pixels + offset);
      });
    }
    if (p + 1 < count) {
      Store<kWidth>(sum, output);  // The next point overwrites a fourth lane.
    } else {
      StorePixelExactly<kChannels>(sum, output);
    }
  }
}

// Any number of channels, in vectors.
template <typename T, typename Output>
void SampleFourTapsManyChannels(const FourTapStencils<1, Coordinate<T>>& stencils, int count,
                                const Extent<2>& image, const T* pixels,
                                const Coordinate<T>* outside, Output* output) {
  using Real = Coordinate<T>;
  const int64_t channels = image.channels, slab_elements = image.slab_elements();
  for (int p = 0; p < count; ++p, output += channels) {
    const FourTapPoint<1, Real> point(stencils, channels, slab_elements, p);
    if (stencils.IsWhole(p)) {
      ForChannels<Real>(channels, [&](auto width, int64_t c) {
        constexpr int kWidth = decltype(width)::value;
        auto sum = Broadcast<kWidth>(-Real(0));
#pragma GCC unroll 4
        for (int j = 0; j < kFour; ++j) {
          const T* const row = pixels + point.row[j] + c;
          auto of_row = point.x[0][0] * Load<kWidth>(row + point.column[0]);
#pragma GCC unroll 4
          for (int i = 1; i < kFour; ++i) {
            of_row += point.x[0][i] * Load<kWidth>(row + point.column[i]);
          }
          sum += point.y[0][j] * of_row;
        }
        Store<kWidth>(sum, output + c);
      });
    } else {
      ForChannels<Real>(channels, [&](auto width, int64_t c) {
        constexpr int kWidth = decltype(width)::value;
        auto sum = Broadcast<kWidth>(outside[p]);
        stencils.ForProducts(p, [&](Real weight, int64_t, int64_t offset) {
          sum += weight * Load<kWidth>(pixels + offset + c);
        });
        Store<kWidth>(sum, output + c);
      });
    }
  }
}

template <typename T, typename Output>
TF_STN_INLINE void SampleFourTaps(const FourTapStencils<1, Coordinate<T>>& stencils, int count,
                                  const Extent<2>& image, const T* pixels, int64_t readable,
                                  const Coordinate<T>* outside, Output* output) {
  VisitChannels(image.channels, [&](auto number) {
    constexpr int kChannels = decltype(number)::value;
    if constexpr (kChannels == 1) {
      SampleFourTapsOneChannel<T>(stencils, count, image, pixels, outside, output);
    } else if constexpr (kChannels == kAnyChannels) {
      SampleFourTapsManyChannels<T>(stencils, count, image, pixels, outside, output);
    } else {
      SampleFourTapsFewChannels<kChannels, T>(stencils, count, image, pixels, readable, outside,
                                              output);
    }
  });
}

// The inner products of dL/dV with the derivatives of a point's sample in x and y, as sums of
// vectors.
template <int kCount, typename Real>
struct FourTapSlopes {
  Vector<Real, kCount> x{}, y{};

  TF_STN_INLINE void Multiply(const Vector<Real, kCount>& grad_output) {
    x *= grad_output;
    y *= grad_output;
  }

  // Adds those of `load`, the product of a pixel and dL/dV by the pixel's offset.  A pixel
  // that is not there takes no part, however large dL/dV is.
  template <typename Load>
  TF_STN_INLINE void Add(const FourTapStencils<2, Real>& stencils, int p, const Load& load) {
    stencils.ForSlopes(p, [&](Real slope_x, Real slope_y, int64_t offset) {
      const auto pixel = load(offset);
      if (slope_x != 0) x += slope_x * pixel;
      if (slope_y != 0) y += slope_y * pixel;
    });
  }

  // For a point that is whole, those of pixels, still to be multiplied.
  template <typename Load>
  TF_STN_INLINE void Add(const FourTapPoint<2, Real>& point, const Load& load) {
#pragma GCC unroll 4
    for (int j = 0; j < kFour; ++j) {
      auto pixel = load(point.row[j] + point.column[0]);
      auto values = point.x[0][0] * pixel, slopes = point.x[1][0] * pixel;
#pragma GCC unroll 4
      for (int i = 1; i < kFour; ++i) {
        pixel = load(point.row[j] + point.column[i]);
        values += point.x[0][i] * pixel;
        slopes += point.x[1][i] * pixel;
      }
      x += point.y[0][j] * slopes;
      y += point.y[1][j] * values;
    }
  }
};

// Adds to `grad_x` and `grad_y` the gradients of a block's points.
//
// One channel: the columns of a point in a vector.
template <typename T>
void AddFourTapSlopesOneChannel(const FourTapStencils<2, Coordinate<T>>& stencils, int count,
                                const Extent<2>& image, const T* pixels, const T* grad_output,
                                Coordinate<T>* grad_x, Coordinate<T>* grad_y) {
  using Real = Coordinate<T>;
  const int64_t slab_elements = image.slab_elements();
  using Four = Vector<Real, 4>;
  for (int p = 0; p < count; ++p) {
    const Real grad = Load<1>(grad_output + p);
    Real x, y;
    if (stencils.IsWhole(p)) {
      const FourTapPoint<2, Real> point(stencils, 1, slab_elements, p);
      Four values{}, slopes{};
#pragma GCC unroll 4
      for (int j = 0; j < kFour; ++j) {
        const Four row = LoadTwoPairs(pixels + point.row[j], point.column[0], point.column[2]);
        values += point.y[0][j] * row;
        slopes += point.y[1][j] * row;
      }
      values *= point.AlongX(1);
      slopes *= point.AlongX(0);
      const Four sums = Sums<4, Real>(values, slopes, Four{}, Four{});
      x = sums[0] * grad;
      y = sums[1] * grad;
    } else {
      FourTapSlopes<1, Real> sums;
      sums.Add(stencils, p, [&](int64_t offset) { return Load<1>(pixels + offset) * grad; });
      x = sums.x;
      y = sums.y;
    }
    grad_x[p] += x;
    grad_y[p] += y;
  }
}

// Two to four channels: a pixel is a vector.
template <int kChannels, typename T>
void AddFourTapSlopesFewChannels(const FourTapStencils<2, Coordinate<T>>& stencils, int count,
                                 const Extent<2>& image, const T* pixels, int64_t readable,
                                 const T* grad_output, Coordinate<T>* grad_x,
                                 Coordinate<T>* grad_y) {
  using Real = Coordinate<T>;
  const int64_t slab_elements = image.slab_elements();
  using Four = Vector<Real, 4>;
  constexpr int kWidth = kPixelLanes<kChannels>;
  for (int p = 0; p < count; ++p) {
    const auto grad = LoadPixelExactly<kChannels>(grad_output + p * kChannels);
    const auto load = [&](int64_t offset) { return LoadPixel<kChannels>(pixels + offset); };
    const auto load_exactly = [&](int64_t offset) {
      return LoadPixelExactly<kChannels>(pixels + offset);
    };
    FourTapSlopes<kWidth, Real> sums;
    if (stencils.IsWhole(p)) {
      const FourTapPoint<2, Real> point(stencils, kChannels, slab_elements, p);
      if (point.Last() + kWidth <= readable) {
        sums.Add(point, load);
      } else {
        sums.Add(point, load_exactly);
      }
      sums.Multiply(grad);
    } else {
      sums.Add(stencils, p, [&](int64_t offset) { return load_exactly(offset) * grad; });
    }
    const Four total = Sums<kChannels, Real>(FoldToFour<kWidth, Real>(sums.x),
                                             FoldToFour<kWidth, Real>(sums.y), Four{}, Four{});
    grad_x[p] += total[0];
    grad_y[p] += total[1];
  }
}

// Any number of channels, in vectors.
template <typename T>
void AddFourTapSlopesManyChannels(const FourTapStencils<2, Coordinate<T>>& stencils, int count,
                                  const Extent<2>& image, const T* pixels, const T* grad_output,
                                  Coordinate<T>* grad_x, Coordinate<T>* grad_y) {
  using Real = Coordinate<T>;
  using Four = Vector<Real, 4>;
  const int64_t channels = image.channels, slab_elements = image.slab_elements();
  for (int p = 0; p < count; ++p, grad_output += channels) {
    const FourTapPoint<2, Real> point(stencils, channels, slab_elements, p);
    const bool is_whole = stencils.IsWhole(p);
    RealVector<Real> wide[2] = {};
    Four narrow[2] = {};
    ForChannels<Real>(channels, [&](auto width, int64_t c) {
      constexpr int kWidth = decltype(width)::value;
      FourTapSlopes<kWidth, Real> sums;
      const auto grad = Load<kWidth>(grad_output + c);
      const auto load = [&](int64_t offset) { return Load<kWidth>(pixels + offset + c); };
      if (is_whole) {
        sums.Add(point, load);
        sums.Multiply(grad);
      } else {
        sums.Add(stencils, p, [&](int64_t offset) { return load(offset) * grad; });
      }
      if constexpr (kWidth == kLanes<Real>) {
        wide[0] += sums.x;
        wide[1] += sums.y;
      } else {
        narrow[0] += FoldToFour<kWidth, Real>(sums.x);
        narrow[1] += FoldToFour<kWidth, Real>(sums.y);
      }
    });
    for (int d = 0; d < 2; ++d) narrow[d] += FoldToFour<kLanes<Real>, Real>(wide[d]);
    const Four total = Sums<4, Real>(narrow[0], narrow[1], Four{}, Four{});
    grad_x[p] += total[0];
    grad_y[p] += total[1];
  }
}

template <typename T>
TF_STN_INLINE void AddFourTapSlopes(const FourTapStencils<2, Coordinate<T>>& stencils, int count,
                                    const Extent<2>& image, const T* pixels, int64_t readable,
                                    const T* grad_output, Coordinate<T>* grad_x,
                                    Coordinate<T>* grad_y) {
  VisitChannels(image.channels, [&](auto number) {
    constexpr int kChannels = decltype(number)::value;
    if constexpr (kChannels == 1) {
      AddFourTapSlopesOneChannel<T>(stencils, count, image, pixels, grad_output, grad_x, grad_y);
    } else if constexpr (kChannels == kAnyChannels) {
      AddFourTapSlopesManyChannels<T>(stencils, count, image, pixels, grad_output, grad_x, grad_y);
    } else {
      AddFourTapSlopesFewChannels<kChannels, T>(stencils, count, image, pixels, readable,
                                                grad_output, grad_x, grad_y);
    }
  });
}

// Adds a block's gradient of data to rows [row_begin, row_end) of an image.  A NaN coordinate
// adds nothing.
template <typename T>
TF_STN_INLINE void AddFourTapsToRows(const FourTapStencils<1, Coordinate<T>>& stencils, int count,
                                     const GradientBlock<T>& gradient, int64_t row_begin,
                                     int64_t row_end) {
  using Real = Coordinate<T>;
  const Extent<2>& image = gradient.image;
  const int64_t slab_elements = image.slab_elements();
  const GradOutputs<T> grad_outputs = gradient.grad_outputs;
  Real* const grad_image = gradient.grad_image;
  VisitChannels(image.channels, [&](auto number) {
    constexpr int kChannels = decltype(number)::value;
    const int64_t channels = kChannels == kAnyChannels ? image.channels : kChannels;
    for (int p = 0; p < count; ++p) {
      const T* const grad_output = grad_outputs.Of(p, channels);
      const auto for_pixels = [&](const auto& add) {
        if (!stencils.IsWhole(p)) {
          return stencils.ForProducts(p, [&](Real weight, int64_t line, int64_t offset) {
            if (weight == weight && row_begin <= line && line < row_end) {
              add(weight, grad_image + offset);
            }
          });
        }
        const FourTapPoint<1, Real> point(stencils, channels, slab_elements, p);
#pragma GCC unroll 4
        for (int j = 0; j < kFour; ++j) {
          const int64_t line = stencils.Line(j, p);
          if (line < row_begin || line >= row_end) continue;
#pragma GCC unroll 4
          for (int i = 0; i < kFour; ++i) {
            add(point.x[0][i] * point.y[0][j], grad_image + point.row[j] + point.column[i]);
          }
        }
      };
      if constexpr (kChannels == kAnyChannels) {
        for_pixels([&](Real weight, Real* pixel) {
          ForChannels<Real>(image.channels, [&](auto width, int64_t c) {
            constexpr int kWidth = decltype(width)::value;
            Store<kWidth>(Load<kWidth>(pixel + c) + weight * Load<kWidth>(grad_output + c),
                          pixel + c);
          });
        });
      } else {
        const auto grad = LoadPixelExactly<kChannels>(grad_output);
        for_pixels(
            [&](Real weight, Real* pixel) { AddPixel<kChannels, Real>(weight * grad, pixel); });
      }
    }
  });
}

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_SIMD_FOUR_TAPS_H_

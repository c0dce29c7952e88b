// Loops over points for every interpolation, padding, rank and order, block by block and
// pass by pass, or for cubic images all 4x4 pixels of a point at once.  Compiled once for each
// instruction set, which TF_STN_ISA names.

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/core/modes.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cpu_blocks.h"
#include "cc/kernels/cpu_cubic.h"
#include "cc/kernels/cpu_gradients.h"
#include "cc/kernels/cpu_passes.h"
#include "cc/kernels/cpu_sample.h"
#include "cc/kernels/cpu_stencils.h"
#include "cc/kernels/cpu_vectors.h"
#include "cc/kernels/resampler.h"
#include "cc/kernels/resampler_cpu.h"

namespace tf_stn {
namespace TF_STN_ISA {
namespace {

// A slice of a volume, or an image: what a pass reads its 2x2 pixels from.
template <int Rank>
TF_STN_INLINE Extent<2> SliceOf(const Extent<Rank>& image) {
  return {{image.size[Rank - 2], image.size[Rank - 1]}, image.channels};
}

// Whether the 4x4 pixels of a block's points are dealt with at once.
template <int Rank, typename Real>
TF_STN_INLINE bool IsAtOnce(const Stencils<Rank, Real>& stencils, bool is_directed) {
  return Rank == 2 && !is_directed && stencils.IsCubic();
}

// Everything about a block of points that does not depend on what is sampled there.
template <int Rank, typename Real>
struct Points {
  Coordinates<Rank, Real> coordinates;
  Coordinates<Rank, Real> directions;
  Stencils<Rank, Real> stencils;
  bool is_directed;

  Points(const Modes& modes, const Extent<Rank>& image) : stencils(modes, image) {}

  // Reads points [q, q + count) of image n, with factors for `orders - 1` derivatives of
  // a sample.
  template <typename Source, typename T>
  TF_STN_INLINE void Find(const CpuSampling<Source, T>& sampling, int64_t n, int64_t q, int count,
                          int orders) {
    ReadPoints(sampling.points, n, q, count, &coordinates);
    is_directed = sampling.directions != nullptr;
    if (is_directed) {
      const WarpPoints<Rank, Real> stored{sampling.directions, sampling.points.per_image,
                                          sampling.points.stored};
      ReadPoints(stored, n, q, count, &directions);
    }
    stencils.Find(coordinates, orders + (is_directed ? 1 : 0));
  }

  // Writes a pass's weights of these orders, and if `directed` those of their derivative in
  // the direction of each point.
  TF_STN_INLINE void Weights(const Pass<Rank, Real>& pass, const int* orders, bool directed, int i,
                             RealVector<Real>* weights) const {
    if (!directed) return pass.Products(orders, i, weights);
    for (int k = 0; k < kTaps; ++k) weights[k] = RealVector<Real>{};
    for (int d = 0; d < Rank; ++d) {
      int higher[Rank];
      for (int e = 0; e < Rank; ++e) higher[e] = orders[e] + (e == d);
      RealVector<Real> products[kTaps];
      pass.Products(higher, i, products);
      const auto direction = LoadElements<kLanes<Real>>(directions.of[d] + i);
      for (int k = 0; k < kTaps; ++k) weights[k] += direction * products[k];
    }
  }

  // Whether something outside the image has such a weight: -1 or 0, for a vector of points.
  TF_STN_INLINE IndexVector<Real> SticksOut(const int* orders, bool directed, int i) const {
    if (!directed) return stencils.SticksOut(orders, i);
    IndexVector<Real> sticks_out{};
    for (int d = 0; d < Rank; ++d) {
      int higher[Rank];
      for (int e = 0; e < Rank; ++e) higher[e] = orders[e] + (e == d);
      const auto direction = LoadElements<kLanes<Real>>(directions.of[d] + i);
      sticks_out |= stencils.SticksOut(higher, i) & (direction != 0);
    }
    return sticks_out;
  }
};

// What lies outside takes what the pixels inside have left of a point's weights, whose sum
// is known.  If nothing outside has weight, what is left is rounding, which an infinite pixel
// outside must not see.
template <typename Real>
struct alignas(64) Outside {
  Real taken[kBlockPoints];

  TF_STN_INLINE void Clear() { __builtin_memset(taken, 0, sizeof(taken)); }

  TF_STN_INLINE void Take(int i, const RealVector<Real>* weights) {
    RealVector<Real> sum = LoadElements<kLanes<Real>>(taken + i);
    for (int k = 0; k < kTaps; ++k) sum += weights[k];
    Store<kLanes<Real>>(sum, taken + i);
  }

  // The same, where the sum of a point's weights is known.
  TF_STN_INLINE void TakeSum(int i, const RealVector<Real>& sum) {
    Store<kLanes<Real>>(sum, taken + i);
  }

  // Returns the weights outside of points that stick out; those of all others are 0.
  TF_STN_INLINE RealVector<Real> Left(Real total, const IndexVector<Real>& sticks_out,
                                      int i) const {
    const RealVector<Real> left = total - LoadElements<kLanes<Real>>(taken + i);
    return sticks_out != 0 ? left : RealVector<Real>{};
  }
};

// Adds the pixel outside to the samples of points that stick out of the image.
template <int Rank, typename T>
void AddFill(const Points<Rank, Coordinate<T>>& points, const Outside<Coordinate<T>>& outside,
             const Term<T>& term, int64_t channels, Coordinate<T>* output) {
  using Real = Coordinate<T>;
  constexpr int kValue[Rank] = {};
  const Real total = term.is_directed ? 0 : 1;
  alignas(64) Real weight[kBlockPoints];
  for (int i = 0; i < points.stencils.count(); i += kLanes<Real>) {
    const auto sticks_out = points.SticksOut(kValue, term.is_directed, i);
    Store<kLanes<Real>>(outside.Left(total, sticks_out, i), weight + i);
  }
  for (int p = 0; p < points.stencils.count(); ++p) {
    if (weight[p] == 0) continue;
    for (int64_t c = 0; c < channels; ++c) {
      output[p * channels + c] += weight[p] * static_cast<Real>(term.fill[c]);
    }
  }
}

// Writes, or with `add` adds, the samples of a block of one term.  `pixels` are those of the
// points' image, from which on `readable` elements may be read.
template <int Rank, typename T, typename Output>
void SampleTerm(const Points<Rank, Coordinate<T>>& points, const Extent<Rank>& image,
                const Term<T>& term, const T* pixels, int64_t readable, bool add, Output* output) {
  using Real = Coordinate<T>;
  constexpr int kValue[Rank] = {};
  const Extent<2> slice = SliceOf(image);
  const auto& stencils = points.stencils;
  Block<Real> block;
  Outside<Real> outside;
  if (term.fill != nullptr) outside.Clear();
  // A zero outside is added too; it turns -0 to 0.
  const auto find_zeros_outside = [&]() {
    for (int i = 0; i < stencils.count(); i += kLanes<Real>) {
      const auto zero = points.SticksOut(kValue, term.is_directed, i) != 0
                            ? RealVector<Real>{}
                            : Broadcast<kLanes<Real>>(-Real(0));
      Store<kLanes<Real>>(zero, block.outside + i);
    }
  };
  if (IsAtOnce(stencils, term.is_directed) && !add) {
    find_zeros_outside();
    const CubicStencils<1, Real> cubic(stencils.axis(0), stencils.axis(1), stencils.count(), slice);
    SampleCubic<T>(cubic, stencils.count(), slice, pixels, readable, block.outside, output);
    for (int i = 0; i < stencils.count() && term.fill != nullptr; i += kLanes<Real>) {
      outside.TakeSum(i, cubic.Sum(0, 0, i));
    }
  } else {
    stencils.ForPasses([&](const Pass<Rank, Real>& pass, bool is_first) {
      const auto weights = [&](int i, RealVector<Real>* to) {
        points.Weights(pass, kValue, term.is_directed, i, to);
        if (term.fill != nullptr) outside.Take(i, to);
      };
      MakeBlock(pass, stencils.count(), weights, &block);
      if (is_first && !add) {
        find_zeros_outside();
        SampleBlock<false, T>(block, slice, pixels, readable, output);
      } else if constexpr (std::is_same_v<Output, Real>) {
        SampleBlock<true, T>(block, slice, pixels, readable, output);
      }
    });
  }
  if constexpr (std::is_same_v<Output, Real>) {
    if (term.fill != nullptr) AddFill(points, outside, term, image.channels, output);
  }
}

// Where a block's samples are summed if they are to be rounded; made when first used.
template <typename Real>
class SumBuffer {
 public:
  SumBuffer() = default;
  SumBuffer(const SumBuffer&) = delete;
  SumBuffer& operator=(const SumBuffer&) = delete;
  ~SumBuffer() { delete[] sums_; }

  Real* Get(int64_t channels) {
    if (sums_ == nullptr) sums_ = new Real[static_cast<size_t>(kBlockPoints * channels)];
    return sums_;
  }

 private:
  Real* sums_ = nullptr;
};

// Whether samples are written once, so that half types need no other place to be summed.
template <int Rank, typename T>
TF_STN_INLINE bool IsWrittenOnce(const Stencils<Rank, Coordinate<T>>& stencils, int terms,
                                 const Term<T>& term) {
  if (terms != 1 || term.fill != nullptr) return false;
  if (IsAtOnce(stencils, term.is_directed)) return true;
  int passes = 0;
  stencils.ForPasses([&](const auto&, bool) { ++passes; });
  return passes == 1;
}

template <typename Source, typename T>
void Sample(const CpuSampling<Source, T>& sampling, int64_t begin, int64_t end, T* output) {
  using Real = Coordinate<T>;
  constexpr int kRank = Source::kRank;
  const auto& sizes = sampling.sizes;
  const int64_t elements = sizes.image.elements(), channels = sizes.image.channels;
  Points<kRank, Real> points(sampling.modes, sizes.image);
  SumBuffer<Real> buffer;
  while (begin < end) {
    const int64_t n = begin / sizes.points_per_image, q = begin - n * sizes.points_per_image;
    const int64_t left = Smaller(end - begin, sizes.points_per_image - q);
    const int count = static_cast<int>(Smaller(kBlockPoints, left));
    points.Find(sampling, n, q, count, 1);
    const auto sample = [&](auto* to) {
      for (int i = 0; i < sampling.terms_count; ++i) {
        const Term<T>& term = sampling.terms[i];
        SampleTerm<kRank, T>(points, sizes.image, term, term.data + n * elements,
                             (sizes.images - n) * elements, i > 0, to);
      }
    };
    T* const to = output + begin * channels;
    if constexpr (std::is_same_v<T, Real>) {
      sample(to);
    } else if (IsWrittenOnce<kRank, T>(points.stencils, sampling.terms_count, sampling.terms[0])) {
      sample(to);
    } else {
      Real* const sums = buffer.Get(channels);
      sample(sums);
      ForChannels<Real>(count * channels, [&](auto width, int64_t i) {
        constexpr int kWidth = decltype(width)::value;
        Store<kWidth>(LoadElements<kWidth>(sums + i), to + i);
      });
    }
    begin += count;
  }
}

// dL/d(x, y[, z]) of a block of points.
template <int Rank, typename Real>
struct alignas(64) PointGradient {
  Real of[Rank][kBlockPoints];
};

// Keeps the inner products of each point's pixels with dL/dV.
template <typename Real>
struct StoreProducts {
  Real (*to)[kBlockPoints];

  template <typename Count>
  TF_STN_INLINE void operator()(Count, int first,
                                const Vector<Real, Count::value>* products) const {
    for (int k = 0; k < kTaps; ++k) Store<Count::value>(products[k], to[k] + first);
  }
};

// Adds what the pixel outside contributes to it.
template <int Rank, typename T>
void AddGradientOfFill(const Points<Rank, Coordinate<T>>& points, const Term<T>& term,
                       int64_t channels, const T* grad_output,
                       const Outside<Coordinate<T>>* outside,
                       PointGradient<Rank, Coordinate<T>>* sum) {
  using Real = Coordinate<T>;
  for (int i = 0; i < points.stencils.count(); i += kLanes<Real>) {
    const int count = static_cast<int>(Smaller(kLanes<Real>, points.stencils.count() - i));
    RealVector<Real> product{};
    for (int p = 0; p < count; ++p) {
      for (int64_t c = 0; c < channels; ++c) {
        product[p] += static_cast<Real>(term.fill[c]) *
                      static_cast<Real>(grad_output[(i + p) * channels + c]);
      }
    }
    for (int d = 0; d < Rank; ++d) {
      int orders[Rank] = {};
      orders[d] = 1;
      // All slopes of a point sum to zero, those outside too.
      const auto slope = outside[d].Left(0, points.SticksOut(orders, term.is_directed, i), i);
      const auto total = LoadElements<kLanes<Real>>(sum->of[d] + i);
      Store<kLanes<Real>>(slope != 0 ? total + slope * product : total, sum->of[d] + i);
    }
  }
}

// Adds what one term and one image contribute to it.
template <int Rank, typename T>
void AddTermGradient(const Points<Rank, Coordinate<T>>& points, const Extent<Rank>& image,
                     const Term<T>& term, const T* pixels, int64_t readable, const T* grad_output,
                     PointGradient<Rank, Coordinate<T>>* sum) {
  using Real = Coordinate<T>;
  using Indices = IndexVector<Real>;
  const Extent<2> slice = SliceOf(image);
  const auto& stencils = points.stencils;
  Outside<Real> outside[Rank];
  if (term.fill != nullptr) {
    for (Outside<Real>& of_slopes : outside) of_slopes.Clear();
  }
  if (IsAtOnce(stencils, term.is_directed)) {
    const CubicStencils<2, Real> cubic(stencils.axis(0), stencils.axis(1), stencils.count(), slice);
    AddCubicSlopes<T>(cubic, stencils.count(), slice, pixels, readable, grad_output, sum->of[0],
                      sum->of[1]);
    if (term.fill == nullptr) return;
    for (int i = 0; i < stencils.count(); i += kLanes<Real>) {
      outside[0].TakeSum(i, cubic.Sum(1, 0, i));
      outside[1].TakeSum(i, cubic.Sum(0, 1, i));
    }
    return AddGradientOfFill(points, term, image.channels, grad_output, outside, sum);
  }
  Block<Real> block;
  GradientBlock<T> gradient{slice, pixels, readable, grad_output, nullptr, {}, {}};
  alignas(64) Real slopes[Rank][kTaps][kBlockPoints];
  // Beyond the last point they stay as they are, and nobody reads what comes of them.
  alignas(64) Real products[kTaps][kBlockPoints] = {};
  stencils.ForPasses([&](const Pass<Rank, Real>& pass, bool) {
    Indices all_inside = Indices{} - 1;
    block.count = stencils.count();
    for (int i = 0; i < block.count; i += kLanes<Real>) {
      Indices inside{};
      for (int d = 0; d < Rank; ++d) {
        int orders[Rank] = {};
        orders[d] = 1;
        RealVector<Real> slope[kTaps];
        points.Weights(pass, orders, term.is_directed, i, slope);
        if (term.fill != nullptr) outside[d].Take(i, slope);
        for (int k = 0; k < kTaps; ++k) {
          Store<kLanes<Real>>(slope[k], slopes[d][k] + i);
          inside |= (slope[k] != 0) & (1 << k);
        }
      }
      const Indices offset = pass.Offset(i);
      __builtin_memcpy(block.offset + i, &offset, sizeof(offset));
      __builtin_memcpy(block.inside + i, &inside, sizeof(inside));
      all_inside &= inside == kAllTaps;
    }
    block.all_used = !Any(~all_inside);
    FindProducts(block, &gradient, StoreProducts<Real>{products});
    for (int i = 0; i < block.count; i += kLanes<Real>) {
      const auto load = [i](const Real* from) { return LoadElements<kLanes<Real>>(from + i); };
      for (int d = 0; d < Rank; ++d) {
        RealVector<Real> total = load(sum->of[d]);
        for (int k = 0; k < kTaps; ++k) {
          const RealVector<Real> slope = load(slopes[d][k]);
          total += slope != 0 ? slope * load(products[k]) : RealVector<Real>{};
        }
        Store<kLanes<Real>>(total, sum->of[d] + i);
      }
    }
  });
  if (term.fill != nullptr) {
    AddGradientOfFill(points, term, image.channels, grad_output, outside, sum);
  }
}

// Writes the gradient of a block of stored points: of one image, or of all if they share
// their points.
template <typename Source, typename T>
TF_STN_INLINE void FindPointGradient(const CpuSampling<Source, T>& sampling, int64_t n, int64_t q,
                                     int count, Points<Source::kRank, Coordinate<T>>* points,
                                     PointGradient<Source::kRank, Coordinate<T>>* gradient) {
  const auto& sizes = sampling.sizes;
  const int64_t elements = sizes.image.elements();
  points->Find(sampling, n, q, count, 2);
  __builtin_memset(gradient, 0, sizeof(*gradient));
  const bool is_shared = sampling.points.per_image == 0;
  for (int64_t image = is_shared ? 0 : n; image < (is_shared ? sizes.images : n + 1); ++image) {
    const T* const grad_output =
        sampling.grad_output + (image * sizes.points_per_image + q) * sizes.image.channels;
    for (int i = 0; i < sampling.terms_count; ++i) {
      const Term<T>& term = sampling.terms[i];
      AddTermGradient<Source::kRank, T>(*points, sizes.image, term, term.data + image * elements,
                                        (sizes.images - image) * elements, grad_output, gradient);
    }
  }
}

// Calls body(image, point, number of the first point, count) for blocks of stored points
// [begin, end), each of one image.
template <typename Body>
TF_STN_INLINE void ForStoredBlocks(int64_t points_per_image, int64_t begin, int64_t end,
                                   const Body& body) {
  while (begin < end) {
    const int64_t n = begin / points_per_image, q = begin - n * points_per_image;
    const int64_t left = Smaller(end - begin, points_per_image - q);
    const int count = static_cast<int>(Smaller(kBlockPoints, left));
    body(n, q, begin, count);
    begin += count;
  }
}

template <typename Source, typename T>
void WarpGradient(const CpuSampling<Source, T>& sampling, int64_t begin, int64_t end,
                  Coordinate<T>* grad_warp) {
  constexpr int kRank = Source::kRank;
  const auto& sizes = sampling.sizes;
  Points<kRank, Coordinate<T>> points(sampling.modes, sizes.image);
  PointGradient<kRank, Coordinate<T>> gradient;
  ForStoredBlocks(sizes.points_per_image, begin, end,
                  [&](int64_t n, int64_t q, int64_t first, int count) {
                    FindPointGradient(sampling, n, q, count, &points, &gradient);
                    Coordinate<T>* const to = grad_warp + first * kRank;
                    for (int p = 0; p < count; ++p) {
                      for (int d = 0; d < kRank; ++d) to[p * kRank + d] = gradient.of[d][p];
                    }
                  });
}

template <typename Source, typename T>
void MatrixGradient(const CpuSampling<Source, T>& sampling, int64_t matrix, int64_t begin,
                    int64_t end, double* sums) {
  constexpr int kRank = Source::kRank;
  const auto& sizes = sampling.sizes;
  Points<kRank, Coordinate<T>> points(sampling.modes, sizes.image);
  PointGradient<kRank, Coordinate<T>> gradient;
  const int64_t before = matrix * sampling.points.output_points();
  __builtin_memset(sums, 0, sizeof(double) * Source::kParameters);
  ForStoredBlocks(sizes.points_per_image, before + begin, before + end,
                  [&](int64_t n, int64_t q, int64_t first, int count) {
                    FindPointGradient(sampling, n, q, count, &points, &gradient);
                    int64_t pixel[kRank];
                    sampling.points.PixelOf(first - before, pixel);
                    for (int p = 0; p < count; ++p) {
                      for (int d = 0; d < kRank; ++d) {
                        const double value = static_cast<double>(gradient.of[d][p]);
                        double* const row = sums + d * (kRank + 1);
                        for (int k = 0; k < kRank; ++k)
                          row[k] += value * static_cast<double>(pixel[k]);
                        row[kRank] += value;
                      }
                      for (int k = 0;
                           k < kRank && ++pixel[k] == sampling.points.size[kRank - 1 - k]; ++k) {
                        pixel[k] = 0;
                      }
                    }
                  });
}

template <typename Source, typename T>
void FindRows(const CpuSampling<Source, T>& sampling, int64_t n, int64_t begin, int64_t end,
              RowRange* ranges) {
  using Real = Coordinate<T>;
  constexpr int kRank = Source::kRank;
  const auto& sizes = sampling.sizes;
  Points<kRank, Real> points(sampling.modes, sizes.image);
  for (int64_t range = begin; range < end; ++range) {
    IndexOf<Real> first = static_cast<IndexOf<Real>>(sizes.image.size[0]), last = -1;
    const int64_t until = Smaller(sizes.points_per_image, (range + 1) * kRangePoints);
    for (int64_t q = range * kRangePoints; q < until; q += kBlockPoints) {
      const int count = static_cast<int>(Smaller(kBlockPoints, until - q));
      ReadPoints(sampling.points, n, q, count, &points.coordinates);
      points.stencils.FindAxis(points.coordinates, kRank - 1, 1);
      const AxisTaps<Real>& rows = points.stencils.axis(kRank - 1);
      for (int pair = 0; pair < rows.pairs; ++pair) {
        for (int p = 0; p < count; ++p) {
          const auto row = rows.first[pair][p];
          first = row < first ? row : first;
          last = row > last ? row : last;
        }
      }
    }
    // A pair reads the row after its first, too.
    ranges[range] = {static_cast<int32_t>(first), static_cast<int32_t>(last + 1)};
  }
}

template <typename Source, typename T>
void Scatter(const CpuSampling<Source, T>& sampling, int64_t n, int64_t row_begin, int64_t row_end,
             const RowRange* ranges, Coordinate<T>* grad_image) {
  using Real = Coordinate<T>;
  constexpr int kRank = Source::kRank;
  constexpr int kValue[kRank] = {};
  const auto& sizes = sampling.sizes;
  const Extent<2> slice = SliceOf(sizes.image);
  const int64_t row = sizes.image.row_elements();
  __builtin_memset(static_cast<void*>(grad_image + row_begin * row), 0,
                   static_cast<size_t>((row_end - row_begin) * row) * sizeof(Real));
  Points<kRank, Real> points(sampling.modes, sizes.image);
  Block<Real> block;
  GradientBlock<T> gradient{slice, nullptr, 0, nullptr, grad_image, {}, {}};
  for (int64_t q = 0; q < sizes.points_per_image; q += kBlockPoints) {
    if (ranges != nullptr) {
      const RowRange& range = ranges[q / kRangePoints];
      if (range.first >= row_end || range.last < row_begin) continue;
    }
    const int count = static_cast<int>(Smaller(kBlockPoints, sizes.points_per_image - q));
    points.Find(sampling, n, q, count, 1);
    gradient.grad_output =
        sampling.grad_output + (n * sizes.points_per_image + q) * sizes.image.channels;
    if (IsAtOnce(points.stencils, points.is_directed)) {
      const CubicStencils<1, Real> cubic(points.stencils.axis(0), points.stencils.axis(1), count,
                                         slice);
      AddCubicToRows(cubic, count, slice, gradient.grad_output, row_begin, row_end, grad_image);
      continue;
    }
    points.stencils.ForPasses([&](const Pass<kRank, Real>& pass, bool) {
      const auto weights = [&](int i, RealVector<Real>* to) {
        points.Weights(pass, kValue, points.is_directed, i, to);
      };
      MakeBlock(pass, count, weights, &block);
      ClipToRows(pass, row_begin, row_end, &block);
      AddDataGradient(block, &gradient);
    });
  }
}

}  // namespace

template <typename Source, typename T>
const AnyCpuLoops<Source, T>& AnyLoops() {
  static constexpr AnyCpuLoops<Source, T> kLoops = [] {
    AnyCpuLoops<Source, T> loops{};
    loops.sample = &Sample<Source, T>;
    if constexpr (std::is_same_v<Source, WarpPoints<Source::kRank, Coordinate<T>>>) {
      loops.warp_gradient = &WarpGradient<Source, T>;
    } else {
      loops.matrix_gradient = &MatrixGradient<Source, T>;
    }
    loops.find_rows = &FindRows<Source, T>;
    loops.scatter = &Scatter<Source, T>;
    return loops;
  }();
  return kLoops;
}

#define TF_STN_INSTANTIATE_FOR(Source, T) \
  template const AnyCpuLoops<Source, T>& AnyLoops<Source, T>()

#define TF_STN_INSTANTIATE(T)                        \
  using Warp2##T = WarpPoints<2, Coordinate<T>>;     \
  using Warp3##T = WarpPoints<3, Coordinate<T>>;     \
  using Affine2##T = AffinePoints<2, Coordinate<T>>; \
  using Affine3##T = AffinePoints<3, Coordinate<T>>; \
  TF_STN_INSTANTIATE_FOR(Warp2##T, T);               \
  TF_STN_INSTANTIATE_FOR(Warp3##T, T);               \
  TF_STN_INSTANTIATE_FOR(Affine2##T, T);             \
  TF_STN_INSTANTIATE_FOR(Affine3##T, T)

TF_STN_INSTANTIATE(Half);
TF_STN_INSTANTIATE(BFloat16);
TF_STN_INSTANTIATE(float);
TF_STN_INSTANTIATE(double);

#undef TF_STN_INSTANTIATE
#undef TF_STN_INSTANTIATE_FOR

}  // namespace TF_STN_ISA
}  // namespace tf_stn

// Loops over points for every interpolation, padding, rank and derivative, block by block and pass
// by pass, or for stencils of 4x4 pixels all of them at once.

#ifndef TF_STN_CC_KERNELS_CPU_SIMD_SEPARABLE_H_
#define TF_STN_CC_KERNELS_CPU_SIMD_SEPARABLE_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cc/core/call.h"
#include "cc/core/modes.h"
#include "cc/core/points.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cpu/loops.h"
#include "cc/kernels/cpu/simd/bilinear.h"
#include "cc/kernels/cpu/simd/bilinear_stencils.h"
#include "cc/kernels/cpu/simd/four_taps.h"
#include "cc/kernels/cpu/simd/gradients.h"
#include "cc/kernels/cpu/simd/passes.h"
#include "cc/kernels/cpu/simd/pixels.h"
#include "cc/kernels/cpu/simd/points.h"
#include "cc/kernels/cpu/simd/sample.h"
#include "cc/kernels/cpu/simd/vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {
namespace separable {

// Whether the 4x4 pixels of a block's points are read at once.
template <int Rank, typename Real>
TF_STN_INLINE bool IsAtOnce(const Stencils<Rank, Real>& stencils, bool is_directed) {
  return !is_directed && stencils.HasFourTaps();
}

// Everything about a block of points that does not depend on what is sampled there.
template <typename CallType>
class BlockStencils {
 public:
  using Points = typename CallType::Points;
  using Real = typename Points::Real;
  static constexpr int kRank = Points::kRank;

  explicit BlockStencils(const CallType& call)
      : call_(call),
        directions_(TermsOf(call).directions),
        stencils(call.modes, call.sizes.image) {}

  bool is_directed() const { return directions_ != nullptr; }

  // Reads points [q, q + count) of image n, and finds factors for `orders - 1` derivatives of a
  // sample.
  TF_STN_INLINE void Read(int64_t n, int64_t q, int count, int orders) {
    ReadRun(call_.points, n, q, count, &points_);
    if (is_directed()) ReadRun(StoredDirections(), n, q, count, &direction_arrays_);
    Find(count, orders);
  }

  // The same for the next points of a band.  Writes their numbers, and returns how many they are.
  TF_STN_INLINE int ReadNext(int64_t n, BandPoints<Points>* band, uint32_t* numbers) {
    const int count = band->Read(numbers, CoordinatesOf(stencils, &points_).to);
    if (count == 0) return 0;
    if (is_directed()) {
      const auto directions = StoredDirections();
      ReadNumbered(directions, n, numbers, count, CoordinatesOf(stencils, &direction_arrays_).to);
    }
    Find(count, 1);
    return count;
  }

  // Writes the first and the last slab that each of points [q, q + count) may read.
  TF_STN_INLINE void FindSlabs(int64_t n, int64_t q, int count, IndexOf<Real>* first,
                               IndexOf<Real>* last) {
    ReadRun(call_.points, n, q, count, &points_);
    const int slabs = stencils.SlabAxis();
    stencils.set_count(count);
    stencils.FindAxis(points_, slabs, 1);
    const AxisTaps<Real>& axis = stencils.axis(slabs);
    const bool in_pairs = slabs != 2;
    for (int p = 0; p < count; ++p) {
      first[p] = axis.first[0][p];
      last[p] = axis.first[0][p];
    }
    for (int pair = 1; pair < axis.pairs; ++pair) {
      for (int p = 0; p < count; ++p) {
        const auto slab = axis.first[pair][p];
        first[p] = slab < first[p] ? slab : first[p];
        last[p] = slab > last[p] ? slab : last[p];
      }
    }
    // A pair reads the pixel after its first, too.
    const auto most = static_cast<IndexOf<Real>>(call_.sizes.image.size[0] - 1);
    for (int p = 0; p < count && in_pairs; ++p) last[p] = last[p] < most ? last[p] + 1 : most;
  }

  // Writes a pass's weights of these orders; if `directed`, those of their derivative in the
  // direction of each point.
  TF_STN_INLINE void Weights(const Pass<kRank, Real>& pass, const int* orders, bool directed, int i,
                             RealVector<Real>* weights) const {
    if (!directed) return pass.Products(orders, i, weights);
    for (int k = 0; k < kTaps; ++k) weights[k] = RealVector<Real>{};
    ForDirections(orders, i, [&](const RealVector<Real>& direction, const int* higher) {
      RealVector<Real> products[kTaps];
      pass.Products(higher, i, products);
      for (int k = 0; k < kTaps; ++k) weights[k] += direction * products[k];
    });
  }

  // Whether something outside the image has such a weight: -1 or 0, for a vector of points.
  TF_STN_INLINE IndexVector<Real> SticksOut(const int* orders, bool directed, int i) const {
    if (!directed) return stencils.SticksOut(orders, i);
    IndexVector<Real> sticks_out{};
    ForDirections(orders, i, [&](const RealVector<Real>& direction, const int* higher) {
      sticks_out |= stencils.SticksOut(higher, i) & (direction != 0);
    });
    return sticks_out;
  }

  // Returns the weight of what is outside the image.
  TF_STN_INLINE RealVector<Real> OutsideWeight(const int* orders, bool directed, int i) const {
    if (!directed) return stencils.OutsideWeight(orders, i);
    RealVector<Real> sum{};
    ForDirections(orders, i, [&](const RealVector<Real>& direction, const int* higher) {
      sum += direction * stencils.OutsideWeight(higher, i);
    });
    return sum;
  }

 private:
  WarpPoints<kRank, Real> StoredDirections() const {
    return {directions_, call_.points.per_image, call_.points.stored};
  }

  template <typename Source>
  TF_STN_INLINE void ReadRun(const Source& source, int64_t n, int64_t q, int count,
                             PointArrays<kRank, Real>* arrays) const {
    const auto places = CoordinatesOf(stencils, arrays);
    ReadPoints(source, n, q, count, 0, places.to);
    FillLastVector(count, places.to);
  }

  TF_STN_INLINE void Find(int count, int orders) {
    stencils.Find(points_, count, orders + (is_directed() ? 1 : 0));
  }

  // Calls body(direction, orders) for each axis, with the orders one higher along it.
  template <typename Body>
  TF_STN_INLINE void ForDirections(const int* orders, int i, const Body& body) const {
    for (int d = 0; d < kRank; ++d) {
      int higher[kRank];
      for (int e = 0; e < kRank; ++e) higher[e] = orders[e] + (e == d);
      body(LoadElements<kLanes<Real>>(direction_arrays_.of[d] + i), higher);
    }
  }

  const CallType& call_;
  const Real* const directions_;
  PointArrays<kRank, Real> points_, direction_arrays_;

 public:
  Stencils<kRank, Real> stencils;
};

// The weights outside the image of a block's points.
template <typename Real>
struct alignas(64) OutsideWeights {
  Real of[kBlockPoints];
  bool is_zero;

  template <typename Block>
  TF_STN_INLINE void Find(const Block& block, const int* orders, bool directed) {
    IndexVector<Real> any{};
    for (int i = 0; i < block.stencils.count(); i += kLanes<Real>) {
      const auto weight = block.OutsideWeight(orders, directed, i);
      any |= weight != 0;
      Store<kLanes<Real>>(weight, of + i);
    }
    is_zero = !Any(any);
  }
};

// Adds the pixel outside to the samples of a block.
template <typename T, typename Real>
void AddFill(const OutsideWeights<Real>& weights, int count, const T* fill, int64_t channels,
             Real* output) {
  for (int p = 0; p < count; ++p) {
    const Real weight = weights.of[p];
    if (weight == 0) continue;
    Real* const to = output + p * channels;
    ForChannels<Real>(channels, [&](auto width, int64_t c) {
      constexpr int kWidth = decltype(width)::value;
      Store<kWidth>(Load<kWidth>(to + c) + weight * Load<kWidth>(fill + c), to + c);
    });
  }
}

// Writes, or with `add` adds, the samples of a block of one term without its fill.  `pixels` are
// those of the points' image, from which on `readable` elements may be read.
template <typename Block_, typename T, typename Output>
void SampleTerm(const Block_& points, int64_t channels, bool is_directed, const T* pixels,
                int64_t readable, bool add, Output* output) {
  using Real = Coordinate<T>;
  constexpr int kRank = Block_::kRank;
  constexpr int kValue[kRank] = {};
  const auto& stencils = points.stencils;
  const Extent<2> slice = stencils.Slice(channels);
  Block<Real> block;
  // A zero outside is added too; it turns -0 to 0.
  const auto find_zeros_outside = [&]() {
    for (int i = 0; i < stencils.count(); i += kLanes<Real>) {
      const auto zero = Select(points.SticksOut(kValue, is_directed, i) != 0, RealVector<Real>{},
                               Broadcast<kLanes<Real>>(-Real(0)));
      Store<kLanes<Real>>(zero, block.outside + i);
    }
  };
  if constexpr (kRank == 2) {
    if (IsAtOnce(stencils, is_directed) && !add) {
      find_zeros_outside();
      const FourTapStencils<1, Real> at_once(stencils.axis(0), stencils.axis(1), stencils.count(),
                                             slice);
      return SampleFourTaps<T>(at_once, stencils.count(), slice, pixels, readable, block.outside,
                               output);
    }
  }
  stencils.ForPasses([&](const Pass<kRank, Real>& pass, bool is_first) {
    const auto weights = [&](int i, RealVector<Real>* to) {
      points.Weights(pass, kValue, is_directed, i, to);
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

// Writes the samples of a block in image n, the sum of the terms.  `sums` is scratch for half
// types.
template <typename Block_, typename CallType, typename T>
void SampleTerms(const Block_& points, const CallType& call, const Terms<T>& terms, int64_t n,
                 Coordinate<T>* sums, T* output) {
  using Real = Coordinate<T>;
  constexpr int kValue[Block_::kRank] = {};
  const auto& sizes = call.sizes;
  const int64_t channels = sizes.image.channels, before = n * sizes.image.elements();
  const int count = points.stencils.count();
  // Of one term at most.
  OutsideWeights<Real> fill;
  fill.is_zero = true;
  const T* filling = nullptr;
  for (int i = 0; i < terms.count; ++i) {
    if (terms.term[i].fill == nullptr) continue;
    fill.Find(points, kValue, terms.term[i].is_directed);
    filling = terms.term[i].fill;
  }
  const auto sample = [&](auto* to) {
    for (int i = 0; i < terms.count; ++i) {
      const Term<T>& term = terms.term[i];
      SampleTerm(points, channels, term.is_directed, term.data + before, sizes.elements() - before,
                 i > 0, to);
    }
    if constexpr (std::is_same_v<std::remove_pointer_t<decltype(to)>, Real>) {
      if (!fill.is_zero) AddFill(fill, count, filling, channels, to);
    }
  };
  if constexpr (std::is_same_v<T, Real>) {
    sample(output);
  } else {
    const bool is_written_once = terms.count == 1 && fill.is_zero &&
                                 (IsAtOnce(points.stencils, terms.term[0].is_directed) ||
                                  points.stencils.CountPasses() == 1);
    if (is_written_once) return sample(output);
    sample(sums);
    Round(sums, count * channels, output);
  }
}

template <typename Points, typename T>
void Sample(const SampleCall<Points, T>& call, int64_t begin, int64_t end, void* scratch) {
  const auto& sizes = call.sizes;
  BlockStencils<SampleCall<Points, T>> points(call);
  const Terms<T> terms = TermsOf(call);
  while (begin < end) {
    const int64_t n = begin / sizes.points_per_image, q = begin - n * sizes.points_per_image;
    const int64_t left = Smaller(end - begin, sizes.points_per_image - q);
    const int count = static_cast<int>(Smaller(kBlockPoints, left));
    points.Read(n, q, count, 1);
    SampleTerms(points, call, terms, n, static_cast<Coordinate<T>*>(scratch),
                call.output + begin * sizes.image.channels);
    begin += count;
  }
}

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

// Returns the inner product of two pixels.
template <typename T>
TF_STN_INLINE Coordinate<T> InnerProduct(const T* a, const T* b, int64_t channels) {
  using Real = Coordinate<T>;
  Vector<Real, 4> sum{};
  ForChannels<Real>(channels, [&](auto width, int64_t c) {
    constexpr int kWidth = decltype(width)::value;
    const Vector<Real, kWidth> product = Load<kWidth>(a + c) * Load<kWidth>(b + c);
    sum += FoldToFour<kWidth, Real>(product);
  });
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// Adds to the gradients of a block's points what the pixel outside contributes.
template <typename Block_, typename T>
void AddGradientOfFill(const Block_& points, const Term<T>& term, int64_t channels,
                       const T* grad_output, PointArrays<Block_::kRank, Coordinate<T>>* sum) {
  using Real = Coordinate<T>;
  constexpr int kRank = Block_::kRank;
  OutsideWeights<Real> slopes[kRank];
  bool is_zero = true;
  for (int d = 0; d < kRank; ++d) {
    int orders[kRank] = {};
    orders[d] = 1;
    slopes[d].Find(points, orders, term.is_directed);
    is_zero = is_zero && slopes[d].is_zero;
  }
  for (int p = 0; p < points.stencils.count() && !is_zero; ++p) {
    bool is_needed = false;
    for (int d = 0; d < kRank; ++d) is_needed |= slopes[d].of[p] != 0;
    if (!is_needed) continue;
    const Real product = InnerProduct(term.fill, grad_output + p * channels, channels);
    for (int d = 0; d < kRank; ++d) {
      if (slopes[d].of[p] != 0) sum->of[d][p] += slopes[d].of[p] * product;
    }
  }
}

// Adds to the gradients of a block's points what one term and one image contribute.
template <typename Block_, typename T>
void AddTermGradient(const Block_& points, const Term<T>& term, int64_t channels, const T* pixels,
                     int64_t readable, const T* grad_output,
                     PointArrays<Block_::kRank, Coordinate<T>>* sum) {
  using Real = Coordinate<T>;
  using Indices = IndexVector<Real>;
  constexpr int kRank = Block_::kRank;
  const auto& stencils = points.stencils;
  const Extent<2> slice = stencils.Slice(channels);
  if (term.fill != nullptr) AddGradientOfFill(points, term, channels, grad_output, sum);
  if constexpr (kRank == 2) {
    if (IsAtOnce(stencils, term.is_directed)) {
      const FourTapStencils<2, Real> at_once(stencils.axis(0), stencils.axis(1), stencils.count(),
                                             slice);
      return AddFourTapSlopes<T>(at_once, stencils.count(), slice, pixels, readable, grad_output,
                                 sum->of[0], sum->of[1]);
    }
  }
  Block<Real> block;
  GradientBlock<T> gradient{slice, pixels, readable, {grad_output, nullptr}, nullptr, {}, {}};
  alignas(64) Real slopes[kRank][kTaps][kBlockPoints];
  // Beyond the last point they stay as they are, and what comes of them is not read.
  alignas(64) Real products[kTaps][kBlockPoints] = {};
  stencils.ForPasses([&](const Pass<kRank, Real>& pass, bool) {
    Indices all_inside = Indices{} - 1;
    block.count = stencils.count();
    for (int i = 0; i < block.count; i += kLanes<Real>) {
      Indices inside{};
      for (int d = 0; d < kRank; ++d) {
        int orders[kRank] = {};
        orders[d] = 1;
        RealVector<Real> slope[kTaps];
        points.Weights(pass, orders, term.is_directed, i, slope);
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
      for (int d = 0; d < kRank; ++d) {
        RealVector<Real> total = load(sum->of[d]);
        for (int k = 0; k < kTaps; ++k) {
          const RealVector<Real> slope = load(slopes[d][k]);
          total += Select(slope != 0, slope * load(products[k]), RealVector<Real>{});
        }
        Store<kLanes<Real>>(total, sum->of[d] + i);
      }
    }
  });
}

template <typename CallType>
void OfPoints(const CallType& call, const Run& run, double* item_sums, void* scratch) {
  using Points = typename CallType::Points;
  using T = typename CallType::Pixel;
  using Real = typename CallType::Real;
  constexpr int kRank = Points::kRank;
  const auto& sizes = call.sizes;
  const int64_t channels = sizes.image.channels;
  const Terms<T> terms = TermsOf(call);
  T* const samples = SamplesOf(call);
  BlockStencils<CallType> points(call);
  PointArrays<kRank, Real> gradient;
  [[maybe_unused]] ItemSum<Points> item_sum;
  const int64_t last = call.shares_points() ? sizes.images : run.image + 1;
  for (int64_t q = run.begin; q < run.end; q += kBlockPoints) {
    const int count = static_cast<int>(Smaller(kBlockPoints, run.end - q));
    points.Read(run.image, q, count, 2);
    __builtin_memset(&gradient, 0, sizeof(gradient));
    for (int64_t n = run.image; n < last; ++n) {
      const int64_t before = n * sizes.image.elements();
      const int64_t element = (n * sizes.points_per_image + q) * channels;
      if (samples != nullptr) {
        SampleTerms(points, call, terms, n, static_cast<Real*>(scratch), samples + element);
      }
      for (int i = 0; i < terms.count && call.grad_points != nullptr; ++i) {
        const Term<T>& term = terms.term[i];
        AddTermGradient(points, term, channels, term.data + before, sizes.elements() - before,
                        call.grad_output + element, &gradient);
      }
    }
    if (call.grad_points == nullptr) continue;
    const auto grads = CoordinatesOf(points.stencils, &gradient);
    if constexpr (Points::kIsStored) {
      WriteWarpGradient(count, grads.to,
                        call.grad_points + (run.image * call.points.per_image + q) * kRank);
    } else {
      item_sum.Add(call.points, run.image, q, count, grads.to);
    }
  }
  if constexpr (!Points::kIsStored) {
    if (call.grad_points != nullptr) item_sum.AddTo(item_sums);
  }
}

template <typename CallType>
void OfData(const CallType& call, const Band& band, typename CallType::Real* grad_image,
            void* scratch) {
  using Points = typename CallType::Points;
  using T = typename CallType::Pixel;
  using Real = typename CallType::Real;
  constexpr int kRank = Points::kRank;
  constexpr int kValue[kRank] = {};
  const auto& sizes = call.sizes;
  const int64_t channels = sizes.image.channels;
  BlockStencils<CallType> points(call);
  const Extent<2> slice = points.stencils.Slice(channels);
  const Reach<kRank> reach(call.modes, sizes.image, band.begin, band.end);
  BandPoints<Points> listed(call.points, reach, band, sizes.points_per_image);
  GradientBlock<T> gradient{slice, nullptr, 0, {}, grad_image, {}, {}};
  const T* const grad_output = call.grad_output + band.image * sizes.points_per_image * channels;
  auto* const passes = static_cast<PassWeights<Real>*>(scratch);
  uint32_t numbers[kBlockPoints];
  while (const int count = points.ReadNext(band.image, &listed, numbers)) {
    gradient.grad_outputs = GradOutputsOf(grad_output, channels, numbers, count);
    if constexpr (kRank == 2) {
      if (IsAtOnce(points.stencils, points.is_directed())) {
        const FourTapStencils<1, Real> at_once(points.stencils.axis(0), points.stencils.axis(1),
                                               count, slice);
        AddFourTapsToRows(at_once, count, gradient, band.begin, band.end);
        continue;
      }
    }
    int number = 0;
    points.stencils.ForPasses([&](const Pass<kRank, Real>& pass, bool) {
      const auto weights = [&](int i, RealVector<Real>* to) {
        points.Weights(pass, kValue, points.is_directed(), i, to);
      };
      WriteWeights(pass, count, weights, passes + number);
      number += ClipToBand(pass, points.stencils.SlabAxis(), band.begin, band.end, count,
                           passes + number);
    });
    AddPasses(passes, number, count, gradient);
  }
}

template <typename CallType>
BandRange FindBands(const CallType& call, const Run& run, const uint16_t* band_of_slab,
                    BandRange* ranges) {
  using Index = IndexOf<typename CallType::Real>;
  const int count = static_cast<int>(run.end - run.begin);
  Index first[kBlockPoints], last[kBlockPoints];
  BlockStencils<CallType> points(call);
  points.FindSlabs(run.image, run.begin, count, first, last);
  Index low = first[0], high = last[0];
  for (int p = 1; p < count; ++p) {
    low = first[p] < low ? first[p] : low;
    high = last[p] > high ? last[p] : high;
  }
  const BandRange all = {band_of_slab[low], band_of_slab[high]};
  for (int p = 0; p < count && all.first != all.last; ++p) {
    ranges[p] = {band_of_slab[first[p]], band_of_slab[last[p]]};
  }
  return all;
}

// Pairs of taps along each axis, and once more for each slice of a volume.
template <int Rank>
int Passes(const Modes& modes) {
  const int taps = TapsOf(modes.interpolation), pairs = (taps + 1) / 2;
  return pairs * pairs * (Rank == 3 ? taps : 1);
}

// Memory for the sums of half types, or for the weights of all passes.
template <typename Points, typename T>
size_t ScratchBytes(const Call<Points, T>& call) {
  using Real = Coordinate<T>;
  // A seam may double the pairs along each axis.
  const int taps = TapsOf(call.modes.interpolation), pairs = taps > 1 ? (taps + 1) / 2 * 2 : 1;
  const int passes = pairs * pairs * (Points::kRank == 3 ? taps : 1);
  const size_t of_passes = sizeof(PassWeights<Real>) * static_cast<size_t>(passes);
  const size_t of_sums =
      std::is_same_v<T, Real>
          ? 0
          : sizeof(Real) * static_cast<size_t>(kBlockPoints * call.sizes.image.channels);
  return of_sums > of_passes ? of_sums : of_passes;
}

}  // namespace separable

template <typename Points, typename T>
constexpr Loops<Points, T> MakeSeparableLoops() {
  using First = GradientCall<Points, T>;
  using Second = SecondOrderCall<Points, T>;
  Loops<Points, T> loops{};
  loops.passes = &separable::Passes<Points::kRank>;
  loops.scratch_bytes = &separable::ScratchBytes<Points, T>;
  loops.sample = &separable::Sample<Points, T>;
  loops.first_order = {&separable::OfPoints<First>, &separable::OfData<First>, nullptr, nullptr};
  if constexpr (kListsPoints<Points>) loops.first_order.find_bands = &separable::FindBands<First>;
  if constexpr (Points::kIsStored) {
    loops.second_order = {&separable::OfPoints<Second>, &separable::OfData<Second>, nullptr,
                          &separable::FindBands<Second>};
  }
  loops.round = &Round<T>;
  return loops;
}

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_SIMD_SEPARABLE_H_

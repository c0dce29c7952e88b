// Loops over points for images, linear interpolation and zeros outside, block by block.

#ifndef TF_STN_CC_KERNELS_CPU_SIMD_BILINEAR_H_
#define TF_STN_CC_KERNELS_CPU_SIMD_BILINEAR_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cc/core/call.h"
#include "cc/core/points.h"
#include "cc/kernels/cpu/loops.h"
#include "cc/kernels/cpu/simd/bilinear_stencils.h"
#include "cc/kernels/cpu/simd/blocks.h"
#include "cc/kernels/cpu/simd/gradients.h"
#include "cc/kernels/cpu/simd/pixels.h"
#include "cc/kernels/cpu/simd/points.h"
#include "cc/kernels/cpu/simd/sample.h"
#include "cc/kernels/cpu/simd/vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {

// Reads points [q, q + count) of image n into a block.
template <typename Points>
TF_STN_INLINE void ReadBlock(const Points& points, int64_t n, int64_t q, int count,
                             Block<typename Points::Real>* block) {
  typename Points::Real* const to[] = {block->x, block->y};
  ReadPoints(points, n, q, count, 0, to);
  FillLastVector(count, to);
  block->count = count;
}

namespace bilinear {

template <typename Points, typename T>
void Sample(const SampleCall<Points, T>& call, int64_t begin, int64_t end, void*) {
  using Real = typename Points::Real;
  const auto& sizes = call.sizes;
  const Extent<2>& image = sizes.image;
  const int64_t channels = image.channels;
  const Reach<2> reach(call.modes, image, 0, image.size[0]);
  while (begin < end) {
    const int64_t n = begin / sizes.points_per_image, first_of_image = n * sizes.points_per_image;
    const int64_t until = Smaller(end, first_of_image + sizes.points_per_image);
    const T* const pixels = call.image(n);
    const int64_t readable = (sizes.images - n) * image.elements();
    T* const output = call.output + first_of_image * channels;
    const auto inside = [&](int64_t first, int64_t last) {
      const auto prepare = [&](Block<Real>* block, int64_t q) {
        if (q >= last) return false;
        ReadBlock(call.points, n, q, static_cast<int>(Smaller(kBlockPoints, last - q)), block);
        FindStencils<0>(image, block);
        Prefetch(*block, image, pixels);
        return true;
      };
      InTurn<Block<Real>>(first, prepare, [&](const Block<Real>& block, int64_t q) {
        SampleBlock<false, T>(block, image, pixels, readable, output + q * channels);
      });
    };
    const auto outside = [&](int64_t first, int64_t last) {
      __builtin_memset(static_cast<void*>(output + first * channels), 0,
                       static_cast<size_t>((last - first) * channels) * sizeof(T));
    };
    ForPointsInside(call.points, reach, n, begin - first_of_image, until - first_of_image, inside,
                    outside);
    begin = until;
  }
}

// The gradients of a block of points, in all images that share them, written to gradient->x and y.
template <typename Points, typename T>
TF_STN_INLINE void FindPointGradients(const GradientCall<Points, T>& call,
                                      const Block<typename Points::Real>& block, int64_t n,
                                      int64_t q, GradientBlock<T>* gradient) {
  const auto& sizes = call.sizes;
  const auto find = [&](int64_t image) {
    gradient->pixels = call.image(image);
    gradient->readable = (sizes.images - image) * sizes.image.elements();
    const int64_t first = image * sizes.points_per_image + q;
    gradient->grad_outputs = {call.grad_output + first * sizes.image.channels, nullptr};
    TF_STN_ISA::FindPointGradients(block, gradient);
  };
  find(n);
  if (!call.shares_points()) return;
  using Real = typename Points::Real;
  alignas(64) Real x[kBlockPoints], y[kBlockPoints];
  for (int p = 0; p < block.count; ++p) x[p] = gradient->x[p], y[p] = gradient->y[p];
  for (int64_t image = n + 1; image < sizes.images; ++image) {
    find(image);
    for (int p = 0; p < block.count; ++p) x[p] += gradient->x[p], y[p] += gradient->y[p];
  }
  for (int p = 0; p < block.count; ++p) gradient->x[p] = x[p], gradient->y[p] = y[p];
}

// Computes either gradient, or both, of a run of points.
template <typename Points, typename T>
void Gradients(const GradientCall<Points, T>& call, const Run& run, bool of_points, bool of_data,
               typename Points::Real* grad_image, double* item_sums) {
  using Real = typename Points::Real;
  const auto& sizes = call.sizes;
  const Extent<2>& image = sizes.image;
  GradientBlock<T> gradient{image, call.image(run.image), 0, {}, grad_image, {}, {}};
  [[maybe_unused]] ItemSum<Points> item_sum;
  const auto inside = [&](int64_t first, int64_t last) {
    const auto prepare = [&](Block<Real>* block, int64_t q) {
      if (q >= last) return false;
      ReadBlock(call.points, run.image, q, static_cast<int>(Smaller(kBlockPoints, last - q)),
                block);
      FindStencils<1>(image, block);
      if (of_points) Prefetch(*block, image, gradient.pixels);
      if (of_data) Prefetch(*block, image, grad_image);
      return true;
    };
    InTurn<Block<Real>>(first, prepare, [&](const Block<Real>& block, int64_t q) {
      if (of_points) {
        FindPointGradients(call, block, run.image, q, &gradient);
        Real* const grads[] = {gradient.x, gradient.y};
        if constexpr (Points::kIsStored) {
          WriteWarpGradient(block.count, grads,
                            call.grad_points + 2 * (run.image * call.points.per_image + q));
        } else {
          item_sum.Add(call.points, run.image, q, block.count, grads);
        }
      }
      if (of_data) {
        const int64_t number = run.image * sizes.points_per_image + q;
        gradient.grad_outputs = {call.grad_output + number * image.channels, nullptr};
        AddDataGradient(block, &gradient);
      }
    });
  };
  const Reach<2> reach(call.modes, image, 0, image.size[0]);
  ForPointsInside(call.points, reach, run.image, run.begin, run.end, inside,
                  [](int64_t, int64_t) {});
  if constexpr (!Points::kIsStored) {
    if (of_points) item_sum.AddTo(item_sums);
  }
}

template <typename Points, typename T>
void OfPoints(const GradientCall<Points, T>& call, const Run& run, double* item_sums, void*) {
  Gradients(call, run, true, false, nullptr, item_sums);
}

template <typename Points, typename T>
void OfBoth(const GradientCall<Points, T>& call, const Run& run, typename Points::Real* grad_image,
            double* item_sums, void*) {
  Gradients(call, run, true, true, grad_image, item_sums);
}

// A block of a band's points, which need not follow each other.
template <typename T>
struct ListedBlock {
  using Real = Coordinate<T>;

  uint32_t numbers[kBlockPoints];
  Block<Real> block;
  GradOutputs<T> grad_outputs;
  T gathered[kBlockPoints * kFewChannels];

  // Reads the next points, or returns false.
  template <typename Points>
  TF_STN_INLINE bool Read(BandPoints<Points>* points) {
    Real* const to[] = {block.x, block.y};
    block.count = points->Read(numbers, to);
    return block.count > 0;
  }

  // Finds dL/dV of the block, given that of the image.  Of few channels it is gathered, so that
  // the processor waits for none of it when it is used.
  TF_STN_INLINE void FindGradOutputs(const T* grad_output, int64_t channels) {
    grad_outputs = GradOutputsOf(grad_output, channels, numbers, block.count);
    if (grad_outputs.numbers == nullptr || channels > kFewChannels) return;
    VisitChannels(channels, [&](auto number) {
      constexpr int kChannels = decltype(number)::value;
      if constexpr (kChannels != kAnyChannels) {
        for (int p = 0; p < block.count; ++p) {
          __builtin_memcpy(gathered + p * kChannels, grad_outputs.Of(p, kChannels),
                           kChannels * sizeof(T));
        }
      }
    });
    grad_outputs = {gathered, nullptr};
  }
};

template <typename Points, typename T>
void OfData(const GradientCall<Points, T>& call, const Band& band,
            typename Points::Real* grad_image, void*) {
  const auto& sizes = call.sizes;
  const Extent<2>& image = sizes.image;
  if (band.begin == 0 && band.end == image.size[0] && band.points == nullptr) {
    return Gradients(call, {band.image, 0, sizes.points_per_image}, false, true, grad_image,
                     nullptr);
  }
  const Reach<2> reach(call.modes, image, band.begin, band.end);
  BandPoints<Points> points(call.points, reach, band, sizes.points_per_image);
  GradientBlock<T> gradient{image, nullptr, 0, {}, grad_image, {}, {}};
  const T* const grad_output =
      call.grad_output + band.image * sizes.points_per_image * image.channels;
  const auto prepare = [&](ListedBlock<T>* listed, int64_t) {
    if (!listed->Read(&points)) return false;
    listed->FindGradOutputs(grad_output, image.channels);
    FindStencils<0>(image, &listed->block);
    ClipToBand(image, band.begin, band.end, &listed->block);
    Prefetch(listed->block, image, grad_image);
    return true;
  };
  InTurn<ListedBlock<T>>(0, prepare, [&](const ListedBlock<T>& listed, int64_t) {
    gradient.grad_outputs = listed.grad_outputs;
    AddDataGradient(listed.block, &gradient);
  });
}

// A point has pixels in the rows floor(y) and floor(y) + 1, as far as these are in the image.
template <typename CallType>
BandRange FindBands(const CallType& call, const Run& run, const uint16_t* band_of_slab,
                    BandRange* ranges) {
  using Real = typename CallType::Real;
  using Index = IndexOf<Real>;
  using Indices = IndexVector<Real>;
  constexpr int kCount = kLanes<Real>;
  const Extent<2>& image = call.sizes.image;
  const auto width = static_cast<Index>(image.size[1]), height = static_cast<Index>(image.size[0]);
  Block<Real> block;
  ReadBlock(call.points, run.image, run.begin, static_cast<int>(run.end - run.begin), &block);
  alignas(64) Index first[kBlockPoints], last[kBlockPoints];
  // Of no point, and so what a point without pixels leaves.
  Indices lowest = Indices{} + height, highest = Indices{} - 1;
  for (int i = 0; i < block.count; i += kCount) {
    Indices column, row;
    RealVector<Real> fraction;
    Split<Real>(LoadElements<kCount>(block.x + i), width, &column, &fraction);
    Split<Real>(LoadElements<kCount>(block.y + i), height, &row, &fraction);
    const auto has_pixels = (column >= -1) & (column < width) & (row >= -1) & (row < height);
    const auto lower = Select(row + 1 < height, row + 1, row);
    const auto upper = Select(row < 0, Indices{}, row);
    const auto begin = Select(has_pixels, upper, Indices{} + height);
    const auto end = Select(has_pixels, lower, Indices{} - 1);
    lowest = Select(begin < lowest, begin, lowest);
    highest = Select(end > highest, end, highest);
    __builtin_memcpy(first + i, &begin, sizeof(begin));
    __builtin_memcpy(last + i, &end, sizeof(end));
  }
  Index low = lowest[0], high = highest[0];
  for (int i = 1; i < kCount; ++i) {
    low = lowest[i] < low ? lowest[i] : low;
    high = highest[i] > high ? highest[i] : high;
  }
  if (high < 0) return {1, 0};
  const BandRange all = {band_of_slab[low], band_of_slab[high]};
  for (int p = 0; p < block.count && all.first != all.last; ++p) {
    ranges[p] =
        last[p] < 0 ? BandRange{1, 0} : BandRange{band_of_slab[first[p]], band_of_slab[last[p]]};
  }
  return all;
}

inline int Passes(const Modes&) { return 1; }

template <typename Points, typename T>
size_t ScratchBytes(const Call<Points, T>&) {
  return 0;
}

}  // namespace bilinear

// Writes sums as pixels.
template <typename T>
void Round(const Coordinate<T>* sums, int64_t count, T* pixels) {
  ForChannels<Coordinate<T>>(count, [&](auto width, int64_t i) {
    constexpr int kWidth = decltype(width)::value;
    Store<kWidth>(LoadElements<kWidth>(sums + i), pixels + i);
  });
}

// Whether the points of a band are listed for it, since BandPoints would go through all.
template <typename Points>
inline constexpr bool kListsPoints = true;

template <int Rank, typename Real>
inline constexpr bool kListsPoints<MatrixPoints<Rank, Real>> = false;

// The second order, of points that are stored, is compiled in bilinear_second_order.cc.
namespace bilinear {

template <typename Points, typename T>
void SecondOrderOfPoints(const SecondOrderCall<Points, T>& call, const Run& run, double* item_sums,
                         void* scratch);

template <typename Points, typename T>
void SecondOrderOfData(const SecondOrderCall<Points, T>& call, const Band& band,
                       typename Points::Real* grad_image, void* scratch);

template <typename Points, typename T>
void SecondOrderOfBoth(const SecondOrderCall<Points, T>& call, const Run& run,
                       typename Points::Real* grad_image, double* item_sums, void* scratch);

}  // namespace bilinear

template <typename Points, typename T>
constexpr Loops<Points, T> MakeBilinearLoops() {
  Loops<Points, T> loops{};
  loops.passes = &bilinear::Passes;
  loops.scratch_bytes = &bilinear::ScratchBytes<Points, T>;
  loops.sample = &bilinear::Sample<Points, T>;
  loops.first_order = {&bilinear::OfPoints<Points, T>, &bilinear::OfData<Points, T>,
                       &bilinear::OfBoth<Points, T>, nullptr};
  if constexpr (kListsPoints<Points>) {
    loops.first_order.find_bands = &bilinear::FindBands<GradientCall<Points, T>>;
  }
  if constexpr (Points::kIsStored) {
    loops.second_order = {
        &bilinear::SecondOrderOfPoints<Points, T>, &bilinear::SecondOrderOfData<Points, T>,
        &bilinear::SecondOrderOfBoth<Points, T>, &bilinear::FindBands<SecondOrderCall<Points, T>>};
  }
  loops.round = &Round<T>;
  return loops;
}

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_SIMD_BILINEAR_H_

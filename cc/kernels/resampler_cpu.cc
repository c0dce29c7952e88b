// Loops over points, block by block.  Compiled once for each instruction set, which
// TF_STN_ISA names.

#include "cc/kernels/resampler_cpu.h"

#include <cstdint>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/kernels/cpu_blocks.h"
#include "cc/kernels/cpu_gradients.h"
#include "cc/kernels/cpu_sample.h"
#include "cc/kernels/cpu_stencils.h"
#include "cc/kernels/cpu_vectors.h"
#include "cc/kernels/resampler.h"

namespace tf_stn {
namespace TF_STN_ISA {
namespace {

template <typename Real>
using Warp = WarpPoints<2, Real>;

template <typename Real>
using Affine = AffinePoints<2, Real>;

// Columns [begin, end) of an output row.
struct Columns {
  int64_t begin, end;
};

// Whether start + step * column is finite for all columns.
TF_STN_INLINE bool IsFinite(double start, double step, const Columns& columns) {
  const double first = start + step * static_cast<double>(columns.begin);
  const double last = start + step * static_cast<double>(columns.end);
  return (first - first) + (last - last) == 0;
}

// Narrows `columns` to those whose coordinate may lie in (low, high), and rather
// leaves one too many.
// REQUIRES: IsFinite(start, step, *columns).
TF_STN_INLINE void NarrowAlong(double start, double step, int64_t low, int64_t high,
                               Columns* columns) {
  const double ends[] = {start + step * static_cast<double>(columns->begin),
                         start + step * static_cast<double>(columns->end)};
  // More than the rounding of a coordinate: where large terms cancel, many pixels.
  const auto size = [](double x) { return x < 0 ? -x : x; };
  const double margin = 1 + 1e-6 * (size(start) + size(step) * static_cast<double>(columns->end));
  const double below = static_cast<double>(low) - margin;
  const double above = static_cast<double>(high) + margin;
  if ((ends[0] < below && ends[1] < below) || (ends[0] > above && ends[1] > above)) {
    columns->end = columns->begin;
    return;
  }
  if (step == 0) return;
  double first = (below - start) / step, last = (above - start) / step;
  if (first > last) {
    const double swapped = first;
    first = last;
    last = swapped;
  }
  // What is beyond the columns need not be an int64_t.
  if (first > static_cast<double>(columns->begin)) {
    columns->begin = Smaller(columns->end, static_cast<int64_t>(first));
  }
  if (last < static_cast<double>(columns->end)) {
    columns->end = Larger(columns->begin, static_cast<int64_t>(last) + 1);
  }
}

// Narrows `columns` to those whose points may have pixels in rows [row_begin, row_end).
// A coordinate that is not finite leaves all, wherever the other one is: it may be a NaN.
template <typename Real>
TF_STN_INLINE void Narrow(const AffineRow<Real>& line, const Extent<2>& image, int64_t row_begin,
                          int64_t row_end, Columns* columns) {
  const double start_x = static_cast<double>(line.start_x);
  const double start_y = static_cast<double>(line.start_y);
  const double step_x = static_cast<double>(line.step_x);
  const double step_y = static_cast<double>(line.step_y);
  if (!IsFinite(start_x, step_x, *columns) || !IsFinite(start_y, step_y, *columns)) return;
  NarrowAlong(start_x, step_x, -1, image.size[1], columns);
  NarrowAlong(start_y, step_y, row_begin - 1, row_end, columns);
}

template <typename T>
void Sample(const ResamplerArguments<Warp<Coordinate<T>>, T>& arguments, int64_t begin,
            int64_t end) {
  using Real = Coordinate<T>;
  const auto& sizes = arguments.sizes;
  const int64_t elements = sizes.image.elements(), channels = sizes.image.channels;
  while (begin < end) {
    const int64_t image = begin / sizes.points_per_image;
    const int64_t until = Smaller(end, (image + 1) * sizes.points_per_image);
    const T* pixels = arguments.data + image * elements;
    const int64_t readable = (sizes.images - image) * elements;
    const auto prepare = [&](Block<Real>* block, int64_t p) {
      if (p >= until) return false;
      ReadCoordinates(arguments.points, p, static_cast<int>(Smaller(kBlockPoints, until - p)),
                      block);
      FindStencils<0>(sizes.image, block);
      Prefetch(*block, sizes.image, pixels);
      return true;
    };
    InTurn<Block<Real>>(begin, prepare, [&](const Block<Real>& block, int64_t p) {
      SampleBlock<false, T>(block, sizes.image, pixels, readable, arguments.output + p * channels);
    });
    begin = until;
  }
}

// Calls rows(first, last) for points [begin, end) of an image where rows of the output
// are narrow, and otherwise row by row for the columns that may have pixels in rows
// [row_begin, row_end) of the image, and skip(first, last) for what is left.
template <typename Real, typename Rows, typename Skip>
TF_STN_INLINE void ForAffinePoints(const Extent<2>& image, const Real* matrix, int64_t width,
                                   int64_t row_begin, int64_t row_end, int64_t begin, int64_t end,
                                   const Rows& rows, const Skip& skip) {
  if (width <= kBlockPoints) return rows(begin, end);
  while (begin < end) {
    const int64_t row = begin / width, start = row * width;
    const int64_t until = Smaller(end, start + width);
    const AffineRow<Real> line(matrix, row);
    Columns columns{begin - start, until - start};
    Narrow(line, image, row_begin, row_end, &columns);
    skip(begin, start + columns.begin);
    rows(start + columns.begin, start + columns.end);
    skip(start + columns.end, until);
    begin = until;
  }
}

template <typename T>
void Sample(const ResamplerArguments<Affine<Coordinate<T>>, T>& arguments, int64_t begin,
            int64_t end) {
  using Real = Coordinate<T>;
  const auto& sizes = arguments.sizes;
  const int64_t elements = sizes.image.elements(), channels = sizes.image.channels;
  const int64_t width = arguments.points.size[1];
  while (begin < end) {
    const int64_t image = begin / sizes.points_per_image;
    const int64_t first_of_image = image * sizes.points_per_image;
    const int64_t until = Smaller(end, first_of_image + sizes.points_per_image);
    const Real* const matrix = arguments.points.matrix + image * Affine<Real>::kParameters;
    const T* const pixels = arguments.data + image * elements;
    T* const output = arguments.output + first_of_image * channels;
    const auto rows = [&](int64_t first, int64_t last) {
      const auto prepare = [&](Block<Real>* block, int64_t p) {
        if (p >= last) return false;
        ReadCoordinates<false>(matrix, width, p, static_cast<int>(Smaller(kBlockPoints, last - p)),
                               block);
        FindStencils<0>(sizes.image, block);
        Prefetch(*block, sizes.image, pixels);
        return true;
      };
      InTurn<Block<Real>>(first, prepare, [&](const Block<Real>& block, int64_t p) {
        SampleBlock<false, T>(block, sizes.image, pixels, (sizes.images - image) * elements,
                              output + p * channels);
      });
    };
    const auto clear = [&](int64_t first, int64_t last) {
      __builtin_memset(static_cast<void*>(output + first * channels), 0,
                       static_cast<size_t>((last - first) * channels) * sizeof(T));
    };
    ForAffinePoints(sizes.image, matrix, width, 0, sizes.image.size[0], begin - first_of_image,
                    until - first_of_image, rows, clear);
    begin = until;
  }
}

// Calls body(first, block) for blocks of points [begin, end) of an image, with their
// coordinates.
template <typename Real, typename Body>
TF_STN_INLINE void ForBlocks(const Warp<Real>& points, int64_t first_of_image, int64_t begin,
                             int64_t end, const Body& body) {
  Block<Real> block;
  for (int64_t p = begin; p < end; p += kBlockPoints) {
    ReadCoordinates(points, first_of_image + p, static_cast<int>(Smaller(kBlockPoints, end - p)),
                    &block);
    body(p, &block);
  }
}

template <typename T>
void FindRows(const ResamplerGradArguments<Warp<Coordinate<T>>, T>& arguments, int64_t image,
              int64_t begin, int64_t end, RowRange* ranges) {
  using Real = Coordinate<T>;
  constexpr int kCount = kLanes<Real>;
  const auto& sizes = arguments.sizes;
  using Indices = IndexVector<Real>;
  const auto width = static_cast<IndexOf<Real>>(sizes.image.size[1]);
  const auto height = static_cast<IndexOf<Real>>(sizes.image.size[0]);
  for (int64_t range = begin; range < end; ++range) {
    // Of no point, and so what a point without pixels leaves.
    Indices first = Indices{} + (height - 1), last = Indices{} - 1;
    const int64_t until = Smaller(sizes.points_per_image, (range + 1) * kRangePoints);
    ForBlocks(arguments.points, image * sizes.points_per_image, range * kRangePoints, until,
              [&](int64_t, Block<Real>* block) {
                for (int i = 0; i < block->count; i += kCount) {
                  Indices column, row;
                  RealVector<Real> fraction;
                  Split<Real>(LoadElements<kCount>(block->x + i), width, &column, &fraction);
                  Split<Real>(LoadElements<kCount>(block->y + i), height, &row, &fraction);
                  const Indices has_pixels =
                      (column >= -1) & (column < width) & (row >= -1) & (row < height);
                  row = row < 0 ? Indices{} : row;
                  first = has_pixels & (row < first) ? row : first;
                  last = has_pixels & (row > last) ? row : last;
                }
              });
    ranges[range] = {static_cast<int32_t>(first[0]), static_cast<int32_t>(last[0])};
    for (int i = 1; i < kCount; ++i) {
      ranges[range].first = static_cast<int32_t>(Smaller(ranges[range].first, first[i]));
      ranges[range].last = static_cast<int32_t>(Larger(ranges[range].last, last[i]));
    }
  }
}

template <typename T>
void FindRows(const ResamplerGradArguments<Affine<Coordinate<T>>, T>&, int64_t, int64_t, int64_t,
              RowRange*) {}

// Adds the gradients of a block's affine points to `sums`.
template <typename Real>
TF_STN_INLINE void AddMatrixGradient(const Block<Real>& block, Real* x, Real* y, MatrixSums* sums) {
  constexpr int kCount = kLanes<Real>;
  for (int p = block.count; p % kCount != 0; ++p) x[p] = y[p] = 0;
  const Real* const gradients[] = {x, y};
  for (int d = 0; d < 2; ++d) {
    RealVector<Real> by_column{}, by_line{}, plain{};
    for (int p = 0; p < block.count; p += kCount) {
      const RealVector<Real> gradient = LoadElements<kCount>(gradients[d] + p);
      by_column += gradient * LoadElements<kCount>(block.column + p);
      if (!block.is_one_line) by_line += gradient * LoadElements<kCount>(block.line + p);
      plain += gradient;
    }
    const auto total = [](const RealVector<Real>& vector) {
      const auto four = FoldToFour<kCount, Real>(vector);
      return (static_cast<double>(four[0]) + static_cast<double>(four[1])) +
             (static_cast<double>(four[2]) + static_cast<double>(four[3]));
    };
    const double sum = total(plain);
    sums->of[d][0] += total(by_column);
    sums->of[d][1] +=
        block.is_one_line ? static_cast<double>(block.first_line) * sum : total(by_line);
    sums->of[d][2] += sum;
  }
}

template <typename T>
void GradientsOfPoints(const ResamplerGradArguments<Warp<Coordinate<T>>, T>& arguments,
                       const GradientTask& task, bool of_points, bool of_data,
                       const RowRange* ranges, GradientBlock<T>* gradient, MatrixSums*) {
  using Real = Coordinate<T>;
  const auto& sizes = arguments.sizes;
  const bool is_band = task.row_begin > 0 || task.row_end < sizes.image.size[0];
  const int64_t first_of_image = task.image * sizes.points_per_image;
  ForRanges(task, sizes, ranges, [&](int64_t begin, int64_t end, bool owns_outside) {
    const auto prepare = [&](Block<Real>* block, int64_t p) {
      if (p >= end) return false;
      ReadCoordinates(arguments.points, first_of_image + p,
                      static_cast<int>(Smaller(kBlockPoints, end - p)), block);
      FindStencils<1>(sizes.image, block);
      if (is_band) ClipToBand(sizes.image, task.row_begin, task.row_end, owns_outside, block);
      if (of_points) Prefetch(*block, sizes.image, gradient->pixels);
      if (of_data) Prefetch(*block, sizes.image, gradient->grad_image);
      return true;
    };
    InTurn<Block<Real>>(begin, prepare, [&](const Block<Real>& block, int64_t p) {
      gradient->grad_output = arguments.grad_output + (first_of_image + p) * sizes.image.channels;
      if (of_points) {
        FindPointGradients(block, gradient);
        WriteWarpGradient(block, gradient->x, gradient->y,
                          arguments.grad_points + 2 * (first_of_image + p));
      }
      if (of_data) AddDataGradient(block, gradient);
    });
  });
}

template <typename T>
void GradientsOfPoints(const ResamplerGradArguments<Affine<Coordinate<T>>, T>& arguments,
                       const GradientTask& task, bool of_points, bool of_data, const RowRange*,
                       GradientBlock<T>* gradient, MatrixSums* matrix_sums) {
  using Real = Coordinate<T>;
  const auto& sizes = arguments.sizes;
  const bool is_band = task.row_begin > 0 || task.row_end < sizes.image.size[0];
  const Real* const matrix = arguments.points.matrix + task.image * Affine<Real>::kParameters;
  const int64_t width = arguments.points.size[1];
  const bool owns_outside = task.row_begin == 0;  // Where a matrix is NaN, all points are.
  const int64_t first_of_image = task.image * sizes.points_per_image;
  const auto rows = [&](int64_t first, int64_t last) {
    const auto prepare = [&](Block<Real>* block, int64_t p) {
      if (p >= last) return false;
      ReadCoordinates<true>(matrix, width, p, static_cast<int>(Smaller(kBlockPoints, last - p)),
                            block);
      FindStencils<1>(sizes.image, block);
      if (is_band) ClipToBand(sizes.image, task.row_begin, task.row_end, owns_outside, block);
      if (of_points) Prefetch(*block, sizes.image, gradient->pixels);
      if (of_data) Prefetch(*block, sizes.image, gradient->grad_image);
      return true;
    };
    InTurn<Block<Real>>(first, prepare, [&](const Block<Real>& block, int64_t p) {
      gradient->grad_output = arguments.grad_output + (first_of_image + p) * sizes.image.channels;
      if (of_points) {
        FindPointGradients(block, gradient);
        AddMatrixGradient(block, gradient->x, gradient->y, matrix_sums);
      }
      if (of_data) AddDataGradient(block, gradient);
    });
  };
  ForAffinePoints(sizes.image, matrix, width, task.row_begin, task.row_end, task.point_begin,
                  task.point_end, rows, [](int64_t, int64_t) {});
}

template <typename Points, typename T>
void Gradients(const ResamplerGradArguments<Points, T>& arguments, const GradientTask& task,
               const RowRange* ranges, Coordinate<T>* sums, MatrixSums* matrix_sums) {
  using Real = Coordinate<T>;
  const auto& sizes = arguments.sizes;
  const int64_t elements = sizes.image.elements();
  Real* const grad_image = sums == nullptr ? nullptr : sums + task.image * elements;
  GradientBlock<T> gradient{sizes.image,
                            arguments.data + task.image * elements,
                            (sizes.images - task.image) * elements,
                            nullptr,
                            grad_image,
                            {},
                            {}};
  if (matrix_sums != nullptr) *matrix_sums = MatrixSums{};
  const bool needs_points = arguments.grad_points != nullptr;
  const bool needs_data = arguments.grad_data != nullptr;
  const auto add = [&](bool of_points, bool of_data) {
    GradientsOfPoints(arguments, task, of_points, of_data, ranges, &gradient, matrix_sums);
  };
  if (needs_data) ZeroRows(sizes.image, task, grad_image);
  // Many channels of data and of its gradient do not fit into a cache together.
  if (needs_points && needs_data && sizes.image.channels >= kManyChannels) {
    add(true, false);
    add(false, true);
  } else {
    add(needs_points, needs_data);
  }
  if (needs_data) {
    RoundRows(sizes.image, task, grad_image, arguments.grad_data + task.image * elements);
  }
}

}  // namespace

template <typename Points, typename T>
const CpuLoops<Points, T>& Loops() {
  static constexpr CpuLoops<Points, T> kLoops = {&Sample<T>, &FindRows<T>, &Gradients<Points, T>};
  return kLoops;
}

#define TF_STN_INSTANTIATE(T)                                                       \
  template const CpuLoops<Warp<Coordinate<T>>, T>& Loops<Warp<Coordinate<T>>, T>(); \
  template const CpuLoops<Affine<Coordinate<T>>, T>& Loops<Affine<Coordinate<T>>, T>()

TF_STN_INSTANTIATE(Half);
TF_STN_INSTANTIATE(BFloat16);
TF_STN_INSTANTIATE(float);
TF_STN_INSTANTIATE(double);

#undef TF_STN_INSTANTIATE

}  // namespace TF_STN_ISA
}  // namespace tf_stn

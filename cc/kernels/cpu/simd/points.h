// Points as the vector loops take them: the coordinates of blocks of points, which of them may have
// pixels where, and the sums of their gradients.
//
// What is here for all sources works point by point.  For WarpPoints and MatrixPoints there are
// faster versions.

#ifndef TF_STN_CC_KERNELS_CPU_SIMD_POINTS_H_
#define TF_STN_CC_KERNELS_CPU_SIMD_POINTS_H_

#include <cstdint>

#include "cc/core/call.h"
#include "cc/core/points.h"
#include "cc/core/stencil.h"
#include "cc/kernels/cpu/simd/vectors.h"

namespace tf_stn {
namespace TF_STN_ISA {

inline constexpr int kBlockPoints = 64;
static_assert(Band::kRunLength == kBlockPoints);

TF_STN_INLINE int64_t Smaller(int64_t a, int64_t b) { return a < b ? a : b; }
TF_STN_INLINE int64_t Larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Of arrays that vectors of Reals are written to from any point of a block on.
template <typename Real>
inline constexpr int kBlockRoom = kBlockPoints + kLanes<Real>;

// Where the coordinates of a block go: arrays of kBlockRoom for x, y[, z].  Their gradients, which
// are only read, need no more than kBlockPoints.
template <typename Points>
using CoordinatesOut = typename Points::Real* const (&)[Points::kRank];

// Repeats the last of `count` points until the last vector is full.
template <int kRank, typename Real>
TF_STN_INLINE void FillLastVector(int count, Real* const (&to)[kRank]) {
  for (int d = 0; d < kRank; ++d) {
    for (int i = count; i % kLanes<Real> != 0; ++i) to[d][i] = to[d][count - 1];
  }
}

// Writes the coordinates of points [q, q + count) of image n, to places from `at` on.
template <typename Points>
TF_STN_INLINE void ReadPoints(const Points& points, int64_t n, int64_t q, int count, int at,
                              CoordinatesOut<Points> to) {
  const int64_t per_item = points.points_per_item();
  int64_t item = q / per_item, in_item = q - item * per_item;
  for (int i = at; i < at + count; ++i) {
    typename Points::Real point[Points::kRank];
    points.At(ItemOf(points, n, item), Points::kIsStored ? item : in_item, point);
    for (int d = 0; d < Points::kRank; ++d) to[d][i] = point[d];
    if (++in_item == per_item) ++item, in_item = 0;
  }
}

template <typename Real>
TF_STN_INLINE RealVector<Real> LaneNumbers() {
  RealVector<Real> lanes{};
  for (int i = 0; i < kLanes<Real>; ++i) lanes[i] = static_cast<Real>(i);
  return lanes;
}

// Where a point lies among outputs.
template <int Rank>
struct OutputPixel {
  int64_t output;
  int64_t pixel[Rank];  // (column, row[, slice])

  TF_STN_INLINE OutputPixel(const OutputSize<Rank>& size, int64_t q) {
    const int64_t points = size.points();
    output = q / points;
    size.PixelOf(q - output * points, pixel);
  }

  // Goes on to the first pixel of the next line.
  TF_STN_INLINE void NextLine(const OutputSize<Rank>& size) {
    pixel[0] = 0;
    for (int k = 1; k < Rank; ++k) {
      if (++pixel[k] < size.side[Rank - 1 - k].divisor()) return;
      pixel[k] = 0;
    }
    ++output;
  }
};

// Calls body(OutputPixel, i, count) for the parts of points [q, q + count) that are on one line
// each; part i begins with point q + i.
template <int Rank, typename Body>
TF_STN_INLINE void ForLines(const OutputSize<Rank>& size, int64_t q, int count, const Body& body) {
  OutputPixel<Rank> at(size, q);
  const int64_t width = size.side[Rank - 1].divisor();
  for (int i = 0; i < count;) {
    const int here = static_cast<int>(Smaller(width - at.pixel[0], count - i));
    body(at, i, here);
    i += here;
    if (i < count) at.NextLine(size);
  }
}

// Writes the (column, row[, slice]) of points [q, q + count).  What a vector writes beyond the end
// of a line is overwritten by the next line.
template <int Rank, typename Real>
TF_STN_INLINE void WritePixels(const OutputSize<Rank>& size, int64_t q, int count, int at,
                               Real* const (&to)[Rank]) {
  ForLines(size, q, count, [&](const OutputPixel<Rank>& first, int begin, int here) {
    const RealVector<Real> columns = LaneNumbers<Real>() + static_cast<Real>(first.pixel[0]);
    for (int i = 0; i < here; i += kLanes<Real>) {
      Store<kLanes<Real>>(columns + static_cast<Real>(i), to[0] + at + begin + i);
      for (int d = 1; d < Rank; ++d) {
        Store<kLanes<Real>>(Broadcast<kLanes<Real>>(static_cast<Real>(first.pixel[d])),
                            to[d] + at + begin + i);
      }
    }
  });
}

// Of images: the coordinates, which are neighbours in memory, in vectors.  With kAdd they are added
// to what is there.
template <bool kAdd, typename Real>
TF_STN_INLINE void ReadCoordinates(const Real* from, int count, Real* x, Real* y) {
  constexpr int kCount = kLanes<Real>;
  int i = 0;
  for (; i + kCount <= count; i += kCount) {
    RealVector<Real> next_x, next_y;
    Deinterleave<Real>(LoadElements<kCount>(from + 2 * i),
                       LoadElements<kCount>(from + 2 * i + kCount), &next_x, &next_y);
    if constexpr (kAdd)
      next_x += LoadElements<kCount>(x + i), next_y += LoadElements<kCount>(y + i);
    Store<kCount>(next_x, x + i);
    Store<kCount>(next_y, y + i);
  }
  for (; i < count; ++i) {
    x[i] = kAdd ? x[i] + from[2 * i] : from[2 * i];
    y[i] = kAdd ? y[i] + from[2 * i + 1] : from[2 * i + 1];
  }
}

template <typename Real>
TF_STN_INLINE void ReadPoints(const WarpPoints<2, Real>& points, int64_t n, int64_t q, int count,
                              int at, Real* const (&to)[2]) {
  const Real* const from = ItemOf(points, n, q);
  if (!points.are_displacements) {
    return ReadCoordinates<false>(from, count, to[0] + at, to[1] + at);
  }
  WritePixels(points.size, q, count, at, to);
  ReadCoordinates<true>(from, count, to[0] + at, to[1] + at);
}

template <typename Real>
TF_STN_INLINE void ReadPoints(const WarpPoints<3, Real>& points, int64_t n, int64_t q, int count,
                              int at, Real* const (&to)[3]) {
  const Real* const from = ItemOf(points, n, q);
  if (points.are_displacements) {
    WritePixels(points.size, q, count, at, to);
    for (int i = 0; i < count; ++i) {
      for (int d = 0; d < 3; ++d) to[d][at + i] += from[3 * i + d];
    }
  } else {
    for (int i = 0; i < count; ++i) {
      for (int d = 0; d < 3; ++d) to[d][at + i] = from[3 * i + d];
    }
  }
}

template <typename Real>
TF_STN_INLINE auto AreSmallDivisors(const RealVector<Real>& divisors) {
  constexpr Real kSmallest = static_cast<Real>(kSmallestDivisor);
  return (divisors < kSmallest) & (divisors > -kSmallest);
}

template <typename Real>
TF_STN_INLINE RealVector<Real> BoundedDivisors(const RealVector<Real>& divisors) {
  constexpr Real kSmallest = static_cast<Real>(kSmallestDivisor);
  const auto positive = Broadcast<kLanes<Real>>(kSmallest);
  return Select(AreSmallDivisors<Real>(divisors), Select(divisors < 0, -positive, positive),
                divisors);
}

// A line of an output of a matrix, whose rows give start + step * column; the last one is the
// divisor of the others, if the matrix is projective.
template <int Rank, typename Real>
struct OutputLine {
  Real start[Rank + 1], step[Rank + 1];
  bool is_projective;

  // `pixel` is any pixel of the line.
  TF_STN_INLINE OutputLine(const MatrixPoints<Rank, Real>& points, int64_t n,
                           const OutputPixel<Rank>& at)
      : is_projective(points.is_projective()) {
    const Real* row = ItemOf(points, n, at.output);
    start[Rank] = 1;
    step[Rank] = 0;
    for (int d = 0; d < points.rows(); ++d, row += Rank + 1) {
      step[d] = row[0];
      start[d] = row[Rank];
      for (int k = Rank - 1; k > 0; --k) start[d] += row[k] * static_cast<Real>(at.pixel[k]);
    }
  }

  // Writes the coordinates of `count` columns from `column` on, and of some more to fill a vector.
  TF_STN_INLINE void Write(int64_t column, int count, int at, Real* const (&to)[Rank]) const {
    if (is_projective) {
      WriteColumns<true>(column, count, at, to);
    } else {
      WriteColumns<false>(column, count, at, to);
    }
  }

 private:
  template <bool kIsProjective>
  TF_STN_INLINE void WriteColumns(int64_t column, int count, int at,
                                  Real* const (&to)[Rank]) const {
    RealVector<Real> starts[Rank + 1], steps[Rank + 1];
    for (int d = 0; d <= Rank; ++d) {
      starts[d] = Broadcast<kLanes<Real>>(start[d]);
      steps[d] = Broadcast<kLanes<Real>>(step[d]);
    }
    const RealVector<Real> lanes = LaneNumbers<Real>();
    for (int i = 0; i < count; i += kLanes<Real>) {
      const RealVector<Real> columns = lanes + static_cast<Real>(column + i);
      RealVector<Real> divisor{};
      if constexpr (kIsProjective)
        divisor = BoundedDivisors<Real>(steps[Rank] * columns + starts[Rank]);
      for (int d = 0; d < Rank; ++d) {
        RealVector<Real> coordinates = steps[d] * columns + starts[d];
        if constexpr (kIsProjective) coordinates /= divisor;
        Store<kLanes<Real>>(coordinates, to[d] + at + i);
      }
    }
  }
};

// What a vector writes beyond the end of a line is overwritten by the next line.
template <int Rank, typename Real>
TF_STN_INLINE void ReadPoints(const MatrixPoints<Rank, Real>& points, int64_t n, int64_t q,
                              int count, int at, Real* const (&to)[Rank]) {
  ForLines(points.size, q, count, [&](const OutputPixel<Rank>& first, int begin, int here) {
    const OutputLine<Rank, Real> line(points, n, first);
    line.Write(first.pixel[0], here, at + begin, to);
  });
}

// The gradient of an item's parameters, summed in double over the points of a run.
template <typename Points>
class ItemSum {
 public:
  // Adds that of points [q, q + count) of image n, which are of the item; `grads` are their
  // gradients in x, y[, z].
  TF_STN_INLINE void Add(const Points& points, int64_t n, int64_t q, int count,
                         CoordinatesOut<Points> grads) {
    const int64_t per_item = points.points_per_item(), item = q / per_item;
    for (int i = 0; i < count; ++i) {
      double grad_point[Points::kRank];
      for (int d = 0; d < Points::kRank; ++d) grad_point[d] = static_cast<double>(grads[d][i]);
      points.Pull(ItemOf(points, n, item), q + i - item * per_item, grad_point,
                  [&](int k, double value) { sums_[k] += value; });
    }
  }

  TF_STN_INLINE void AddTo(double* sums) const {
    for (int k = 0; k < Points::kParameters; ++k) sums[k] += sums_[k];
  }

 private:
  double sums_[Points::kParameters] = {};
};

// Line by line, in vectors each lane of which has a sum of its own.
template <int Rank, typename Real>
class ItemSum<MatrixPoints<Rank, Real>> {
 public:
  using Points = MatrixPoints<Rank, Real>;

  TF_STN_INLINE void Add(const Points& points, int64_t n, int64_t q, int count,
                         CoordinatesOut<Points> grads) {
    ForLines(points.size, q, count, [&](const OutputPixel<Rank>& first, int begin, int here) {
      if (points.is_projective()) {
        AddLine<Rank + 1>(OutputLine<Rank, Real>(points, n, first), first.pixel, begin, here,
                          grads);
      } else {
        AddLine<Rank>(OutputLine<Rank, Real>(points, n, first), first.pixel, begin, here, grads);
      }
    });
  }

  TF_STN_INLINE void AddTo(double* sums) const {
    for (int k = 0; k < Points::kParameters; ++k) {
      for (int i = 0; i < kWide; ++i) sums[k] += sums_[k][i];
    }
  }

 private:
  static constexpr int kWide = kLanes<double>;
  using Wide = RealVector<double>;

  // Of `count` points of one line, whose gradients begin at `begin`.  The rows and slices are the
  // same for all, so their products are with the sum of the line.
  template <int kRows>
  TF_STN_INLINE void AddLine(const OutputLine<Rank, Real>& line, const int64_t* first, int begin,
                             int count, CoordinatesOut<Points> grads) {
    Wide of_line[kRows] = {}, by_column[kRows] = {};
    Wide column = LaneNumbers<double>() + static_cast<double>(first[0]);
    const auto add = [&](Wide* gradients) {
      if constexpr (kRows > Rank) PullDivision(line, column, gradients);
      for (int d = 0; d < kRows; ++d) {
        of_line[d] += gradients[d];
        by_column[d] += gradients[d] * column;
      }
    };
    Wide gradients[kRows];
    int i = 0;
    for (; i + kWide <= count; i += kWide) {
      for (int d = 0; d < Rank; ++d) {
        gradients[d] = __builtin_convertvector(LoadElements<kWide>(grads[d] + begin + i), Wide);
      }
      add(gradients);
      column += kWide;
    }
    if (i < count) {
      for (int d = 0; d < Rank; ++d) {
        gradients[d] = Wide{};
        for (int j = 0; i + j < count; ++j) {
          gradients[d][j] = static_cast<double>(grads[d][begin + i + j]);
        }
      }
      add(gradients);
    }
    for (int d = 0; d < kRows; ++d) {
      Wide* const row = sums_ + d * (Rank + 1);
      row[0] += by_column[d];
      for (int k = 1; k < Rank; ++k) row[k] += of_line[d] * static_cast<double>(first[k]);
      row[Rank] += of_line[d];
    }
  }

  // Turns gradients in points into those in what the rows of a projective matrix give.
  TF_STN_INLINE static void PullDivision(const OutputLine<Rank, Real>& line, const Wide& column,
                                         Wide* gradients) {
    const auto product = [&](int d) {
      return static_cast<double>(line.start[d]) + static_cast<double>(line.step[d]) * column;
    };
    const Wide last = product(Rank), divisor = BoundedDivisors<double>(last);
    Wide grad_divisor{};
    for (int d = 0; d < Rank; ++d) {
      gradients[d] /= divisor;
      // A point so far away that it is infinite has no gradient.
      grad_divisor -= Select(gradients[d] != 0, gradients[d] * (product(d) / divisor), Wide{});
    }
    gradients[Rank] = Select(AreSmallDivisors<double>(last), Wide{}, grad_divisor);
  }

  Wide sums_[Points::kParameters] = {};
};

// Columns [begin, end) of a line.
struct Columns {
  int64_t begin, end;
};

// start + step * column, for the columns of a line.
struct Linear {
  double start, step;

  TF_STN_INLINE double At(int64_t column) const {
    return start + step * static_cast<double>(column);
  }

  TF_STN_INLINE bool IsFinite(const Columns& columns) const {
    const double first = At(columns.begin), last = At(columns.end);
    return (first - first) + (last - last) == 0;
  }

  // Returns at least the size of what is added up.
  TF_STN_INLINE double Size(const Columns& columns) const {
    const auto size = [](double x) { return x < 0 ? -x : x; };
    return size(start) + size(step) * static_cast<double>(columns.end);
  }

  // Restricts the column range to where it is positive.  Conservative: may keep extra columns.
  // REQUIRES: IsFinite(*columns).
  TF_STN_INLINE void Restrict(Columns* columns) const {
    const double first = At(columns->begin), last = At(columns->end);
    if (first > 0 && last > 0) return;
    if (!(first > 0) && !(last > 0)) {
      columns->end = columns->begin;
      return;
    }
    // What is beyond the columns need not be an int64_t.
    const double root = -start / step;
    if (step > 0) {
      if (!(root > static_cast<double>(columns->begin))) return;
      columns->begin = Smaller(columns->end, static_cast<int64_t>(root));
    } else if (root < static_cast<double>(columns->end)) {
      columns->end = Larger(columns->begin, static_cast<int64_t>(root) + 1);
    }
  }
};

// The coordinates, along each axis, that may have pixels in some slabs.  Where taps are outside the
// image, nothing is known if the padding repeats it.
template <int Rank>
struct Reach {
  double low[Rank], high[Rank];
  // Between these, no tap is outside the image.
  double first[Rank], last[Rank];
  bool repeats;

  // `padding` Zeros has no pixels outside; any other that does not repeat reads the border there.
  TF_STN_INLINE Reach(const Modes& modes, const Extent<Rank>& image, int64_t begin, int64_t end)
      : repeats(Repeats(modes.padding)) {
    const int64_t taps = TapsOf(modes.interpolation);
    const double far = __builtin_inf();
    const bool has_zeros = modes.padding == PaddingMode::kZeros;
    for (int d = 0; d < Rank; ++d) {
      const int64_t pixels = image.size[Rank - 1 - d];
      const bool is_slab = d == Rank - 1;
      const int64_t lowest = is_slab ? begin : 0, highest = is_slab ? end : pixels;
      low[d] = lowest > 0 || has_zeros ? static_cast<double>(lowest - taps) : -far;
      high[d] = highest < pixels || has_zeros ? static_cast<double>(highest + taps) : far;
      first[d] = static_cast<double>(taps);
      last[d] = static_cast<double>(pixels - 1 - taps);
    }
  }

  // Restricts columns to those whose points may have pixels there.  A coordinate that is not
  // finite leaves all, since others of its point may be NaN; so does a divisor near zero.
  template <typename Real>
  TF_STN_INLINE void RestrictLine(const OutputLine<Rank, Real>& line, Columns* columns) const {
    Linear rows[Rank + 1];
    for (int d = 0; d <= Rank; ++d) {
      rows[d] = {static_cast<double>(line.start[d]), static_cast<double>(line.step[d])};
      if (!rows[d].IsFinite(*columns)) return;
    }
    const Linear& divisor = rows[Rank];
    double ends[] = {divisor.At(columns->begin), divisor.At(columns->end)};
    const double sign = ends[0] < 0 ? -1 : 1;
    const double least = Least(sign * ends[0], sign * ends[1]);
    // By more than rounding, so that all divisors are of one sign.
    if (!(least > 2 * kSmallestDivisor + kRounding * divisor.Size(*columns))) return;
    for (int d = 0; d < Rank; ++d) {
      const auto is_inside = [&](int64_t column) {
        const double x = rows[d].At(column) / divisor.At(column);
        return first[d] <= x && x <= last[d];
      };
      if (repeats && !(is_inside(columns->begin) && is_inside(columns->end))) continue;
      // More than the rounding of a coordinate: where large terms cancel, many pixels.
      const auto margin = [&](double bound) {
        const double size = bound < 0 ? -bound : bound;
        return 1 + kRounding * (rows[d].Size(*columns) + size * divisor.Size(*columns)) / least;
      };
      const auto keep_beyond = [&](double bound, double side) {
        Linear{side * (rows[d].start - bound * divisor.start),
               side * (rows[d].step - bound * divisor.step)}
            .Restrict(columns);
      };
      if (low[d] > -__builtin_inf()) keep_beyond(low[d] - margin(low[d]), sign);
      if (high[d] < __builtin_inf()) keep_beyond(high[d] + margin(high[d]), -sign);
    }
  }

 private:
  static constexpr double kRounding = 1e-6;

  TF_STN_INLINE static double Least(double a, double b) { return a < b ? a : b; }
};

// Calls inside(begin, end) for points [begin, end) of an image that may have pixels in it, and
// outside(begin, end) for the others, of which all are finite.
template <typename Points, typename Inside, typename Outside>
TF_STN_INLINE void ForPointsInside(const Points&, const Reach<Points::kRank>&, int64_t,
                                   int64_t begin, int64_t end, const Inside& inside,
                                   const Outside&) {
  inside(begin, end);
}

// Line by line, unless these are short.
template <int Rank, typename Real, typename Inside, typename Outside>
TF_STN_INLINE void ForPointsInside(const MatrixPoints<Rank, Real>& points, const Reach<Rank>& reach,
                                   int64_t n, int64_t begin, int64_t end, const Inside& inside,
                                   const Outside& outside) {
  const int64_t width = points.size.side[Rank - 1].divisor();
  if (width <= kBlockPoints) return inside(begin, end);
  OutputPixel<Rank> at(points.size, begin);
  while (begin < end) {
    const int64_t start = begin - at.pixel[0], until = Smaller(end, start + width);
    const OutputLine<Rank, Real> line(points, n, at);
    Columns columns{at.pixel[0], until - start};
    reach.RestrictLine(line, &columns);
    if (begin < start + columns.begin) outside(begin, start + columns.begin);
    if (columns.begin < columns.end) inside(start + columns.begin, start + columns.end);
    if (start + columns.end < until) outside(start + columns.end, until);
    begin = until;
    if (begin < end) at.NextLine(points.size);
  }
}

// The points of an image that may have pixels in a band, a block at a time, in order.
//
// Of the points that the band lists, or of all.
template <typename Points>
class BandPoints {
 public:
  TF_STN_INLINE BandPoints(const Points& points, const Reach<Points::kRank>&, const Band& band,
                           int64_t points_per_image)
      : points_(points), band_(band), points_per_image_(points_per_image) {}

  // Writes the coordinates of the next points, and returns how many there are, and writes their
  // numbers; of points that follow each other, those of the first and the last.
  TF_STN_INLINE int Read(uint32_t* numbers, CoordinatesOut<Points> to) {
    if (band_.points == nullptr) return ReadRun(next_, numbers, to);
    int count = 0;
    for (; count < kBlockPoints && next_ < band_.count; ++next_) {
      const uint32_t entry = band_.points[next_];
      if ((entry & Band::kRunOfPoints) != 0) {
        // A run is a block by itself.
        if (count == 0) return ++next_, ReadRun(entry - Band::kRunOfPoints, numbers, to);
        break;
      }
      numbers[count] = entry;
      ReadPoints(points_, band_.image, entry, 1, count, to);
      ++count;
    }
    if (count > 0) FillLastVector(count, to);
    return count;
  }

 private:
  TF_STN_INLINE int ReadRun(int64_t first, uint32_t* numbers, CoordinatesOut<Points> to) {
    const int count = static_cast<int>(Smaller(kBlockPoints, points_per_image_ - first));
    if (band_.points == nullptr) next_ += kBlockPoints;
    if (count <= 0) return 0;
    numbers[0] = static_cast<uint32_t>(first);
    numbers[count - 1] = static_cast<uint32_t>(first + count - 1);
    ReadPoints(points_, band_.image, first, count, 0, to);
    FillLastVector(count, to);
    return count;
  }

  const Points& points_;
  const Band& band_;
  const int64_t points_per_image_;
  int64_t next_ = 0;  // Entry of the list, or point.
};

// Whether the points of a block, by their numbers, follow each other.
TF_STN_INLINE bool IsRun(const uint32_t* numbers, int count) {
  return numbers[count - 1] - numbers[0] == static_cast<uint32_t>(count - 1);
}

// Reads the points of these numbers.
template <typename Points>
TF_STN_INLINE void ReadNumbered(const Points& points, int64_t n, const uint32_t* numbers, int count,
                                CoordinatesOut<Points> to) {
  if (IsRun(numbers, count)) {
    ReadPoints(points, n, numbers[0], count, 0, to);
  } else {
    for (int i = 0; i < count; ++i) ReadPoints(points, n, numbers[i], 1, i, to);
  }
  FillLastVector(count, to);
}

// Of matrices, those on the parts of lines that may have pixels there.  Nothing is stored.
template <int Rank, typename Real>
class BandPoints<MatrixPoints<Rank, Real>> {
 public:
  using Points = MatrixPoints<Rank, Real>;

  TF_STN_INLINE BandPoints(const Points& points, const Reach<Rank>& reach, const Band& band,
                           int64_t points_per_image)
      : points_(points),
        reach_(reach),
        image_(band.image),
        at_(points.size, 0),
        left_(points_per_image) {
    FindColumns();
  }

  TF_STN_INLINE int Read(uint32_t* numbers, CoordinatesOut<Points> to) {
    int count = 0;
    while (count < kBlockPoints && FindLine()) {
      const int here =
          static_cast<int>(Smaller(kBlockPoints - count, columns_.end - columns_.begin));
      const auto first = static_cast<uint32_t>(start_ + columns_.begin);
      Line().Write(columns_.begin, here, count, to);
      for (int i = 0; i < here; ++i) numbers[count + i] = first + static_cast<uint32_t>(i);
      columns_.begin += here;
      count += here;
    }
    if (count > 0) FillLastVector(count, to);
    return count;
  }

 private:
  TF_STN_INLINE void FindColumns() {
    columns_ = {0, points_.size.side[Rank - 1].divisor()};
    if (left_ == 0) columns_.end = 0;
    if (left_ == 0) return;
    reach_.RestrictLine(Line(), &columns_);
  }

  TF_STN_INLINE OutputLine<Rank, Real> Line() const {
    return OutputLine<Rank, Real>(points_, image_, at_);
  }

  // Goes on to a line that has columns left, or returns false.
  TF_STN_INLINE bool FindLine() {
    const int64_t width = points_.size.side[Rank - 1].divisor();
    while (columns_.begin >= columns_.end) {
      if (left_ <= width) return false;
      left_ -= width;
      start_ += width;
      at_.NextLine(points_.size);
      FindColumns();
    }
    return true;
  }

  const Points& points_;
  const Reach<Rank>& reach_;
  const int64_t image_;
  OutputPixel<Rank> at_;  // A pixel of the line.
  int64_t start_ = 0;     // The number of the line's first point.
  int64_t left_;          // Points from there on.
  Columns columns_;       // Those of the line that are left.
};

}  // namespace TF_STN_ISA
}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_SIMD_POINTS_H_

// How the work of a call is divided among threads: what its parts cost, and how many there are.
//
// Whatever is summed is divided by sizes alone or into parts whose order of summation does not
// depend on the division, so the bits of the result do not depend on the number of threads.

#ifndef TF_STN_CC_KERNELS_CPU_DIVISION_H_
#define TF_STN_CC_KERNELS_CPU_DIVISION_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "cc/core/call.h"
#include "cc/core/pixel_types.h"

namespace tf_stn {

// Cycles that it takes to sample a point, and to find both gradients, in one pass; by measurement.
inline int64_t SampleCost(int64_t channels, int passes) {
  return (5 + 2 * channels / 3) * passes + (passes > 1 ? 10 * passes : 0);
}

inline int64_t GradientCost(int64_t channels, int passes) { return (10 + 4 * channels) * passes; }

// And to clear an element of grad_data, and to round its sum where its type is another.
template <typename T>
int64_t ElementsCost(int64_t elements) {
  return std::is_same_v<T, Coordinate<T>> ? elements / 2 : 2 * elements;
}

inline int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A call's points, divided into runs that are each of one item of an image.
template <typename Points>
class Runs {
 public:
  template <typename T>
  explicit Runs(const Call<Points, T>& call)
      : points_per_image_(call.sizes.points_per_image),
        images_(call.shares_points() ? 1 : call.sizes.images),
        points_per_item_(Points::kIsStored ? points_per_image_ : call.points.points_per_item()),
        per_item_(std::max<int64_t>(1, CeilDivide(points_per_item_, kRunPoints))),
        per_image_(points_per_item_ == 0 ? 0 : points_per_image_ / points_per_item_ * per_item_) {}

  int64_t count() const { return images_ * per_image_; }
  int64_t per_image() const { return per_image_; }
  int64_t per_item() const { return per_item_; }

  Run operator[](int64_t i) const {
    const int64_t image = i / per_image_, in_image = i - image * per_image_;
    const int64_t item = in_image / per_item_, part = in_image - item * per_item_;
    const int64_t first = item * points_per_item_;
    return {image, first + part * kRunPoints,
            first + std::min(points_per_item_, (part + 1) * kRunPoints)};
  }

 private:
  static constexpr int64_t kRunPoints = 1024;

  int64_t points_per_image_, images_, points_per_item_, per_item_, per_image_;
};

// Returns into how many bands each image is divided for the gradient of data: one, if there are
// images enough to keep all threads busy; more cost a list of the points for each.
template <int Rank>
int64_t BandsPerImage(const Sizes<Rank>& sizes, int64_t image_cost, int64_t threads) {
  constexpr int64_t kLeastBand = 60'000;  // Cycles.
  constexpr int64_t kPerThread = 2;       // So that a thread that is late delays the others less.
  const int64_t most = std::min<int64_t>(
      {image_cost / kLeastBand, sizes.image.size[0], std::numeric_limits<uint16_t>::max() - 2});
  const bool can_list = sizes.points_per_image < Band::kRunOfPoints;
  if (threads <= 1 || most <= 1 || !can_list) return 1;
  // Of how many rounds of tasks there are, the last one may leave threads idle.
  const auto is_balanced = [&](int64_t bands) {
    const int64_t tasks = sizes.images * bands;
    return 5 * CeilDivide(tasks, threads) * threads <= 6 * tasks;
  };
  int64_t bands = sizes.images >= threads ? 1 : CeilDivide(kPerThread * threads, sizes.images);
  while (bands < most && !is_balanced(bands)) ++bands;
  bands = std::min(bands, most);
  // Where a band has few slabs, one more makes it much larger than others.
  const int64_t slabs = sizes.image.size[0];
  while (4 * CeilDivide(slabs, bands) * bands > 5 * slabs) --bands;
  return bands;
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_DIVISION_H_

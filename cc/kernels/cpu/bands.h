// Bands of images for the gradient of data, each summed by one thread: of about the same work each,
// with lists of the points that have pixels in them.

#ifndef TF_STN_CC_KERNELS_CPU_BANDS_H_
#define TF_STN_CC_KERNELS_CPU_BANDS_H_

#include <algorithm>
#include <cstdint>

#include "cc/core/call.h"
#include "cc/core/interpolation.h"
#include "cc/core/modes.h"
#include "cc/core/points.h"
#include "cc/kernels/cpu/division.h"
#include "cc/kernels/cpu/host.h"
#include "cc/kernels/cpu/loops.h"
#include "cc/kernels/cpu/threads.h"

namespace tf_stn {

// Returns the slab that a point is read from, about, or -1 if it has no pixels.
template <typename CallType>
int64_t SlabOf(const CallType& call, const typename CallType::Real* point) {
  constexpr int kRank = CallType::kRank;
  using Real = typename CallType::Real;
  const auto& image = call.sizes.image;
  const AnyPadding padding{call.modes.padding};
  for (int d = 0; d < kRank; ++d) {
    if (!(point[d] == point[d])) return -1;
  }
  int64_t slab = -1;
  for (int d = 0; d < kRank; ++d) {
    const int64_t size = image.size[kRank - 1 - d];
    Real rest;
    const auto floor = SplitCoordinate<int64_t>(Bounded<int64_t>(point[d]), &rest);
    // Before the first pixel, the point still has weight on it.
    slab = padding.Resolve(floor == -1 ? int64_t{0} : floor, size);
    if (slab == kReadsAsZero) return -1;
  }
  return slab;
}

template <typename CallType>
class Bands {
 public:
  using Points = typename CallType::Points;
  using T = typename CallType::Pixel;

  Bands(const CallType& call, int64_t per_image, int64_t point_cost)
      : call_(call),
        per_image_(per_image),
        slabs_(call.sizes.image.size[0]),
        point_cost_(point_cost),
        parts_(std::clamp<int64_t>(call.sizes.points_per_image / kLeastPart, 1, kMostParts)) {}

  int64_t count() const { return call_.sizes.images * per_image_; }

  // Finds the bands; returns false if there is no memory.
  bool Find(const Host& host, const GradientLoops<CallType>& loops) {
    const int64_t images = call_.sizes.images;
    bounds_ = Allocate<int64_t>(host, images * (per_image_ + 1));
    auto* const loads = Allocate<double>(host, images * slabs_);
    if (bounds_ == nullptr || loads == nullptr) return false;
    ShareWork(host, images, kMostSamples * 20, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) FindBounds(n, loads + n * slabs_);
    });
    return loops.find_bands == nullptr || FindLists(host, loops);
  }

  Band operator[](int64_t i) const {
    const int64_t image = i / per_image_, band = i - image * per_image_;
    const int64_t* const bounds = bounds_ + image * (per_image_ + 1) + band;
    if (ends_ == nullptr) return {image, bounds[0], bounds[1], nullptr, 0};
    const int64_t before = i == 0 ? 0 : EndOf(i - 1);
    return {image, bounds[0], bounds[1], lists_ + before, EndOf(i) - before};
  }

 private:
  static constexpr int64_t kMostSamples = 4096;  // Points of an image that are looked at.
  static constexpr int64_t kLeastPart = 4096;    // Points.
  static constexpr int64_t kMostParts = 128;

  // Divides the slabs of an image so that bands have about the same work.
  void FindBounds(int64_t n, double* loads) {
    const auto& sizes = call_.sizes;
    const double of_slab = static_cast<double>(ElementsCost<T>(sizes.image.slab_elements()));
    std::fill_n(loads, slabs_, of_slab);
    const int64_t step = std::max<int64_t>(1, sizes.points_per_image / kMostSamples) | 1;
    const auto of_sample = static_cast<double>(step * point_cost_);
    for (int64_t q = 0; q < sizes.points_per_image; q += step) {
      typename Points::Real point[Points::kRank];
      PointOf(call_.points, n, q, point);
      const int64_t slab = SlabOf(call_, point);
      if (slab >= 0) loads[slab] += of_sample;
    }
    double total = 0;
    for (int64_t i = 0; i < slabs_; ++i) total += loads[i];
    int64_t* const bounds = bounds_ + n * (per_image_ + 1);
    double sum = 0;
    int64_t slab = 0;
    for (int64_t band = 0; band < per_image_; ++band) {
      const double wanted = total * static_cast<double>(band) / static_cast<double>(per_image_);
      // A slab belongs to the band that has most of it.
      while (slab < slabs_ && sum + loads[slab] / 2 <= wanted) sum += loads[slab++];
      bounds[band] = band == 0 ? 0 : slab;
    }
    bounds[per_image_] = slabs_;
  }

  // Where the list of a band ends.
  int64_t EndOf(int64_t band) const { return ends_[band * parts_ + parts_ - 1]; }

  // What is known of a block of points: the band of all, or one of these.
  static constexpr uint16_t kNoBand = 0xffff, kSeveralBands = 0xfffe;

  // Calls body(image, part, block, number of the block) for all blocks of points; the parts of an
  // image's blocks go to different threads.
  template <typename Body>
  void ForBlocks(const Host& host, const Body& body) const {
    const int64_t points = call_.sizes.points_per_image;
    const int64_t blocks = CeilDivide(points, kBlockOfBands);
    const int64_t cost = CeilDivide(blocks, parts_) * kBlockOfBands * 2;
    ShareWork(host, call_.sizes.images * parts_, cost, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t n = i / parts_, part = i - n * parts_;
        for (int64_t k = blocks * part / parts_; k < blocks * (part + 1) / parts_; ++k) {
          const Run block{n, k * kBlockOfBands, std::min(points, (k + 1) * kBlockOfBands)};
          body(n, part, block, n * blocks + k);
        }
      }
    });
  }

  // Sorts all points into the lists of their bands, which keeps their order: blocks that have
  // pixels in one band as a whole, others point by point.
  bool FindLists(const Host& host, const GradientLoops<CallType>& loops) {
    const auto& sizes = call_.sizes;
    const int64_t blocks = CeilDivide(sizes.points_per_image, kBlockOfBands);
    band_of_slab_ = Allocate<uint16_t>(host, sizes.images * slabs_);
    auto* const band_of_block = Allocate<uint16_t>(host, sizes.images * blocks);
    ends_ = Allocate<int64_t>(host, count() * parts_);
    if (band_of_slab_ == nullptr || band_of_block == nullptr || ends_ == nullptr) return false;
    FindBandsOfSlabs();
    std::fill_n(ends_, count() * parts_, 0);
    ForBlocks(host, [&](int64_t n, int64_t part, const Run& block, int64_t number) {
      BandRange ranges[kBlockOfBands];
      const BandRange all = loops.find_bands(call_, block, band_of_slab_ + n * slabs_, ranges);
      band_of_block[number] = all.is_none()           ? kNoBand
                              : all.first == all.last ? all.first
                                                      : kSeveralBands;
      if (band_of_block[number] == kNoBand) return;
      if (band_of_block[number] != kSeveralBands) {
        ++ends_[(n * per_image_ + all.first) * parts_ + part];
        return;
      }
      ForBands(n, block, ranges, [&](int64_t band, int64_t) { ++ends_[band * parts_ + part]; });
    });
    lists_ = Allocate<uint32_t>(host, SumUp());
    if (lists_ == nullptr) return false;
    ForBlocks(host, [&](int64_t n, int64_t part, const Run& block, int64_t number) {
      const uint16_t band_of_all = band_of_block[number];
      if (band_of_all == kNoBand) return;
      if (band_of_all != kSeveralBands) {
        lists_[ends_[(n * per_image_ + band_of_all) * parts_ + part]++] =
            static_cast<uint32_t>(block.begin) | Band::kRunOfPoints;
        return;
      }
      BandRange ranges[kBlockOfBands];
      loops.find_bands(call_, block, band_of_slab_ + n * slabs_, ranges);
      ForBands(n, block, ranges, [&](int64_t band, int64_t q) {
        lists_[ends_[band * parts_ + part]++] = static_cast<uint32_t>(q);
      });
    });
    return true;
  }

  void FindBandsOfSlabs() {
    for (int64_t i = 0; i < count(); ++i) {
      const int64_t n = i / per_image_, band = i - n * per_image_;
      const int64_t* const bounds = bounds_ + n * (per_image_ + 1) + band;
      std::fill(band_of_slab_ + n * slabs_ + bounds[0], band_of_slab_ + n * slabs_ + bounds[1],
                static_cast<uint16_t>(band));
    }
  }

  // Turns the numbers of entries of each part of a list into where they begin.  Returns their sum.
  int64_t SumUp() {
    int64_t total = 0;
    for (int64_t i = 0; i < count() * parts_; ++i) {
      const int64_t begin = total;
      total += ends_[i];
      ends_[i] = begin;
    }
    return total;
  }

  // Calls body(band, point) for the bands of each point of a block.
  template <typename Body>
  void ForBands(int64_t n, const Run& block, const BandRange* ranges, const Body& body) const {
    for (int64_t q = block.begin; q < block.end; ++q) {
      const BandRange& range = ranges[q - block.begin];
      for (int64_t band = range.first; band <= range.last; ++band) {
        body(n * per_image_ + band, q);
      }
    }
  }

  const CallType& call_;
  const int64_t per_image_, slabs_, point_cost_, parts_;
  int64_t* bounds_ = nullptr;         // [images, per_image + 1]: slabs.
  uint16_t* band_of_slab_ = nullptr;  // [images, slabs]
  int64_t* ends_ = nullptr;           // [bands, parts]: where the part of a list ends.
  uint32_t* lists_ = nullptr;
};

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_BANDS_H_

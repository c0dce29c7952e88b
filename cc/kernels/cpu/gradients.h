// Runs the gradients of a call, or the gradients of those, by loops of any kind.

#ifndef TF_STN_CC_KERNELS_CPU_GRADIENTS_H_
#define TF_STN_CC_KERNELS_CPU_GRADIENTS_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cc/core/call.h"
#include "cc/kernels/cpu/bands.h"
#include "cc/kernels/cpu/division.h"
#include "cc/kernels/cpu/host.h"
#include "cc/kernels/cpu/huge_pages.h"
#include "cc/kernels/cpu/loops.h"
#include "cc/kernels/cpu/threads.h"

namespace tf_stn {

template <typename Points, typename T>
bool NeedsPoints(const GradientCall<Points, T>& call) {
  return call.grad_points != nullptr;
}

template <typename Points, typename T>
bool NeedsPoints(const SecondOrderCall<Points, T>& call) {
  return call.grad_points != nullptr || call.grad_grad_output != nullptr;
}

// Two kinds of tasks: bands, which sum the gradient of data, and runs of points.  Where an image is
// one band, its points are part of its task.
template <typename CallType>
class GradientTasks {
 public:
  using Points = typename CallType::Points;
  using T = typename CallType::Pixel;
  using Real = typename CallType::Real;

  GradientTasks(const Host& host, const CallType& call, const Loops<Points, T>& all_loops,
                const GradientLoops<CallType>& loops)
      : host_(host),
        call_(call),
        all_loops_(all_loops),
        loops_(loops),
        runs_(call),
        point_cost_(GradientCost(call.sizes.image.channels, all_loops.passes(call.modes))),
        image_cost_(call.sizes.points_per_image * point_cost_ +
                    ElementsCost<T>(call.sizes.image.elements())),
        bands_per_image_(BandsPerImage(call.sizes, image_cost_, host.threads)),
        bands_(call, bands_per_image_, point_cost_),
        needs_data_(call.grad_data != nullptr),
        needs_points_(NeedsPoints(call)),
        is_by_image_(needs_data_ && needs_points_ && bands_per_image_ == 1 &&
                     !call.shares_points()),
        // Many channels of data and of its gradient do not fit into a cache together.
        is_at_once_(is_by_image_ && loops.of_both != nullptr &&
                    call.sizes.image.channels < kManyChannels) {}

  // Returns false if there is no memory.
  bool Run() {
    if (!Allocate()) return false;
    if (needs_data_ && bands_per_image_ > 1 && !bands_.Find(host_, loops_)) return false;
    const int64_t bands = needs_data_ ? bands_.count() : 0;
    const int64_t runs = needs_points_ && !is_by_image_ ? runs_.count() : 0;
    const int64_t cost = call_.sizes.images * image_cost_ / std::max<int64_t>(1, bands + runs);
    ShareWork(host_, bands + runs, cost, [&](int64_t worker, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (i < bands) {
          RunBand(worker, i);
        } else {
          RunPoints(worker, i - bands);
        }
      }
    });
    if (NeedsSums()) AddSums();
    return true;
  }

 private:
  static constexpr int64_t kManyChannels = 16;

  // Whether the gradient of an item is summed over several runs.
  bool NeedsSums() const {
    return !Points::kIsStored && call_.grad_points != nullptr && runs_.per_item() > 1;
  }

  bool Allocate() {
    const auto& sizes = call_.sizes;
    scratch_bytes_ = RoundUpToLine(all_loops_.scratch_bytes(call_));
    if (scratch_bytes_ > 0) {
      scratch_ =
          tf_stn::Allocate<char>(host_, static_cast<int64_t>(scratch_bytes_) * host_.threads);
      if (scratch_ == nullptr) return false;
    }
    if (needs_data_) {
      AdviseHugePages(call_.grad_data, sizes.elements() * int64_t{sizeof(T)});
      if constexpr (std::is_same_v<T, Real>) {
        sums_ = call_.grad_data;
      } else {
        sums_ = tf_stn::Allocate<Real>(host_, sizes.elements());
        if (sums_ == nullptr) return false;
        AdviseHugePages(sums_, sizes.elements() * int64_t{sizeof(Real)});
      }
    }
    if constexpr (Points::kIsStored) {
      AdviseHugePages(call_.grad_points,
                      call_.points.stored * Points::kParameters * int64_t{sizeof(Real)});
    }
    if (NeedsSums()) {
      item_sums_ = tf_stn::Allocate<double>(host_, runs_.count() * Points::kParameters);
      if (item_sums_ == nullptr) return false;
    }
    return true;
  }

  void* ScratchOf(int64_t worker) const {
    return scratch_ == nullptr ? nullptr : scratch_ + static_cast<size_t>(worker) * scratch_bytes_;
  }

  // Computes a band of grad_data, and the gradients of all points of an image where that is one.
  void RunBand(int64_t worker, int64_t i) const {
    const auto& image = call_.sizes.image;
    const Band band = bands_per_image_ > 1 ? bands_[i] : Band{i, 0, image.size[0], nullptr, 0};
    const int64_t slab = image.slab_elements();
    Real* const grad_image = sums_ + band.image * image.elements();
    const int64_t begin = band.begin * slab, count = (band.end - band.begin) * slab;
    std::memset(grad_image + begin, 0, sizeof(Real) * static_cast<size_t>(count));
    for (int64_t k = 0; is_by_image_ && k < runs_.per_image(); ++k) {
      const int64_t run = i * runs_.per_image() + k;
      if (!is_at_once_) {
        RunPoints(worker, run);
        continue;
      }
      ComputeRun(run, [&](const tf_stn::Run& points, double* item_sums) {
        loops_.of_both(call_, points, grad_image, item_sums, ScratchOf(worker));
      });
    }
    if (!is_at_once_) loops_.of_data(call_, band, grad_image, ScratchOf(worker));
    if constexpr (!std::is_same_v<T, Real>) {
      all_loops_.round(grad_image + begin, count,
                       call_.grad_data + band.image * image.elements() + begin);
    }
  }

  void RunPoints(int64_t worker, int64_t run) const {
    ComputeRun(run, [&](const tf_stn::Run& points, double* item_sums) {
      loops_.of_points(call_, points, item_sums, ScratchOf(worker));
    });
  }

  // Calls compute(run, sums of its item).
  template <typename Compute>
  void ComputeRun(int64_t run, const Compute& compute) const {
    double sums[Points::kParameters] = {};
    compute(runs_[run], sums);
    if (Points::kIsStored || call_.grad_points == nullptr) return;
    if (NeedsSums()) {
      std::copy_n(sums, Points::kParameters, item_sums_ + run * Points::kParameters);
    } else {
      WriteItem(run, sums);
    }
  }

  void WriteItem(int64_t item, const double* sums) const {
    const int parameters = call_.points.parameters_per_item();
    Real* const to = call_.grad_points + item * parameters;
    for (int k = 0; k < parameters; ++k) to[k] = static_cast<Real>(sums[k]);
  }

  void AddSums() const {
    for (int64_t item = 0; item < runs_.count() / runs_.per_item(); ++item) {
      const double* part = item_sums_ + item * runs_.per_item() * Points::kParameters;
      double sums[Points::kParameters] = {};
      for (int64_t run = 0; run < runs_.per_item(); ++run) {
        for (int k = 0; k < Points::kParameters; ++k) sums[k] += *part++;
      }
      WriteItem(item, sums);
    }
  }

  const Host& host_;
  const CallType& call_;
  const Loops<Points, T>& all_loops_;
  const GradientLoops<CallType>& loops_;
  const Runs<Points> runs_;
  const int64_t point_cost_, image_cost_, bands_per_image_;
  Bands<CallType> bands_;
  const bool needs_data_, needs_points_, is_by_image_, is_at_once_;
  size_t scratch_bytes_ = 0;
  char* scratch_ = nullptr;
  Real* sums_ = nullptr;         // As grad_data, in the type of sums.
  double* item_sums_ = nullptr;  // [runs, parameters]
};

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_GRADIENTS_H_

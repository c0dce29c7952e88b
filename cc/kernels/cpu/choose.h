// The kinds of loops in the order in which they are tried: the first that accepts a call runs it.

#ifndef TF_STN_CC_KERNELS_CPU_CHOOSE_H_
#define TF_STN_CC_KERNELS_CPU_CHOOSE_H_

#include "cc/core/call.h"
#include "cc/kernels/cpu/loops.h"

namespace tf_stn {

// Whether the loops of a kind accept a call.
template <LoopKind kKind, typename Points, typename T>
bool Accepts(const Call<Points, T>& call) {
  constexpr int kRank = Points::kRank;
  const auto& image = call.sizes.image;
  if constexpr (kKind == LoopKind::kBilinear) {
    // One row is as good as many, but not one column.
    return kRank == 2 && call.modes.is_linear_with_zeros() && call.fill == nullptr &&
           image.size[kRank - 1] >= 2 && image.elements() <= kMostElements;
  } else if constexpr (kKind == LoopKind::kSeparable) {
    // One row or column is as good as many, but not a single pixel.
    bool accepts = (image.size[kRank - 1] >= 2 || image.size[kRank - 2] >= 2) &&
                   image.elements() <= kMostElements;
    for (int d = 0; d < kRank; ++d) accepts = accepts && image.size[d] < kMostPixels;
    return accepts;
  } else {
    return true;
  }
}

// Returns the loops that run a call, of whatever order.
template <typename Points, typename T>
const Loops<Points, T>& ChooseLoops(const Call<Points, T>& call) {
  struct Kind {
    bool (*accepts)(const Call<Points, T>& call);
    const Loops<Points, T>* (*loops)();
  };
  constexpr Kind kInOrder[] = {
      {&Accepts<LoopKind::kBilinear, Points, T>, &LoopsForThisCpu<LoopKind::kBilinear, Points, T>},
      {&Accepts<LoopKind::kSeparable, Points, T>,
       &LoopsForThisCpu<LoopKind::kSeparable, Points, T>},
      {&Accepts<LoopKind::kPlain, Points, T>, &LoopsForThisCpu<LoopKind::kPlain, Points, T>},
  };
  for (const Kind& kind : kInOrder) {
    const auto* const loops = kind.accepts(call) ? kind.loops() : nullptr;
    if (loops != nullptr) return *loops;
  }
  return *LoopsForThisCpu<LoopKind::kPlain, Points, T>();
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_CHOOSE_H_

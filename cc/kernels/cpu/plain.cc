// The plain loops of cc/core/plain_loops.h behind the interface of loops.

#include <cstddef>
#include <cstdint>

#include "cc/core/call.h"
#include "cc/core/modes.h"
#include "cc/core/pixel_types.h"
#include "cc/core/plain_loops.h"
#include "cc/core/points.h"
#include "cc/kernels/cpu/loops.h"

namespace tf_stn {
namespace {

template <typename CallType, typename Visit>
void VisitStencilOf(const CallType& call, const Visit& visit) {
  VisitStencil<CallType::kRank, typename CallType::Real>(call.modes, visit);
}

template <typename Points, typename T>
void Sample(const SampleCall<Points, T>& call, int64_t begin, int64_t end, void*) {
  VisitStencilOf(call, [&](auto tag, const auto& rules) {
    SamplePoints<typename decltype(tag)::type>(rules, call, begin, end);
  });
}

template <typename CallType>
void OfPoints(const CallType& call, const Run& run, double* item_sums, void*) {
  VisitStencilOf(call, [&](auto tag, const auto& rules) {
    GradientOfRun<typename decltype(tag)::type>(rules, call, run, item_sums);
  });
}

template <typename CallType>
void OfData(const CallType& call, const Band& band, typename CallType::Real* grad_image, void*) {
  VisitStencilOf(call, [&](auto tag, const auto& rules) {
    GradientOfBand<typename decltype(tag)::type>(rules, call, band, grad_image);
  });
}

template <int Rank>
int Passes(const Modes& modes) {
  const int taps = TapsOf(modes.interpolation);
  return taps * taps * (Rank == 3 ? taps : 1);
}

template <typename Points, typename T>
size_t ScratchBytes(const Call<Points, T>&) {
  return 0;
}

template <typename T>
void Round(const Coordinate<T>* sums, int64_t count, T* pixels) {
  for (int64_t i = 0; i < count; ++i) pixels[i] = ToPixel<T>(sums[i]);
}

template <typename Points, typename T>
constexpr Loops<Points, T> MakePlainLoops() {
  using First = GradientCall<Points, T>;
  using Second = SecondOrderCall<Points, T>;
  Loops<Points, T> loops{};
  loops.passes = &Passes<Points::kRank>;
  loops.scratch_bytes = &ScratchBytes<Points, T>;
  loops.sample = &Sample<Points, T>;
  // Bands look at all points: to find where one lies is a small part of the work.
  loops.first_order = {&OfPoints<First>, &OfData<First>, nullptr, nullptr};
  if constexpr (Points::kIsStored) {
    loops.second_order = {&OfPoints<Second>, &OfData<Second>, nullptr, nullptr};
  }
  loops.round = &Round<T>;
  return loops;
}

}  // namespace

template <typename Points, typename T>
const Loops<Points, T>& PlainLoops() {
  static constexpr Loops<Points, T> kLoops = MakePlainLoops<Points, T>();
  return kLoops;
}

#define TF_STN_INSTANTIATE_FOR(Source, Rank, T) \
  template const Loops<Source<Rank, Coordinate<T>>, T>& PlainLoops();
#define TF_STN_INSTANTIATE(T, ...)                     \
  TF_STN_FOR_EACH_SOURCE(TF_STN_INSTANTIATE_FOR, 2, T) \
  TF_STN_FOR_EACH_SOURCE(TF_STN_INSTANTIATE_FOR, 3, T)
TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_INSTANTIATE)
#undef TF_STN_INSTANTIATE
#undef TF_STN_INSTANTIATE_FOR

}  // namespace tf_stn

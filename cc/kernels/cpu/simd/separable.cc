// The separable loops.  Compiled once for each instruction set, which TF_STN_ISA names.

#include "cc/kernels/cpu/simd/separable.h"

#include "cc/core/pixel_types.h"
#include "cc/core/points.h"
#include "cc/kernels/cpu/loops.h"

namespace tf_stn {
namespace TF_STN_ISA {

template <typename Points, typename T>
const Loops<Points, T>& SeparableLoops() {
  static constexpr Loops<Points, T> kLoops = MakeSeparableLoops<Points, T>();
  return kLoops;
}

#define TF_STN_INSTANTIATE_FOR(Source, Rank, T) \
  template const Loops<Source<Rank, Coordinate<T>>, T>& SeparableLoops();
#define TF_STN_INSTANTIATE(T, ...)                     \
  TF_STN_FOR_EACH_SOURCE(TF_STN_INSTANTIATE_FOR, 2, T) \
  TF_STN_FOR_EACH_SOURCE(TF_STN_INSTANTIATE_FOR, 3, T)
TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_INSTANTIATE)
#undef TF_STN_INSTANTIATE
#undef TF_STN_INSTANTIATE_FOR

}  // namespace TF_STN_ISA
}  // namespace tf_stn

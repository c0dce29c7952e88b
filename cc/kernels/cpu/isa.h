// The instruction sets that there are vector loops for.

#ifndef TF_STN_CC_KERNELS_CPU_ISA_H_
#define TF_STN_CC_KERNELS_CPU_ISA_H_

#include "cc/kernels/cpu/loops.h"

namespace tf_stn {

// All of them, the least first.  The vector loops for each are in a namespace of its name.
#if defined(__x86_64__)
#define TF_STN_FOR_EACH_ISA(visit) visit(baseline) visit(avx2) visit(avx512)
#else
#define TF_STN_FOR_EACH_ISA(visit) visit(baseline)
#endif

#define TF_STN_DECLARE(isa)                 \
  namespace isa {                           \
  template <typename Points, typename T>    \
  const Loops<Points, T>& BilinearLoops();  \
  template <typename Points, typename T>    \
  const Loops<Points, T>& SeparableLoops(); \
  }
TF_STN_FOR_EACH_ISA(TF_STN_DECLARE)
#undef TF_STN_DECLARE

template <typename Points, typename T>
const Loops<Points, T>& PlainLoops();

#define TF_STN_ENUMERATOR(isa) k_##isa,
#define TF_STN_NAME(isa) #isa,
enum class Isa { TF_STN_FOR_EACH_ISA(TF_STN_ENUMERATOR) kCount };
inline constexpr const char* kIsaNames[] = {TF_STN_FOR_EACH_ISA(TF_STN_NAME)};
#undef TF_STN_ENUMERATOR
#undef TF_STN_NAME

// Whether this processor, and the system it runs, have all that a compiler may use for loops of
// this instruction set.
bool IsHere(Isa isa);

// Returns the loops of a kind, other than the plain ones, for an instruction set; null if there are
// none for such points.
template <LoopKind kKind, typename Points, typename T>
const Loops<Points, T>* LoopsOf(Isa isa) {
  switch (isa) {
#define TF_STN_CASE(isa)                           \
  case Isa::k_##isa:                               \
    if constexpr (kKind == LoopKind::kSeparable) { \
      return &isa::SeparableLoops<Points, T>();    \
    } else if constexpr (Points::kRank == 2) {     \
      return &isa::BilinearLoops<Points, T>();     \
    }                                              \
    break;
    TF_STN_FOR_EACH_ISA(TF_STN_CASE)
#undef TF_STN_CASE
    case Isa::kCount:
      break;
  }
  return nullptr;
}

}  // namespace tf_stn

#endif  // TF_STN_CC_KERNELS_CPU_ISA_H_

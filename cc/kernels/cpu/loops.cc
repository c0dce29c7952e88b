// Chooses the loops for this processor, once.

#include "cc/kernels/cpu/loops.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstdlib>
#include <cstring>
#include <optional>

#include "cc/core/pixel_types.h"
#include "cc/core/points.h"
#include "cc/kernels/cpu/isa.h"

namespace tf_stn {

#if defined(__x86_64__)
namespace {

// Whether the processor sets bit `bit` of register ecx for a leaf of cpuid.  For features whose
// names not every compiler knows.
bool HasCpuidBit(unsigned int leaf, int bit) {
  unsigned int eax, ebx, ecx, edx;
  return __get_cpuid(leaf, &eax, &ebx, &ecx, &edx) != 0 && ((ecx >> bit) & 1) != 0;
}

}  // namespace
#endif

// As x86-64-v3 and x86-64-v4 are defined, by which these loops are compiled.
bool IsHere(Isa isa) {
#if defined(__x86_64__)
  const bool has_movbe = HasCpuidBit(1, 22), has_f16c = HasCpuidBit(1, 29);
  const bool has_lzcnt = HasCpuidBit(0x80000001, 5);
  const bool has_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                      __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma") && has_f16c &&
                      has_lzcnt && has_movbe;
  const bool has_v4 = has_v3 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (isa == Isa::k_avx512) return has_v4;
  if (isa == Isa::k_avx2) return has_v3;
#endif
  return isa == Isa::k_baseline;
}

namespace {

constexpr char kPlainName[] = "plain";

// Returns the instruction set in use; nothing for the plain loops alone.
std::optional<Isa> Choose() {
  const char* const wanted = std::getenv("TF_STN_CPU_ISA");
  if (wanted != nullptr && std::strcmp(wanted, kPlainName) == 0) return std::nullopt;
  Isa best = Isa::k_baseline;
  for (int i = 0; i < static_cast<int>(Isa::kCount); ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (!IsHere(isa)) continue;
    best = isa;
    if (wanted != nullptr && std::strcmp(wanted, kIsaNames[i]) == 0) break;
  }
  return best;
}

std::optional<Isa> Chosen() {
  static const std::optional<Isa> chosen = Choose();
  return chosen;
}

}  // namespace

template <LoopKind kKind, typename Points, typename T>
const Loops<Points, T>* LoopsForThisCpu() {
  if constexpr (kKind == LoopKind::kPlain) {
    return &PlainLoops<Points, T>();
  } else {
    const std::optional<Isa> isa = Chosen();
    return isa ? LoopsOf<kKind, Points, T>(*isa) : nullptr;
  }
}

#define TF_STN_INSTANTIATE_KIND(kind, Source, Rank, T) \
  template const Loops<Source<Rank, Coordinate<T>>, T>* LoopsForThisCpu<LoopKind::kind>();
#define TF_STN_INSTANTIATE_FOR(Source, Rank, T)        \
  TF_STN_INSTANTIATE_KIND(kBilinear, Source, Rank, T)  \
  TF_STN_INSTANTIATE_KIND(kSeparable, Source, Rank, T) \
  TF_STN_INSTANTIATE_KIND(kPlain, Source, Rank, T)
#define TF_STN_INSTANTIATE(T, ...)                     \
  TF_STN_FOR_EACH_SOURCE(TF_STN_INSTANTIATE_FOR, 2, T) \
  TF_STN_FOR_EACH_SOURCE(TF_STN_INSTANTIATE_FOR, 3, T)
TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_INSTANTIATE)
#undef TF_STN_INSTANTIATE
#undef TF_STN_INSTANTIATE_FOR
#undef TF_STN_INSTANTIATE_KIND

}  // namespace tf_stn

extern "C" __attribute__((visibility("default"))) const char* tf_stn_cpu_isa() {
  const auto isa = tf_stn::Chosen();
  return isa ? tf_stn::kIsaNames[static_cast<int>(*isa)] : tf_stn::kPlainName;
}

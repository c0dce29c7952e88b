// Chooses the CPU's loops by the processor, once.

#include <cstdlib>
#include <cstring>

#include "cc/core/coordinates.h"
#include "cc/core/half.h"
#include "cc/kernels/resampler_cpu.h"

namespace tf_stn {

#define TF_STN_DECLARE(isa)                         \
  namespace isa {                                   \
  template <typename Points, typename T>            \
  const CpuLoops<Points, T>& Loops();               \
  template <typename T>                             \
  const SecondOrderCpuLoops<T>& SecondOrderLoops(); \
  template <typename Points, typename T>            \
  const AnyCpuLoops<Points, T>& AnyLoops();         \
  }

TF_STN_DECLARE(baseline)
#if defined(__x86_64__)
TF_STN_DECLARE(avx2)
TF_STN_DECLARE(avx512)
#endif

#undef TF_STN_DECLARE

namespace {

enum class Isa { kCore, kBaseline, kAvx2, kAvx512 };

constexpr const char* kNames[] = {"core", "baseline", "avx2", "avx512"};

// Returns the best instruction set of this processor for which there are loops.
Isa Best() {
#if defined(__x86_64__)
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                        __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") &&
                          __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512cd") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (has_avx512) return Isa::kAvx512;
  if (has_avx2) return Isa::kAvx2;
#endif
  return Isa::kBaseline;
}

Isa Choose() {
  const Isa best = Best();
  const char* const wanted = std::getenv("TF_STN_CPU_ISA");
  if (wanted == nullptr) return best;
  for (int i = 0; i <= static_cast<int>(best); ++i) {
    if (std::strcmp(wanted, kNames[i]) == 0) return static_cast<Isa>(i);
  }
  return best;
}

Isa Chosen() {
  static const Isa chosen = Choose();
  return chosen;
}

}  // namespace

// Returns from a function with what `Loops` of the chosen instruction set has, or null.
#if defined(__x86_64__)
#define TF_STN_RETURN_CHOSEN(...)      \
  switch (Chosen()) {                  \
    case Isa::kCore:                   \
      return nullptr;                  \
    case Isa::kAvx512:                 \
      return &avx512::__VA_ARGS__();   \
    case Isa::kAvx2:                   \
      return &avx2::__VA_ARGS__();     \
    default:                           \
      return &baseline::__VA_ARGS__(); \
  }
#else
#define TF_STN_RETURN_CHOSEN(...) return Chosen() == Isa::kCore ? nullptr : &baseline::__VA_ARGS__()
#endif

template <typename Points, typename T>
const CpuLoops<Points, T>* LoopsForThisCpu() {
  TF_STN_RETURN_CHOSEN(Loops<Points, T>);
}

template <typename T>
const SecondOrderCpuLoops<T>* SecondOrderLoopsForThisCpu() {
  TF_STN_RETURN_CHOSEN(SecondOrderLoops<T>);
}

template <typename Points, typename T>
const AnyCpuLoops<Points, T>* AnyLoopsForThisCpu() {
  TF_STN_RETURN_CHOSEN(AnyLoops<Points, T>);
}

#undef TF_STN_RETURN_CHOSEN

#define TF_STN_INSTANTIATE(T)                                                          \
  template const CpuLoops<WarpPoints<2, Coordinate<T>>, T>* LoopsForThisCpu();         \
  template const CpuLoops<AffinePoints<2, Coordinate<T>>, T>* LoopsForThisCpu();       \
  template const SecondOrderCpuLoops<T>* SecondOrderLoopsForThisCpu();                 \
  template const AnyCpuLoops<WarpPoints<2, Coordinate<T>>, T>* AnyLoopsForThisCpu();   \
  template const AnyCpuLoops<WarpPoints<3, Coordinate<T>>, T>* AnyLoopsForThisCpu();   \
  template const AnyCpuLoops<AffinePoints<2, Coordinate<T>>, T>* AnyLoopsForThisCpu(); \
  template const AnyCpuLoops<AffinePoints<3, Coordinate<T>>, T>* AnyLoopsForThisCpu()

TF_STN_INSTANTIATE(Half);
TF_STN_INSTANTIATE(BFloat16);
TF_STN_INSTANTIATE(float);
TF_STN_INSTANTIATE(double);

#undef TF_STN_INSTANTIATE

}  // namespace tf_stn

extern "C" __attribute__((visibility("default"))) const char* tf_stn_cpu_isa() {
  return tf_stn::kNames[static_cast<int>(tf_stn::Chosen())];
}

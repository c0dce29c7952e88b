// Names of modes to policies: the only switch of the project.

#ifndef TF_STN_CC_CORE_MODES_H_
#define TF_STN_CC_CORE_MODES_H_

#include <cstdint>
#include <string_view>

#include "cc/core/interpolation.h"
#include "cc/core/padding.h"
#include "cc/core/stencil.h"

namespace tf_stn {

enum class InterpolationMode { kLinear };
enum class PaddingMode { kZeros };

struct Modes {
  InterpolationMode interpolation = InterpolationMode::kLinear;
  PaddingMode padding = PaddingMode::kZeros;
};

// Each Parse returns false, and leaves its result alone, on an unknown name.
inline bool ParseInterpolation(std::string_view name, InterpolationMode* mode) {
  if (name == "linear") return *mode = InterpolationMode::kLinear, true;
  return false;
}

inline bool ParsePadding(std::string_view name, PaddingMode* mode) {
  if (name == "zeros") return *mode = PaddingMode::kZeros, true;
  return false;
}

// Names a type where a value is expected, for generic lambdas.
template <typename T>
struct TypeTag {
  using type = T;
};

// Calls visit(TypeTag<Stencil<...>>) with the stencil that `modes` stand for.
template <int Rank, typename Real, typename Index = int64_t, typename Visit>
void VisitStencil(const Modes& modes, const Visit& visit) {
  switch (modes.interpolation) {
    case InterpolationMode::kLinear:
      switch (modes.padding) {
        case PaddingMode::kZeros:
          return visit(TypeTag<Stencil<Rank, Linear, Zeros, Real, Index>>());
      }
  }
}

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_MODES_H_

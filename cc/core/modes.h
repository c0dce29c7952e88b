// Names of modes to policies: the only switch of the project.

#ifndef TF_STN_CC_CORE_MODES_H_
#define TF_STN_CC_CORE_MODES_H_

#include <cstdint>
#include <string_view>

#include "cc/core/interpolation.h"
#include "cc/core/padding.h"
#include "cc/core/portability.h"
#include "cc/core/stencil.h"

namespace tf_stn {

enum class InterpolationMode { kNearest, kLinear, kCubic };
enum class PaddingMode { kZeros, kBorder, kReflect, kSymmetric, kWrap };

struct Modes {
  InterpolationMode interpolation = InterpolationMode::kLinear;
  PaddingMode padding = PaddingMode::kZeros;
  // Order of the derivative of the weights along x, y and z.
  int derivative[3] = {0, 0, 0};

  bool has_derivative() const {
    return derivative[0] != 0 || derivative[1] != 0 || derivative[2] != 0;
  }
  bool is_linear_with_zeros() const {
    return interpolation == InterpolationMode::kLinear && padding == PaddingMode::kZeros &&
           !has_derivative();
  }
};

// Each Parse returns false, and leaves its result alone, on an unknown name.
inline bool ParseInterpolation(std::string_view name, InterpolationMode* mode) {
  if (name == "nearest") return *mode = InterpolationMode::kNearest, true;
  if (name == "linear") return *mode = InterpolationMode::kLinear, true;
  if (name == "cubic") return *mode = InterpolationMode::kCubic, true;
  return false;
}

inline bool ParsePadding(std::string_view name, PaddingMode* mode) {
  if (name == "zeros") return *mode = PaddingMode::kZeros, true;
  if (name == "border") return *mode = PaddingMode::kBorder, true;
  if (name == "reflect") return *mode = PaddingMode::kReflect, true;
  if (name == "symmetric") return *mode = PaddingMode::kSymmetric, true;
  if (name == "wrap") return *mode = PaddingMode::kWrap, true;
  return false;
}

// A padding that is known when running: indices inside the image, which are most,
// never come to the switch.
struct AnyPadding {
  PaddingMode mode;

  template <typename Index>
  TF_STN_HD Index Resolve(Index index, Index size) const {
    if (0 <= index && index < size) return index;
    switch (mode) {
      case PaddingMode::kZeros:
        return kReadsAsZero;
      case PaddingMode::kBorder:
        return Border::Resolve(index, size);
      case PaddingMode::kReflect:
        return Reflect::Resolve(index, size);
      case PaddingMode::kSymmetric:
        return Symmetric::Resolve(index, size);
      case PaddingMode::kWrap:
        return Wrap::Resolve(index, size);
    }
    return kReadsAsZero;
  }
};

// Names a type where a value is expected, for generic lambdas.
template <typename T>
struct TypeTag {
  using type = T;
};

// Calls visit(TypeTag<Stencil<...>>, rules) with the stencil of an interpolation that takes
// all other modes as they run, and with what it is made by.
template <int Rank, typename Real, typename Index = int64_t, typename Visit>
void VisitAnyStencil(const Modes& modes, const Visit& visit) {
  const auto visit_any = [&](auto tag) {
    using Any = Stencil<Rank, typename decltype(tag)::type, AnyPadding, Real, Index, Orders<Rank>>;
    typename Any::Rules rules{{modes.padding}, {}};
    for (int d = 0; d < Rank; ++d) rules.orders.of[d] = modes.derivative[d];
    visit(TypeTag<Any>(), rules);
  };
  switch (modes.interpolation) {
    case InterpolationMode::kNearest:
      return visit_any(TypeTag<Nearest>());
    case InterpolationMode::kLinear:
      return visit_any(TypeTag<Linear>());
    case InterpolationMode::kCubic:
      return visit_any(TypeTag<Cubic>());
  }
}

// The same, but linear interpolation with zeros outside, by which most networks are
// trained, has a stencil of its own.
template <int Rank, typename Real, typename Index = int64_t, typename Visit>
void VisitStencil(const Modes& modes, const Visit& visit) {
  if (!modes.is_linear_with_zeros()) return VisitAnyStencil<Rank, Real, Index>(modes, visit);
  using LinearWithZeros = Stencil<Rank, Linear, Zeros, Real, Index>;
  visit(TypeTag<LinearWithZeros>(), typename LinearWithZeros::Rules());
}

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_MODES_H_

// Modes as values: enumerators, names and switches, made from the lists of interpolation.h and
// padding.h.

#ifndef TF_STN_CC_CORE_MODES_H_
#define TF_STN_CC_CORE_MODES_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "cc/core/interpolation.h"
#include "cc/core/numbers.h"
#include "cc/core/padding.h"
#include "cc/core/portability.h"
#include "cc/core/stencil.h"

namespace tf_stn {

#define TF_STN_ENUMERATOR(Policy, ...) k##Policy,
#define TF_STN_NAME(Policy, name, ...) name,
#define TF_STN_TAPS(Policy, ...) Policy::kTaps,
#define TF_STN_REPEATS(Policy, ...) Policy::kRepeats,

enum class InterpolationMode { TF_STN_FOR_EACH_INTERPOLATION(TF_STN_ENUMERATOR) };
enum class PaddingMode { TF_STN_FOR_EACH_PADDING(TF_STN_ENUMERATOR) };

inline constexpr std::string_view kInterpolationNames[] = {
    TF_STN_FOR_EACH_INTERPOLATION(TF_STN_NAME)};
inline constexpr std::string_view kPaddingNames[] = {TF_STN_FOR_EACH_PADDING(TF_STN_NAME)};

// Taps along an axis.
inline constexpr int TapsOf(InterpolationMode mode) {
  constexpr int kTaps[] = {TF_STN_FOR_EACH_INTERPOLATION(TF_STN_TAPS)};
  return kTaps[static_cast<int>(mode)];
}

// The most taps that an interpolation has along an axis.
inline constexpr int kMostTaps = [] {
  int most = 0;
  for (const int taps : {TF_STN_FOR_EACH_INTERPOLATION(TF_STN_TAPS)}) {
    most = taps > most ? taps : most;
  }
  return most;
}();

// See padding.h.
inline constexpr bool Repeats(PaddingMode mode) {
  constexpr bool kRepeats[] = {TF_STN_FOR_EACH_PADDING(TF_STN_REPEATS)};
  return kRepeats[static_cast<int>(mode)];
}

#undef TF_STN_ENUMERATOR
#undef TF_STN_NAME
#undef TF_STN_TAPS
#undef TF_STN_REPEATS

// Sets `mode` to the enumerator of a name.  Returns false, and leaves it alone, if there is none.
template <typename Mode, size_t kCount>
bool ParseMode(const std::string_view (&names)[kCount], std::string_view name, Mode* mode) {
  for (size_t i = 0; i < kCount; ++i) {
    if (names[i] == name) return *mode = static_cast<Mode>(i), true;
  }
  return false;
}

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

// A padding that is known at run time.  Indices that are all inside the image, which is the rule,
// do not reach the switch.
struct AnyPadding {
  PaddingMode mode;

  template <typename Index>
  TF_STN_HD Index Resolve(const Index& index, ScalarType<Index> size) const {
    const auto is_outside = (index < 0) | (index >= size);
    if (!AnyLane<std::decay_t<decltype(is_outside)>>::Holds(is_outside)) return index;
    switch (mode) {
#define TF_STN_CASE(Policy, ...) \
  case PaddingMode::k##Policy:   \
    return Policy::Resolve(index, size);
      TF_STN_FOR_EACH_PADDING(TF_STN_CASE)
#undef TF_STN_CASE
    }
    return index;
  }
};

// Names a type where a value is expected, for generic lambdas.
template <typename T>
struct TypeTag {
  using type = T;
};

// Calls visit(TypeTag<Interpolation>) with the policy of a mode.
template <typename Visit>
void VisitInterpolation(InterpolationMode mode, const Visit& visit) {
  switch (mode) {
#define TF_STN_CASE(Policy, ...)     \
  case InterpolationMode::k##Policy: \
    return visit(TypeTag<Policy>());
    TF_STN_FOR_EACH_INTERPOLATION(TF_STN_CASE)
#undef TF_STN_CASE
  }
}

// Calls visit(TypeTag<Stencil>, rules) with the stencil of these modes that has the interpolation
// as a type and takes all other modes at run time, and with the rules to construct it by.
template <int Rank, typename Real, typename Index = int64_t, typename Visit>
void VisitStencil(const Modes& modes, const Visit& visit) {
  VisitInterpolation(modes.interpolation, [&](auto tag) {
    using General =
        Stencil<Rank, typename decltype(tag)::type, AnyPadding, Real, Index, Orders<Rank>>;
    typename General::Rules rules{{modes.padding}, {}};
    for (int d = 0; d < Rank; ++d) rules.orders.of[d] = modes.derivative[d];
    visit(TypeTag<General>(), rules);
  });
}

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_MODES_H_

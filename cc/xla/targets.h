// What the kernels that XLA compiles by and the handlers that it calls agree on: the names of
// custom calls and of their attributes.
//
// The operands of a call are data, parameters of points, then those of the op of its name, without
// output_size, and last a fill value, if there is one.  All are in row-major order.

#ifndef TF_STN_CC_XLA_TARGETS_H_
#define TF_STN_CC_XLA_TARGETS_H_

#include "cc/core/inputs.h"

namespace tf_stn {

// The custom calls of a family of ops.
template <typename Input>
struct Targets;

template <>
struct Targets<WarpInput> {
  static constexpr char kSample[] = "tf_stn.resampler";
  static constexpr char kGradient[] = "tf_stn.resampler_grad";
  static constexpr char kSecondOrder[] = "tf_stn.resampler_grad_grad";
};

template <>
struct Targets<DisplacementInput> {
  static constexpr char kSample[] = "tf_stn.displacement_resampler";
  static constexpr char kGradient[] = "tf_stn.displacement_resampler_grad";
  static constexpr char kSecondOrder[] = "tf_stn.displacement_resampler_grad_grad";
};

template <>
struct Targets<AffineInput> {
  static constexpr char kSample[] = "tf_stn.affine_resampler";
  static constexpr char kGradient[] = "tf_stn.affine_resampler_grad";
};

template <>
struct Targets<ProjectiveInput> {
  static constexpr char kSample[] = "tf_stn.projective_resampler";
  static constexpr char kGradient[] = "tf_stn.projective_resampler_grad";
};

// Attributes: names of modes, three orders of derivatives, and whether a GPU's gradients must have
// the same bits in every run.
inline constexpr char kInterpolationAttribute[] = "interpolation";
inline constexpr char kPaddingAttribute[] = "padding";
inline constexpr char kDerivativeAttribute[] = "derivative";
inline constexpr char kDeterministicAttribute[] = "deterministic";

}  // namespace tf_stn

#endif  // TF_STN_CC_XLA_TARGETS_H_

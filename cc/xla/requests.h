// Reading a custom call of XLA, by its foreign function interface, into a call of ours.

#ifndef TF_STN_CC_XLA_REQUESTS_H_
#define TF_STN_CC_XLA_REQUESTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cc/core/call.h"
#include "cc/core/inputs.h"
#include "cc/core/modes.h"
#include "cc/core/pixel_types.h"
#include "cc/core/shapes.h"
#include "cc/xla/targets.h"
#include "xla/ffi/api/ffi.h"

namespace xla::ffi {

// Exported by TensorFlow.  Weak, so that the library can be loaded where it is not: null there.
__attribute__((weak)) const XLA_FFI_Api* GetXlaFfiApi();

}  // namespace xla::ffi

namespace tf_stn {

namespace ffi = xla::ffi;

// The type by which XLA knows pixels of type T.
template <typename T>
inline constexpr ffi::DataType kElementType = ffi::DataType::INVALID;
template <>
inline constexpr ffi::DataType kElementType<Half> = ffi::DataType::F16;
template <>
inline constexpr ffi::DataType kElementType<BFloat16> = ffi::DataType::BF16;
template <>
inline constexpr ffi::DataType kElementType<float> = ffi::DataType::F32;
template <>
inline constexpr ffi::DataType kElementType<double> = ffi::DataType::F64;

inline ffi::Error ErrorOf(const std::string& message) {
  return message.empty() ? ffi::Error::Success() : ffi::Error::InvalidArgument(message);
}

// What XLA asks a handler for.
class Request {
 public:
  // Reads it, and returns what is wrong with it.
  ffi::Error Read(const ffi::RemainingArgs& operands, const ffi::RemainingRets& results,
                  const ffi::Dictionary& attributes) {
    for (size_t i = 0; i < operands.size(); ++i) {
      const auto operand = operands.get<ffi::AnyBuffer>(i);
      if (!operand) return operand.error();
      operands_.push_back(*operand);
    }
    for (size_t i = 0; i < results.size(); ++i) {
      auto result = results.get<ffi::AnyBuffer>(i);
      if (!result) return result.error();
      results_.push_back(**result);
    }
    const auto interpolation = attributes.get<std::string_view>(kInterpolationAttribute);
    const auto padding = attributes.get<std::string_view>(kPaddingAttribute);
    const auto derivative = attributes.get<ffi::Span<const int64_t>>(kDerivativeAttribute);
    const auto deterministic = attributes.get<bool>(kDeterministicAttribute);
    const bool is_valid = interpolation && padding && derivative && derivative->size() == 3 &&
                          deterministic &&
                          ParseMode(kInterpolationNames, *interpolation, &modes_.interpolation) &&
                          ParseMode(kPaddingNames, *padding, &modes_.padding);
    if (!is_valid) return ErrorOf("The attributes are of another version of tf_stn");
    for (size_t d = 0; d < 3; ++d) modes_.derivative[d] = static_cast<int>((*derivative)[d]);
    deterministic_ = *deterministic;
    return ffi::Error::Success();
  }

  size_t operands() const { return operands_.size(); }
  size_t results() const { return results_.size(); }
  const Modes& modes() const { return modes_; }
  bool deterministic() const { return deterministic_; }

  ffi::DataType type(size_t operand) const { return operands_[operand].element_type(); }

  Operand operand(size_t i) const { return {ShapeOf(operands_[i]), operands_[i].untyped_data()}; }

  PartialShape shape_of_result(size_t i) const { return ShapeOf(results_[i]); }

  // Returns null for a result that is empty, such as a gradient that was not asked for.
  template <typename T>
  T* result(size_t i) const {
    const ffi::AnyBuffer& buffer = results_[i];
    return buffer.element_count() == 0 ? nullptr : static_cast<T*>(buffer.untyped_data());
  }

 private:
  static PartialShape ShapeOf(const ffi::AnyBuffer& buffer) {
    const auto sizes = buffer.dimensions();
    return PartialShape(std::vector<int64_t>(sizes.begin(), sizes.end()));
  }

  std::vector<ffi::AnyBuffer> operands_, results_;
  Modes modes_;
  bool deterministic_ = false;
};

// A kind of op makes a call of a request: of the data's rank, of pixels of type T and with the
// source of points of Input.
//
// REQUIRES: the kernels of kernels.cc have checked the types, and the shapes of results.

struct Sample {
  static constexpr size_t kOperands = 2, kResults = 1;

  template <int Rank, typename T, typename Input>
  static auto CallOf(const Request& request, const Input& input, const T* fill) {
    return SampleCall<PointsOf<Input, Rank, T>, T>{MakeCall<Rank>(input, request.modes(), fill),
                                                   request.result<T>(0)};
  }
};

struct Gradient {
  static constexpr size_t kOperands = 3, kResults = 2;

  template <int Rank, typename T, typename Input>
  static auto CallOf(const Request& request, const Input& input, const T* fill) {
    return GradientCall<PointsOf<Input, Rank, T>, T>{
        MakeCall<Rank>(input, request.modes(), fill), request.operand(2).As<T>(),
        request.result<T>(0), request.result<Coordinate<T>>(1)};
  }
};

struct SecondOrder {
  static constexpr size_t kOperands = 5, kResults = 3;

  template <int Rank, typename T, typename Input>
  static auto CallOf(const Request& request, const Input& input, const T* fill) {
    return SecondOrderCall<PointsOf<Input, Rank, T>, T>{
        Gradient::CallOf<Rank>(request, input, fill), request.operand(3).AsUnlessEmpty<T>(),
        request.operand(4).AsUnlessEmpty<Coordinate<T>>(), request.result<T>(2)};
  }
};

// Returns visit(TypeTag<T>) with the type of pixels.
template <typename Visit>
ffi::Error VisitPixelType(ffi::DataType type, const Visit& visit) {
#define TF_STN_VISIT(T, ...) \
  if (type == kElementType<T>) return visit(TypeTag<T>());
  TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_VISIT)
#undef TF_STN_VISIT
  return ErrorOf("`data` must hold floating-point numbers");
}

// Runs a request for this kind of op by run(call), which returns an error.
template <typename Kind, typename Input, typename Run>
ffi::Error RunRequest(const Request& request, const Run& run) {
  if (request.operands() < Kind::kOperands || request.results() != Kind::kResults) {
    return ErrorOf("The operands are of another version of tf_stn");
  }
  Input input(request.operand(0), request.operand(1));
  const bool is_sample = Kind::kOperands == 2;  // Only that has no gradient of the output.
  const std::string error =
      input.CheckWithOutput(is_sample ? request.shape_of_result(0) : request.operand(2).shape);
  if (!error.empty()) return ErrorOf(error);
  const void* const fill =
      request.operands() > Kind::kOperands ? request.operand(Kind::kOperands).elements : nullptr;
  return VisitPixelType(request.type(0), [&](auto tag) {
    using T = typename decltype(tag)::type;
    return VisitRank(input.data().shape, [&](auto rank) {
      return run(Kind::template CallOf<rank>(request, input, static_cast<const T*>(fill)));
    });
  });
}

// Registers a handler unless there is one of its name, as of a copy of this library.
inline void RegisterHandler(const char* target, const char* platform, XLA_FFI_Handler* handler) {
  if (&ffi::GetXlaFfiApi == nullptr) return;
  const XLA_FFI_Api* const api = ffi::GetXlaFfiApi();
  XLA_FFI_Error* const error = ffi::Ffi::RegisterStaticHandler(api, target, platform, handler);
  if (error != nullptr) ffi::internal::DestroyError(api, error);
}

// Registers the handlers of a family of ops for a platform.
template <typename Device, typename Input>
void RegisterFamily(const char* platform) {
  using Names = Targets<Input>;
  RegisterHandler(Names::kSample, platform, Device::template Handle<Sample, Input>);
  RegisterHandler(Names::kGradient, platform, Device::template Handle<Gradient, Input>);
  if constexpr (Input::template Source<2, float>::kIsStored) {
    RegisterHandler(Names::kSecondOrder, platform, Device::template Handle<SecondOrder, Input>);
  }
}

// Registers the handlers of all ops for a platform.  Device::Handle<Kind, Input> is a handler.
template <typename Device>
bool RegisterHandlers(const char* platform) {
  RegisterFamily<Device, WarpInput>(platform);
  RegisterFamily<Device, DisplacementInput>(platform);
  RegisterFamily<Device, AffineInput>(platform);
  RegisterFamily<Device, ProjectiveInput>(platform);
  return true;
}

}  // namespace tf_stn

#endif  // TF_STN_CC_XLA_REQUESTS_H_

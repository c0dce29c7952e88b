// XLA's handlers for a GPU, with kernels that run on the host: what they read of a custom call, and
// where they write.  The runtime of XLA is replaced by a few functions.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cc/core/call.h"
#include "cc/core/modes.h"
#include "cc/core/pixel_types.h"
#include "cc/core/points.h"
#include "cc/kernels/gpu/launchers.h"
#include "cc/xla/requests.h"
#include "cc/xla/targets.h"
#include "tests/cpp/check.h"
#include "xla/ffi/api/ffi.h"

struct XLA_FFI_Error {
  std::string message;
};

namespace tf_stn {
namespace {

// The runtime

using Handlers = std::map<std::pair<std::string, std::string>, XLA_FFI_Handler*>;

Handlers& RegisteredHandlers() {
  static Handlers handlers;
  return handlers;
}

std::string ToString(const XLA_FFI_ByteSpan& span) { return std::string(span.ptr, span.len); }

int allocations = 0;  // That are not freed yet.
size_t allocated_bytes = 0;
bool has_memory = true;

XLA_FFI_Error* Allocate(XLA_FFI_DeviceMemory_Allocate_Args* args) {
  if (!has_memory) return new XLA_FFI_Error{"none is left"};
  CHECK(args->alignment == 16);
  args->data = std::aligned_alloc(64, (args->size + 63) / 64 * 64);
  ++allocations;
  allocated_bytes += args->size;
  return nullptr;
}

XLA_FFI_Error* Free(XLA_FFI_DeviceMemory_Free_Args* args) {
  std::free(args->data);
  --allocations;
  return nullptr;
}

XLA_FFI_Error* RegisterOnce(XLA_FFI_Handler_Register_Args* args) {
  const auto name = std::make_pair(ToString(args->name), ToString(args->platform));
  if (!RegisteredHandlers().emplace(name, args->bundle.execute).second) {
    return new XLA_FFI_Error{"there is one already"};
  }
  return nullptr;
}

const XLA_FFI_Api& FakeApi() {
  static const XLA_FFI_Api api = [] {
    XLA_FFI_Api api = {};
    api.struct_size = XLA_FFI_Api_STRUCT_SIZE;
    api.XLA_FFI_Error_Create = [](XLA_FFI_Error_Create_Args* args) {
      return new XLA_FFI_Error{args->message};
    };
    api.XLA_FFI_Error_GetMessage = [](XLA_FFI_Error_GetMessage_Args* args) {
      args->message = args->error->message.c_str();
    };
    api.XLA_FFI_Error_Destroy = [](XLA_FFI_Error_Destroy_Args* args) { delete args->error; };
    api.XLA_FFI_Handler_Register = &RegisterOnce;
    api.XLA_FFI_Stream_Get = [](XLA_FFI_Stream_Get_Args* args) -> XLA_FFI_Error* {
      args->stream = nullptr;
      return nullptr;
    };
    api.XLA_FFI_DeviceMemory_Allocate = &Allocate;
    api.XLA_FFI_DeviceMemory_Free = &Free;
    return api;
  }();
  return api;
}

// A custom call

template <typename T>
struct Array {
  std::vector<int64_t> sizes;
  std::vector<T> elements;

  explicit Array(std::vector<int64_t> of) : sizes(std::move(of)) {
    size_t count = 1;
    for (const int64_t size : sizes) count *= static_cast<size_t>(size);
    elements.resize(count);
  }

  XLA_FFI_Buffer Buffer() {
    XLA_FFI_Buffer buffer = {};
    buffer.struct_size = XLA_FFI_Buffer_STRUCT_SIZE;
    buffer.dtype = static_cast<XLA_FFI_DataType>(kElementType<T>);
    buffer.data = elements.data();
    buffer.rank = static_cast<int64_t>(sizes.size());
    buffer.dims = sizes.data();
    return buffer;
  }
};

template <typename T>
Array<T> Random(std::vector<int64_t> sizes, double low = -1, double high = 1) {
  static std::mt19937 rng(1);
  std::uniform_real_distribution<double> value(low, high);
  Array<T> array(std::move(sizes));
  for (T& element : array.elements) element = T(static_cast<Coordinate<T>>(value(rng)));
  return array;
}

struct Attributes {
  std::string interpolation = "cubic";
  std::string padding = "border";
  std::vector<int64_t> derivative = {0, 0, 0};
  bool deterministic = false;
};

// Calls a handler as XLA does, and returns its error, or "".
std::string Invoke(const char* target, std::vector<XLA_FFI_Buffer> operands,
                   std::vector<XLA_FFI_Buffer> results, Attributes attributes = {}) {
  const auto found = RegisteredHandlers().find({target, "CUDA"});
  if (found == RegisteredHandlers().end()) return "no handler";
  std::vector<XLA_FFI_ArgType> operand_types(operands.size(), XLA_FFI_ArgType_BUFFER);
  std::vector<XLA_FFI_RetType> result_types(results.size(), XLA_FFI_RetType_BUFFER);
  std::vector<void*> operand_pointers, result_pointers;
  for (auto& operand : operands) operand_pointers.push_back(&operand);
  for (auto& result : results) result_pointers.push_back(&result);

  const auto span = [](const std::string& text) {
    return XLA_FFI_ByteSpan{text.data(), text.size()};
  };
  const std::string names[] = {kDerivativeAttribute, kDeterministicAttribute,
                               kInterpolationAttribute, kPaddingAttribute};  // In this order.
  XLA_FFI_ByteSpan name_spans[4];
  XLA_FFI_ByteSpan* name_pointers[4];
  for (size_t i = 0; i < 4; ++i) name_spans[i] = span(names[i]);
  for (size_t i = 0; i < 4; ++i) name_pointers[i] = &name_spans[i];
  XLA_FFI_Array derivative = {XLA_FFI_DataType_S64, attributes.derivative.size(),
                              attributes.derivative.data()};
  XLA_FFI_Scalar deterministic = {XLA_FFI_DataType_PRED, &attributes.deterministic};
  XLA_FFI_ByteSpan interpolation = span(attributes.interpolation);
  XLA_FFI_ByteSpan padding = span(attributes.padding);
  void* values[] = {&derivative, &deterministic, &interpolation, &padding};
  XLA_FFI_AttrType types[] = {XLA_FFI_AttrType_ARRAY, XLA_FFI_AttrType_SCALAR,
                              XLA_FFI_AttrType_STRING, XLA_FFI_AttrType_STRING};

  XLA_FFI_CallFrame frame = {};
  frame.struct_size = XLA_FFI_CallFrame_STRUCT_SIZE;
  frame.api = &FakeApi();
  frame.stage = XLA_FFI_ExecutionStage_EXECUTE;
  frame.args = {XLA_FFI_Args_STRUCT_SIZE, nullptr, static_cast<int64_t>(operands.size()),
                operand_types.data(), operand_pointers.data()};
  frame.rets = {XLA_FFI_Rets_STRUCT_SIZE, nullptr, static_cast<int64_t>(results.size()),
                result_types.data(), result_pointers.data()};
  frame.attrs = {XLA_FFI_Attrs_STRUCT_SIZE, nullptr, 4, types, name_pointers, values};
  XLA_FFI_Error* const error = found->second(&frame);
  if (error == nullptr) return "";
  const std::string message = error->message;
  delete error;
  return message;
}

// Whether all have the same bits.
template <typename T>
bool AreEqual(const Array<T>& a, const std::vector<T>& b) {
  if (a.elements.size() != b.size()) return false;
  for (size_t i = 0; i < b.size(); ++i) {
    if (static_cast<Coordinate<T>>(a.elements[i]) != static_cast<Coordinate<T>>(b[i])) return false;
  }
  return true;
}

constexpr Modes kModes = {InterpolationMode::kCubic, PaddingMode::kBorder};

// Two images or volumes and their points, stored as Input has them, with the same results by
// handlers and by launchers.
template <typename Input, int Rank, typename T>
void CheckHandlers(bool deterministic) {
  using Real = Coordinate<T>;
  using Points = WarpPoints<Rank, Real>;
  using Shape = std::vector<int64_t>;
  const Shape image = Rank == 2 ? Shape{2, 4, 5, 3} : Shape{2, 3, 4, 5, 3};
  // Of displacements, lines of an output.
  const bool has_sides = std::is_same_v<Input, DisplacementInput>;
  Shape samples = !has_sides ? Shape{2, 14} : Rank == 2 ? Shape{2, 2, 7} : Shape{2, 2, 1, 7};
  Shape stored = samples;
  samples.push_back(3);
  stored.push_back(Rank);
  auto data = Random<T>(image), grad_output = Random<T>(samples), direction = Random<T>(image);
  auto warp = Random<Real>(stored, -2, 7), directions = Random<Real>(stored);
  Array<T> output(samples), grad_data(image), along_output(samples);
  Array<Real> grad_warp(stored);
  const Attributes attributes = {"cubic", "border", {0, 0, 0}, deterministic};
  using Names = Targets<Input>;

  Points points = {warp.elements.data(), 14, 28};
  points.are_displacements = has_sides;
  points.size.side[0] = PlainDivision(2);
  points.size.side[Rank - 1] = PlainDivision(7);
  Call<Points, T> call = {kModes, {{}, 2, 14}, data.elements.data(), nullptr, points};
  for (size_t d = 0; d < Rank; ++d) call.sizes.image.size[d] = image[1 + d];
  call.sizes.image.channels = 3;
  std::vector<T> want(output.elements.size()), want_data(data.elements.size());
  std::vector<T> want_output(output.elements.size());
  std::vector<Real> want_warp(warp.elements.size());

  CHECK(Invoke(Names::kSample, {data.Buffer(), warp.Buffer()}, {output.Buffer()}, attributes) ==
        "");
  CHECK(LaunchSample(SampleCall<Points, T>{call, want.data()}, nullptr) == nullptr);
  CHECK(AreEqual(output, want));

  CHECK(Invoke(Names::kGradient, {data.Buffer(), warp.Buffer(), grad_output.Buffer()},
               {grad_data.Buffer(), grad_warp.Buffer()}, attributes) == "");
  const GradientCall<Points, T> gradient = {call, grad_output.elements.data(), want_data.data(),
                                            want_warp.data()};
  std::vector<double> workspace(GradientWorkspace(gradient) / sizeof(double) + 1);
  CHECK(LaunchGradient(gradient, workspace.data(), deterministic, nullptr) == nullptr);
  CHECK(AreEqual(grad_data, want_data));
  CHECK(AreEqual(grad_warp, want_warp));

  CHECK(Invoke(Names::kSecondOrder,
               {data.Buffer(), warp.Buffer(), grad_output.Buffer(), direction.Buffer(),
                directions.Buffer()},
               {grad_data.Buffer(), grad_warp.Buffer(), along_output.Buffer()}, attributes) == "");
  const SecondOrderCall<Points, T> second = {gradient, direction.elements.data(),
                                             directions.elements.data(), want_output.data()};
  workspace.resize(SecondOrderWorkspace(second) / sizeof(double) + 1);
  CHECK(LaunchSecondOrder(second, workspace.data(), deterministic, nullptr) == nullptr);
  CHECK(AreEqual(grad_data, want_data));
  CHECK(AreEqual(grad_warp, want_warp));
  CHECK(AreEqual(along_output, want_output));
  CHECK(allocations == 0);
}

TEST(HandlersOfStoredPointsGiveWhatTheLaunchersGive) {
  for (const bool deterministic : {false, true}) {
    CheckHandlers<WarpInput, 2, float>(deterministic);
    CheckHandlers<WarpInput, 2, Half>(deterministic);
    CheckHandlers<WarpInput, 3, BFloat16>(deterministic);
    CheckHandlers<WarpInput, 3, double>(deterministic);
    CheckHandlers<DisplacementInput, 2, float>(deterministic);
    CheckHandlers<DisplacementInput, 3, double>(deterministic);
  }
}

TEST(HandlersOfMatricesGiveWhatTheLaunchersGive) {
  using Points = MatrixPoints<2, float>;
  using Names = Targets<AffineInput>;
  auto data = Random<float>({1, 4, 5, 3}), fill = Random<float>({3});
  auto matrix = Random<float>({2, 2, 3}), grad_output = Random<float>({2, 6, 7, 3});
  Array<float> output({2, 6, 7, 3}), grad_data({0}), grad_matrix({2, 2, 3});
  const Attributes attributes = {"linear", "zeros"};
  Points points = {matrix.elements.data(), 2, 2, {}};
  points.size.side[0] = PlainDivision(6);
  points.size.side[1] = PlainDivision(7);
  const Call<Points, float> call = {
      Modes(), {{{4, 5}, 3}, 1, 84}, data.elements.data(), fill.elements.data(), points};
  std::vector<float> want(output.elements.size()), want_matrix(12);

  CHECK(Invoke(Names::kSample, {data.Buffer(), matrix.Buffer(), fill.Buffer()}, {output.Buffer()},
               attributes) == "");
  CHECK(LaunchSample(SampleCall<Points, float>{call, want.data()}, nullptr) == nullptr);
  CHECK(AreEqual(output, want));

  allocated_bytes = 0;
  CHECK(Invoke(Names::kGradient,
               {data.Buffer(), matrix.Buffer(), grad_output.Buffer(), fill.Buffer()},
               {grad_data.Buffer(), grad_matrix.Buffer()}, attributes) == "");
  const GradientCall<Points, float> gradient = {call, grad_output.elements.data(), nullptr,
                                                want_matrix.data()};
  std::vector<double> workspace(GradientWorkspace(gradient) / sizeof(double) + 1);
  CHECK(LaunchGradient(gradient, workspace.data(), false, nullptr) == nullptr);
  CHECK(AreEqual(grad_matrix, want_matrix));
  CHECK(allocated_bytes == GradientWorkspace(gradient));
  CHECK(allocated_bytes > 0);

  has_memory = false;
  CHECK(Invoke(Names::kGradient, {data.Buffer(), matrix.Buffer(), grad_output.Buffer()},
               {grad_data.Buffer(), grad_matrix.Buffer()},
               attributes) == "The resampler's GPU kernel was not launched: out of memory");
  has_memory = true;
}

TEST(DerivativesAndEmptyTensorsReachTheKernels) {
  auto data = Random<float>({1, 4, 5, 1}), warp = Random<float>({1, 3, 2}, 0.1, 0.9);
  auto none = Random<float>({1, 0, 2});
  Array<float> output({1, 3, 1}), empty({1, 0, 1});
  const char* const target = Targets<WarpInput>::kSample;
  CHECK(Invoke(target, {data.Buffer(), none.Buffer()}, {empty.Buffer()}) == "");
  CHECK(Invoke(target, {data.Buffer(), warp.Buffer()}, {output.Buffer()},
               {"linear", "zeros", {1, 1, 0}, false}) == "");
  const std::vector<float>& pixels = data.elements;
  const float mixed = (pixels[0] - pixels[1]) - (pixels[5] - pixels[6]);
  for (const float sample : output.elements) CHECK_NEAR(sample, mixed, 1e-6);
}

TEST(WhatIsOfAnotherVersionIsAnError) {
  auto data = Random<float>({1, 4, 5, 1}), warp = Random<float>({1, 3, 2});
  Array<float> output({1, 3, 1});
  const char* const target = Targets<WarpInput>::kSample;
  const auto error_with = [&](const Attributes& attributes) {
    return Invoke(target, {data.Buffer(), warp.Buffer()}, {output.Buffer()}, attributes);
  };
  const std::string expected = "The attributes are of another version of tf_stn";
  CHECK(error_with({"quintic", "zeros"}) == expected);
  CHECK(error_with({"linear", "mirror"}) == expected);
  CHECK(error_with({"linear", "zeros", {0, 0}}) == expected);
  CHECK(Invoke(target, {data.Buffer()}, {output.Buffer()}) ==
        "The operands are of another version of tf_stn");
  CHECK(Invoke(target, {warp.Buffer(), data.Buffer()}, {output.Buffer()}) != "");
}

TEST(AHandlerThatIsThereStays) {
  const Handlers before = RegisteredHandlers();
  CHECK(before.size() == 10);
  RegisterHandler(Targets<WarpInput>::kSample, "CUDA", nullptr);
  CHECK(RegisteredHandlers() == before);
}

}  // namespace
}  // namespace tf_stn

namespace xla::ffi {

const XLA_FFI_Api* GetXlaFfiApi() { return &tf_stn::FakeApi(); }

}  // namespace xla::ffi

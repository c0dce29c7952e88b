// What shapes the ops take.  Shape functions and kernels both ask here, so that
// a mistake reads the same in a graph and in eager mode, which runs no shape
// function.

#ifndef TF_STN_CC_CORE_SHAPES_H_
#define TF_STN_CC_CORE_SHAPES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tf_stn {

// A shape of which the rank, or some sizes, may be unknown.
class PartialShape {
 public:
  static constexpr int64_t kUnknown = -1;

  PartialShape() = default;  // Of unknown rank.
  explicit PartialShape(std::vector<int64_t> sizes) : has_rank_(true), sizes_(std::move(sizes)) {}

  bool has_rank() const { return has_rank_; }
  int rank() const { return static_cast<int>(sizes_.size()); }

  // Returns the size of axis `d`, counted from the end if negative.
  // REQUIRES: has_rank() and d within it.
  int64_t size(int d) const { return sizes_[static_cast<size_t>(d < 0 ? d + rank() : d)]; }

  std::string ToString() const {
    if (!has_rank_) return "an unknown shape";
    std::string text = "[";
    for (const int64_t size : sizes_) {
      if (text.size() > 1) text += ", ";
      text += size == kUnknown ? "?" : std::to_string(size);
    }
    return text + "]";
  }

 private:
  bool has_rank_ = false;
  std::vector<int64_t> sizes_;
};

inline bool CanBeEqual(int64_t a, int64_t b) {
  return a == PartialShape::kUnknown || b == PartialShape::kUnknown || a == b;
}

inline std::string WrongShape(const std::string& argument, const std::string& expected,
                              const PartialShape& received) {
  return "`" + argument + "` must have shape " + expected + ", received " + received.ToString();
}

// Returns what is wrong with the inputs of the resampler, or "".
inline std::string CheckResamplerShapes(const PartialShape& data, const PartialShape& warp) {
  if (data.has_rank() && data.rank() != 4) {
    return WrongShape("data", "[batch, height, width, channels]", data);
  }
  if (warp.has_rank() && (warp.rank() < 2 || !CanBeEqual(warp.size(-1), 2))) {
    return WrongShape("warp", "[batch, ..., 2]", warp);
  }
  if (!data.has_rank() || !warp.has_rank()) return "";
  if (!CanBeEqual(data.size(0), warp.size(0))) {
    return "`data` and `warp` must have the same batch size, received `data` of shape " +
           data.ToString() + " and `warp` of shape " + warp.ToString();
  }
  const bool empty_image = data.size(1) == 0 || data.size(2) == 0;
  bool has_points = true;
  for (int d = 0; d + 1 < warp.rank(); ++d) has_points = has_points && warp.size(d) > 0;
  if (empty_image && has_points) {
    return "`data` must have a height and a width of at least 1 where `warp` has points, received "
           "`data` of shape " +
           data.ToString() + " and `warp` of shape " + warp.ToString();
  }
  return "";
}

// Returns what is wrong with the inputs of the resampler's gradient, or "".
inline std::string CheckResamplerGradShapes(const PartialShape& data, const PartialShape& warp,
                                            const PartialShape& grad_output) {
  std::string error = CheckResamplerShapes(data, warp);
  if (!error.empty() || !grad_output.has_rank()) return error;
  bool fits = true;
  if (warp.has_rank()) {
    fits = grad_output.rank() == warp.rank();
    for (int d = 0; fits && d + 1 < warp.rank(); ++d) {
      fits = CanBeEqual(grad_output.size(d), warp.size(d));
    }
  }
  if (fits && data.has_rank()) {
    fits = grad_output.rank() >= 2 && CanBeEqual(grad_output.size(-1), data.size(3)) &&
           CanBeEqual(grad_output.size(0), data.size(0));
  }
  if (fits) return "";
  return WrongShape("grad_output", "[batch, ..., channels]", grad_output) +
         " for `data` of shape " + data.ToString() + " and `warp` of shape " + warp.ToString();
}

// Returns what is wrong with the shape of an argument that is a size, or "".
inline std::string CheckSizeShape(const std::string& argument, const PartialShape& size,
                                  int64_t sides) {
  if (!size.has_rank() || (size.rank() == 1 && CanBeEqual(size.size(0), sides))) return "";
  return WrongShape(argument, "[" + std::to_string(sides) + "]", size);
}

// Returns what is wrong with a size that is known, or "".
inline std::string CheckSize(const std::string& argument, int64_t height, int64_t width) {
  if (height >= 0 && width >= 0) return "";
  return "`" + argument + "` must not be negative, received [" + std::to_string(height) + ", " +
         std::to_string(width) + "]";
}

// Returns what is wrong with the inputs of the affine resampler, or "".
// `output_size` is (height, width) as a shape.
inline std::string CheckAffineResamplerShapes(const PartialShape& data, const PartialShape& matrix,
                                              const PartialShape& output_size) {
  if (data.has_rank() && data.rank() != 4) {
    return WrongShape("data", "[batch, height, width, channels]", data);
  }
  if (matrix.has_rank() &&
      (matrix.rank() != 3 || !CanBeEqual(matrix.size(1), 2) || !CanBeEqual(matrix.size(2), 3))) {
    return WrongShape("matrix", "[batch, 2, 3]", matrix);
  }
  if (data.has_rank() && matrix.has_rank() && !CanBeEqual(data.size(0), matrix.size(0))) {
    return "`data` and `matrix` must have the same batch size, received `data` of shape " +
           data.ToString() + " and `matrix` of shape " + matrix.ToString();
  }
  bool has_points = output_size.has_rank();
  for (int d = 0; d < output_size.rank(); ++d) has_points = has_points && output_size.size(d) > 0;
  const bool empty_image = data.has_rank() && (data.size(1) == 0 || data.size(2) == 0);
  const bool has_images = data.has_rank() && data.size(0) > 0;
  if (empty_image && has_images && has_points) {
    return "`data` must have a height and a width of at least 1 where the output has pixels, "
           "received `data` of shape " +
           data.ToString() + " and an output of size " + output_size.ToString();
  }
  return "";
}

// Returns what is wrong with the inputs of the affine resampler's gradient, or "".
inline std::string CheckAffineResamplerGradShapes(const PartialShape& data,
                                                  const PartialShape& matrix,
                                                  const PartialShape& grad_output) {
  bool fits = !grad_output.has_rank() || grad_output.rank() == 4;
  PartialShape output_size;
  if (fits && grad_output.has_rank()) {
    output_size = PartialShape({grad_output.size(1), grad_output.size(2)});
  }
  std::string error = CheckAffineResamplerShapes(data, matrix, output_size);
  if (!error.empty()) return error;
  if (fits && grad_output.has_rank() && data.has_rank()) {
    fits = CanBeEqual(grad_output.size(0), data.size(0)) &&
           CanBeEqual(grad_output.size(3), data.size(3));
  }
  if (fits) return "";
  return WrongShape("grad_output", "[batch, height, width, channels]", grad_output) +
         " for `data` of shape " + data.ToString();
}

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_SHAPES_H_

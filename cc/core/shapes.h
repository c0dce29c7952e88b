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
  const std::vector<int64_t>& sizes() const { return sizes_; }

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

// Returns the size of an axis along which one of two tensors may be of size 1.
// REQUIRES: CanBroadcast(a, b).
inline int64_t Broadcast(int64_t a, int64_t b) {
  if (a == 1) return b;
  if (b == 1) return a;
  return a == PartialShape::kUnknown ? b : a;
}

inline bool CanBroadcast(int64_t a, int64_t b) { return a == 1 || b == 1 || CanBeEqual(a, b); }

// The number of spatial axes of images, 2, or of volumes, 3; unknown if that of data is.
inline int64_t SpatialRank(const PartialShape& data) {
  return data.has_rank() ? data.rank() - 2 : PartialShape::kUnknown;
}

inline std::string CheckData(const PartialShape& data) {
  if (!data.has_rank() || data.rank() == 4 || data.rank() == 5) return "";
  return WrongShape(
      "data", "[batch, height, width, channels] or [batch, depth, height, width, channels]", data);
}

inline std::string Received(const std::string& a, const PartialShape& shape_of_a,
                            const std::string& b, const PartialShape& shape_of_b) {
  return "received `" + a + "` of shape " + shape_of_a.ToString() + " and `" + b + "` of shape " +
         shape_of_b.ToString();
}

inline std::string CheckBatch(const PartialShape& data, const std::string& argument,
                              const PartialShape& shape) {
  if (!data.has_rank() || !shape.has_rank() || CanBroadcast(data.size(0), shape.size(0))) return "";
  return "`data` and `" + argument + "` must have the same batch size, or one of them 1, " +
         Received("data", data, argument, shape);
}

// Returns what is wrong if there are points but no pixels, or "".
inline std::string CheckHasPixels(const PartialShape& data, const std::string& has_points,
                                  const std::string& received) {
  bool is_empty = false;
  for (int d = 1; d + 1 < data.rank(); ++d) is_empty = is_empty || data.size(d) == 0;
  if (!is_empty) return "";
  return std::string("`data` must have ") +
         (data.rank() == 4 ? "a height and a width" : "a depth, a height and a width") +
         " of at least 1 where " + has_points + ", " + received;
}

// An input of an op that stores points.
struct PointsInput {
  const char* name;
  bool has_sides;         // Whether its points are those of the pixels of outputs.
  const char* shapes[2];  // That it may have, for images and for volumes.
};

inline constexpr PointsInput kWarp = {"warp", false, {"[batch, ..., 2]", "[batch, ..., 3]"}};
inline constexpr PointsInput kDisplacement = {
    "displacement",
    true,
    {"[batch, ..., height, width, 2]", "[batch, ..., depth, height, width, 3]"}};

// Returns what is wrong with the inputs of an op whose points are stored in `points`, or "".
inline std::string CheckResamplerShapes(const PointsInput& input, const PartialShape& data,
                                        const PartialShape& points) {
  std::string error = CheckData(data);
  if (!error.empty()) return error;
  const int64_t rank = SpatialRank(data);
  if (points.has_rank()) {
    const auto fits = [&](int64_t coordinates) {
      return CanBeEqual(rank, coordinates) && CanBeEqual(points.size(-1), coordinates) &&
             points.rank() >= (input.has_sides ? coordinates + 2 : 2);
    };
    if (points.rank() < 2 || !(fits(2) || fits(3))) {
      const std::string of_images = input.shapes[0], of_volumes = input.shapes[1];
      return WrongShape(input.name,
                        rank == 2   ? of_images
                        : rank == 3 ? of_volumes
                                    : of_images + " or " + of_volumes,
                        points);
    }
  }
  if (!data.has_rank() || !points.has_rank()) return "";
  error = CheckBatch(data, input.name, points);
  if (!error.empty()) return error;
  bool has_points = data.size(0) != 0;
  for (int d = 0; d + 1 < points.rank(); ++d) has_points = has_points && points.size(d) > 0;
  return has_points ? CheckHasPixels(data, "`" + std::string(input.name) + "` has points",
                                     Received("data", data, input.name, points))
                    : "";
}

// Returns what is wrong with the pixels that fill what lies outside, of which there is at most one,
// or "".
inline std::string CheckFill(const std::vector<PartialShape>& fill_value, bool pads_with_zeros,
                             const PartialShape& data) {
  if (fill_value.empty()) return "";
  if (fill_value.size() > 1 || !pads_with_zeros) {
    return "`fill_value` must be one tensor, and goes with padding 'zeros' alone, received " +
           std::to_string(fill_value.size()) + (pads_with_zeros ? "" : " with another padding");
  }
  const PartialShape& pixel = fill_value[0];
  const bool fits =
      !pixel.has_rank() ||
      (pixel.rank() == 1 && (!data.has_rank() || CanBeEqual(pixel.size(0), data.size(-1))));
  if (fits) return "";
  return WrongShape("fill_value", "[channels]", pixel) + " for `data` of shape " + data.ToString();
}

// The same for the op's gradient.
inline std::string CheckResamplerGradShapes(const PointsInput& input, const PartialShape& data,
                                            const PartialShape& points,
                                            const PartialShape& grad_output) {
  std::string error = CheckResamplerShapes(input, data, points);
  if (!error.empty() || !grad_output.has_rank()) return error;
  bool fits = true;
  if (points.has_rank()) {
    fits = grad_output.rank() == points.rank();
    for (int d = 1; fits && d + 1 < points.rank(); ++d) {
      fits = CanBeEqual(grad_output.size(d), points.size(d));
    }
  }
  if (fits && data.has_rank()) {
    fits = grad_output.rank() >= 2 && CanBeEqual(grad_output.size(-1), data.size(-1));
    if (fits && points.has_rank()) {
      fits = CanBeEqual(grad_output.size(0), Broadcast(data.size(0), points.size(0)));
    }
  }
  if (fits) return "";
  return WrongShape("grad_output", "[batch, ..., channels]", grad_output) +
         " for `data` of shape " + data.ToString() + " and `" + input.name + "` of shape " +
         points.ToString();
}

// Whether a gradient's gradient, which is of shape [0] if there is none, fits.
inline bool IsOfShapeOrAbsent(const PartialShape& shape, const PartialShape& expected) {
  if (!shape.has_rank() || !expected.has_rank()) return true;
  if (shape.rank() == 1 && CanBeEqual(shape.size(0), 0)) return true;
  bool fits = shape.rank() == expected.rank();
  for (int d = 0; fits && d < shape.rank(); ++d) {
    fits = CanBeEqual(shape.size(d), expected.size(d));
  }
  return fits;
}

// Returns what is wrong with the gradients' gradients, or "".
inline std::string CheckResamplerDirections(const PointsInput& input, const PartialShape& data,
                                            const PartialShape& points,
                                            const PartialShape& grad_grad_data,
                                            const PartialShape& grad_grad_points) {
  const auto check = [](const std::string& name, const PartialShape& shape,
                        const PartialShape& gradient) -> std::string {
    if (IsOfShapeOrAbsent(gradient, shape)) return "";
    return WrongShape("grad_grad_" + name, "of `" + name + "`, " + shape.ToString() + ", or [0]",
                      gradient);
  };
  const std::string error = check("data", data, grad_grad_data);
  return error.empty() ? check(input.name, points, grad_grad_points) : error;
}

// Returns what is wrong with the shape of an argument that is a size, or "".
inline std::string CheckSizeShape(const std::string& argument, const PartialShape& size,
                                  int64_t sides) {
  if (!size.has_rank() || (size.rank() == 1 && CanBeEqual(size.size(0), sides))) return "";
  return WrongShape(
      argument, sides == PartialShape::kUnknown ? "[2] or [3]" : "[" + std::to_string(sides) + "]",
      size);
}

// Returns what is wrong with a size that is known, or "".
inline std::string CheckSize(const std::string& argument, const PartialShape& size) {
  for (int d = 0; d < size.rank(); ++d) {
    if (size.size(d) < 0) {
      return "`" + argument + "` must not be negative, received " + size.ToString();
    }
  }
  return "";
}

// Returns what is wrong with the inputs of an op whose points are the pixels of outputs, mapped by
// affine or projective matrices, or "".
// `output_size` is (height, width) or (depth, height, width) as a shape.
inline std::string CheckMatrixResamplerShapes(bool is_projective, const PartialShape& data,
                                              const PartialShape& matrix,
                                              const PartialShape& output_size) {
  std::string error = CheckData(data);
  if (!error.empty()) return error;
  const int64_t rank = SpatialRank(data);
  if (matrix.has_rank()) {
    const auto ends_in = [&](int64_t coordinates) {
      return CanBeEqual(rank, coordinates) &&
             CanBeEqual(matrix.size(-2), coordinates + (is_projective ? 1 : 0)) &&
             CanBeEqual(matrix.size(-1), coordinates + 1);
    };
    if (matrix.rank() < 3 || !(ends_in(2) || ends_in(3))) {
      const std::string of_images = is_projective ? "[batch, ..., 3, 3]" : "[batch, ..., 2, 3]";
      const std::string of_volumes = is_projective ? "[batch, ..., 4, 4]" : "[batch, ..., 3, 4]";
      return WrongShape("matrix",
                        rank == 2   ? of_images
                        : rank == 3 ? of_volumes
                                    : of_images + " or " + of_volumes,
                        matrix);
    }
  }
  if (!data.has_rank()) return "";
  error = CheckBatch(data, "matrix", matrix);
  if (!error.empty()) return error;
  bool has_points = output_size.has_rank() && data.size(0) > 0;
  for (int d = 0; d < output_size.rank(); ++d) has_points = has_points && output_size.size(d) > 0;
  for (int d = 0; d + 2 < matrix.rank(); ++d) has_points = has_points && matrix.size(d) != 0;
  return has_points ? CheckHasPixels(data, "the output has pixels",
                                     "received `data` of shape " + data.ToString() +
                                         " and an output of size " + output_size.ToString())
                    : "";
}

// The same for the op's gradient.
inline std::string CheckMatrixResamplerGradShapes(bool is_projective, const PartialShape& data,
                                                  const PartialShape& matrix,
                                                  const PartialShape& grad_output) {
  std::string error = CheckMatrixResamplerShapes(is_projective, data, matrix, PartialShape());
  if (!error.empty()) return error;
  if (!data.has_rank() || !grad_output.has_rank()) return "";
  const int rank = static_cast<int>(SpatialRank(data));
  bool fits = grad_output.rank() >= rank + 2 && CanBeEqual(grad_output.size(-1), data.size(-1));
  if (fits && matrix.has_rank()) {
    fits = grad_output.rank() == matrix.rank() + rank - 1 &&
           CanBeEqual(grad_output.size(0), Broadcast(data.size(0), matrix.size(0)));
    for (int d = 1; fits && d + 2 < matrix.rank(); ++d) {
      fits = CanBeEqual(grad_output.size(d), matrix.size(d));
    }
  }
  if (!fits) {
    return WrongShape("grad_output",
                      rank == 2 ? "[batch, ..., height, width, channels]"
                                : "[batch, ..., depth, height, width, channels]",
                      grad_output) +
           " for `data` of shape " + data.ToString() + " and `matrix` of shape " +
           matrix.ToString();
  }
  std::vector<int64_t> size;
  for (int d = -1 - rank; d < -1; ++d) size.push_back(grad_output.size(d));
  return CheckMatrixResamplerShapes(is_projective, data, matrix, PartialShape(size));
}

}  // namespace tf_stn

#endif  // TF_STN_CC_CORE_SHAPES_H_

"""What a map in normalised coordinates must know of the images between which it maps."""

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from tf_stn._grids import axes_to_normalised, axes_to_pixels, change_points
from tf_stn._sizes import Sides, in_order_of_coordinates


@dataclasses.dataclass(frozen=True)
class Frame:
    """The images between which a transformation maps.

    Attributes:
      rank: 2 for images, 3 for volumes.
      input_size: Sides of the input, integers or a tensor; None where the call did not say.
      output_size: The same of the output.
      spacing: Distances of pixels, in the order of the axes, `[rank]` or `[n, rank]`, if the call
        said them.
      align_corners: As in `tf_stn.affine_grid`.
      owner: The name of the class that was called, for errors.
    """

    rank: int
    input_size: Sides | None = None
    output_size: Sides | None = None
    spacing: tf.Tensor | None = None
    align_corners: bool = True
    owner: str = "the transformation"

    @property
    def known_input_size(self) -> Sides:
        """The sides of the input; a ValueError if the call did not say them."""
        if self.input_size is None:
            raise ValueError(
                f"`input_size` must be given: the map of {self.owner} depends on the sides of the "
                "input, received None"
            )
        return self.input_size

    @property
    def known_output_size(self) -> Sides:
        """The sides of the output; a ValueError if the call did not say them."""
        if self.output_size is None:
            raise ValueError("`input_size` or `output_size` must be given, received None")
        return self.output_size

    def span(self, dtype: tf.DType) -> tf.Tensor:
        """Returns how many pixels of the input there are from -1 to 1, along x, y[, z]; at least 1.

        Raises:
          ValueError: the call did not say the size of the input.
        """
        sides = tf.convert_to_tensor(in_order_of_coordinates(self.known_input_size, dtype))
        return tf.cast(tf.maximum(sides - 1 if self.align_corners else sides, 1), dtype)

    def distances(self, dtype: tf.DType, spacing: Sequence[float] | None = None) -> tf.Tensor:
        """Returns the distances of pixels along x, y[, z], `[rank]` or `[n, rank]`.

        Args:
          dtype: float32 or float64.
          spacing: What they are where the call did not say, in the order of the axes; default 1.
        """
        if self.spacing is not None:
            return tf.cast(self.spacing, dtype)[..., ::-1]
        return tf.constant((spacing or (1.0,) * self.rank)[::-1], dtype)

    def extent(self, dtype: tf.DType, spacing: Sequence[float] | None = None) -> tf.Tensor:
        """Returns how long it is from -1 to 1 along x, y[, z], in units of the spacing."""
        return self.span(dtype) * self.distances(dtype, spacing)

    def to_pixels(self, points: tf.Tensor) -> tf.Tensor:
        """Returns normalised points of the input in pixels."""
        maps = axes_to_pixels(self.known_input_size, self.align_corners, points.dtype)
        return change_points(maps, points)

    def to_normalised(self, pixels: tf.Tensor) -> tf.Tensor:
        """Returns points of the output, in pixels, normalised."""
        maps = axes_to_normalised(self.known_output_size, self.align_corners, pixels.dtype)
        return change_points(maps, pixels)

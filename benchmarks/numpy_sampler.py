"""Sampling in NumPy, for what must come out of every contestant: all modes, ranks and orders.

One image at a time, one neighbouring pixel at a time, all points at once, in float64. Weights are
polynomials of the distance to a pixel, so their derivatives are exact.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

Polynomial = np.polynomial.Polynomial

_A = -0.75  # Of Keys' cubic convolution.
_FROM_THE_OTHER_SIDE = Polynomial([1, -1])
_OUTER = Polynomial([0, _A, -2 * _A, _A])
_INNER = Polynomial([1, 0, -(_A + 3), _A + 2])

# The first pixel, counted from floor(x), and of each the weight, given x - floor(x).
_LINEAR = (0, [Polynomial([1, -1]), Polynomial([0, 1])])
_CUBIC = (-1, [_OUTER, _INNER, _INNER(_FROM_THE_OTHER_SIDE), _OUTER(_FROM_THE_OTHER_SIDE)])


def taps(x: np.ndarray, interpolation: str, order: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the index of each pixel that is read along an axis, and its weight.

    Args:
      x: Coordinates.
      interpolation: "nearest", "linear" or "cubic".
      order: Of the derivative of the weights.
    """
    if interpolation == "nearest":
        return [(np.rint(x).astype(np.int64), np.full(x.shape, float(order == 0)))]
    first, weights = {"linear": _LINEAR, "cubic": _CUBIC}[interpolation]
    left = np.floor(x)
    t = (x - left).astype(np.float64)
    left = left.astype(np.int64)
    return [(left + first + k, weight.deriv(order)(t)) for k, weight in enumerate(weights)]


def pad(index: np.ndarray, size: int, padding: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns which pixel is read for each index along an axis, and whether one is."""
    if padding == "zeros":
        return np.clip(index, 0, size - 1), (index >= 0) & (index < size)
    if padding == "border":
        found = np.clip(index, 0, size - 1)
    elif padding == "reflect":
        found = (size - 1) - np.abs((size - 1) - index % max(2 * size - 2, 1))
    elif padding == "symmetric":
        place = index % (2 * size)
        found = np.minimum(place, 2 * size - 1 - place)
    else:
        found = {"wrap": index % size}[padding]
    return found, np.full(index.shape, True)


class Sampler:
    """Samples `data` at `warp`; orders of derivatives are along x, y[, z]."""

    def __init__(
        self,
        data: np.ndarray,
        warp: np.ndarray,
        interpolation: str = "linear",
        padding: str = "zeros",
    ) -> None:
        self._data, self._warp = data, warp
        self._interpolation, self._padding = interpolation, padding
        self._rank = warp.shape[-1]
        self._directions = np.eye(self._rank, dtype=int)

    def sample(
        self, data: np.ndarray | None = None, orders: Sequence[int] | None = None
    ) -> np.ndarray:
        """Returns samples of `data`, or of other images instead."""
        data = self._data if data is None else data
        samples = np.zeros([*self._warp.shape[:-1], data.shape[-1]])
        for image, points, output in zip(data, self._warp, samples):
            pixels = image.reshape(-1, image.shape[-1])
            for pixel, (weight,) in self._stencil(points, [orders]):
                output += weight[..., None] * pixels[pixel]
        return samples

    def scatter(self, values: np.ndarray, orders: Sequence[int] | None = None) -> np.ndarray:
        """Returns `values` of the points, added to the pixels by their weights."""
        images = np.zeros(self._data.shape)
        channels = images.shape[-1]
        for image, points, value in zip(images, self._warp, values):
            for pixel, (weight,) in self._stencil(points, [orders]):
                elements = pixel[..., None] * channels + np.arange(channels)
                added = (weight[..., None] * value).ravel()
                image += np.bincount(elements.ravel(), added, image.size).reshape(image.shape)
        return images

    def gradients(self, grad_output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns those of <grad_output, samples> in the images and in the points."""
        return self.scatter(grad_output), self._grad_warp(self._data, grad_output)

    def second_order(
        self, grad_output: np.ndarray, along_data: np.ndarray, along_warp: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the gradients of <along_data, grad_data> + <along_warp, grad_warp>.

        They are in the images, in the points and in `grad_output`.
        """
        grad_data = np.zeros(self._data.shape)
        grad_warp = self._grad_warp(along_data, grad_output)
        grad_grad_output = self.sample(along_data)
        for coordinate, direction in enumerate(self._directions):
            along = along_warp[..., coordinate, None]
            grad_data += self.scatter(along * grad_output, direction)
            grad_warp += along * self._grad_warp(self._data, grad_output, direction)
            grad_grad_output += along * self.sample(None, direction)
        return grad_data, grad_warp, grad_grad_output

    def _grad_warp(
        self, data: np.ndarray, grad_output: np.ndarray, orders: Sequence[int] = 0
    ) -> np.ndarray:
        gradients = np.zeros(self._warp.shape)
        for image, points, value, gradient in zip(data, self._warp, grad_output, gradients):
            pixels = image.reshape(-1, image.shape[-1])
            for pixel, slopes in self._stencil(points, orders + self._directions):
                along = np.einsum("...c,...c->...", pixels[pixel], value, dtype=np.float64)
                for coordinate, slope in enumerate(slopes):
                    gradient[..., coordinate] += slope * along
        return gradients

    def _stencil(
        self, points: np.ndarray, all_orders: Sequence[Sequence[int] | None]
    ) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
        """Yields the pixels that the points of an image read, and their weights in all orders."""
        size = self._data.shape[1:-1]
        last = self._rank - 1
        axes = []  # Of each the index of each tap, and its weights in all orders.
        for axis in range(self._rank):
            orders = [0 if o is None else int(o[last - axis]) for o in all_orders]
            found = [taps(points[..., last - axis], self._interpolation, o) for o in orders]
            axes.append([(those[0][0], [weight for _, weight in those]) for those in zip(*found)])
        for combination in itertools.product(*axes):
            pixel, weights = 0, [1.0] * len(all_orders)
            for side, (index, factors) in zip(size, combination):
                found, is_inside = pad(index, side, self._padding)
                pixel = pixel * side + found
                weights = [w * factor * is_inside for w, factor in zip(weights, factors)]
            yield pixel, weights

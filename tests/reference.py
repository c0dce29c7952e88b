"""The specification in NumPy: slow, independent of the package, for images of any rank.

Everything runs in float64, one point and one pixel at a time. An image is
`[size_0, ..., size_r, channels]`, a point is `(x, y[, z])` with `x` along the last spatial axis.
"""

import itertools
import math

import numpy as np

OUTSIDE = None  # An index that reads as zero.


def linear(x):
    """Returns (index, weight, slope) of each of the pixels that `x` reads along one axis."""
    if math.isnan(x):
        return [(0, math.nan, math.nan), (1, math.nan, math.nan)]
    left = math.floor(min(max(x, -1e15), 1e15))
    fraction = 0.0 if abs(x) > 1e15 else x - left
    return [(left, 1 - fraction, -1.0), (left + 1, fraction, 1.0)]


def nearest(x):
    """As `linear`, for the nearest pixel; of two, the one of even index."""
    if math.isnan(x):
        return [(0, math.nan, math.nan)]
    return [(round(min(max(x, -1e15), 1e15)), 1.0, 0.0)]


def cubic(x):
    """As `linear`, for the four pixels of Keys' cubic convolution with a = -0.75."""
    if math.isnan(x):
        return [(index, math.nan, math.nan) for index in range(4)]
    x, a, taps = min(max(x, -1e15), 1e15), -0.75, []
    for index in range(math.floor(x) - 1, math.floor(x) + 3):
        d = abs(x - index)
        if d <= 1:
            weight, slope = ((a + 2) * d - (a + 3)) * d * d + 1, (3 * (a + 2) * d - 2 * (a + 3)) * d
        else:
            weight = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
            slope = (3 * a * d - 10 * a) * d + 8 * a
        taps.append((index, weight, slope if x > index else -slope))
    return taps


def zeros(index, size):
    """Returns where `index` reads along an axis of `size` pixels."""
    return index if 0 <= index < size else OUTSIDE


def border(index, size):
    """As `zeros`, but reads the outermost pixel outside."""
    return min(max(index, 0), size - 1)


def mirrored(index, size, period):
    index = min(max(index, -(2**30)), 2**30) % period
    return index if index < size else period - index - (period == 2 * size)


def reflect(index, size):
    """As `zeros`, but mirrors the image about its outermost pixels."""
    return mirrored(index, size, 2 * size - 2) if size > 1 else 0


def symmetric(index, size):
    """As `zeros`, but mirrors the image about its edges."""
    return mirrored(index, size, 2 * size)


def wrap(index, size):
    """As `zeros`, but repeats the image."""
    return mirrored(index, size, size)


INTERPOLATIONS = {"nearest": nearest, "linear": linear, "cubic": cubic}
PADDINGS = {
    "zeros": zeros,
    "border": border,
    "reflect": reflect,
    "symmetric": symmetric,
    "wrap": wrap,
}


def stencil(spatial_shape, point, interpolation, padding):
    """Yields (pixel, weight, slopes) of every pixel that `point` reads.

    `pixel` is an index tuple, or None outside the image; `slopes` are the derivatives of `weight`
    in the order of `point`.
    """
    rank = len(spatial_shape)
    taps = [INTERPOLATIONS[interpolation](float(point[rank - 1 - axis])) for axis in range(rank)]
    for combination in itertools.product(*taps):
        pixel = tuple(
            PADDINGS[padding](index, size)
            for (index, _, _), size in zip(combination, spatial_shape)
        )
        weights = [weight for _, weight, _ in combination]
        slopes = []
        for coordinate in range(rank):
            factors = list(weights)
            factors[rank - 1 - coordinate] = combination[rank - 1 - coordinate][2]
            slopes.append(math.prod(factors))
        yield (None if OUTSIDE in pixel else pixel), math.prod(weights), slopes


def resample(data, warp, interpolation="linear", padding="zeros"):
    """Returns the samples of `data`, `[batch, ..., channels]`, at `warp`, `[batch, ..., rank]`."""
    data, warp = np.asarray(data, np.float64), np.asarray(warp, np.float64)
    output = np.zeros([*warp.shape[:-1], data.shape[-1]])
    for where in np.ndindex(*warp.shape[:-1]):
        image = data[where[0]]
        for pixel, weight, _ in stencil(image.shape[:-1], warp[where], interpolation, padding):
            if weight != 0:
                output[where] += weight * (0.0 if pixel is None else image[pixel])
    return output


def resample_gradients(data, warp, grad_output, interpolation="linear", padding="zeros"):
    """Returns the gradients in `data` and in `warp`."""
    data, warp = np.asarray(data, np.float64), np.asarray(warp, np.float64)
    grad_output = np.asarray(grad_output, np.float64)
    grad_data, grad_warp = np.zeros(data.shape), np.zeros(warp.shape)
    for where in np.ndindex(*warp.shape[:-1]):
        image = data[where[0]]
        taps = stencil(image.shape[:-1], warp[where], interpolation, padding)
        for pixel, weight, slopes in taps:
            value = np.zeros(data.shape[-1]) if pixel is None else image[pixel]
            for d, slope in enumerate(slopes):
                if slope != 0:
                    grad_warp[where][d] += slope * np.sum(value * grad_output[where])
            if pixel is not None and weight != 0 and not math.isnan(weight):
                grad_data[where[0]][pixel] += weight * grad_output[where]
    return grad_data, grad_warp


def normalise(pixel, size, align_corners):
    """Returns the normalised coordinate of pixel `pixel` of `size`."""
    if align_corners:
        return 0.0 if size == 1 else 2 * pixel / (size - 1) - 1
    return (2 * pixel + 1) / size - 1


def denormalise(coordinate, size, align_corners):
    """Returns the pixel at a normalised coordinate."""
    if align_corners:
        return (coordinate + 1) * (size - 1) / 2
    return ((coordinate + 1) * size - 1) / 2


def affine_grid(theta, output_size, input_size, align_corners=True):
    """Returns the warp of an affine transformation, `[batch, height, width, 2]`."""
    theta = np.asarray(theta, np.float64).reshape(-1, 2, 3)
    (height, width), (input_height, input_width) = output_size, input_size
    warp = np.zeros([len(theta), height, width, 2])
    for n, i, j in np.ndindex(len(theta), height, width):
        target = [normalise(j, width, align_corners), normalise(i, height, align_corners), 1.0]
        x, y = theta[n] @ target
        warp[n, i, j, 0] = denormalise(x, input_width, align_corners)
        warp[n, i, j, 1] = denormalise(y, input_height, align_corners)
    return warp

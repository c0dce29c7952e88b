"""The specification in NumPy: slow, independent of the package, for images of any rank.

Everything runs in float64, one point and one pixel at a time. An image is
`[size_0, ..., size_r, channels]`, a point is `(x, y[, z])` with `x` along the last spatial axis.
The weight of a pixel is the product of its weights along the axes; a derivative of order
`(m, n[, k])` in `(x, y[, z])` is the same with each factor differentiated as often.
"""

import itertools
import math

import numpy as np

OUTSIDE = None  # An index that reads what lies outside the image.
FAR = 2**30  # Where indices that are too far out are pulled in, before an image is repeated.


def whole_and_fraction(x):
    """Returns `floor(x)` and the rest; coordinates too large to have one are outside anyway."""
    if abs(x) > 1e15:
        return int(math.copysign(1e15, x)), 0.0
    return math.floor(x), x - math.floor(x)


def nearest(x, order):
    """Returns (index, derivative of the weight) of each of the pixels that `x` reads."""
    if math.isnan(x):
        return [(0, math.nan)]
    whole, fraction = whole_and_fraction(x)
    # round() takes the even one of two.
    return [(round(x) if fraction else whole, 1.0 if order == 0 else 0.0)]


def linear(x, order):
    """The same for the two pixels around `x`."""
    if math.isnan(x):
        return [(0, math.nan), (1, math.nan)]
    left, fraction = whole_and_fraction(x)
    weights = {0: (1 - fraction, fraction), 1: (-1.0, 1.0)}.get(order, (0.0, 0.0))
    return [(left, weights[0]), (left + 1, weights[1])]


# The kernel of R. Keys with a = -0.75, by the distance from a pixel: below 1, and from 1 to 2.
A = -0.75
KEYS_NEAR = np.poly1d([A + 2, -(A + 3), 0, 1])
KEYS_FAR = np.poly1d([A, -5 * A, 8 * A, -4 * A])


def cubic(x, order):
    """The same for the four pixels around `x`. On a pixel centre, the right-hand derivative."""
    if math.isnan(x):
        return [(step, math.nan) for step in range(-1, 3)]
    left, fraction = whole_and_fraction(x)
    taps = []
    for step, kernel in zip(range(-1, 3), (KEYS_FAR, KEYS_NEAR, KEYS_NEAR, KEYS_FAR)):
        derivative = np.polyder(kernel, order)(abs(fraction - step))
        # The distance falls as x approaches a pixel to the right of it.
        taps.append((left + step, float(derivative * (-1 if step > 0 else 1) ** order)))
    return taps


def zeros(index, size):
    """Returns where `index` reads along an axis of `size` pixels."""
    return index if 0 <= index < size else OUTSIDE


def border(index, size):
    """The same: the nearest pixel."""
    return min(max(index, 0), size - 1)


def repeat(period, index):
    """Returns element `index` of a list that is repeated without end in both directions."""
    return period[min(max(index, -FAR), FAR) % len(period)]


def reflect(index, size):
    """The same: mirrored about the centre of the outermost pixel."""
    return repeat([*range(size), *range(size - 2, 0, -1)], index)


def symmetric(index, size):
    """The same: mirrored about the edge of the outermost pixel."""
    return repeat([*range(size), *range(size - 1, -1, -1)], index)


def wrap(index, size):
    """The same: side by side."""
    return repeat([*range(size)], index)


INTERPOLATIONS = {"nearest": nearest, "linear": linear, "cubic": cubic}
PADDINGS = {
    "zeros": zeros,
    "border": border,
    "reflect": reflect,
    "symmetric": symmetric,
    "wrap": wrap,
}


class Sampler:
    """A batch of images and points, one of which may have a batch of 1, and how to sample them."""

    def __init__(self, data, warp, interpolation, padding, fill_value=0.0):
        self.data, self.warp = np.asarray(data, np.float64), np.asarray(warp, np.float64)
        self.interpolation, self.padding = INTERPOLATIONS[interpolation], PADDINGS[padding]
        self.rank, self.channels = self.data.ndim - 2, self.data.shape[-1]
        self.fill = np.broadcast_to(np.asarray(fill_value, np.float64), [self.channels])
        batches = {len(self.data), len(self.warp)}
        batch = (batches - {1} or {1}).pop()
        self.points = [batch, *self.warp.shape[1:-1]]

    def __iter__(self):
        """Yields where a point is in the output, in the warp, and the number of its image."""
        for where in np.ndindex(*self.points):
            in_warp = (0, *where[1:]) if len(self.warp) == 1 else where
            yield where, in_warp, 0 if len(self.data) == 1 else where[0]

    def taps(self, x, order, size):
        """Returns {index: weight} along an axis; taps on one pixel count as one."""
        taps = {}
        for index, weight in self.interpolation(x, order):
            place = self.padding(index, size)
            # What is outside is no pixel: each tap stays by itself.
            key = (OUTSIDE, index) if place == OUTSIDE else (place, 0)
            taps[key] = taps.get(key, 0.0) + weight
        if len(taps) == 1 and place != OUTSIDE and not math.isnan(x):
            taps[key] = float(order == 0)  # The sum of all weights, without rounding.
        return [(place, weight) for (place, _), weight in taps.items()]

    def stencil(self, point, orders):
        """Yields (pixel, weight) of what `point` reads; `pixel` is None outside the image."""
        taps = [
            self.taps(float(point[self.rank - 1 - axis]), orders[self.rank - 1 - axis], size)
            for axis, size in enumerate(self.data.shape[1:-1])
        ]
        for combination in itertools.product(*taps):
            pixel = tuple(index for index, _ in combination)
            weight = math.prod(weight for _, weight in combination)
            yield (None if OUTSIDE in pixel else pixel), weight

    def sample(self, image, point, orders, fill=None):
        """Returns the sum of pixels times weights, over all with a weight."""
        total = np.zeros(self.channels)
        for pixel, weight in self.stencil(point, orders):
            if weight != 0:
                value = (self.fill if fill is None else fill) if pixel is None else image[pixel]
                total += weight * value
        return total

    def scatter(self, grad_image, grad_outside, point, orders, value):
        """Adds weights times `value` to pixels; a NaN coordinate adds nothing."""
        for pixel, weight in self.stencil(point, orders):
            if weight != 0 and not math.isnan(weight):
                target = grad_outside if pixel is None else grad_image[pixel]
                target += weight * value

    def axes(self):
        """Returns the order of the first derivative along each coordinate."""
        return [tuple(int(a == b) for b in range(self.rank)) for a in range(self.rank)]


def add(orders, more):
    return tuple(a + b for a, b in zip(orders, more))


def resample(data, warp, interpolation="linear", padding="zeros", derivative=None, fill_value=0.0):
    """Returns the samples of `data`, `[batch, ..., channels]`, at `warp`, `[batch, ..., rank]`."""
    sampler = Sampler(data, warp, interpolation, padding, fill_value)
    orders = derivative or (0,) * sampler.rank
    output = np.zeros([*sampler.points, sampler.channels])
    for where, in_warp, n in sampler:
        output[where] = sampler.sample(sampler.data[n], sampler.warp[in_warp], orders)
    return output


def all_gradients(
    data,
    warp,
    grad_output,
    interpolation="linear",
    padding="zeros",
    derivative=None,
    fill_value=0.0,
):
    """Returns the gradients of `resample` in `data`, in `warp` and in what lies outside."""
    sampler = Sampler(data, warp, interpolation, padding, fill_value)
    orders = derivative or (0,) * sampler.rank
    grad_output = np.asarray(grad_output, np.float64)
    grad_data, grad_warp = np.zeros(sampler.data.shape), np.zeros(sampler.warp.shape)
    grad_fill = np.zeros(sampler.channels)
    for where, in_warp, n in sampler:
        point = sampler.warp[in_warp]
        sampler.scatter(grad_data[n], grad_fill, point, orders, grad_output[where])
        for d, axis in enumerate(sampler.axes()):
            slope = sampler.sample(sampler.data[n], point, add(orders, axis))
            grad_warp[in_warp][d] += np.sum(slope * grad_output[where])
    return grad_data, grad_warp, grad_fill


def resample_gradients(*arguments, **options):
    """Returns the gradients in `data` and in `warp`."""
    return all_gradients(*arguments, **options)[:2]


def second_order(
    data,
    warp,
    grad_output,
    grad_grad_data,
    grad_grad_warp,
    interpolation="linear",
    padding="zeros",
    derivative=None,
    fill_value=0.0,
):
    """Returns the gradients of `<grad_grad_data, grad_data> + <grad_grad_warp, grad_warp>`.

    They are those in `data`, `warp`, `grad_output` and what lies outside, written out: a direction
    of a point is a sum of derivatives along the axes.
    """
    sampler = Sampler(data, warp, interpolation, padding, fill_value)
    orders = derivative or (0,) * sampler.rank
    grad_output, grad_grad_data, grad_grad_warp = (
        np.asarray(x, np.float64) for x in (grad_output, grad_grad_data, grad_grad_warp)
    )
    of_data, of_warp = np.zeros(sampler.data.shape), np.zeros(sampler.warp.shape)
    of_output, of_fill = np.zeros(grad_output.shape), np.zeros(sampler.channels)
    nothing = np.zeros(sampler.channels)
    for where, in_warp, n in sampler:
        point, value = sampler.warp[in_warp], grad_output[where]
        image, direction_of_image = sampler.data[n], grad_grad_data[n]
        of_output[where] += sampler.sample(direction_of_image, point, orders, nothing)
        for a, axis in enumerate(sampler.axes()):
            along = add(orders, axis)
            step = grad_grad_warp[in_warp][a]
            of_output[where] += step * sampler.sample(image, point, along)
            sampler.scatter(of_data[n], of_fill, point, along, step * value)
            slope = sampler.sample(direction_of_image, point, along, nothing)
            for b, other in enumerate(sampler.axes()):
                slope += grad_grad_warp[in_warp][b] * sampler.sample(
                    image, point, add(along, other)
                )
            of_warp[in_warp][a] += np.sum(slope * value)
    return of_data, of_warp, of_output, of_fill


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
    """Returns the warp of affine transformations, `[batch, ..., *output_size, rank]`.

    `theta` is `[batch, ..., rank, rank + 1]`, or `[batch, rank * (rank + 1)]`; sizes begin with
    the slowest axis.
    """
    rank, theta = len(output_size), np.asarray(theta, np.float64)
    theta = theta.reshape(*(theta.shape[:1] if theta.ndim == 2 else theta.shape[:-2]), rank, -1)
    warp = np.zeros([*theta.shape[:-2], *output_size, rank])
    for which in np.ndindex(*theta.shape[:-2]):
        for pixel in np.ndindex(*output_size):
            target = [
                normalise(p, size, align_corners) for p, size in zip(pixel[::-1], output_size[::-1])
            ]
            for d, coordinate in enumerate(theta[which] @ [*target, 1.0]):
                size = input_size[rank - 1 - d]
                warp[(*which, *pixel, d)] = denormalise(coordinate, size, align_corners)
    return warp

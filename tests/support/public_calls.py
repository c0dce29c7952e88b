"""Calls of public functions that every mode of TensorFlow must run alike."""

import numpy as np
import tensorflow as tf

import tf_stn
from tf_stn import transformations as T  # noqa: N812

IMAGES = np.random.default_rng(0).random([2, 7, 9, 3], np.float32)
THETA = np.array([[0.9, 0.1, 0.0, -0.1, 0.9, 0.2], [1.1, 0.0, 0.3, 0.2, 0.8, 0.0]], np.float32)
MATRIX = np.random.default_rng(1).normal(np.eye(3), 0.1, [2, 3, 3]).astype(np.float32)
WARP = np.random.default_rng(2).uniform(-1, 8, [2, 5, 2]).astype(np.float32)
FIELD = np.random.default_rng(3).normal(size=[2, 7, 9, 2]).astype(np.float32)
SIDES = np.array([[4, 5]], np.int32)
WORLD = np.diag([2.0, 3.0, 1.0, 1.0])

HOMOGRAPHY = MATRIX.reshape(2, 9)[:, :8]
ANGLES = np.array([[0.3, 0.1, -0.2], [-0.5, 0.0, 0.4]], np.float32)
POINTS = np.random.default_rng(4).uniform(-0.9, 0.9, [2, 5, 2]).astype(np.float32)
RIGID = T.Rigid(spacing=(2.0, 1.0))
BOUNDED = T.Bounded(RIGID, 0.4)
SPLINE, B_SPLINE = T.ThinPlateSpline((2, 3)), T.BSpline((4, 5))
PLACES = (
    np.random.default_rng(5).normal(SPLINE.identity_parameters, 0.1, [2, 12]).astype(np.float32)
)
CONTROL = np.random.default_rng(6).normal(size=[2, 40], scale=0.1).astype(np.float32)

# The function, and its arguments: arrays become tensors, of a kind that the test chooses.
CALLS = {
    "resampler": (lambda d, w: tf_stn.resampler(d, w, interpolation="cubic"), IMAGES, WARP),
    "resampler, all named": (lambda d, w: tf_stn.resampler(data=d, warp=w), IMAGES, WARP),
    "affine_resampler": (tf_stn.affine_resampler, IMAGES, THETA),
    "affine_resampler, NumPy sizes and fill": (
        lambda d, t: tf_stn.affine_resampler(
            d, t, (np.int64(4), np.int64(5)), fill_value=np.float32(0.5)
        ),
        IMAGES,
        THETA,
    ),
    "affine_resampler, a list to fill": (
        lambda d, t: tf_stn.affine_resampler(d, t, fill_value=[0.1, 0.2, 0.3]),
        IMAGES,
        THETA,
    ),
    "affine_resampler, a constant theta": (
        lambda d: tf_stn.affine_resampler(d, THETA[:1].astype(np.float64)),
        IMAGES,
    ),
    "affine_resampler, a constant tensor": (
        lambda d: tf_stn.affine_resampler(d, tf.constant(THETA[:1])),
        IMAGES,
    ),
    "affine_resampler, a constant image": (
        lambda t: tf_stn.affine_resampler(tf.constant(IMAGES[:1]), t),
        THETA,
    ),
    "affine_resampler of a product": (
        lambda d, t: tf_stn.affine_resampler(0.5 * d, t),
        IMAGES,
        THETA,
    ),
    "affine_resampler in pixels": (
        lambda d, t: tf_stn.affine_resampler(d, t, units="pixels"),
        IMAGES,
        THETA,
    ),
    "projective_resampler": (tf_stn.projective_resampler, IMAGES, MATRIX),
    "displacement_resampler": (tf_stn.displacement_resampler, IMAGES, FIELD),
    "affine_grid of images' sizes": (lambda t, d: tf_stn.affine_grid(t, d, d), THETA, IMAGES),
    "a grid, then the sampler": (
        lambda d, t: tf_stn.resampler(d, tf_stn.affine_grid(t, (4, 5), (7, 9))),
        IMAGES,
        THETA,
    ),
    "identity_grid": (lambda d, w: tf_stn.identity_grid(d) + w, IMAGES, FIELD),
    "to_normalised": (lambda m: tf_stn.matrices.to_normalised(m, (4, 5), (7, 9)), MATRIX),
    "to_pixels": (lambda m: tf_stn.matrices.to_pixels(m, (4, 5), (7, 9)), MATRIX),
    "inverse": (tf_stn.matrices.inverse, MATRIX),
    "compose": (lambda m: tf_stn.matrices.compose(m, m), MATRIX),
    "fields.compose": (tf_stn.fields.compose, FIELD, FIELD[::-1]),
    "fields.compose with a constant matrix": (
        lambda u: tf_stn.fields.compose([[[0.9, 0.0, 1.0], [0.0, 1.1, 0.0]]], u),
        FIELD,
    ),
    "fields.exponential": (lambda v: tf_stn.fields.exponential(v, steps=3), FIELD),
    "fields.inverse": (lambda u: tf_stn.fields.inverse(0.2 * u), FIELD),
    "fields.jacobian_determinant": (tf_stn.fields.jacobian_determinant, FIELD),
    "fields.resize": (lambda u: tf_stn.fields.resize(u, (4, 5)), FIELD),
    "fields.resize to an image": (tf_stn.fields.resize, FIELD, IMAGES[:, :4]),
    "fields.map_points": (tf_stn.fields.map_points, FIELD, WARP),
    "fields.b_spline": (lambda c: tf_stn.fields.b_spline(c, (12, 11)), FIELD),
    "fields.thin_plate_spline": (
        lambda a, b: tf_stn.fields.thin_plate_spline(a, b, (7, 9)),
        WARP,
        WARP[::-1],
    ),
    "fields.from_warp": (tf_stn.fields.from_warp, FIELD),
    "fields.to_warp": (tf_stn.fields.to_warp, FIELD),
    "from_world": (
        lambda w: tf_stn.matrices.from_world(WORLD, 2 * WORLD, w),
        np.eye(4, dtype=np.float32)[None] + 0.1,
    ),
    "Bounded.matrix": (lambda p: BOUNDED.matrix(p, (7, 9)), ANGLES),
    "Rigid.matrix of an image": (RIGID.matrix, ANGLES, IMAGES),
    "Projective.warp": (lambda p: T.Projective().warp(p, (4, 5), (7, 9)), HOMOGRAPHY),
    "ThinPlateSpline.warp": (lambda p: SPLINE.warp(p, (4, 5), (7, 9)), PLACES),
    "BSpline.warp": (lambda p: B_SPLINE.warp(p, (4, 5), (7, 9)), CONTROL),
    "BSpline.map_points": (lambda p, x: B_SPLINE.map_points(p, x), CONTROL, POINTS),
    "DenseDisplacement.warp": (lambda u: T.DenseDisplacement().warp(u, (4, 5), (7, 9)), FIELD),
    "VelocityField.map_points": (
        lambda u, x: T.VelocityField(steps=3).map_points(u, x, (7, 9)),
        FIELD,
        POINTS,
    ),
    "Rigid.compose": (lambda p: RIGID.compose(p, p, (7, 9)), ANGLES),
    "Rigid.inverse": (lambda p, d: RIGID.inverse(p, d), ANGLES, IMAGES),
}

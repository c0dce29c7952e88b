"""Every public name, called with what does not fit: the error names what is wrong.

For each the argument, what was expected and what was received, eagerly and in graphs alike. What
each does with arguments of its own is in the tests of its own.
"""

import numpy as np
import pytest
import tensorflow as tf

import tf_stn
from tf_stn import callbacks, fields, layers, matrices, metrics, onnx, regularizers, visualize
from tf_stn import transformations as t
from tf_stn._keras import keras

IMAGES = np.zeros([2, 5, 6, 3], np.float32)
VOLUMES = np.zeros([2, 4, 5, 6, 1], np.float32)
WARP = np.zeros([2, 4, 2], np.float32)
FIELD = np.zeros([2, 5, 6, 2], np.float32)
THETA = np.tile(np.eye(2, 3, dtype=np.float32), [2, 1, 1])
SQUARE = np.tile(np.eye(3, dtype=np.float32), [2, 1, 1])
POINTS = np.random.default_rng(0).uniform(0, 4, [2, 5, 2]).astype(np.float32)
RAGGED = tf.ragged.constant([[[1.0], [1.0, 2.0]]])
UNEQUAL = [[1.0, 2.0], [3.0]]
COMPLEX = tf.zeros([2, 5, 6, 3], tf.complex64)
TEXT = "abc"


def net():
    return keras.layers.Flatten()


def sampler(function, *others):
    """What is wrong with images and modes, for every function that samples."""
    call = lambda images=IMAGES, **named: function(images, *others, **named)  # noqa: E731
    return {
        "data: none": (lambda: call(None), "data"),
        "data: text": (lambda: call(TEXT), "data"),
        "data: ragged": (lambda: call(RAGGED), "data"),
        "data: unequal rows": (lambda: call(UNEQUAL), "data"),
        "data: complex": (lambda: call(COMPLEX), "data"),
        "data: labels, blended": (lambda: call(IMAGES.astype(np.int32)), "data"),
        "data: no batch": (lambda: call(IMAGES[0]), "data"),
        "interpolation: unknown": (lambda: call(interpolation="bilinear"), "interpolation"),
        "interpolation: none": (lambda: call(interpolation=None), "interpolation"),
        "padding: unknown": (lambda: call(padding="replicate"), "padding"),
        "padding: number": (lambda: call(padding=0), "padding"),
        "fill_value: text": (lambda: call(fill_value="white"), "fill_value"),
        "fill_value: none": (lambda: call(fill_value=None), "fill_value"),
        "fill_value: too many": (lambda: call(fill_value=[1.0, 2.0]), "fill_value"),
        "fill_value: with border": (lambda: call(padding="border", fill_value=1.0), "fill_value"),
    }


def sized(call, argument):
    """What is wrong with a size."""
    return {
        f"{argument}: a number": (lambda: call(7), argument),
        f"{argument}: three": (lambda: call((2, 3, 4)), argument),
        f"{argument}: zero": (lambda: call((0, 3)), argument),
        f"{argument}: negative": (lambda: call((-2, 3)), argument),
        f"{argument}: fractions": (lambda: call((2.5, 3.0)), argument),
        f"{argument}: text": (lambda: call("ab"), argument),
        f"{argument}: none inside": (lambda: call((None, 3)), argument),
    }


def numbers(call, argument):
    """What is wrong with what should be numbers."""
    return {
        f"{argument}: none": (lambda: call(None), argument),
        f"{argument}: text": (lambda: call(TEXT), argument),
        f"{argument}: ragged": (lambda: call(RAGGED), argument),
        f"{argument}: unequal rows": (lambda: call(UNEQUAL), argument),
        f"{argument}: complex": (lambda: call(COMPLEX), argument),
    }


def a_field(call, argument):
    return numbers(call, argument) | {
        f"{argument}: no batch": (lambda: call(FIELD[0]), argument),
        f"{argument}: three channels": (lambda: call(IMAGES), argument),
    }


def parameters_of(transformation, count):
    """What is wrong with parameters, for every method of a transformation."""
    methods = {
        "warp": lambda p: transformation.warp(p, (5, 6), (5, 6)),
        "map_points": lambda p: transformation.map_points(p, [[0.0, 0.0]], (5, 6)),
    }
    if transformation.kind in ("affine", "projective"):
        methods["matrix"] = lambda p: transformation.matrix(p, (5, 6))
    wrong = {
        "too many": np.zeros([2, count + 1]),
        "too few": np.zeros([2, count - 1]),
        "no batch": np.zeros([count]),
        "none": None,
        "text": TEXT,
        "ragged": RAGGED,
        "unequal rows": UNEQUAL,
        "complex": tf.zeros([2, count], tf.complex64),
    }
    return {
        f"{method}, parameters: {name}": (lambda call=call, p=p: call(p), "parameters")
        for method, call in methods.items()
        for name, p in wrong.items()
    }


def ranked(cls, *arguments):
    return {
        f"rank: {rank!r}": (lambda rank=rank: cls(*arguments, rank=rank), "rank")
        for rank in (1, 4, 2.5, "2", None, True)
    }


def factors(cls):
    return {
        f"factor: {factor!r}": (lambda factor=factor: cls(factor), "factor")
        for factor in (-1, "1", None, np.nan, np.inf, [1.0])
    }


def sampling_layer(make):
    """What is wrong with the arguments of a layer that samples."""
    return {
        "interpolation: unknown": (lambda: make(interpolation="bicubic"), "interpolation"),
        "padding: unknown": (lambda: make(padding="constant"), "padding"),
        "fill_value: text": (lambda: make(fill_value="white"), "fill_value"),
        "fill_value: none": (lambda: make(fill_value=None), "fill_value"),
        "fill_value: table": (lambda: make(fill_value=[[0.0]]), "fill_value"),
        "fill_value: with border": (lambda: make(padding="border", fill_value=1.0), "fill_value"),
    }


def exported(model=tf.identity, path="never_written.onnx", **named):
    return onnx.export(model, path, **named)


def transforming_layer(make):
    return sampling_layer(make) | {
        "transformation: unknown": (lambda: make("homography"), "transformation"),
        "transformation: number": (lambda: make(3), "transformation"),
        "transformation: none": (lambda: make(None), "transformation"),
        "output_size: a number": (lambda: make(output_size=7), "output_size"),
        "output_size: zero": (lambda: make(output_size=(0, 2)), "output_size"),
        "output_size: four": (lambda: make(output_size=(1, 2, 3, 4)), "output_size"),
        "align_corners: text": (lambda: make(align_corners="no"), "align_corners"),
        "regularizer: number": (lambda: make(regularizer=0.1), "regularizer"),
        "regularizer: unknown": (lambda: make(regularizer="smooth"), "regularizer"),
    }


def drawn(**options):
    return visualize.draw_warp(IMAGES, np.zeros([2, 3, 3, 2]), **options)


def with_theta(theta):
    return tf_stn.affine_resampler(IMAGES, theta)


CASES = {
    # Functions.
    "resampler": sampler(tf_stn.resampler, WARP)
    | numbers(lambda w: tf_stn.resampler(IMAGES, w), "warp")
    | {"warp: three coordinates": (lambda: tf_stn.resampler(IMAGES, WARP[..., :1]), "warp")},
    "affine_resampler": sampler(tf_stn.affine_resampler, THETA)
    | numbers(with_theta, "theta")
    | sized(lambda s: tf_stn.affine_resampler(IMAGES, THETA, s), "output_size")
    | {
        "theta: five": (lambda: with_theta(np.zeros([2, 5])), "theta"),
        "theta: of volumes": (lambda: with_theta(np.zeros([2, 3, 4])), "theta"),
        "units: unknown": (
            lambda: tf_stn.affine_resampler(IMAGES, THETA, units="normalized"),
            "units",
        ),
    },
    "projective_resampler": sampler(tf_stn.projective_resampler, SQUARE)
    | numbers(lambda m: tf_stn.projective_resampler(IMAGES, m), "matrix")
    | sized(lambda s: tf_stn.projective_resampler(IMAGES, SQUARE, s), "output_size")
    | {"matrix: affine": (lambda: tf_stn.projective_resampler(IMAGES, THETA), "matrix")},
    "displacement_resampler": sampler(tf_stn.displacement_resampler, FIELD)
    | a_field(lambda u: tf_stn.displacement_resampler(IMAGES, u), "displacement"),
    "affine_grid": numbers(lambda m: tf_stn.affine_grid(m, (5, 6), (5, 6)), "theta")
    | sized(lambda s: tf_stn.affine_grid(THETA, s, (5, 6)), "output_size")
    | sized(lambda s: tf_stn.affine_grid(THETA, (5, 6), s), "input_size")
    | {
        "units: unknown": (lambda: tf_stn.affine_grid(THETA, (5, 6), (5, 6), units="px"), "units"),
        "input_size: missing": (lambda: tf_stn.affine_grid(THETA, (5, 6)), "input_size"),
    },
    "identity_grid": {
        "size: a number": (lambda: tf_stn.identity_grid(7), "size"),
        "size: four": (lambda: tf_stn.identity_grid((1, 2, 3, 4)), "size"),
        "size: zero": (lambda: tf_stn.identity_grid((0, 2)), "size"),
        "dtype: half": (lambda: tf_stn.identity_grid((2, 2), dtype="float16"), "dtype"),
    },
    # Matrices.
    "matrices.to_normalised": numbers(lambda m: matrices.to_normalised(m, (5, 6), (5, 6)), "matrix")
    | sized(lambda s: matrices.to_normalised(THETA, s, (5, 6)), "output_size"),
    "matrices.to_pixels": numbers(lambda m: matrices.to_pixels(m, (5, 6), (5, 6)), "theta")
    | sized(lambda s: matrices.to_pixels(THETA, (5, 6), s), "input_size"),
    "matrices.from_world": {
        "output_affine: three rows": (
            lambda: matrices.from_world(np.eye(3), np.eye(4)),
            "output_affine",
        ),
        "input_affine: none": (lambda: matrices.from_world(np.eye(4), None), "input_affine"),
        "world: text": (lambda: matrices.from_world(np.eye(4), np.eye(4), TEXT), "world"),
    },
    "matrices.inverse": numbers(matrices.inverse, "matrix")
    | {"matrix: a vector": (lambda: matrices.inverse(np.zeros([2, 6])), "matrix")},
    "matrices.compose": {
        "first: none": (lambda: matrices.compose(None, THETA), "first"),
        "second: text": (lambda: matrices.compose(THETA, TEXT), "second"),
        "second: of volumes": (lambda: matrices.compose(THETA, np.zeros([2, 3, 4])), "second"),
    },
    # Fields.
    "fields.compose": a_field(lambda u: fields.compose(u, FIELD), "first")
    | a_field(lambda u: fields.compose(FIELD, u), "second")
    | {
        "first, second: two sizes": (lambda: fields.compose(FIELD, FIELD[:, 1:]), "first"),
        "first, second: matrices": (lambda: fields.compose(THETA, THETA), "first"),
    },
    "fields.exponential": a_field(fields.exponential, "velocity")
    | {
        f"steps: {steps!r}": (lambda steps=steps: fields.exponential(FIELD, steps=steps), "steps")
        for steps in (-1, 31, 2.0, None, True)
    },
    "fields.inverse": a_field(fields.inverse, "field")
    | {
        "tolerance: zero": (lambda: fields.inverse(FIELD, tolerance=0.0), "tolerance"),
        "tolerance: text": (lambda: fields.inverse(FIELD, tolerance="1"), "tolerance"),
        "max_iterations: zero": (
            lambda: fields.inverse(FIELD, max_iterations=0),
            "max_iterations",
        ),
        "max_iterations: fraction": (
            lambda: fields.inverse(FIELD, max_iterations=2.5),
            "max_iterations",
        ),
    },
    "fields.jacobian_determinant": a_field(fields.jacobian_determinant, "field"),
    "fields.resize": a_field(lambda u: fields.resize(u, (5, 6)), "field")
    | sized(lambda s: fields.resize(FIELD, s), "size"),
    "fields.map_points": a_field(lambda u: fields.map_points(u, POINTS), "field")
    | numbers(lambda p: fields.map_points(FIELD, p), "points")
    | {"points: of volumes": (lambda: fields.map_points(FIELD, np.zeros([2, 4, 3])), "points")},
    "fields.b_spline": a_field(lambda c: fields.b_spline(c, (5, 6)), "control")
    | sized(lambda s: fields.b_spline(FIELD, s), "size")
    | {"control: three": (lambda: fields.b_spline(FIELD[:, :3], (5, 6)), "control")},
    "fields.thin_plate_spline": numbers(
        lambda p: fields.thin_plate_spline(p, POINTS, (5, 6)), "points"
    )
    | numbers(lambda p: fields.thin_plate_spline(POINTS, p, (5, 6)), "targets")
    | sized(lambda s: fields.thin_plate_spline(POINTS, POINTS, s), "size")
    | {
        "points: two": (
            lambda: fields.thin_plate_spline(POINTS[:, :2], POINTS[:, :2], (5, 6)),
            "points",
        ),
        "targets: fewer": (
            lambda: fields.thin_plate_spline(POINTS, POINTS[:, :4], (5, 6)),
            "targets",
        ),
        "regularization: negative": (
            lambda: fields.thin_plate_spline(POINTS, POINTS, (5, 6), regularization=-1),
            "regularization",
        ),
    },
    "fields.from_warp": a_field(fields.from_warp, "warp"),
    "fields.to_warp": a_field(fields.to_warp, "field"),
    # Metrics and regularizers.
    "metrics.fraction_outside": numbers(lambda w: metrics.fraction_outside(w, (5, 6)), "warp")
    | sized(lambda s: metrics.fraction_outside(WARP, s), "input_size")
    | {"warp: no batch": (lambda: metrics.fraction_outside(WARP[0, 0], (5, 6)), "warp")},
    "metrics.FractionOutside": {
        "warp: none": (lambda: metrics.FractionOutside().update_state(None, (5, 6)), "warp"),
        "input_size: three": (
            lambda: metrics.FractionOutside().update_state(WARP, (4, 5, 6)),
            "input_size",
        ),
    },
    "regularizers.Identity": factors(regularizers.Identity)
    | numbers(lambda p: regularizers.Identity()(p), "parameters"),
    "regularizers.Outside": factors(regularizers.Outside)
    | numbers(lambda w: regularizers.Outside()(w, (5, 6)), "warp")
    | sized(lambda s: regularizers.Outside()(WARP, s), "input_size"),
    "regularizers.Smoothness": factors(regularizers.Smoothness)
    | a_field(lambda u: regularizers.Smoothness()(u), "displacement")
    | {
        f"power: {power!r}": (lambda power=power: regularizers.Smoothness(power=power), "power")
        for power in (0.5, -1, "2", None, np.inf)
    },
    "regularizers.BendingEnergy": factors(regularizers.BendingEnergy)
    | a_field(lambda u: regularizers.BendingEnergy()(u), "displacement"),
    "regularizers.Folding": factors(regularizers.Folding)
    | a_field(lambda u: regularizers.Folding()(u), "displacement"),
    # Transformations.
    "transformations.Translation": ranked(t.Translation) | parameters_of(t.Translation(), 2),
    "transformations.Attention": ranked(t.Attention, 0.5)
    | parameters_of(t.Attention(), 3)
    | {"scale: text": (lambda: t.Attention("half"), "scale")},
    "transformations.Rigid": ranked(t.Rigid)
    | parameters_of(t.Rigid(), 3)
    | {
        "spacing: one": (lambda: t.Rigid(spacing=(1.0,)), "spacing"),
        "spacing: zero": (lambda: t.Rigid(spacing=(0.0, 1.0)), "spacing"),
        "shift_units: unknown": (lambda: t.Rigid(shift_units="px"), "shift_units"),
        "input_size: missing": (lambda: t.Rigid().matrix(np.zeros([2, 3])), "input_size"),
    },
    "transformations.Similarity": ranked(t.Similarity)
    | parameters_of(t.Similarity(), 4)
    | {"shift_units: unknown": (lambda: t.Similarity(shift_units="px"), "shift_units")},
    "transformations.Affine": ranked(t.Affine) | parameters_of(t.Affine(), 6),
    "transformations.ConstrainedAffine": parameters_of(
        t.ConstrainedAffine([[1, 0, 0], [0, 1, 0]]), 2
    )
    | {
        "free: a row": (lambda: t.ConstrainedAffine([1, 0, 0]), "free"),
        "free: nothing": (lambda: t.ConstrainedAffine(np.zeros([2, 3])), "free"),
        "fixed: of volumes": (
            lambda: t.ConstrainedAffine(np.ones([2, 3]), np.zeros([3, 4])),
            "fixed",
        ),
    },
    "transformations.Projective": parameters_of(t.Projective(), 8)
    | {"corners: three": (lambda: t.Projective().parameters_of_corners(POINTS[:, :3]), "corners")},
    "transformations.ThinPlateSpline": parameters_of(t.ThinPlateSpline((2, 3)), 12)
    | {
        "control_points: one": (lambda: t.ThinPlateSpline((1, 3)), "control_points"),
        "control_points: number": (lambda: t.ThinPlateSpline(4), "control_points"),
        "regularization: negative": (
            lambda: t.ThinPlateSpline(regularization=-1.0),
            "regularization",
        ),
    },
    "transformations.BSpline": parameters_of(t.BSpline((4, 4)), 32)
    | {
        "control_points: three": (lambda: t.BSpline((3, 5)), "control_points"),
        "control_points: fraction": (lambda: t.BSpline((4.5, 5)), "control_points"),
    },
    "transformations.DenseDisplacement": ranked(t.DenseDisplacement)
    | a_field(lambda u: t.DenseDisplacement().warp(u, (5, 6), (5, 6)), "parameters"),
    "transformations.VelocityField": ranked(t.VelocityField)
    | a_field(lambda u: t.VelocityField().warp(u, (5, 6), (5, 6)), "parameters")
    | {"steps: fraction": (lambda: t.VelocityField(steps=2.5), "steps")},
    "transformations.Bounded": parameters_of(t.Bounded(t.Affine(), 0.5), 6)
    | {
        "transformation: name": (lambda: t.Bounded("affine", 0.5), "transformation"),
        "bound: negative": (lambda: t.Bounded(t.Affine(), -0.5), "bound"),
        "bound: two": (lambda: t.Bounded(t.Affine(), [0.5, 0.5]), "bound"),
        "bound: missing": (lambda: t.Bounded(t.Affine()), "bound"),
        "low: text": (lambda: t.Bounded(t.Affine(), low="a", high=2.0), "low"),
        "low, high: on one side": (lambda: t.Bounded(t.Affine(), low=2.0, high=3.0), "low"),
    },
    "transformations.Scaled": parameters_of(t.Scaled(t.Affine(), 0.5), 6)
    | {
        "transformation: class": (lambda: t.Scaled(t.Affine, 0.5), "transformation"),
        "scale: zero": (lambda: t.Scaled(t.Affine(), 0.0), "scale"),
        "scale: list": (lambda: t.Scaled(t.Affine(), [0.5]), "scale"),
        "gradient: negative": (lambda: t.Scaled(t.Affine(), gradient=-1.0), "gradient"),
    },
    "transformations.StartingAt": parameters_of(t.StartingAt(t.Translation(), (0.0, 0.5)), 2)
    | {
        "transformation: none": (lambda: t.StartingAt(None, (0.0, 0.5)), "transformation"),
        "parameters: three": (lambda: t.StartingAt(t.Translation(), (0.0, 0.5, 1.0)), "parameters"),
        "parameters: infinite": (
            lambda: t.StartingAt(t.Translation(), (0.0, np.inf)),
            "parameters",
        ),
    },
    "transformations.Several": {
        "transformation: name": (lambda: t.Several("affine", 2), "transformation"),
        "count: zero": (lambda: t.Several(t.Affine(), 0), "count"),
        "count: fraction": (lambda: t.Several(t.Affine(), 2.5), "count"),
        "parameters: of three": (
            lambda: t.Several(t.Affine(), 2).matrix(np.zeros([2, 3, 6])),
            "parameters",
        ),
    },
    "transformations.Tiled": {
        "transformation: name": (lambda: t.Tiled("attention", (2, 2)), "transformation"),
        "transformation: no windows": (lambda: t.Tiled(t.Projective(), (2, 2)), "transformation"),
        "tiles: number": (lambda: t.Tiled(t.Attention(), 4), "tiles"),
        "tiles: zero": (lambda: t.Tiled(t.Attention(), (0, 2)), "tiles"),
    },
    "transformations.Chain": {
        "first: name": (lambda: t.Chain("rigid", t.Affine()), "first"),
        "second: none": (lambda: t.Chain(t.Affine(), None), "second"),
        "second: of volumes": (lambda: t.Chain(t.Affine(), t.Affine(rank=3)), "second"),
    },
    "transformations.Inverse": {
        "transformation: name": (lambda: t.Inverse("rigid"), "transformation"),
        "transformation: no map back": (lambda: t.Inverse(t.ThinPlateSpline()), "transformation"),
    },
    "transformations.get": {
        "transformation: unknown": (lambda: t.get("tps"), "transformation"),
        "transformation: class": (lambda: t.get(t.Affine), "transformation"),
        "rank: other": (lambda: t.get(t.Affine(), rank=3), "transformation"),
    },
    # Layers.
    "layers.Resampler": sampling_layer(layers.Resampler)
    | {
        "inputs: images": (lambda: layers.Resampler()(IMAGES), "inputs"),
        "inputs: three": (lambda: layers.Resampler()([IMAGES, WARP, WARP]), "inputs"),
        "images: complex numbers": (
            lambda: layers.Resampler()([IMAGES.astype(np.complex64), WARP]),
            "images",
        ),
    },
    "layers.DisplacementResampler": sampling_layer(layers.DisplacementResampler)
    | {
        "inputs: images": (lambda: layers.DisplacementResampler()(IMAGES), "inputs"),
        "displacement: of volumes": (
            lambda: layers.DisplacementResampler()([IMAGES, np.zeros([2, 5, 6, 3])]),
            "displacement",
        ),
    },
    "layers.Transform": transforming_layer(layers.Transform)
    | {
        "metrics: name": (lambda: layers.Transform(metrics="outside"), "metrics"),
        "inputs: images": (lambda: layers.Transform()(IMAGES), "inputs"),
        "parameters: three": (lambda: layers.Transform()([IMAGES, np.zeros([2, 3])]), "parameters"),
    },
    "SpatialTransformer": transforming_layer(
        lambda *args, **named: tf_stn.SpatialTransformer(net(), *args, **named)
    )
    | {
        "localisation: name": (lambda: tf_stn.SpatialTransformer("net"), "localisation"),
        "localisation: none": (lambda: tf_stn.SpatialTransformer(None), "localisation"),
        "head: unknown": (lambda: tf_stn.SpatialTransformer(net(), head="linear"), "head"),
        "images: a vector": (lambda: tf_stn.SpatialTransformer(net())(IMAGES[:, 0, 0]), "images"),
        "images: integers": (
            lambda: tf_stn.SpatialTransformer(net())(IMAGES.astype(np.uint8)),
            "images",
        ),
    },
    # Pictures.
    "visualize.draw": {
        "model: none": (lambda: visualize.draw(None, IMAGES), "model"),
        "model: samples nothing": (lambda: visualize.draw(net(), IMAGES), "model"),
        "layer: another": (
            lambda: visualize.draw(tf_stn.SpatialTransformer(net()), IMAGES, layer="other"),
            "layer",
        ),
        "max_images: zero": (
            lambda: visualize.draw(tf_stn.SpatialTransformer(net()), IMAGES, max_images=0),
            "max_images",
        ),
    },
    "visualize.draw_warp": {
        "images: none": (lambda: visualize.draw_warp(None, WARP), "images"),
        "warp: points": (lambda: visualize.draw_warp(IMAGES, WARP), "warp"),
        "outputs: none of them": (lambda: drawn(outputs=IMAGES[:1]), "outputs"),
        "lines: one": (lambda: drawn(lines=1), "lines"),
        "margin: negative": (lambda: drawn(margin=-1), "margin"),
        "value_range: reversed": (lambda: drawn(value_range=(1, 0)), "value_range"),
        "layout: unknown": (lambda: drawn(layout="row"), "layout"),
        "size: zero": (lambda: drawn(size=0), "size"),
    },
    "visualize.mesh": {
        "warp: points": (lambda: visualize.mesh(np.zeros([3, 2])), "warp"),
        "lines: one": (lambda: visualize.mesh(np.zeros([1, 2, 2, 2]), 1), "lines"),
    },
    "visualize.outline": {"warp: points": (lambda: visualize.outline(WARP[0]), "warp")},
    "visualize.slices": {"volumes: images": (lambda: visualize.slices(IMAGES[0]), "volumes")},
    "callbacks.TensorBoardPictures": {
        "every: zero": (lambda: callbacks.TensorBoardPictures("f", IMAGES, every=0), "every"),
        "every: fraction": (lambda: callbacks.TensorBoardPictures("f", IMAGES, every=1.5), "every"),
    },
    # Files.
    "onnx.export": {
        "model: none": (lambda: exported(None), "model"),
        "model: images": (lambda: exported(IMAGES), "model"),
        "path: none": (lambda: exported(path=None), "path"),
        "path: a folder": (lambda: exported(path="."), "path"),
        "path: in no folder": (lambda: exported(path="no/such/model.onnx"), "path"),
        "opset: too low": (lambda: exported(opset=12), "opset"),
        "opset: to come": (lambda: exported(opset=1000), "opset"),
        "opset: text": (lambda: exported(opset="18"), "opset"),
        "input_signature: none": (lambda: exported(), "input_signature"),
        "input_signature: one": (
            lambda: exported(input_signature=tf.TensorSpec([1])),
            "input_signature",
        ),
        "input_signature: arrays": (lambda: exported(input_signature=[IMAGES]), "input_signature"),
        "input_signature: no rank": (
            lambda: exported(input_signature=[tf.TensorSpec(None)]),
            "input_signature",
        ),
    },
}
# Those without arguments that could be wrong.
NOTHING_TO_CHECK = {
    "library_path",
    "portable",
    "transformations.Transformation",
    "visualize.to_array",
}
MODULES = {
    "fields": fields,
    "layers": layers,
    "matrices": matrices,
    "metrics": metrics,
    "regularizers": regularizers,
    "transformations": t,
    "visualize": visualize,
    "callbacks": callbacks,
    "onnx": onnx,
}


def test_every_public_name_is_here():
    names = set(tf_stn.__all__) - set(MODULES)
    for prefix, module in MODULES.items():
        names |= {f"{prefix}.{name}" for name in module.__all__}
    names -= {"layers.SpatialTransformer"}  # It is at the top.
    assert names - NOTHING_TO_CHECK == set(CASES)


@pytest.mark.parametrize(
    "name, case", [(name, case) for name, cases in CASES.items() for case in cases]
)
def test_error_names_argument_and_what_was_received(name, case):
    call, argument = CASES[name][case]
    kinds = (TypeError, ValueError, tf.errors.InvalidArgumentError)
    with pytest.raises(kinds) as error:
        call()
    message = str(error.value)
    assert f"`{argument}`" in message, message
    assert "received" in message, message


GRAPHS = [name for name in CASES if name.split(".")[0] not in ("visualize", "callbacks", "onnx")]


@pytest.mark.parametrize(
    "name, case", [(name, case) for name in GRAPHS for case in list(CASES[name])[:6]]
)
def test_error_is_the_same_in_a_graph(name, case):
    call, argument = CASES[name][case]
    kinds = (TypeError, ValueError, tf.errors.InvalidArgumentError)
    with pytest.raises(kinds) as error:
        tf.function(call, autograph=False)()
    assert f"`{argument}`" in str(error.value)
    assert "received" in str(error.value)

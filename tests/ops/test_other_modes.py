"""TensorFlow used otherwise: plain graphs, version 1, imports after others, no tensors at all."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from public_calls import CALLS
from repository import ROOT

import tf_stn
from tf_stn import fields, matrices, transformations


def run_in_new_process(script, *arguments):
    """Runs a script that finds the tests' support; an error if it fails."""
    start = f"import sys; sys.path.insert(0, {str(ROOT / 'tests/support')!r})\n"
    command = [sys.executable, "-c", start + script, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    return result.stdout


def placeholders(arrays, known):
    """Returns placeholders that know shapes, the number of axes and channels alone, or nothing."""
    for array in arrays:
        partial = [*[None] * (array.ndim - 1), array.shape[-1]]
        yield tf.compat.v1.placeholder(array.dtype, array.shape if known else partial)


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("name", [n for n in CALLS if "constant tensor" not in n])
def test_plain_graph_with_a_session_gives_the_same(name, known):
    function, *arrays = CALLS[name]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        inputs = list(placeholders(arrays, known or name in SHAPES_THAT_MATTER))
        result = session.run(function(*inputs), dict(zip(inputs, arrays, strict=True)))
    expected = function(*map(tf.constant, arrays))
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


# Of small matrices the last two sides tell images from volumes, and affine from projective ones.
SHAPES_THAT_MATTER = (
    "projective_resampler",
    "inverse",
    "to_normalised",
    "to_pixels",
    "compose",
    "from_world",
    "fields.compose with a constant matrix",
)


def test_version_1_behaviour_gives_the_same(tmp_path):
    """Shapes have Dimension objects there, and tensors are compared by identity."""
    np.savez(
        tmp_path / "expected.npz",
        **{
            name: function(*map(tf.constant, arrays))
            for name, (function, *arrays) in CALLS.items()
            if "constant tensor" not in name and "constant image" not in name
        },
    )
    run_in_new_process(
        """
import numpy as np, tensorflow.compat.v1 as tf
tf.disable_v2_behavior()
from public_calls import CALLS
expected = np.load(sys.argv[1])
for name in expected.files:
    function, *arrays = CALLS[name]
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = [tf.placeholder(array.dtype, array.shape) for array in arrays]
        try:
            result = session.run(function(*inputs), dict(zip(inputs, arrays)))
        except Exception as error:
            raise AssertionError(name) from error
    np.testing.assert_allclose(result, expected[name], rtol=0, atol=1e-5, err_msg=name)
""",
        tmp_path / "expected.npz",
    )


def test_sizes_may_be_parts_of_shapes_in_version_1():
    run_in_new_process(
        """
import tensorflow.compat.v1 as tf
tf.disable_v2_behavior()
import tf_stn
images, theta = tf.placeholder(tf.float32, [2, 7, 9, 3]), tf.placeholder(tf.float32, [None, 6])
for size in (images.shape[1:3], (images.shape[1], images.shape[2]), images.shape.as_list()[1:3]):
    assert tf_stn.affine_grid(theta, size, size).shape.as_list() == [None, 7, 9, 2]
"""
    )


def test_copies_of_the_library_are_loaded_before_and_after_the_import(tmp_path):
    """As a program does that serves a model, and then imports something that imports tf_stn."""
    copies = [shutil.copy(tf_stn.library_path(), tmp_path / f"{i}.so") for i in range(2)]
    run_in_new_process(
        """
import numpy as np, tensorflow as tf
loaded = tf.load_op_library(sys.argv[1])
import tf_stn
tf.load_op_library(sys.argv[2])
images, warp = tf.random.normal([1, 4, 4, 1]), tf.constant([[[1.5, 1.25]]])
with tf.GradientTape() as tape:
    tape.watch(warp)
    ours = tf_stn.resampler(images, warp)
np.testing.assert_array_equal(ours, loaded.tf_stn_resampler(images, warp, []))
assert (tape.gradient(ours, warp).numpy() != 0).all()
""",
        *copies,
    )


@pytest.mark.parametrize("which", ["all of it", "the package alone"])
def test_import_again_after_modules_were_forgotten(which):
    """As test runners and notebooks do that load a package anew."""
    run_in_new_process(
        """
import tensorflow as tf
import tf_stn
for name in [name for name in sys.modules if name.split(".")[0] == "tf_stn"]:
    if sys.argv[1] == "all of it" or name == "tf_stn":
        del sys.modules[name]
import tf_stn
warp = tf.constant([[[1.5, 1.25]]])
with tf.GradientTape() as tape:
    tape.watch(warp)
    samples = tf_stn.resampler(tf.random.normal([1, 4, 4, 1]), warp)
assert (tape.gradient(samples, warp).numpy() != 0).all()
assert isinstance(tf_stn.transformations.get("rigid"), tf_stn.transformations.Rigid)
""",
        which,
    )


def test_tf_function_does_not_rewrite_the_package():
    """AutoGraph would take seconds for what is a graph already."""
    rewritten = []

    class Watched(transformations.Transformation):
        identity_parameters = (0.0,) * 6

        def compute_matrix(self, parameters, frame):
            rewritten.append(tf.__internal__.autograph.control_status_ctx().status.name)
            return tf.reshape(parameters, [-1, 2, 3])

    @tf.function
    def warp(parameters):
        return Watched().warp(parameters, (2, 2), (2, 2))

    warp(tf.zeros([1, 6]))
    assert rewritten == ["DISABLED"]


IMAGES = np.ones([1, 4, 5, 1], np.float32)
MATRIX = np.eye(2, 3, dtype=np.float32)[None]
FIELD = np.zeros([1, 4, 5, 2], np.float32)
# For each public function its tensors, by the names of its arguments.
TENSORS = {
    tf_stn.resampler: {"data": IMAGES, "warp": FIELD},
    tf_stn.affine_resampler: {"data": IMAGES, "theta": MATRIX},
    tf_stn.projective_resampler: {"data": IMAGES, "matrix": np.eye(3)[None]},
    tf_stn.displacement_resampler: {"data": IMAGES, "displacement": FIELD},
    tf_stn.affine_grid: {"theta": MATRIX},
    matrices.to_normalised: {"matrix": MATRIX},
    matrices.to_pixels: {"theta": MATRIX},
    matrices.inverse: {"matrix": MATRIX},
    matrices.compose: {"first": MATRIX, "second": MATRIX},
    matrices.from_world: {"output_affine": np.eye(4), "input_affine": np.eye(4)},
    fields.compose: {"first": FIELD, "second": FIELD},
    fields.exponential: {"velocity": FIELD},
    fields.inverse: {"field": FIELD},
    fields.jacobian_determinant: {"field": FIELD},
    fields.resize: {"field": FIELD},
    fields.map_points: {"field": FIELD, "points": FIELD},
    fields.b_spline: {"control": FIELD},
    fields.thin_plate_spline: {"points": FIELD[:, 0], "targets": FIELD[:, 0]},
    transformations.Rigid().matrix: {"parameters": np.zeros([1, 3])},
    transformations.Rigid().map_points: {
        "parameters": np.zeros([1, 3]),
        "points": np.zeros([4, 2]),
    },
    transformations.Rigid().compose: {"first": np.zeros([1, 3]), "second": np.zeros([1, 3])},
    transformations.Projective().parameters_of_corners: {"corners": np.zeros([1, 4, 2])},
}
SIZES = {
    "affine_grid": {"output_size": (4, 5), "input_size": (4, 5)},
    "to_normalised": {"output_size": (4, 5), "input_size": (4, 5)},
    "to_pixels": {"output_size": (4, 5), "input_size": (4, 5)},
    "resize": {"size": (4, 5)},
    "b_spline": {"size": (4, 5)},
    "thin_plate_spline": {"size": (4, 5)},
    "matrix": {"input_size": (4, 5)},
    "map_points": {"input_size": (4, 5)},
    "compose": {"input_size": (4, 5)},
}
NO_TENSORS = {
    "None": lambda: None,
    "ragged": lambda: tf.ragged.constant([[1.0], [1.0, 2.0]]),
    "sparse": lambda: tf.sparse.from_dense([[1.0]]),
    "unequal rows": lambda: [[1.0], [1.0, 2.0]],
    "text": lambda: [["a", "b"]],
    "an object": lambda: object(),
    "complex": lambda: tf.zeros([1, 2], tf.complex64),
}


@pytest.mark.parametrize("value", NO_TENSORS)
@pytest.mark.parametrize(
    "function, argument",
    [(f, argument) for f, tensors in TENSORS.items() for argument in tensors],
    ids=lambda x: getattr(x, "__qualname__", x),
)
def test_what_is_no_tensor_of_numbers_is_refused_by_name(function, argument, value):
    sizes = SIZES.get(function.__name__, {})
    if function in (matrices.compose, fields.compose) or function is fields.map_points:
        sizes = {}
    arguments = TENSORS[function] | sizes | {argument: NO_TENSORS[value]()}
    with pytest.raises((TypeError, ValueError), match=f"`{argument}`"):
        function(**arguments)

"""The package as a whole: what it exports, what it was built for, what its files agree on."""

import ast
import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys
import types

import pytest
from repository import ROOT, lists_of

import tf_stn
from tf_stn import _build_info, _library

LISTS = ("SOURCES", "CPU_SOURCES", "CUDA_SOURCES", "XLA_SOURCES", "XLA_LIBRARY_SOURCES", "HEADERS")


def test_setup_and_bazel_build_the_same_files_in_the_same_way():
    names = (*LISTS, "COMPILE_FLAGS", "CPU_ISAS", "CPU_FLAGS", "CUDA_FLAGS")
    assert lists_of("setup.py", *names) == lists_of("BUILD", *names)


def test_every_source_file_is_listed():
    lists = lists_of("setup.py", *LISTS)
    files = [str(p.relative_to(ROOT)) for p in ROOT.glob("cc/**/*") if p.is_file()]
    assert sorted(source for sources in lists for source in sources) == sorted(files)


def test_public_names():
    assert sorted(tf_stn.__all__) == [
        "SpatialTransformer",
        "affine_grid",
        "affine_resampler",
        "callbacks",
        "displacement_resampler",
        "fields",
        "identity_grid",
        "layers",
        "library_path",
        "matrices",
        "metrics",
        "onnx",
        "portable",
        "projective_resampler",
        "regularizers",
        "resampler",
        "transformations",
        "visualize",
    ]
    assert all(hasattr(tf_stn, name) for name in tf_stn.__all__)


def test_completion_lists_the_public_names_alone():
    """Also those of modules that are imported when they are used."""
    assert [name for name in dir(tf_stn) if not name.startswith("__")] == sorted(tf_stn.__all__)


def test_no_function_hides_a_module_of_its_name():
    names = [path.stem for path in (ROOT / "tf_stn").iterdir() if not path.name.startswith("_")]
    public = [name for name in names if name in tf_stn.__all__]
    assert {"callbacks", "fields", "layers", "matrices", "transformations"} <= set(public)
    assert all(isinstance(getattr(tf_stn, name), types.ModuleType) for name in public)
    assert set(names) - set(public) <= {"py"}  # py.typed


def test_every_package_is_in_the_distribution():
    packages = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("tf_stn/**/__init__.py")}
    (listed,) = re.findall(r"^packages = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.M)
    assert {name.replace("/", ".") for name in packages} == set(re.findall(r'"(.*?)"', listed))


def test_version_is_that_of_the_distribution_and_of_the_changelog():
    assert importlib.metadata.version("tf-stn") == tf_stn.__version__
    assert f"## {tf_stn.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_distribution_requires_numpy_alone():
    requirements = importlib.metadata.requires("tf-stn")
    assert [r for r in requirements if "extra ==" not in r] == ["numpy>=1.26"]
    extras = importlib.metadata.metadata("tf-stn").get_all("Provides-Extra")
    assert {"cpu", "gpu", "demo", "dev", "visualize"} <= set(extras)


def test_extras_install_the_tensorflow_it_was_built_for():
    requirements = importlib.metadata.requires("tf-stn")
    minor = _build_info.TENSORFLOW
    assert f'tensorflow-cpu=={minor}.*; extra == "cpu"' in requirements
    assert f'tensorflow[and-cuda]=={minor}.*; extra == "gpu"' in requirements


def test_package_is_marked_as_typed():
    assert (pathlib.Path(tf_stn.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize("running", ["2.21.0", "2.21.1", "2.21.0-rc1"])
def test_every_patch_of_the_minor_it_was_built_for_is_accepted(running):
    _library.check_tensorflow("2.21", running)


@pytest.mark.parametrize("running", ["2.20.0", "2.22.0", "2.2.1", "3.0.0"])
def test_another_minor_is_refused_with_both_versions_and_the_remedy(running):
    with pytest.raises(ImportError) as error:
        _library.check_tensorflow("2.21", running)
    assert "built for TensorFlow 2.21" in str(error.value)
    assert f"TensorFlow {running}" in str(error.value)
    assert "pip install 'tensorflow" in str(error.value)
    assert "--no-build-isolation" in str(error.value)
    assert "==2.21.*'" in str(error.value)


WITHOUT_LIBRARY = {
    "another TensorFlow": (
        "import tensorflow as tf; tf.__version__ = '2.4.1'; tf.load_op_library = None",
        ["tf_stn was built for TensorFlow", "2.4.1", "pip install 'tensorflow"],
    ),
    "no build": (
        "import sys; sys.modules['tf_stn._build_info'] = None",
        ["The compiled part of tf_stn is missing", "pip install"],
    ),
    "no file": (
        "import pathlib; exists = pathlib.Path.exists\n"
        "pathlib.Path.exists = lambda path: path.suffix != '.so' and exists(path)",
        ["The compiled part of tf_stn is missing", "pip install"],
    ),
    "a file that cannot be loaded": (
        "import tensorflow as tf\n"
        "def fail(path): raise tf.errors.NotFoundError(None, None, 'undefined symbol: _ZN4absl')\n"
        "tf.load_op_library = fail",
        ["undefined symbol: _ZN4absl", "pip install --no-build-isolation"],
    ),
}
# Samples, goes back, and asks for what only a library has.
WITHOUT_LIBRARY_PROGRAM = """
import tensorflow as tf, tf_stn
image, theta = tf.Variable(tf.ones([1, 2, 2, 1])), [[1.0, 0.0, 0.5, 0.0, 1.0, 0.0]]
with tf.GradientTape() as tape:
    output = tf_stn.affine_resampler(image, theta, units="pixels")
assert output.numpy().tolist() == [[[[1.0], [0.5]], [[1.0], [0.5]]]], output
assert tape.gradient(output, image).numpy().tolist() == [[[[0.5], [1.0]], [[0.5], [1.0]]]]
try:
    tf_stn._library.ops.tf_stn_resampler
except ImportError as error:
    print(error)
try:
    print(tf_stn.library_path())
except ImportError as error:
    print(error)
"""


def run_with(program, patch="", implementation=None):
    """Runs a program in a fresh process after `patch`."""
    environment = {k: v for k, v in os.environ.items() if k != "TF_STN_IMPLEMENTATION"}
    if implementation is not None:
        environment["TF_STN_IMPLEMENTATION"] = implementation
    command = [sys.executable, "-W", "always", "-c", f"{patch}\n{program}"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)


@pytest.mark.parametrize("case", WITHOUT_LIBRARY)
def test_without_a_library_that_fits_all_is_portable_with_one_warning(case):
    patch, reasons = WITHOUT_LIBRARY[case]
    result = run_with(WITHOUT_LIBRARY_PROGRAM, patch)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("RuntimeWarning: tf_stn samples by TensorFlow's own") == 1
    for reason in reasons:
        assert reason in result.stderr
        assert reason in result.stdout
    assert "tf_stn has no compiled ops here" in result.stdout


@pytest.mark.parametrize("case", ["no build", "a file that cannot be loaded"])
def test_without_a_library_that_fits_it_is_an_import_error_where_compiled_was_asked_for(case):
    patch, reasons = WITHOUT_LIBRARY[case]
    result = run_with("import tf_stn", patch, "compiled")
    assert result.returncode == 1
    assert "ImportError: " in result.stderr
    for reason in reasons:
        assert reason in result.stderr


def test_portable_from_the_environment_loads_no_library_and_warns_of_nothing():
    patch = "import tensorflow as tf; tf.load_op_library = None"
    result = run_with(WITHOUT_LIBRARY_PROGRAM, patch, "portable")
    assert result.returncode == 0, result.stderr
    assert "RuntimeWarning" not in result.stderr
    assert "TF_STN_IMPLEMENTATION=portable is set" in result.stdout
    assert "_tf_stn.so" in result.stdout  # What an exported model is run with may be there.


@pytest.mark.parametrize("wanted", ["", "Portable"])
def test_unknown_implementation_in_the_environment_is_an_import_error_that_names_it(wanted):
    expected = "TF_STN_IMPLEMENTATION must be one of compiled, portable, received "
    with pytest.raises(ImportError, match=f"{expected}{wanted!r}"):
        _library.check_implementation(wanted)
    if wanted:
        result = run_with("import tf_stn", implementation=wanted)
        assert result.returncode == 1
        assert f"ImportError: {expected}{wanted!r}" in result.stderr


def test_compiled_from_the_environment_leaves_the_context_portable():
    program = """
import tensorflow as tf, tf_stn
def ops():
    sample = tf.function(lambda image: tf_stn.resampler(image, [[[0.5, 0.5]]]))
    graph = sample.get_concrete_function(tf.ones([1, 2, 2, 1])).graph
    return [op.type for op in graph.get_operations() if "TfStn" in op.type]
assert ops() == ["TfStn>Resampler"], ops()
with tf_stn.portable():
    assert ops() == [], ops()
"""
    result = run_with(program, implementation="compiled")
    assert result.returncode == 0, result.stderr


def test_import_without_tensorflow_says_what_to_install():
    result = run_with("import tf_stn", "import sys; sys.modules['tensorflow'] = None")
    assert result.returncode == 1
    assert "pip install tensorflow-cpu" in result.stderr


def test_functions_work_where_keras_cannot_be_imported():
    script = """
import sys
sys.modules["keras"] = None  # As if it were not installed.
import tensorflow as tf, tf_stn
assert tf_stn.resampler(tf.ones([1, 2, 2, 1]), [[[0.5, 0.5]]]) == 1
try:
    tf_stn.SpatialTransformer
except ImportError as error:
    print(error)
else:
    raise AssertionError("the layer was imported")
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_what_is_for_people_is_imported_when_it_is_used():
    script = """
import sys, tf_stn
lazy = {"tf_stn.callbacks", "tf_stn.onnx", "tf_stn.visualize"}
assert not (lazy | {"onnx", "tf2onnx", "onnxruntime"}) & set(sys.modules)
tf_stn.visualize, tf_stn.callbacks, tf_stn.onnx
assert lazy < set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'tf_stn' has no attribute 'spatial_transformer'"):
        tf_stn.spatial_transformer  # noqa: B018


def test_library_is_loaded_once_even_from_many_threads():
    script = """
import concurrent.futures, importlib, tensorflow as tf
calls, load = [], tf.load_op_library
tf.load_op_library = lambda path: calls.append(path) or load(path)
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    modules = list(pool.map(importlib.import_module, ["tf_stn"] * 8))
assert len(calls) == 1 and len(set(map(id, modules))) == 1, calls
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_library_shows_nothing_of_cuda_and_needs_no_driver():
    """Symbols of its CUDA runtime could be taken for those of TensorFlow's own."""
    library = pathlib.Path(tf_stn.__file__).parent / "_tf_stn.so"

    def lines(*command):
        text = subprocess.run([*command, library], check=True, capture_output=True, text=True)
        return text.stdout.splitlines()

    exported = [line.split()[-1] for line in lines("nm", "-D", "--defined-only")]
    assert not [name for name in exported if re.search(r"^_*(cuda|cu[A-Z]|nv|fatbin)", name)]
    needed = [line for line in lines("readelf", "-d") if "NEEDED" in line]
    assert any("libtensorflow_framework" in line for line in needed)
    assert not [line for line in needed if "cuda" in line]


def test_contributors_are_told_which_tests_cover_what():
    """Paths of tests exist, and the table of what tests a change has every folder of tests."""
    page = (ROOT / "docs/development/tests.md").read_text()
    (table,) = re.findall(r"^\| a change of .*?\n\n", page, re.DOTALL | re.MULTILINE)
    paths = re.findall(r"`((?:\w+/)*[\w.]+/?)`", table)
    assert len(paths) > 80
    for path in [*paths, *re.findall(r"\btests/[\w./]*\w", page)]:
        assert (ROOT / path).exists(), path
    folders = {f"tests/{path.parent.name}" for path in ROOT.glob("tests/*/test_*.py")}
    assert folders == {"/".join(p.split("/")[:2]) for p in paths if p.startswith("tests/")}


def test_contributors_are_told_what_each_file_of_tests_proves():
    page = (ROOT / "docs/development/tests.md").read_text()
    for path in sorted(ROOT.glob("tests/*/test_*.py")):
        (folder,) = re.findall(rf"^### tests/{path.parent.name}/\n.*?(?=^##|\Z)", page, re.S | re.M)
        proves = ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]
        assert f"| `{path.name}` | {proves} |" in folder


def test_dependencies_point_in_one_direction():
    """From layers to transformations, grids, the resampler and the library, never upwards.

    What a function imports when it is called, as `_symbolic` does nodes of Keras, is no dependency.
    """
    order = [
        "_library",
        "_implementation",
        "_xla",
        "_keras",
        "_observing",
        "_symbolic",
        "_checks",
        "_sizes",
    ]
    order += ["_shapes", "_portable", "_pixels", "_resampler"]
    order += ["_small_matrices", "_grids", "_gradients", "matrices"]
    order += ["_affine_resampler", "_projective_resampler", "_displacement_resampler"]
    order += ["_numbers", "_splines", "fields", "_outside", "metrics", "regularizers"]
    order += ["transformations", "_nodes", "_sampling_layers", "_spatial_transformer", "layers"]
    order += ["visualize", "callbacks"]
    order += ["_onnx_handlers", "onnx"]
    order += ["__init__", "__main__"]
    for path in (ROOT / "tf_stn").rglob("*.py"):
        importer = path.relative_to(ROOT / "tf_stn").parts[0].removesuffix(".py")
        if importer == "_build_info":
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.module.startswith("tf_stn."):
                imported = node.module.split(".")[1]
                is_own = imported == importer == "transformations"
                assert is_own or order.index(imported) < order.index(importer), (importer, imported)

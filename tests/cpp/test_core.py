"""Builds and runs the C++ tests of cc/core, plainly and under sanitizers; who includes whom."""

import pathlib
import re
import subprocess

import pytest
from repository import ROOT, compiler, run_program

BUILDS = {
    "plain": ["-O2", "-Werror"],
    # Under sanitizers g++ warns of uninitialised values where there are none.
    "sanitized": [
        "-O1",
        "-g",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-Wno-maybe-uninitialized",
    ],
}


@pytest.mark.parametrize("build", BUILDS)
def test_core_passes_its_own_tests(tmp_path, build):
    program = tmp_path / "core_test"
    flags = ["-std=c++17", "-Wall", "-Wextra", *BUILDS[build], f"-I{ROOT}"]
    source = ROOT / "tests/cpp/core_test.cc"
    subprocess.run([*compiler(), *flags, str(source), "-o", str(program)], check=True)
    run_program(program)


def includes(pattern):
    """Returns, as (file, included file) pairs, what files of the repository include."""
    files = [path for path in ROOT.glob(pattern) if path.is_file()]
    assert files, pattern
    return [
        (str(path.relative_to(ROOT)), name)
        for path in files
        for name in re.findall(r'^ *# *include +[<"]([^>"]+)[>"]', path.read_text(), re.MULTILINE)
    ]


@pytest.mark.parametrize("folder", ["cc/core", "cc/kernels/cpu", "cc/kernels/gpu"])
def test_computation_includes_no_framework(folder):
    """It is the same for every framework, and nvcc must not see TensorFlow."""
    for path, name in includes(f"{folder}/**/*"):
        assert not name.startswith(("tensorflow/", "xla/", "absl/", "Eigen", "unsupported/")), path


# Of each folder, what its files may include of cc: folders, and files.
MAY_INCLUDE = {
    "cc/core": ["cc/core"],
    "cc/ops": ["cc/core", "cc/ops"],
    "cc/kernels": ["cc/core", "cc/kernels", "cc/kernels/cpu", "cc/kernels/gpu"],
    "cc/kernels/cpu": ["cc/core", "cc/kernels/cpu"],
    "cc/kernels/cpu/simd": ["cc/core", "cc/kernels/cpu/simd", "cc/kernels/cpu/loops.h"],
    "cc/kernels/gpu": ["cc/core", "cc/kernels/gpu"],
    "cc/xla": [
        *("cc/core", "cc/xla", "cc/kernels/cpu", "cc/kernels/gpu"),
        "cc/kernels/op_attributes.h",
    ],
}


def test_every_folder_of_native_code_has_a_rule():
    folders = {
        str(path.parent.relative_to(ROOT)) for path in ROOT.glob("cc/**/*") if path.is_file()
    }
    assert folders == set(MAY_INCLUDE)


@pytest.mark.parametrize("folder", MAY_INCLUDE)
def test_folders_include_only_what_is_below_them(folder):
    allowed = MAY_INCLUDE[folder]
    for path, name in includes(f"{folder}/*"):
        if name.startswith("cc/"):
            assert name in allowed or str(pathlib.PurePosixPath(name).parent) in allowed, (
                f"{path} includes {name}"
            )

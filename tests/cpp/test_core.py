"""Builds and runs the C++ tests of cc/core, plainly and under sanitizers."""

import subprocess

import pytest
from repository import ROOT, compiler

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
    result = subprocess.run([program], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_core_and_launchers_include_no_framework():
    """cc/core is the maths of every device; what nvcc compiles must not see TensorFlow."""
    adapters = {"op_support.h", "share_work.h", "divide_work.h", "functors.h"}
    headers = [
        path
        for path in ROOT.glob("cc/kernels/*.h")
        if path.name not in adapters and not path.name.startswith("functors_")
    ]
    files = [*ROOT.glob("cc/core/*"), *headers, *ROOT.glob("cc/**/*.cu.cc")]
    assert len(files) > 15
    for path in files:
        for line in path.read_text().splitlines():
            if line.startswith("#include"):
                is_standard = line.startswith("#include <") and "/" not in line
                assert is_standard or line.startswith('#include "cc/'), f"{path.name}: {line}"

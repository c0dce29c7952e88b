"""The CPU's loops for every instruction set: equal to the plain ones, chosen, and kept apart."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
from repository import ROOT, lists_of, run_program, the_compiler

ISAS, CPU_FLAGS = lists_of("setup.py", "CPU_ISAS", "CPU_FLAGS")
ISAS = the_compiler().instruction_sets(ISAS)
RUNNERS = ["cc/kernels/cpu/loops.cc", "cc/kernels/cpu/plain.cc", "cc/kernels/cpu/run.cc"]


@pytest.mark.parametrize(
    "name, build", [("cpu_test", "plain"), ("cpu_test", "sanitized"), ("run_test", "plain")]
)
def test_loops_equal_the_plain_ones(objects, name, build, tmp_path):
    """The test itself is without sanitizers: they watch the loops, and all memory they touch."""
    without = ["-fno-sanitize=all"] if build == "sanitized" else []
    files = [objects.compile(f"tests/cpp/{name}.cc", build, "-O1", *without)]
    files += [objects.compile(source, build) for source in RUNNERS]
    for isa in ISAS:
        files += objects.loops(build, isa)
    objects.link(build, tmp_path / name, *files)
    print(run_program(tmp_path / name))  # It says which instruction sets this processor lacks.


def test_loops_take_a_source_of_points_that_they_do_not_know(objects, tmp_path):
    """It is defined in the test alone."""
    flags = [*CPU_FLAGS, "-O1", "-DTF_STN_ISA=baseline"]
    file = objects.compile("tests/cpp/source_test.cc", "plain", *flags)
    objects.link("plain", tmp_path / "source_test", file)
    run_program(tmp_path / "source_test")


@pytest.mark.parametrize("isa", ISAS)
def test_objects_leave_the_linker_nothing_to_share(objects, isa):
    """Of functions that several objects define, the linker keeps one, made for any processor."""
    command = ["nm", "--demangle", "--defined-only", *objects.loops("plain", isa)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    symbols = re.findall(r"^[0-9a-f]+ (\w) (.*)$", lines, re.MULTILINE)
    # Lower-case letters are local symbols, but for u and v.
    shared = [name for kind, name in symbols if kind.isupper() or kind in "uvw"]
    assert len(shared) >= 8
    # Not every name that clang gives a function can be read.
    own = rf"(.* )?tf_stn::{isa}::|_ZZ*NK?6tf_stn{len(isa)}{isa}"
    for name in shared:
        assert re.match(own, name), name


def run_with(isa, *command):
    """Runs Python in a process of its own with TF_STN_CPU_ISA, or without if it is None."""
    environment = {k: v for k, v in os.environ.items() if k != "TF_STN_CPU_ISA"}
    if isa is not None:
        environment["TF_STN_CPU_ISA"] = isa
    result = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert result.returncode == 0, result.stdout[-10000:] + result.stderr[-10000:]
    return result.stdout


# Prints what the library has chosen, which it does once.  Without Python's TensorFlow, which
# takes seconds to start.
CHOICE = """
import ctypes, importlib.util, pathlib
def folder(package): return pathlib.Path(importlib.util.find_spec(package).origin).parent
framework = folder("tensorflow") / "libtensorflow_framework.so.2"
ctypes.CDLL(str(framework), ctypes.RTLD_GLOBAL)
library = ctypes.CDLL(str(folder("tf_stn") / "_tf_stn.so"))
library.tf_stn_cpu_isa.restype = ctypes.c_char_p
print(library.tf_stn_cpu_isa().decode())
"""
NAMES = ["plain", *ISAS]


@pytest.fixture(scope="module")
def best():
    return run_with(None, "-c", CHOICE).strip()


def test_best_instruction_set_is_that_of_the_processor(best):
    assert best in ISAS
    if the_compiler().is_for_x86_64 and pathlib.Path("/proc/cpuinfo").exists():
        flags = re.search(r"^flags\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
        flags = set(flags.group(1).split())
        v4 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
        v3 = {"avx2", "fma", "f16c", "bmi2"}
        expected = "baseline" if not v3 <= flags else "avx512" if v4 <= flags else "avx2"
        assert best == expected


@pytest.mark.parametrize("isa", [*NAMES, "avx1024"])
def test_environment_names_a_lesser_instruction_set(isa, best):
    is_lesser = isa in NAMES and NAMES.index(isa) <= NAMES.index(best)
    assert run_with(isa, "-c", CHOICE).strip() == (isa if is_lesser else best)


@pytest.mark.parametrize("isa", NAMES[:-1])
def test_op_equals_the_reference_with_lesser_instruction_sets(isa, best):
    """All other tests run with the best one."""
    if NAMES.index(isa) >= NAMES.index(best):
        pytest.skip(f"this processor has {best} at best")
    names = ["resampler_forward", "resampler_gradient", "edge_cases", "affine_resampler"]
    files = [f"tests/ops/test_{name}.py" for name in names]
    # Graphs are none of the loops' business.
    run_with(isa, "-m", "pytest", "-q", "-k", "not graph", *files)

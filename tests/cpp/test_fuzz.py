"""Arbitrary bytes as problems for the C++ loops, under sanitizers. `make fuzz` tries more."""

import itertools
import os
import pathlib
import random
import subprocess

import pytest
from fuzzing import EXAMPLES
from repository import ROOT, compiler, lists_of

from tf_stn._library import CPU_ISAS

FLAGS = [
    *("-std=c++17", "-g", "-Wall", "-Wextra", "-Werror", "-I."),
    "-Wno-maybe-uninitialized",  # Under sanitizers g++ warns where there is nothing.
    *("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"),
]


def run(*command, **environment):
    environment = os.environ | environment
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-10000:]
    return result.stdout


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    """The fuzz target of the loops of cc/core."""
    program = str(tmp_path_factory.mktemp("fuzz") / "fuzz")
    flags = ["-O1"] if EXAMPLES else ["-O0", "-DTF_STN_FUZZ_QUICK"]
    run(*compiler(), *FLAGS, *flags, "tests/cpp/fuzz.cc", "-o", program)
    return program


def test_core_solves_any_problem(fuzz):
    """Without reading or writing beyond its memory, without undefined behaviour."""
    count = 200 * int(EXAMPLES) if EXAMPLES else 3000
    seed = random.getrandbits(32) if EXAMPLES else 1
    assert run(fuzz, str(count), str(seed)) == f"{count} inputs of seed {seed}\n"


def test_an_input_may_come_from_a_file(fuzz, tmp_path):
    """As a fuzzer writes the one that it has found."""
    (tmp_path / "input").write_bytes(random.Random(0).randbytes(300))
    run(fuzz, str(tmp_path / "input"))


@pytest.mark.skipif(not EXAMPLES, reason="compiles for minutes; runs in make fuzz")
def test_vector_loops_solve_any_problem(tmp_path):
    """For each instruction set that the processor has."""
    loops, isas, flags = lists_of("setup.py", "CPU_SOURCES", "CPU_ISAS", "CPU_FLAGS")
    objects = []
    for source, (isa, options) in itertools.product(loops, isas.items()):
        objects.append(str(tmp_path / f"{pathlib.Path(source).stem}_{isa}.o"))
        command = [*compiler(), *FLAGS, *flags, "-O1", *options, f"-DTF_STN_ISA={isa}"]
        run(*command, "-c", source, "-o", objects[-1])
    program = str(tmp_path / "fuzz")
    sources = ["tests/cpp/fuzz.cc", "cc/kernels/resampler_cpu_choice.cc"]
    flags = ["-O1", "-DTF_STN_FUZZ_CPU_LOOPS"]
    run(*compiler(), *FLAGS, *flags, *sources, *objects, "-o", program)
    for isa in CPU_ISAS:
        run(program, str(100 * int(EXAMPLES)), str(random.getrandbits(32)), TF_STN_CPU_ISA=isa)

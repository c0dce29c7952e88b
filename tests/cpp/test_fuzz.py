"""Arbitrary bytes as problems for the C++ loops, under sanitizers. `make fuzz` tries more."""

import random
import subprocess

import pytest
from fuzzing import EXAMPLES
from repository import ROOT, lists_of

from tf_stn._library import cpu_isa

ISAS = list(lists_of("setup.py", "CPU_ISAS")[0])
HERE = ISAS[: ISAS.index(cpu_isa()) + 1] if cpu_isa() in ISAS else []
BUILD = "thorough" if EXAMPLES else "sanitized"


def run(*command):
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-10000:]
    return result.stdout


@pytest.fixture(scope="module")
def fuzz(objects, tmp_path_factory):
    """Returns the fuzz target of the plain loops, or of them and those for an instruction set."""

    def build(isa=None):
        program = tmp_path_factory.mktemp("fuzz") / f"fuzz_{isa}"
        # The target itself is without sanitizers: they watch the loops, and all memory they touch.
        plain = [
            *("-O0", "-fno-sanitize=all"),
            *([f"-DTF_STN_FUZZ_CPU_LOOPS={isa}"] if isa else []),
        ]
        files = [objects.compile("tests/cpp/fuzz.cc", BUILD, *plain, name=str(isa))]
        files += [objects.compile(f"cc/kernels/cpu/{name}.cc", BUILD) for name in ("plain", "run")]
        files += objects.loops(BUILD, isa) if isa else []
        objects.link(BUILD, program, *files)
        return str(program)

    return build


def check(program, count):
    seed = random.getrandbits(32) if EXAMPLES else 1
    assert run(program, str(count), str(seed)) == f"{count} inputs of seed {seed}\n"


def test_plain_loops_solve_any_problem(fuzz):
    """Without reading or writing beyond their memory, without undefined behaviour."""
    check(fuzz(), 20 * int(EXAMPLES) if EXAMPLES else 500)


def test_an_input_may_come_from_a_file(fuzz, tmp_path):
    """As a fuzzer writes the one that it has found."""
    (tmp_path / "input").write_bytes(random.Random(0).randbytes(300))
    run(fuzz(), str(tmp_path / "input"))


@pytest.mark.parametrize("isa", HERE)
def test_vector_loops_solve_any_problem(fuzz, isa):
    """For each instruction set that the processor has."""
    check(fuzz(isa), 20 * int(EXAMPLES) if EXAMPLES else 300)

"""Arbitrary bytes as problems for the C++ loops, under sanitizers. `make fuzz` tries more."""

import random

import pytest
from fuzzing import EXAMPLES
from repository import lists_of, run_program, the_compiler

from tf_stn._library import cpu_isa

ISAS = list(lists_of("setup.py", "CPU_ISAS")[0])
HERE = ISAS[: ISAS.index(cpu_isa()) + 1] if cpu_isa() in ISAS else []
BUILD = "thorough" if EXAMPLES else "sanitized"


@pytest.fixture(scope="module")
def fuzz(objects, tmp_path_factory):
    """Returns the fuzz target of the plain loops, or of them and those for an instruction set."""

    def build(isa=None, fuzzer=False):
        program = tmp_path_factory.mktemp("fuzz") / f"fuzz_{isa}"
        # The target itself is without sanitizers: they watch the loops, and all memory they touch.
        target = [
            *("-O0", "-fno-sanitize=all"),
            *([f"-DTF_STN_FUZZ_CPU_LOOPS={isa}"] if isa else []),
            *(["-DTF_STN_LIBFUZZER"] if fuzzer else []),
        ]
        # The fuzzer sees which branches of these an input takes.
        watched = ["-fsanitize=fuzzer-no-link"] if fuzzer else []
        name = f"{isa}_fuzzer" if fuzzer else str(isa)
        files = [objects.compile("tests/cpp/fuzz.cc", BUILD, *target, name=name)]
        for source in ("plain", "run"):
            path = f"cc/kernels/cpu/{source}.cc"
            files.append(objects.compile(path, BUILD, *watched, name="fuzzer" if fuzzer else ""))
        files += objects.loops(BUILD, isa, *watched) if isa else []
        objects.link(BUILD, program, *files, *(["-fsanitize=fuzzer"] if fuzzer else []))
        return str(program)

    return build


def check(program, count):
    seed = random.getrandbits(32) if EXAMPLES else 1
    assert run_program(program, str(count), str(seed)) == f"{count} inputs of seed {seed}\n"


def test_plain_loops_solve_any_problem(fuzz):
    """Without reading or writing beyond their memory, without undefined behaviour."""
    check(fuzz(), 20 * int(EXAMPLES) if EXAMPLES else 500)


def test_an_input_may_come_from_a_file(fuzz, tmp_path):
    """As a fuzzer writes the one that it has found."""
    (tmp_path / "input").write_bytes(random.Random(0).randbytes(300))
    run_program(fuzz(), str(tmp_path / "input"))


@pytest.mark.parametrize("isa", HERE)
def test_vector_loops_solve_any_problem(fuzz, isa):
    """For each instruction set that the processor has."""
    check(fuzz(isa), 20 * int(EXAMPLES) if EXAMPLES else 300)


@pytest.mark.skipif(the_compiler().kind != "clang", reason="libFuzzer comes with clang")
def test_libfuzzer_finds_no_input_that_fails(fuzz, tmp_path):
    """It looks for inputs that take new branches, of the best loops that the processor has."""
    budget = [f"-max_total_time={int(EXAMPLES) // 10}"] if EXAMPLES else ["-runs=200", "-seed=1"]
    options = ["-max_len=1000", f"-artifact_prefix={tmp_path}/", *budget]
    run_program(fuzz(HERE[-1], fuzzer=True), *options)

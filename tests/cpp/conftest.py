"""The CPU's loops, compiled once for all tests that link them."""

import fcntl
import os
import pathlib
import subprocess

import pytest
from repository import ROOT, compiler, lists_of, the_compiler

SOURCES, ISAS, COMPILE_FLAGS, CPU_FLAGS = lists_of(
    "setup.py", "CPU_SOURCES", "CPU_ISAS", "COMPILE_FLAGS", "CPU_FLAGS"
)
ISAS = the_compiler().instruction_sets(ISAS)
SANITIZERS = [
    *("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"),
    # Where g++ 12 does not optimise, or sanitizes, it warns of intrinsics of its own.
    *("-g", "-Wno-uninitialized", "-Wno-maybe-uninitialized", "-Wno-unknown-warning-option"),
]
BUILDS = {
    "plain": ["-Werror"],
    # Of two types of pixels, and not optimised: otherwise compiling takes ten times as long.
    "sanitized": ["-Werror", "-O0", *SANITIZERS, "-include", "tests/cpp/few_pixel_types.h"],
    # For `make fuzz`.
    "thorough": ["-Werror", "-O1", *SANITIZERS],
}


class Objects:
    """Compiles sources, each at most once for all processes that run tests."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def compile(self, source: str, build: str, *flags: str, name: str = "") -> str:
        """Returns the object of a source, compiled as setup.py does but for `build` and `flags`."""
        target = self.folder / f"{pathlib.Path(source).stem}_{name}_{build}.o"
        command = [*compiler(), *COMPILE_FLAGS, *BUILDS[build], *flags, "-I.", "-c", source]
        with open(f"{target}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                unfinished = target.with_suffix(".part")
                subprocess.run([*command, "-o", str(unfinished)], check=True, cwd=ROOT)
                unfinished.rename(target)
        return str(target)

    def loops(self, build: str, isa: str, *more: str) -> list[str]:
        """Returns the objects of the vector loops for an instruction set, compiled with `more`."""
        flags = [*CPU_FLAGS, *ISAS[isa], f"-DTF_STN_ISA={isa}", *more]
        name = "_".join([isa, *(flag.rpartition("=")[2] for flag in more)])
        # What takes longest comes first.
        return [self.compile(source, build, *flags, name=name) for source in reversed(SOURCES)]

    def link(self, build: str, program: pathlib.Path, *objects: str) -> None:
        command = [*compiler(), *BUILDS[build], *objects, "-pthread", "-o", str(program)]
        subprocess.run(command, check=True, cwd=ROOT)


@pytest.fixture(scope="session")
def objects(tmp_path_factory):
    """Compiles the loops and what runs them; what another process has compiled is there."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = folder / "objects"
    folder.mkdir(exist_ok=True)
    return Objects(folder)

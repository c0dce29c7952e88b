"""Which C++ compilers the library is built with, and for which processors."""

import re

import pytest
from repository import ROOT
from toolchain import OLDEST, Compiler, compiler_launcher

X86_64 = "#define __x86_64__ 1"
ISAS = {"baseline": [], "avx2": ["-march=x86-64-v3"]}


@pytest.fixture
def fake_compiler(tmp_path, monkeypatch):
    """Returns the Compiler of a script that defines these macros."""

    def make(*macros):
        script = tmp_path / "c++"
        script.write_text("#!/bin/sh\ncat <<END\n{}\nEND\n".format("\n".join(macros)))
        script.chmod(0o755)
        monkeypatch.setenv("CXX", f"{script} --option")
        return Compiler()

    return make


def test_clang_is_known_though_it_calls_itself_g_plus_plus(fake_compiler):
    compiler = fake_compiler("#define __GNUC__ 4", "#define __clang_major__ 17", X86_64)
    assert compiler.kind == "clang"
    assert compiler.command[1:] == ["--option"]


@pytest.mark.parametrize(
    "macros, name",
    [
        (["#define __GNUC__ 10"], "g++ 10"),
        (["#define __GNUC__ 4", "#define __clang_major__ 15"], "clang 15"),
    ],
    ids=["g++", "clang"],
)
def test_an_old_compiler_is_refused_by_what_is_needed(fake_compiler, macros, name):
    with pytest.raises(SystemExit) as error:
        fake_compiler(*macros)
    assert f"is {name}, but tf-stn needs g++ 11 or clang 16, or later" in str(error.value)


def test_a_compiler_that_is_missing_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(SystemExit, match=r"no-such-compiler not found. Install g\+\+ .* set CXX"):
        Compiler()


def test_what_is_no_compiler_is_refused_with_what_it_said(tmp_path, monkeypatch):
    script = tmp_path / "c++"
    script.write_text("#!/bin/sh\necho 'no idea' >&2; exit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    with pytest.raises(SystemExit, match=r"(?s)is no C\+\+ compiler .*no idea"):
        Compiler()


def test_only_x86_64_has_more_instruction_sets_than_the_baseline(fake_compiler):
    assert fake_compiler("#define __GNUC__ 12", X86_64).instruction_sets(ISAS) == ISAS
    other = fake_compiler("#define __GNUC__ 12", "#define __aarch64__ 1")
    assert other.instruction_sets(ISAS) == {"baseline": []}


def test_documents_say_which_compilers_are_needed():
    for name in ("README.md", "CONTRIBUTING.md", "setup.py"):
        text = (ROOT / name).read_text()
        assert re.search(rf"g\+\+ {OLDEST['g++']}\b", text), name
    assert f"clang {OLDEST['clang']}" in (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize("name, command", [(None, []), ("", []), ("ccache -v", ["ccache", "-v"])])
def test_a_launcher_calls_the_compilers(monkeypatch, name, command):
    monkeypatch.delenv("TF_STN_COMPILER_LAUNCHER", raising=False)
    if name is not None:
        monkeypatch.setenv("TF_STN_COMPILER_LAUNCHER", name)
    assert compiler_launcher() == command

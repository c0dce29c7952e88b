"""Where the files of the repository are, what some of them list, and what compiles them."""

import ast
import functools
import os
import pathlib
import shlex
import subprocess

from toolchain import Compiler

ROOT = pathlib.Path(__file__).resolve().parents[2]

# The C++ compiler, as setup.py takes it.
the_compiler = functools.cache(Compiler)


def compiler():
    """Returns its command."""
    return the_compiler().command


def run_program(*command):
    """Runs a program that was compiled, by TEST_RUNNER if it is for another processor.

    Returns what it prints.
    """
    runner = shlex.split(os.environ.get("TEST_RUNNER", ""))
    result = subprocess.run([*runner, *command], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stdout[-10000:] + result.stderr[-10000:]
    return result.stdout


def lists_of(path, *names):
    """Returns the literal values of the named top-level assignments in a file."""
    values = {
        node.targets[0].id: node.value
        for node in ast.parse((ROOT / path).read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    return [ast.literal_eval(values[name]) for name in names]

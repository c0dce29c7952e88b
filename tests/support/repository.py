"""Where the files of the repository are, what some of them list, and what compiles them."""

import ast
import os
import pathlib
import shlex

ROOT = pathlib.Path(__file__).resolve().parents[2]


def compiler():
    """Returns the command of the C++ compiler, as setup.py takes it."""
    return shlex.split(os.environ.get("CXX", "g++"))


def lists_of(path, *names):
    """Returns the literal values of the named top-level assignments in a file."""
    values = {
        node.targets[0].id: node.value
        for node in ast.parse((ROOT / path).read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    return [ast.literal_eval(values[name]) for name in names]

"""Prepares a Bazel build of the library against an installed TensorFlow; nothing is downloaded.

Run it with the Python that has TensorFlow, and again after a change of either:

    python tools/bazel/configure.py
    bazel build //...  # bazel-bin/tf_stn/_tf_stn.so
    bazel test //...

It writes the folder .bazel, which git ignores:

    tensorflow/   Repository @tensorflow: links to the headers and the framework library, the
                  version, and this Python to run tests with.
    rules_cc/, remote_coverage_tools/
                  Repositories that Debian's Bazel lacks or cannot read; see `debian_overrides`.
    bazelrc       Options that .bazelrc imports.

Tested with Bazel 4.2.3 of Debian 12: apt-get install bazel-bootstrap bazel-rules-cc
bazel-rules-java. Not tested: Bazel 7 and 8, which download their own rules and need
--config=workspace after `build` or `test`, for --noenable_bzlmod --enable_workspace. Bazel 9 has
no WORKSPACE any more.
"""

import importlib.metadata
import importlib.util
import pathlib
import shlex
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUTPUT = ROOT / ".bazel"
FRAMEWORK = "libtensorflow_framework.so.2"

# Where Debian installs Bazel's rules.
DEBIAN_RULES = pathlib.Path("/usr/share/bazel/rules")

# The headers' own third-party folder is half of them, and none is included by ours.
TENSORFLOW_BUILD = f"""\
package(default_visibility = ["//visibility:public"])

exports_files(["python"])

cc_library(
    name = "headers",
    hdrs = glob(
        ["include/**"],
        exclude = ["include/external/**"],
    ),
    defines = [
        "_GLIBCXX_USE_CXX11_ABI=1",
        "EIGEN_MAX_ALIGN_BYTES=64",
    ],
    # As system headers, so that only our own files give warnings.
    includes = ["include"],
)

filegroup(
    name = "framework",
    srcs = ["{FRAMEWORK}"],
)
"""

COVERAGE_BUILD = """\
filegroup(
    name = "coverage_report_generator",
    visibility = ["//visibility:public"],
)
"""


def find_tensorflow() -> pathlib.Path:
    """Returns the folder of the TensorFlow that can be imported, without importing it."""
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.origin is None:
        raise SystemExit(f"configure.py: {sys.executable} has no TensorFlow")
    return pathlib.Path(spec.origin).parent


def tensorflow_minor() -> str:
    """Returns the minor version of the installed TensorFlow, such as `2.21`."""
    for name in ("tensorflow-cpu", "tensorflow", "tf-nightly"):
        try:
            return ".".join(importlib.metadata.version(name).split(".")[:2])
        except importlib.metadata.PackageNotFoundError:
            continue
    raise SystemExit("configure.py: TensorFlow was not installed by pip, its version is unknown")


def write_repository(name: str, build: str) -> pathlib.Path:
    """Makes the folder of a repository with one package, and returns it."""
    folder = OUTPUT / name
    folder.mkdir(parents=True)
    (folder / "WORKSPACE").write_text(f'workspace(name = "{name}")\n')
    (folder / "BUILD").write_text(build)
    return folder


def write_tensorflow() -> None:
    """Writes the repository @tensorflow."""
    tensorflow = find_tensorflow()
    folder = write_repository("tensorflow", TENSORFLOW_BUILD)
    for name in ("include", FRAMEWORK):
        (folder / name).symlink_to(tensorflow / name)
    (folder / "version.bzl").write_text(f'TENSORFLOW_MINOR = "{tensorflow_minor()}"\n')
    # A link would not do: Python finds a virtual environment by the path it was called by.
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)


def copy_rules_cc() -> pathlib.Path:
    """Copies Debian's C++ rules without a function that its Bazel does not have yet.

    bazel-rules-cc is newer than bazel-bootstrap: it calls `use_cpp_toolchain`, which in this
    Bazel is still written as the list that the function returns.
    """
    folder = OUTPUT / "rules_cc"
    shutil.copytree(DEBIAN_RULES / "cc", folder)
    for path in folder.rglob("*.bzl"):
        text = path.read_text()
        text = text.replace(', "use_cpp_toolchain"', "")
        text = text.replace("use_cpp_toolchain()", '["@bazel_tools//tools/cpp:toolchain_type"]')
        path.write_text(text)
    return folder


def debian_overrides() -> dict[str, pathlib.Path]:
    """Returns folders for the repositories that Bazel would download and Debian's must not."""
    if not DEBIAN_RULES.is_dir():
        return {}
    return {
        "rules_cc": copy_rules_cc(),
        "rules_java": DEBIAN_RULES / "java",
        # Every test depends on it, though only `bazel coverage` uses it.
        "remote_coverage_tools": write_repository("remote_coverage_tools", COVERAGE_BUILD),
    }


def main() -> None:
    """Writes the folder anew."""
    if OUTPUT.exists():
        shutil.rmtree(OUTPUT)
    write_tensorflow()
    options = [
        f'common "--override_repository={name}={folder}"\n'
        for name, folder in debian_overrides().items()
    ]
    (OUTPUT / "bazelrc").write_text("".join(options))
    print(f"Configured {OUTPUT} for TensorFlow {tensorflow_minor()} in {find_tensorflow()}")


if __name__ == "__main__":
    main()

"""Prepares a Bazel build of the library against an installed TensorFlow; nothing is downloaded.

Run it with the Python that has TensorFlow, and again after a change of either:

    python tools/bazel/configure.py
    bazel build //...  # bazel-bin/tf_stn/_tf_stn.so, and from TensorFlow 2.20 on _tf_stn_xla.so
    bazel test //...

With GPU kernels, which takes an nvcc (see tools/toolchain.py for where it is looked for; NVCC,
CUDA_HOME and TF_STN_CUDA_ARCHITECTURES are as in setup.py, and are read here, not by Bazel):

    TF_STN_CUDA_ARCHITECTURES="80;90" python tools/bazel/configure.py
    bazel test --config=cuda //...

It writes the folder .bazel, which git ignores:

    tensorflow/   Repository @tensorflow: links to the headers and the framework library, the
                  version and whether XLA can compile the ops, and this Python to run tests with.
    cuda/         Repository @cuda: nvcc and the library of its runtime, or else an error message.
    rules_cc/, remote_coverage_tools/
                  Repositories that Debian's Bazel lacks or cannot read; see `debian_overrides`.
    bazelrc       Options that .bazelrc imports.

Tested with Bazel 4.2.3 of Debian 12: apt-get install bazel-bootstrap bazel-rules-cc
bazel-rules-java. Not tested: Bazel 7 and 8, which download their own rules and need
--config=workspace after `build` or `test`, for --noenable_bzlmod --enable_workspace. Bazel 9 has
no WORKSPACE any more.
"""

import pathlib
import shlex
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from toolchain import (
    Cuda,
    build_info,
    can_use_xla,
    compiler_launcher,
    find_nvcc,
    installed_minor,
    installed_tensorflow,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUTPUT = ROOT / ".bazel"
FRAMEWORK = "libtensorflow_framework.so.2"

# Where Debian installs Bazel's rules.
DEBIAN_RULES = pathlib.Path("/usr/share/bazel/rules")

# The headers' own third-party folder is half of them. Those of XLA include two parts of it.
TENSORFLOW_BUILD = f"""\
package(default_visibility = ["//visibility:public"])

exports_files([
    "_build_info.py",
    "python",
])

cc_library(
    name = "headers",
    hdrs = glob(
        ["include/**"],
        exclude = ["include/external/**"],
    ) + glob(
        [
            "include/external/farmhash_archive/src/**/*.h",
            "include/external/highwayhash/**/*.h",
        ],
        allow_empty = True,
    ),
    defines = [
        "_GLIBCXX_USE_CXX11_ABI=1",
        "EIGEN_MAX_ALIGN_BYTES=64",
    ],
    # As system headers, so that only our own files give warnings.
    includes = [
        "include",
        "include/external/farmhash_archive/src",
        "include/external/highwayhash",
    ],
)

filegroup(
    name = "framework",
    srcs = ["{FRAMEWORK}"],
)
"""

CUDA_BUILD = """\
exports_files([
    "_build_info.py",
    "libcudart_static.a",
    "nvcc",
])
"""

NO_CUDA_BUILD = """\
package(default_visibility = ["//visibility:public"])

genrule(
    name = "missing",
    outs = [
        "_build_info.py",
        "libcudart_static.a",
        "nvcc",
    ],
    cmd = "echo 'tools/bazel/configure.py found no nvcc. Set NVCC or CUDA_HOME, or install the" +
          " packages in requirements-cuda.txt, and run it again.' >&2; exit 1",
)
"""

COVERAGE_BUILD = """\
filegroup(
    name = "coverage_report_generator",
    visibility = ["//visibility:public"],
)
"""


def write_repository(name: str, build: str) -> pathlib.Path:
    """Makes the folder of a repository with one package, and returns it."""
    folder = OUTPUT / name
    folder.mkdir(parents=True)
    (folder / "WORKSPACE").write_text(f'workspace(name = "{name}")\n')
    (folder / "BUILD").write_text(build)
    return folder


def write_script(path: pathlib.Path, *command: str) -> None:
    """Writes a script that calls the command, with the script's arguments after its own."""
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    path.chmod(0o755)


def write_tensorflow(tensorflow: pathlib.Path, minor: str) -> None:
    """Writes the repository @tensorflow."""
    folder = write_repository("tensorflow", TENSORFLOW_BUILD)
    for name in ("include", FRAMEWORK):
        (folder / name).symlink_to(tensorflow / name)
    (folder / "_build_info.py").write_text(build_info(minor, None))
    (folder / "xla.bzl").write_text(f"HAS_XLA = {can_use_xla(minor)}\n")
    # A link would not do: Python finds a virtual environment by the path it was called by.
    write_script(folder / "python", sys.executable)


def write_cuda(minor: str, cuda: Cuda | None) -> None:
    """Writes the repository @cuda."""
    folder = write_repository("cuda", CUDA_BUILD if cuda else NO_CUDA_BUILD)
    if cuda:
        (folder / "_build_info.py").write_text(build_info(minor, cuda))
        (folder / "libcudart_static.a").symlink_to(cuda.runtime)
        # A link would not do: nvcc finds the rest of CUDA by the path it was called by.
        write_script(folder / "nvcc", *compiler_launcher(), *cuda.command)


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
    tensorflow, minor = installed_tensorflow(), installed_minor()
    if tensorflow is None:
        raise SystemExit(f"configure.py: {sys.executable} has no TensorFlow")
    if minor is None:
        raise SystemExit("configure.py: TensorFlow's version is unknown: pip did not install it")
    nvcc = find_nvcc()
    cuda = Cuda(nvcc) if nvcc else None

    if OUTPUT.exists():
        shutil.rmtree(OUTPUT)
    write_tensorflow(tensorflow, minor)
    write_cuda(minor, cuda)
    options = [
        f'common "--override_repository={name}={folder}"\n'
        for name, folder in debian_overrides().items()
    ]
    (OUTPUT / "bazelrc").write_text("".join(options))
    print(f"Configured {OUTPUT} for TensorFlow {minor} in {tensorflow}")
    if cuda:
        architectures = ", ".join(map(str, cuda.architectures))
        print(f"and with --config=cuda for CUDA {cuda.version} ({architectures}) by {cuda.nvcc}")
    else:
        print("without CUDA: no nvcc was found")


if __name__ == "__main__":
    main()

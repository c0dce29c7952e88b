"""The GPU kernels without a GPU: run on the host, compiled by nvcc, registered.

With a GPU, all tests of the op run on it as well; see conftest.py.
"""

import concurrent.futures
import csv
import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest
import tensorflow as tf
from repository import ROOT, compiler
from toolchain import can_use_xla

from tf_stn import _build_info

SOURCES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("cc/kernels/gpu/*.cu.cc"))
TESTS = ["tests/cpp/gpu_test.cc", "tests/cpp/gpu_source_test.cc"]
XLA_TESTS = ["tests/cpp/xla_test.cc", "cc/xla/handlers_gpu.cc"]
TABLE = ROOT / "benchmarks/gpu_kernels.csv"
OPS = [
    *("Resampler", "ResamplerGrad", "ResamplerGradGrad"),
    *("DisplacementResampler", "DisplacementResamplerGrad", "DisplacementResamplerGradGrad"),
    *("AffineResampler", "AffineResamplerGrad"),
    *("ProjectiveResampler", "ProjectiveResamplerGrad"),
]
TYPES = ["bfloat16", "float16", "float32", "float64"]
HOST_BUILDS = {
    # g++ warns of uninitialised values where there are none.
    "sanitized": [
        *("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
        *("-Wno-maybe-uninitialized", "-Wno-unknown-warning-option"),
    ],
    # The paths of large tensors, with indices of 64 bits and more work than blocks, and of GPUs
    # that add atomically one number at a time.
    "large": [
        *("-O1", "-DTF_STN_MOST_BLOCKS=2", "-DTF_STN_INT32_LIMIT=0"),
        "-DTF_STN_NO_ATOMIC_VECTORS",
    ],
}
# For which kernels are compiled here, since all take several times as long; `make test-cuda`
# compiles for these too.
# The table is of these.
SOME_ARCHITECTURES = (75, 90, 120)
# Threads that a multiprocessor can hold; each has 65,536 registers.
MOST_THREADS = {75: 1024} | dict.fromkeys((80, 90, 100), 2048)
OTHER_MOST_THREADS = 1536


@pytest.mark.parametrize("build", HOST_BUILDS)
def test_kernels_run_on_the_host_and_equal_the_cpu(tmp_path, build):
    program = tmp_path / "gpu_test"
    flags = ["-std=c++17", "-g", "-Werror", "-Wall", "-Wextra", "-Wno-unknown-pragmas", f"-I{ROOT}"]
    flags += ["-include", str(ROOT / "tests/cpp/cuda_on_host.h"), *HOST_BUILDS[build]]
    sources = {source: [] for source in [*TESTS, *SOURCES]}
    if build == "sanitized" and can_use_xla(_build_info.TENSORFLOW):
        # Not optimised: they only hand calls on.
        of_xla = ["-O0", "-DTF_STN_CUDA", f"-isystem{tf.sysconfig.get_include()}"]
        sources |= dict.fromkeys(XLA_TESTS, of_xla)

    def compile_source(source):
        target = tmp_path / f"{pathlib.Path(source).stem}.o"
        command = [*compiler(), *flags, *sources[source], "-x", "c++", "-c", str(ROOT / source)]
        subprocess.run([*command, "-o", str(target)], check=True)
        return str(target)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        targets = list(pool.map(compile_source, sources))
    subprocess.run([*compiler(), *HOST_BUILDS[build], *targets, "-o", str(program)], check=True)
    result = subprocess.run([program], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def setup_module_of_project():
    """The functions of setup.py, which would start a build if it were imported as it is."""
    source = (ROOT / "setup.py").read_text().split("\nMINOR = ")[0]
    spec = importlib.util.spec_from_loader("project_setup", loader=None)
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(ROOT / "setup.py")
    exec(compile(source, "setup.py", "exec"), module.__dict__)
    return module


@pytest.fixture(scope="module")
def cuda(setup_module_of_project):
    nvcc = setup_module_of_project.find_nvcc()
    if nvcc is None:
        assert os.environ.get("TF_STN_REQUIRE_CUDA") != "1", "TF_STN_REQUIRE_CUDA=1, but no nvcc"
        pytest.skip("no nvcc; pip install -r requirements-cuda.txt brings one")
    return setup_module_of_project.Cuda(nvcc)


def test_compiler_is_found_where_the_environment_says(
    setup_module_of_project, monkeypatch, tmp_path
):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/nvcc").touch()
    monkeypatch.delenv("NVCC", raising=False)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert setup_module_of_project.find_nvcc() == tmp_path / "bin/nvcc"
    monkeypatch.setenv("NVCC", "/elsewhere/nvcc")
    assert setup_module_of_project.find_nvcc() == pathlib.Path("/elsewhere/nvcc")


def test_architectures_are_checked(cuda, monkeypatch):
    monkeypatch.setenv("TF_STN_CUDA_ARCHITECTURES", "90;80")
    assert type(cuda)(cuda.nvcc).architectures == [80, 90]
    monkeypatch.setenv("TF_STN_CUDA_ARCHITECTURES", "60")
    with pytest.raises(SystemExit, match="from 75 on, such as 80;90, received '60'"):
        type(cuda)(cuda.nvcc)


@pytest.fixture
def fake_nvcc(setup_module_of_project, tmp_path):
    """Returns the Cuda of a script that prints what nvcc prints."""

    def make(version="release 13.0", architectures=("compute_90",)):
        script = tmp_path / "nvcc"
        listed = "\n".join(architectures)
        script.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo '{version}' || echo '{listed}'\n")
        script.chmod(0o755)
        return setup_module_of_project.Cuda(script)

    return make


def test_variants_of_architectures_and_old_ones_are_left_out(fake_nvcc, monkeypatch):
    monkeypatch.delenv("TF_STN_CUDA_ARCHITECTURES", raising=False)
    cuda = fake_nvcc(architectures=["compute_70", "compute_89", "compute_90a", "compute_120"])
    assert cuda.architectures == [89, 120]
    assert cuda.architecture_flags == [
        "-gencode=arch=compute_80,code=[sm_89]",
        "-gencode=arch=compute_90,code=[sm_120,compute_90]",
        "--compress-mode=size",
    ]
    old = fake_nvcc("release 12.4, V12.4.99")
    assert old.architecture_flags == ["-gencode=arch=compute_90,code=[sm_90,compute_90]"]


def test_what_is_no_nvcc_or_too_old_is_refused(fake_nvcc, monkeypatch):
    monkeypatch.delenv("TF_STN_CUDA_ARCHITECTURES", raising=False)
    with pytest.raises(SystemExit, match="compiles for no architecture from 75 on"):
        fake_nvcc(architectures=["compute_60", "compute_70"])
    with pytest.raises(SystemExit, match="names no release: is it nvcc"):
        fake_nvcc(version="gcc 12")


@pytest.fixture(scope="module")
def architectures(cuda):
    """Those to compile for: some, or with TF_STN_TEST_ALL_ARCHITECTURES=1 all."""
    if os.environ.get("TF_STN_TEST_ALL_ARCHITECTURES") == "1":
        return cuda.architectures
    return SOME_ARCHITECTURES


@pytest.fixture(scope="module")
def compiled(setup_module_of_project, cuda, architectures, tmp_path_factory):
    """The object files for these architectures, and what ptxas reports of their kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_STN_CUDA_ARCHITECTURES", ";".join(map(str, architectures)))
        cuda = type(cuda)(cuda.nvcc)
    folder = tmp_path_factory.mktemp("cuda")
    targets = [str(folder / f"{pathlib.Path(source).stem}.o") for source in SOURCES]

    def compile_source(source, target):
        command = [*setup_module_of_project.BuildLibrary.device_command(cuda)]
        command += ["-Werror=all-warnings", "-Xptxas=-v", "-c", source, "-o", target]
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stderr + result.stdout

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        reports = list(pool.map(compile_source, SOURCES, targets))
    return targets, resources("\n".join(reports))


def resources(report):
    """Returns (kernel, architecture, registers, stack and spilled bytes) of each kernel."""
    pattern = (
        r"Compiling entry function '(\w+)' for 'sm_(\d+)'.*?"
        r"(\d+) bytes stack frame, (\d+) bytes spill stores.*?Used (\d+) registers"
    )
    found = re.findall(pattern, report, re.DOTALL)
    symbols = "\n".join(symbol for symbol, *_ in found)
    names = subprocess.run(["c++filt"], input=symbols, capture_output=True, text=True, check=True)
    rows = []
    for name, (_, architecture, stack, spilled, registers) in zip(names.stdout.split("\n"), found):
        kernel = re.search(r"(\w+Kernel<.*>)\(", name).group(1)
        kernel = re.sub(r"tf_stn::|\(anonymous namespace\)::", "", kernel)
        kernel = re.sub(r"Stencil<2, Linear, Zeros, (\w+), (\w+), NoOrders>", r"\1, \2", kernel)
        general = r"Stencil<(\d), (\w+), AnyPadding, (\w+), long, Orders<\d> ?>"
        kernel = re.sub(general, r"\1, \2, \3", kernel)
        kinds = {
            "Warp": ("Warp", "Warp", "Displacement"),
            "Matrix": ("Matrix", "Affine", "Projective"),
        }
        for source, names in kinds.items():
            for kind, name in enumerate(names):
                points = rf"{source}Points<[^>]*\({source}Kind\){kind}>"
                kernel = re.sub(points, name, kernel)
        kernel = re.sub(r"(\w+)Points<[^>]*>", r"\1", kernel)
        rows.append((kernel, int(architecture), int(registers), int(stack) + int(spilled)))
    return rows


def test_kernels_compile_without_warnings(compiled, architectures):
    _, rows = compiled
    assert {architecture for _, architecture, *_ in rows} == set(architectures)


def test_architectures_are_those_that_the_compiler_knows(cuda, monkeypatch):
    monkeypatch.delenv("TF_STN_CUDA_ARCHITECTURES", raising=False)
    known = type(cuda)(cuda.nvcc).architectures
    assert {*SOME_ARCHITECTURES, 80, 100} <= set(known)


def is_general(kernel):
    """Whether it is one of all modes, and not of bilinear interpolation with zeros outside."""
    return re.match("Sample|PointGradient|ItemGradient|OrderedGradient|SecondOrder", kernel)


def eighths_of_threads(kernel):
    """Returns how many eighths of a multiprocessor's threads fit at once, at least.

    Half of them; three eighths where the gradient of items is summed, or numbers have 64 bits or
    come by the eight; a quarter where two of these hold, where items are projective, or indices
    have 64 bits, or for kernels of all modes; an eighth for these where numbers have 64 bits or
    projective items are of volumes, and where two of the reasons for a quarter hold.
    """
    is_projective = "Projective" in kernel
    if is_general(kernel):
        is_wide = "double" in kernel or (is_projective and "<3" in kernel)
        return 1 if is_wide else 2
    is_wide, is_long = "double" in kernel or ", 8," in kernel, "long" in kernel
    if is_projective:
        return 1 if is_wide or is_long else 2
    is_heavy = [kernel.startswith("BilinearItem"), is_wide]
    return 2 if all(is_heavy) or is_long else 3 if any(is_heavy) else 4


def test_kernels_spill_nothing_and_leave_room_for_other_threads(compiled):
    """Launch bounds promise the room; that nothing is spilled for it is the compiler's word."""
    _, rows = compiled
    assert len([row for row in rows if not is_general(row[0])]) > 450
    assert len([row for row in rows if is_general(row[0])]) > 600
    for kernel, architecture, registers, stack in rows:
        most_threads = MOST_THREADS.get(architecture, OTHER_MOST_THREADS)
        threads = most_threads * eighths_of_threads(kernel) // 8
        granted = -(-registers // 8) * 8  # Registers are handed out by the eight.
        assert stack == 0, (kernel, architecture)
        assert granted * threads <= 65536, (kernel, architecture, registers)


def test_table_of_resources_is_current(compiled, cuda):
    """It has the most registers on some architectures, for 32-bit indices where there are two."""
    if not cuda.version.startswith("13.0"):
        pytest.skip("the table is of CUDA 13.0")
    _, rows = compiled
    most = {}
    for kernel, architecture, registers, _ in rows:
        if architecture in SOME_ARCHITECTURES and "long" not in kernel:
            most[kernel] = max(most.get(kernel, 0), registers)
    with TABLE.open() as file:
        table = {row["kernel"]: int(row["registers"]) for row in csv.DictReader(file)}
    assert most == table


NO_DRIVER = """
#include <cstdio>
#include "cc/kernels/gpu/launchers.h"
int main() {
  using Points = tf_stn::WarpPoints<2, float>;
  float numbers[8] = {};
  const tf_stn::Call<Points, float> call = {
      tf_stn::Modes(), {{{1, 1}, 1}, 1, 1}, numbers, nullptr, {numbers, 1, 1}};
  const char* error =
      tf_stn::LaunchSample(tf_stn::SampleCall<Points, float>{call, numbers}, nullptr);
  std::puts(error == nullptr ? "launched" : error);
}
"""


def test_launch_without_a_driver_says_so(setup_module_of_project, compiled, cuda, tmp_path):
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a driver")
    targets, _ = compiled
    (tmp_path / "main.cc").write_text(NO_DRIVER)
    program = tmp_path / "main"
    command = [*compiler(), "-std=c++17", f"-I{ROOT}", str(tmp_path / "main.cc"), *targets]
    libraries = setup_module_of_project.BuildLibrary.cuda_link_flags(cuda)
    subprocess.run([*command, *libraries, "-o", str(program)], check=True)
    result = subprocess.run([program], check=True, capture_output=True, text=True)
    assert "driver" in result.stdout


def listed_kernels():
    """Returns what `python -m tf_stn` prints, as text and as {(op, device): types}."""
    command = [sys.executable, "-m", "tf_stn"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in text.splitlines() if line.startswith("TfStn>")]
    return text, {(op, device): types for op, device, *types in rows}


def test_command_lists_the_kernels_of_every_op_and_type():
    text, listed = listed_kernels()
    devices = ["CPU", "GPU"] if _build_info.CUDA else ["CPU"]
    expected = {(f"TfStn>{op}", d): TYPES for op in OPS for d in devices}
    assert listed == expected
    assert f"built for   TensorFlow {_build_info.TENSORFLOW}" in text
    assert f"TensorFlow  {tf.__version__}, sees CPU:0" in text


def test_library_has_gpu_kernels_where_there_is_a_cuda_compiler(cuda):
    if os.environ.get("TF_STN_CUDA") == "0":
        pytest.skip("the build was asked to do without")
    assert cuda.version == _build_info.CUDA
    assert set(_build_info.CUDA_ARCHITECTURES) <= set(cuda.architectures)


def test_bandwidth_is_measured_on_any_device(tmp_path):
    """The benchmark for a card runs on the CPU as well."""
    options = ["--workloads", "mnist", "--calls", "2", "--repeats", "1", "--device", "cpu"]
    command = [sys.executable, str(ROOT / "benchmarks/bandwidth.py"), *options]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in text.splitlines() if line.startswith("mnist")]
    assert [" ".join(row[1:-3]) for row in rows] == [
        "forward",
        "grad data",
        "grad warp",
        "grad both",
    ]
    assert all(float(row[-2]) > 0 for row in rows)


def test_failing_cuda_compiler_names_the_way_out(setup_module_of_project):
    """With TF_STN_CUDA=auto an nvcc too old for the host compiler would block an installation."""
    execute = setup_module_of_project.BuildLibrary.execute_command
    with pytest.raises(SystemExit, match="TF_STN_CUDA=0 builds without GPU kernels"):
        execute(["false", SOURCES[0]])
    with pytest.raises(SystemExit, match=r"false failed with 1$"):
        execute(["false"])


def test_choice_of_cuda_is_checked(setup_module_of_project, monkeypatch):
    wanted = setup_module_of_project.wanted_cuda
    monkeypatch.setenv("TF_STN_CUDA", "0")
    assert wanted() is None
    monkeypatch.setenv("TF_STN_CUDA", "yes")
    with pytest.raises(SystemExit, match="must be auto, 0 or 1, received 'yes'"):
        wanted()
    monkeypatch.setattr(setup_module_of_project, "find_nvcc", lambda: None)
    monkeypatch.setenv("TF_STN_CUDA", "auto")
    assert wanted() is None
    monkeypatch.setenv("TF_STN_CUDA", "1")
    with pytest.raises(SystemExit, match="no nvcc was found"):
        wanted()

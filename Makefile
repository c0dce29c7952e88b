# Everything happens in a virtual environment, which these commands make and fill.

PYTHON ?= python3
VENV ?= .venv
TENSORFLOW ?= 2.21
# Tests that run at once, file by file.
JOBS ?= 2
TENSORFLOW_PACKAGE ?= tensorflow-cpu
# For the peers of the benchmark: TensorFlow Addons needs Python 3.9 to 3.11, we 3.10 or later.
PEER_PYTHON ?= python3.11
MINORS ?= 2.16 2.17 2.18 2.19 2.20 2.21

bin := $(VENV)/bin
cc_sources := $(shell find cc -name '*.h' -o -name '*.cc')
cc_files := $(cc_sources) $(wildcard tests/cpp/*.h tests/cpp/*.cc)
export TF_CPP_MIN_LOG_LEVEL ?= 2

.NOTPARALLEL:
.PHONY: help demo test test-large test-cuda test-portable test-gpu fuzz clang aarch64 lint format docs \
	check-docs wheel check-wheel release-notes compatibility bazel peers benchmark clean

help:
	@echo "make demo           train with and without a spatial transformer; results in demo/"
	@echo "make test           build and run all tests"
	@echo "make test-large     tests of tensors with more than 2^31 elements, in 16 GiB of memory"
	@echo "make test-cuda      tests of the GPU kernels, compiled for every architecture"
	@echo "make test-portable  all tests of the portable implementation, those that take long too"
	@echo "make fuzz           look for failing inputs; FUZZ_EXAMPLES says how long"
	@echo "make clang          the C++ tests and libFuzzer, compiled by CLANG"
	@echo "make aarch64        the C++ tests for that processor, by a cross compiler and qemu"
	@echo "make test-gpu       the tests of ops and layers on a GPU, which must be there"
	@echo "make lint           check style and types; make format mends style"
	@echo "make docs           build the site in build/docs/html; make check-docs opens it in Chromium"
	@echo "make wheel          build a wheel for TensorFlow $(TENSORFLOW) in dist/"
	@echo "make check-wheel    the same, installed and run in an environment of its own"
	@echo "make compatibility  the same for every supported TensorFlow"
	@echo "make release-notes  whether TAG, such as v0.1.0, can be released, and its notes in build/"
	@echo "make bazel          build and test with Bazel"
	@echo "make peers          an environment for each peer of the benchmark, with PEER_PYTHON"
	@echo "make benchmark      compare with the peers; results in benchmarks/"
	@echo "make clean          remove everything that was built"

demo: $(VENV)/installed
	$(bin)/python examples/distorted_digits.py --output demo

test: $(VENV)/installed
	$(bin)/python -m pytest --numprocesses $(JOBS) --dist loadfile $(PYTEST_ARGUMENTS)

test-large: $(VENV)/installed
	$(bin)/python -m pytest -m large -rs tests/ops/test_large.py $(PYTEST_ARGUMENTS)

# Of the GPU kernels for every architecture that nvcc knows; `make test` compiles for some.
test-cuda: $(VENV)/installed
	env -u TF_STN_CUDA_ARCHITECTURES TF_STN_REQUIRE_CUDA=1 TF_STN_TEST_ALL_ARCHITECTURES=1 \
		$(bin)/python -m pytest tests/gpu $(PYTEST_ARGUMENTS)

# All that runs in TensorFlow's own operations as well, what takes long included.
test-portable: $(VENV)/installed
	$(bin)/python -m pytest --numprocesses $(JOBS) --dist loadfile -m 'not large' -k portable \
		tests/ops tests/export $(PYTEST_ARGUMENTS)

# Each property of that many problems, 20 times as many for the C++ loops, and other ones in every
# run. One that fails is printed, smaller, with how to try it again.
FUZZ_EXAMPLES ?= 3000

fuzz: $(VENV)/installed
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(bin)/python -m pytest tests/ops/test_properties.py \
		tests/ops/test_concurrency.py tests/cpp/test_fuzz.py tests/cpp/test_threads.py \
		$(PYTEST_ARGUMENTS)

# Clang 16 or later, such as CLANG=clang++-16.
CLANG ?= clang++

clang: $(VENV)/installed
	CXX='$(CLANG)' $(bin)/python -m pytest tests/cpp $(PYTEST_ARGUMENTS)

# On Debian and Ubuntu: apt-get install g++-aarch64-linux-gnu qemu-user
AARCH64 ?= aarch64-linux-gnu-g++
QEMU ?= qemu-aarch64 -L /usr/aarch64-linux-gnu

aarch64: $(VENV)/installed
	CXX='$(AARCH64)' TEST_RUNNER='$(QEMU)' $(bin)/python -m pytest tests/cpp/test_core.py \
		tests/cpp/test_cpu.py -k 'own_tests[plain] or test-plain or source_of_points' \
		$(PYTEST_ARGUMENTS)

# In an environment of its own, since TensorFlow's package is another.
test-gpu:
	$(MAKE) VENV=.venv-gpu TENSORFLOW_PACKAGE='tensorflow[and-cuda]' test-gpu-here

.PHONY: test-gpu-here
test-gpu-here: $(VENV)/installed
	TF_STN_REQUIRE_GPU=1 $(bin)/python -m pytest tests/ops tests/layers $(PYTEST_ARGUMENTS)

lint: $(VENV)/installed
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy tf_stn
	$(bin)/clang-format --dry-run --Werror $(cc_files)
	$(bin)/actionlint

format: $(VENV)/installed
	$(bin)/ruff check --fix .
	$(bin)/ruff format .
	$(bin)/clang-format -i $(cc_files)

# Anew each time, as a page that is not read again gives no warnings. The package is imported, but
# needs no library for that.
docs: $(VENV)/docs
	rm -rf build/docs
	$(bin)/python -m sphinx -W --keep-going --quiet -d build/docs/doctrees docs build/docs/html
	@echo "build/docs/html/index.html"

check-docs: docs $(VENV)/installed
	TF_STN_REQUIRE_SITE=1 $(bin)/python -m pytest tests/docs/test_site.py $(PYTEST_ARGUMENTS)

# From the source distribution, so that nothing left by an earlier build gets in and nothing is
# missing from it. TensorFlow provides its framework library; no other may be missing on a machine.
wheel: $(VENV)/installed
	rm -rf dist build/wheel
	$(bin)/python -m build --no-isolation --outdir build/wheel
	PATH="$(abspath $(bin)):$$PATH" $(bin)/auditwheel repair \
		--exclude libtensorflow_framework.so.2 --wheel-dir dist build/wheel/*.whl

check-wheel: wheel
	PYTHON=$(PYTHON) tools/check_wheel.sh dist/*.whl

# Of the files alone, so that a tag which is wrong is told at once.
release-notes:
	@mkdir -p build
	$(PYTHON) tools/release_notes.py $(TAG) --output build/release_notes.md

# With GPU kernels, where there is an nvcc, which an isolated build would not find among packages.
compatibility: $(VENV)/installed
	nvcc=$$($(bin)/python tools/toolchain.py); \
	if [ -n "$$nvcc" ]; then export NVCC="$$nvcc" TF_STN_CUDA=1; fi; \
	for minor in $(MINORS); do \
		rm -rf build && \
		TF_STN_TENSORFLOW=$$minor $(bin)/python -m build --outdir build/compatibility && \
		PYTHON=$(PYTHON) tools/check_wheel.sh build/compatibility/*.whl || exit 1; \
	done
	rm -rf *.egg-info  # Of the last of them; tests would take it for that of the installed one.

BAZEL_TARGETS ?= //...

bazel: $(VENV)/installed
	$(bin)/python tools/bazel/configure.py
	bazel test $(BAZEL_FLAGS) $(BAZEL_TARGETS)

peers: .venv-peers/addons/installed .venv-peers/torch/installed .venv-peers/opencv/installed

.venv-peers/%/installed: benchmarks/peers/%.txt
	$(PEER_PYTHON) -m venv --clear .venv-peers/$*
	.venv-peers/$*/bin/python -m pip install --quiet -r $<
	touch $@

benchmark: $(VENV)/installed
	$(bin)/python benchmarks/compare.py --output benchmarks --readme benchmarks/README.md \
		$(BENCHMARK_ARGUMENTS)

clean:
	rm -rf .bazel build demo dist *.egg-info tf_stn/_build_info.py tf_stn/*.so \
		$(VENV) .venv-gpu .venv-peers

# tf_keras without its requirement, which would put the package tensorflow over tensorflow-cpu.
#
# Anew for every version of TensorFlow, since one library cannot serve two. With a CUDA compiler,
# so that the GPU kernels are built and tested where no CUDA is installed.
$(VENV)/tensorflow-$(TENSORFLOW):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed")'
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "Python's venv is needed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(bin)/python -m pip install --quiet '$(TENSORFLOW_PACKAGE)==$(TENSORFLOW).*' 'setuptools>=77'
	$(bin)/python -m pip install --quiet --no-deps -r requirements-cuda.txt
	touch $@

$(VENV)/docs: $(VENV)/tensorflow-$(TENSORFLOW) docs/requirements.txt
	$(bin)/python -m pip install --quiet -r docs/requirements.txt
	touch $@

$(VENV)/installed: $(VENV)/tensorflow-$(TENSORFLOW) setup.py pyproject.toml tools/toolchain.py tf_stn/__init__.py \
		$(cc_sources)
	TF_STN_WERROR=1 $(bin)/python -m pip install --quiet --no-build-isolation -e '.[demo,dev,examples,onnx]'
	$(bin)/python -m pip install --quiet --no-deps 'tf_keras==$(TENSORFLOW).*'
	touch $@

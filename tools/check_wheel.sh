#!/usr/bin/env bash
# Installs a wheel, with the TensorFlow that its extra `cpu` names and nothing else, into an
# environment of its own, and trains with it there; then once more in Keras 2.  With TF_STN_CUDA=1 the
# wheel must have GPU kernels.
#
# Usage: tools/check_wheel.sh dist/tf_stn-*.whl

set -euo pipefail

wheel=$(realpath "$1")
script=$(realpath "$(dirname "$0")/smoke_test.py")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "$wheel[cpu]"
"$folder/venv/bin/python" -m pip check
cd "$folder"
"$folder/venv/bin/python" "$script"

# Without its requirement, the package `tensorflow`, which would be put over tensorflow-cpu.
minor=$("$folder/venv/bin/python" -c "from tf_stn import _build_info; print(_build_info.TENSORFLOW)")
"$folder/venv/bin/python" -m pip install --quiet --no-deps "tf_keras==$minor.*"
TF_USE_LEGACY_KERAS=1 "$folder/venv/bin/python" "$script"

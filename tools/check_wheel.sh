#!/usr/bin/env bash
# Installs a wheel, with the TensorFlow that its extra `cpu` names and nothing else, into an
# environment of its own, and trains with it there.  With TF_STN_CUDA=1 the wheel must have GPU
# kernels.
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

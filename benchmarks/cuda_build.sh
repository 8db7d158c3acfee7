#!/usr/bin/env bash
# Builds the kernels against torch's CUDA build where there need be no GPU: compiles and links for
# Ampere, Hopper and Blackwell, loads the library, and runs the operations' tests on the CPU with it.
#
#   bash benchmarks/cuda_build.sh FOLDER [LOG]
#
# FOLDER gets an environment of its own with torch 2.11.0, two to three gigabytes from the package
# index, unless it holds one already. LOG gets what was said, without the paths of this machine.
# It needs a CUDA toolkit that torch's build accepts, and a C++ compiler.
set -eu -o pipefail
cd "$(dirname "$0")/.."
folder=$(realpath -m "$1") log=${2:-/dev/null}
python=$folder/bin/python
export PYTHONPATH=.:plugins GENTOOL_CACHE=$folder/cache OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
unset GENTOOL_KERNELS

install() {
  [ -x "$python" ] || python3 -m venv "$folder"
  "$python" -c 'import torch' 2>/dev/null ||
    "$python" -m pip install --quiet --no-cache-dir torch==2.11.0
  "$python" -m pip install --quiet --no-cache-dir \
    ninja pybind11 typer pluggy safetensors pillow numpy rich pytest hypothesis setuptools
}

build() {
  "$python" -c 'import torch; print("torch", torch.__version__, "CUDA", torch.version.cuda)'
  echo "== build"
  "$python" -m gentool kernels build
  echo "== status"
  "$python" -m gentool kernels status --json
  echo "== tests"
  "$python" -m pytest -q -p no:cacheprovider tests/test_ops.py
}

install
build 2>&1 | sed -u -e "s|$folder|ENV|g" -e "s|$PWD|.|g" -e "s|[^ ]*/cuda[-0-9.]*/|CUDA/|g" \
  -e "s|[^ ]*/include/python|PYTHON/include/python|g" |
  tee "$log"

#!/usr/bin/env bash
# Everything that needs a GPU, in one run of under ten minutes, without a network:
# build, tests, compute-sanitizer, kernel and training benchmarks, a short training of each model.
#
#   make gpu            or    PYTHON=python3 RESULTS=folder bash benchmarks/gpu.sh
#
# Each step has its own log in the results folder and its own time limit, and all of them together
# BUDGET seconds; summary.txt says what passed. The exit status is 1 if anything failed or was
# left out for lack of time.
set -u -o pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
export PYTHONPATH=".:plugins${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

gpu=$("$PYTHON" -c 'import torch; print(torch.cuda.get_device_name())' 2>/dev/null) || {
  echo "no CUDA device that $PYTHON's torch can use" >&2
  exit 2
}
slug=$(echo "$gpu" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9' '-' | sed 's/^-*//; s/-*$//')
results=${RESULTS:-benchmarks/results/$slug}
mkdir -p "$results"
: >"$results/summary.txt"
worst=0

# step NAME SECONDS COMMAND…: run it, keep its log, note the outcome.
step() {
  local name=$1 limit=$2 begin=$SECONDS left=$((${BUDGET:-590} - SECONDS)) status
  shift 2
  [ "$limit" -le "$left" ] || limit=$left
  if [ "$limit" -lt 5 ]; then
    worst=1
    printf '%-18s left out: no time\n' "$name" | tee -a "$results/summary.txt" >&2
    return
  fi
  echo "== $name" >&2
  timeout "$limit" "$@" >"$results/$name.log" 2>&1
  status=$?
  [ "$status" -eq 0 ] || { worst=1; tail -n 20 "$results/$name.log" >&2; }
  printf '%-18s status %3d  %4d s\n' "$name" "$status" $((SECONDS - begin)) |
    tee -a "$results/summary.txt" >&2
}

facts() {
  nvidia-smi
  nvcc --version
  git describe --always --dirty
  "$PYTHON" -c 'import sys, torch; print(sys.version); print(torch.__version__, torch.version.cuda)'
}

# Entry points come from an installation's metadata; a checkout alone has none.
install() {
  "$PYTHON" -m pip install --quiet --no-deps --no-build-isolation --no-index -e . ||
    "$PYTHON" setup.py --quiet egg_info
}

sanitize() {
  command -v compute-sanitizer >/dev/null || { echo "compute-sanitizer is not installed"; return 0; }
  compute-sanitizer --tool "$1" --error-exitcode 9 --target-processes all \
    "$PYTHON" -m pytest -q -x tests/test_ops_gpu.py -k "keep_their_bounds or test_draws"
}

train() {
  "$PYTHON" -m gentool train "$1" --device cuda --steps 300 --out "$results/runs/$1" &&
    "$PYTHON" -m gentool sample "$results/runs/$1" --n 64 --out "$results/$1.png"
}
# A run that stops half way and goes on ends with the weights of one that does not, bit for bit.
resume() {
  local whole="$results/runs/whole" parts="$results/runs/parts"
  "$PYTHON" -m gentool train vae --device cuda --steps 60 --out "$whole" &&
    "$PYTHON" -m gentool train vae --device cuda --steps 30 --out "$parts" &&
    "$PYTHON" -m gentool resume "$parts" --steps 60 &&
    cmp "$whole/model.safetensors" "$parts/model.safetensors"
}
export -f sanitize train facts install resume
export PYTHON results

step environment 30 bash -c facts
step install 60 bash -c install
step build 200 "$PYTHON" -m gentool kernels build
step status 30 "$PYTHON" -m gentool kernels status --json
step tests 120 "$PYTHON" -m pytest -q tests/test_ops_gpu.py tests/test_ops.py
step prefetch 60 "$PYTHON" -m pytest -q tests/test_prefetch.py
step resume 60 bash -c resume
step kernels 200 "$PYTHON" benchmarks/kernels.py --device cuda --seconds 0.1 --out "$results"
if [ -f benchmarks/train_speed.py ]; then
  step train_speed 90 "$PYTHON" benchmarks/train_speed.py --device cuda --quick \
    --json "$results/train_speed.json"
fi
step sweep 90 "$PYTHON" benchmarks/sweep.py --device cuda --quick --out "$results"
for model in vae gan dcgan wgan; do
  step "train-$model" 40 bash -c "train $model"
done
step memcheck 90 bash -c 'sanitize memcheck'
step racecheck 90 bash -c 'sanitize racecheck'
rm -rf "$results/runs"/*/state

echo "results: $results" >&2
exit "$worst"

#!/usr/bin/env bash
# Everything that needs a GPU, in one run of under nine minutes, without a network.
#
#   make gpu            or    PYTHON=python3 RESULTS=folder bash benchmarks/gpu.sh
#
#   LIBRARY=folder      a build for this torch and Python (the folder of _C.so and build.json that
#                       `gentool kernels build` prints): then nothing is compiled here
#   BEFORE=folder       an older checkout with its library in BEFORE/library, to be timed as well, on
#                       the same warm card
#   BUDGET=525          seconds for all steps; what does not fit is left out, and the summary says so
#   COMMIT=text         the state of the sources, where .git is not at hand
#
# First what decides everything (are the kernels right, is training captured), then speed, then
# memcheck, then the rest. Each step has its own time limit and log, results are written as they
# come, and the archive is renewed after every step, so that a run cut short has one as well.
# The exit status is 1 if anything failed or was left out.
set -u -o pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
BUDGET=${BUDGET:-525}
export PYTHONPATH=".:plugins:benchmarks${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

gpu=$("$PYTHON" -c 'import torch; print(torch.cuda.get_device_name())' 2>/dev/null) || {
  echo "no CUDA device that $PYTHON's torch can use" >&2
  exit 2
}
slug=$(echo "$gpu" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9' '-' | sed 's/^-*//; s/-*$//')
results=$(realpath -m "${RESULTS:-benchmarks/results/$slug}")
mkdir -p "$results"
archive=$results.tar.gz
: >"$results/summary.txt"
worst=0

pack() {
  tar -czf "$archive.part" --exclude='state' --exclude='before' --exclude='*.safetensors' \
    -C "$(dirname "$results")" "$(basename "$results")" && mv "$archive.part" "$archive"
}

note() { printf "$@" | tee -a "$results/summary.txt" >&2; }

# step NAME SECONDS COMMAND…: run it, keep its log, note the outcome, renew the archive.
step() {
  local name=$1 limit=$2 begin=$SECONDS left=$((BUDGET - SECONDS)) status
  shift 2
  [ "$limit" -le "$left" ] || limit=$left
  if [ "$limit" -lt 5 ]; then
    worst=1
    note '%-18s left out: no time\n' "$name"
    return
  fi
  echo "== $name" >&2
  timeout --kill-after=5 "$limit" "$@" >"$results/$name.log" 2>&1
  status=$?
  [ "$status" -eq 0 ] || { worst=1; tail -n 20 "$results/$name.log" >&2; }
  note '%-18s status %3d  %4d s\n' "$name" "$status" $((SECONDS - begin))
  pack
}

facts() {
  nvidia-smi
  nvcc --version
  echo "commit ${COMMIT:-$(git describe --always --dirty 2>/dev/null || echo unknown)}"
  "$PYTHON" -c 'from gentool.ops import sources; print("sources", sources.digest(sources.root()))'
  "$PYTHON" -c 'import sys, torch; print(sys.version); print(torch.__version__, torch.version.cuda)'
}

# Entry points come from an installation's metadata; a checkout alone has none.
install() {
  "$PYTHON" -m pip install --quiet --no-deps --no-build-isolation --no-index -e . ||
    "$PYTHON" setup.py --quiet egg_info
}

# A library that was built elsewhere goes where this machine would have put its own.
library() {
  [ -n "${LIBRARY:-}" ] || { "$PYTHON" -m gentool kernels build; return; }
  "$PYTHON" - "$LIBRARY" <<'PYTHON_END'
import shutil, sys
from pathlib import Path
from gentool.ops import cache
from gentool.ops.private import make_private

place = cache.directory() / cache.key()
make_private(place.parent)
shutil.rmtree(place, ignore_errors=True)
place.mkdir(mode=0o700)
for name in (cache.LIBRARY, cache.RECORD):
    (place / name).write_bytes((Path(sys.argv[1]) / name).read_bytes())
    (place / name).chmod(0o600)
print("taken as it is:", place / cache.LIBRARY)
PYTHON_END
  "$PYTHON" -c 'from gentool.ops import native; assert native.serves("cuda"), native.status()'
}

before() {
  cd "$BEFORE" || return
  export GENTOOL_CACHE=$results/before LIBRARY=$BEFORE/library
  library && "$PYTHON" benchmarks/kernels.py --device cuda --no-compile --seconds 0.1 \
    --out "$results/kernels-before"
}

counters() {
  command -v ncu >/dev/null || { echo "ncu is not installed"; return 0; }
  ncu --clock-control none --csv -k 'regex:bce_|reparam_' --metrics \
    sm__inst_issued.avg.pct_of_peak_sustained_active,dram__throughput.avg.pct_of_peak_sustained_elapsed,lts__t_sectors_op_write.sum,gpu__time_duration.sum \
    "$PYTHON" benchmarks/kernels.py --device cuda --once
}

# Torch's allocator hands out pieces of large blocks, within which no access is out of bounds.
sanitize() {
  command -v compute-sanitizer >/dev/null || { echo "compute-sanitizer is not installed"; return 0; }
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool "$1" --error-exitcode 9 \
    --target-processes all "$PYTHON" -m pytest -q -x -p no:cacheprovider tests/test_ops_gpu.py \
    -k "keep_their_bounds or test_draws"
}

# A run that stops half way and goes on ends with the weights of one that does not, bit for bit.
resume() {
  local whole="$results/runs/whole" parts="$results/runs/parts"
  rm -rf "$whole" "$parts"
  "$PYTHON" -m gentool train vae --device cuda --steps 60 --out "$whole" &&
    "$PYTHON" -m gentool train vae --device cuda --steps 30 --out "$parts" &&
    "$PYTHON" -m gentool resume "$parts" --steps 60 &&
    cmp "$whole/model.safetensors" "$parts/model.safetensors"
}

train() {
  rm -rf "$results/runs/$1"
  "$PYTHON" -m gentool train "$1" --device cuda --steps 300 --out "$results/runs/$1" &&
    "$PYTHON" -m gentool sample "$results/runs/$1" --n 64 --out "$results/$1.png"
}
export -f facts install library before counters sanitize resume train
export PYTHON results

# Correctness.
step environment 20 bash -c facts
step install 40 bash -c install
step library 200 bash -c library
step status 20 "$PYTHON" -m gentool kernels status --json
step tests 90 "$PYTHON" -m pytest -q -p no:cacheprovider tests/test_ops_gpu.py
step captured 60 "$PYTHON" benchmarks/captured_training.py --device cuda \
  --json "$results/captured_training.json"
# Speed.
step kernels 90 "$PYTHON" benchmarks/kernels.py --device cuda --no-compile --seconds 0.1 \
  --out "$results"
[ -z "${BEFORE:-}" ] || step before 90 bash -c before
step counters 60 bash -c counters
# Safety.
step memcheck 75 bash -c 'sanitize memcheck'
step synccheck 60 bash -c 'sanitize synccheck'
# Training, and what is left.
step resume 40 bash -c resume
step train_speed 60 "$PYTHON" benchmarks/train_speed.py --device cuda --quick \
  --json "$results/train_speed.json"
step compiled 60 "$PYTHON" benchmarks/kernels.py --device cuda --quick --seconds 0.1 \
  --out "$results/kernels-compiled"
step sweep 60 "$PYTHON" benchmarks/sweep.py --device cuda --quick --out "$results"
for model in vae gan dcgan wgan; do
  step "train-$model" 30 bash -c "train $model"
done
step prefetch 40 "$PYTHON" -m pytest -q -p no:cacheprovider tests/test_prefetch.py

echo "results: $archive" >&2
exit "$worst"

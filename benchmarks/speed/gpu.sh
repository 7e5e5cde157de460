#!/usr/bin/env bash
# Every speed benchmark that a GPU changes, within 20 minutes: bash benchmarks/speed/gpu.sh OUT
#
# OUT  folder for the results: a JSON and a Markdown file each, and summary.md
#
# Needs an environment with nasoseg; peers that are not installed are left out. No network, no data: the scans are
# generated on the machine. PYTHON (python), WORKERS (all cores but one) and LIMIT (1200 seconds) can be set: what is
# finished by then stays.
set -uo pipefail
out=${1:?"usage: gpu.sh OUT"}
python=${PYTHON:-python}
workers=${WORKERS:-$(($(nproc) > 1 ? $(nproc) - 1 : 1))}
end=$((SECONDS + ${LIMIT:-1200}))
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
"$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' || { echo "no GPU: torch finds none" >&2; exit 1; }
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader

failed=0
run() {
  local name=$1 script=$2
  shift 2
  local left=$((end - SECONDS))
  [ "$left" -gt 10 ] || { echo "$name: no time left" >&2; failed=1; return; }
  echo "== $name: $script $*, $left s left" >&2
  timeout --signal=INT --kill-after=20 "$left" "$python" "$here/$script.py" --device cuda --out "$out/$name" "$@" ||
    { echo "$name failed or was stopped" >&2; failed=1; }
  [ ! -f "$out/$name/$script.json" ] || mv "$out/$name/$script.json" "$out/$name.json"
  [ ! -f "$out/$name/$script.md" ] || mv "$out/$name/$script.md" "$out/$name.md"
}

store=$work/phantom.h5
"$python" "$here/phantom.py" "$store" --patients 10 --slices 100 &
generating=$!
run step_128 step --sizes 128 --rounds 10 --modes eager channels-last bf16
run step_512 step --sizes 512 --rounds 5 --modes eager channels-last bf16
run loss loss --shapes 16,10,512,512 16,64,512,512
wait "$generating"
run epoch epoch --store "$store" --workers "$workers" --batch 16 --batches 60 --resident 60 --precision bf16-mixed --rounds 2
run epoch_wide epoch --store "$store" --workers "$workers" --batch 16 --batches 60 --resident 60 --precision bf16-mixed \
  --rounds 1 --width 32
run inference inference --rounds 2
run validation validation --rounds 2
run step_compiled step --sizes 512 --rounds 5 --modes compile-bf16 --only nasoseg smp "PlainConv"
run epoch_compiled epoch --store "$store" --workers "$workers" --batch 16 --batches 60 --resident 60 \
  --precision bf16-mixed --rounds 1 --compile
"$python" "$here/summary.py" "$out" || failed=1
exit "$failed"

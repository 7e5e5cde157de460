#!/usr/bin/env bash
# Every speed benchmark on the processor, and one table: bash benchmarks/speed/all.sh OUT [quick] [STORE]
#
# OUT    folder for the results: a JSON and a Markdown file each, and summary.md
# quick  less of everything: some 12 minutes on two cores
# STORE  a store to load from, beside the phantoms
#
# THREADS (2) and PYTHON (python) can be set. The machine must have nothing else to do. Peers that are not installed are
# left out, and the results say so; benchmarks/speed/requirements.txt has them all.
set -uo pipefail
out=${1:?"usage: all.sh OUT [quick] [STORE]"}
quick=
[ "${2:-}" != quick ] || { quick=1; shift; }
store=${2:-}
threads=${THREADS:-2}
python=${PYTHON:-python}
here=$(dirname "$0")
mkdir -p "$out"
export OMP_NUM_THREADS=$threads MKL_NUM_THREADS=$threads

failed=0
run() {
  local script=$1
  shift
  echo "== $script $*" >&2
  "$python" "$here/$script.py" --out "$out" "$@" || { echo "$script failed" >&2; failed=1; }
}

loaded=()
[ -z "$store" ] || loaded=(--store "$store")
if [ "$quick" ]; then
  run step --threads "$threads" --rounds 3 --modes eager channels-last bf16
  run loss --threads "$threads" --rounds 5
  run loading --rounds 5 --count 32 "${loaded[@]}"
  run epoch --threads "$threads" --rounds 2 --batches 3 --batch 4 --patients 5 --slices 8
  run validation --rounds 2 --slices 24
  run inference --threads "$threads" --rounds 1 --slices 8
  run growth --rounds 1 --slices 100 1000 10000
  run resident --slices 1000 --depth 60
else
  run step --threads "$threads" --modes eager channels-last bf16 compile
  run loss --threads "$threads"
  run loading "${loaded[@]}"
  run epoch --threads "$threads"
  run validation
  run inference --threads "$threads" --slices 150 --rounds 2
  run growth
  run resident
fi
"$python" "$here/summary.py" "$out" || failed=1
exit "$failed"

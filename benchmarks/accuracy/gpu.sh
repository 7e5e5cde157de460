#!/usr/bin/env bash
# The whole comparison on one GPU machine, in one call: bash benchmarks/accuracy/gpu.sh OPENKBP OUT [FOLD,...]
#
# OPENKBP  folder of the 124 patients as NIfTI (35 MB)
# OUT      folder for store, runs and report; called again, it goes on where it was
# FOLD     folds to run, all five by default
#
# Set METHODS or PROTOCOLS to run part of it, JOBS for more or fewer trainings at once, and LIMIT (seconds) to be stopped
# in time: what is finished stays, and the report is written of that.
set -euo pipefail
openkbp=${1:?"usage: gpu.sh OPENKBP OUT [FOLD,...]"}
out=${2:?"usage: gpu.sh OPENKBP OUT [FOLD,...]"}
folds=${3:-0,1,2,3,4}
jobs=${JOBS:-4}
cd "$(dirname "$0")/../.."

python -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' || { echo "no GPU: torch finds none" >&2; exit 1; }
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
mkdir -p "$out"
[ -f "$out/openkbp.h5" ] || python -m nasoseg prepare nifti "$openkbp" "$out/openkbp.h5" --absent PTV56,PTV63,PTV70

cores=$(nproc)
workers=$(( cores / jobs > 1 ? cores / jobs - 1 : 1 ))
options=(benchmarks/accuracy/comparison.yaml --store "$out/openkbp.h5" --out "$out/runs" --only-folds "$folds")
[ -z "${METHODS:-}" ] || options+=(--methods "$METHODS")
[ -z "${PROTOCOLS:-}" ] || options+=(--protocols "$PROTOCOLS")

# bfloat16 for every method alike; one data worker process less than the share of the cores
status=0
timeout --signal=INT --kill-after=60 "${LIMIT:-86400}" \
  python -m nasoseg benchmark "${options[@]}" --jobs "$jobs" \
  --trainer.precision bf16-mixed --data.workers "$workers" || status=$?
if [ "$status" = 124 ] || [ "$status" = 130 ]; then
  echo "stopped after ${LIMIT:-86400} s; the report is of what is finished"
  python -m nasoseg benchmark "${options[@]}" --report-only
fi
exit "$status"

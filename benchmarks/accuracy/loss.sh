#!/usr/bin/env bash
# What a, g, b and e of the loss do, on the validation patients of fold 0; no test fold is read.
#   bash benchmarks/accuracy/loss.sh openkbp.h5 runs/loss [ARGUMENT ...]
# Each variant differs in one number from methods/two_stage.yaml (a 0.75, g 1, b 0.25, e 0.5, balanced), and trains the
# two-stage network for EPOCHS x BATCHES x 16 slices; the last lines are the table. Arguments after OUT go to every fit,
# such as --trainer.precision bf16-mixed.
set -euo pipefail
store=${1:?"usage: loss.sh STORE OUT [ARGUMENT ...]"}
out=${2:?"usage: loss.sh STORE OUT [ARGUMENT ...]"}
shift 2
epochs=${EPOCHS:-4}
batches=${BATCHES:-90}
here=$(dirname "$0")

variants=(
  recipe
  "alpha=0.25" "alpha=0.5" "alpha=0.9"
  "gamma=2"
  "balanced=false"
  "beta=0.03" "beta=0.3" "beta=0.5"
  "epsilon=0.05" "epsilon=0.95"
)
for variant in "${variants[@]}"; do
  run="$out/$variant"
  [ ! -f "$run/checkpoints/best.safetensors" ] || continue
  loss=()
  [ "$variant" = recipe ] || loss=("--model.init_args.loss.init_args.${variant%=*}" "${variant#*=}")
  python -m nasoseg fit --config "$here/openkbp.yaml" --config "$here/methods/two_stage.yaml" \
    --data.store "$store" --data.fold 0 --test_at_end false --run "$run" --force true \
    --trainer.max_epochs "$epochs" --trainer.limit_train_batches "$batches" \
    --model.init_args.lr_scheduler.init_args.T_max "$epochs" ${loss[@]+"${loss[@]}"} "$@"
done
python - "$out" "${variants[@]}" <<'PYTHON'
import sys

import pandas as pd

out, *variants = sys.argv[1:]
rows = []
for variant in variants:
    log = pd.read_csv(f"{out}/{variant}/logs/metrics.csv")
    last = log.filter(like="val/dsc/").dropna(how="all").iloc[-1]
    last.index = [name.removeprefix("val/dsc/") for name in last.index]
    organs = last[[name for name in last.index if not name.startswith("PTV")]]
    rows.append({"variant": variant, "organs": organs.mean(), **last})
print(pd.DataFrame(rows).round(3).to_string(index=False))
PYTHON

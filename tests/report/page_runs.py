"""Run folders as `nasoseg fit`, `test` and `predict` leave them, with made-up results of real patients."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from test_samples import predict

from nasoseg.data.splits import Split, make_split
from nasoseg.data.store import Store
from nasoseg.evaluation.results import COLUMNS

ORGANS = ["Brainstem", "SpinalCord", "Mandible"]
EVIL_METHOD = "<img src=x onerror=alert(1)> \"q\" 'r'"
EVIL_STRUCTURE = 'O\'Hara & "co" </script><b>'
EVIL_PATIENT = "<script>alert(1)</script>"

METRICS = {"dsc": 1.0, "auc": 1.0, "f1": 1.0, "jsc": 0.8, "nsd": 0.9, "hd95": 20.0, "precision": 1.0}


def write_metrics(
    path: Path,
    context: Sequence[str],
    values: dict[tuple[str, str], float],
    *,
    metrics: Sequence[str] = tuple(METRICS),
    averagings: Sequence[str] = ("volume", "slice", "pooled", "micro"),
) -> None:
    """Write metrics.csv in its real format from (patient, structure) -> DSC."""
    structures = list(dict.fromkeys(structure for _, structure in values))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for metric in metrics:
            scale = METRICS[metric]
            rows = {
                "volume": [(p, s, v) for (p, s), v in values.items()],
                "slice": [(p, s, 0.9 * v) for (p, s), v in values.items()],
                "pooled": [("", s, 0.7) for s in structures],
                "micro": [("", "", 0.6)],
            }
            for name in averagings:
                writer.writerows((*context, p, s, name, metric, f"{scale * v:.6g}") for p, s, v in rows[name])


def drawn_values(
    keys: Sequence[str], structures: Sequence[str], *, level: float, seed: int
) -> dict[tuple[str, str], float]:
    """Draw a DSC for every patient and structure."""
    rng = np.random.default_rng(seed)
    return {(key, name): float(np.clip(level + rng.normal(0, 0.05), 0, 1)) for key in keys for name in structures}


def write_log(folder: Path, epochs: Sequence[int], *, losses: Sequence[float]) -> None:
    """Write Lightning's CSV log: the values of training and of validation lie in rows of their own."""
    folder.mkdir(parents=True)
    lines = ["epoch,step,train/loss,val/dsc,val/loss", ",0,,,"]
    for epoch, loss in zip(epochs, losses, strict=True):
        lines += [f"{epoch},9,,{1 - loss},{loss}", f"{epoch},9,{loss},,"]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")


def write_whole_run(
    folder: Path,
    store: Store,
    method: str,
    *,
    level: float,
    structures: Sequence[str],
    fold: int = 0,
    shift: int | None = 1,
) -> Split:
    """Write all of a run on a fold of four; its predictions are the truth, shifted. None predicts nothing."""
    split = make_split(store, folds=4, protocol="clean", seed=0)
    keys = list(split.part(fold, "test"))
    context = (method, "clean", str(fold), store.short_sha256, split.sha256[:12])
    write_metrics(folder / "metrics.csv", context, drawn_values(keys, structures, level=level, seed=len(method)))
    split.save(folder / "split.json")
    config = {"model": {"class_path": "nasoseg.UNet"}, "data": {"store": str(store.path), "fold": fold}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "training_data.json").write_text("{}")
    write_log(folder / "logs", [0, 1, 2], losses=[0.5, 0.4, 0.3])
    for key in keys if shift is not None else ():
        predict(store, key, folder / "predictions", shift=shift)
    return split

"""What a run leaves in W&B beside its curves: the table of results, the best model, and which store it came from."""

import csv
import json
from pathlib import Path
from typing import Any

import yaml

from nasoseg.data.store import Store
from nasoseg.data.training_data import TRAINING_DATA
from nasoseg.tasks.run_facts import without_paths
from nasoseg.tasks.wandb_run import WandbRun, wandb_module


def log_table(logger: WandbRun, path: Path) -> None:
    """Log a ``metrics.csv`` as the table ``metrics``: a row per patient, structure, averaging and metric."""

    def log(run: Any) -> None:
        with path.open(encoding="utf-8", newline="") as file:
            columns, *rows = csv.reader(file)
        kinds = [_KINDS.get(column, str) for column in columns]
        data = [[kind(cell) for kind, cell in zip(kinds, row, strict=True)] for row in rows]
        logger.log_metrics({"metrics": wandb_module().Table(columns=columns, data=data)})

    logger.attempt(log)


def log_model(logger: WandbRun, folder: Path) -> None:
    """Log a run folder's best weights, with what ``nasoseg.load`` needs beside them, unless the logger is not to.

    Args:
        logger: The logger.
        folder: The run folder. Files are taken as they are; of the paths in ``config.yaml`` the last part stays.
    """

    def log(run: Any) -> None:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        kept = without_paths({key: config[key] for key in ("model", "data")})
        shared = _prepared(folder, "config.yaml", yaml.safe_dump(kept, sort_keys=False))
        artifact = wandb_module().Artifact(f"model-{run.id}", type="model", metadata={"labels": kept["data"]["labels"]})
        artifact.add_file(str(shared), name="config.yaml", policy="immutable", skip_cache=True)
        for name in ("checkpoints/best.safetensors", "split.json", f"{TRAINING_DATA}.json"):
            if (folder / name).is_file():
                # Immutable: not copied; an offline run is uploaded from the run folder.
                artifact.add_file(str((folder / name).resolve()), name=name, policy="immutable", skip_cache=True)
        run.log_artifact(artifact, aliases=["best"])

    if logger.log_model:
        logger.attempt(log)


def log_store(logger: WandbRun, store: Store) -> None:
    """Log which store a run reads, by its hash: no voxel, no patient key and no path."""

    def log(run: Any) -> None:
        about = {"sha256": store.content_sha256, "patients": len(store.keys), "structures": list(store.names)}
        text = json.dumps(about, indent=1) + "\n"
        artifact = wandb_module().Artifact(f"store-{store.short_sha256}", type="dataset", metadata=about)
        path = _prepared(logger.folder or Path(), "store.json", text)
        artifact.add_file(str(path), name="store.json", policy="immutable", skip_cache=True)
        # An offline run cannot name what it uses, only what it logs.
        (run.log_artifact if run.offline else run.use_artifact)(artifact)

    logger.attempt(log)


_KINDS: dict[str, type] = {"value": float, "fold": int}


def _prepared(folder: Path, name: str, text: str) -> Path:
    path = (folder / "wandb" / name).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path

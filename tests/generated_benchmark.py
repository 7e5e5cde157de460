"""A benchmark in seconds."""

from pathlib import Path
from typing import Any

import yaml

from nasoseg.data.store import Store

METHOD = {"model": {"class_path": "nasoseg.UNet", "init_args": {"depth": 2, "width": 4}}}


def write_benchmark(folder: Path, small_store: Store, **changes: Any) -> Path:
    """Write a benchmark of small networks on the small store: two methods, fold 0 of 4, protocol clean."""
    shared = {
        "data": {
            "batch_size": 32,
            "augmentation": {"class_path": "nasoseg.Augmentation", "init_args": {"crop": 48}},
        },
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    two_stage = {"model": {"class_path": "nasoseg.TwoStageUNet", "init_args": {"width": 4}}}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("shared", shared), ("unet", METHOD), ("two_stage", two_stage)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    plan = {
        "out": str(folder / "out"),
        "store": str(small_store.path),
        "shared": "shared.yaml",
        "methods": {"unet": "unet.yaml", "two_stage": "two_stage.yaml"},
        "folds": 4,
        "only_folds": [0],
        **changes,
    }
    path = folder / "benchmark.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in plan.items() if value is not None}, sort_keys=False))
    return path

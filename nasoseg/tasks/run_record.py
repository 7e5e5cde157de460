"""``run.json`` of a run folder: on what, with what and how every start of a training computed."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch

from nasoseg.data.datamodule import SliceDataModule
from nasoseg.errors import NasosegError, writing
from nasoseg.files import whole_file
from nasoseg.tasks.base import SegmentationTask
from nasoseg.tasks.run_facts import run_facts

RECORD = "run.json"
FORMAT = "nasoseg-run"
VERSION = 1


def record_start(folder: Path, facts: Mapping[str, Any], *, resuming: bool) -> None:
    """Add the start of a training to a run folder's record.

    Args:
        folder: The run folder.
        facts: From ``start_facts``.
        resuming: Whether earlier starts are kept.

    Raises:
        NasosegError: If the record is damaged or cannot be written.
    """
    starts = [*(read_starts(folder) if resuming else []), dict(facts)]
    with writing(folder / RECORD), whole_file(folder / RECORD) as temporary:
        record = {"format": FORMAT, "version": VERSION, "starts": starts}
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """Return the facts of every start, the newest last; none where an older nasoseg made the run.

    Raises:
        NasosegError: If the record is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return []
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if (record["format"], record["version"]) != (FORMAT, VERSION):
            raise ValueError(f"format {record['format']!r}, version {record['version']!r}")
        return [dict(facts) for facts in record["starts"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NasosegError(
            f"{path}: cannot be read as the record of a run ({type(error).__name__}: {error}): copy the run folder"
            " again, or remove the file: the model card then leaves out what it says"
        ) from error


def check_version(folder: Path) -> None:
    """Refuse a run folder whose record says that it is of another version; one that cannot be read says nothing.

    Raises:
        NasosegError: If the version is another.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(record, dict) and record.get("format") == FORMAT and record.get("version") != VERSION:
        raise NasosegError(
            f"{path}: found version {str(record.get('version'))[:20]} of a run folder, expected {VERSION}: use the"
            " nasoseg that made it"
        )


def start_facts(
    trainer: lightning.Trainer, model: SegmentationTask, data: SliceDataModule, *, method: str
) -> dict[str, Any]:
    """Describe the start of a training: no path, no name, no patient.

    Args:
        trainer: The trainer.
        model: What is trained.
        data: The store, the split and the fold.
        method: Name of the method.
    """
    counts = data.split.annotated_counts(data.store, data.fold)
    seed = os.environ.get("PL_GLOBAL_SEED")  # as Lightning has set it, also where it was drawn
    return run_facts(model, data, method=method) | {
        "annotated": {part: {name: of[name] for name in data.labels} for part, of in counts.items()},
        "computing": {
            "device": trainer.strategy.root_device.type,
            "processes": trainer.world_size,
            "threads": torch.get_num_threads(),
            "precision": str(trainer.precision),
            "seed": None if seed is None else int(seed),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        },
    }

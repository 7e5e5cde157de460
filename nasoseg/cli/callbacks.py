"""What a run of the command line always has beside the network: watch, checkpoints, progress, predictions."""

from pathlib import Path
from typing import Any

from lightning import Callback
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint

from nasoseg.tasks.checkpoints import RandomState
from nasoseg.tasks.end_together import EndTogether
from nasoseg.tasks.gpu_memory import GpuMemory
from nasoseg.tasks.wandb_panels import WandbPanels
from nasoseg.tasks.watch import TrainingWatch


def training_callbacks(run_folder: Path, *, validated_every: int, panels: bool) -> list[Callback]:
    """Make what ``nasoseg fit`` adds.

    Args:
        run_folder: Where ``checkpoints/best.ckpt`` and ``last.ckpt`` are kept.
        validated_every: Epochs from one validation to the next; the others have no DSC to pick by.
        panels: Whether images go to W&B.
    """
    # `last` is one of its own: ModelCheckpoint's save_last writes it only in epochs that are the best so far.
    # It comes second, so that it holds the newest state of `best`.
    kept: dict[str, Any] = {
        "dirpath": run_folder / "checkpoints",
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    callbacks = [
        TrainingWatch(),
        EndTogether(),
        RandomState(),
        LearningRateMonitor(),
        GpuMemory(),
        ModelCheckpoint(filename="best", monitor="val/dsc", mode="max", every_n_epochs=validated_every, **kept),
        ModelCheckpoint(filename="last", **kept),
    ]
    return [*callbacks, WandbPanels()] if panels else callbacks

"""What a run of the command line always has beside the network: watch, checkpoints, progress, predictions."""

from pathlib import Path
from typing import Any

import lightning
from lightning import Callback
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint

from nasoseg.tasks.checkpoints import PlateauState, RandomState
from nasoseg.tasks.end_together import EndTogether
from nasoseg.tasks.gpu_memory import GpuMemory
from nasoseg.tasks.wandb_panels import WandbPanels
from nasoseg.tasks.watch import TrainingWatch


def training_callbacks(run_folder: Path, *, validated_every: int, logs: bool, panels: bool) -> list[Callback]:
    """Make what ``nasoseg fit`` adds.

    Args:
        run_folder: Where ``checkpoints/best.ckpt`` and ``last.ckpt`` are kept.
        validated_every: Epochs from one validation to the next; the others have no DSC to pick by.
        logs: Whether there is a logger.
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
        PlateauState(),
        *([LearningRateMonitor()] if logs else []),
        GpuMemory(),
        KeptCheckpoint(filename="best", monitor="val/dsc", mode="max", every_n_epochs=validated_every, **kept),
        KeptCheckpoint(filename="last", **kept),
    ]
    return [*callbacks, WandbPanels()] if panels else callbacks


class KeptCheckpoint(ModelCheckpoint):
    """Keep a checkpoint in a run folder, and know its score again where the folder was moved.

    Lightning forgets the best score where the folder has another name than when it was saved: the next epoch, however
    bad, would take the place of the best.
    """

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Find the state of a run that was begun when this was Lightning's own class."""
        states = checkpoint["callbacks"]
        older = self.state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)
        if older in states:
            states.setdefault(self.state_key, states[older])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state up, with its paths in the present folder."""
        here = str(self.dirpath)

        def moved(path: str) -> str:
            return str(Path(here) / Path(path).name) if path else path

        changed: dict[str, Any] = {"dirpath": here}
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            changed[key] = moved(state_dict.get(key) or "")
        changed["best_k_models"] = {moved(path): score for path, score in state_dict.get("best_k_models", {}).items()}
        super().load_state_dict(state_dict | changed)

"""Checkpoints that are whole or not there, and that hold weights and plain data alone."""

import os
import random
import shutil
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from safetensors.torch import save

from nasoseg.errors import NasosegError
from nasoseg.files import whole_file
from nasoseg.tasks.base import SegmentationTask

LAST = "last.ckpt"
"""The newest state of a training run."""
PREVIOUS = "previous.ckpt"
"""The state before it, kept in case the newest is damaged."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint to a temporary file and give it its name when it is on the disk.

    Lightning writes in place (lightning#19970): a run that is killed while saving loses its last checkpoint. What
    ``last.ckpt`` held before becomes ``previous.ckpt``.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Save atomically."""
        final = Path(path)
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            for left in final.parent.glob(f".*.tmp.{final.name}"):  # of a killed save, on any machine
                left.unlink(missing_ok=True)
            with whole_file(final) as temporary:
                _save(checkpoint, temporary)
                if final.name == LAST and final.is_file():
                    _keep(final, final.with_name(PREVIOUS))
        except OSError as error:
            raise NasosegError(
                f"{final}: the checkpoint could not be written ({error}): free disk space, then resume with"
                " --ckpt_path last"
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        """Load with ``weights_only``, whatever the caller asks for."""
        return load_checkpoint(path, map_location=map_location)


def load_checkpoint(path: str | os.PathLike[str], *, map_location: Any = "cpu") -> dict[str, Any]:
    """Load a checkpoint's tensors and plain data; code in it is never run.

    Raises:
        NasosegError: If the file is missing, is no checkpoint, is truncated or otherwise damaged, or needs more than
            tensors and plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise NasosegError(f"{path}: no such checkpoint: expected a file that `nasoseg fit` wrote, such as best.ckpt")
    try:
        _check_archive(path)
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # torch.load raises a dozen unrelated types on a damaged or hostile file
        # The first sentence alone: torch goes on to advise loading with less safety.
        first = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0][:160]
        raise NasosegError(
            f"{path}: refused: not a checkpoint of tensors and plain data ({first}). Expected a file that"
            " `nasoseg fit` wrote; one that is damaged, or that carries code, is not loaded"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise NasosegError(f"{path}: no checkpoint: it has no state_dict; expected a file that `nasoseg fit` wrote")
    return checkpoint


def write_weights(path: Path, model: SegmentationTask) -> None:
    """Write a model's weights as safetensors, whole or not at all: they can be shared and read without trust."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    # In memory first: save_file makes a file that only its owner may read.
    content = save(weights, metadata={"labels": "\n".join(model.labels)})
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def furthest_whole(paths: Iterable[Path]) -> Path | None:
    """Return, of checkpoints that are there and whole, the one of the most training steps; None if there is none.

    Damaged ones are named on stderr. Steps, not times: a clock may have been set back. Of equals the first.
    """
    steps: dict[Path, int] = {}
    for path in paths:
        if path.is_file():
            try:
                steps[path] = int(load_checkpoint(path).get("global_step", 0))
            except NasosegError as error:
                print(f"passed over: {error}", file=sys.stderr)
    return max(steps, key=steps.__getitem__, default=None)


class RandomState(lightning.Callback):
    """Keep the states of all random generators in the checkpoint, so that a resumed run draws what it would have drawn.

    The order of slices and their augmentation need no state (``TrainingSampler``); dropout and the like do.
    """

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the states, as plain data."""
        kind, keys, position, has_gauss, gauss = np.random.get_state()
        version, inner, gauss_next = random.getstate()
        checkpoint["nasoseg_random_state"] = {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [str(kind), torch.from_numpy(np.asarray(keys, np.int64)), position, has_gauss, gauss],
            "python": [version, list(inner), gauss_next],
        }

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the states up again."""
        state = checkpoint.get("nasoseg_random_state")
        if state is None:
            return
        torch.set_rng_state(state["torch"].cpu())
        if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
        kind, keys, position, has_gauss, gauss = state["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
        version, inner, gauss_next = state["python"]
        random.setstate((version, tuple(inner), gauss_next))


class PlateauState(lightning.Callback):
    """Keep in the checkpoint of an epoch's end what ``ReduceLROnPlateau`` is about to see, and show it on resuming.

    Lightning steps these schedules after the checkpoint is saved, and does not make up for it: every resumption would
    cost them an epoch.
    """

    def __init__(self) -> None:
        self._steps: dict[int, int] = {}
        self._missed: dict[int, float] = {}

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Forget the last epoch."""
        self._steps = {}

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Note how many steps the schedules have made before this epoch's."""
        self._steps = {
            number: config.scheduler.last_epoch
            for number, config in enumerate(trainer.lr_scheduler_configs)
            if config.reduce_on_plateau and (trainer.current_epoch + 1) % config.frequency == 0
        }

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the values that are still to be seen."""
        configs = trainer.lr_scheduler_configs
        checkpoint["nasoseg_plateau"] = {
            number: float(trainer.callback_metrics[str(configs[number].monitor)])
            for number, steps in self._steps.items()
            if configs[number].scheduler.last_epoch == steps and configs[number].monitor in trainer.callback_metrics
        }

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the values up again."""
        self._missed = dict(checkpoint.get("nasoseg_plateau", {}))

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Step the schedules, whose own state is there by now."""
        for number, value in self._missed.items():
            scheduler: Any = trainer.lr_scheduler_configs[number].scheduler
            scheduler.step(value)
        self._missed = {}


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    """Save with torch, whose own error of a full disk says nothing of the disk.

    Raises:
        OSError: If it cannot be written.
    """
    with path.open("wb") as file:
        try:
            torch.save(checkpoint, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def _keep(path: Path, name: Path) -> None:
    """Give a file that is about to be replaced another name."""
    with whole_file(name) as temporary:
        try:
            os.link(path, temporary)
        except OSError:  # a file system without links
            shutil.copyfile(path, temporary)


def _check_archive(path: Path) -> None:
    """Check a checkpoint's checksums, which torch writes and does not read: a changed bit would be a wrong weight.

    Raises:
        ValueError: If they are wrong, or its parts would take more memory than the file does, as in a zip bomb.
    """
    if not zipfile.is_zipfile(path):
        return  # torch's format before 1.6, or no checkpoint
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise ValueError("its parts are compressed, which torch does not do")
        size = sum(part.file_size for part in parts)
        if size > path.stat().st_size:
            raise ValueError(f"its parts claim {size} bytes, more than the file has")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"its part {damaged} does not have its checksum")

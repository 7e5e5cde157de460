"""Checkpoints that are whole or not there, and that hold weights and plain data alone."""

import os
import random
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from nasoseg.errors import NasosegError
from nasoseg.files import whole_file


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint to a temporary file and give it its name when it is on the disk.

    Lightning writes in place (lightning#19970): a run that is killed while saving loses its last checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Save atomically."""
        final = Path(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            with whole_file(final) as temporary:
                torch.save(checkpoint, temporary)
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
        NasosegError: If the file is missing, is no checkpoint, is truncated, or needs more than tensors and plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise NasosegError(f"{path}: no such checkpoint: expected a file that `nasoseg fit` wrote, such as best.ckpt")
    try:
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

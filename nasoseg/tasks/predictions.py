"""Predicted masks as NIfTI, on the grid of the files that the patients came from."""

from pathlib import Path
from typing import Any

import lightning
import numpy as np

from nasoseg.data.datamodule import SliceDataModule
from nasoseg.data.mask_writing import write_masks
from nasoseg.errors import NasosegError


class NiftiPredictions(lightning.Callback):
    """Collect the predicted slices of a patient, and write its masks when the volume is whole.

    Writes ``FOLDER/<patient>/<structure>.nii.gz``, uint8, 0 and 1.

    Args:
        folder: Where the patients' folders go.
        force: Whether a patient's folder that exists is written over.
    """

    def __init__(self, folder: Path, *, force: bool = False) -> None:
        self.folder = folder
        self.force = force
        self._masks: dict[str, np.ndarray[Any, Any]] = {}
        self._seen: dict[str, set[int]] = {}

    def on_predict_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Check before the work that nothing is written over, and that the data are a store's."""
        data = _data(trainer)
        if any(len(data.store.voxels[key]) != len(chosen) for key, chosen in data.slices("test").items()):
            raise NasosegError(
                "predict: protocol 'paper' tests single slices, which make no volume: expected a split of protocol"
                " 'clean'"
            )
        if self.folder.exists() and any(self.folder.iterdir()) and not self.force:
            raise NasosegError(f"{self.folder}: holds predictions already: pass --force true, or choose another --run")

    def on_predict_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take the masks (b, k, h, w) of a batch; write a patient whose last slice came."""
        data = _data(trainer)
        masks = outputs["masks"].cpu().numpy()
        for mask, key, z in zip(masks, outputs["patient"], outputs["slice"].tolist(), strict=True):
            shape = data.store.geometry(key).shape
            whole = self._masks.setdefault(key, np.zeros((len(mask), *shape), bool))
            whole[:, z] = mask
            self._seen.setdefault(key, set()).add(z)
            if len(self._seen[key]) == shape[0]:
                by_name = dict(zip(data.labels, self._masks.pop(key), strict=True))
                write_masks(self.folder, by_name, store=data.store, key=key)


def _data(trainer: lightning.Trainer) -> SliceDataModule:
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, SliceDataModule):
        raise NasosegError("predict: NIfTI predictions need a SliceDataModule, which knows the original grids")
    return data

"""Images of chosen validation patients in W&B: the same slices every time."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn

from nasoseg.data.dataset import Sample, SliceDataset
from nasoseg.heads import decide, expand_planes, one_label
from nasoseg.models import TwoStageNet
from nasoseg.tasks.base import SegmentationTask
from nasoseg.tasks.wandb_run import WandbRun, wandb_module, wandb_runs


class WandbPanels(lightning.Callback):
    """Show chosen slices with the truth and every stage's result as W&B's mask overlays.

    Does nothing where no logger is a ``WandbRun``, which says how many patients are shown and how often. Overlays are
    maps of one label a pixel: where structures overlap, the later one is shown.
    """

    def __init__(self) -> None:
        self._chosen: dict[int, list[int]] = {}

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Show the slices, in epochs whose turn it is and in the last one."""
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        if not isinstance(module, SegmentationTask) or not _computes_alone(trainer):
            return
        slices = getattr(getattr(trainer.val_dataloaders, "dataset", None), "slices", None)
        if not isinstance(slices, SliceDataset):
            return
        for logger in wandb_runs(trainer):
            last = trainer.current_epoch + 1 == trainer.max_epochs
            if trainer.current_epoch % logger.panel_every == 0 or last:
                self._show(logger, trainer, module, slices)

    def _show(
        self, logger: WandbRun, trainer: lightning.Trainer, module: SegmentationTask, slices: SliceDataset
    ) -> None:
        count = logger.panel_patients
        if count not in self._chosen:
            self._chosen[count] = choose_slices(slices, patients=count)
        images = {}
        for number in self._chosen[count]:
            sample = slices[number]
            maps = _label_maps(trainer, module, sample)
            images[f"panels/{sample['patient']}"] = _Panel(sample, maps, module.labels, len(slices.windows_hu))
        logger.attempt(lambda _: logger.log_metrics({key: panel.image() for key, panel in images.items()}))


class _Panel:
    """A slice of CT with maps of labels over it."""

    def __init__(
        self, sample: Sample, maps: Mapping[str, npt.NDArray[np.uint8]], labels: list[str], windows: int
    ) -> None:
        of_first_window = sample["image"][: len(sample["image"]) // windows]
        ct = of_first_window[len(of_first_window) // 2]  # between its neighbours
        self.pixels = ((ct.numpy() + 1) * 127.5).round().astype(np.uint8)
        self.maps = maps
        self.names = {i + 1: name for i, name in enumerate(labels)}
        self.caption = f"{sample['patient']}, slice {sample['slice']}"
        missing = [name for name, drawn in zip(labels, sample["annotated"].tolist(), strict=True) if not drawn]
        if missing:
            self.caption += f"; not annotated: {', '.join(missing)}"

    def image(self) -> Any:
        """Return it as a ``wandb.Image``."""
        masks = {name: {"mask_data": labels, "class_labels": self.names} for name, labels in self.maps.items()}
        return wandb_module().Image(self.pixels, caption=self.caption, masks=masks)


def choose_slices(slices: SliceDataset, *, patients: int) -> list[int]:
    """Choose the patients with most structures annotated, and of each the slice that has most structures.

    Of equal patients the first comes first; of equal slices the one with most labelled voxels.

    Args:
        slices: Of a validation part.
        patients: How many.

    Returns:
        Places in ``slices``, one a patient.
    """
    best: dict[str, tuple[int, int, int]] = {}
    for number, (key, z) in enumerate(slices.index):
        voxels = slices.store.voxels[key][z, slices.positions]
        best[key] = max(best.get(key, (-1, 0, 0)), (int((voxels > 0).sum()), int(voxels.sum()), -number))
    drawn = {key: int(slices.store.is_annotated(key)[slices.positions].sum()) for key in best}
    ranked = sorted(best, key=lambda key: -drawn[key])  # stable
    return [-best[key][2] for key in ranked[:patients]]


@torch.no_grad()
def _label_maps(
    trainer: lightning.Trainer, module: SegmentationTask, sample: Sample
) -> dict[str, npt.NDArray[np.uint8]]:
    """Return maps (h, w), 0 background and i + 1 structure i: the truth, and what every stage finds."""
    image = sample["image"][None].to(module.device)
    with trainer.precision_plugin.val_step_context(), _all_stages(module.network):
        stages = module.stages(trainer.precision_plugin.convert_input(image))
    found = [_numbers(decide(logits.float(), module.head)) for logits in stages]
    names = ["prediction"] if len(found) == 1 else [f"stage {i + 1}" for i in range(len(found))]
    truth = _numbers(expand_planes(sample["labels"][None], len(module.labels)))
    return {"truth": truth, **dict(zip(names, found, strict=True))}


def _numbers(masks: Tensor) -> npt.NDArray[np.uint8]:
    return one_label(masks)[0].cpu().numpy().astype(np.uint8)  # a store has 64 structures at most


@contextmanager
def _all_stages(network: nn.Module) -> Iterator[None]:
    """Let a two-stage network return every stage: it does so while it trains. Its parts stay in evaluation."""
    before = network.training
    if isinstance(network, TwoStageNet):
        network.training = True
    try:
        yield
    finally:
        network.training = before


def _computes_alone(trainer: lightning.Trainer) -> bool:
    """Tell whether one process can run the network by itself; a sharded one would wait for the others."""
    return isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy)

"""Say aloud when training goes wrong, instead of running on."""

import math
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from nasoseg.errors import NasosegError
from nasoseg.tasks.base import SegmentationTask

GROWN = 10.0
"""How many times the first loss the mean of an epoch must be to be called a divergence."""


class TrainingWatch(lightning.Callback):
    """Watch for a loss that is not finite or grows, a rate that does nothing, and structures that are never found.

    Args:
        patience: Validations after which a structure that still has DSC 0, or fell back to 0, is reported.
    """

    def __init__(self, *, patience: int = 8) -> None:
        self.patience = patience
        self._zero_for: dict[str, int] = {}
        self._weights_before: Tensor | None = None
        self._first_loss: float | None = None
        self._losses: list[float] = []

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop at a loss that is not finite: everything after it would be lost."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        # Reading a loss waits for the device: on a GPU not at every batch.
        if batch_idx % (1 if loss.device.type == "cpu" else 50):
            return
        self._losses.append(float(loss))
        if self._first_loss is None:
            self._first_loss = self._losses[-1]
        if not math.isfinite(self._losses[-1]):
            patients = ", ".join(sorted(set(batch["patient"]))[:8])
            self._stop(self._losses[-1], f"epoch {trainer.current_epoch}, batch {batch_idx} (patients {patients})")

    def on_validation_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Stop before a checkpoint of an epoch whose mean loss is not finite is kept."""
        loss = trainer.callback_metrics.get("train/loss")
        if loss is not None and not math.isfinite(float(loss)):
            self._stop(float(loss), f"epoch {trainer.current_epoch}")

    def _stop(self, loss: float, where: str) -> None:
        raise NasosegError(
            f"the loss is {loss} in {where}: lower the learning rate, use --trainer.precision 32, or look for broken"
            " images with `nasoseg check`"
        )

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Remember the weights of the first epoch's start."""
        self._losses = []
        if trainer.current_epoch == 0:
            self._weights_before = _weights(module)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Report an epoch in which the loss has grown, and a first epoch that left the weights as they were."""
        mean = sum(self._losses) / max(1, len(self._losses))
        if self._first_loss is not None and mean > GROWN * abs(self._first_loss):
            rank_zero_warn(
                f"the loss has grown from {self._first_loss:.3g} to {mean:.3g} on average in epoch"
                f" {trainer.current_epoch}: training diverges. Lower the learning rate (model.optimizer)."
            )
        if self._weights_before is None:
            return
        after = _weights(module)
        if torch.equal(after, self._weights_before):
            rank_zero_warn(
                "the first epoch did not change a single weight: the learning rate does nothing. Check"
                " model.optimizer and model.lr_scheduler (a rate of 0, or a schedule that starts at 0?)."
            )
        self._weights_before = None

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Report structures that stay at DSC 0."""
        if trainer.sanity_checking or not isinstance(module, SegmentationTask):
            return
        silent = []
        for name in module.labels:
            value = trainer.callback_metrics.get(f"val/dsc/{name}")
            if value is None:
                continue
            self._zero_for[name] = self._zero_for.get(name, 0) + 1 if float(value) == 0 else 0
            if self._zero_for[name] == self.patience:
                silent.append(name)
        if silent:
            rank_zero_warn(
                f"DSC 0 on the validation patients for {self.patience} validations: {', '.join(silent)}. Look at their"
                " annotations (`nasoseg info`), and at model.loss: a small epsilon can make a rare structure die."
            )


def _weights(module: lightning.LightningModule) -> Tensor:
    return torch.cat([p.detach().flatten().cpu() for p in module.parameters() if p.requires_grad])

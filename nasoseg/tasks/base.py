"""What every method shares: the step, the optimiser, the metrics and what is logged."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import lightning
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import MeanMetric

from nasoseg import labels as structure_names
from nasoseg.data.datamodule import SliceDataModule
from nasoseg.data.dataset import Sample
from nasoseg.data.training_data import TRAINING_DATA, TrainingData, describe_training_data
from nasoseg.errors import NasosegError
from nasoseg.heads import Head, channels, checked_head, decide, expand_planes, structure_logits, structure_probabilities
from nasoseg.losses import DiceFocalLoss, StagedLoss
from nasoseg.metrics import OverlapMetrics, Scores, StreamingAUC, SurfaceMetrics, merge_scores
from nasoseg.tasks.sharing import Shareable

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]


class SegmentationTask(Shareable, lightning.LightningModule):
    """Train, validate, test and predict with any network that maps images to logits.

    A subclass builds the network; everything else is here, so that all methods are treated alike.

    Args:
        network: Maps (b, c, h, w) to logits (b, k, h, w), or in training to a list with the logits of every stage.
        labels: Structures, in the order of the channels.
        in_channels: Channels of the image.
        head: ``multilabel`` (a sigmoid a structure, overlaps allowed) or ``multiclass`` (one softmax).
        loss: Takes (logits, masks, annotated); the paper's Dice + focal by default.
        stage_weights: Weights of the stages' losses; equal by default.
        optimizer: Makes the optimiser; by default Adam, which is ours, with the paper's learning rate of 0.001
            (Luo et al. 2020, section 3.3).
        lr_scheduler: Makes the schedule; by default x 0.9 every 10 epochs (the paper says "iterations": see the
            documentation). None keeps the learning rate. ``ReduceLROnPlateau`` follows the validation: its loss, or
            with ``mode="max"`` its DSC.
        lr_interval: Whether the schedule counts epochs or optimiser steps.

    Raises:
        ValueError: If there is no such head, or the loss is made for another.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        labels: structure_names.Labels,
        in_channels: int = 1,
        head: Head = "multilabel",
        loss: nn.Module | None = None,
        stage_weights: list[float] | None = None,
        optimizer: MakeOptimizer = lambda parameters: torch.optim.Adam(parameters, lr=0.001),
        lr_scheduler: MakeScheduler | None = lambda optimizer: torch.optim.lr_scheduler.StepLR(
            optimizer, step_size=10, gamma=0.9
        ),
        lr_interval: Literal["epoch", "step"] = "epoch",
    ) -> None:
        super().__init__()
        self.labels = structure_names.names(labels)
        self.in_channels = in_channels
        self.head: Head = checked_head(head)
        self.network = network
        made_for = getattr(loss, "head", head)
        if isinstance(made_for, str) and made_for != head:
            raise ValueError(
                f"loss: its head is {made_for!r}, expected {head!r}, the model's: pass head={head!r} to it"
            )
        self.staged_loss = StagedLoss(loss or DiceFocalLoss(head=head), weights=stage_weights)
        self.make_optimizer = optimizer
        self.make_scheduler = lr_scheduler
        self.lr_interval = lr_interval
        self.test_scores: Scores | None = None
        self.training_data: TrainingData | None = None
        """How its images are made and what it was trained on; set by training and by ``nasoseg.load``."""
        self._overlap: OverlapMetrics | None = None
        self._validation_loss: MeanMetric | None = None
        self._auc: StreamingAUC | None = None
        self._surface: SurfaceMetrics | None = None

    @property
    def classes(self) -> int:
        """Logit channels: one a structure, and one for the background of a softmax."""
        return channels(len(self.labels), self.head)

    def forward(self, image: Tensor) -> Tensor:
        """Map images (b, c, h, w), windowed to -1..1, to the final logits (b, k, h, w)."""
        return self.stages(image)[-1]

    def stages(self, image: Tensor) -> list[Tensor]:
        """Map images (b, c, h, w) to the logits of every stage that the network returns."""
        output = self.network(image)
        return list(output) if isinstance(output, list | tuple) else [output]

    def configure_optimizers(self) -> Any:
        """Return the optimiser and its schedule, for Lightning."""
        optimizer = self.make_optimizer(self.parameters())
        if self.make_scheduler is None:
            return optimizer
        scheduler = self.make_scheduler(optimizer)
        settings: dict[str, Any] = {"scheduler": scheduler, "interval": self.lr_interval}
        if isinstance(scheduler, ReduceLROnPlateau):
            if self.lr_interval == "step":
                raise NasosegError(
                    "model.lr_interval: found 'step' with ReduceLROnPlateau, which goes by the validation of an epoch:"
                    " expected 'epoch'"
                )
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])  # other schedules note it: a resumed run is compared
            settings["monitor"] = "val/dsc" if scheduler.mode == "max" else "val/loss"
            settings["frequency"] = (self._trainer and self._trainer.check_val_every_n_epoch) or 1
        return {"optimizer": optimizer, "lr_scheduler": settings}

    def training_losses(self, batch: Sample) -> dict[str, Tensor]:
        """Return what training minimises as ``loss``, and under other names what it is made of."""
        target = expand_planes(batch["labels"], len(self.labels))
        loss, losses = self.staged_loss(self.stages(batch["image"]), target, batch["annotated"])
        stages = {f"loss_stage{number}": stage_loss for number, stage_loss in enumerate(losses, start=1)}
        return {"loss": loss, **(stages if len(stages) > 1 else {})}

    def training_step(self, batch: Sample, batch_number: int) -> Tensor:
        """Return the loss of a batch."""
        losses = self.training_losses(batch)
        about: dict[str, Any] = {"on_step": False, "on_epoch": True, "sync_dist": True}
        for name, value in losses.items():
            self.log(f"train/{name}", value, prog_bar=name == "loss", batch_size=len(batch["patient"]), **about)
        return losses["loss"]

    def on_fit_start(self) -> None:
        """Check that the data are what the network was made for, before hours are spent."""
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, SliceDataModule):
            return
        found = [("labels", list(data.labels), self.labels), ("in_channels", data.in_channels, self.in_channels)]
        for name, of_data, of_model in found:
            if of_data != of_model:
                raise NasosegError(f"model.{name}: the model has {of_model}, the data give {of_data}: make them equal")
        self.training_data = describe_training_data(data)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep with the weights, as plain data, what they were trained on."""
        if self.training_data is not None:
            checkpoint[TRAINING_DATA] = self.training_data.as_dict()

    def on_validation_epoch_start(self) -> None:
        """Begin to count anew."""
        self._overlap = self._new_overlap(self.trainer.val_dataloaders)
        self._validation_loss = MeanMetric().to(self.device)

    def validation_step(self, batch: Sample, batch_number: int) -> None:
        """Count one batch of a validation volume."""
        logits, target = self._predict_batch(batch)
        loss = self.staged_loss.loss(logits, target, batch["annotated"])  # of the final stage
        assert self._validation_loss is not None
        loader: Any = self.trainer.val_dataloaders
        repeats = getattr(loader.sampler, "repeats", False)  # counted by another process
        self._validation_loss.update(loss, weight=0 if repeats else len(batch["patient"]))
        self._count(batch, logits, target)

    def on_validation_epoch_end(self) -> None:
        """Log the loss, and the DSC per volume."""
        assert self._overlap is not None
        if self._validation_loss is not None:
            self.log("val/loss", self._validation_loss.compute().item())
        self._log_dsc(self._overlap.compute().summary("volume").means["dsc"])

    def on_test_epoch_start(self) -> None:
        """Begin to count anew."""
        loader: Any = self.trainer.test_dataloaders
        self._overlap = self._new_overlap(loader)
        self._auc = StreamingAUC(self._overlap.patients, self.labels).to(self.device)
        depths = loader.dataset.depths
        self._surface = SurfaceMetrics(self._overlap.patients, self.labels, depths=depths).to(self.device)

    def test_step(self, batch: Sample, batch_number: int) -> None:
        """Count one batch of a test volume."""
        logits, target = self._predict_batch(batch)
        masks = self._count(batch, logits, target)
        assert self._auc is not None
        assert self._surface is not None
        of: dict[str, Any] = {
            "annotated": batch["annotated"],
            "patients": batch["patient"],
            "slices": batch["slice"],
        }
        self._auc.update(structure_logits(logits.float(), self.head), target, **of)
        self._surface.update(masks, target, spacing_mm=batch["spacing_mm"], **of)

    def on_test_epoch_end(self) -> None:
        """Compute all metrics, keep them in ``test_scores``; log their means, and DSC and AUC of every structure."""
        assert self._overlap is not None
        assert self._auc is not None
        assert self._surface is not None
        scores = merge_scores(self._overlap.compute(), self._auc.compute())
        self.test_scores = merge_scores(scores, self._surface.compute())
        summary = self.test_scores.summary("volume")
        for metric, value in summary.overall.items():
            self.log(f"test/{metric}", value, rank_zero_only=True)
        for metric in ("dsc", "auc"):
            self._log_structures(f"test/{metric}", summary.means[metric])

    def predict_step(self, batch: Sample, batch_number: int) -> Sample:
        """Return the masks (b, k, h, w) of a batch with the patient and slice of each."""
        masks = decide(self(batch["image"]), self.head)
        return {"masks": masks, "patient": batch["patient"], "slice": batch["slice"]}

    def _predict_batch(self, batch: Sample) -> tuple[Tensor, Tensor]:
        return self(batch["image"]), expand_planes(batch["labels"], len(self.labels))

    def _count(self, batch: Sample, logits: Tensor, target: Tensor) -> Tensor:
        """Count a batch; return the masks (b, k, h, w) that were counted."""
        assert self._overlap is not None
        masks = decide(logits, self.head)
        self._overlap.update(
            masks,
            structure_probabilities(logits.float(), self.head),
            target,
            annotated=batch["annotated"],
            patients=batch["patient"],
            slices=batch["slice"],
        )
        return masks

    def _log_dsc(self, dsc: Tensor) -> None:
        """Log the validation DSC (k,) of every structure, and their mean, which picks the checkpoint."""
        self._log_structures("val/dsc", dsc)
        self.log("val/dsc", dsc.nanmean().item(), prog_bar=True)

    def _log_structures(self, metric: str, values: Tensor) -> None:
        for name, value in zip(self.labels, values.tolist(), strict=True):
            if value == value:  # a structure without a patient has no value
                self.log(f"{metric}/{name}", value, rank_zero_only=True)

    def _new_overlap(self, loader: Any) -> OverlapMetrics:
        return OverlapMetrics(loader.dataset.patients, self.labels).to(self.device)

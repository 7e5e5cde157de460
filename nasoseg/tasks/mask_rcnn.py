"""Mask R-CNN as a method of segmentation: instances in, one score map a structure out."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from nasoseg import labels as structure_names
from nasoseg.data.dataset import Sample
from nasoseg.errors import NasosegError
from nasoseg.heads import Head, expand_planes
from nasoseg.metrics.sweep import ThresholdSweep
from nasoseg.models import MaskRCNN as MaskRCNNNetwork
from nasoseg.tasks.base import SegmentationTask

GRID = tuple(i / 20 for i in range(1, 20))
"""Thresholds on the score map, 0.05 to 0.95, of which each structure gets one."""

DEFAULT_THRESHOLD = 0.5
"""Of a structure that has no validation patient, or that was not found at any threshold."""

_SMALLEST = 1e-6  # a score of 0 needs a logit, too


class MaskRCNN(SegmentationTask):
    """Segment with Mask R-CNN (He et al. 2017).

    A structure's score map is the maximum over its instances of box score x mask probability. After every epoch of
    training, the threshold above which a pixel counts is chosen for each structure on the validation patients: the
    one of ``GRID`` with the best mean DSC per volume. ``val/dsc`` is measured with it, and checkpoints carry it
    (``thresholds``). The logits are logit(score) - logit(threshold), so that 0 decides, as for every other method.

    Args:
        labels: Structures, in the order of the channels.
        in_channels: Channels of the image.
        head: ``multilabel``; a softmax over all structures is no instance segmentation.
        scale: Slices are enlarged this many times first; 2 suits 128 x 128, 1 suits 512 x 512.
        anchor_sizes: Sides of the anchors at strides 4, 8, 16, 32 and 64, in pixels of the slice.
        aspect_ratios: Height over width of the anchors.
        proposals: Regions that go on to the heads, per slice.
        rois: Of these, drawn for the losses of the heads, per slice.
        detections: Most instances in a slice.
        score_threshold: Boxes with a lower score are dropped before the score map is made.
        nms_threshold: Overlap (IoU) from which the weaker of two boxes of a structure is dropped.
        backbone: See ``nasoseg.models.MaskRCNN``; a ResNet-50 with feature pyramid by default.
        pretrained: True starts from torchvision's weights for COCO, a path from such a file.
        **task: See ``SegmentationTask``: optimizer, lr_scheduler, lr_interval. The losses are Mask R-CNN's own.

    Raises:
        NasosegError: If the head is ``multiclass``, or the pretrained weights cannot be loaded.
    """

    network: MaskRCNNNetwork
    thresholds: Tensor

    def __init__(
        self,
        labels: structure_names.Labels,
        *,
        in_channels: int = 1,
        head: Head = "multilabel",
        scale: float = 2.0,
        anchor_sizes: Sequence[float] = (4.0, 8.0, 16.0, 32.0, 64.0),
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        proposals: int = 300,
        rois: int = 128,
        detections: int = 50,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        backbone: nn.Module | None = None,
        pretrained: bool | str = False,
        **task: Any,
    ) -> None:
        if head != "multilabel":
            raise NasosegError(
                f"model.head: found {head!r}, but Mask R-CNN finds every structure for itself, and its instances may"
                " overlap: use 'multilabel', or another method"
            )
        network = MaskRCNNNetwork(
            in_channels,
            len(structure_names.names(labels)),
            scale=scale,
            anchor_sizes=anchor_sizes,
            aspect_ratios=aspect_ratios,
            proposals=proposals,
            rois=rois,
            detections=detections,
            score_threshold=score_threshold,
            nms_threshold=nms_threshold,
            backbone=backbone,
            pretrained=pretrained,
        )
        super().__init__(
            network, labels=labels, in_channels=in_channels, head=head, loss=None, stage_weights=None, **task
        )
        self.register_buffer("thresholds", torch.full((len(self.labels),), DEFAULT_THRESHOLD))
        self._sweep: ThresholdSweep | None = None

    def stages(self, image: Tensor) -> list[Tensor]:
        """Map images (b, c, h, w) to the logits of the one stage."""
        return [_logits(self.network(image)) - torch.logit(self.thresholds)[:, None, None]]

    def training_losses(self, batch: Sample) -> dict[str, Tensor]:
        """Return the sum of the five losses of a batch as ``loss``, and each."""
        target = expand_planes(batch["labels"], len(self.labels))
        losses = self.network.losses(batch["image"], target, batch["annotated"])
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def on_validation_epoch_start(self) -> None:
        """Begin to count anew: at all thresholds while training, at the chosen ones otherwise."""
        self._sweep = None
        if self.trainer.state.fn != TrainerFn.FITTING:
            super().on_validation_epoch_start()
            self._validation_loss = None  # its losses need targets of training
            return
        loader: Any = self.trainer.val_dataloaders
        thresholds = torch.logit(torch.tensor(GRID))
        self._sweep = ThresholdSweep(loader.dataset.patients, self.labels, thresholds).to(self.device)

    def validation_step(self, batch: Sample, batch_number: int) -> None:
        """Count one batch of a validation volume."""
        if self._sweep is None:
            self._count(batch, *self._predict_batch(batch))
            return
        self._sweep.update(
            _logits(self.network(batch["image"])),
            expand_planes(batch["labels"], len(self.labels)),
            annotated=batch["annotated"],
            patients=batch["patient"],
            slices=batch["slice"],
        )

    def on_validation_epoch_end(self) -> None:
        """Choose the thresholds, and log the DSC per volume with them."""
        if self._sweep is None:
            super().on_validation_epoch_end()
            return
        dsc = self._sweep.compute().nanmean(dim=1)  # over patients: (thresholds, k)
        best = choose(dsc)
        self.thresholds.copy_(torch.tensor(GRID)[best])
        self._log_dsc(dsc.gather(0, best[None])[0])


def choose(dsc: Tensor) -> Tensor:
    """Choose a threshold for each structure: the highest DSC, and of equal ones the nearest to the default.

    Args:
        dsc: (t, k) mean over patients, NaN where nothing could be measured, which counts as 0.

    Returns:
        (k,) int64, places in ``GRID``.
    """
    dsc = dsc.nan_to_num(0.0)
    distance = (torch.tensor(GRID, dtype=dsc.dtype) - DEFAULT_THRESHOLD).abs()[:, None]
    return torch.where(dsc == dsc.amax(dim=0), distance, torch.inf).argmin(dim=0)


def _logits(scores: Tensor) -> Tensor:
    return torch.logit(scores.float(), eps=_SMALLEST)

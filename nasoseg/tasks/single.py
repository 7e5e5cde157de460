"""Methods of one network."""

from typing import Any

from torch import nn

from nasoseg import labels as structure_names
from nasoseg.heads import Head, channels
from nasoseg.models import Padded
from nasoseg.models import UNet as UNetNetwork
from nasoseg.tasks.base import SegmentationTask


class UNet(SegmentationTask):
    """Segment with one U-Net (Ronneberger et al. 2015), the first baseline.

    Args:
        labels: Structures, in the order of the channels.
        in_channels: Channels of the image.
        head: ``multilabel`` (a sigmoid a structure, overlaps allowed) or ``multiclass`` (one softmax).
        depth: Levels of resolution.
        width: Channels at full resolution.
        **task: See ``SegmentationTask``: loss, optimizer, lr_scheduler, lr_interval.
    """

    def __init__(
        self,
        labels: structure_names.Labels,
        *,
        in_channels: int = 1,
        head: Head = "multilabel",
        depth: int = 5,
        width: int = 16,
        **task: Any,
    ) -> None:
        network = UNetNetwork(in_channels, channels(len(labels), head), depth=depth, width=width)
        super().__init__(network, labels=labels, in_channels=in_channels, head=head, **task)


class SingleNetwork(SegmentationTask):
    """Segment with any one network, for example of segmentation-models-pytorch.

    Args:
        labels: Structures, in the order of the channels.
        network: Maps (b, in_channels, h, w) to logits (b, k, h, w) for h and w that are multiples of 32; other sizes
            are padded and cropped.
        in_channels: Channels of the image.
        head: ``multilabel`` (k structures) or ``multiclass`` (1 + k).
        **task: See ``SegmentationTask``: loss, optimizer, lr_scheduler, lr_interval.
    """

    def __init__(
        self,
        labels: structure_names.Labels,
        *,
        network: nn.Module,
        in_channels: int = 1,
        head: Head = "multilabel",
        **task: Any,
    ) -> None:
        super().__init__(Padded(network), labels=labels, in_channels=in_channels, head=head, **task)

"""Methods of one network."""

import math
from collections.abc import Callable
from typing import Any, Protocol, cast

from torch import nn

from nasoseg import labels as structure_names
from nasoseg.heads import Head, channels
from nasoseg.models import Padded, fcn8
from nasoseg.models import UNet as UNetNetwork
from nasoseg.models.blocks import channels_out
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


class FCN8(SegmentationTask):
    """Segment with FCN-8s on VGG-16 (Long et al. 2015), a baseline of the paper.

    Args:
        labels: Structures, in the order of the channels.
        in_channels: Channels of the image.
        head: ``multilabel`` (a sigmoid a structure, overlaps allowed) or ``multiclass`` (one softmax).
        fc_width: Channels of fc6 and fc7; 4096 in the paper.
        dropout: Probability with which a feature of fc6 and fc7 is dropped in training.
        pretrained: True starts from torchvision's ImageNet weights of ``vgg16_bn``, a path from such a file.
        **task: See ``SegmentationTask``: loss, optimizer, lr_scheduler, lr_interval.
    """

    def __init__(
        self,
        labels: structure_names.Labels,
        *,
        in_channels: int = 1,
        head: Head = "multilabel",
        fc_width: int = 4096,
        dropout: float = 0.5,
        pretrained: bool | str = False,
        **task: Any,
    ) -> None:
        classes = channels(len(structure_names.names(labels)), head)
        network = fcn8.FCN8(in_channels, classes, fc_width=fc_width, dropout=dropout, pretrained=pretrained)
        super().__init__(network, labels=labels, in_channels=in_channels, head=head, **task)


class MakeNetwork(Protocol):
    """Make a network for the data: a class or function whose channels are still open."""

    def __call__(self, *, in_channels: int, classes: int) -> nn.Module:
        """Return a network from ``in_channels`` to ``classes`` channels."""


class SingleNetwork(SegmentationTask):
    """Segment with any one network, for example of segmentation-models-pytorch.

    A config names the network's class and its arguments; ``in_channels`` and ``classes`` are left out and follow from
    the data. A class without them is built as it is.

    Args:
        labels: Structures, in the order of the channels.
        network: Maps (b, in_channels, h, w) to logits (b, k, h, w) for h and w that are multiples of 32; other sizes
            are padded and cropped. Or what makes such a network. A network that is made here and ends in a
            ``segmentation_head``, as smp's do, starts at ``prior``.
        in_channels: Channels of the image.
        head: ``multilabel`` (k structures) or ``multiclass`` (1 + k).
        prior: Probability with which every structure is predicted before training, as in ``UNet``.
        **task: See ``SegmentationTask``: loss, optimizer, lr_scheduler, lr_interval.

    Raises:
        ValueError: If the network does not take the image's channels, or gives another number than the head needs.
    """

    def __init__(
        self,
        labels: structure_names.Labels,
        *,
        network: MakeNetwork | nn.Module,
        in_channels: int = 1,
        head: Head = "multilabel",
        prior: float = 0.01,
        **task: Any,
    ) -> None:
        classes = channels(len(structure_names.names(labels)), head)
        if not isinstance(network, nn.Module):
            network = _made(network, in_channels=in_channels, classes=classes)
            _start_at(prior, network)
        found = channels_out("network", network, in_channels)
        if found != classes:
            raise ValueError(
                f"network gives {found} channels, expected {classes}: one a structure"
                f"{' and one for the background' if head == 'multiclass' else ''}; leave its number of classes out of"
                " the config if it has the argument `classes`"
            )
        super().__init__(Padded(network), labels=labels, in_channels=in_channels, head=head, **task)


def _made(make: MakeNetwork, *, in_channels: int, classes: int) -> nn.Module:
    try:
        return make(in_channels=in_channels, classes=classes)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        return cast(Callable[[], nn.Module], make)()


def _start_at(prior: float, network: nn.Module) -> None:
    """Set the last bias so that every structure starts at that probability."""
    head = getattr(network, "segmentation_head", None)
    convolutions = [m for m in head.modules() if isinstance(m, nn.Conv2d)] if isinstance(head, nn.Module) else []
    if convolutions and convolutions[-1].bias is not None:
        nn.init.constant_(convolutions[-1].bias, math.log(prior / (1 - prior)))

"""The paper's method as a LightningModule."""

from typing import Any, Literal

from torch import nn

from nasoseg import labels as structure_names
from nasoseg.heads import Head, channels
from nasoseg.models import Coupling, GateCoupling, MultiScalePooling, ResidualCoupling, TwoStageNet
from nasoseg.models import UNet as UNetNetwork
from nasoseg.models.blocks import channels_out
from nasoseg.tasks.base import SegmentationTask


class TwoStageUNet(SegmentationTask):
    """Segment tissues in CT in two stages (Luo et al. 2020).

    ``TwoStageUNet(labels=[...])(image)`` gives logits, in any code: it is a ``torch.nn.Module``.

    Args:
        labels: Structures, in the order of the channels.
        in_channels: Channels of the image.
        head: ``multilabel`` (a sigmoid a structure, overlaps allowed) or ``multiclass`` (one softmax).
        width: Channels of the features and of both default U-Nets at full resolution.
        pooling: Makes the features: ``msp`` is the paper's block; any module that maps (b, in_channels, h, w) to
            (b, f, h, w); None leaves it out, so that both stages read the image.
        stage1: Maps features to logits (b, k, h, w): ``unet`` has five levels.
        coupling: How stage 2 receives stage 1's result: ``concat``, ``gate``, ``residual``, or an own ``Coupling``.
        stage2: Maps what the coupling joins to logits: ``unet`` has three levels; None leaves it out.
        stage1_scale: Resolution at which stage 1 works: 1, or 1/n for a whole n. At 0.5 it reads the features averaged
            over 2 x 2 pixels, for a quarter of the work, and its logits are brought up to full resolution.
        **task: See ``SegmentationTask``: loss, stage_weights, optimizer, lr_scheduler, lr_interval.

    Raises:
        ValueError: If the channels of the parts do not fit together; says which and what was expected; if
            ``stage1_scale`` is neither 1 nor 1/n; if there is no such head, or the coupling or the loss is made for
            another.
    """

    def __init__(
        self,
        labels: structure_names.Labels,
        *,
        in_channels: int = 1,
        head: Head = "multilabel",
        width: int = 16,
        pooling: Literal["msp"] | nn.Module | None = "msp",
        stage1: Literal["unet"] | nn.Module = "unet",
        coupling: Literal["concat", "gate", "residual"] | Coupling = "concat",
        stage2: Literal["unet"] | nn.Module | None = "unet",
        stage1_scale: float = 1.0,
        **task: Any,
    ) -> None:
        classes = channels(len(structure_names.names(labels)), head)
        if pooling == "msp":
            pooling = MultiScalePooling(in_channels, width)
        features = in_channels if pooling is None else channels_out("pooling", pooling, in_channels)
        if stage1 == "unet":
            stage1 = UNetNetwork(features, classes, depth=5, width=width)
        coupling = _coupling(coupling, head)
        joined = coupling.in_channels(features, classes)
        if stage2 == "unet":
            # A correction starts at 0, not at the rarity of structures.
            prior = 0.5 if isinstance(coupling, ResidualCoupling) else 0.01
            stage2 = UNetNetwork(joined, classes, depth=3, width=width, prior=prior)
        for name, stage, taken in (("stage1", stage1, features), ("stage2", stage2, joined)):
            if stage is not None and (given := channels_out(name, stage, taken)) != classes:
                raise ValueError(
                    f"{name} gives {given} channels for {taken}, expected {classes}: one"
                    f" a structure{' and one for the background' if head == 'multiclass' else ''}"
                )
        # Our own U-Net pads for itself, to 16 and 4 pixels: padding crops of 80 to 96 first would cost 44 % more.
        own = all(isinstance(stage, UNetNetwork | None) for stage in (stage1, stage2))
        network = TwoStageNet(
            pooling=pooling,
            stage1=stage1,
            coupling=coupling,
            stage2=stage2,
            multiple=1 if own else 32,
            stage1_scale=stage1_scale,
        )
        super().__init__(network, labels=labels, in_channels=in_channels, head=head, **task)


def _coupling(coupling: Coupling | str, head: Head) -> Coupling:
    match coupling:
        case Coupling():
            if coupling.head != head:
                raise ValueError(
                    f"coupling: its head is {coupling.head!r}, expected {head!r}, the model's: pass head={head!r} to it"
                )
            return coupling
        case "concat":
            return Coupling(head)
        case "gate":
            return GateCoupling(head)
        case "residual":
            return ResidualCoupling(head)
        case _:
            raise ValueError(f"coupling {coupling!r}: expected 'concat', 'gate', 'residual' or a Coupling")

"""The networks that are compared: ours, and what a user would pick instead, with the same input and output."""

from collections.abc import Callable

import torch
from options import peer
from results import Results
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nasoseg.models import Coupling, MultiScalePooling, TwoStageNet, UNet

LEVELS = 5
Build = Callable[[], nn.Module]
Stages = list[Tensor]


def networks(
    classes: int, *, width: int, results: Results, asked: Callable[[str], bool], channels: int = 1
) -> dict[str, Build]:
    """Return how to build every network that is asked for and installed, by name.

    Ours and nnU-Net's, BasicUNet and DynUNet have the same levels and channels, and each its project's own
    normalisation; smp.Unet comes with its defaults, and once more with a smaller encoder and a decoder whose width is
    chosen so that it has as many operations as our U-Net.

    Args:
        classes: Logit channels out.
        width: Channels at full resolution.
        results: Where peers that are not installed are noted.
        asked: Whether a name is asked for; peers of which nothing is are not imported.
        channels: Of the image.
    """
    widths = [width * 2**level for level in range(LEVELS)]
    found: dict[str, Build] = {
        "nasoseg UNet": lambda: UNet(channels, classes, width=width),
        "nasoseg TwoStageUNet": lambda: two_stages(channels, classes, width=width, scale=1),
        "nasoseg TwoStageUNet, stage1_scale 0.5": lambda: two_stages(channels, classes, width=width, scale=0.5),
    }
    plain_smp, like_ours = "smp.Unet, defaults", "smp.Unet, resnet18, like FLOPs"
    if (asked(plain_smp) or asked(like_ours)) and (
        smp := peer("segmentation_models_pytorch", results, what="smp.Unet", package="segmentation-models-pytorch")
    ):

        def of_smp(encoder: str = "resnet34", factor: float = 1) -> nn.Module:
            decoder = [max(4, round(factor * each)) for each in (256, 128, 64, 32, 16)]
            plain = {"encoder_weights": None, "in_channels": channels, "classes": classes}
            return smp.Unet(encoder, decoder_channels=decoder, **plain)

        found[plain_smp] = of_smp
        goal = forward_flops(lambda: UNet(channels, classes, width=width), channels)
        factor = bisected(goal, lambda factor: forward_flops(lambda: of_smp("resnet18", factor), channels))
        found[like_ours] = lambda: of_smp("resnet18", factor)
    basic, dyn = "MONAI BasicUNet", "MONAI DynUNet"
    if (asked(basic) or asked(dyn)) and (monai := peer("monai.networks.nets", results, what=f"{basic} and DynUNet")):
        found[basic] = lambda: monai.BasicUNet(2, channels, classes, features=(*widths, width))
        found[dyn] = lambda: monai.DynUNet(
            2, channels, classes, [3] * LEVELS, [1] + [2] * (LEVELS - 1), [2] * (LEVELS - 1), filters=widths
        )
    unet = "dynamic_network_architectures.architectures.unet"
    plain_conv = "nnU-Net PlainConvUNet"
    if asked(plain_conv) and (dynamic := peer(unet, results, what=plain_conv, package="dynamic-network-architectures")):
        settings = plain_conv_settings(width)
        found[plain_conv] = lambda: dynamic.PlainConvUNet(channels, num_classes=classes, **settings)
    return {name: build for name, build in found.items() if asked(name)}


def two_stages(channels: int, classes: int, *, width: int, scale: float) -> nn.Module:
    """Build the network of ``nasoseg.TwoStageUNet`` with its defaults."""
    coupling = Coupling()
    return TwoStageNet(
        pooling=MultiScalePooling(channels, width),
        stage1=UNet(width, classes, depth=5, width=width),
        coupling=coupling,
        stage2=UNet(coupling.in_channels(width, classes), classes, depth=3, width=width),
        multiple=1,
        stage1_scale=scale,
    )


def plain_conv_settings(width: int) -> dict[str, object]:
    """Return the arguments of a PlainConvUNet, as nnU-Net's plans give them, for our levels and channels."""
    return {
        "n_stages": LEVELS,
        "features_per_stage": [width * 2**level for level in range(LEVELS)],
        "conv_op": nn.Conv2d,
        "kernel_sizes": [[3, 3]] * LEVELS,
        "strides": [[1, 1]] + [[2, 2]] * (LEVELS - 1),
        "n_conv_per_stage": [2] * LEVELS,
        "n_conv_per_stage_decoder": [2] * (LEVELS - 1),
        "conv_bias": True,
        "norm_op": nn.InstanceNorm2d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }


def forward_flops(build: Build, channels: int, *, side: int = 128) -> int:
    """Count the operations of one image, forward; nothing is computed."""
    with torch.device("meta"), torch.no_grad():
        network, image = build().eval(), torch.empty(1, channels, side, side)
        with FlopCounterMode(display=False) as counter:
            network(image)
    return counter.get_total_flops()


def bisected(goal: float, count: Callable[[float], float], *, low: float = 0.05, high: float = 3) -> float:
    """Find the factor, between two, at which what grows with it comes nearest to a goal."""
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (low, middle) if count(middle) > goal else (middle, high)
    return (low + high) / 2

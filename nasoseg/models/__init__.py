"""Pure torch networks; none knows Lightning."""

from nasoseg.models.blocks import ConvUnit, Padded
from nasoseg.models.coupling import Coupling, GateCoupling, ResidualCoupling
from nasoseg.models.pooling import MultiScalePooling
from nasoseg.models.two_stage import TwoStageNet
from nasoseg.models.unet import UNet

__all__ = [
    "ConvUnit",
    "Coupling",
    "GateCoupling",
    "MultiScalePooling",
    "Padded",
    "ResidualCoupling",
    "TwoStageNet",
    "UNet",
]

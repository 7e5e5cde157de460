"""Pure torch networks; none knows Lightning."""

from nasoseg.models.blocks import ConvUnit, Padded
from nasoseg.models.coupling import Coupling, GateCoupling, ResidualCoupling
from nasoseg.models.fcn8 import FCN8
from nasoseg.models.mask_rcnn import MaskRCNN
from nasoseg.models.pooling import MultiScalePooling
from nasoseg.models.two_stage import TwoStageNet
from nasoseg.models.unet import UNet

__all__ = [
    "FCN8",
    "ConvUnit",
    "Coupling",
    "GateCoupling",
    "MaskRCNN",
    "MultiScalePooling",
    "Padded",
    "ResidualCoupling",
    "TwoStageNet",
    "UNet",
]

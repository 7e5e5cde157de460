"""A small backbone for Mask R-CNN: torchvision's ResNet-18 with a pyramid of few channels."""

from torch import nn
from torchvision.models import resnet18
from torchvision.models.detection.backbone_utils import BackboneWithFPN

from nasoseg.models.pretrained import with_channels


def small_backbone(in_channels: int = 1, out_channels: int = 32) -> nn.Module:
    body = resnet18(weights=None)
    body.conv1 = with_channels(body.conv1, in_channels)
    maps = {f"layer{i + 1}": str(i) for i in range(4)}
    return BackboneWithFPN(body, maps, [64, 128, 256, 512], out_channels)

"""FCN-8s, the first fully convolutional baseline."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VGG16_BN_Weights
from torchvision.models.vgg import cfgs, make_layers

from nasoseg.errors import NasosegError
from nasoseg.models.blocks import ConvUnit, pad_to
from nasoseg.models.pretrained import grey_kernels, pretrained_weights

_AFTER_POOL3, _AFTER_POOL4 = 24, 34  # places in torchvision's vgg16_bn().features


class FCN8(nn.Module):
    """Score VGG-16's features at strides 32, 16 and 8, sum them, and upsample (FCN-8s, Long et al. 2015).

    VGG-16's fully connected layers are convolutions here (fc6, fc7). Each score layer is a 1x1 convolution; the
    transposed convolutions start as bilinear interpolation. The last enlargement, eightfold, stays it, as in the paper.

    Ours: batch normalisation after every convolution (torchvision's ``vgg16_bn``, and fc6 and fc7 alike). Without it
    VGG-16 does not start from random weights: its authors began with the trained layers of a shallower network
    (Simonyan and Zisserman 2015, section 3.1). Also ours: "same" padding in fc6 in place of the paper's border of 100
    pixels, and the start at ``prior``.

    Args:
        in_channels: Channels in.
        classes: Logit channels out.
        fc_width: Channels of fc6 and fc7; 4096 in the paper, which makes nine tenths of its parameters.
        dropout: Probability with which a feature of fc6 and fc7 is dropped in training.
        prior: Probability with which every structure is predicted before training, as in ``UNet``.
        pretrained: True starts from torchvision's ImageNet weights (``VGG16_BN_Weights``), a path from such a file.
            The first convolution gets ``grey_kernels``; fc6 and fc7 are taken over if ``fc_width`` is 4096.

    Raises:
        NasosegError: If the pretrained weights cannot be loaded, or are of another network.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        fc_width: int = 4096,
        dropout: float = 0.5,
        prior: float = 0.01,
        pretrained: bool | str = False,
    ) -> None:
        super().__init__()
        if fc_width < 1 or not 0 < prior < 1:
            raise ValueError(f"fc_width {fc_width}, prior {prior}: expected 1 or more, and a probability")
        weights = pretrained_weights(VGG16_BN_Weights.IMAGENET1K_V1, pretrained) if pretrained else None
        features = _vgg16(in_channels)
        fc6, fc7 = ConvUnit(512, fc_width, kernel=7), ConvUnit(fc_width, fc_width, kernel=1)
        if weights is not None:
            _take_over(weights, features, in_channels)
            _take_over_fully_connected(weights, fc6, fc7)
        self.to_pool3 = features[:_AFTER_POOL3]
        self.to_pool4 = features[_AFTER_POOL3:_AFTER_POOL4]
        self.to_pool5 = features[_AFTER_POOL4:]
        self.to_fc7 = nn.Sequential(fc6, nn.Dropout(dropout), fc7, nn.Dropout(dropout))
        self.score_fc7 = nn.Conv2d(fc_width, classes, 1)
        self.score_pool4 = nn.Conv2d(512, classes, 1)
        self.score_pool3 = nn.Conv2d(256, classes, 1)
        self.double_fc7 = _doubling(classes)
        self.double_pool4 = _doubling(classes)
        self.bias = nn.Parameter(torch.full((classes, 1, 1), math.log(prior / (1 - prior))))

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, in_channels, h, w) to logits (b, classes, h, w), for any h and w."""
        h, w = x.shape[-2:]
        pool3 = self.to_pool3(pad_to(x, 32))
        pool4 = self.to_pool4(pool3)
        fc7 = self.to_fc7(self.to_pool5(pool4))
        stride16 = self.double_fc7(self.score_fc7(fc7)) + self.score_pool4(pool4)
        stride8 = self.double_pool4(stride16) + self.score_pool3(pool3)
        # No transposed convolution: with a stride of 8 its gradient in bfloat16 is wrong on processors with AMX (torch
        # 2.12.0; pytorch issue 169688 is alike).
        logits = F.interpolate(stride8, scale_factor=8, mode="bilinear", align_corners=False) + self.bias
        return logits[..., :h, :w]


def _vgg16(in_channels: int) -> nn.Sequential:
    """Build the convolutional part of torchvision's vgg16_bn with random weights, drawn as there."""
    features: nn.Sequential = make_layers(cfgs["D"], batch_norm=True)
    features[0] = nn.Conv2d(in_channels, 64, 3, padding=1)
    for module in features:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # VGG's convolutions have one
    return features


def _doubling(classes: int) -> nn.ConvTranspose2d:
    """Make a transposed convolution that starts as bilinear interpolation of each class for itself, twice as large."""
    up = nn.ConvTranspose2d(classes, classes, 4, stride=2, padding=1, bias=False)
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        up.weight.zero_()
        up.weight[range(classes), range(classes)] = torch.outer(line, line)
    return up


def _take_over(weights: dict[str, Tensor], features: nn.Sequential, in_channels: int) -> None:
    """Copy the convolutional part of vgg16_bn's weights."""
    prefix = "features."
    found = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    if "0.weight" in found:
        found["0.weight"] = grey_kernels(found["0.weight"], in_channels)
    try:
        features.load_state_dict(found)
    except RuntimeError as error:
        raise NasosegError(
            "pretrained: the weights are of another network than torchvision's vgg16_bn, which FCN8 is built on"
            f" ({str(error).splitlines()[-1].strip()[:200]}): give a file of VGG16_BN_Weights"
        ) from error


def _take_over_fully_connected(weights: dict[str, Tensor], *units: ConvUnit) -> None:
    """Copy the kernels of vgg16_bn's first two fully connected layers, where the file has them and they fit."""
    for name, unit in zip(("classifier.0.weight", "classifier.3.weight"), units, strict=True):
        kernels = unit.get_parameter("0.weight")
        if name in weights and weights[name].numel() == kernels.numel():
            with torch.no_grad():
                kernels.copy_(weights[name].view(kernels.shape))

"""Multi-scale average pooling, the paper's MSP block."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasoseg.models.blocks import ConvUnit


class MultiScalePooling(nn.Module):
    """Average the image at several scales and fuse them into features (Luo et al. 2020, section 2.1.1).

    The paper names the four kernels; that the averages are concatenated and fused by one convolution unit, and that
    the border is averaged over real pixels only, are ours.

    Args:
        in_channels: Channels of the image.
        out_channels: Channels of the features; also read by ``TwoStageNet`` as the width that the stages take in.
        kernels: Odd sides of the averaging windows, in pixels.
        fusion: Kernel side of the fusing convolution, 1 or 3.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, kernels: Sequence[int] = (1, 3, 5, 7), fusion: int = 3
    ) -> None:
        super().__init__()
        if any(kernel % 2 == 0 or kernel < 1 for kernel in kernels):
            raise ValueError(f"kernels {list(kernels)}: expected odd sides, so that the output keeps its place")
        self.kernels = tuple(kernels)
        self.out_channels = out_channels
        self.fuse = ConvUnit(in_channels * len(self.kernels), out_channels, kernel=fusion)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (b, in_channels, h, w) to features (b, out_channels, h, w)."""
        features: Tensor = self.fuse(torch.cat([_average(image, kernel) for kernel in self.kernels], dim=1))
        return features


def _average(image: Tensor, kernel: int) -> Tensor:
    if kernel == 1:
        return image
    return F.avg_pool2d(image, kernel, stride=1, padding=kernel // 2, count_include_pad=False)

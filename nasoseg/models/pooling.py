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
        features: Tensor = self.fuse(torch.cat(_averages(image, self.kernels), dim=1))
        return features


def _averages(image: Tensor, kernels: Sequence[int]) -> list[Tensor]:
    """Average (b, c, h, w) over square windows, for every kernel side; at the border over real pixels only.

    The same as ``F.avg_pool2d`` with ``count_include_pad=False``, which reads kernel² values a pixel, one by one where
    channels are few; here log(kernel) additions of whole planes do it (benchmarks/speed/pooling.py).
    """
    border = max(kernels) // 2
    exact = image.to(torch.promote_types(image.dtype, torch.float32))  # 16 bits would round every addition
    # A plane of ones behind the batch counts the real pixels of each window.
    padded = F.pad(torch.cat([exact, torch.ones_like(exact[:1])]), (border,) * 4)
    h, w = padded.shape[-2:]
    averages = []
    for kernel in kernels:
        spare = border - kernel // 2
        sums = padded[..., spare : h - spare, spare : w - spare]
        for axis in (-1, -2):
            sums = _window_sums(sums, kernel, axis=axis)
        averages.append((sums[:-1] / sums[-1:]).to(image.dtype))
    return averages


def _window_sums(x: Tensor, length: int, *, axis: int) -> Tensor:
    """Sum every ``length`` neighbours along an axis, which gets shorter by ``length`` - 1."""
    if length == 1:
        return x
    whole = x.shape[axis]
    windows = whole - length + 1
    if length % 2:
        others = _window_sums(x.narrow(axis, 1, whole - 1), length - 1, axis=axis)
        return x.narrow(axis, 0, windows) + others
    half = length // 2
    halves = _window_sums(x, half, axis=axis)
    return halves.narrow(axis, 0, windows) + halves.narrow(axis, half, windows)

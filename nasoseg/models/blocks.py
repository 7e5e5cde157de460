"""The pieces that the networks are made of, and a look at what a piece gives."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvUnit(nn.Sequential):
    """Convolve, normalise, rectify: the paper's convolution unit (Luo et al. 2020, section 2.1).

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        kernel: Odd kernel side in pixels; the output has the input's height and width.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class Padded(nn.Module):
    """Let a network that halves its input several times take any height and width.

    Pads with zeros at the right and bottom to the next multiple, runs the network, and crops its output.

    Args:
        network: Maps (b, c, h, w) to (b, k, h, w) where h and w are multiples of ``multiple``.
        multiple: For a network of n halvings 2^n; 32 suits every usual encoder.
    """

    def __init__(self, network: nn.Module, *, multiple: int = 32) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w) to (b, k, h, w) for any h, w."""
        h, w = x.shape[-2:]
        output: Tensor = self.network(pad_to(x, self.multiple))
        return output[..., :h, :w]


def pad_to(x: Tensor, multiple: int) -> Tensor:
    """Pad (b, c, h, w) with zeros at the right and bottom until h and w are multiples of ``multiple``."""
    h, w = x.shape[-2:]
    bottom, right = -h % multiple, -w % multiple
    # Zeros, because the backward of the other padding modes is not deterministic on CUDA.
    return F.pad(x, (0, right, 0, bottom)) if bottom or right else x


PROBED = (64, 64)
"""Rows and columns of the plane that ``probe`` shows."""


def probe(name: str, part: nn.Module, in_channels: int) -> Any:
    """Run a part once on a small plane (1, in_channels, 64, 64) of zeros, to see that it takes it and what it gives.

    Args:
        name: What the part is called in messages.
        part: The part; its mode stays as it was.
        in_channels: Channels in.

    Raises:
        ValueError: If the part does not take so many channels.
    """
    try:
        with torch.no_grad(), evaluating(part):
            return part(torch.zeros(1, in_channels, *PROBED))
    except RuntimeError as error:
        raise ValueError(f"{name} does not take {in_channels} channels, which it is given here: {error}") from error


@contextmanager
def evaluating(part: nn.Module) -> Iterator[None]:
    """Put a part into evaluation mode for the block; then each of its modules is in its own mode again.

    ``train(True)`` alone would also wake the modules that were put into evaluation mode on purpose, as a frozen
    encoder is.
    """
    modes = [(module, module.training) for module in part.modules()]
    part.eval()
    try:
        yield
    finally:
        part.train(modes[0][1])  # some modules do more there than note it
        for module, training in modes:
            module.training = training


def channels_out(name: str, part: nn.Module, in_channels: int) -> int:
    """Count the channels that a part gives, which maps (b, in_channels, h, w) to (b, channels, h, w).

    Args:
        name: What the part is called in messages.
        part: The part; its mode stays as it was.
        in_channels: Channels in.

    Raises:
        ValueError: If the part does not take so many channels, or gives something else.
    """
    output = probe(name, part, in_channels)
    if not isinstance(output, torch.Tensor) or output.ndim != 4 or output.shape[-2:] != PROBED:
        found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise ValueError(f"{name} maps (1, {in_channels}, 64, 64) to {found}, expected (1, channels, 64, 64)")
    return output.shape[1]

"""The U-Net of both stages and of the baseline."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasoseg.models.blocks import ConvUnit, pad_to

DEEPEST = 12
"""Most levels: the lowest of a plane of 2,048 pixels is then one pixel. A damaged config may ask for millions."""


class UNet(nn.Module):
    """Encode, decode, and join the levels by skips (Ronneberger et al. 2015), with batch normalisation.

    Args:
        in_channels: Channels in.
        classes: Logit channels out.
        depth: Levels of resolution, at most ``DEEPEST``; each halves the plane and doubles the channels. 5 is the
            paper's rough stage, 3 its precise one.
        width: Channels at full resolution.
        prior: Probability with which every structure is predicted before training (Lin et al. 2017, section 4.1).
            Organs fill about 1 % of a slice: from 1/2, the first thing that is learned is "nothing anywhere", and
            several hundred steps pass before the first structure comes back from it.
    """

    def __init__(self, in_channels: int, classes: int, *, depth: int = 5, width: int = 16, prior: float = 0.01) -> None:
        super().__init__()
        if not 1 <= depth <= DEEPEST or width < 1 or not 0 < prior < 1:
            raise ValueError(
                f"depth {depth}, width {width}, prior {prior}: expected 1 to {DEEPEST}, 1 or more, and a probability"
            )
        widths = [width * 2**level for level in range(depth)]
        self.multiple = 2 ** (depth - 1)
        self.encoder = nn.ModuleList(_double(a, b) for a, b in zip([in_channels, *widths], widths, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(_double(2 * a, a) for a in widths[:-1])
        self.head = nn.Conv2d(width, classes, 1)
        self.head.bias = nn.Parameter(torch.full((classes,), math.log(prior / (1 - prior))))

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, in_channels, h, w) to logits (b, classes, h, w), for any h and w."""
        h, w = x.shape[-2:]
        x = pad_to(x, self.multiple)
        skips: list[Tensor] = []
        for encode in self.encoder:
            x = encode(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        for skip, up, decode in zip(skips[-2::-1], reversed(self.up), reversed(self.decoder), strict=True):
            x = decode(torch.cat([skip, up(x)], dim=1))
        logits: Tensor = self.head(x)
        return logits[..., :h, :w]


def _double(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(ConvUnit(in_channels, out_channels), ConvUnit(out_channels, out_channels))

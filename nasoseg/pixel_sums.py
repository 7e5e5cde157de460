"""Sums over the pixels of overlapping structures, which their losses are made of, and their gradient in closed form.

Written with tensors, a Dice and a focal loss keep a dozen of them as large as the logits for the backward pass, and go
through main memory as often. Here a block of pixels after the other is worked on while it is in the processor's cache,
and the backward pass computes it anew: nothing is kept but logits and masks.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

LARGEST_LOGIT = 1e30
"""Beyond it a sum of differences of logits could leave float32's range (3.4e38)."""
_BLOCK_PER_THREAD, _BLOCK_OF_A_DEVICE = 2**16, 2**24
"""Pixels that are worked on at once: a dozen such blocks fit into a core's cache, and fill a GPU."""


class PixelSums(NamedTuple):
    """Hold sums over the pixels of each structure of each image, all (b, k), in float32.

    With r the mask, p the probability and w = 1 - p where r = 1, p where r = 0 (how wrong a pixel is): sums of what is
    small where the prediction is right lose nothing there, as 1 - p would.

    Attributes:
        drawn: Sum of r. Has no gradient.
        wrong: Sum of w.
        missed: Sum of w r.
        focal: Sum of the focal loss, -a (1-p)^g log p where r = 1 and -(1-a) p^g log(1-p) where r = 0.
    """

    drawn: Tensor
    wrong: Tensor
    missed: Tensor
    focal: Tensor


def sum_pixels(logits: Tensor, target: Tensor, *, alpha: float = 0.5, gamma: float | None = None) -> PixelSums:
    """Sum over the pixels of logits and masks (b, k, h, w).

    Args:
        logits: Of any floating-point precision; any finite value.
        target: Masks, 0 and 1.
        alpha: a of the focal loss.
        gamma: g of the focal loss; None leaves its sum at 0.
    """
    sums = _PixelSums.apply(logits, target, alpha, gamma)  # type: ignore[no-untyped-call]  # torch's own
    return PixelSums(*sums)


class _PixelSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, alpha: float, gamma: float | None) -> tuple[Tensor, ...]:
        ctx.save_for_backward(logits, target)
        ctx.alpha, ctx.gamma = alpha, gamma
        sums = [logits.new_zeros(logits.shape[:2]).float() for _ in range(4)]
        drawn, wrong, missed, focal = sums
        for block in _blocks(logits):
            r, w, factors = _pixels(logits[block], target[block], gamma)
            images = block[0]
            drawn[images] += r.sum(dim=(2, 3))
            wrong[images] += w.sum(dim=(2, 3))
            missed[images] += (w * r).sum(dim=(2, 3))
            if factors is not None:
                losses = factors[0] * factors[1]
                outside = (1 - alpha) * losses.sum(dim=(2, 3))
                focal[images] += outside + (2 * alpha - 1) * losses.mul_(r).sum(dim=(2, 3))
        ctx.mark_non_differentiable(drawn)
        return tuple(sums)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor, of_wrong: Tensor, of_missed: Tensor, of_focal: Tensor) -> tuple[Any, ...]:
        logits, target = ctx.saved_tensors
        gradient = torch.empty_like(logits)
        for block in _blocks(logits):
            r, w, factors = _pixels(logits[block], target[block], ctx.gamma)
            a, b, c = (g[block[0], :, None, None] for g in (of_wrong, of_missed, of_focal))
            right = 1 - w
            found = (w * right).mul_(torch.addcmul(a, b, r))  # dw/dv = w (1 - w)
            if factors is not None:
                powered, ce = factors
                # d(w^g ce)/dv = w^g (g (1 - w) ce + w)
                steep = torch.addcmul(w, right, ce, value=ctx.gamma).mul_(powered)
                found.addcmul_(steep, torch.addcmul((1 - ctx.alpha) * c, (2 * ctx.alpha - 1) * c, r))
            gradient[block] = found.addcmul_(found, r, value=-2)  # v = -x where r = 1
        return gradient, None, None, None


def _pixels(logits: Tensor, target: Tensor, gamma: float | None) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
    """Return r and w of a block, and with g the factors of the focal loss, w^g and ce = -log(1 - w)."""
    r = target.bool().float().contiguous()
    x = logits.float().contiguous().clamp(-LARGEST_LOGIT, LARGEST_LOGIT)
    v = torch.addcmul(x, x, r, value=-2)  # x where r = 0, -x where r = 1
    w = v.sigmoid()
    if gamma is None:
        return r, w, None
    ce = F.softplus(v)
    if gamma in (1, 2):
        return r, w, (w if gamma == 1 else w * w, ce)
    return r, w, (torch.exp(gamma * (v - ce)), ce)  # unlike a power, finite to the last for g < 1


def _blocks(logits: Tensor) -> Iterator[tuple[slice, slice, slice]]:
    """Cut (b, k, h, w) into whole images, or into rows of one image where that is too large."""
    b, k, h, w = logits.shape
    limit = _BLOCK_OF_A_DEVICE if logits.device.type != "cpu" else _BLOCK_PER_THREAD * torch.get_num_threads()
    images, rows = max(1, limit // max(1, k * h * w)), max(1, limit // max(1, k * w))
    for first in range(0, b, images):
        for row in range(0, h, rows if images == 1 else h):
            yield slice(first, first + images), slice(None), slice(row, row + rows)

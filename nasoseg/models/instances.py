"""Masks and instances, one into the other: what Mask R-CNN learns from, and what becomes of what it finds."""

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from torch import Tensor


def instances(masks: Tensor, *, most: int) -> dict[str, Tensor]:
    """Cut the masks of one slice into instances: one a structure and connected component.

    Pixels that touch at a corner belong together. A box runs along the outer edges of the component's pixels, so that
    one of a single pixel is 1 x 1 and none is empty. A slice without a structure gives tables of no rows.

    Args:
        masks: (k, h, w) bool.
        most: Components that are kept, the largest ones.

    Returns:
        ``boxes`` (n, 4) float32 as x1, y1, x2, y2 in pixels; ``labels`` (n,) int64, 1 for the first structure;
        ``masks`` (n, h, w) uint8. On the CPU.
    """
    planes = masks.cpu().numpy().astype(np.uint8)
    found: list[tuple[int, int, int, list[int]]] = []  # pixels, structure, component, box
    numbered = {}
    for structure in np.flatnonzero(planes.any(axis=(1, 2))).tolist():
        count, numbered[structure], about, _ = cv2.connectedComponentsWithStats(planes[structure], connectivity=8)
        for component in range(1, count):
            x, y, width, height, pixels = about[component].tolist()
            found.append((pixels, structure, component, [x, y, x + width, y + height]))
    found = sorted(found, key=lambda instance: -instance[0])[:most]
    parts = np.zeros((len(found), *planes.shape[1:]), np.uint8)
    for part, (_, structure, component, _) in zip(parts, found, strict=True):
        part[:] = numbered[structure] == component
    return {
        "boxes": torch.tensor([box for *_, box in found], dtype=torch.float32).view(-1, 4),
        "labels": torch.tensor([structure + 1 for _, structure, _, _ in found], dtype=torch.int64),
        "masks": torch.from_numpy(parts),
    }


def score_map(found: Mapping[str, Tensor], *, structures: int, size: tuple[int, int]) -> Tensor:
    """Merge the detections of one slice: per structure and pixel the best (box score x mask probability).

    Args:
        found: ``boxes`` (n, 4) in pixels, ``scores`` (n,), ``labels`` (n,) from 1, ``masks`` (n, 1, m, m) in 0..1.
        structures: k.
        size: h, w.

    Returns:
        (k, h, w) in 0..1; 0 where nothing was found.
    """
    labels = found["labels"]
    scored = paste(found["masks"][:, 0], found["boxes"], size) * found["scores"][:, None, None]
    merged = scored.new_zeros(structures, *size)
    for number in torch.unique(labels).tolist():
        merged[number - 1] = scored[labels == number].amax(dim=0)
    return merged


def paste(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Put masks (n, m, m) back into their boxes (n, 4), x1, y1, x2, y2, on planes of h, w pixels: (n, h, w).

    Bilinear between the centres of the mask's pixels, 0 outside. Interpolation along rows and along columns are two
    small products of matrices for all masks at once; torchvision's loop resizes and copies them one by one.
    """
    m = masks.shape[-1]
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    rows = _interpolation(y1, y2, length=size[0], pixels=m)
    columns = _interpolation(x1, x2, length=size[1], pixels=m)
    return rows @ masks @ columns.transpose(1, 2)


def _interpolation(low: Tensor, high: Tensor, *, length: int, pixels: int) -> Tensor:
    """Return (n, length, pixels): the share of each mask pixel in each pixel of a line, both by their centres."""
    centres = torch.arange(length, device=low.device) + 0.5
    place = (centres - low[:, None]) / (high - low)[:, None] * pixels - 0.5
    return (1 - (place[:, :, None] - torch.arange(pixels, device=low.device)).abs()).clamp(min=0)

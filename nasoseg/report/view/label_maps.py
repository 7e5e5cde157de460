"""Pack masks that may overlap into few label maps: a browser holds three volumes more easily than twenty."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nasoseg.volumes.structure_set import PackedMask
from nasoseg.volumes.volume import Geometry

_MOST_LABELS = 255  # of a uint8, 0 being outside


@dataclass(frozen=True)
class LabelMap:
    """Hold structures that do not overlap.

    Attributes:
        labels: (z, h, w) uint8 in axial order, cut down to what is drawn; 0 is outside.
        start: (slice, row, column) of its first voxel on the CT's grid.
        geometry: Its own grid.
        count: The highest label.
    """

    labels: npt.NDArray[np.uint8]
    start: tuple[int, int, int]
    geometry: Geometry
    count: int


@dataclass(frozen=True)
class Place:
    """Say where a mask went: the number of the label map, from 0, and the label, from 1."""

    map: int
    label: int


def pack(masks: Iterable[PackedMask], grid: Geometry) -> tuple[list[LabelMap], list[Place | None]]:
    """Put every mask into the first label map in which it overlaps nothing.

    Args:
        masks: (z, h, w) on ``grid``.
        grid: In axial order.

    Returns:
        The label maps; and for every mask where it is, None for one without a voxel.
    """
    whole: list[npt.NDArray[np.uint8]] = []
    counts: list[int] = []
    places: list[Place | None] = []
    for packed in masks:
        if not packed.voxels:
            places.append(None)
            continue
        mask = packed.unpack()
        number = next((n for n, of in enumerate(whole) if counts[n] < _MOST_LABELS and not of[mask].any()), len(whole))
        if number == len(whole):
            whole.append(np.zeros(grid.shape, np.uint8))
            counts.append(0)
        counts[number] += 1
        whole[number][mask] = counts[number]
        places.append(Place(number, counts[number]))
    return [_cut(labels, grid, count) for labels, count in zip(whole, counts, strict=True)], places


def _cut(labels: npt.NDArray[np.uint8], grid: Geometry, count: int) -> LabelMap:
    """Cut a map down to the box of what is drawn in it."""
    drawn = [np.flatnonzero(labels.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    z, y, x = (slice(int(of[0]), int(of[-1]) + 1) for of in drawn)
    cut = labels[z, y, x].copy()
    start = (z.start, y.start, x.start)
    affine = grid.affine_lps.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    return LabelMap(cut, start, Geometry((cut.shape[0], cut.shape[1], cut.shape[2]), affine), count)

"""Probabilities on the network's pixels -> masks on the scan's, as bit planes; resampled where the network ran."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nasoseg.data.resample import Axis, plane_axes
from nasoseg.data.store import plane_dtype
from nasoseg.inference.arrays import Array, like, on_host
from nasoseg.volumes.volume import Geometry

if TYPE_CHECKING:  # it imports torch
    from nasoseg.heads import Head


class OntoScan:
    """Collect the masks of a scan, batch by batch.

    A voxel belongs to a structure where its probability, interpolated linearly between the network's pixels, is over
    1/2 (``multilabel``) or the greatest of all (``multiclass``). Outside the network's plane nothing is.

    Args:
        grid: The network's grid.
        axial: The scan's grid in axial order: the same slices.
        structures: Number of structures.
        head: What the channels mean.

    Attributes:
        planes: (z, h, w) on ``axial``; bit i is structure i.
    """

    def __init__(self, grid: Geometry, axial: Geometry, *, structures: int, head: "Head") -> None:
        self.head = head
        self.structures = structures
        self.planes: npt.NDArray[Any] = np.zeros(axial.shape, plane_dtype(structures))
        self._axes = plane_axes(grid, axial) if grid is not axial else None
        self._weights: tuple[Array, Array] | None = None

    def add(self, probabilities: Array, start: int) -> None:
        """Take the probabilities (b, channels, h, w) of the slices from ``start`` on."""
        for offset, of_slice in enumerate(probabilities):
            # What is interpolated is nowhere greater than what it lies between: most structures are on few slices.
            least = 0.5 if self.head == "multilabel" else 1 / len(of_slice)
            reached = (of_slice > least).any(axis=(1, 2)).tolist()
            first = int(self.head == "multiclass")  # of the structures
            candidates = [channel for channel in range(first, len(of_slice)) if reached[channel]]
            if not candidates:
                continue
            if self.head == "multiclass":
                winner = self._moved(of_slice[[0, *candidates]]).argmax(axis=0)
                masks = [on_host(winner == place) for place in range(1, len(candidates) + 1)]
            else:
                masks = list(on_host(self._moved(of_slice[candidates]) > 0.5))
            plane = self.planes[start + offset]
            for channel, mask in zip(candidates, masks, strict=True):
                plane |= mask.astype(plane.dtype) << plane.dtype.type(channel - first)

    def _moved(self, maps: Array) -> Array:
        """Interpolate maps (n, h, w) at the scan's pixels; outside the network's plane they are 0."""
        if self._axes is None:
            return maps
        if self._weights is None:
            by_row, by_column = (_dense(axis) for axis in self._axes)
            self._weights = like(by_row, maps), like(np.ascontiguousarray(by_column.T), maps)
        by_row, by_column = self._weights
        return by_row @ maps @ by_column


def _dense(axis: Axis) -> npt.NDArray[np.float32]:
    return np.asarray(axis.weights(widened=False).toarray(), np.float32)

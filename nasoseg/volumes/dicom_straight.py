"""Put tilted or uneven slices onto a straight, uniform grid."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nasoseg.volumes.ct_series import SlicePlane
from nasoseg.volumes.dicom_grid import Stack
from nasoseg.volumes.dicom_pixels import AIR_HU
from nasoseg.volumes.header import checked_shape
from nasoseg.volumes.volume import Geometry, Volume

_EDGE = 1e-6  # pixels; rounding must not take the last row away


def straight_grid(found: Stack, plane: SlicePlane, name: Any) -> Geometry:
    """Lay out the straight grid: parallel to the slices, stacked along their normal, from the first to the last.

    Its pixels are those of the first slice, as many more in rows and columns as the tilt shifts the last one sideways;
    its spacing is the scan's own, made a little smaller where that is needed to end on the last slice.

    Args:
        found: How the slices lie.
        plane: The first slice.
        name: What an error names.

    Raises:
        NasosegError: If the grid would be larger than any scan.
    """
    extent = float(found.positions_mm[-1] - found.positions_mm[0])
    gaps = max(1, math.ceil(extent / found.spacing_mm - 1e-3))
    (low_row, high_row), (low_column, high_column) = (_reach(shift * extent) for shift in _shifts(found, plane))
    shape = (gaps + 1, plane.rows + high_row - low_row, plane.columns + high_column - low_column)
    affine = np.eye(4)
    affine[:3, 0] = found.normal * (extent / gaps)
    affine[:3, 1:3] = plane.affine_lps[:3, :2]
    affine[:3, 3] = (plane.affine_lps @ [low_row, low_column, 1])[:3]
    return Geometry(checked_shape(name, shape), affine)


def straighten(slices: npt.NDArray[Any], found: Stack, plane: SlicePlane, grid: Geometry) -> Volume:
    """Interpolate slices linearly, along the line through their like pixels, onto a grid from ``straight_grid``.

    Along that sheared line anatomy is in step: what lies between two slices is a weighted mean of both, shifted to
    where the tilt puts it. What no slice covers is air (``AIR_HU``). Where a grid plane lies on a slice without shift
    it is that slice, unchanged.

    Args:
        slices: HU of the original slices, sorted, (z, h, w).
        found: How they lie.
        plane: The first of them.
        grid: The grid to fill.
    """
    per_row, per_column = _shifts(found, plane)
    offset = np.linalg.lstsq(plane.affine_lps[:3, :2], grid.affine_lps[:3, 3] - plane.affine_lps[:3, 2], rcond=None)[0]
    heights = found.positions_mm - found.positions_mm[0]
    volume = np.empty(grid.shape, slices.dtype)
    for z in range(grid.shape[0]):
        height = min(z * float(grid.spacing_mm[0]), float(heights[-1]))
        below = int(np.clip(np.searchsorted(heights, height, side="right") - 1, 0, len(heights) - 2))
        part = (height - heights[below]) / (heights[below + 1] - heights[below])
        image = slices[below] * (1 - part) + slices[below + 1] * part
        rows = np.arange(grid.shape[1]) + round(offset[0]) - per_row * height
        columns = np.arange(grid.shape[2]) + round(offset[1]) - per_column * height
        image = _interpolated(_interpolated(image, rows).T, columns).T
        image = np.where(_inside(rows, plane.rows)[:, None] & _inside(columns, plane.columns), image, AIR_HU)
        volume[z] = np.rint(image) if volume.dtype.kind == "i" else image
    return Volume(volume, grid)


def _shifts(found: Stack, plane: SlicePlane) -> tuple[float, float]:
    """Return by how many rows and columns the slices shift for every millimetre along the normal."""
    rows, columns = np.linalg.lstsq(plane.affine_lps[:3, :2], found.drift, rcond=None)[0]
    return float(rows), float(columns)


def _reach(shift: float) -> tuple[int, int]:
    """Return the first and last whole pixel between 0 and a shift."""
    return min(0, math.floor(shift + _EDGE)), max(0, math.ceil(shift - _EDGE))


def _inside(indices: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.bool_]:
    return (indices >= -_EDGE) & (indices <= size - 1 + _EDGE)


def _interpolated(image: npt.NDArray[Any], rows: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Take fractional rows of an image; outside it the border's."""
    rows = np.clip(rows, 0, len(image) - 1)
    low = np.floor(rows).astype(np.intp)
    part = (rows - low)[:, None].astype(np.float32)
    return np.asarray(image[low] * (1 - part) + image[np.minimum(low + 1, len(image) - 1)] * part)

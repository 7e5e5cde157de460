"""Contours of whole volumes as SVG paths, in tenths of a millimetre on the plane of the stored slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import contourpy
import cv2
import numpy as np
import numpy.typing as npt

from nasoseg.errors import NasosegError
from nasoseg.volumes.header import EXTENSIONS
from nasoseg.volumes.nifti import read_label_map
from nasoseg.volumes.volume import Geometry

UNITS_PER_MM = 10
"""Paths are in whole units, so that they are short."""

_THINNED_PX = 0.25  # 0.4 makes a pentagon of a spinal cord of five pixels


@dataclass(frozen=True)
class VolumeMasks:
    """Hold the masks of one patient.

    Attributes:
        masks: For every structure (z, h, w), all on one grid.
        rows_mm: Place of the grid's rows on the drawn plane, whose first stored pixel is at 0; (h,).
        columns_mm: Place of its columns; (w,).
    """

    masks: dict[str, npt.NDArray[np.bool_]]
    rows_mm: npt.NDArray[np.floating[Any]]
    columns_mm: npt.NDArray[np.floating[Any]]

    def drawn(self) -> npt.NDArray[np.bool_]:
        """Tell for every slice (z,) whether any structure has a pixel on it."""
        return np.asarray(np.any([mask.any(axis=(1, 2)) for mask in self.masks.values()], axis=0))

    def path(self, structure: str, z: int, *, left_mm: float, top_mm: float) -> str:
        """Outline a structure on a slice as an SVG path; empty where it has no pixel there.

        The line runs half-way between pixels inside and outside, thinned by a quarter of a pixel at most.

        Args:
            structure: Its name.
            z: The slice.
            left_mm: What lies at x = 0.
            top_mm: What lies at y = 0.
        """
        mask = self.masks[structure][z]
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return ""
        top, left = rows[0], columns[0]
        inner = mask[top : rows[-1] + 1, left : columns[-1] + 1]
        padded = np.pad(inner, 1).astype(np.float32)  # so that lines close at the border of the grid
        lines = contourpy.contour_generator(z=padded).lines(0.5)
        parts = []
        for line in lines:
            points = cv2.approxPolyDP(np.asarray(line, np.float32)[:-1], _THINNED_PX, True)[:, 0]
            if len(points) < 3:
                continue
            x = _place(self.columns_mm, points[:, 0] + left - 1) - left_mm
            y = _place(self.rows_mm, points[:, 1] + top - 1) - top_mm
            parts.append(_closed(np.rint(np.stack([x, y], axis=1) * UNITS_PER_MM).astype(int)))
        return "".join(parts)


def read_prediction(folder: Path, structures: Sequence[str], *, stored: Geometry, source: Geometry) -> VolumeMasks:
    """Read a patient's predicted masks.

    Args:
        folder: Has ``<structure>.nii.gz`` (or .nii, .nrrd, .mha) for each structure.
        structures: What is read.
        stored: The patient's grid in the store.
        source: The grid that the patient came on, where the masks lie.

    Raises:
        NasosegError: If a mask is missing, cannot be read, or lies on another grid.
    """
    masks = {}
    for name in structures:
        path = next((file for ending in EXTENSIONS if (file := folder / f"{name}{ending}").is_file()), None)
        if path is None:
            raise NasosegError(f"{folder}: has no mask of {name}, expected {name}.nii.gz: predict again")
        volume = read_label_map(path)
        if not volume.geometry.matches(source):
            raise NasosegError(
                f"{path}: its grid {volume.geometry.shape} is not the one the patient came on, {source.shape}: expected"
                " a mask on the original grid, as `nasoseg predict` writes it; predict again with this store"
            )
        masks[name] = volume.axial().array != 0
    # The stored grid has the slices of the source; in the plane it may be cropped, padded or resampled.
    to_stored = np.linalg.solve(stored.affine_lps, source.axial().affine_lps)
    shape = source.axial().shape
    rows, columns = (
        (np.arange(shape[axis]) * to_stored[axis, axis] + to_stored[axis, 3]) * float(stored.spacing_mm[axis])
        for axis in (1, 2)
    )
    return VolumeMasks(masks, rows, columns)


def _place(grid_mm: npt.NDArray[Any], positions: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the place of fractional positions on an even grid; they may lie beyond its ends."""
    step = grid_mm[1] - grid_mm[0] if len(grid_mm) > 1 else 1.0
    return np.asarray(grid_mm[0] + positions * step)


def _closed(points: npt.NDArray[np.int_]) -> str:
    """Write a polygon (n, 2) as a path: the first corner, then steps, then a closing line."""
    steps = np.diff(points, axis=0)
    steps = steps[steps.any(axis=1)]
    text = f"M{points[0, 0]} {points[0, 1]}l" + " ".join(f"{x} {y}" for x, y in steps)
    return text.replace(" -", "-") + "z"

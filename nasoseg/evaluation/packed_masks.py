"""One patient's masks on one axial grid, a bit a voxel: ten structures of a large scan fit into 70 MB."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasoseg.data.studies import Contour, Study, check_values
from nasoseg.errors import NasosegError
from nasoseg.volumes.nifti import read_label_map
from nasoseg.volumes.volume import Geometry, Volume


@dataclass(frozen=True)
class PackedMasks:
    """Hold the masks of k structures.

    Attributes:
        contours: Where each was read; None where there is no file.
        packed: Position of a structure -> its mask (z, h, w / 8), eight columns a byte; empty without a file.
        reference: The grid in a file's index order, and that file; None if no file was read.
    """

    contours: list[Contour | None]
    packed: dict[int, npt.NDArray[np.uint8]]
    reference: tuple[Geometry, Path] | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns; one voxel if no file was read."""
        return self.reference[0].axial().shape if self.reference else (1, 1, 1)

    @property
    def spacing_mm(self) -> npt.NDArray[np.float64]:
        """Distances of slices, rows and columns; 1 mm if no file was read: there is nothing to measure."""
        return self.reference[0].axial().spacing_mm if self.reference else np.ones(3)

    def empty(self) -> list[bool]:
        """Tell for each structure whether its mask has no voxel."""
        return [not (i in self.packed and self.packed[i].any()) for i in range(len(self.contours))]

    def slices(self, chosen: range) -> npt.NDArray[np.bool_]:
        """Return some slices as masks (b, k, h, w)."""
        _, rows, columns = self.shape
        masks = np.zeros((len(chosen), len(self.contours), rows, columns), np.bool_)
        for i, packed in self.packed.items():
            masks[:, i] = np.unpackbits(packed[chosen.start : chosen.stop], axis=-1, count=columns)
        return masks


def read_masks(
    study: Study, contours: Sequence[Contour | None], *, reference: tuple[Geometry, Path] | None = None
) -> PackedMasks:
    """Read one patient's masks and bring them into axial order.

    Args:
        study: The patient, who says which values a label map may hold.
        contours: The files of the k structures, in their order.
        reference: The grid that all must lie on, in any order and direction of its axes; None takes the first file's.

    Raises:
        NasosegError: If a file cannot be read, lies on another grid, or holds values that are not explained.
    """
    packed: dict[int, npt.NDArray[np.uint8]] = {}
    path, array = Path(), np.empty(0)
    for i, contour in enumerate(contours):
        if contour is None:
            continue
        if contour.path != path:  # a label map is read once for all its structures
            volume = read_label_map(contour.path)
            reference = reference or (volume.geometry, contour.path)
            path, array = contour.path, _axial(volume, contour.path, *reference)
            if study.known_values:
                no_part = "whole structures are measured, not parts of them"
                or_else = "name the right file with --dataset-json, or correct the label map"
                check_values(array, path, study, no_part=no_part, or_else=or_else)
        mask = np.isin(array, contour.values) if contour.values else array != 0
        packed[i] = np.packbits(mask, axis=-1)
    return PackedMasks(list(contours), packed, reference)


def _axial(volume: Volume, path: Path, grid: Geometry, grid_path: Path) -> npt.NDArray[Any]:
    if volume.geometry.matches(grid):
        # So that rounding cannot turn an oblique volume another way than the one that it is compared with.
        return Volume(volume.array, grid).axial().array
    axial, wanted = volume.axial(), grid.axial()
    if not axial.geometry.matches(wanted):
        raise NasosegError(
            f"{path}: lies on another grid than {grid_path}: found {axial.geometry.worded()}, expected"
            f" {wanted.worded()} (slices, rows, columns): resample the prediction onto the grid of the truth"
        )
    return axial.array

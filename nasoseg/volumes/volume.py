"""A volume: a 3-D array with the affine that places it in the patient."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nasoseg.errors import NasosegError

AXIAL_DIRECTIONS_LPS = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
"""LPS directions of the axial order's three axes: slices to Superior, rows to Posterior, columns to Left."""

LARGEST_SIDE = 16384
"""No CT has more rows, columns or slices; a header that claims more is not believed."""


@dataclass(frozen=True)
class Geometry:
    """Place a grid of voxels in the patient.

    Attributes:
        shape: Number of voxels along the three array axes.
        affine_lps: 4 x 4; maps array indices (i, j, k) to LPS millimetres of the voxel centre.
    """

    shape: tuple[int, int, int]
    affine_lps: npt.NDArray[np.float64]

    @property
    def spacing_mm(self) -> npt.NDArray[np.float64]:
        """Distance of neighbouring voxel centres along each array axis, shape (3,)."""
        return np.asarray(np.linalg.norm(self.affine_lps[:3, :3], axis=0))

    def axial_axes(self) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
        """Find how this grid becomes axial: slices to Superior, rows to Posterior, columns to Left.

        Returns:
            ``axes``: for every axial axis the array axis that it comes from; ``flips``: whether it runs backwards
            there. An oblique grid keeps its obliqueness: each axis goes to the nearest direction.
        """
        directions = self.affine_lps[:3, :3] / self.spacing_mm
        # The array axis that is the most decided goes first, so that no two go to one direction.
        cosines = AXIAL_DIRECTIONS_LPS @ directions
        axes, flips = np.empty(3, int), np.empty(3, bool)
        strength = np.abs(cosines)
        for _ in range(3):
            axial, array = np.unravel_index(np.argmax(strength), strength.shape)
            axes[axial], flips[axial] = array, cosines[axial, array] < 0
            strength[axial, :] = -1
            strength[:, array] = -1
        return (int(axes[0]), int(axes[1]), int(axes[2])), (bool(flips[0]), bool(flips[1]), bool(flips[2]))

    def axial(self) -> "Geometry":
        """Return the same voxels in axial order."""
        axes, flips = self.axial_axes()
        affine = self.affine_lps.copy()
        affine[:3, :3] = self.affine_lps[:3, list(axes)]
        for axial, flipped in enumerate(flips):
            if flipped:
                affine[:3, 3] += affine[:3, axial] * (self.shape[axes[axial]] - 1)
                affine[:3, axial] *= -1
        return Geometry((self.shape[axes[0]], self.shape[axes[1]], self.shape[axes[2]]), affine)

    def worded(self) -> str:
        """Word shape, spacing and the place of the first voxel, for messages."""
        spacing = " x ".join(f"{side:.3f}" for side in self.spacing_mm)
        return f"{self.shape} voxels of {spacing} mm from {np.round(self.affine_lps[:3, 3], 2).tolist()} mm (LPS)"

    def matches(self, other: "Geometry", *, tolerance_mm: float = 0.05) -> bool:
        """Tell whether both grids put every corner voxel within ``tolerance_mm`` of the same place."""
        if self.shape != other.shape:
            return False
        corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float)
        corners[:, :3] *= np.array(self.shape) - 1
        apart = corners @ (self.affine_lps - other.affine_lps).T
        return bool(np.abs(apart).max() <= tolerance_mm)


@dataclass(frozen=True)
class Volume:
    """Hold voxels and where they are.

    Attributes:
        array: Voxels; axis order is the one that ``geometry`` describes.
        geometry: The grid.
    """

    array: npt.NDArray[Any]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise NasosegError(f"volume: array {self.array.shape} does not have the grid's shape {self.geometry.shape}")

    def axial(self) -> "Volume":
        """Return the volume with axes (slice to Superior, row to Posterior, column to Left), without resampling."""
        axes, flips = self.geometry.axial_axes()
        array = self.array.transpose(axes)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
        return Volume(np.ascontiguousarray(array), self.geometry.axial())


def from_axial(array: npt.NDArray[Any], original: Geometry) -> npt.NDArray[Any]:
    """Undo ``Volume.axial``: put an axial array back into the axis order and directions of ``original``.

    Args:
        array: Voxels (slice, row, column) on the grid ``original.axial()``.
        original: The grid to return to.

    Returns:
        A new array. It keeps slices together in memory, as NIfTI files do: bringing them into another order and back
        would take most of the time of writing one.
    """
    axes, flips = original.axial_axes()
    unflipped = array[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    return unflipped.transpose(np.argsort(axes)).copy(order="K")

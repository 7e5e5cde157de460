"""A CT and its masks, from whatever files -> one patient of the store: axial, on the stored grid, as bit planes."""

from collections.abc import Container, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nasoseg.data.resample import AIR_HU, resample_image, resample_mask, stored_grid
from nasoseg.data.store import Patient, plane_dtype
from nasoseg.volumes.volume import Volume

_AIR_BELOW_HU = -200  # fat is at -100: a head-and-neck CT without anything darker has no air


@dataclass(frozen=True)
class Conversion:
    """Say how studies become patients.

    Attributes:
        structures: Names, in the order of their bits.
        absent: Structures that a patient without a mask was nevertheless annotated for: there is none in him.
        pixel_mm: Side of a stored pixel; None keeps the scan's.
        size: Rows and columns of the stored plane; None keeps them, or what ``pixel_mm`` makes of them.
    """

    structures: tuple[str, ...]
    absent: frozenset[str] = frozenset()
    pixel_mm: float | None = None
    size: int | None = None


def to_patient(
    ct: Volume,
    masks: Iterable[tuple[str, npt.NDArray[np.bool_]]],
    key: str,
    conversion: Conversion,
    *,
    undecided: Container[str] = (),
) -> tuple[Patient, list[str]]:
    """Bring a CT and its masks into the store's order and grid.

    Args:
        ct: HU, int16, on the grid of its files.
        masks: Structures of ``conversion``, each with its mask (z, h, w) on the CT's grid in axial order; taken one at
            a time, so that an iterator may make them.
        key: The patient's key.
        conversion: How to convert.
        undecided: Structures without a mask that count as unannotated although ``conversion.absent`` holds them.

    Returns:
        The patient, and remarks for the summary, such as structures that were lost by resampling.

    Raises:
        NasosegError: If the grid cannot be resampled, or there are too many structures.
    """
    axial = ct.axial()
    grid = stored_grid(axial.geometry, pixel_mm=conversion.pixel_mm, size=conversion.size)
    remarks = [] if axial.array.min() < _AIR_BELOW_HU else [f"darkest voxel {axial.array.min()} HU: no air in the CT?"]
    resampled = grid is not axial.geometry
    image = resample_image(axial.array, axial.geometry, grid, outside=AIR_HU) if resampled else axial.array
    names = conversion.structures
    annotated = np.array([name in conversion.absent and name not in undecided for name in names])
    planes = np.zeros(grid.shape, plane_dtype(len(names)))
    for structure, mask in masks:
        bit = names.index(structure)
        annotated[bit] = True
        if resampled:
            drawn, mask = np.count_nonzero(mask), resample_mask(mask, axial.geometry, grid)
            if drawn and not mask.any():  # neither present nor absent on this grid: no loss and no metric may count it
                annotated[bit] = False
                remarks.append(f"{structure} ({drawn} voxels) vanished by resampling: not annotated")
        planes[mask] |= planes.dtype.type(1 << bit)
    return Patient(key, image, planes, annotated, grid.affine_lps, ct.geometry), remarks

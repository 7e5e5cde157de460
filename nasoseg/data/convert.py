"""One study's files -> one patient of the store."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nasoseg.data.resample import AIR_HU, resample_image, resample_mask, stored_grid
from nasoseg.data.store import Patient, pack_planes
from nasoseg.data.studies import Contour, Study
from nasoseg.errors import NasosegError
from nasoseg.volumes.nifti import read_ct, read_label_map
from nasoseg.volumes.volume import Geometry, Volume

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


def convert(study: Study, key: str, conversion: Conversion) -> tuple[Patient, list[str]]:
    """Read one study and bring it into the store's order and grid.

    Returns:
        The patient, and remarks for the summary, such as structures that were lost by resampling.

    Raises:
        NasosegError: If a file cannot be used; names it.
    """
    if study.fault:
        raise NasosegError(study.fault)
    ct = read_ct(study.ct)
    axial = ct.axial()
    grid = stored_grid(axial.geometry, pixel_mm=conversion.pixel_mm, size=conversion.size)
    remarks = [] if axial.array.min() < _AIR_BELOW_HU else [f"darkest voxel {axial.array.min()} HU: no air in the CT?"]
    resampled = grid is not axial.geometry
    image = resample_image(axial.array, axial.geometry, grid, outside=AIR_HU) if resampled else axial.array
    annotated = np.array([name in conversion.absent for name in conversion.structures])
    masks: dict[int, npt.NDArray[np.bool_]] = {}
    maps: dict[Any, Volume] = {}  # a label map is read once for all its structures
    for contour in study.contours:
        if contour.structure not in conversion.structures:
            continue
        bit = conversion.structures.index(contour.structure)
        if contour.path not in maps:
            maps = {contour.path: _read_on_grid(contour, study, ct.geometry)}
        mask = _inside(maps[contour.path].array, contour, conversion.absent)
        annotated[bit] = True
        if resampled:
            drawn, mask = np.count_nonzero(mask), resample_mask(mask, axial.geometry, grid)
            if drawn and not mask.any():  # neither present nor absent on this grid: no loss and no metric may count it
                annotated[bit] = False
                remarks.append(f"{contour.structure} ({drawn} voxels) vanished by resampling: not annotated")
        masks[bit] = mask
    labels = pack_planes(masks, shape=grid.shape, structures=len(conversion.structures))
    return Patient(key, image, labels, annotated, grid.affine_lps, ct.geometry), remarks


def _read_on_grid(contour: Contour, study: Study, ct: Geometry) -> Volume:
    """Read a mask or label map in axial order, and check that it lies on the grid of the CT."""
    labels = read_label_map(contour.path)
    if not labels.geometry.matches(ct):
        mine, wanted = labels.geometry.axial(), ct.axial()
        if not mine.matches(wanted):
            raise NasosegError(
                f"{contour.path}: lies on another grid than {study.ct.name}: found {_worded(mine)}, expected"
                f" {_worded(wanted)} (slices, rows, columns): resample it onto the CT's grid, or export both together"
            )
    else:
        labels = Volume(labels.array, ct)  # so that rounding cannot turn an oblique mask another way than its CT
    array = labels.axial().array
    if study.known_values:
        _check_values(array, contour, study)
    return Volume(array, ct.axial())


def _worded(grid: Geometry) -> str:
    spacing = " x ".join(f"{side:.3f}" for side in grid.spacing_mm)
    return f"{grid.shape} voxels of {spacing} mm from {np.round(grid.affine_lps[:3, 3], 2).tolist()} mm"


def _check_values(array: npt.NDArray[Any], contour: Contour, study: Study) -> None:
    values = np.unique(array)
    if study.ignore is not None and study.ignore in values:
        raise NasosegError(
            f"{contour.path}: {np.count_nonzero(array == study.ignore)} voxels carry the label 'ignore'"
            f" ({study.ignore}), expected none: a store says of whole structures whether they are annotated, not of"
            " voxels: relabel them, or leave the case out"
        )
    unknown = [int(v) for v in values if v not in study.known_values]
    if unknown:
        raise NasosegError(
            f"{contour.path}: found the values {unknown[:5]}, expected those of dataset.json"
            f" {list(study.known_values)[:20]}: add them there, or correct the file"
        )


def _inside(array: npt.NDArray[Any], contour: Contour, absent: frozenset[str]) -> npt.NDArray[np.bool_]:
    """Return the mask; one without a voxel is an error in a file of its own unless the structure may be absent."""
    if contour.values:
        return np.isin(array, contour.values)
    mask = np.asarray(array != 0)
    if not mask.any() and contour.structure not in absent:
        raise NasosegError(
            f"{contour.path}: a mask with no voxel, expected at least one: remove the file if {contour.structure} was"
            f" not annotated, or pass --absent {contour.structure} if patients without it are meant"
        )
    return mask

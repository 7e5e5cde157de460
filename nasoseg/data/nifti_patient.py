"""One study in NIfTI, NRRD or MetaImage files -> one patient of the store."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nasoseg.data.convert import Conversion, to_patient
from nasoseg.data.store import Patient
from nasoseg.data.studies import Contour, Study, check_values
from nasoseg.errors import NasosegError
from nasoseg.volumes.itk_header import voxel_file
from nasoseg.volumes.nifti import read_ct, read_label_map
from nasoseg.volumes.volume import Geometry, Volume


@dataclass(frozen=True)
class NiftiPatient:
    """Read one study: a ``jobs.Source``.

    Attributes:
        study: Its files.
    """

    study: Study

    def state(self) -> list[Any]:
        """Return, for the fingerprint, the layout and each file's size and time of change."""
        files = {path for path in (self.study.ct, *(c.path for c in self.study.contours)) if path.exists()}
        beside = {voxel_file(path) for path in files if path.suffix.lower() == ".mhd"}  # a header says nothing of them
        files |= {path for path in beside if path is not None and path.exists()}
        states = [(path.name, s.st_size, s.st_mtime_ns) for path in sorted(files) for s in [path.stat()]]
        contours = [(c.structure, c.path.name, c.values) for c in self.study.contours]
        return ["nifti", states, contours, self.study.known_values, self.study.ignore]

    def convert(self, key: str, conversion: Conversion) -> tuple[Patient, list[str]]:
        """Read the CT and the masks, and bring them into the store's order and grid.

        Raises:
            NasosegError: If a file cannot be used; names it.
        """
        if self.study.fault:
            raise NasosegError(self.study.fault)
        ct = read_ct(self.study.ct)
        return to_patient(ct, _masks(self.study, ct.geometry, conversion), key, conversion)


def _masks(study: Study, ct: Geometry, conversion: Conversion) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    maps: dict[Any, Volume] = {}  # a label map is read once for all its structures
    for contour in study.contours:
        if contour.structure in conversion.structures:
            if contour.path not in maps:
                maps = {contour.path: _read_on_grid(contour, study, ct)}
            yield contour.structure, _inside(maps[contour.path].array, contour, conversion.absent)


def _read_on_grid(contour: Contour, study: Study, ct: Geometry) -> Volume:
    """Read a mask or label map in axial order, and check that it lies on the grid of the CT."""
    labels = read_label_map(contour.path)
    if not labels.geometry.matches(ct):
        mine, wanted = labels.geometry.axial(), ct.axial()
        if not mine.matches(wanted):
            raise NasosegError(
                f"{contour.path}: lies on another grid than {study.ct.name}: found {mine.worded()}, expected"
                f" {wanted.worded()} (slices, rows, columns): resample it onto the CT's grid, or export both together"
            )
    else:
        labels = Volume(labels.array, ct)  # so that rounding cannot turn an oblique mask another way than its CT
    array = labels.axial().array
    if study.known_values:
        no_part = "a store says of whole structures whether they are annotated, not of voxels"
        check_values(array, contour.path, study, no_part=no_part, or_else="or correct the file")
    return Volume(array, ct.axial())


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

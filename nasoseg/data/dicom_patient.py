"""One CT series and the contours drawn on it -> one patient of the store."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasoseg.data.anonymous_text import without_identity
from nasoseg.data.convert import Conversion, to_patient
from nasoseg.data.dicom_pairing import ContouredCt
from nasoseg.data.store import Patient
from nasoseg.errors import NasosegError
from nasoseg.sides import laterality_conflicts
from nasoseg.structure_map import StructureMap
from nasoseg.volumes.ct_series import CtSeries
from nasoseg.volumes.dicom import read_series
from nasoseg.volumes.nifti import RANGE_HU
from nasoseg.volumes.rtstruct import read_rtstruct
from nasoseg.volumes.structure_set import Structures
from nasoseg.volumes.volume import Volume

_EMPTY = {("it has no contours",), ("it has no pixel",)}  # as the readers say; anything else was drawn, and lost


@dataclass(frozen=True)
class DicomPatient:
    """Read one CT with its contours: a ``jobs.Source``.

    Attributes:
        scan: The CT and its contour files.
        rois: For each of the files, the ROIs that mean a structure of the store: name of the ROI to the structure's.
        structure_map: Decides where several ROIs mean one structure.
        resample: Put tilted or unevenly spaced slices onto a straight grid.
        archive: Size and time of change of the zip that the files were unpacked from; none: they lie where they are.
    """

    scan: ContouredCt
    rois: tuple[Mapping[str, str], ...]
    structure_map: StructureMap
    resample: bool = False
    archive: tuple[int, ...] = ()

    @property
    def files(self) -> list[Path]:
        """All files of the CT and the contours."""
        return [*self.scan.series.files, *(file.path for file in self.scan.contours)]

    def state(self) -> list[Any]:
        """Return, for the fingerprint, each file's size and time of change, and what the ROIs mean."""
        states = []
        for path in self.files:
            status = path.stat()
            states.append((path.name, status.st_size, 0 if self.archive else status.st_mtime_ns))
        rules = [[(*meant, self.structure_map.match(meant[0]).rule) for meant in rois.items()] for rois in self.rois]
        return ["dicom", self.resample, self.archive, states, rules]

    def convert(self, key: str, conversion: Conversion) -> tuple[Patient, list[str]]:
        """Read the CT and the contours, and bring them into the store's order and grid.

        Returns:
            The patient, and remarks that do not tell who he is: structures stand there under the store's names.

        Raises:
            NasosegError: If a file cannot be used, or two ROIs mean one structure; names the file.
        """
        if self.scan.fault:
            raise NasosegError(self.scan.fault)
        try:
            ct = read_series(self.scan.series, resample=self.resample)
            drawing = self._read_contours(ct)
        except OSError as error:
            where = error.filename or self.scan.series.files[0].parent
            raise NasosegError(f"{where}: cannot be read ({error.strerror or error}): read the folder again") from error
        volume = Volume(_whole_hu(ct.volume.array, self.scan.series.files[0].parent), ct.volume.geometry)
        centroids: dict[str, list[float]] = {}
        masks = _masks(drawing.masks, volume, centroids)
        patient, remarks = to_patient(volume, masks, key, conversion, undecided=drawing.lost)
        remarks = [*ct.remarks, *drawing.remarks, *laterality_conflicts(centroids), *remarks]
        return patient, without_identity(remarks, ct.header, self.files)

    def _read_contours(self, ct: CtSeries) -> "_Drawing":
        drawing = _Drawing()
        for file, rois in zip(self.scan.contours, self.rois, strict=True):
            if rois and file.modality == "SEG":
                from nasoseg.volumes.dicom_seg import read_seg  # highdicom loads slowly, and in every worker

                drawing.add(file.path, read_seg(file.path, ct, names=rois), rois, self.structure_map)
            elif rois:
                drawing.add(file.path, read_rtstruct(file.path, ct, names=rois), rois, self.structure_map)
        return drawing


@dataclass
class _Drawing:
    """Collect what was drawn on one CT, file by file.

    Attributes:
        masks: For every structure, the file that has it, all of its structures, and the name of the ROI.
        lost: Structures that were drawn, and of which nothing could be placed.
        remarks: What was left out or odd.
    """

    masks: dict[str, tuple[Path, Structures, str]] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)

    def add(self, path: Path, found: Structures, rois: Mapping[str, str], structure_map: StructureMap) -> None:
        """Add the structures of a file.

        Raises:
            NasosegError: If two of its ROIs mean one structure alike, or another file draws a structure differently.
        """
        self.remarks += found.remarks
        for name, roi in found.rois.items():
            said = "; ".join(roi.remarks)
            if name not in found:
                self.remarks.append(f"{rois[name]}: no mask: {said or 'nothing was drawn'}")
                if roi.remarks not in _EMPTY:
                    self.lost.add(rois[name])
            elif said:
                self.remarks.append(f"{rois[name]}: {said}")
        drawn = list(found)  # an empty ROI must not take a structure from one that was drawn
        for name, match in zip(drawn, structure_map.assign(drawn), strict=True):
            if match.rule == "conflict":
                raise NasosegError(f"{path}: {match.note}")
            if match.structure:
                self._set(match.structure.name, path, found, name)
            else:
                self.remarks.append(f"{rois[name]}: a second ROI that means it less plainly was left out")

    def _set(self, structure: str, path: Path, found: Structures, name: str) -> None:
        before = self.masks.setdefault(structure, (path, found, name))
        if before[0] == path:
            return
        other, others, its_name = before
        if not np.array_equal(others[its_name], found[name]):
            raise NasosegError(
                f"{path}: {name!r} and {its_name!r} of {other} both mean {structure} on one CT, and differ: expected"
                " one of each structure: move the file away that does not count, or choose one with --series UID"
            )
        self.remarks.append(f"{structure}: drawn alike in two files, taken once")


def _masks(
    drawn: Mapping[str, tuple[Path, Structures, str]], ct: Volume, centroids: dict[str, list[float]]
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Unpack one mask after the other, in axial order, and note where its centroid lies, in LPS millimetres."""
    for structure, (_, structures, name) in drawn.items():
        mask = Volume(structures[name], ct.geometry).axial()
        centroids[structure] = (mask.geometry.affine_lps @ [*_centroid(mask.array), 1])[:3].tolist()
        yield structure, mask.array


def _centroid(mask: npt.NDArray[np.bool_]) -> list[float]:
    """Return the mean (slice, row, column) of a mask with a voxel."""
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    low, high = int(slices[0]), int(slices[-1]) + 1
    seen = mask[low:high]
    plane = seen.sum(axis=0)
    counts = (seen.sum(axis=(1, 2)), plane.sum(axis=1), plane.sum(axis=0))
    starts = (low, 0, 0)
    return [start + float(np.average(np.arange(len(c)), weights=c)) for start, c in zip(starts, counts, strict=True)]


def _whole_hu(hu: npt.NDArray[Any], folder: Path) -> npt.NDArray[np.int16]:
    """Round HU and clip them to int16."""
    if hu.min() == hu.max():
        raise NasosegError(
            f"{folder}: constant CT: all voxels are {hu.min():g} HU, expected Hounsfield units (air about -1000, water"
            " 0): export the CT again, or leave the patient out"
        )
    if hu.dtype == np.int16:
        return hu
    clipped: npt.NDArray[Any] = np.clip(np.rint(hu), *RANGE_HU)
    return clipped.astype(np.int16)

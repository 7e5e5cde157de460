"""One slice of a CT series: where its pixels lie, in the patient and in the file, checked before any is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from nasoseg.errors import NasosegError
from nasoseg.volumes.ct_series import SlicePlane
from nasoseg.volumes.dicom_header import ENHANCED_CLASSES, Header, items, numbers, read_header, refusal, text, words
from nasoseg.volumes.dicom_scan import SAME_DIRECTION
from nasoseg.volumes.dicom_series import SeriesInfo
from nasoseg.volumes.dicom_stored import StoredPixels, stored_pixels

_NOT_UNIT = 1e-3  # cosines rounded to three decimals are 5e-4 off each
_UNITS = ("", "HU", "US")  # US is "unspecified", which some writers put for HU


@dataclass(frozen=True)
class Slice:
    """Hold what is needed to place one slice and to read its HU.

    Attributes:
        plane: Where it lies.
        path: The file.
        slope: HU of one stored step.
        intercept: HU of the stored value 0.
        thickness_mm: SliceThickness; NaN where it is not given. It is no distance between slices.
        stored: The file's pixels.
    """

    plane: SlicePlane
    path: Path
    slope: float
    intercept: float
    thickness_mm: float
    stored: StoredPixels

    @property
    def origin(self) -> npt.NDArray[np.float64]:
        """LPS millimetres of the first pixel's centre."""
        return self.plane.affine_lps[:3, 2]

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit vector that stands on the slice: the row direction times the column direction."""
        down, along = self.plane.affine_lps[:3, 0], self.plane.affine_lps[:3, 1]
        normal = np.cross(along, down)
        return np.asarray(normal / np.linalg.norm(normal))

    @property
    def where(self) -> str:
        """The file's name, with the frame's number if it has several."""
        return self.path.name if self.plane.frame is None else f"{self.path.name} frame {self.plane.frame}"


def read_slices(series: SeriesInfo) -> tuple[list[Slice], list[str]]:
    """Read the headers of a series again, whole this time, and check them.

    Returns:
        The slices in the order of the files, and remarks.

    Raises:
        NasosegError: If a file does not say how its pixels become HU or where they lie, or its slices differ in size
            or pixel spacing from the others; names the file.
    """
    slices: list[Slice] = []
    remarks: list[str] = []
    units: set[str] = set()
    studies: set[str] = set()
    for path in series.files:
        header = read_header(path, frames=True)
        if header is None or header.damage:
            raise NasosegError(f"{path}: changed or vanished while it was read: read the folder again")
        pixels = stored_pixels(header)
        studies.add(text(header.dataset, "StudyInstanceUID"))
        if header.sop_class_uid in ENHANCED_CLASSES:
            placed, scouts = _frames(header)
            if scouts:
                remarks.append(f"{path.name}: {scouts} scout frames were passed over")
        else:
            placed = [(None, header.dataset, header.dataset, header.dataset, header.dataset)]
            if pixels.frames != 1:
                raise refusal(header, f"{pixels.frames} frames in a file of one slice", "one: export it again")
        for number, position, orientation, measures, rescale in placed:
            slope, intercept = _rescale(header, number, rescale, units)
            thickness = numbers(measures, "SliceThickness", 1) or (float("nan"),)
            plane = _plane(header, number, position, orientation, measures)
            slices.append(Slice(plane, path, slope, intercept, thickness[0], pixels))
    if "US" in units:
        remarks.append("RescaleType is US (unspecified): read as HU")
    if len(studies) > 1:
        remarks.append(f"the files name {len(studies)} studies (StudyInstanceUID): that of the first is taken")
    _check_alike(slices)
    return slices, remarks


_Placed = tuple[int | None, Dataset, Dataset, Dataset, Dataset]  # number; position, orientation, measures, rescale


def _frames(header: Header) -> tuple[list[_Placed], int]:
    """Find the functional groups of every frame: its own, or the ones that all share."""
    shared = (items(header.dataset, "SharedFunctionalGroupsSequence") or [Dataset()])[0]
    own = items(header.dataset, "PerFrameFunctionalGroupsSequence")
    expected = int((numbers(header.dataset, "NumberOfFrames", 1) or (0.0,))[0])
    if len(own) != expected:
        raise refusal(header, f"{len(own)} descriptions of {expected} frames", "as many: export the CT again")

    def group(frame: Dataset, keyword: str) -> Dataset:
        return (items(frame, keyword) or items(shared, keyword) or [Dataset()])[0]

    placed: list[_Placed] = []
    for number, frame in enumerate(own, start=1):
        if "LOCALIZER" in words(group(frame, "CTImageFrameTypeSequence"), "FrameType"):
            continue
        position, orientation = group(frame, "PlanePositionSequence"), group(frame, "PlaneOrientationSequence")
        measures, rescale = group(frame, "PixelMeasuresSequence"), group(frame, "PixelValueTransformationSequence")
        placed.append((number, position, orientation, measures, rescale))
    return placed, len(own) - len(placed)


def _plane(header: Header, frame: int | None, position: Dataset, orientation: Dataset, measures: Dataset) -> SlicePlane:
    found = {
        "ImagePositionPatient": numbers(position, "ImagePositionPatient", 3),
        "ImageOrientationPatient": numbers(orientation, "ImageOrientationPatient", 6),
        "PixelSpacing": numbers(measures, "PixelSpacing", 2),
    }
    for keyword, value in found.items():
        if value is None:
            raise refusal(header, f"no usable {keyword}", "finite numbers: export the CT again", frame=frame)
    origin, cosines, spacing = (np.array(value) for value in found.values())
    along, down = cosines[:3], cosines[3:]  # the directions in which the column and the row index rise
    lengths = np.array([np.linalg.norm(along), np.linalg.norm(down)])
    if np.abs(lengths - 1).max() > _NOT_UNIT or abs(along @ down) > _NOT_UNIT:
        raise refusal(
            header,
            f"ImageOrientationPatient {cosines.tolist()}",
            f"two perpendicular unit vectors to within {_NOT_UNIT}: export the CT again",
            frame=frame,
        )
    if not ((spacing > 1e-3) & (spacing < 1e3)).all():
        raise refusal(header, f"PixelSpacing {spacing.tolist()} mm", "0.001 to 1000 mm", frame=frame)
    affine = np.zeros((4, 3))
    affine[:3, 0] = down / lengths[1] * spacing[0]  # PixelSpacing names the distance of rows first
    affine[:3, 1] = along / lengths[0] * spacing[1]
    affine[:3, 2], affine[3, 2] = origin, 1
    rows, columns = (int((numbers(header.dataset, name, 1) or (0.0,))[0]) for name in ("Rows", "Columns"))
    return SlicePlane(header.sop_instance_uid, header.sop_class_uid, frame, affine, rows, columns)


def _rescale(header: Header, frame: int | None, rescale: Dataset, units: set[str]) -> tuple[float, float]:
    slope, intercept = numbers(rescale, "RescaleSlope", 1), numbers(rescale, "RescaleIntercept", 1)
    if slope is None or intercept is None or slope[0] <= 0:
        found = "no usable" if slope is None else f"{slope[0]:g} as"
        found += " RescaleSlope" + (" and no usable RescaleIntercept" if intercept is None else "")
        raise refusal(
            header, found, "both, and a slope above 0, to turn stored values into HU: export the CT again", frame=frame
        )
    unit = text(rescale, "RescaleType").upper()
    if unit not in _UNITS and not unit.startswith("HU"):  # HU_MOD, of some vendors
        raise refusal(header, f"values in {unit[:16]!r} (RescaleType)", "HU: choose another series", frame=frame)
    units.add(unit)
    return slope[0], intercept[0]


def _check_alike(slices: list[Slice]) -> None:
    """Check that all slices have one size, one pixel spacing and one orientation."""
    if not slices:
        return
    first = slices[0]
    for other in _differing(first, slices):
        mine, others = first.plane, other.plane
        raise NasosegError(
            f"{other.path}: {others.rows} x {others.columns} pixels of {_spacing(others)} mm, unlike {first.where} with"
            f" {mine.rows} x {mine.columns} of {_spacing(mine)} mm, or in another orientation: expected one grid for"
            " all slices of a series: move the odd slices away, or export the series again"
        )


def _differing(first: Slice, slices: list[Slice]) -> Iterator[Slice]:
    mine = first.plane
    extent = np.array([[mine.rows, mine.columns]])
    for other in slices[1:]:
        if (other.plane.rows, other.plane.columns) != (mine.rows, mine.columns):
            yield other
            continue
        apart = np.abs(other.plane.affine_lps[:3, :2] - mine.affine_lps[:3, :2])
        lengths = np.linalg.norm(mine.affine_lps[:3, :2], axis=0)
        if (apart > np.maximum(SAME_DIRECTION * lengths, 0.05 / extent)).any():
            yield other


def _spacing(plane: SlicePlane) -> str:
    lengths = np.linalg.norm(plane.affine_lps[:3, :2], axis=0)
    return f"{lengths[0]:g} x {lengths[1]:g}"

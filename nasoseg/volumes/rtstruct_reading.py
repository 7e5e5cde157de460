"""RTSTRUCT in: closed contours to masks on the grid of the CT that they were drawn on."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom

from nasoseg.errors import NasosegError
from nasoseg.volumes.belonging import Reference, check_belonging
from nasoseg.volumes.contour_placing import Drawn, place
from nasoseg.volumes.ct_series import CtSeries
from nasoseg.volumes.dicom_header import items, numbers, text
from nasoseg.volumes.dicom_object import read_object, understood
from nasoseg.volumes.plane_stack import PlaneStack
from nasoseg.volumes.structure_set import PackedMask, Roi, Structures, chosen, own_name

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
"""The SOP class of RT structure sets."""

_CONTOUR_DATA = 0x30060050
_FITTING = 0.9  # of the contours, where their places alone tell that they belong to the CT


def read_rtstruct(
    path: str | os.PathLike[str],
    ct: CtSeries,
    *,
    names: Iterable[str] | None = None,
    trust_images: bool = False,
) -> Structures:
    """Read the structures of an RTSTRUCT as masks on the grid of ``ct.volume``.

    A pixel is inside when its centre is (``contours.fill``). A contour goes to the slice whose plane is nearest along
    the normal, whatever image it names, if that is within half a spacing. Contours on one plane are combined by the
    even-odd rule, so that an inner one is a hole; a contour stored twice counts once. No slice is filled that has no
    contour. Points, open contours, contours of fewer than three points, outside the scan or not parallel to the
    slices are left out. ``Structures.report`` tells all of it. In a resampled volume, every slice shows the original
    plane that is nearest.

    Args:
        path: The file.
        ct: The CT that it was drawn on.
        names: The structures to read, as the file spells them; None: all.
        trust_images: Accept another frame of reference where every image that the file names is a slice of this CT.

    Raises:
        NasosegError: If the file is no RTSTRUCT or cannot be understood; if it belongs to another patient or CT; if
            it has none of a name in ``names``.
    """
    path = Path(path)
    dataset = read_object(path, {RTSTRUCT: "RTSTRUCT"})
    stack = PlaneStack(ct)
    with understood(path, "RTSTRUCT"):
        if "StructureSetROISequence" in dataset and "ROIContourSequence" not in dataset:
            raise NasosegError(f"{path}: names structures but has no ROIContourSequence, expected one: export it again")
        rois, remarks = _rois(dataset)
        reference = _reference(dataset, rois)
        contours = [contour for roi in rois for contour in roi.contours]
        remarks += check_belonging(
            path, reference, ct, trust_images=trust_images, places_fit=lambda: _places_fit(contours, stack)
        )
        rois = chosen(path, {roi.roi.name: roi for roi in rois}, names)
        frame = ct.frame_of_reference_uid
        own = frame if frame in reference.frames_of_reference else ""
        return Structures((_masked(roi, stack, own) for roi in rois), remarks=remarks)


@dataclass
class _DrawnRoi:
    roi: Roi
    frame_of_reference: str
    contours: list[pydicom.Dataset]


def _rois(dataset: pydicom.Dataset) -> tuple[list[_DrawnRoi], list[str]]:
    """Join what the file says of each ROI in three sequences, by ROI number; and remark on what does not join."""
    contours: dict[int, list[pydicom.Dataset]] = defaultdict(list)
    colours: dict[int, tuple[int, int, int] | None] = {}
    for entry in items(dataset, "ROIContourSequence"):
        number = int(entry.ReferencedROINumber)
        contours[number] += items(entry, "ContourSequence")
        colours[number] = _colour(entry)
    types = {
        int(entry.ReferencedROINumber): text(entry, "RTROIInterpretedType")
        for entry in items(dataset, "RTROIObservationsSequence")
    }
    named = items(dataset, "StructureSetROISequence")
    uses = Counter(int(entry.ROINumber) for entry in named)
    rois: list[_DrawnRoi] = []
    remarks: list[str] = []
    taken: set[str] = set()
    for entry in named:
        number = int(entry.ROINumber)
        given = text(entry, "ROIName")
        name = own_name(given, number, taken)
        said: tuple[str, ...] = (f"another structure is called {given!r} too",) if given in taken else ()
        if uses[number] > 1:
            said += (f"{uses[number]} structures have this number, so that it is unknown whose the contours are",)
        taken.add(name)
        roi = Roi(name, number, types.get(number, ""), colours.get(number), said)
        drawn = contours[number] if uses[number] == 1 else []
        rois.append(_DrawnRoi(roi, text(entry, "ReferencedFrameOfReferenceUID"), drawn))
    for number in contours.keys() - uses.keys():
        remarks.append(f"ROI number {number} has contours but no name: left out")
    return rois, remarks


def _colour(entry: pydicom.Dataset) -> tuple[int, int, int] | None:
    value = numbers(entry, "ROIDisplayColor", 3)
    if value is None:
        return None
    red, green, blue = (min(255, max(0, int(part))) for part in value)
    return red, green, blue


def _reference(dataset: pydicom.Dataset, rois: Sequence[_DrawnRoi]) -> Reference:
    """Collect the UIDs that the file names, from every place where the standard lets it name them."""
    frames, series = {text(dataset, "FrameOfReferenceUID")}, set()
    images: set[str] = set()
    frames.update(roi.frame_of_reference for roi in rois)
    for frame in items(dataset, "ReferencedFrameOfReferenceSequence"):
        frames.add(text(frame, "FrameOfReferenceUID"))
        for study in items(frame, "RTReferencedStudySequence"):
            for one in items(study, "RTReferencedSeriesSequence"):
                series.add(text(one, "SeriesInstanceUID"))
                images.update(text(i, "ReferencedSOPInstanceUID") for i in items(one, "ContourImageSequence"))
    for roi in rois:
        for contour in roi.contours:
            images.update(text(i, "ReferencedSOPInstanceUID") for i in items(contour, "ContourImageSequence"))
    patient = text(dataset, "PatientID")
    return Reference(patient, *(frozenset(uids - {""}) for uids in (frames, series, images)))


def _masked(drawn: _DrawnRoi, stack: PlaneStack, frame_of_reference: str) -> tuple[Roi, PackedMask | None]:
    """Place the contours of one ROI; ``frame_of_reference`` is the CT's, empty where it does not matter."""
    roi = drawn.roi
    if frame_of_reference and drawn.frame_of_reference not in ("", frame_of_reference):
        return replace(roi, remarks=(*roi.remarks, "drawn in another frame of reference than the CT's")), None
    mask, remarks = place([_contour(contour) for contour in drawn.contours], stack)
    return replace(roi, remarks=(*roi.remarks, *remarks)), mask


def _contour(contour: pydicom.Dataset) -> Drawn:
    return Drawn(text(contour, "ContourGeometricType") or "CLOSED_PLANAR", _points(contour))


def _points(contour: pydicom.Dataset) -> npt.NDArray[np.float64] | None:
    """Return the points of a contour, (n, 3) in LPS millimetres; None where the file does not give such.

    The bytes are read here: pydicom makes an object of every number, twenty times as slow.
    """
    element = contour.get_item(_CONTOUR_DATA) if _CONTOUR_DATA in contour else None
    value = element.value if element is not None else None
    if isinstance(value, bytes):
        value = value.strip(b" \0").split(b"\\")
    try:
        values = np.array([float(number) for number in (value or [])])
    except ValueError:
        return None
    if values.size % 3 or not np.isfinite(values).all():
        return None
    return values.reshape(-1, 3)


def _places_fit(contours: Sequence[pydicom.Dataset], stack: PlaneStack) -> bool:
    fit = []
    for contour in contours:
        points = _points(contour)
        if points is None or len(points) < 3:
            continue
        pixels, (_, away) = stack.pixels(points), stack.nearest(float(stack.position_mm(points)[0]))
        inside = (pixels > -1).all() and (pixels < stack.shape[1:]).all()
        fit.append(bool(inside) and away <= stack.tolerance_mm)
    return bool(fit) and float(np.mean(fit)) >= _FITTING

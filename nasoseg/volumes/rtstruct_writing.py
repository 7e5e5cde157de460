"""RTSTRUCT out: masks on the grid of a CT to smooth contours on its original planes."""

import datetime
import os
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataelem import DataElement
from pydicom.uid import ImplicitVRLittleEndian, generate_uid

from nasoseg.volumes.contours import Contour, outlines
from nasoseg.volumes.ct_series import CtSeries, SlicePlane
from nasoseg.volumes.dicom_header import tolerant
from nasoseg.volumes.object_writing import begin_object, object_file
from nasoseg.volumes.patient_study import NAME, PURPOSE, carry_over, short_text, sign
from nasoseg.volumes.plane_stack import on_planes
from nasoseg.volumes.rtstruct_reading import RTSTRUCT
from nasoseg.volumes.structure_set import Roi, checked_mask

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # retired, and still what every reader expects here
_CONTOUR_DATA = 0x30060050


def write_rtstruct(
    path: str | os.PathLike[str],
    masks: Mapping[str, npt.NDArray[np.bool_]],
    ct: CtSeries,
    *,
    rois: Mapping[str, Roi] | None = None,
    label: str = NAME,
    description: str = "",
) -> list[str]:
    """Write masks as an RTSTRUCT: to a temporary file beside ``path``, renamed when it is complete.

    The contours are smooth and lie on the original planes (``contours.outlines``): whoever fills them by pixel
    centres gets the masks back exactly, and the area on a slice is that of its pixels (to 0.2 % on OpenKBP's masks).
    Coordinates are rounded to 1e-4 mm. A hole is cut by a keyhole, which every reader knows: plastimatch drops
    CLOSEDPLANAR_XOR contours, and fills an inner CLOSED_PLANAR one. A structure with no voxel is listed without
    contours.

    Args:
        path: The file; an older one is replaced.
        masks: Masks (z, h, w) on the grid of ``ct.volume``, by structure; taken one at a time.
        ct: The CT. Patient and study are carried over from it as given.
        rois: Names, types and colours; where None, by ``roi_labels``: TG-263 names of known structures.
        label: Structure set label, at most 16 characters.
        description: Put before the note that says what the contours are for.

    Returns:
        Remarks: names that had to be changed, structures without a voxel.

    Raises:
        NasosegError: If there is no mask, or one is not on the CT's grid; if a name is not printable; if the disk is
            full or not writable.
    """
    begun = begin_object(path, masks, ct, rois=rois, drawn="contours")
    labels, frame, remarks = begun.labels, begun.frame, begun.remarks
    with tolerant():
        dataset = _structure_set(
            ct, label, description, frame, [description, label, *(roi.name for roi in labels.values()), *labels]
        )
        dataset.StructureSetROISequence = []
        dataset.ROIContourSequence = []
        dataset.RTROIObservationsSequence = []
        for name, roi in labels.items():
            mask = checked_mask(name, masks[name], ct.volume.geometry.shape)
            voxels = int(np.count_nonzero(mask))
            if not voxels:
                remarks.append(f"structure {name!r} has no voxel: written without contours")
            dataset.StructureSetROISequence.append(_named(roi, name, frame, voxels, ct))
            dataset.ROIContourSequence.append(_drawn(roi, mask, ct))
            dataset.RTROIObservationsSequence.append(_observed(roi))
        with object_file(path) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
    return remarks


def _structure_set(ct: CtSeries, label: str, description: str, frame: str, texts: list[str]) -> pydicom.Dataset:
    """Return everything but the structures."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # the others cut contour data at 64 kB
    carry_over(ct.header, dataset, texts=texts)
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTSTRUCT, generate_uid()
    dataset.StudyInstanceUID = ct.study_instance_uid
    now = datetime.datetime.now()
    for event in ("InstanceCreation", "Series", "StructureSet"):
        setattr(dataset, f"{event}Date", now.strftime("%Y%m%d"))
        setattr(dataset, f"{event}Time", now.strftime("%H%M%S"))
    dataset.Modality, dataset.SeriesInstanceUID = "RTSTRUCT", generate_uid()
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.OperatorsName = 1, 1, ""
    dataset.SeriesDescription = short_text(f"{label} structures", 64)
    sign(dataset)
    dataset.FrameOfReferenceUID = frame
    dataset.PositionReferenceIndicator = ct.header.get("PositionReferenceIndicator") or ""
    dataset.StructureSetLabel = short_text(label, 16) or NAME
    dataset.StructureSetDescription = " ".join([description, PURPOSE]).strip()[:1024]
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.ReferencedFrameOfReferenceSequence = [_referenced_frame(ct, frame)]
    return dataset


def _referenced_frame(ct: CtSeries, frame: str) -> pydicom.Dataset:
    """Name the frame of reference, the study, the series and every image."""
    series = pydicom.Dataset()
    series.SeriesInstanceUID = ct.series_instance_uid
    objects = {plane.sop_instance_uid: plane for plane in ct.planes}  # the frames of one object are one image
    series.ContourImageSequence = [_image(plane, with_frame=False) for plane in objects.values()]
    study = pydicom.Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = _STUDY_CLASS, ct.study_instance_uid
    study.RTReferencedSeriesSequence = [series]
    referenced = pydicom.Dataset()
    referenced.FrameOfReferenceUID = frame
    referenced.RTReferencedStudySequence = [study]
    return referenced


def _image(plane: SlicePlane, *, with_frame: bool = True) -> pydicom.Dataset:
    image = pydicom.Dataset()
    image.ReferencedSOPClassUID = plane.sop_class_uid
    image.ReferencedSOPInstanceUID = plane.sop_instance_uid
    if with_frame and plane.frame is not None:
        image.ReferencedFrameNumber = plane.frame
    return image


def _named(roi: Roi, name: str, frame: str, voxels: int, ct: CtSeries) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.ROINumber = roi.number
    item.ReferencedFrameOfReferenceUID = frame
    item.ROIName = roi.name
    if name != roi.name and name.isprintable():
        item.ROIDescription = name[:1024]
    item.ROIVolume = f"{voxels * abs(np.linalg.det(ct.volume.geometry.affine_lps[:3, :3])) / 1000:.6g}"
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    return item


def _observed(roi: Roi) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.ObservationNumber = item.ReferencedROINumber = roi.number
    item.ROIObservationLabel = short_text(roi.name, 16)
    item.RTROIInterpretedType = roi.interpreted_type
    item.ROIInterpreter = ""
    return item


def _drawn(roi: Roi, mask: npt.NDArray[np.bool_], ct: CtSeries) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.ReferencedROINumber = roi.number
    if roi.colour is not None:
        item.ROIDisplayColor = list(roi.colour)
    by_plane = zip(ct.planes, outlines(on_planes(mask, ct)), strict=True)
    contours = [_contour(contour, plane) for plane, contours in by_plane for contour in contours]
    if contours:  # an empty sequence is not allowed
        for number, contour in enumerate(contours, start=1):
            contour.ContourNumber = number
        item.ContourSequence = contours
    return item


def _contour(contour: Contour, plane: SlicePlane) -> pydicom.Dataset:
    """Return one contour item: ``contour`` (row, column) on the plane, as LPS millimetres."""
    points = contour @ plane.affine_lps[:3, :2].T + plane.affine_lps[:3, 2]
    item = pydicom.Dataset()
    item.ContourImageSequence = [_image(plane)]
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(points)
    # As text: pydicom would make and check an object of every number, which takes most of the time of writing.
    text = "\\".join(["%.4f"] * points.size) % tuple(points.ravel().tolist())
    item[_CONTOUR_DATA] = DataElement(_CONTOUR_DATA, "DS", text, already_converted=True)
    return item

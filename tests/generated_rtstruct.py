"""RTSTRUCTs built by hand with pydicom, valid and broken, that owe nothing to the package's own writer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pydicom
from generated_ct_series import axial_geometry
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from nasoseg.volumes.ct_series import CtSeries

Drawn = tuple[str, Sequence[Sequence[float]]]  # contour geometric type, points in LPS millimetres


# Centres at x = -10 ... 9, y = -10 ... 9, z = 0, 3 ... 15.
GEOMETRY = axial_geometry((6, 20, 20), (3, 1, 1), origin=(-10, -10, 0))


def expected(*boxes: tuple[int, float, float]) -> np.ndarray:
    """The mask of squares on GEOMETRY: (slice, low, high) in millimetres, in x and y alike."""
    mask = np.zeros(GEOMETRY.shape, bool)
    centres = np.arange(20) - 10
    for slice_, low, high in boxes:
        inside = (centres > low) & (centres < high)
        mask[slice_] ^= inside[:, None] & inside
    return mask


def square(z: float, low: float, high: float, *, kind: str = "CLOSED_PLANAR", x: float = 0, y: float = 0) -> Drawn:
    """A square on an axial plane, from (x + low, y + low) to (x + high, y + high)."""
    a, b, c, d = x + low, x + high, y + low, y + high
    return kind, [(a, c, z), (b, c, z), (b, d, z), (a, d, z)]


def rtstruct(ct: CtSeries, rois: Mapping[str, Sequence[Drawn]]) -> pydicom.Dataset:
    """A structure set on a CT; the ROI sequences are in opposite orders, which must not matter."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.3", generate_uid()
    dataset.Modality, dataset.PatientID = "RTSTRUCT", ct.header.PatientID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = ct.study_instance_uid, generate_uid()
    series = pydicom.Dataset()
    series.SeriesInstanceUID = ct.series_instance_uid
    series.ContourImageSequence = [image(plane.sop_instance_uid) for plane in ct.planes]
    study = pydicom.Dataset()
    study.RTReferencedSeriesSequence = [series]
    frame = pydicom.Dataset()
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = ct.frame_of_reference_uid, [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame]
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(rois.items(), start=5):
        named = pydicom.Dataset()
        named.ROINumber, named.ROIName = number, name
        named.ReferencedFrameOfReferenceUID = ct.frame_of_reference_uid
        dataset.StructureSetROISequence.append(named)
        drawn = pydicom.Dataset()
        drawn.ReferencedROINumber, drawn.ROIDisplayColor = number, [10, 20, 30]
        if contours:
            drawn.ContourSequence = [contour(*one) for one in contours]
        dataset.ROIContourSequence.insert(0, drawn)
    return dataset


def image(uid: str) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
    return item


def contour(kind: str, points: Sequence[Sequence[float]]) -> pydicom.Dataset:
    item = pydicom.Dataset()
    with pydicom.config.disable_value_validation():
        item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points)
    item.ContourData = [f"{value:.6g}" for value in np.ravel(points)]
    return item


def saved(dataset: pydicom.Dataset, path: Path) -> Path:
    with pydicom.config.disable_value_validation():
        dataset.save_as(path, enforce_file_format=True)
    return path

"""CT series for tests of contours: made in memory, and written as DICOM with pydicom for other tools to read."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

from nasoseg.volumes.ct_series import CtSeries, SlicePlane
from nasoseg.volumes.volume import Geometry, Volume


def ct_header(**changes: object) -> pydicom.Dataset:
    """What the first slice of a CT says; ``None`` takes an attribute away."""
    header = pydicom.Dataset()
    values = {
        "SpecificCharacterSet": "ISO_IR 100",
        "SOPClassUID": CTImageStorage,
        "StudyDate": "20200102",
        "StudyTime": "030405",
        "AccessionNumber": "A1",
        "Modality": "CT",
        "ReferringPhysicianName": "",
        "StudyDescription": "Kopf/Hals",
        "PatientName": "Müller^Jörg",
        "PatientID": "P-1",
        "PatientBirthDate": "19500607",
        "PatientPosition": "HFS",
        "Manufacturer": "",
        "Laterality": "",
        "PatientSex": "M",
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "StudyID": "7",
        "FrameOfReferenceUID": generate_uid(),
        "PositionReferenceIndicator": "",
    }
    for keyword, value in (values | changes).items():
        if value is not None:
            setattr(header, keyword, value)
    return header


def ct_series(
    geometry: Geometry,
    *,
    array: np.ndarray | None = None,
    planes: Sequence[np.ndarray] | None = None,
    header: pydicom.Dataset | None = None,
    frames_of_one_object: bool = False,
) -> CtSeries:
    """A series on ``geometry`` (slice, row, column); ``planes`` are other original planes, each 4 x 3."""
    header = header or ct_header()
    affine = geometry.affine_lps
    straight = planes is None
    if planes is None:
        planes = [
            np.stack([affine[:, 1], affine[:, 2], affine @ [k, 0, 0, 1]], axis=1) for k in range(geometry.shape[0])
        ]
    uids = [generate_uid()] * len(planes) if frames_of_one_object else [generate_uid() for _ in planes]
    sop_class = EnhancedCTImageStorage if frames_of_one_object else CTImageStorage
    numbers = range(len(planes) + 1, 1, -1)  # backwards, after a frame that is no slice
    return CtSeries(
        Volume(np.zeros(geometry.shape, np.int16) if array is None else array, geometry),
        tuple(
            SlicePlane(uid, sop_class, number if frames_of_one_object else None, plane, *geometry.shape[1:])
            for uid, number, plane in zip(uids, numbers, planes, strict=True)
        ),
        straight,
        header,
        header.get("FrameOfReferenceUID", ""),
        header.StudyInstanceUID,
        header.SeriesInstanceUID,
        (),
    )


def axial_geometry(
    shape: tuple[int, int, int], spacing_mm: Sequence[float] = (3, 1, 1), origin=(-50, -60, 100)
) -> Geometry:
    """Head first, supine, straight."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]) * np.array(spacing_mm)
    affine[:3, 3] = origin
    return Geometry(shape, affine)


@st.composite
def oblique_geometries(draw: st.DrawFn, shape: tuple[int, int, int]) -> Geometry:
    """A scan in any position: supine, prone, decubitus, head or feet first, and turned by any angle from there."""
    position = draw(st.sampled_from([(0, 0, 0), (0, 0, 180), (0, 180, 0), (0, 180, 180), (0, 0, 90), (0, 0, -90)]))
    angles = [draw(st.floats(-40, 40)) if draw(st.booleans()) else 0.0 for _ in range(3)]
    turn = (
        Rotation.from_euler("xyz", angles, degrees=True) * Rotation.from_euler("xyz", position, degrees=True)
    ).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn[:, [2, 1, 0]] * [draw(st.floats(0.5, 6)) for _ in range(3)]
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return Geometry(shape, affine)


def write_ct(ct: CtSeries, folder: Path) -> Path:
    """Write the slices of a straight series with pydicom, as a scanner would."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (plane, pixels) in enumerate(zip(ct.planes, ct.volume.array, strict=True), start=1):
        image = pydicom.Dataset()
        image.update(ct.header)
        image.file_meta = pydicom.dataset.FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID, image.SOPInstanceUID = plane.sop_class_uid, plane.sop_instance_uid
        image.InstanceNumber, image.SeriesNumber = number, 1
        image.Rows, image.Columns = plane.rows, plane.columns
        down, along = plane.affine_lps[:3, 0], plane.affine_lps[:3, 1]
        spacing = np.linalg.norm(down), np.linalg.norm(along)
        image.ImagePositionPatient = [f"{v:.10g}" for v in plane.affine_lps[:3, 2]]
        image.ImageOrientationPatient = [f"{v:.10g}" for v in (*(along / spacing[1]), *(down / spacing[0]))]
        image.PixelSpacing = [f"{v:.10g}" for v in spacing]
        image.SliceThickness = f"{ct.volume.geometry.spacing_mm[0]:.10g}"
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 1, 0, "HU"
        image.KVP, image.AcquisitionNumber = "120", 1
        image.PixelData = np.ascontiguousarray(pixels, "<i2").tobytes()
        image.save_as(folder / f"ct{number:04}.dcm", enforce_file_format=True)
    return folder

"""CT series written as DICOM, for tests of whatever reads them: any grid, any pixels, any transfer syntax, any fault.

Files are numbered against the order of their slices, so that nothing can be right by going by names.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    generate_uid,
)

from nasoseg.volumes.volume import Geometry

AXIAL = np.array([[0, 0, 0.9, -20.0], [0, 0.8, 0, -30.0], [2.5, 0, 0, 100.0], [0, 0, 0, 1]])
"""Head first, supine: slices 2.5 mm apart, rows 0.8 mm, columns 0.9 mm."""

Edit = Callable[[Dataset, int], None]
"""Changes the data set of slice z just before it is written."""


def uid(*words: object) -> str:
    return generate_uid(entropy_srcs=[str(word) for word in ("nasoseg", *words)])


def anatomy(shape: tuple[int, int, int] = (5, 8, 6), *, seed: int = 0) -> np.ndarray:
    """Whole HU from air to bone, all different enough to tell any voxel's neighbours apart."""
    return np.random.default_rng(seed).integers(-1000, 2000, shape)


def placed_hu(shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """HU that say where a voxel lies: linear in LPS, so that linear interpolation keeps them exactly."""
    index = np.indices(shape).reshape(3, -1)
    lps = affine[:3, :3] @ index + affine[:3, 3:]
    return (np.array([2.0, 3.0, -1.5]) @ lps).reshape(shape)


def write_ct(
    folder: Path,
    hu: np.ndarray,
    affine: np.ndarray = AXIAL,
    *,
    slope: float | Sequence[float] = 1,
    intercept: float | Sequence[float] = -1024,
    signed: bool = False,
    bits_stored: int = 16,
    syntax: str = ExplicitVRLittleEndian,
    series: str = "series",
    patient: str = "P1",
    edit: Edit | None = None,
) -> list[Path]:
    """Write (z, h, w) HU as one file a slice; the affine maps (slice, row, column) to LPS.

    Returns:
        The files in the order of the slices.
    """
    folder.mkdir(parents=True, exist_ok=True)
    slopes, intercepts = (np.broadcast_to(np.asarray(v, float), len(hu)) for v in (slope, intercept))
    dtype = np.int16 if signed else np.uint16
    paths = []
    for z, plane in enumerate(hu):
        stored = np.rint((plane - intercepts[z]) / slopes[z]).astype(dtype)
        dataset = image(Geometry(hu.shape, affine), series=series, patient=patient, number=len(hu) - z)
        dataset.SOPInstanceUID = uid(patient, series, z)
        dataset.ImagePositionPatient = ds(affine[:3, 3] + z * affine[:3, 0])
        dataset.ImageOrientationPatient = ds(cosines(affine))
        dataset.PixelSpacing = ds(np.linalg.norm(affine[:3, 1:3], axis=0))
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = *ds([slopes[z], intercepts[z]]), "HU"
        put_pixels(dataset, stored, bits_stored)
        if edit:
            edit(dataset, z)
        paths.append(folder / f"{(len(hu) - z) * 37 % 1009:04d}.dcm")
        save(paths[-1], dataset, syntax)
    return paths


def write_enhanced_ct(
    path: Path,
    hu: np.ndarray,
    affine: np.ndarray = AXIAL,
    *,
    order: Sequence[int] | None = None,
    slopes: Sequence[float] | None = None,
    syntax: str = ExplicitVRLittleEndian,
    edit: Edit | None = None,
) -> Path:
    """Write (z, h, w) HU as one multi-frame file, its frames in any order, orientation and spacing shared by all."""
    order = list(range(len(hu))) if order is None else list(order)
    slopes = [1.0] * len(hu) if slopes is None else slopes
    dataset = image(Geometry(hu.shape, affine), series="enhanced", patient="P1", number=1)
    dataset.SOPClassUID, dataset.SOPInstanceUID = EnhancedCTImageStorage, uid("enhanced")
    dataset.NumberOfFrames = len(hu)
    shared = Dataset()
    shared.PlaneOrientationSequence = [with_values(ImageOrientationPatient=ds(cosines(affine)))]
    measures = with_values(PixelSpacing=ds(np.linalg.norm(affine[:3, 1:3], axis=0)), SliceThickness="2.5")
    shared.PixelMeasuresSequence = [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for z in order:
        frame = Dataset()
        position = with_values(ImagePositionPatient=ds(affine[:3, 3] + z * affine[:3, 0]))
        frame.PlanePositionSequence = [position]
        rescale = with_values(RescaleSlope=str(slopes[z]), RescaleIntercept="-1024", RescaleType="HU")
        frame.PixelValueTransformationSequence = [rescale]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    stored = [np.rint((hu[z] + 1024) / slopes[z]) for z in order]
    put_pixels(dataset, np.array(stored).astype(np.uint16), 16)
    dataset.Rows, dataset.Columns = hu.shape[1:]
    if edit:
        edit(dataset, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, dataset, syntax)
    return path


def write_other(path: Path, modality: str, sop_class: str, *, patient: str = "P1", **values: object) -> Path:
    """Write a small image or object of another kind."""
    dataset = image(Geometry((1, 4, 4), AXIAL), series=f"{modality} {path.name}", patient=patient, number=1)
    dataset.Modality, dataset.SOPClassUID, dataset.SOPInstanceUID = modality, sop_class, uid(path.name)
    if modality in ("RTSTRUCT", "RTPLAN"):
        del dataset.Rows, dataset.Columns
    else:
        put_pixels(dataset, np.zeros((4, 4), np.uint16), 16)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, dataset, ExplicitVRLittleEndian)
    return path


def image(geometry: Geometry, *, series: str, patient: str, number: int) -> Dataset:
    """Make the attributes that all images of a series share, with a patient's name that no message may show."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = CTImageStorage
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20200102"
    dataset.StudyTime = dataset.ContentTime = "030405"
    dataset.AccessionNumber = dataset.StudyID = ""
    dataset.Modality, dataset.Manufacturer = "CT", "nasoseg"
    dataset.ReferringPhysicianName = ""
    dataset.SeriesDescription = f"{series} 2.5 mm"
    dataset.PatientName, dataset.PatientID = "Secretname^Jördis", patient
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientPosition = "19500607", "F", "HFS"
    dataset.SliceThickness, dataset.KVP, dataset.Laterality = "2.5", "120", ""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid(patient, "study"), uid(patient, series)
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = uid(patient, "frame"), ""
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.AcquisitionNumber = 1, number, 1
    dataset.Rows, dataset.Columns = geometry.shape[1:]
    return dataset


def put_pixels(dataset: Dataset, stored: np.ndarray, bits_stored: int) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.BitsAllocated = 8 * stored.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = bits_stored, bits_stored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()


def save(path: Path, dataset: Dataset, syntax: str) -> None:
    little = syntax != ExplicitVRBigEndian
    file = FileDataset(None, dataset, b"\0" * 128, FileMetaDataset(), is_implicit_VR=False, is_little_endian=little)
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax.startswith("1.2.840.10008.1.2.4.") or syntax == "1.2.840.10008.1.2.5":
        file.compress(syntax, generate_instance_uid=False)
    else:
        file.file_meta.TransferSyntaxUID = syntax
    file.save_as(path, enforce_file_format=True, implicit_vr=None)


def with_values(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def cosines(affine: np.ndarray) -> list[float]:
    """ImageOrientationPatient: the direction in which columns rise, then rows."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return [*directions[:, 2], *directions[:, 1]]


def ds(values: Sequence[float]) -> list[str]:
    """Write numbers as decimal strings of at most 16 characters, as exactly as these allow."""
    return [next(t for p in range(15, 0, -1) if len(t := f"{float(v) + 0.0:.{p}g}") <= 16) for v in values]

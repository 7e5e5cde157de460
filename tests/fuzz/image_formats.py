"""Images and contours as seeds: the same in all runs, as what writers stamp with the time or by chance is set."""

import gzip
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import SimpleITK
from generated_dicom import uid, write_ct, write_enhanced_ct
from generated_rtstruct import rtstruct, saved, square
from material import Format, Material
from mutations import damage, damage_text, inside_gzip, inside_zip
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from structured import edit_dicom

from nasoseg.volumes import dicom, nifti
from nasoseg.volumes.ct_series import CtSeries
from nasoseg.volumes.dicom_seg import read_seg, write_seg
from nasoseg.volumes.rtstruct import read_rtstruct

_UNCOMPRESSED = (
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian),
    DeflatedExplicitVRLittleEndian,
)
_COMPRESSED = (JPEG2000Lossless, JPEGLSLossless, RLELossless)


def _write_nifti(folder: Path, material: Material) -> list[str]:
    nifti.write_volume(folder / "ct.nii", material.ct.array, material.ct.geometry)
    nifti.write_volume(folder / "mask.nii", material.mandible, material.ct.geometry)
    return ["ct.nii", "mask.nii"]


def _write_nifti_gz(folder: Path, material: Material) -> list[str]:
    for name in _write_nifti(folder, material):
        path = folder / name
        (folder / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()
    return ["ct.nii.gz", "mask.nii.gz"]


def _write_itk(folder: Path, material: Material) -> list[str]:
    array, geometry = material.ct.array, material.ct.geometry
    for ending in ("nrrd", "mha"):
        nifti.write_volume(folder / f"ct.{ending}", array, geometry)
        image = SimpleITK.ReadImage(folder / f"ct.{ending}")
        SimpleITK.WriteImage(image, folder / f"raw.{ending}", useCompression=False)
    SimpleITK.WriteImage(image, folder / "raw.mhd", useCompression=False)
    return ["ct.nrrd", "ct.mha", "raw.nrrd", "raw.mha", "raw.mhd"]


def _read_image(path: Path) -> None:
    (nifti.read_label_map if path.name.startswith("mask") else nifti.read_ct)(path).axial()


def _series_writer(*syntaxes: str) -> Callable[[Path, Material], list[str]]:
    def write(folder: Path, material: Material) -> list[str]:
        names = []
        for syntax in syntaxes:
            series = f"series{len(names)}"
            paths = write_ct(folder / series, material.ct.array, material.ct.geometry.affine_lps, syntax=syntax)
            names.append(f"{series}/{paths[2].name}")
        return names

    return write


def _read_series(path: Path) -> None:
    dicom.read_ct(path.parent, resample=True).volume.axial()


def _write_enhanced(folder: Path, material: Material) -> list[str]:
    write_enhanced_ct(folder / "ct.dcm", material.ct.array, material.ct.geometry.affine_lps)
    return ["ct.dcm"]


def _write_zip(folder: Path, material: Material) -> list[str]:
    write_ct(folder / "ct", material.ct.array, material.ct.geometry.affine_lps)
    shutil.make_archive(str(folder / "ct"), "zip", folder / "ct")
    shutil.rmtree(folder / "ct")
    return ["ct.zip"]


def _write_rtstruct(folder: Path, material: Material) -> list[str]:
    ct = _written(folder, material)
    z, row, column = ct.volume.geometry.affine_lps[:3, 3] @ [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    spacing = ct.volume.geometry.spacing_mm
    squares = [
        square(z + k * spacing[0], -12, 12, x=column + 18 * spacing[2], y=row + 20 * spacing[1]) for k in range(4)
    ]
    rois = {"Parotis": squares, "Myelon": squares[:2], "Marker": [("POINT", squares[0][1][:1])]}
    structures = rtstruct(ct, rois)
    structures.SOPInstanceUID, structures.SeriesInstanceUID = uid("rtstruct"), uid("rtstruct series")
    structures.file_meta.MediaStorageSOPInstanceUID = uid("rtstruct")
    saved(structures, folder / "rs.dcm")
    return ["rs.dcm"]


def _write_seg(folder: Path, material: Material) -> list[str]:
    ct = _written(folder, material)
    write_seg(folder / "seg.dcm", {"Mandible": material.mandible, "Body": material.ct.array > -300}, ct)
    dataset = dcmread(folder / "seg.dcm")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid("seg")
    dataset.SeriesInstanceUID, dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid("a"), uid("b")
    for item in dataset.DimensionIndexSequence:
        item.DimensionOrganizationUID = uid("b")
    for keyword in ("ContentDate", "SeriesDate", "InstanceCreationDate"):
        setattr(dataset, keyword, "20200102")
    for keyword in ("ContentTime", "SeriesTime", "InstanceCreationTime"):
        setattr(dataset, keyword, "030405")
    dataset.save_as(folder / "seg.dcm", enforce_file_format=True)
    return ["seg.dcm"]


def _written(folder: Path, material: Material) -> CtSeries:
    write_ct(folder / "ct", material.ct.array, material.ct.geometry.affine_lps)
    return _ct(folder / "ct")


@cache  # a worker reads it once
def _ct(folder: Path) -> CtSeries:
    return dicom.read_ct(folder)


def _read_rtstruct(path: Path) -> None:
    structures = read_rtstruct(path, _ct(path.parent / "ct"))
    for mask in structures.values():
        mask.any()
    structures.report()


def _read_seg(path: Path) -> None:
    structures = read_seg(path, _ct(path.parent / "ct"))
    for mask in structures.values():
        mask.any()
    structures.report()


_DICOM = (damage, edit_dicom, edit_dicom)

IMAGES = {
    "nifti": Format(_write_nifti, (damage,), _read_image),
    "nifti_gz": Format(_write_nifti_gz, (damage, inside_gzip(damage)), _read_image),
    "itk": Format(_write_itk, (damage, damage_text), _read_image),
    "dicom": Format(_series_writer(*_UNCOMPRESSED), _DICOM, _read_series),
    "dicom_compressed": Format(_series_writer(*_COMPRESSED), _DICOM, _read_series),
    "dicom_enhanced": Format(_write_enhanced, _DICOM, dicom.read_ct),
    "dicom_zip": Format(_write_zip, (damage, inside_zip(damage)), dicom.read_ct),
    "rtstruct": Format(_write_rtstruct, _DICOM, _read_rtstruct),
    "seg": Format(_write_seg, _DICOM, _read_seg),
}

"""Real scans from the shared folder, each with an independent witness; skipped where the folder is not."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from scipy.ndimage import map_coordinates

from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom import read_ct
from nasoseg.volumes.dicom_scan import find_series, find_studies
from nasoseg.volumes.nifti import read_label_map


@pytest.fixture
def archive(request):
    """The folder of zipped studies beside the project."""
    folder = request.config.rootpath.parent / "shared" / "data" / "dicom"
    if not folder.is_dir():
        pytest.skip("the real DICOM studies are not beside the project")
    return folder


def itk_witness(folder: Path, uid: str = "") -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid))
    return reader.Execute()


def assert_agrees(ct, image):
    assert np.array_equal(ct.volume.array, SimpleITK.GetArrayFromImage(image))
    shape = np.array(ct.volume.array.shape)
    for corner in np.ndindex(2, 2, 2):
        index = (shape - 1) * corner
        place = (ct.volume.geometry.affine_lps @ [*index, 1])[:3]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index[::-1].tolist()), place, atol=1e-3)


def test_lung1_003(archive, tmp_path):
    zipfile.ZipFile(archive / "lung1-003.zip").extractall(tmp_path)
    ct = read_ct(tmp_path)
    assert ct.straight
    assert ct.volume.array.shape == (107, 512, 512)
    assert ct.remarks == ()
    (folder,) = tmp_path.iterdir()
    assert_agrees(ct, itk_witness(folder, ct.series_instance_uid))
    (study,) = find_studies(tmp_path)
    assert sorted(s.modality for s in study.series) == ["CT", "RTDOSE"]
    (contours,) = study.contours
    assert contours.modality == "RTSTRUCT"
    assert contours.frame_of_reference_uids == (ct.frame_of_reference_uid,)
    assert contours.path.name == "1.dcm"


def test_abdomen_j2k(archive, tmp_path):
    zipfile.ZipFile(archive / "abdomen-j2k.zip").extractall(tmp_path)
    ct = read_ct(tmp_path)
    np.testing.assert_allclose(ct.volume.geometry.spacing_mm, [2, 0.9765625, 0.9765625])  # SliceThickness says 3
    assert_agrees(ct, itk_witness(tmp_path / "example_ct_dicom"))
    (labels,) = tmp_path.glob("*.nii.gz")
    axial = read_label_map(labels).axial()
    assert axial.geometry.matches(ct.volume.geometry)
    assert not read_label_map(labels).geometry.matches(ct.volume.geometry)  # flipped in its file
    organs = axial.array > 0
    assert np.median(ct.volume.array[organs]) > 20  # soft tissue and bone: matched, not merely of one size
    assert np.median(ct.volume.array[np.flip(organs, axis=1)]) < np.median(ct.volume.array[organs])


def test_tilted_head_is_refused(archive):
    with pytest.raises(NasosegError, match=r"gantry tilt of 18\.5 degrees and uneven steps of 1\.08 to 7\.00 mm"):
        read_ct(archive / "head-tilted-ge.zip")


def test_tilted_head_is_straightened_where_it_belongs(archive):
    ct = read_ct(archive / "head-tilted-ge.zip", resample=True)
    assert not ct.straight
    assert len(ct.planes) == 28
    with zipfile.ZipFile(archive / "head-tilted-ge.zip") as zipped:
        original = list(original_points(zipped))
    to_index = np.linalg.inv(ct.volume.geometry.affine_lps)
    image = ct.volume.array.astype(np.float32)

    def mean_error(*, rows_mm=0.0, columns_mm=0.0):
        errors = []
        for lps, hu in original:
            index = (to_index @ lps)[:3]
            index[1] += rows_mm / ct.volume.geometry.spacing_mm[1]
            index[2] += columns_mm / ct.volume.geometry.spacing_mm[2]
            errors.append(np.abs(map_coordinates(image, index, order=1, cval=-1024) - hu))
        return np.concatenate(errors).mean()

    placed = mean_error()
    assert placed < 40  # HU: slices 7 mm apart, compared between them
    for moved in ({"rows_mm": 1}, {"rows_mm": -1}, {"columns_mm": 1}, {"columns_mm": -1}):
        assert mean_error(**moved) > 1.4 * placed


def original_points(zipped):
    """Every 8th pixel of the slices as LPS points and HU, by pydicom alone."""
    import pydicom

    for name in zipped.namelist():
        if name.endswith(".dcm"):
            dataset = pydicom.dcmread(zipped.open(name))
            along, down = np.reshape(dataset.ImageOrientationPatient, (2, 3)).astype(float)
            rows, columns = (grid.ravel() for grid in np.mgrid[0:512:8, 0:512:8])
            hu = dataset.pixel_array[rows, columns] * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
            lps = np.array(dataset.ImagePositionPatient, float)[:, None] + np.outer(
                down, rows * dataset.PixelSpacing[0]
            )
            lps += np.outer(along, columns * dataset.PixelSpacing[1])
            measured = hu > -1500  # its padding value
            yield np.vstack([lps, np.ones(len(hu))])[:, measured], hu[measured]


def test_rtstruct_oddities(archive):
    found = find_series(archive / "rtstruct-oddities.zip")
    assert sorted(s.slices for s in found if s.kind == "ct") == [2, 4]
    (uid,) = {s.series_instance_uid for s in found if s.slices == 4}
    with pytest.raises(NasosegError, match="2 CT series"):
        read_ct(archive / "rtstruct-oddities.zip")
    ct = read_ct(archive / "rtstruct-oddities.zip", series=uid)  # an oblique series, one slice of it there twice
    assert ct.volume.array.shape == (3, 50, 100)
    np.testing.assert_allclose(ct.volume.geometry.spacing_mm, [4.5, 3.5, 2.5], atol=1e-3)

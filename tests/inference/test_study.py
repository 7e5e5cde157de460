import numpy as np
import pytest
from generated_dicom import anatomy, write_ct
from generated_scans import tissue, write_nifti

from nasoseg.errors import NasosegError
from nasoseg.inference.study import read_study

AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])


@pytest.mark.parametrize(
    ("file", "name"),
    [("case_3_0000.nii.gz", "case_3"), ("patient_0003.nii.gz", "patient_0003"), ("patient 7/ct.nii.gz", "patient 7")],
)
def test_an_image_file(tmp_path, file, name):
    path = write_nifti(tmp_path / file, tissue((4, 5, 3)), AFFINE)
    study = read_study(path)
    assert (study.name, study.volume.array.shape, study.ct) == (name, (4, 5, 3), None)
    if path.name == "ct.nii.gz":
        assert read_study(path.parent).name == name


def test_a_dicom_folder_with_an_image_file_among_the_slices(tmp_path):
    write_ct(tmp_path / "p1", anatomy())
    write_nifti(tmp_path / "p1" / "dose.nii.gz", tissue((4, 5, 3)), AFFINE)
    study = read_study(tmp_path / "p1")
    assert study.name == "p1"
    np.testing.assert_array_equal(study.volume.array, anatomy())


def test_a_folder_with_two_that_are_called_ct(tmp_path):
    for name in ("ct.nii.gz", "ct.nii"):
        write_nifti(tmp_path / name, tissue((4, 5, 3)), AFFINE)
    with pytest.raises(NasosegError, match="expected one CT"):
        read_study(tmp_path)

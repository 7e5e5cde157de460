import zipfile
from pathlib import Path

import numpy as np
import pytest
from generated_dicom import anatomy, write_ct
from generated_scans import tissue, write_nifti

from nasoseg.errors import NasosegError
from nasoseg.inference.study import found_scans, read_study

AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])


def names(path: Path, **choice: str) -> list[str]:
    with found_scans(path, **choice) as scans:
        return [scan.name for scan in scans]


def image(path: Path) -> Path:
    return write_nifti(path, tissue((4, 5, 3)), AFFINE)


def test_an_image_file_is_one_scan(tmp_path):
    path = image(tmp_path / "case_3_0000.nii.gz")
    assert names(path) == ["case_3"]
    study = read_study(path)
    assert (study.name, study.volume.array.shape, study.ct) == ("case_3", (4, 5, 3), None)
    inner = image(tmp_path / "patient 7" / "ct.nii.gz")
    assert names(inner) == names(inner.parent) == ["patient 7"]
    assert read_study(inner.parent).name == "patient 7"


def test_a_folder_of_image_files_and_one_of_patients(tmp_path):
    for case in ("a", "b"):
        image(tmp_path / "raw" / f"{case}_0000.nii.gz")
        image(tmp_path / "patients" / case / "ct.nii.gz")
    image(tmp_path / "raw" / "a_0001.nii.gz")  # another channel of the first case
    image(tmp_path / "plain" / "one.nii.gz")
    assert names(tmp_path / "raw") == names(tmp_path / "patients") == ["a", "b"]
    assert names(tmp_path / "plain") == ["one"]


def test_a_nested_export_has_a_scan_for_every_study(tmp_path):
    hu = anatomy()
    write_ct(tmp_path / "export" / "A" / "ct", hu, patient="P1", series="s1")
    write_ct(tmp_path / "export" / "B" / "ct", hu + 1, patient="P2", series="s2")
    with found_scans(tmp_path / "export") as scans:
        assert [scan.name for scan in scans] == ["ct", "ct_2"]
        first, second = (scan.read() for scan in scans)
    np.testing.assert_array_equal(second.volume.array, first.volume.array + 1)
    assert second.ct is not None
    assert second.ct.header.PatientID == "P2"


def test_a_zip_is_named_after_itself(tmp_path):
    files = write_ct(tmp_path / "ct", anatomy())
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for file in files:
            archive.write(file, file.name)
    with found_scans(tmp_path / "export.zip") as scans:
        assert [scan.name for scan in scans] == ["export"]
        np.testing.assert_array_equal(scans[0].read().volume.array, anatomy())


def test_of_two_series_in_one_study_one_must_be_chosen(tmp_path):
    def same_study(dataset, _):
        dataset.StudyInstanceUID = "1.2.3"

    write_ct(tmp_path / "x" / "one", anatomy(), series="s1", edit=same_study)
    write_ct(tmp_path / "x" / "two", anatomy(seed=1), series="s2", edit=same_study)
    with found_scans(tmp_path / "x") as (scan,), pytest.raises(NasosegError, match="2 CT series, expected one: choose"):
        scan.read()
    with found_scans(tmp_path / "x", series="2") as (scan,):
        assert scan.name == "two"
        np.testing.assert_array_equal(scan.read().volume.array, anatomy(seed=1))


def test_the_numbers_of_the_list_are_those_that_series_takes(tmp_path):
    def same_study(dataset, _):
        dataset.StudyInstanceUID = "1.2.3"

    write_ct(tmp_path / "1", anatomy(), patient="P1", series="s0")
    write_ct(tmp_path / "2" / "test shot", anatomy((1, 8, 6)), patient="P2", series="s1", edit=same_study)
    write_ct(tmp_path / "2" / "plain", anatomy(seed=1), patient="P2", series="s2", edit=same_study)
    write_ct(tmp_path / "2" / "thin", anatomy(seed=2), patient="P2", series="s3", edit=same_study)
    with found_scans(tmp_path) as scans, pytest.raises(NasosegError, match="2 CT series") as raised:
        scans[1].read()
    for number, folder in (("2", "plain"), ("3", "thin")):
        (line,) = (line for line in str(raised.value).splitlines() if line.startswith(f"  {number}: "))
        assert f"2/{folder}/" in line
        with found_scans(tmp_path, series=number) as (scan,):
            assert scan.name == folder
            assert scan.read().ct is not None
    with found_scans(tmp_path, series="4") as (scan,):
        assert scan.name == "test shot"


def test_what_holds_no_scan(tmp_path):
    with pytest.raises(NasosegError, match="no such file or folder"), found_scans(tmp_path / "none"):
        pass
    (tmp_path / "empty").mkdir()
    with pytest.raises(NasosegError, match="no CT"), found_scans(tmp_path / "empty"):
        pass
    image(tmp_path / "two" / "ct.nii.gz")
    image(tmp_path / "two" / "ct.nii")
    with pytest.raises(NasosegError, match="expected one CT"):
        read_study(tmp_path / "two")

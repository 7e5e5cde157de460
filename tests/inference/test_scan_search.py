import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from generated_dicom import anatomy, write_ct
from generated_scans import tissue, write_nifti

from nasoseg.errors import NasosegError
from nasoseg.inference.scan_search import found_scans

AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])


def names(path: Path, **choice: str) -> list[str]:
    with found_scans(path, **choice) as scans:
        return [scan.name for scan in scans]


def image(path: Path) -> Path:
    return write_nifti(path, tissue((4, 5, 3)), AFFINE)


def zipped(path: Path, folder: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.dcm")):
            archive.write(file, file.relative_to(folder))


def test_an_image_file_is_one_scan(tmp_path):
    path = image(tmp_path / "case_3_0000.nii.gz")
    assert names(path) == ["case_3"]
    inner = image(tmp_path / "patient 7" / "ct.nii.gz")
    assert names(inner) == names(inner.parent) == ["patient 7"]


def test_a_folder_of_image_files_and_one_of_patients(tmp_path):
    for case in ("a", "b"):
        image(tmp_path / "raw" / f"{case}_0000.nii.gz")
        image(tmp_path / "patients" / case / "ct.nii.gz")
    image(tmp_path / "plain" / "one.nii.gz")
    (tmp_path / "plain" / "._one.nii.gz").write_bytes(b"\0\5\x16\7")  # macOS writes such files beside others
    assert names(tmp_path / "raw") == names(tmp_path / "patients") == ["a", "b"]
    assert names(tmp_path / "plain") == ["one"]
    image(tmp_path / "patients" / "c.nii.gz")
    assert names(tmp_path / "patients") == ["a", "b", "c"]


def test_numbers_of_patients_are_not_taken_for_those_of_channels(tmp_path):
    for number in range(1, 4):
        image(tmp_path / "p" / f"patient_{number:04}.nii.gz")
    numbered = [f"patient_{number:04}" for number in range(1, 4)]
    assert names(tmp_path / "p") == numbered
    assert [names(path)[0] for path in sorted((tmp_path / "p").iterdir())] == numbered
    first = image(tmp_path / "p" / "patient_0000.nii.gz")
    with pytest.raises(NasosegError, match=r"patient_0000.nii.gz and patient_0001.nii.gz \(4 files .* rename patients"):
        names(tmp_path / "p")
    first.rename(tmp_path / "p" / "other_0000.nii.gz")
    assert names(tmp_path / "p") == ["other", *numbered]
    image(tmp_path / "p" / "plain.nii.gz")
    image(tmp_path / "p" / "other_0001.nii.gz")
    assert names(tmp_path / "p") == ["other", "other_0001", *numbered, "plain"]


def test_of_nnunets_images_the_first_channel_is_the_scan(tmp_path):
    for name in ("a_0000", "a_0001", "b_0000", "b_0001"):
        image(tmp_path / "imagesTs" / f"{name}.nii.gz")
    (tmp_path / "dataset.json").write_text("{}")
    with found_scans(tmp_path / "imagesTs") as scans:
        assert [scan.name for scan in scans] == ["a", "b"]
        assert scans[1].read().remarks == ("other channels were passed over: b_0001.nii.gz",)


def test_scans_of_several_kinds_are_not_chosen_among(tmp_path):
    for patient in ("p1", "p2"):
        write_ct(tmp_path / "in" / patient / "ct", anatomy(), patient=patient)
    atlas = image(tmp_path / "in" / "atlas.nii.gz")
    with pytest.raises(
        NasosegError, match=r"image files \(1, first atlas.nii.gz\) and DICOM studies \(2, first p1/ct/"
    ):
        names(tmp_path / "in")
    assert names(tmp_path / "in", series="1") == ["ct"]
    atlas.rename(tmp_path / "in" / "ct.nii.gz")
    with pytest.raises(NasosegError, match="give each kind a folder of its own"):
        names(tmp_path / "in")
    (tmp_path / "in" / "ct.nii.gz").unlink()
    image(tmp_path / "in" / "p3" / "ct.nii.gz")
    with pytest.raises(NasosegError, match=r"image files \(1, first p3/ct.nii.gz\) and DICOM studies \(2"):
        names(tmp_path / "in")
    shutil.rmtree(tmp_path / "in" / "p3")
    zipped(tmp_path / "in" / "p4.zip", tmp_path / "in" / "p1" / "ct")
    for choice in ({}, {"series": "1"}):
        with pytest.raises(NasosegError, match=r"zips \(1, first p4.zip\) and DICOM studies \(2"):
            names(tmp_path / "in", **choice)


def test_what_belongs_to_one_scan_is_passed_over_with_a_remark(tmp_path):
    write_ct(tmp_path / "slices", anatomy())
    image(tmp_path / "slices" / "dose.nii.gz")
    zipped(tmp_path / "slices" / "backup.zip", tmp_path / "slices")
    with found_scans(tmp_path / "slices") as (scan,):
        assert scan.read().remarks == ("not DICOM and passed over: backup.zip, dose.nii.gz (2 in all)",)
    for patient in ("a", "b"):
        image(tmp_path / "both" / patient / "ct.nii.gz")
        write_ct(tmp_path / "both" / patient / "dicom", anatomy(), patient=patient)
    with found_scans(tmp_path / "both") as scans:
        assert [scan.name for scan in scans] == ["a", "b"]
        assert scans[0].read().remarks == ("DICOM beside ct.nii.gz was passed over (dicom/0037.dcm)",)
    image(tmp_path / "both" / "a" / "dose.nii.gz")
    with found_scans(tmp_path / "both" / "a") as (scan,):
        assert scan.read().remarks[1:] == ("other image files were passed over: dose.nii.gz (1 in all)",)


def test_a_nested_export_has_a_scan_for_every_study(tmp_path):
    hu = anatomy()
    write_ct(tmp_path / "export" / "A" / "ct", hu, patient="P1", series="s1")
    write_ct(tmp_path / "export" / "B" / "ct", hu + 1, patient="P2", series="s2")
    with found_scans(tmp_path / "export") as scans:
        assert [scan.name for scan in scans] == ["A_ct", "B_ct"]
        first, second = (scan.read() for scan in scans)
    np.testing.assert_array_equal(second.volume.array, first.volume.array + 1)
    assert second.ct is not None
    assert second.ct.header.PatientID == "P2"


def test_a_zip_is_named_after_itself(tmp_path):
    write_ct(tmp_path / "ct", anatomy())
    zipped(tmp_path / "export.zip", tmp_path / "ct")
    with found_scans(tmp_path / "export.zip") as scans:
        assert [scan.name for scan in scans] == ["export"]
        np.testing.assert_array_equal(scans[0].read().volume.array, anatomy())


def test_a_folder_of_zips(tmp_path):
    for seed, patient in enumerate("ab"):
        write_ct(tmp_path / patient / "CT", anatomy(seed=seed), patient=patient)
        zipped(tmp_path / "zips" / f"{patient}.ZIP", tmp_path / patient)
    (tmp_path / "zips" / "._a.zip").write_bytes(b"\0")
    with found_scans(tmp_path / "zips") as scans:
        assert [scan.name for scan in scans] == ["a_CT", "b_CT"]
        np.testing.assert_array_equal(scans[1].read().volume.array, anatomy(seed=1))
    with found_scans(tmp_path / "zips", series="2") as (scan,):
        assert scan.name == "CT"
    (tmp_path / "zips" / "c.zip").write_bytes(b"no zip")
    with pytest.raises(NasosegError, match=r"c\.zip: cannot be unpacked"):
        names(tmp_path / "zips")


def test_what_is_wrong_in_a_zip_is_named_as_lying_in_it(tmp_path):
    write_ct(tmp_path / "p1" / "CT", anatomy())[2].unlink()
    for path in (tmp_path / "one.zip", tmp_path / "zips" / "one.zip"):
        zipped(path, tmp_path / "p1")
        for given in {path, path.parent} - {tmp_path}:
            with found_scans(given) as (scan,), pytest.raises(NasosegError) as raised:
                scan.read()
            assert str(raised.value).startswith(f"{path}/CT")


def test_names_do_not_hang_on_what_else_is_there(tmp_path):
    for patient in ("b", "c"):
        write_ct(tmp_path / "in" / patient / "CT", anatomy(), patient=patient)
    assert names(tmp_path / "in") == ["b_CT", "c_CT"]
    write_ct(tmp_path / "in" / "a" / "CT", anatomy(), patient="a")
    write_ct(tmp_path / "in" / "CT", anatomy(), patient="d")
    assert names(tmp_path / "in") == ["in_CT", "a_CT", "b_CT", "c_CT"]
    for patient in ("e", "f"):
        for file in write_ct(tmp_path / "flat" / patient, anatomy(), patient=patient):
            file.rename(tmp_path / "flat" / f"{patient}{file.name}")
    e, f = names(tmp_path / "flat")
    for file in write_ct(tmp_path / "flat" / "d", anatomy(), patient="d"):
        file.rename(tmp_path / "flat" / f"d{file.name}")
    assert names(tmp_path / "flat")[1:] == [e, f]
    assert e.startswith("flat_")


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
        names(tmp_path / "two")

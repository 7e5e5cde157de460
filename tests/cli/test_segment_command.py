import csv
import shutil
import zipfile

import numpy as np
import pydicom
import pytest
import SimpleITK
from generated_dicom import write_ct
from generated_scans import tissue, write_nifti

from nasoseg.volumes.dicom import read_ct
from nasoseg.volumes.rtstruct import read_rtstruct

AFFINE = np.diag([-2.0, -2.0, 3.0, 1.0])


@pytest.fixture
def run_folder(trained, tmp_path):
    """A run of one fold, in a folder of runs."""
    return shutil.copytree(trained[0], tmp_path / "runs" / "fold0")


@pytest.fixture
def export(tmp_path):
    """Two patients' CT, nested as exports are."""
    hu = np.concatenate([tissue((5, 40, 36))] * 2, axis=1)
    affine = np.array([[0, 0, 3.0, -50], [0, 3.0, 0, -60], [3.0, 0, 0, 10], [0, 0, 0, 1]])
    for patient in ("Anna", "Berta"):
        write_ct(tmp_path / "export" / patient / "1", hu, affine, patient=patient, series=patient)
    return tmp_path / "export"


def test_a_nested_export_becomes_rtstructs(run_folder, export, nasoseg_command, tmp_path):
    ended = nasoseg_command("segment", run_folder, export, tmp_path / "out")
    assert ended.code == 0, ended.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["Anna_1", "Berta_1", "summary.csv"]
    for name, patient in (("Anna_1", "Anna"), ("Berta_1", "Berta")):
        ct = read_ct(export / patient)
        written = pydicom.dcmread(tmp_path / "out" / name / "rtstruct.dcm")
        assert (written.PatientID, written.StudyInstanceUID) == (patient, ct.study_instance_uid)
        assert "Parotid_R" in read_rtstruct(tmp_path / "out" / name / "rtstruct.dcm", ct).rois
    rows = list(csv.DictReader((tmp_path / "out" / "summary.csv").read_text().splitlines()))
    assert [row["scan"] for row in rows if row["structure"] == "Larynx"] == ["Anna_1", "Berta_1"]
    assert "in the training" in ended.out
    assert "Brainstem" in ended.out


def test_every_format_at_once_on_the_grid_of_the_file(run_folder, export, nasoseg_command, tmp_path):
    formats = ("--format", "rtstruct,seg", "--format", "nifti")
    ended = nasoseg_command("segment", run_folder, export / "Anna", tmp_path / "out", *formats)
    assert ended.code == 0, ended.err
    written = {p.name for p in (tmp_path / "out" / "1").iterdir()}
    assert {"rtstruct.dcm", "seg.dcm", "Larynx.nii.gz"} <= written
    mask = SimpleITK.ReadImage(str(tmp_path / "out" / "1" / "Larynx.nii.gz"))
    assert mask.GetSize() == (36, 80, 5)


def test_image_files_of_several_patients_and_models_of_several_folds(run_folder, nasoseg_command, tmp_path):
    shutil.copytree(run_folder, run_folder.parent / "fold1", dirs_exist_ok=True)
    for patient in ("a", "b"):
        write_nifti(tmp_path / "raw" / f"{patient}.nii.gz", tissue((40, 40, 4)), AFFINE)
    both = nasoseg_command("segment", run_folder.parent, tmp_path / "raw", tmp_path / "out")
    assert both.code == 0, both.err
    assert (tmp_path / "out" / "b" / "Mandible.nii.gz").is_file()
    one = nasoseg_command(
        "segment", run_folder / "checkpoints" / "best.ckpt", tmp_path / "raw" / "a.nii.gz", tmp_path / "1"
    )
    assert one.code == 0, one.err
    of_one, of_both = (
        SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / folder / "a" / "Mandible.nii.gz")))
        for folder in ("1", "out")
    )
    np.testing.assert_array_equal(of_one, of_both)  # twice the same model


def test_nothing_is_overwritten_unasked(run_folder, nasoseg_command, tmp_path):
    scan = write_nifti(tmp_path / "a.nii.gz", tissue((40, 40, 4)), AFFINE)
    command = ["segment", run_folder, scan, tmp_path / "out"]
    assert nasoseg_command(*command).code == 0
    again = nasoseg_command(*command)
    assert again.code == 1
    assert "exists already (1 of 1 scans do): pass --force" in again.err
    assert "has all 1 scans already" in nasoseg_command(*command, "--skip-existing").out
    (tmp_path / "out" / "a" / "old.txt").write_text("")
    assert nasoseg_command(*command, "--force").code == 0
    assert not (tmp_path / "out" / "a" / "old.txt").exists()
    assert len((tmp_path / "out" / "summary.csv").read_text().splitlines()) >= 11


def test_the_scan_itself_is_never_overwritten(run_folder, export, nasoseg_command, tmp_path):
    studies = tmp_path / "studies"
    write_nifti(studies / "a" / "ct.nii.gz", tissue((40, 40, 4)), AFFINE)
    (tmp_path / "link").symlink_to(export / "Anna" / "1")
    slices = sorted((export / "Anna" / "1").iterdir())
    (tmp_path / "zips" / "Anna").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "zips" / "Anna" / "inner.zip", "w") as archive:
        for file in slices:
            archive.write(file, f"Anna/{file.name}")
    for source, output in (
        (studies, studies),
        (studies / "a" / "ct.nii.gz", studies),
        (export / "Anna" / "1", export / "Anna"),
        (export / "Anna", export / "Anna"),
        (tmp_path / "link", export / "Anna" / "1" / slices[1].name),
        (tmp_path / "zips" / "Anna" / "inner.zip", tmp_path / "zips"),
    ):
        before = sorted(source.parent.rglob("*"))
        for choice in ("--force", "--skip-existing"):
            ended = nasoseg_command("segment", run_folder, source, output, choice)
            assert ended.code == 1, (source, output)
            assert "expected a place for results alone: choose another OUTPUT" in ended.err
        assert sorted(source.parent.rglob("*")) == before


def test_a_bad_scan_does_not_stop_the_others(run_folder, nasoseg_command, tmp_path):
    good = write_nifti(tmp_path / "raw" / "good.nii.gz", tissue((40, 40, 4)), AFFINE)
    (tmp_path / "raw" / "bad.nii.gz").write_bytes(good.read_bytes()[:-200])
    ended = nasoseg_command("segment", run_folder, tmp_path / "raw", tmp_path / "out")
    assert ended.code == 1
    assert "bad.nii.gz: cannot be read as an image" in ended.err
    assert "1 of 2 scans could not be segmented (bad)" in ended.err
    assert [p.name for p in sorted((tmp_path / "out").iterdir())] == ["good", "summary.csv"]


def test_a_wrong_structure_is_told_once(run_folder, export, nasoseg_command, tmp_path):
    ended = nasoseg_command("segment", run_folder, export, tmp_path / "out", "--fill-holes", "Mandibel")
    assert ended.code == 1
    assert ended.err.count("fill_holes") == 1
    assert "scans could not be segmented" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "dicom"], "--format: found 'dicom', expected one or more of rtstruct, seg, nifti"),
        (["--format", "rtstruct"], "RTSTRUCT and DICOM SEG refer to DICOM images"),
        (["--device", "tpu9"], "--device: 'tpu9' cannot be used"),
        (["--largest-component", "Mandibel"], "Mandible"),
        (["--series", "1"], "no CT"),
        (["--batch-size", "0"], "batch_size: found 0"),
    ],
)
def test_wrong_arguments_end_in_one_screen(run_folder, nasoseg_command, tmp_path, arguments, words):
    scan = write_nifti(tmp_path / "in" / "a.nii.gz", tissue((40, 40, 4)), AFFINE)
    ended = nasoseg_command("segment", run_folder, scan, tmp_path / "out", *arguments)
    assert ended.code == 1
    assert words in ended.err
    assert len(ended.err.splitlines()) < 25
    assert "Traceback" not in ended.err


def test_wrong_places(run_folder, export, nasoseg_command, tmp_path):
    def error(*arguments) -> str:
        ended = nasoseg_command("segment", *arguments)
        assert ended.code == 1
        return ended.err

    assert "no such run" in error(tmp_path / "none", export, tmp_path / "out")
    assert "no run folder" in error(export, export, tmp_path / "out")
    assert "is one file, and" in error(run_folder, export, tmp_path / "out.dcm")
    assert "there is no folder" in error(run_folder, export, tmp_path / "none" / "out")
    assert "is one DICOM file" in error(run_folder, export, tmp_path / "out.dcm", "--format", "nifti")
    (tmp_path / "file").write_text("")
    assert "is a file, expected a folder" in error(run_folder, export, tmp_path / "file")
    one = nasoseg_command("segment", run_folder, export / "Anna", tmp_path / "one.dcm")
    assert one.code == 0, one.err
    assert pydicom.dcmread(tmp_path / "one.dcm").Modality == "RTSTRUCT"

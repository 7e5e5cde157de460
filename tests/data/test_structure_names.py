"""The folders' files are written with pydicom; LUNG1-003's real RTSTRUCT is read where it lies beside the project."""

import os
import zipfile
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from nasoseg.data.structure_names import NamedFile, find_structure_names
from nasoseg.errors import NasosegError

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
CT = "1.2.840.10008.5.1.4.1.1.2"


def item(**values) -> Dataset:
    dataset = Dataset()
    with pydicom.config.disable_value_validation():
        for key, value in values.items():
            setattr(dataset, key, value)
    return dataset


def write_dicom(path: Path, sop_class: str, *, patient: str | None = "P1", **values) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset = FileDataset(path, item(**values), file_meta=meta, preamble=b"\0" * 128)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = "1.2.3"
    if patient is not None:
        dataset.PatientID = patient
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_rtstruct(path: Path, rois: dict[str, str], **options) -> Path:
    return write_dicom(
        path,
        RTSTRUCT,
        StructureSetROISequence=[item(ROINumber=i, ROIName=name) for i, name in enumerate(rois, start=5)],
        RTROIObservationsSequence=[
            item(ReferencedROINumber=i, RTROIInterpretedType=kind) for i, kind in enumerate(rois.values(), start=5)
        ],
        **options,
    )


def test_a_zip_is_read_as_its_folder_and_files_are_named_as_in_it(tmp_path):
    rois = [item(ROINumber=1, ROIName="Larynx")]
    write_dicom(tmp_path / "in" / "a" / "rt.dcm", RTSTRUCT, StructureSetROISequence=rois)
    (tmp_path / "in" / "bad.dcm").write_bytes(b"no DICOM")
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for name in ("a/rt.dcm", "bad.dcm"):
            archive.write(tmp_path / "in" / name, name)
    found = find_structure_names(tmp_path / "export.zip")
    assert [(file.path, file.names) for file in found.files] == [
        (tmp_path / "export.zip" / "a" / "rt.dcm", ("Larynx",))
    ]
    assert [path for path, _ in found.unreadable] == [tmp_path / "export.zip" / "bad.dcm"]


def test_names_are_found_in_rtstruct_seg_and_folders_of_masks(tmp_path):
    first = write_rtstruct(tmp_path / "a/b/c/rs", {"Parotis li": "ORGAN", "Iso": "ISOCENTER", "Kehlkopf": ""})
    second = write_dicom(
        tmp_path / "a/seg.dcm", SEG, SegmentSequence=[item(SegmentLabel="Larynx"), item(SegmentLabel="Hirnstamm")]
    )
    write_dicom(tmp_path / "a/ct.dcm", CT)
    (tmp_path / "x/segmentations").mkdir(parents=True)
    for name in ("Larynx.nii.gz", "Mandible.nrrd", "notes.txt"):
        (tmp_path / "x/segmentations" / name).touch()
    (tmp_path / "x/ct.nii.gz").touch()
    found = find_structure_names(tmp_path)
    assert found.unreadable == []
    assert found.files == [
        NamedFile(first, "RTSTRUCT", "P1", ("Parotis li", "Iso", "Kehlkopf"), ("ORGAN", "ISOCENTER", "")),
        NamedFile(second, "SEG", "P1", ("Larynx", "Hirnstamm"), ("", "")),
        NamedFile(tmp_path / "x/segmentations", "masks", str(tmp_path / "x"), ("Larynx", "Mandible"), ("", "")),
    ]


def test_a_label_map_is_a_segmentation(tmp_path):
    label_map = "1.2.840.10008.5.1.4.1.1.66.7"
    path = write_dicom(tmp_path / "map.dcm", label_map, SegmentSequence=[item(SegmentLabel="Larynx")])
    assert find_structure_names(tmp_path).files == [NamedFile(path, "SEG", "P1", ("Larynx",), ("",))]


def test_one_file_may_be_the_root(tmp_path):
    path = write_rtstruct(tmp_path / "rs.dcm", {"Larynx": "ORGAN"})
    assert [file.names for file in find_structure_names(path).files] == [("Larynx",)]


def test_without_a_patient_the_folder_tells_patients_apart(tmp_path):
    for patient, folder in ((None, "a"), ("", "b"), (" ", "c"), ("P9", "d")):
        write_rtstruct(tmp_path / folder / "rs.dcm", {"Larynx": "ORGAN"}, patient=patient)
    assert [file.patient for file in find_structure_names(tmp_path).files] == [
        *(str(tmp_path / folder) for folder in "abc"),
        "P9",
    ]


def test_names_are_taken_as_they_are(tmp_path):
    odd = ["Ohrspeicheldrüse", "脑干", "a/../b", "[red]x", "esc\x1b[31m", "x" * 200]
    write_rtstruct(tmp_path / "rs.dcm", dict.fromkeys(odd, "ORGAN"))
    assert find_structure_names(tmp_path).files[0].names == tuple(odd)


def test_a_name_with_a_backslash_or_none_at_all_is_read(tmp_path):
    path = write_rtstruct(tmp_path / "rs.dcm", {"aXb": "ORGAN", "": ""})
    path.write_bytes(path.read_bytes().replace(b"aXb", b"a\\b"))
    assert find_structure_names(tmp_path).files[0].names == ("a\\b", "")


def test_rtstruct_without_observations_or_preamble_is_read(tmp_path):
    path = write_dicom(tmp_path / "rs.dcm", RTSTRUCT, StructureSetROISequence=[item(ROINumber=1, ROIName="Larynx")])
    dataset = pydicom.dcmread(path)
    del dataset.file_meta
    dataset.preamble = None
    pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
    assert path.read_bytes()[:2] == b"\x08\x00"
    (file,) = find_structure_names(tmp_path).files
    assert (file.names, file.roi_types) == (("Larynx",), ("",))


def test_damaged_files_are_named_and_others_passed_over(tmp_path):
    whole = write_rtstruct(tmp_path / "whole", {"Larynx": "ORGAN"})
    (tmp_path / "cut").write_bytes(whole.read_bytes()[:-60])
    write_dicom(tmp_path / "bare", RTSTRUCT)
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "text.dcm").write_text("1.2.840.10008.5.1.4.1.1.481.3")
    (tmp_path / "notes.txt").write_text(f"our class is {RTSTRUCT}")
    (tmp_path / ".hidden.dcm").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    found = find_structure_names(tmp_path)
    assert [file.path for file in found.files] == [whole]
    assert {path.name: why.split(":")[0] for path, why in found.unreadable} == {
        "bare": "damaged",
        "cut": "damaged",
        "empty.dcm": "no DICOM file",
        "nowhere": "No such file or directory",
        "text.dcm": "no DICOM file",
    }


def test_a_link_back_is_followed_once(tmp_path):
    path = write_rtstruct(tmp_path / "a/rs.dcm", {"Larynx": "ORGAN"})
    (tmp_path / "a/loop").symlink_to(tmp_path)
    outside = write_rtstruct(tmp_path.parent / f"{tmp_path.name}_outside/rs.dcm", {"Heart": "ORGAN"})
    (tmp_path / "linked").symlink_to(outside.parent)
    files = find_structure_names(tmp_path).files
    assert [file.path for file in files] == [path, tmp_path / "linked/rs.dcm"]


def test_progress_is_told_for_every_file(tmp_path):
    write_rtstruct(tmp_path / "rs.dcm", {"Larynx": "ORGAN"})
    (tmp_path / "notes.txt").touch()
    told: list[tuple[str, int, int]] = []
    find_structure_names(tmp_path, progress=lambda *now: told.append(now))
    assert told == [("files", 1, 2), ("files", 2, 2)]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(NasosegError, match=r"nowhere: no such folder: expected one with RTSTRUCT"):
        find_structure_names(tmp_path / "nowhere")


def test_a_real_structure_set_is_read(request, tmp_path):
    archive = request.config.rootpath.parent / "shared/data/dicom/lung1-003.zip"
    if not archive.is_file():
        pytest.skip("LUNG1-003 is not beside the project")
    with zipfile.ZipFile(archive) as opened:
        data = opened.read("LUNG1-003_20180209_CT/1.dcm")
    (tmp_path / "1.dcm").write_bytes(data)
    (file,) = find_structure_names(tmp_path).files
    assert len(file.names) == 25
    types = dict(zip(file.names, file.roi_types, strict=True))
    assert (types["Patient"], types["Spinal cord"], types["I1"]) == ("EXTERNAL", "ORGAN", "MARKER")

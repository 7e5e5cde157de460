"""Exports as clinics make them: many patients, kinds and series in one folder, and the one CT that is meant."""

import os
import re
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from generated_dicom import AXIAL, anatomy, uid, write_ct, write_enhanced_ct, write_other
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RLELossless,
    RTDoseStorage,
    RTPlanStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom import read_ct, read_series
from nasoseg.volumes.dicom_scan import find_series, find_studies


def write_bystanders(folder, *, patient="P1"):
    """Write what lies beside a planning CT."""
    for modality, sop_class in (
        ("MR", MRImageStorage),
        ("PT", PositronEmissionTomographyImageStorage),
        ("RTDOSE", RTDoseStorage),
        ("RTPLAN", RTPlanStorage),
    ):
        write_other(folder / f"{modality}.dcm", modality, sop_class, patient=patient)
    write_other(folder / "screen.dcm", "CT", SecondaryCaptureImageStorage, patient=patient)
    write_ct(folder / "scout", anatomy((1, 4, 4)), series="scout", patient=patient, edit=as_scout)


def as_scout(dataset, z):
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def as_projection(dataset, z):
    dataset.ImageType = ["DERIVED", "SECONDARY", "MIP"]


def structure_set(**values):
    series = pydicom.Dataset()
    series.SeriesInstanceUID = uid("P1", "series")
    study = pydicom.Dataset()
    study.RTReferencedSeriesSequence = [series]
    frame = pydicom.Dataset()
    frame.FrameOfReferenceUID = uid("P1", "frame")
    frame.RTReferencedStudySequence = [pydicom.Dataset(), study]  # empty items occur
    return {"ReferencedFrameOfReferenceSequence": [frame]} | values


def test_ct_is_picked_among_everything_else(tmp_path):
    hu = anatomy()
    write_ct(tmp_path / "x" / "y", hu)
    write_bystanders(tmp_path / "x")
    write_ct(tmp_path / "mip", hu[:3], series="mip", edit=as_projection)
    write_ct(tmp_path / "bolus", hu[:1], series="bolus tracking")
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / ".hidden").write_bytes(b"")
    ct = read_ct(tmp_path)
    assert np.array_equal(ct.volume.array, hu)
    assert ct.remarks == (
        "not DICOM and passed over: report.pdf (1 in all)",
        "CT series of one slice passed over: 0037.dcm (1 in all)",
    )


def test_find_series_describes_all(tmp_path):
    for patient in ("P1", "P2"):
        write_ct(tmp_path / patient / "ct", anatomy(), patient=patient)
        write_bystanders(tmp_path / patient, patient=patient)
    write_enhanced_ct(tmp_path / "P1" / "e.dcm", anatomy())
    found = find_series(tmp_path)
    kinds = [(s.patient, s.kind, s.modality, s.slices, len(s.files)) for s in found]
    for patient in ("P1", "P2"):
        for expected in (
            (patient, "ct", "CT", 5, 5),
            (patient, "scout", "CT", 1, 1),
            (patient, "secondary", "CT", 1, 1),
            (patient, "other", "MR", 1, 1),
            (patient, "other", "RTDOSE", 1, 1),
        ):
            assert expected in kinds
    assert ("P1", "ct", "CT", 5, 1) in kinds
    one = next(s for s in found if s.patient == "P2" and s.kind == "ct")
    assert one.series_instance_uid == uid("P2", "series")
    assert one.study_instance_uid == uid("P2", "study")
    assert one.frame_of_reference_uid == uid("P2", "frame")
    assert "P2" not in repr(replace(one, files=()))  # the patient is not printed by accident
    assert np.array_equal(read_series(one).volume.array, anatomy())


def test_find_studies_pairs_contours_by_what_they_refer_to(tmp_path):
    for patient in ("P1", "P2"):
        write_ct(tmp_path / patient, anatomy(), patient=patient)
    write_other(tmp_path / "P1" / "rs.dcm", "RTSTRUCT", RTStructureSetStorage, **structure_set())
    write_other(tmp_path / "P1" / "seg.dcm", "SEG", SegmentationStorage, ReferencedSeriesSequence=[pydicom.Dataset()])
    first, second = find_studies(tmp_path)
    assert (first.patient, second.patient) == ("P1", "P2")
    assert second.contours == ()
    assert [len(study.series) for study in (first, second)] == [1, 1]
    assert first.study_instance_uid == first.series[0].study_instance_uid == uid("P1", "study")
    assert [second.series[0].patient, second.study_instance_uid] == ["P2", uid("P2", "study")]
    structures, segmentation = first.contours
    assert (structures.modality, segmentation.modality) == ("RTSTRUCT", "SEG")
    assert structures.path == tmp_path / "P1" / "rs.dcm"
    assert structures.frame_of_reference_uids == segmentation.frame_of_reference_uids == (uid("P1", "frame"),)
    assert structures.referenced_series_uids == (uid("P1", "series"),)
    assert segmentation.referenced_series_uids == ()
    assert structures.series_instance_uid == pydicom.dcmread(structures.path).SeriesInstanceUID
    named = pydicom.Dataset()
    named.SeriesInstanceUID = uid("P1", "series")
    write_other(tmp_path / "P1" / "seg.dcm", "SEG", SegmentationStorage, ReferencedSeriesSequence=[named])
    assert find_studies(tmp_path)[0].contours[1].referenced_series_uids == (uid("P1", "series"),)


def test_a_structure_set_refers_to_all_series_of_all_its_studies_and_not_to_its_own_frame(tmp_path):
    def refers_to(*uids):
        study = pydicom.Dataset()
        study.RTReferencedSeriesSequence = [pydicom.Dataset() for _ in uids]
        for item, each in zip(study.RTReferencedSeriesSequence, uids, strict=True):
            item.SeriesInstanceUID = each
        return study

    frame = pydicom.Dataset()
    frame.RTReferencedStudySequence = [refers_to("1.1", "1.2"), refers_to("1.3")]
    values = {"ReferencedFrameOfReferenceSequence": [frame], "FrameOfReferenceUID": "1.9"}
    write_other(tmp_path / "rs.dcm", "RTSTRUCT", RTStructureSetStorage, **values)
    (contours,) = find_studies(tmp_path)[0].contours
    assert contours.referenced_series_uids == ("1.1", "1.2", "1.3")
    assert contours.frame_of_reference_uids == ()


def test_patients_with_one_series_uid_are_not_mixed(tmp_path):
    def copied(dataset, z):
        dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "1.2.3", "1.2.4"

    write_ct(tmp_path / "a", anatomy(), edit=copied)
    write_ct(tmp_path / "b", anatomy(), patient="P2", edit=copied)
    assert sorted(s.slices for s in find_series(tmp_path)) == [5, 5]


def test_studies_named_anew_in_every_slice_are_remarked(tmp_path):
    def renamed(dataset, z):
        dataset.StudyInstanceUID = uid("study", z)

    write_ct(tmp_path, anatomy(), edit=renamed)
    assert "the files name 5 studies" in read_ct(tmp_path).remarks[0]


@pytest.mark.parametrize(
    ("modality", "sop_class", "kind"),
    [
        ("", CTImageStorage, "ct"),
        ("CT", "", "ct"),
        ("", "", "other"),
        ("CT", MRImageStorage, "secondary"),
        ("PT", CTImageStorage, "other"),
    ],
)
def test_what_an_image_is_where_an_anonymiser_emptied_its_elements(tmp_path, modality, sop_class, kind):
    for path in write_ct(tmp_path, anatomy()):
        dataset = pydicom.dcmread(path)
        dataset.Modality, dataset.SOPClassUID = modality, sop_class
        del dataset.file_meta.MediaStorageSOPClassUID
        dataset.save_as(path, enforce_file_format=False)
    (series,) = find_series(tmp_path)
    assert (series.kind, series.slices) == (kind, 5)
    assert series.modality == (modality or ("CT" if kind == "ct" else ""))


def test_a_projection_is_a_secondary_picture(tmp_path):
    write_ct(tmp_path, anatomy(), edit=as_projection)
    assert [series.kind for series in find_series(tmp_path)] == ["secondary"]


def test_modalities_of_one_series_uid_are_two_series(tmp_path):
    same = {"SeriesInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.4"}
    write_other(tmp_path / "mr.dcm", "MR", MRImageStorage, **same)
    write_other(tmp_path / "pt.dcm", "PT", PositronEmissionTomographyImageStorage, **same)
    assert [series.modality for series in find_series(tmp_path)] == ["MR", "PT"]


def test_a_patient_without_identifier_and_study_is_his_folder(tmp_path):
    def unnamed(dataset, z):
        dataset.PatientID = dataset.StudyInstanceUID = ""

    write_ct(tmp_path / "a", anatomy(), edit=unnamed)
    assert find_series(tmp_path)[0].patient == str(tmp_path / "a")


def test_two_studies_are_remarked(tmp_path):
    write_ct(tmp_path, anatomy(), edit=lambda d, z: setattr(d, "StudyInstanceUID", uid("study", z > 2)))
    assert "the files name 2 studies" in read_ct(tmp_path).remarks[0]


def test_no_ct_lists_what_there_is(tmp_path):
    write_bystanders(tmp_path)
    with pytest.raises(NasosegError, match=r"no CT series found \(it holds .*1 RTDOSE") as raised:
        read_ct(tmp_path)
    for part in ("1 MR", "1 PT", "1 CT scout", "1 CT secondary capture"):
        assert part in str(raised.value)


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preface(tmp_path, implicit):
    hu = anatomy()
    for path in write_ct(tmp_path, hu, syntax=ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian):
        dataset = pydicom.dcmread(path)
        del dataset.file_meta
        dataset.preamble = None
        pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=True)
        assert path.read_bytes()[128:132] != b"DICM"
    assert np.array_equal(read_ct(tmp_path).volume.array, hu)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless], ids=lambda s: s.keyword)
def test_compressed_files_without_preamble(tmp_path, syntax):
    hu = anatomy((3, 40, 36))
    for path in write_ct(tmp_path, hu, syntax=syntax):
        path.write_bytes(path.read_bytes()[132:])
        assert path.read_bytes()[:2] == b"\x02\x00"  # its group 2 is there
    assert np.array_equal(read_ct(tmp_path).volume.array, hu)


def test_dead_links_and_pipes_are_no_files(tmp_path):
    hu = anatomy()
    write_ct(tmp_path, hu)
    (tmp_path / "dead").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe")
    assert np.array_equal(read_ct(tmp_path).volume.array, hu)


def test_messages_never_name_the_patient(tmp_path):
    def described(dataset, z):
        dataset.SeriesDescription = f"CT secretname {dataset.PatientID}"
        if z == 2:
            dataset.RescaleSlope = "0"

    for name in ("a", "b"):
        write_ct(tmp_path / name, anatomy(), series=name, patient="ID-4711", edit=described)
    told = []
    for choice in (None, "1"):
        with pytest.raises(NasosegError) as raised:
            read_ct(tmp_path, series=choice)
        told.append(str(raised.value))
    for word in ("secret", "4711", "1950", "jördis", uid("ID-4711", "study")):
        assert not re.search(word, " ".join(told), re.IGNORECASE)
    assert AXIAL[0, 0] == 0  # untouched by the tests above


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Neck 3 mm", "Neck 3 mm"),
        ("Neck  of\tRay", ""),  # his first name
        ("for o'hara: neck", ""),
        ("Neck AB 47", "Neck AB 47"),  # two letters of an identifier tell nothing
        ("Neck ab47-9", ""),
    ],
)
def test_a_description_is_shown_unless_it_names_the_patient(tmp_path, given, shown):
    def described(dataset, z):
        dataset.PatientName, dataset.SeriesDescription = "O'Hara^Ray", given

    write_ct(tmp_path, anatomy(), patient="AB-ab47", edit=described)
    (series,) = find_series(tmp_path)
    assert series.description == shown


def test_a_patient_without_an_identifier_is_his_study(tmp_path):
    def unnamed(dataset, z):
        dataset.PatientID = ""

    write_ct(tmp_path / "a", anatomy(), edit=unnamed)
    assert find_series(tmp_path)[0].patient == uid("P1", "study")

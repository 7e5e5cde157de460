"""Patient and study, carried over exactly as given."""

import copy

import pydicom
import pytest
from generated_ct_series import axial_geometry, ct_header, ct_series, write_ct

from nasoseg.volumes.patient_study import carry_over, short_text


def carried(header: pydicom.Dataset, *texts: str) -> pydicom.Dataset:
    into = pydicom.Dataset()
    carry_over(header, into, texts=texts)
    return into


def stored(dataset: pydicom.Dataset, tmp_path) -> pydicom.Dataset:
    with pydicom.config.disable_value_validation():
        dataset.save_as(tmp_path / "x.dcm", implicit_vr=True, little_endian=True)
        return pydicom.dcmread(tmp_path / "x.dcm", force=True)


def test_values_and_character_set_stay(tmp_path):
    header = ct_header(PatientSize="0.30000001192092", PatientAge="047Y", InstitutionName="not the study's")
    back = stored(carried(header, "Parotid_L"), tmp_path)
    assert back.SpecificCharacterSet == "ISO_IR 100"
    assert back.get_item("PatientName").value.strip() == "Müller^Jörg".encode("latin-1")
    assert back.get_item("PatientSize").value.strip() == b"0.30000001192092"
    assert (back.PatientAge, back.AccessionNumber, back.StudyDescription) == ("047Y", "A1", "Kopf/Hals")
    assert "InstitutionName" not in back  # of the scanner, not of the study
    assert "Modality" not in back


def test_a_header_from_a_file_is_carried_over_too(tmp_path):
    folder = write_ct(ct_series(axial_geometry((1, 4, 4))), tmp_path / "ct")
    header = pydicom.dcmread(next(folder.iterdir()), stop_before_pixels=True)
    back = stored(carried(header, "左"), tmp_path)
    assert back.SpecificCharacterSet == "ISO_IR 192"
    assert back.get_item("PatientName").value.strip() == "Müller^Jörg".encode()
    assert back.PatientName == "Müller^Jörg"
    assert header.SpecificCharacterSet == "ISO_IR 100"  # the CT's own is not touched


@pytest.mark.parametrize("syntax", ["implicit", "explicit"])
def test_texts_in_sequences_follow_the_character_set(tmp_path, syntax):
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", "CT Schädel"
    code.EquivalentCodeSequence = [copy.deepcopy(code)]
    way = {"implicit_vr": syntax == "implicit", "little_endian": True}
    ct_header(ProcedureCodeSequence=[code]).save_as(tmp_path / "ct.dcm", **way)
    into = carried(pydicom.dcmread(tmp_path / "ct.dcm", force=True), "左")
    into.save_as(tmp_path / "x.dcm", **way)
    back = pydicom.dcmread(tmp_path / "x.dcm", force=True)
    assert back.SpecificCharacterSet == "ISO_IR 192"
    (read,) = back.ProcedureCodeSequence
    assert read.CodeMeaning == read.EquivalentCodeSequence[0].CodeMeaning == "CT Schädel"


@pytest.mark.parametrize(
    ("given", "text", "expected"),
    [
        ("ISO_IR 100", "Größe", "ISO_IR 100"),
        ("ISO_IR 100", "左", "ISO_IR 192"),
        ("ISO_IR 192", "左", "ISO_IR 192"),
        (None, "Eye", None),
        (None, "Größe", "ISO_IR 192"),
        (["", "ISO 2022 IR 87"], "Eye", ["", "ISO 2022 IR 87"]),
        (["", "ISO 2022 IR 87"], "左", "ISO_IR 192"),
    ],
)
def test_the_character_set_holds_all_texts(given, text, expected):
    assert carried(ct_header(SpecificCharacterSet=given), text).get("SpecificCharacterSet") == expected


def test_invalid_values_are_kept_and_missing_ones_are_empty(tmp_path):
    identifier = "123e4567-e89b-12d3-a456-426614174000"
    header = ct_header(PatientSex=None, StudyTime=None)
    with pydicom.config.disable_value_validation():
        header["StudyDate"] = pydicom.DataElement("StudyDate", "DA", identifier)
        back = stored(carried(header, "Eye"), tmp_path)
        assert back.StudyDate == identifier
        assert back["PatientSex"].is_empty
        assert back["StudyTime"].is_empty


def test_sequences_are_copies():
    header = ct_header()
    other = pydicom.Dataset()
    other.PatientID = "old"
    header.OtherPatientIDsSequence = [other]
    into = carried(header, "Eye")
    into.OtherPatientIDsSequence[0].PatientID = "new"
    assert header.OtherPatientIDsSequence[0].PatientID == "old"


def test_short_text():
    assert short_text("a\\b\nc", 10) == "a_b_c"
    assert short_text("  ab cd", 3) == "ab"

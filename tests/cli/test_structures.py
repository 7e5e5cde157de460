import io
import sys
from pathlib import Path

import pytest
import yaml
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from nasoseg.cli import main
from nasoseg.structure_map import load_structure_map

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"


def write_rtstruct(path: Path, patient: str, names: list[str], roi_type: str = "ORGAN") -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTSTRUCT
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = RTSTRUCT
    dataset.PatientID = patient
    dataset.StructureSetROISequence = []
    dataset.RTROIObservationsSequence = []
    for number, name in enumerate(names, start=1):
        roi, observation = Dataset(), Dataset()
        roi.ROINumber = observation.ReferencedROINumber = number
        with disable_value_validation():
            roi.ROIName = name
        observation.RTROIInterpretedType = roi_type
        dataset.StructureSetROISequence.append(roi)
        dataset.RTROIObservationsSequence.append(observation)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Two patients, one of them with two plans, and a folder of masks."""
    root = tmp_path / "export"
    write_rtstruct(root / "one/plan1/rs.dcm", "One", ["Parotis li", "Hirnstamm", "zz_ring", "Herz"])
    write_rtstruct(root / "one/plan2/rs.dcm", "One", ["Parotis li", "Herz"])
    write_rtstruct(root / "two/rs.dcm", "Two", ["Parotis li", "Lunge"])
    (root / "three/segmentations").mkdir(parents=True)
    (root / "three/segmentations/Larynx.nii.gz").touch()
    return root


def rows(printed: str) -> list[list[str]]:
    table = printed.split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table]


def test_names_are_listed_with_counts_structures_and_rules(export, nasoseg_command):
    ended = nasoseg_command("structures", export)
    assert ended.code == 0
    assert rows(ended.out) == [
        ["name", "patients", "files", "structure", "rule"],
        ["Parotis li", "2", "3", "Parotid_L", "laterality"],
        ["Hirnstamm", "1", "1", "Brainstem", "synonym"],
        ["Larynx", "1", "1", "Larynx", "exact"],
        ["zz_ring", "1", "1", "-", "ignored: zz*"],
        ["Herz", "1", "2", "-", "unknown"],
        ["Lunge", "1", "1", "-", "unknown"],
    ]
    assert (
        "6 names in 3 patients (3 RTSTRUCT, 1 folder of masks): 3 mean 3 structures, 1 ignored, 2 unknown" in ended.out
    )
    assert "--draft FILE writes" in ended.out


def test_columns_are_aligned_whatever_the_width_of_letters(export, nasoseg_command):
    write_rtstruct(export / "four/rs.dcm", "Four", ["脑干", "y" * 200])
    lines = nasoseg_command("structures", export).out.splitlines()
    (brainstem,) = (line for line in lines if line.startswith("脑干"))
    (long,) = (line for line in lines if line.startswith("yyy"))
    start = lines[0].index("structure")
    assert brainstem[start - 2 :].startswith("Brainstem")  # two letters of two cells each
    assert long[:64] == "y" * 63 + "…"


def test_a_users_file_decides(export, nasoseg_command, tmp_path):
    (tmp_path / "mine.yaml").write_text("structures: {Heart: {synonyms: [Herz]}}\nnames: {Lunge: ignore}")
    ended = nasoseg_command("structures", export, "--structures", tmp_path / "mine.yaml")
    assert ["Herz", "1", "2", "Heart", "synonym"] in rows(ended.out)
    assert ["Lunge", "1", "1", "-", "ignored: names"] in rows(ended.out)
    assert "unknown" not in ended.out


def test_hostile_names_break_neither_table_nor_draft(export, nasoseg_command, tmp_path):
    hostile = [
        "\x1b[2J\x1b[31mred", "[red]bold[/red]", "a/../../b", "nul\0x", "tab\tx", "line\nbreak", "bidi\u202eX",
        ": - {x}", "# no", "'\"", "*alias", "!!python/object", "null", "70", "x" * 100, "x" * 300, "é" * 60,
        "\U0001f600" * 20, "\u00a0", "",
    ]  # fmt: skip
    write_rtstruct(export / "four/rs.dcm", "Four", hostile)
    draft = tmp_path / "draft.yaml"
    ended = nasoseg_command("structures", export, "--draft", draft)
    assert ended.code == 0
    assert all(line.isprintable() for line in ended.out.splitlines())
    assert r"\x1b[2J\x1b[31mred" in ended.out
    assert "[red]bold[/red]" in ended.out
    assert all(line.isprintable() for line in draft.read_text(encoding="utf-8").splitlines())
    written = yaml.safe_load(draft.read_text(encoding="utf-8"))["names"]
    listed = {name.rstrip(" \0") for name in hostile if name.strip() and len(name) <= 128}  # DICOM drops the padding
    assert {name.rstrip(" \0") for name in written} == listed | {"Herz", "Lunge"}
    assert "left out: blank, or longer than 128 characters" in draft.read_text(encoding="utf-8")
    load_structure_map(draft)  # as it is, nothing decided


def test_a_draft_is_filled_in_and_used(export, nasoseg_command, tmp_path):
    draft = tmp_path / "draft.yaml"
    assert "2 names to fill in" in nasoseg_command("structures", export, "--draft", draft).out
    text = draft.read_text()
    assert '  "Herz":  # in 1 patient, 2 files' in text
    text = text.replace('"Herz":', '"Herz": Heart').replace('"Lunge":', '"Lunge": ignore')
    draft.write_text(text.replace("structures: {}", "structures: {Heart: {type: ORGAN}}"))
    ended = nasoseg_command("structures", export, "--structures", draft)
    assert ended.code == 0
    assert ["Herz", "1", "2", "Heart", "synonym: names"] in rows(ended.out)
    assert "unknown" not in ended.out


def test_a_second_draft_goes_on_from_the_first(export, nasoseg_command, tmp_path):
    (tmp_path / "first.yaml").write_text("names: {Lunge: ignore}")
    draft = tmp_path / "second.yaml"
    nasoseg_command("structures", export, "--structures", tmp_path / "first.yaml", "--draft", draft)
    assert set(yaml.safe_load(draft.read_text())["names"]) == {"Herz"}
    assert load_structure_map(draft).match("Lunge").rule == "ignored"


def test_a_draft_is_overwritten_only_by_force(export, nasoseg_command, tmp_path):
    draft = tmp_path / "draft.yaml"
    draft.write_text("mine")
    ended = nasoseg_command("structures", export, "--draft", draft)
    assert (ended.code, ended.out) == (1, "")
    assert "draft.yaml: exists: choose another --draft, or pass --force" in ended.err
    assert draft.read_text() == "mine"
    assert nasoseg_command("structures", export, "--draft", draft, "--force").code == 0
    assert yaml.safe_load(draft.read_text())["extends"] == "shipped"


def test_a_draft_that_cannot_be_written_is_told(export, nasoseg_command, tmp_path):
    ended = nasoseg_command("structures", export, "--draft", tmp_path / "none/draft.yaml")
    assert ended.code == 1
    assert "draft.yaml: could not be written (No such file or directory)" in ended.err


def test_several_names_of_one_structure_in_one_file_are_told(export, nasoseg_command):
    for i in range(2):
        write_rtstruct(export / f"{i}/rs.dcm", f"N{i}", ["Myelon", "SpinalCord", "Moelle"])
    write_rtstruct(export / "9/rs.dcm", "N9", ["Kehlkopf", "Laringe"])
    ended = nasoseg_command("structures", export)
    assert "in 2 files: 'Myelon' is left out: SpinalCord is 'SpinalCord' (exact)" in ended.out
    assert "in 1 file: 'Kehlkopf' and 'Laringe' all mean Larynx (synonym)" in ended.out


def test_names_in_conflict_fail(export, nasoseg_command, tmp_path):
    (tmp_path / "mine.yaml").write_text(r"structures: {A: {patterns: ['h\w*']}, B: {patterns: ['her.']}}")
    ended = nasoseg_command("structures", export, "--structures", tmp_path / "mine.yaml")
    assert ended.code == 1
    (row,) = (row for row in rows(ended.out) if row[0] == "Herz")
    assert row[4].startswith("conflict: claimed by 'A' and 'B' (pattern: h\\w* and her.)")
    assert "1 in conflict" in ended.out


def test_points_are_ignored_by_their_type(export, nasoseg_command):
    write_rtstruct(export / "4/rs.dcm", "Four", ["I1"], "MARKER")
    assert ["I1", "1", "1", "-", "ignored: type MARKER"] in rows(nasoseg_command("structures", export).out)


def test_files_that_cannot_be_read_are_counted_and_named(export, nasoseg_command):
    (export / "bad\x1b.dcm").touch()
    ended = nasoseg_command("structures", export)
    assert ended.code == 1
    assert "1 file could not be read" in ended.out
    assert r"bad\x1b.dcm: could not be read: no DICOM file" in ended.err


def test_nothing_found_is_an_error(tmp_path, nasoseg_command):
    ended = nasoseg_command("structures", tmp_path)
    assert ended.code == 1
    assert "no structure name found: expected RTSTRUCT or DICOM SEG files" in ended.err


def test_a_terminal_without_unicode_gets_escapes(export, monkeypatch):
    write_rtstruct(export / "4/rs.dcm", "Four", ["Drüse"])
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["structures", str(export)]) == 0
    sys.stdout.flush()
    assert rb"Dr\xfcse" in raw.getvalue()

"""`prepare dicom` on exports as they are: what is left out and said, what is refused, and how a user goes on."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from generated_dicom import AXIAL, anatomy, uid, write_ct, write_other
from generated_export import ALPHA, BETA, SHAPE, drawn, hu, rois, write_export, write_patient, write_rtstruct
from generated_rtstruct import square
from pydicom import Dataset
from pydicom.uid import MRImageStorage

from nasoseg.data.parts import parts_folder
from nasoseg.data.prepare import prepare_dicom
from nasoseg.data.store import Store
from nasoseg.errors import NasosegError


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write_export(tmp_path / "export")


def refused(root: Path, out: Path, *words: str, **options: object) -> str:
    """The error says all ``words`` on one screen; no store is there."""
    with pytest.raises(NasosegError) as caught:
        prepare_dicom(root, out, **{"workers": 1, **options})
    message = str(caught.value)
    assert len(message) < 3000
    for word in words:
        assert word in message, message
    assert not out.exists()
    return message


def left_out(root: Path, out: Path, **options: object) -> list[str]:
    return sorted(prepare_dicom(root, out, workers=1, **options).left_out.values())


def first_slice(folder: Path) -> Path:
    return sorted(folder.rglob("0*.dcm"))[0]


def test_roots_without_anything_to_take(tmp_path):
    out = tmp_path / "s.h5"
    refused(tmp_path / "none", out, "no such file or folder")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(empty, out, "no CT with contours", "Found:\n  no DICOM file")
    (empty / "notes.txt").write_text("none")
    refused(empty, out, "files that are no DICOM were passed over")
    write_ct(empty / "a", anatomy(SHAPE), patient=ALPHA)
    refused(empty, out, f"{empty / 'a'}: CT of 6 slices: no RTSTRUCT or DICOM SEG belongs to it")
    shutil.rmtree(empty / "a")
    write_rtstruct(empty / "rs.dcm", ALPHA, rois())
    refused(empty, out, f"{empty / 'rs.dcm'}: its CT is not there")
    (empty / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    refused(empty / "broken.zip", out, "no CT with contours")
    assert not parts_folder(out).exists()


def test_contours_that_mean_nothing_leave_the_ct_out(export, tmp_path):
    write_rtstruct(export / BETA / "rs.dcm", BETA, {"Herz": [square(105, -3, 3)], "zz": []})
    out = tmp_path / "s.h5"
    assert left_out(export, out) == [
        f"{export / BETA / 'images' / 'series'}: CT of 6 slices: none of its ROIs means a structure"
    ]
    assert len(Store(out).keys) == 1
    shutil.rmtree(export / "2020")
    out = tmp_path / "t.h5"
    refused(export, out, "names of ROIs that mean no structure: 1", f"`nasoseg structures {export} --draft FILE`")
    # Where he says that a missing one is absent, the patient is a negative example.
    prepare_dicom(export, out, workers=1, only=["Larynx"], absent=["Larynx"])
    assert Store(out).annotated.all()


def other_frame(dataset: Dataset) -> None:
    frame = dataset.ReferencedFrameOfReferenceSequence[0]
    frame.FrameOfReferenceUID = uid("elsewhere")
    del frame.RTReferencedStudySequence
    for roi in dataset.StructureSetROISequence:
        roi.ReferencedFrameOfReferenceUID = uid("elsewhere")


def other_patient(dataset: Dataset) -> None:
    dataset.PatientID = "Gamma-9"


def on_mr(dataset: Dataset) -> None:
    (series,) = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence
    series.SeriesInstanceUID = uid(BETA, "MR mr.dcm")


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (other_frame, "drawn in another frame of reference than the patient's CT"),
        (other_patient, "it refers to the CT of another patient: expected the same PatientID"),
        (on_mr, "drawn on a series of MR, expected a CT"),
    ],
)
def test_foreign_contours_are_left_out_and_said(export, tmp_path, edit, reason):
    write_other(export / BETA / "mr.dcm", "MR", MRImageStorage, patient=BETA)
    path = write_rtstruct(export / BETA / "rs.dcm", BETA, rois(), edit=edit)
    out = tmp_path / "s.h5"
    assert left_out(export, out) == [
        f"{export / BETA / 'images' / 'series'}: CT of 6 slices: no RTSTRUCT or DICOM SEG belongs to it",
        f"{path}: {reason}",
    ]
    assert len(Store(out).keys) == 1


def test_what_lies_beside_is_counted(export, tmp_path):
    write_other(export / "mr.dcm", "MR", MRImageStorage, patient=BETA)
    write_ct(export / "bolus", anatomy((1, 8, 6)), patient=BETA, series="bolus")
    (cut, *others) = write_ct(export / "cut", anatomy((2, 8, 6)), patient="Gamma-9", series="cut")
    cut_short(cut)
    others[0].unlink()
    notes = prepare_dicom(export, tmp_path / "s.h5", workers=1).notes
    assert "series passed over: 1 CT of one slice, 1 MR" in notes
    assert "damaged files that belong to no CT taken here: 1 passed over" in notes


def contradict(folder: Path) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = uid("elsewhere")
        for roi in dataset.StructureSetROISequence:
            roi.ReferencedFrameOfReferenceUID = uid("elsewhere")

    write_rtstruct(folder / "rs.dcm", BETA, rois(), edit=edit)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def constant(folder: Path) -> None:
    shutil.rmtree(folder / "images")
    write_ct(folder / "images", np.zeros(SHAPE), patient=BETA)


def uneven(folder: Path) -> None:
    def edit(dataset: Dataset, z: int) -> None:
        dataset.ImagePositionPatient[2] = str(100 + [0, 2.5, 5, 8.1, 11.2, 14.3][z])

    shutil.rmtree(folder / "images")
    write_ct(folder / "images", hu(BETA), AXIAL, patient=BETA, edit=edit)


def twice(folder: Path) -> None:
    contours = {name.replace("Kehlkopf", "Myelon "): drawn for name, drawn in rois().items()}  # DICOM drops the blank
    write_rtstruct(folder / "rs.dcm", BETA, contours)


FAULTS: list[tuple[Callable[[Path], object], tuple[str, ...]]] = [
    (contradict, ("rs.dcm: drawn in frame of reference", "expected the same")),
    (
        lambda folder: cut_short(folder / "rs.dcm"),
        ("rs.dcm: cannot be read", "whole DICOM RTSTRUCT", "export it again"),
    ),
    (lambda folder: cut_short(first_slice(folder)), ("is cut short", "expected whole files")),
    (constant, ("constant CT", "0 HU", "leave the patient out")),
    (uneven, ("uneven steps of 2.50 to 3.10 mm", "pass --resample")),
    (twice, ("2 ROIs are called 'Myelon'", "rename the others")),
]


@pytest.mark.parametrize(("spoil", "words"), FAULTS, ids=["frame", "cut", "ct cut", "constant", "uneven", "twice"])
def test_a_bad_scan_is_named_and_can_be_skipped(export, tmp_path, spoil, words):
    spoil(export / BETA)
    out = tmp_path / "s.h5"
    message = refused(export, out, "1 of 2 CT scans cannot be used", str(export / BETA), "--skip-bad", *words)
    assert "Secretname^" not in message
    summary = prepare_dicom(export, out, workers=1, skip_bad=True)
    assert summary.reused == 1
    assert len(summary.left_out) == 1
    assert len(Store(out).keys) == 1


def test_resample_takes_an_uneven_scan_and_says_so(export, tmp_path):
    uneven(export / BETA)
    shutil.rmtree(export / "2020")
    summary = prepare_dicom(export, tmp_path / "s.h5", workers=1, resample=True)
    (note,) = (note for note in summary.notes if "resampled" in note)
    assert "6 slices with uneven steps of 2.50 to 3.10 mm" in note
    assert summary.inventory.shapes["slices"][0] > 6


def test_two_structure_sets_that_differ_are_a_fault_and_one_is_chosen(export, tmp_path):
    shifted = rois() | {"Myelon": [square(105.0, -3, 3, y=-9.1)]}  # 7 x 7 pixels
    write_rtstruct(export / BETA / "rs2.dcm", BETA, shifted, edit=lambda d: setattr(d, "SeriesInstanceUID", "1.2.99"))
    out = tmp_path / "s.h5"
    refused(export, out, "rs2.dcm: 'Myelon'", f"{export / BETA / 'rs.dcm'}", "both mean SpinalCord", "--series UID")
    assert left_out(export, out, series=["1.2.99"]) == [
        f"{export / BETA / 'rs.dcm'}: other contours of its CT were chosen with --series"
    ]
    with Store(out) as store:
        bit = store.names.index("SpinalCord")
        assert sorted(int(store.voxels[key][:, bit].sum()) for key in store.keys) == [49, drawn("Myelon").sum()]


def test_contours_that_fit_two_cts(export, tmp_path):
    def nameless(dataset: Dataset) -> None:
        del dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence

    write_ct(export / BETA / "sharp", anatomy(SHAPE, seed=3), patient=BETA, series="sharp")
    write_rtstruct(export / BETA / "rs.dcm", BETA, rois(), edit=nameless)
    out = tmp_path / "s.h5"
    refused(export, out, "may belong to 2 CT series", uid(BETA, "sharp"), "choose with --series UID")
    assert left_out(export, out, series=[uid(BETA, "sharp")[-8:]]) == [
        f"{export / BETA / 'images' / 'series'}: CT of 6 slices: another CT of the patient was chosen with --series"
    ]


@pytest.mark.parametrize("inside", [False, True])
def test_patients_without_id_or_frame(tmp_path, monkeypatch, inside):
    root = tmp_path / "export"

    def bare(dataset: Dataset, z: int = 0) -> None:
        dataset.PatientID = ""
        for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(dataset, keyword, "")

    for patient in (ALPHA, BETA):
        write_ct(root / patient, hu(patient), patient=patient, edit=bare)

        def nowhere(dataset: Dataset) -> None:
            bare(dataset)
            dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = ""
            for roi in dataset.StructureSetROISequence:
                roi.ReferencedFrameOfReferenceUID = ""

        write_rtstruct(root / patient / "rs.dcm", patient, rois(), edit=nowhere)
    if inside:
        monkeypatch.chdir(root)
    summary = prepare_dicom(Path() if inside else root, tmp_path / "s.h5", workers=1)
    assert summary.left_out == {}
    keys = Store(tmp_path / "s.h5").keys
    assert len(keys) == 2
    assert not any("-" in key for key in keys)
    assert sum("accepted because the file names this CT's series" in note for note in summary.notes) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"only": ["Larinx"]}, ["'Larinx' is not in the structures file", "did you mean 'Larynx'"]),
        ({"absent": ["Brain"]}, ["--absent", "'Brain'", "valid: 'SpinalCord'"]),
        ({"series": ["1.2.3"]}, ["--series '1.2.3': 0 of 4 series"]),
        ({"structures": "none.yaml"}, ["none.yaml: cannot be read as a structures file"]),
        ({"pixel_mm": 0.01}, ["--pixel-mm", "0.1 to 20 mm"]),
        ({"key_table": "."}, ["--key-table", "expected the name of a file"]),
    ],
    ids=str,
)
def test_bad_options(export, tmp_path, options, words):
    refused(export, tmp_path / "s.h5", *words, **options)
    assert not parts_folder(tmp_path / "s.h5").exists()


def test_stores_and_tables_are_not_overwritten(export, tmp_path):
    out, table = tmp_path / "s.h5", tmp_path / "table.csv"
    table.write_text("precious")
    refused(export, out, "table.csv: exists already", "--force", key_table=table)
    out.write_text("precious")
    with pytest.raises(NasosegError, match=r"s.h5: exists already"):
        prepare_dicom(export, out, workers=1)
    prepare_dicom(export, out, workers=1, force=True, key_table=table)
    assert len(table.read_text().splitlines()) == 3


def test_a_table_that_could_not_be_written_costs_no_second_run(export, tmp_path):
    out, table = tmp_path / "s.h5", tmp_path / "table.csv"

    def hinder(what: str, done: int, total: int) -> None:
        table.mkdir(exist_ok=True)

    with pytest.raises(NasosegError, match=r"table.csv: could not be written .* The store is complete"):
        prepare_dicom(export, out, workers=1, key_table=table, progress=hinder)
    keys = Store(out).keys
    summary = prepare_dicom(export, out, workers=1, key_table=tmp_path / "other.csv", force=True)
    assert summary.reused == 2
    assert Store(out).keys == keys
    assert all(key in (tmp_path / "other.csv").read_text() for key in keys)


def test_too_many_structures(tmp_path):
    write_patient(tmp_path / "export")
    mine = tmp_path / "mine.yaml"
    mine.write_text("structures:\n" + "".join(f"  Boost {i}: {{}}\n" for i in range(65)))
    contours = {f"Boost {i}": [square(105.0, -3, 3)] for i in range(65)}
    write_rtstruct(tmp_path / "export" / "rs.dcm", ALPHA, contours)
    refused(tmp_path / "export", tmp_path / "s.h5", "ROIs of 65 structures", "--only", structures=mine)

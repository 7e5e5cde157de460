"""Which contours belong to which CT, from the headers alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from nasoseg.data.dicom_pairing import pair_contours, patient_id
from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom_series import ContourFile, Export, SeriesInfo

ROOT = Path("/export")


def ct(series: str, *, patient: str = "A", frame: str = "F", slices: int = 9, **changes) -> SeriesInfo:
    found = SeriesInfo("ct", "CT", patient, "study", series, frame, "", (ROOT / patient / series / "1.dcm",), slices)
    return replace(found, **changes)


def contours(
    name: str = "rs", *, patient: str = "A", frames: tuple[str, ...] = ("F",), refers: tuple[str, ...] = ()
) -> ContourFile:
    return ContourFile(ROOT / patient / name, "RTSTRUCT", patient, "study", f"uid {name}", frames, refers)


def paired(*found: SeriesInfo | ContourFile, wanted: tuple[str, ...] = ()) -> tuple[dict[str, list[str]], list[str]]:
    """The contours of every CT that is taken, and why the others are not."""
    series = tuple(one for one in found if isinstance(one, SeriesInfo))
    files = tuple(one for one in found if isinstance(one, ContourFile))
    pairing = pair_contours(Export(ROOT, series, files, (), ()), wanted)
    taken = {scan.series.series_instance_uid: [file.path.name for file in scan.contours] for scan in pairing.found}
    faults = [f"fault: {scan.fault}" for scan in pairing.found if scan.fault]
    return taken, faults + [reason for _, reason in pairing.left_out]


def test_the_series_that_is_named_decides_then_the_frame():
    assert paired(ct("one"), ct("two"), contours(refers=("two",))) == (
        {"two": ["rs"]},
        ["no RTSTRUCT or DICOM SEG belongs to it"],
    )
    assert paired(ct("one"), contours(refers=("renamed by an anonymiser",))) == ({"one": ["rs"]}, [])
    both = contours(frames=("F", "G"), refers=("one", "two"))
    assert paired(ct("one"), ct("two", frame="G"), both) == ({"one": ["rs"], "two": ["rs"]}, [])
    # A series number may be shared by slices of another frame of reference: those in the frame are meant.
    taken, _ = paired(ct("one", frame="G"), ct("one"), contours(refers=("one",)))
    assert taken == {"one": ["rs"]}


def test_a_named_ct_in_another_frame_is_left_to_the_reader_to_refuse():
    assert paired(ct("one", frame="G"), contours(refers=("one",)))[0] == {"one": ["rs"]}


def test_without_a_frame_the_only_ct_of_the_patient_is_taken():
    assert paired(ct("one", frame=""), ct("two", patient="B"), contours()) == (
        {"one": ["rs"]},
        ["no RTSTRUCT or DICOM SEG belongs to it"],
    )
    assert paired(ct("one"), contours(frames=()))[0] == {"one": ["rs"]}
    _, (fault, *_) = paired(ct("one", frame=""), ct("two", frame=""), contours())
    assert "/export/A/rs: may belong to 2 CT series and names none of them" in fault


@pytest.mark.parametrize(
    ("series", "file", "reason"),
    [
        (ct("one", patient="B"), contours(), "it refers to the CT of another patient: expected the same PatientID"),
        (ct("one", patient="B"), contours(frames=("G",), refers=("one",)), "it refers to the CT of another patient"),
        (ct("one", frame="G"), contours(), "drawn in another frame of reference than the patient's CT"),
        (ct("one", patient="B", frame="G"), contours(), "its CT is not there"),
        (ct("one", slices=1), contours(refers=("one",)), "drawn on a series of CT of one slice, expected a CT"),
        (ct("m", kind="other", modality="MR"), contours(refers=("m",)), "drawn on a series of MR, expected a CT"),
    ],
)
def test_what_belongs_to_no_ct_is_left_out_with_the_reason(series, file, reason):
    taken, reasons = paired(series, file)
    assert taken == {}
    assert reason in reasons[0]


def test_contours_of_another_modality_do_not_go_to_the_ct_of_its_frame():
    taken, reasons = paired(ct("one"), ct("p", kind="other", modality="PT"), contours(refers=("p",)))
    assert taken == {}
    assert reasons == ["drawn on a series of PT, expected a CT", "no RTSTRUCT or DICOM SEG belongs to it"]


def test_patients_without_an_id_are_told_apart_by_their_frames():
    one, two = ct("one", patient="study"), ct("two", frame="G", patient=str(ROOT / "x"))
    two = replace(two, files=(ROOT / "x" / "1.dcm",))
    assert (patient_id(one), patient_id(two), patient_id(ct("one"))) == ("", "", "A")
    file = replace(contours(frames=("G",)), patient="P7")
    assert paired(one, two, file)[0] == {"two": ["rs"]}


def test_what_is_ambiguous_is_chosen_by_series():
    one, two, file = ct("1.2.30"), ct("1.2.31"), contours()
    _, reasons = paired(one, two, file)
    assert "may belong to 2 CT series" in reasons[0]
    assert "1.2.30 (9 slices, first file /export/A/1.2.30/1.dcm); 1.2.31 (9 slices" in reasons[0]
    assert "--series UID" in reasons[0]
    assert paired(one, two, file, wanted=("31",)) == (
        {"1.2.31": ["rs"]},
        ["another CT of the patient was chosen with --series"],
    )


def test_a_choice_concerns_the_patient_or_ct_that_has_it():
    found = (ct("one"), contours("a"), contours("b"), ct("other", patient="B", frame="G"))
    other = contours("c", patient="B", frames=("G",))
    assert paired(*found, other, wanted=("uid b",)) == (
        {"one": ["b"], "other": ["c"]},
        ["other contours of its CT were chosen with --series"],
    )


@pytest.mark.parametrize(("wanted", "number"), [("nine", 0), ("o", 0), ("1.", 2)])
def test_a_choice_must_fit_one_series(wanted, number):
    with pytest.raises(NasosegError, match=rf"--series '{wanted}': {number} of 3 series .* fit, expected one"):
        paired(ct("1.2"), ct("1.3"), contours(), wanted=(wanted,))


def test_a_slice_that_lies_by_itself_is_a_fault():
    stray = ct("one", slices=1, frame="G")
    _, (fault,) = paired(ct("one"), stray, contours())
    assert "has the SeriesInstanceUID of the CT in /export/A/one" in fault
    assert paired(ct("one"), ct("bolus", slices=1), contours()) == ({"one": ["rs"]}, [])

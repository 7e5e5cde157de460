from pathlib import Path

from generated_ct_series import ct_header

from nasoseg.data.anonymous_text import without_identity

FOLDER = Path("/data/Müller/ct")


def cleaned(remark: str) -> str:
    files = [FOLDER / "0001.dcm", FOLDER / "Scan of Jo.dcm"]
    (line,) = without_identity([remark], ct_header(PatientID="MRN-12345"), files)
    return line


def test_what_tells_the_patient_goes_and_the_rest_stays():
    assert cleaned("Larynx: 2 contours of type POINT left out") == "Larynx: 2 contours of type POINT left out"
    assert cleaned("/data/Müller/ct/0001.dcm: 3 frames") == "...: 3 frames"
    assert cleaned("/data/Müller/ct: 3 frames; Scan of Jo.dcm") == "...: 3 frames; ..."
    assert cleaned("drawn by MÜLLER for Jörg (mrn-12345), born 19500607") == "drawn by ... for ... (...), born ..."
    assert cleaned("frame 1.2.826.0.1.3680043.8 of 18.5 degrees") == "frame ... of 18.5 degrees"
    assert cleaned("Müllerei") == "Müllerei"

"""The patient and the study, carried over from a CT into what is made of it, exactly as given."""

import copy
from collections.abc import Iterable
from importlib.metadata import version

from pydicom import Dataset
from pydicom.charset import convert_encodings

NAME = "nasoseg"
PURPOSE = "Drawn by software, for research; not a medical device. Check every contour before use."
"""What the description of every object says that is made here."""

# PS3.3: the attributes of the patient (C.7.1.1), general study (C.7.2.1), patient study (C.7.2.2) and clinical trial
# modules (C.7.1.3, C.7.2.3). Those of type 2 are there even if empty.
_TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
_CARRIED = (
    *_TYPE_2,
    *("IssuerOfPatientID", "TypeOfPatientID", "IssuerOfPatientIDQualifiersSequence", "PatientBirthTime"),
    *("OtherPatientIDs", "OtherPatientIDsSequence", "OtherPatientNames", "EthnicGroup", "PatientComments"),
    *("QualityControlSubject", "PatientSpeciesDescription", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("DeidentificationMethodCodeSequence", "LongitudinalTemporalInformationModified"),
    *("StudyInstanceUID", "StudyDescription", "IssuerOfAccessionNumberSequence", "PhysiciansOfRecord"),
    *("NameOfPhysiciansReadingStudy", "RequestingService", "ProcedureCodeSequence", "ReferencedStudySequence"),
    *("AdmittingDiagnosesDescription", "PatientAge", "PatientSize", "PatientWeight", "MedicalAlerts", "Allergies"),
    *("PregnancyStatus", "SmokingStatus", "Occupation", "AdditionalPatientHistory", "AdmissionID"),
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID"),
    *("ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID"),
    *("ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription"),
)


def carry_over(header: Dataset, into: Dataset, *, texts: Iterable[str]) -> None:
    """Copy the patient and the study of a CT into a new object, values as given, invalid ones too.

    The character set is the CT's where it can hold ``texts``, and UTF-8 otherwise.

    Args:
        header: The CT's attributes.
        into: The new object.
        texts: What else is written into it that may hold letters beyond ASCII.
    """
    for keyword in _CARRIED:
        if keyword in header:
            into[keyword] = copy.deepcopy(header[keyword])
        elif keyword in _TYPE_2:
            setattr(into, keyword, "")
    character_set = _character_set(header, texts)
    if character_set != (header.get("SpecificCharacterSet") or None):
        _decode(into)
    if character_set is not None:
        into.SpecificCharacterSet = character_set
    elif "SpecificCharacterSet" in into:
        del into.SpecificCharacterSet


def _decode(dataset: Dataset) -> None:
    """Decode the texts in sequences while their character set is known; read as bytes, they are written as bytes."""
    for _ in dataset.iterall():
        pass


def _character_set(header: Dataset, texts: Iterable[str]) -> str | list[str] | None:
    given: str | list[str] | None = header.get("SpecificCharacterSet") or None
    together = "".join(texts)
    if together.isascii():
        return given
    encodings = convert_encodings(given)
    if given is not None and len(encodings) == 1:  # several mean escape sequences, which not everything reads
        try:
            together.encode(encodings[0])
        except (UnicodeEncodeError, LookupError):
            pass
        else:
            return given
    return "ISO_IR 192"


def sign(dataset: Dataset) -> None:
    """Say which software made an object (general equipment module)."""
    dataset.Manufacturer = dataset.ManufacturerModelName = NAME
    dataset.SoftwareVersions = version(NAME)


def short_text(value: str, most: int) -> str:
    """Make a text fit for LO or SH: without control characters and backslashes, at most ``most`` characters."""
    return "".join("_" if c == "\\" or not c.isprintable() else c for c in value).strip()[:most].rstrip()

"""A clinic's export in which every text of the headers, every UID, date and name of a file is a marker."""

from pathlib import Path

import pydicom
from generated_dicom import AXIAL, uid, write_ct
from generated_export import hu, rois, write_rtstruct
from pydicom.datadict import dictionary_VR, keyword_dict, tag_for_keyword

PATIENTS = [f"Zzid{number}q" for number in range(4)]
TEXTS = {  # one marker for every kind of text; each is put into every element of the kind that an image may carry
    "PN": "Zzname^Zzgiven",
    "LO": "Zzlong text",
    "SH": "Zzshort",
    "LT": "Zzcomment of many words",
    "ST": "Zzaddress",
    "DA": "19310203",
    "TM": "112233.445",
    "DT": "19310203112233.445",
    "AS": "087Y",
    "AE": "ZZSTATION",
    "CS": "ZZCODE",
    "UI": "1.2.840.99999.31337",
}
KEPT = {  # what the geometry and the kind of an image are read from, and how ours tells patients apart
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID"),
    *("Modality", "ImageType", "PhotometricInterpretation", "RescaleType", "PatientPosition", "SpecificCharacterSet"),
    *("TransferSyntaxUID", "PatientName", "Laterality", "LossyImageCompression", "PixelPaddingValue"),
}
CHOSEN = (  # elements that scanners and planning systems fill, and some that none does
    *("OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "PatientAddress"),
    *("PatientBirthDate", "PatientAge", "PatientComments", "AdditionalPatientHistory", "EthnicGroup", "Occupation"),
    *("MilitaryRank", "PatientTelephoneNumbers", "MedicalRecordLocator", "IssuerOfPatientID"),
    *("PatientReligiousPreference", "RequestedProcedureDescription"),
    *("CountryOfResidence", "RegionOfResidence", "Allergies", "MedicalAlerts", "AccessionNumber", "StudyID"),
    *("StudyDescription", "SeriesDescription", "ProtocolName", "ImageComments", "InstitutionName", "StationName"),
    *("InstitutionAddress", "InstitutionalDepartmentName", "ReferringPhysicianName", "PerformingPhysicianName"),
    *("OperatorsName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "RequestingPhysician"),
    *("DeviceSerialNumber", "ManufacturerModelName", "SoftwareVersions", "Manufacturer", "DetectorID", "PlateID"),
    *("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "StudyTime", "SeriesTime", "AcquisitionTime"),
    *("AcquisitionDateTime", "AcquisitionUID", "IrradiationEventUID", "RetrieveAETitle", "ContrastBolusAgent"),
    *("BodyPartExamined", "PerformedProcedureStepID", "PerformedProcedureStepDescription", "ClinicalTrialSubjectID"),
    *("ClinicalTrialProtocolName", "DerivationDescription", "SpecialNeeds", "AdmissionID", "CurrentPatientLocation"),
)  # fmt: skip
NAMES = ("Zzhospital", "Zzfolder", "Zzfile", "Zzroi", "Zzlabel")
PRIVATE = ("Zzcreator", "Zzprivate text", b"Zzprivate bytes")


def header_markers() -> list[str]:
    """What headers say of patients."""
    texts = [part for text in TEXTS.values() for part in text.split("^")]
    own = [uid(patient, kind) for patient in PATIENTS for kind in ("study", "series", "frame")]
    return [*texts, *PATIENTS, *own, PRIVATE[0], PRIVATE[1], PRIVATE[2].decode(), "Zzroi", "Zzlabel"]


def write_marked_export(root: Path) -> Path:
    """Write four patients, each a CT and an RTSTRUCT."""
    for patient in PATIENTS:
        folder = root / "Zzhospital" / f"Zzfolder {patient}"
        for path in write_ct(folder / "ct", hu(patient), AXIAL, patient=patient, edit=lambda image, z: mark(image)):
            path.rename(path.with_name(f"Zzfile {path.name}"))
        contours = rois() | {"Zzroi target": rois()["Myelon"]}
        write_rtstruct(folder / "Zzfile rs.dcm", patient, contours, edit=mark_structures)
    (root / "Zzhospital" / "Zzfile readme.txt").write_text("Zzcomment of many words")
    return root


def mark(dataset: pydicom.Dataset) -> None:
    """Put markers into an image's or a structure set's texts, and private elements beside them."""
    dataset.PatientName = TEXTS["PN"]
    for keyword in {*CHOSEN, *dataset.dir()} - KEPT:
        if tag_for_keyword(keyword) is not None and keyword in keyword_dict:
            kind = dictionary_VR(tag_for_keyword(keyword))
            if kind in TEXTS:
                setattr(dataset, keyword, TEXTS[kind])
    block = dataset.private_block(0x0033, PRIVATE[0], create=True)
    block.add_new(0x01, "LO", PRIVATE[1])
    block.add_new(0x02, "OB", PRIVATE[2])


def mark_structures(dataset: pydicom.Dataset) -> None:
    """Mark a structure set, its label and the texts of its ROIs."""
    mark(dataset)
    dataset.StructureSetLabel, dataset.StructureSetName = "Zzlabel", "Zzlabel"
    dataset.StructureSetDescription = "Zzlabel"
    for roi in dataset.StructureSetROISequence:
        roi.ROIDescription = "Zzlabel"
        roi.ROIGenerationAlgorithm = ""

"""The pseudonyms of what an export holds: keys of the store, labels of what is left out, and the way back."""

from dataclasses import dataclass
from pathlib import Path

from nasoseg.data.dicom_pairing import patient_id
from nasoseg.data.dicom_studies import DicomStudies, scan_identity
from nasoseg.data.dicom_wording import worded
from nasoseg.data.key_table import KeyRow
from nasoseg.data.pseudonyms import pseudonym, read_secret, scan_key, scan_keys
from nasoseg.volumes.dicom_series import ContourFile


@dataclass(frozen=True)
class DicomKeys:
    """Hold the pseudonyms.

    Attributes:
        rows: For every CT with contours, in the order of ``DicomStudies.found``, its key and whom it stands for.
        left_out: For everything else, by pseudonym, where it lies and why it is left out.
    """

    rows: list[KeyRow]
    left_out: dict[str, str]


def make_dicom_keys(studies: DicomStudies, secret_file: Path) -> DicomKeys:
    """Make the pseudonyms with the secret in a file, which is made if it does not exist.

    Raises:
        NasosegError: If the secret is bad, or two scans get one key.
    """
    keys = scan_keys(studies.scans(), secret_file)
    rows = [
        KeyRow(key, patient_id(ct), ct.study_instance_uid, ct.series_instance_uid)
        for key, found in zip(keys, studies.found, strict=True)
        for ct in [found.scan.series]
    ]
    secret = read_secret(secret_file)
    left_out: dict[str, str] = {}
    for entry, reason in studies.left_out:
        patient = studies.identity(entry)
        if isinstance(entry, ContourFile):
            label = f"{pseudonym(secret, patient)} {entry.modality}"
        else:
            label = f"{scan_key(secret, patient, scan_identity(entry))} CT"
        alike = sum(1 for other in left_out if other.split(" (")[0] == label)
        left_out[f"{label} ({alike + 1})" if alike else label] = worded(entry, reason)
    return DicomKeys(rows, left_out)

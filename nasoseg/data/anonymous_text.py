"""Remarks about a patient's files, without what tells who he is: they are kept in the parts of a store."""

import re
from collections.abc import Iterable
from pathlib import Path

from pydicom import Dataset

from nasoseg.volumes.dicom_header import text

_UID = re.compile(r"\b\d+(?:\.\d+){3,}\b")
_IDENTIFYING = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "OtherPatientIDs",
    "OtherPatientNames",
    "AccessionNumber",
)
_LEAST = 3  # letters; shorter parts of a name are parts of other words everywhere


def without_identity(remarks: Iterable[str], header: Dataset, files: Iterable[Path]) -> list[str]:
    """Return remarks with UIDs, names of files, and the patient's name, IDs and birth date replaced by ``...``.

    Args:
        remarks: Lines that may name them.
        header: What the patient's files say of him.
        files: His files.
    """
    names = {name for path in files for name in (str(path), str(path.parent), path.name)}
    identity = {text(header, keyword) for keyword in _IDENTIFYING}
    identity |= {word for value in identity for word in re.split(r"[\s^=,.\\\[\]']+", value)}
    removed = sorted({word for word in (*names, *identity) if len(word) >= _LEAST}, key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in removed), re.IGNORECASE)
    return [_UID.sub("...", pattern.sub("...", remark)) if removed else _UID.sub("...", remark) for remark in remarks]

"""Read the study to show, of whatever kind: DICOM, image files, or a patient of a store."""

import os
from collections.abc import Mapping
from pathlib import Path

from nasoseg.errors import NasosegError
from nasoseg.report.view.dicom_study import read_dicom_study
from nasoseg.report.view.image_study import find_ct, find_patients, read_image_study
from nasoseg.report.view.stored_study import is_store, read_stored_study
from nasoseg.report.view.study import ShownStudy

_EXPECTED = "a DICOM folder or zip, a CT file, a folder with ct.nii.gz, or a store"
_MOST_LISTED = 5


def read_shown(
    path: str | os.PathLike[str],
    *,
    patient: str | None = None,
    predictions: Mapping[str, Path] | None = None,
    series: str | None = None,
    resample: bool = False,
) -> ShownStudy:
    """Read one study with all masks that are to be shown on it.

    Args:
        path: A DICOM folder or zip, with the RTSTRUCT and SEG files that were drawn on its CT; a NIfTI, NRRD or
            MetaImage file; a folder with ``ct.nii.gz`` and ``segmentations/``; or a store.
        patient: Which patient of a store.
        predictions: Further masks by the name to show: folders with a mask file a structure; and for DICOM,
            RTSTRUCT or SEG files.
        series: Which of several DICOM series (``volumes.dicom.read_ct``).
        resample: Put tilted or unevenly spaced DICOM slices onto a straight grid instead of refusing them.

    Raises:
        NasosegError: If there is no study, or more than one; it or a prediction cannot be read; a prediction lies on
            another grid or belongs to another CT; or an argument does not fit the kind of study.
    """
    path = Path(path)
    wanted = dict(predictions or {})
    if not path.exists():
        raise NasosegError(f"{path}: no such file or folder: expected {_EXPECTED}")
    if is_store(path):
        _only_for_dicom(path, series=series, resample=resample)
        return read_stored_study(path, patient, wanted)
    if patient is not None:
        raise NasosegError(
            f"--patient {patient!r}: chooses a patient of a store, and {path} is none: name the patient's own folder"
            " or file instead"
        )
    ct = find_ct(path)
    if ct is not None:
        _only_for_dicom(path, series=series, resample=resample)
        return read_image_study(ct, wanted)
    if patients := find_patients(path):
        listed = ", ".join(patients[:_MOST_LISTED]) + (", ..." if len(patients) > _MOST_LISTED else "")
        raise NasosegError(
            f"{path}: holds {len(patients)} patients ({listed}), expected one study: name a patient's folder, such as"
            f" {path / patients[0]}"
        )
    return read_dicom_study(path, wanted, series=series, resample=resample)


def _only_for_dicom(path: Path, *, series: str | None, resample: bool) -> None:
    for option, given in (("--series", series is not None), ("--resample", resample)):
        if given:
            raise NasosegError(f"{option}: is for DICOM, and {path} is another file: leave it out")

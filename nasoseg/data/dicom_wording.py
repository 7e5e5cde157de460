"""What is said of an export as a whole: why nothing of it can be taken, and the notes of the summary."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from nasoseg.data.dicom_studies import DicomStudies
from nasoseg.data.store_writing import MOST_STRUCTURES
from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom_series import ContourFile, SeriesInfo

_MOST_LISTED = 10


def check_found(studies: DicomStudies, names: Sequence[str], root: Path) -> None:
    """Check that there is something to make a store of.

    Raises:
        NasosegError: If there is no CT with contours, no structure, or too many structures; lists what was found.
    """
    if not studies.found or not names:
        faults = [found.scan.fault for found in studies.found if found.scan.fault]
        lines = [*faults, *(worded(*entry) for entry in studies.left_out), *studies.notes] or ["no DICOM file"]
        shown = "".join(f"\n  {line}" for line in lines[:_MOST_LISTED])
        more = f"\n  and {len(lines) - _MOST_LISTED} more" if len(lines) > _MOST_LISTED else ""
        hint = f". {_hint(studies, root)}" if studies.unknown else ""
        raise NasosegError(
            f"{root}: no CT with contours that mean a structure, expected one or more{hint}. Found:{shown}{more}"
        )
    if len(names) > MOST_STRUCTURES:
        raise NasosegError(
            f"{root}: found ROIs of {len(names)} structures, expected at most {MOST_STRUCTURES}: choose with --only"
        )


def dicom_notes(studies: DicomStudies, keys: Iterable[str], root: Path) -> list[str]:
    """Return the notes on names without a meaning, and on patients with several CTs."""
    notes = [_hint(studies, root)] if studies.unknown else []
    several = {key.split("-")[0] for key in keys if "-" in key}
    if several:
        notes.append(
            f"patients with several CTs: {len(several)}; the keys of one patient's CTs are alike up to the `-`,"
            " and a split deals them together"
        )
    return notes


def worded(entry: SeriesInfo | ContourFile, reason: str) -> str:
    """Say where something lies that is left out, and why."""
    if isinstance(entry, ContourFile):
        return f"{entry.path}: {reason}"
    return f"{entry.files[0].parent}: CT of {entry.slices} slices: {reason}"


def _hint(studies: DicomStudies, root: Path) -> str:
    return (
        f"names of ROIs that mean no structure: {len(studies.unknown)}; `nasoseg structures {root}"
        " --draft FILE` lists them and begins a structures file"
    )

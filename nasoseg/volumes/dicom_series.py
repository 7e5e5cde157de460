"""What an export holds, as series, studies and contour files; and the one CT series that is meant."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nasoseg.errors import NasosegError

Kind = Literal["ct", "unplaced", "scout", "secondary", "other"]

UNPLACED = "does not say where its image lies (no usable ImagePositionPatient, ImageOrientationPatient or PixelSpacing)"

_MOST_LISTED = 20
_WORDS: dict[Kind, str] = {"ct": "", "unplaced": "", "scout": "scout", "secondary": "secondary capture", "other": ""}


@dataclass(frozen=True)
class SeriesInfo:
    """Describe one series of images.

    Attributes:
        kind: ``ct``: slices of CT that may be read; ``unplaced``: CT images that do not say where they lie; ``scout``;
            ``secondary``: pictures made of CT (screen shots, projections, dose reports); ``other``: not CT.
        modality: As in the files, such as ``CT``, ``MR``, ``PT``, ``RTDOSE``.
        patient: PatientID; where that is empty StudyInstanceUID or the folder. To group and to look up, not to print.
        study_instance_uid: Of the first file; empty where it has none, as are the next two.
        series_instance_uid: May be shared by series of different orientation or frame of reference.
        frame_of_reference_uid: The coordinate system; what lies in it can be compared.
        description: SeriesDescription, empty where it holds a part of the patient's name or ID.
        files: The files, in order of their names.
        slices: Number of images; more than files where they are multi-frame.
        damaged: Files that belong, or may belong, to this CT series and cannot be read or placed, each with the
            reason: without them a slice may be missing.
    """

    kind: Kind
    modality: str
    patient: str = field(repr=False)
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    description: str = field(repr=False)
    files: tuple[Path, ...] = field(repr=False)
    slices: int
    damaged: tuple[tuple[Path, str], ...] = ()


@dataclass(frozen=True)
class ContourFile:
    """Describe one RTSTRUCT or DICOM SEG file.

    Attributes:
        path: The file.
        modality: ``RTSTRUCT`` or ``SEG``.
        patient: As of ``SeriesInfo``.
        study_instance_uid: Its own study, often but not always that of the images.
        series_instance_uid: Its own series.
        frame_of_reference_uids: The coordinate systems that it says its contours lie in.
        referenced_series_uids: The series that it says it was drawn on.
    """

    path: Path
    modality: str
    patient: str = field(repr=False)
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uids: tuple[str, ...]
    referenced_series_uids: tuple[str, ...]


@dataclass(frozen=True)
class Export:
    """Hold everything that was found under a folder.

    Attributes:
        root: The folder, or the one file.
        series: The series of images, in order of their first files.
        contours: The RTSTRUCT and SEG files, in order of their names.
        damaged: DICOM files that cannot be read, each with the reason.
        remarks: What was passed over.
    """

    root: Path
    series: tuple[SeriesInfo, ...]
    contours: tuple[ContourFile, ...]
    damaged: tuple[tuple[Path, str], ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class DicomStudy:
    """Hold what was found of one study of one patient."""

    patient: str = field(repr=False)
    study_instance_uid: str
    series: tuple[SeriesInfo, ...]
    contours: tuple[ContourFile, ...]


def choose_ct(export: Export, wanted: str | None, *, among: Sequence[SeriesInfo] | None = None) -> SeriesInfo:
    """Choose the CT series to read.

    Without ``wanted`` there must be one; a series of a single slice (bolus tracking, a test shot) is passed over then,
    unless its slice may be missing in another series of the same UID.

    Args:
        export: What was found.
        wanted: SeriesInstanceUID; a beginning or ending of it that no other series has; or the number in the list
            that the error shows.
        among: The series of one study, to choose from these alone. They keep the numbers that they have in the whole
            export.

    Raises:
        NasosegError: If there is no CT, or several fit; lists what was found.
    """
    series = [entry for entry in export.series if entry.kind == "ct"]
    if not series:
        raise _no_ct(export)
    uids = Counter(entry.series_instance_uid for entry in series)
    listed = [entry for entry in series if entry.slices > 1 or uids[entry.series_instance_uid] > 1]
    numbered = dict(enumerate([*listed, *(entry for entry in series if entry not in listed)], start=1))
    if among is not None:
        numbered = {number: entry for number, entry in numbered.items() if entry in among}
    shown = {number: entry for number, entry in numbered.items() if entry in listed} or numbered
    found = list(shown.values()) if wanted is None else _fitting(wanted, numbered)
    if len(found) != 1:
        asked = "" if wanted is None else f" {'none' if not found else len(found)} of which fits --series {wanted!r}"
        raise NasosegError(
            f"{export.root}: {len(shown)} CT series,{asked or ' expected one'}: choose with --series NUMBER or"
            f" --series UID (series= in Python):{_listing(shown, export.root)}"
        )
    return found[0]


def _fitting(wanted: str, numbered: Mapping[int, SeriesInfo]) -> list[SeriesInfo]:
    if wanted.isdecimal() and int(wanted) in numbered:  # no UID is a number without dots
        return [numbered[int(wanted)]]
    exact = [entry for entry in numbered.values() if entry.series_instance_uid == wanted]
    near = [
        entry
        for entry in numbered.values()
        if len(wanted) > 1
        and (entry.series_instance_uid.startswith(wanted) or entry.series_instance_uid.endswith(wanted))
    ]
    return exact or near


def _listing(shown: Mapping[int, SeriesInfo], root: Path) -> str:
    lines = []
    for number, entry in list(shown.items())[:_MOST_LISTED]:
        about = f" {entry.description!r}" if entry.description else ""
        first = entry.files[0].relative_to(root) if entry.files[0] != root else root.name
        uid = entry.series_instance_uid or "(no UID)"
        lines.append(f"\n  {number}: {uid}:{about} slices: {entry.slices}, first file: {first}")
    more = len(shown) - _MOST_LISTED
    return "".join(lines) + (f"\n  and {more} more" if more > 0 else "")


def _no_ct(export: Export) -> NasosegError:
    for entry in export.series:
        if entry.kind == "unplaced":
            return NasosegError(
                f"{entry.files[0]}: {UNPLACED}, and so do {len(entry.files)} files of its series: expected CT slices"
                " with their places: export the CT from its archive again"
            )
    found = Counter(f"{e.modality or 'unknown'} {_WORDS[e.kind]}".strip() for e in export.series)
    found.update(contour.modality for contour in export.contours)
    parts = [f"{count} {what}" for what, count in found.items()]
    if export.damaged:
        path, damage = export.damaged[0]
        parts.append(f"{len(export.damaged)} files that cannot be read ({path} {damage})")
    holds = ", ".join(parts) or "no DICOM file" + "".join(f" ({remark})" for remark in export.remarks)
    return NasosegError(f"{export.root}: no CT series found (it holds {holds}): expected one: name its folder")

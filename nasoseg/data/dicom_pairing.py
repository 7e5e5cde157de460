"""Which contours of an export were drawn on which CT: by patient, series and frame of reference, before any is read.

The readers look again, more closely, and refuse what does not belong.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom_series import UNPLACED, ContourFile, Export, Kind, SeriesInfo

_LEAST_SLICES = 2  # a series of one slice is a test shot
_DRAWN_ON: dict[Kind, str] = {
    "ct": " of one slice",
    "unplaced": f" that {UNPLACED}",
    "scout": " that is a scout",
    "secondary": " that is a picture",
    "other": "",
}
_MOST_LISTED = 10


@dataclass(frozen=True)
class ContouredCt:
    """Hold one CT and the contours that belong to it.

    Attributes:
        series: The CT.
        contours: Its RTSTRUCT and DICOM SEG files, one or more.
        fault: Why the two cannot be used together; empty if nothing is known yet.
    """

    series: SeriesInfo
    contours: tuple[ContourFile, ...]
    fault: str = ""


@dataclass
class Pairing:
    """Hold what belongs together in an export.

    Attributes:
        found: CTs with contours.
        left_out: CTs and contour files without a partner, or not chosen, each with the reason.
    """

    found: list[ContouredCt] = field(default_factory=list)
    left_out: list[tuple[SeriesInfo | ContourFile, str]] = field(default_factory=list)


def pair_contours(export: Export, wanted: Collection[str] = ()) -> Pairing:
    """Give every CT of several slices the contours that belong to it.

    A file belongs to the CTs whose series it names. Where it names none that is there, it belongs to the one CT in its
    frame of reference; where one of the two has no frame, to the only CT of its patient. No file belongs to a CT of
    another PatientID, or to a CT when it names a series of other images that is there.

    Args:
        export: What was found.
        wanted: SeriesInstanceUIDs, or beginnings or endings that only one has. Of the CTs of a patient who has one of
            these, the others are left out; and likewise of the contour files of a CT.

    Raises:
        NasosegError: If a wanted series is not there, or several fit.
    """
    chosen = _chosen(export, wanted)
    cts = [series for series in export.series if _is_scan(series)]
    others = [series for series in export.series if not _is_scan(series)]
    pairing = Pairing()
    contours: dict[int, list[ContourFile]] = {i: [] for i in range(len(cts))}
    faults: dict[int, str] = {}
    for file in export.contours:
        owners, reason = _owners(file, cts, others, chosen)
        for i in owners:
            contours[i].append(file)
            if reason:
                faults[i] = reason
        if not owners:
            pairing.left_out.append((file, reason))
    choosy = {ct.patient for ct in cts if ct.series_instance_uid in chosen}
    for i, ct in enumerate(cts):
        kept = [file for file in contours[i] if file.series_instance_uid in chosen] or contours[i]
        if ct.patient in choosy and ct.series_instance_uid not in chosen:
            pairing.left_out.append((ct, "another CT of the patient was chosen with --series"))
        elif not kept:
            pairing.left_out.append((ct, "no RTSTRUCT or DICOM SEG belongs to it"))
        else:
            pairing.found.append(ContouredCt(ct, tuple(kept), faults.get(i) or _stray_slice(ct, others)))
            reason = "other contours of its CT were chosen with --series"
            pairing.left_out += [(file, reason) for file in contours[i] if file not in kept]
    return pairing


def _is_scan(series: SeriesInfo) -> bool:
    return series.kind == "ct" and series.slices >= _LEAST_SLICES


def _chosen(export: Export, wanted: Collection[str]) -> set[str]:
    cts = {series.series_instance_uid for series in export.series if series.kind == "ct"}
    uids = sorted((cts | {file.series_instance_uid for file in export.contours}) - {""})
    chosen = set()
    for text in wanted:
        fitting = [uid for uid in uids if text == uid] or [
            uid for uid in uids if len(text) > 1 and (uid.startswith(text) or uid.endswith(text))
        ]
        if len(fitting) != 1:
            raise NasosegError(
                f"--series {text!r}: {len(fitting)} of {len(uids)} series of CT or contours in {export.root} fit,"
                " expected one: give the whole SeriesInstanceUID"
            )
        chosen.add(fitting[0])
    return chosen


def _owners(
    file: ContourFile, cts: Sequence[SeriesInfo], others: Sequence[SeriesInfo], chosen: Collection[str]
) -> tuple[list[int], str]:
    """Find the CTs that a file belongs to, by their place in ``cts``; and why there is none, or too many to know."""
    named, in_frame, loose, foreign = [], [], [], False
    for i, ct in enumerate(cts):
        is_named = bool(ct.series_instance_uid) and ct.series_instance_uid in file.referenced_series_uids
        shares_frame = bool(ct.frame_of_reference_uid) and ct.frame_of_reference_uid in file.frame_of_reference_uids
        if _other_patient(file, ct):
            foreign = foreign or is_named or shares_frame
            continue
        if is_named:
            named.append(i)
        if shares_frame:
            in_frame.append(i)
        if ct.patient == file.patient and not (ct.frame_of_reference_uid and file.frame_of_reference_uids):
            loose.append(i)
    if named:
        return [i for i in named if i in in_frame] or named, ""
    for series in others:
        if series.series_instance_uid in file.referenced_series_uids and not _other_patient(file, series):
            modality = series.modality or "unknown modality"
            return [], f"drawn on a series of {modality}{_DRAWN_ON[series.kind]}, expected a CT"
    fitting = in_frame or loose
    fitting = [i for i in fitting if cts[i].series_instance_uid in chosen] or fitting
    if len(fitting) > 1:
        return fitting[:1], _ambiguous(file, [cts[i] for i in fitting])
    if fitting:
        return fitting, ""
    if foreign:
        return [], "it refers to the CT of another patient: expected the same PatientID"
    if any(ct.patient == file.patient for ct in cts):
        return [], "drawn in another frame of reference than the patient's CT"
    return [], "its CT is not there"


def _other_patient(file: ContourFile, series: SeriesInfo) -> bool:
    mine, its = patient_id(file), patient_id(series)
    return bool(mine and its) and mine != its


def patient_id(found: SeriesInfo | ContourFile) -> str:
    """Return the PatientID; empty where the files have none."""
    path = found.files[0] if isinstance(found, SeriesInfo) else found.path
    return "" if found.patient in (found.study_instance_uid, str(path.parent)) else found.patient


def _ambiguous(file: ContourFile, cts: Sequence[SeriesInfo]) -> str:
    listed = "; ".join(
        f"{ct.series_instance_uid or '(no UID)'} ({ct.slices} slices, first file {ct.files[0]})"
        for ct in cts[:_MOST_LISTED]
    )
    more = f"; and {len(cts) - _MOST_LISTED} more" if len(cts) > _MOST_LISTED else ""
    return (
        f"{file.path}: may belong to {len(cts)} CT series and names none of them, expected one: choose with --series"
        f" UID: {listed}{more}"
    )


def _stray_slice(ct: SeriesInfo, others: Sequence[SeriesInfo]) -> str:
    """Tell whether a slice of a CT lies by itself, turned or in another frame of reference: it would be missing."""
    for other in others:
        same = (other.patient, other.series_instance_uid) == (ct.patient, ct.series_instance_uid)
        if same and other.kind == "ct" and ct.series_instance_uid:
            return (
                f"{other.files[0]}: has the SeriesInstanceUID of the CT in {ct.files[0].parent} and lies in another"
                " direction or frame of reference, expected all slices of a series alike: move it away if it is no"
                " part of the CT, or export the CT again"
            )
    return ""

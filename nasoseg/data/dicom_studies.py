"""Find what an export of DICOM files has for a store: CTs with contours, and what their ROIs mean."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from nasoseg.data.dicom_pairing import Pairing, pair_contours, patient_id
from nasoseg.data.dicom_patient import DicomPatient
from nasoseg.data.jobs import Progress
from nasoseg.data.structure_names import find_structure_names
from nasoseg.structure_map import StructureMap
from nasoseg.volumes.dicom_scan import scan_export
from nasoseg.volumes.dicom_series import ContourFile, Export, Kind, SeriesInfo

_KINDS: dict[Kind, str] = {
    "ct": " of one slice",
    "unplaced": " without places",
    "scout": " scout",
    "secondary": " picture",
    "other": "",
}


@dataclass
class DicomStudies:
    """Hold all that was found.

    Attributes:
        root: Where: the folder, or the one that a zip was unpacked to.
        found: CTs with contours.
        left_out: CTs and contour files that are not taken, each with the reason.
        notes: What was passed over, in words without file names.
        structures: Names of the structures that the ROIs mean.
        unknown: Names of ROIs that mean no structure, as they are.
    """

    root: Path
    found: list[DicomPatient] = field(default_factory=list)
    left_out: list[tuple[SeriesInfo | ContourFile, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    structures: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def identity(self, found: SeriesInfo | ContourFile) -> str:
        """Return what tells a patient from the others: PatientID, else StudyInstanceUID, else the folder."""
        if patient_id(found) or found.patient == found.study_instance_uid:
            return found.patient
        folder = Path(found.patient)
        return str(folder.relative_to(self.root)) if folder.is_relative_to(self.root) else "."

    def scans(self) -> list[tuple[str, str]]:
        """Return for every CT with contours what tells its patient, and what tells it, from the others."""
        seen: Counter[tuple[str, str]] = Counter()
        scans = []
        for patient in self.found:
            scan = (self.identity(patient.scan.series), scan_identity(patient.scan.series))
            seen[scan] += 1
            scans.append((scan[0], scan[1] if seen[scan] == 1 else f"{scan[1]}|{seen[scan]}"))
        return scans


def scan_identity(series: SeriesInfo) -> str:
    """Return what tells a CT from others of its patient."""
    return f"{series.series_instance_uid}|{series.frame_of_reference_uid}"


def find_dicom_studies(
    root: Path,
    structure_map: StructureMap,
    *,
    series: Collection[str] = (),
    resample: bool = False,
    bare: bool = False,
    archive: tuple[int, ...] = (),
    progress: Progress | None = None,
) -> DicomStudies:
    """Find all CTs with contours under a folder; no pixel and no contour is read.

    Args:
        root: The folder.
        structure_map: Says what the names of ROIs mean.
        series: As ``wanted`` of ``pair_contours``.
        resample: Put tilted or unevenly spaced slices onto a straight grid.
        bare: Take CTs too whose contours mean no structure.
        archive: Size and time of change of the zip that the folder was unpacked from.
        progress: Called after every contour file whose names were read.

    Raises:
        NasosegError: If a wanted series is not there. What is wrong with one patient is kept as his ``fault``.
    """
    export = scan_export(root)
    pairing = pair_contours(export, series)
    studies = DicomStudies(root, left_out=list(pairing.left_out), notes=_passed_over(export, pairing))
    files = dict.fromkeys(file.path for scan in pairing.found for file in scan.contours)
    names: dict[Path, _Names] = {}
    for done, path in enumerate(files, start=1):
        names[path] = _read_names(path, structure_map)
        if progress:
            progress("reading names", done, len(files))
    for scan in pairing.found:
        read = [names[file.path] for file in scan.contours]
        fault = scan.fault or next((one.fault for one in read if one.fault), "")
        rois = tuple(one.rois for one in read)
        if any(rois) or fault or bare:
            scan = replace(scan, fault=fault)
            studies.found.append(DicomPatient(scan, rois, structure_map, resample, archive))
        else:
            studies.left_out.append((scan.series, "none of its ROIs means a structure"))
        for one in read:
            studies.structures.update(one.rois.values())
            studies.unknown.update(one.unknown)
    return studies


@dataclass
class _Names:
    rois: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    fault: str = ""


def _read_names(path: Path, structure_map: StructureMap) -> _Names:
    found = find_structure_names(path)
    if found.unreadable or not found.files:
        why = found.unreadable[0][1] if found.unreadable else "not an RTSTRUCT or SEG of a known kind"
        return _Names(fault=f"{path}: {why}, expected RTSTRUCT or DICOM SEG: export it again, or move it away")
    file, names = found.files[0], _Names()
    stripped = [name.strip(" \0") for name in file.names]
    for name, roi_type in zip(stripped, file.roi_types, strict=True):
        match = structure_map.match(name, roi_type=roi_type)
        if match.rule == "unknown":
            names.unknown.append(name)
        elif match.rule == "conflict":
            names.fault = f"{path}: ROI {name!r}: {match.note}"
        elif match.structure and stripped.count(name) > 1:
            names.fault = f"{path}: {stripped.count(name)} ROIs are called {name!r}, expected one: rename the others"
        elif match.structure:
            names.rois[name] = match.structure.name
    return names


def _passed_over(export: Export, pairing: Pairing) -> list[str]:
    taken = {id(scan.series) for scan in pairing.found} | {id(entry) for entry, _ in pairing.left_out}
    kinds = Counter((s.modality or "of unknown kind") + _KINDS[s.kind] for s in export.series if id(s) not in taken)
    notes = []
    if kinds:
        notes.append("series passed over: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    lost = {path for scan in pairing.found for path, _ in scan.series.damaged}
    damaged = [path for path, _ in export.damaged if path not in lost]
    if damaged:
        notes.append(f"damaged files that belong to no CT taken here: {len(damaged)} passed over")
    if export.remarks:
        notes.append("files that are no DICOM were passed over")
    return notes

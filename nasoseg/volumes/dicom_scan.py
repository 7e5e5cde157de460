"""Find what an export holds: thousands of files sorted into series by their short headers.

A series here is what shares PatientID, SeriesInstanceUID, frame of reference, kind and orientation. Where an
anonymiser emptied SeriesInstanceUID, the folder stands for it. Files are told apart by what they hold, never by their
names, and a DICOMDIR is not followed.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydicom import Dataset
from pydicom.tag import Tag

from nasoseg.volumes.dicom_archive import opened
from nasoseg.volumes.dicom_header import (
    CT_CLASSES,
    ENHANCED_CLASSES,
    Header,
    items,
    numbers,
    read_header,
    text,
    tolerant,
    words,
)
from nasoseg.volumes.dicom_series import UNPLACED, ContourFile, DicomStudy, Export, Kind, SeriesInfo

SAME_DIRECTION = 1e-4
"""Slices belong together if no direction cosine differs by more: files round to four decimals at the coarsest, and at
half a metre from the first pixel this is 0.05 mm."""

_CONTOURS = ("RTSTRUCT", "SEG")
_SCOUTS = {"LOCALIZER", "SCOUT", "TOPOGRAM"}
_PICTURES = {"MIP", "MINIP", "MAX_IP", "MIN_IP", "PROJECTION IMAGE", "SCREEN SAVE", "VOLUME_RENDER"}


def find_series(path: str | os.PathLike[str]) -> list[SeriesInfo]:
    """List the series of images in a folder, a file or a zip, of however many patients.

    The files of a zip are gone when this returns: to go on reading, unpack it with ``opened`` first.

    Raises:
        NasosegError: If ``path`` is missing, or a zip that cannot be unpacked.
    """
    with opened(Path(path)) as root:
        return list(scan_export(root).series)


def find_studies(path: str | os.PathLike[str]) -> list[DicomStudy]:
    """List the studies in a folder, a file or a zip: images and contour files, by patient and StudyInstanceUID.

    Raises:
        NasosegError: As ``find_series``.
    """
    with opened(Path(path)) as root:
        export = scan_export(root)
    keys = dict.fromkeys((s.patient, s.study_instance_uid) for s in export.series)
    keys.update(dict.fromkeys((c.patient, c.study_instance_uid) for c in export.contours))
    return [
        DicomStudy(
            patient,
            study,
            tuple(s for s in export.series if (s.patient, s.study_instance_uid) == (patient, study)),
            tuple(c for c in export.contours if (c.patient, c.study_instance_uid) == (patient, study)),
        )
        for patient, study in keys
    ]


def scan_export(root: Path) -> Export:
    """Read the short header of every file under ``root`` and sort the files.

    About 1 ms a file; only what lies before the pixels, contours and doses is read.
    """
    groups: dict[tuple[object, ...], list[list[Header]]] = {}
    contours: list[ContourFile] = []
    damaged: list[Header] = []
    foreign: list[str] = []
    with tolerant():
        for path in _files(root):
            header = read_header(path)
            if header is None:
                foreign.append(str(path.relative_to(root if root.is_dir() else root.parent)))
            elif header.damage:
                damaged.append(header)
            elif (modality := text(header.dataset, "Modality")) in _CONTOURS:
                contours.append(_contour_file(header, modality))
            elif "Rows" not in header.dataset:
                if header.sop_class_uid in CT_CLASSES:
                    damaged.append(replace(header, damage="is a CT image without Rows"))
            else:
                _put(groups.setdefault(_key(header), []), header)
        grouped = [headers for alike in groups.values() for headers in alike]
        unplaced = [replace(h, damage=UNPLACED) for headers in grouped for h in headers if _kind(h) == "unplaced"]
        series = [_described(headers, [*damaged, *unplaced]) for headers in grouped]
    remarks = []
    if foreign:
        shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        remarks.append(f"not DICOM and passed over: {shown} ({len(foreign)} in all)")
    return Export(
        root,
        tuple(sorted(series, key=lambda s: s.files[0])),
        tuple(contours),
        tuple((header.path, header.damage) for header in damaged),
        tuple(remarks),
    )


def _files(root: Path) -> Iterator[Path]:
    """List all plain files, hidden ones and folders behind links excepted, in order of their names."""
    if root.is_file():
        yield root
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():  # no pipe, no device, no dead link
                yield path


def _kind(header: Header) -> Kind:
    modality, image_type = text(header.dataset, "Modality"), set(words(header.dataset, "ImageType"))
    if header.sop_class_uid not in (*CT_CLASSES, "") or modality not in ("CT", ""):
        return "secondary" if modality == "CT" else "other"
    if not header.sop_class_uid and not modality:
        return "other"
    if image_type & _SCOUTS:
        return "scout"
    if image_type & _PICTURES:
        return "secondary"
    if header.sop_class_uid in ENHANCED_CLASSES:
        return "ct"
    placed = (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
    return "ct" if all(numbers(header.dataset, keyword, count) for keyword, count in placed) else "unplaced"


def _patient(header: Header) -> str:
    dataset = header.dataset
    return text(dataset, "PatientID") or text(dataset, "StudyInstanceUID") or str(header.path.parent)


def _key(header: Header) -> tuple[object, ...]:
    """Tell series apart; not by StudyInstanceUID, which some writers make anew for every slice."""
    dataset = header.dataset
    uid = text(dataset, "SeriesInstanceUID")
    place = (text(dataset, "PatientID"), uid or str(header.path.parent), text(dataset, "FrameOfReferenceUID"))
    return (*place, text(dataset, "Modality"), _kind(header))


def _put(alike: list[list[Header]], header: Header) -> None:
    """Add an image to the series of its orientation."""
    mine = _directions(header)
    for headers in alike:
        if all(abs(a - b) <= SAME_DIRECTION for a, b in zip(mine, _directions(headers[0]), strict=True)):
            headers.append(header)
            return
    alike.append([header])


def _directions(header: Header) -> tuple[float, ...]:
    return numbers(header.dataset, "ImageOrientationPatient", 6) or (0.0,) * 6


def _described(headers: Sequence[Header], damaged: Sequence[Header]) -> SeriesInfo:
    first = headers[0]
    dataset, folders = first.dataset, {header.path.parent for header in headers}
    uid, kind = text(dataset, "SeriesInstanceUID"), _kind(first)
    lost = [
        d
        for d in damaged
        if kind == "ct" and (_known_series(d) == uid if _known_series(d) else d.path.parent in folders)
    ]
    return SeriesInfo(
        kind=kind,
        modality=text(dataset, "Modality") or "CT" * (kind == "ct"),
        patient=_patient(first),
        study_instance_uid=text(dataset, "StudyInstanceUID"),
        series_instance_uid=uid,
        frame_of_reference_uid=text(dataset, "FrameOfReferenceUID"),
        description=_description(dataset),
        files=tuple(header.path for header in headers),
        slices=sum(_frames(header) for header in headers),
        damaged=tuple((d.path, d.damage) for d in lost),
    )


def _known_series(damaged: Header) -> str:
    """Return the series of a damaged file; empty where the file ends before or within it."""
    whole = max(damaged.dataset.keys(), default=0) > Tag("SeriesInstanceUID")  # without decoding what is damaged
    return text(damaged.dataset, "SeriesInstanceUID") if whole else ""


def _frames(header: Header) -> int:
    return int((numbers(header.dataset, "NumberOfFrames", 1) or (1.0,))[0])


def _description(dataset: Dataset) -> str:
    """Return SeriesDescription unless it names the patient: it is shown where a series must be chosen."""
    description = " ".join(text(dataset, "SeriesDescription").split())
    identifying = f"{text(dataset, 'PatientName')} {text(dataset, 'PatientID')}".casefold()
    for mark in "^=,.-_":
        identifying = identifying.replace(mark, " ")
    named = any(len(word) > 2 and word in description.casefold() for word in identifying.split())
    return "" if named else description


def _contour_file(header: Header, modality: str) -> ContourFile:
    dataset = header.dataset
    frames = [text(item, "FrameOfReferenceUID") for item in items(dataset, "ReferencedFrameOfReferenceSequence")]
    series = [text(item, "SeriesInstanceUID") for item in items(dataset, "ReferencedSeriesSequence")]
    for frame in items(dataset, "ReferencedFrameOfReferenceSequence"):
        for study in items(frame, "RTReferencedStudySequence"):
            series += [text(item, "SeriesInstanceUID") for item in items(study, "RTReferencedSeriesSequence")]
    own = text(dataset, "FrameOfReferenceUID") if modality == "SEG" else ""
    return ContourFile(
        path=header.path,
        modality=modality,
        patient=_patient(header),
        study_instance_uid=text(dataset, "StudyInstanceUID"),
        series_instance_uid=text(dataset, "SeriesInstanceUID"),
        frame_of_reference_uids=tuple(dict.fromkeys(uid for uid in (*frames, own) if uid)),
        referenced_series_uids=tuple(dict.fromkeys(uid for uid in series if uid)),
    )

"""Find the names of structures in a folder: RTSTRUCT, DICOM SEG, and folders of masks. No voxel is read."""

import os
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pydicom
from pydicom.dataelem import RawDataElement

from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom_archive import opened
from nasoseg.volumes.header import split_name

Kind = Literal["RTSTRUCT", "SEG", "masks"]

_CLASSES: dict[str, Kind] = {
    "1.2.840.10008.5.1.4.1.1.481.3": "RTSTRUCT",
    "1.2.840.10008.5.1.4.1.1.66.4": "SEG",
    "1.2.840.10008.5.1.4.1.1.66.7": "SEG",  # as a label map
}
_HEAD_BYTES = 4096  # the SOP class stands in the first of them, in the file's meta group or at the data's beginning
_UNDEFINED = 0xFFFFFFFF  # length of an element that ends with a delimiter
_TAGS = [
    "SpecificCharacterSet", "SOPClassUID", "PatientID", "StructureSetROISequence", "RTROIObservationsSequence",
    "SegmentSequence",
]  # fmt: skip


@dataclass(frozen=True)
class NamedFile:
    """Hold the names in one file, or in one folder of masks.

    Attributes:
        path: Where it is.
        kind: What it is.
        patient: What tells patients apart: the PatientID, or the folder of the masks; not for printing.
        names: The names of its structures, as they are: untrusted text; one may be there twice.
        roi_types: The RT ROI Interpreted Type of each; empty where none is given.
    """

    path: Path
    kind: Kind
    patient: str
    names: tuple[str, ...]
    roi_types: tuple[str, ...]


@dataclass
class FoundNames:
    """Hold what a folder has.

    Attributes:
        files: The files with names, by path.
        unreadable: Files and folders that could not be read, with the reason.
    """

    files: list[NamedFile] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


def find_structure_names(root: Path, *, progress: Callable[[str, int, int], None] | None = None) -> FoundNames:
    """Find all names under a folder, however deep; of links to folders, each is followed once.

    Args:
        root: The folder, one file, or a zip.
        progress: Called as ``progress("files", done, total)``.

    Returns:
        What was found. A file is unreadable if it is an RTSTRUCT or SEG that cannot be parsed, ends in .dcm and is no
        DICOM, or may not be read; other files are passed over.

    Raises:
        NasosegError: If there is no such folder, or a zip cannot be unpacked.
    """
    if not root.exists():
        raise NasosegError(f"{root}: no such folder: expected one with RTSTRUCT, DICOM SEG or segmentations/*.nii.gz")
    with opened(root) as unpacked:
        found = _find(unpacked, progress)
    if unpacked != root:  # named as in the zip: what it was unpacked to is gone
        found.files = [replace(file, path=root / file.path.relative_to(unpacked)) for file in found.files]
        found.unreadable = [(root / path.relative_to(unpacked), why) for path, why in found.unreadable]
    return found


def _find(root: Path, progress: Callable[[str, int, int], None] | None) -> FoundNames:
    found = FoundNames()
    paths = sorted(_walk(root, found)) if root.is_dir() else [root]
    masks: dict[Path, list[str]] = {}
    for done, path in enumerate(paths, start=1):
        stem, ending = split_name(path)
        if ending and path.parent.name == "segmentations":
            masks.setdefault(path.parent, []).append(stem)
        elif not ending:
            _read(path, found)
        if progress:
            progress("files", done, len(paths))
    for folder, names in masks.items():
        found.files.append(NamedFile(folder, "masks", str(folder.parent), tuple(names), ("",) * len(names)))
    return found


def _walk(root: Path, found: FoundNames) -> Iterator[Path]:
    """Yield all files but hidden ones."""
    seen: set[tuple[int, int]] = set()

    def refused(error: OSError) -> None:
        found.unreadable.append((Path(error.filename), error.strerror or str(error)))

    for folder, folders, files in os.walk(root, onerror=refused, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:  # a link back
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in files if not name.startswith("."))


def _read(path: Path, found: FoundNames) -> None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait
            return
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if head[128:132] != b"DICM" and head[:2] not in (b"\x08\x00", b"\x02\x00"):  # no preamble, no meta group
            if path.suffix.lower() == ".dcm":
                found.unreadable.append((path, "no DICOM file"))
            return
        if not any(uid.encode() in head for uid in _CLASSES):
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that break the standard; names are taken as they are
            named = _named(path, pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS), force=True))
        if named:
            found.files.append(named)
    except OSError as error:
        found.unreadable.append((path, error.strerror or f"damaged: {error}"))  # pydicom's own have no number
    except Exception as error:  # a damaged file makes pydicom raise of almost any kind
        found.unreadable.append((path, f"damaged: {' '.join(str(error).split())[:120] or type(error).__name__}"))


def _named(path: Path, header: Any) -> NamedFile | None:
    for tag in _TAGS:
        element = header.get_item(tag)
        if isinstance(element, RawDataElement) and len(element.value or b"") < element.length != _UNDEFINED:
            raise EOFError(f"{tag} ends with the file")  # pydicom reads what is there and says nothing
    kind = _CLASSES.get(str(header.get("SOPClassUID", "")))
    if kind is None:
        return None
    if kind == "SEG":
        names = [_text(segment.get("SegmentLabel")) for segment in header.SegmentSequence]
        types = [""] * len(names)
    else:
        observed = header.get("RTROIObservationsSequence") or ()
        by_number = {str(o.get("ReferencedROINumber")): _text(o.get("RTROIInterpretedType")) for o in observed}
        rois = header.StructureSetROISequence or ()
        names = [_text(roi.get("ROIName")) for roi in rois]
        types = [by_number.get(str(roi.get("ROINumber")), "") for roi in rois]
    patient = _text(header.get("PatientID")).strip() or str(path.parent)
    return NamedFile(path, kind, patient, tuple(names), tuple(types))


def _text(value: Any) -> str:
    """Return a value as text; a backslash makes several values of a name."""
    if value is None:
        return ""
    return value if isinstance(value, str) or not isinstance(value, Iterable) else "\\".join(map(str, value))

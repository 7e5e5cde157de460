"""The short header of one DICOM file: what is needed to sort thousands of files, read without their pixels."""

import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom import Dataset, Sequence
from pydicom.config import disable_value_validation
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_partial
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
)

from nasoseg.errors import NasosegError

CT_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
ENHANCED_CLASSES = CT_CLASSES[1:]

_KEYWORDS = (
    *("ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesDescription", "ReferencedSeriesSequence"),
    *("PatientName", "PatientID", "SliceThickness", "GantryDetectorTilt"),
    *("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleIntercept", "RescaleSlope", "RescaleType", "LossyImageCompression"),
    "ReferencedFrameOfReferenceSequence",
)
TAGS = [Tag(keyword) for keyword in _KEYWORDS]
FRAME_TAGS = [Tag("SharedFunctionalGroupsSequence"), Tag("PerFrameFunctionalGroupsSequence")]

_LONGEST_TEXT = 1024  # PS3.5 table 6.2-1: short text; names, UIDs and descriptions, which messages show, are shorter
_PIXEL_DATA = 0x7FE00010
_MOST_DEFLATED = 2**30  # bytes; a deflated file that unpacks to more is refused
_DEFLATED_AT_ONCE, _INFLATED_AT_ONCE = 2**20, 2**24  # bytes


@dataclass(frozen=True)
class Header:
    """Hold what the beginning of a file says.

    Attributes:
        path: The file.
        dataset: Its elements among ``TAGS``, with ``file_meta``; empty where the file is damaged early.
        transfer_syntax: How its elements and pixels are stored; guessed where the file does not say.
        pixels_at: Byte at which the value of PixelData begins; None if there is none, or the file is deflated.
        pixels_length: Its length in bytes; 0xFFFFFFFF where the pixels are compressed.
        file_size: Bytes in the file.
        damage: What is wrong with the file, as a clause; empty if nothing is.
    """

    path: Path
    dataset: Dataset
    transfer_syntax: str = ""
    pixels_at: int | None = None
    pixels_length: int = 0
    file_size: int = 0
    damage: str = ""

    @property
    def sop_class_uid(self) -> str:
        """Kind of object; from the file's preface where the data set leaves it empty, as some anonymisers do."""
        return text(self.dataset, "SOPClassUID") or _meta(self.dataset, "MediaStorageSOPClassUID")

    @property
    def sop_instance_uid(self) -> str:
        """The object's own UID; from the file's preface where the data set leaves it empty."""
        return text(self.dataset, "SOPInstanceUID") or _meta(self.dataset, "MediaStorageSOPInstanceUID")


@contextmanager
def tolerant() -> Iterator[None]:
    """Let pydicom take values as they are; its warnings, which may quote them, are not shown."""
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def read_header(path: Path, *, frames: bool = False) -> Header | None:
    """Read the short header of a file; None if it is no DICOM file.

    Args:
        path: The file.
        frames: Read the functional groups of a multi-frame image too.
    """
    try:
        with path.open("rb") as file:
            size, start = os.fstat(file.fileno()).st_size, file.read(1024)
            if not start.strip(b"\0"):
                return Header(path, _empty(), file_size=size, damage="is empty or holds zeros only")
            if not _is_dicom(start):
                return None
            if DeflatedExplicitVRLittleEndian.encode() in start and (fault := _deflation_fault(file)):
                return Header(path, _empty(), file_size=size, damage=fault)
            file.seek(0)
            return _parse(path, file, size, TAGS + FRAME_TAGS if frames else TAGS)
    except OSError as error:
        return Header(path, _empty(), damage=f"cannot be read ({error.strerror})")


def refusal(header: Header, found: str, expected: str, *, frame: int | None = None) -> NasosegError:
    """Word an error about one file, or about one frame of it."""
    where = f"{header.path}: " if frame is None else f"{header.path}: frame {frame}: "
    return NasosegError(f"{where}found {found}, expected {expected}")


def _is_dicom(start: bytes) -> bool:
    """Tell whether a file begins as DICOM does; old exports lack the preface, and begin with a low group at once."""
    if start[128:132] == b"DICM":
        return True
    group, element = start[0:2], start[2:4]
    return group in (b"\x02\x00", b"\x08\x00") and element < b"\x20" and len(start) > 8


def _deflation_fault(file: BinaryIO) -> str:
    """Measure, without keeping it, what a deflated file holds: pydicom would unpack any amount into memory."""
    file.seek(132)
    first = file.read(12)  # the length of group 2, after which the deflated part begins
    if first[:4] != b"\x02\x00\x00\x00":
        return "is deflated and does not say from where on"
    file.seek(144 + int.from_bytes(first[8:12], "little"))
    inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    try:
        data = file.read(_DEFLATED_AT_ONCE)
        while data and total <= _MOST_DEFLATED:
            total += len(inflater.decompress(data, _INFLATED_AT_ONCE))
            data = inflater.unconsumed_tail or file.read(_DEFLATED_AT_ONCE)
    except zlib.error:
        return "cannot be inflated"
    return f"inflates to more than {_MOST_DEFLATED} bytes" if total > _MOST_DEFLATED else ""


def _parse(path: Path, file: BinaryIO, size: int, tags: list[BaseTag]) -> Header:
    end: dict[str, int] = {}

    def stop(tag: BaseTag, vr: str | None, length: int) -> bool:
        # Before pixels of any kind, and before the contours, doses and beams of radiotherapy objects, which are long.
        if tag >= 0x7FE00003 or 0x30060010 < tag < 0x30070000 or 0x300A0000 <= tag < 0x300F0000:
            end.update(tag=int(tag), at=file.tell(), length=length)
            return True
        return False

    damage, dataset = "", _empty()
    try:
        dataset = read_partial(file, stop_when=stop, force=True, specific_tags=list(tags))
    except Exception as error:  # damaged bytes make pydicom raise almost anything
        damage = f"has a header that cannot be read ({type(error).__name__})"
    syntax = _meta(dataset, "TransferSyntaxUID") or (
        ImplicitVRLittleEndian if dataset.original_encoding[0] is not False else ExplicitVRLittleEndian
    )
    found = end.get("tag") == _PIXEL_DATA
    header = Header(
        path,
        dataset,
        transfer_syntax=str(syntax),
        pixels_at=end["at"] if found and syntax != DeflatedExplicitVRLittleEndian else None,
        pixels_length=end["length"] if found else 0,
        file_size=size,
        damage=damage,
    )
    if not damage and not found and header.sop_class_uid in (*CT_CLASSES, ""):
        damage = "has no PixelData: it is cut short, or was exported without its pixels"
    elif header.pixels_at is not None and header.pixels_length != 0xFFFFFFFF:
        missing = header.pixels_at + header.pixels_length - size
        if missing > 0:
            damage = f"is cut short: the last {missing} bytes of its pixels are missing"
    return replace(header, damage=damage)


def _empty() -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    return dataset


def _meta(dataset: Dataset, keyword: str) -> str:
    return text(getattr(dataset, "file_meta", Dataset()), keyword)


def _value(dataset: Dataset, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except Exception:  # the bytes are turned into a value only now, and damaged ones raise almost anything
        return None


def text(dataset: Dataset, keyword: str) -> str:
    """Return an element as stripped text, 1024 characters at most; empty where it is missing, empty or malformed."""
    value = _value(dataset, keyword)
    return "" if value is None else str(value).strip(" \0")[:_LONGEST_TEXT]


def words(dataset: Dataset, keyword: str) -> list[str]:
    """Return the values of an element as upper-case text."""
    value = _value(dataset, keyword)
    # A damaged element can have the type of any other: a number, a sequence.
    values = [] if value is None else list(value) if isinstance(value, MultiValue) else [value]
    return [str(v).strip(" \0").upper() for v in values]


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none where it is missing or malformed."""
    value = _value(dataset, keyword)
    return [item for item in value if len(item)] if isinstance(value, Sequence) else []


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return an element as ``count`` finite numbers; None where it is missing or is anything else."""
    value = _value(dataset, keyword)
    try:
        found = tuple(float(v) for v in (value if count > 1 else [value]))
    except (TypeError, ValueError, OverflowError):
        return None
    return found if len(found) == count and np.isfinite(found).all() else None

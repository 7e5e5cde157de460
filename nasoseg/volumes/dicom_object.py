"""One DICOM object that is no image: opened, checked for its kind and that it is whole, its faults worded."""

import mmap
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian

from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom_header import text, tolerant

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
# PS3.5 table 7.1-1: value representations with a length of four bytes, after two that are reserved.
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))


def read_object(path: Path, classes: Mapping[str, str]) -> pydicom.Dataset:
    """Read a DICOM object of one of some kinds.

    Args:
        path: The file; one without the DICOM preamble is read too.
        classes: SOP class UIDs that are expected, each with its name.

    Raises:
        NasosegError: If the file is missing, damaged, cut short, no DICOM or of another kind.
    """
    expected = " or ".join(sorted(set(classes.values())))
    if not path.is_file():
        raise NasosegError(f"{path}: no such file: expected a DICOM {expected}")
    with understood(path, expected):
        dataset = pydicom.dcmread(path, force=True)
        sop_class = text(dataset, "SOPClassUID")
        modality = text(dataset, "Modality")
        if sop_class not in classes:
            kind = f"SOP class {sop_class[:64]}, modality {modality[:16] or 'empty'}"  # the most that DICOM allows
            found = kind if sop_class else "no DICOM object"
            raise NasosegError(f"{path}: found {found}: expected a DICOM {expected}")
        _check_whole(path, dataset)
    return dataset


@contextmanager
def understood(path: Path, expected: str) -> Iterator[None]:
    """Take odd values as they are, and turn whatever a damaged file raises in the block into one error that names it.

    Raises:
        NasosegError: In place of any other error.
    """
    try:
        with tolerant():
            yield
    except NasosegError:
        raise
    except Exception as error:  # damaged bytes make pydicom and highdicom raise almost anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise NasosegError(
            f"{path}: cannot be read ({reason}): expected a whole DICOM {expected}; it may be cut short or damaged:"
            " export it again"
        ) from error


def _check_whole(path: Path, dataset: pydicom.Dataset) -> None:
    """Check that the file ends where its last element does.

    pydicom stops without a word where a file ends too early: the contours that follow would be missing.

    Raises:
        EOFError: If the file is cut short.
    """
    implicit, little = dataset.original_encoding
    if text(getattr(dataset, "file_meta", pydicom.Dataset()), "TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return  # zlib sees to it
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = 132 if data[128:132] == b"DICM" else 0
        preface = _Walk(data, explicit=True, little=True)
        while data[at : at + 2] == b"\x02\x00":  # group 2 is explicit little endian always
            at = preface.element(at)[1]
        walk = _Walk(data, explicit=not implicit, little=bool(little))
        while data[at : at + 8].strip(b"\0"):  # some writers pad the end with zeros
            at = walk.element(at)[1]
        if at > len(data):
            raise EOFError(f"the last {at - len(data)} bytes are missing")


class _Walk:
    """Find where elements end; only what is of undefined length is looked into."""

    def __init__(self, data: mmap.mmap, *, explicit: bool, little: bool) -> None:
        self._data, self._explicit, self._order = data, explicit, "<" if little else ">"

    def element(self, at: int) -> tuple[tuple[int, int], int]:
        """Return the tag of the element that begins at a byte, and the byte after its value."""
        group, element = self._numbers("HH", at)
        tag = (group, element)
        vr = self._data[at + 4 : at + 6] if self._explicit and tag[0] != 0xFFFE else b""
        if not vr or vr in _LONG:
            length_at = at + 4 if not vr else at + 8
            (length,) = self._numbers("I", length_at)
            at = length_at + 4
        else:
            (length,) = self._numbers("H", at + 6)
            at += 8
        if tag in (_ITEM_END, _SEQUENCE_END):
            return tag, at
        if length != _UNDEFINED:
            return tag, at + length
        inside = _Walk(self._data, explicit=False, little=True) if vr == b"UN" else self  # PS3.5, 6.2.2
        last = _ITEM_END if tag == _ITEM else _SEQUENCE_END
        found = (0, 0)
        while found != last:
            found, at = inside.element(at)
        return tag, at

    def _numbers(self, what: str, at: int) -> tuple[int, ...]:
        if at + struct.calcsize(what) > len(self._data):
            raise EOFError("the file ends within an element")
        return struct.unpack_from(self._order + what, self._data, at)

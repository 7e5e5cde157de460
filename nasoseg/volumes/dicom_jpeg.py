"""Slices in JPEG of the old kind, lossless or lossy (not JPEG-LS, not JPEG 2000), decoded by GDCM.

GDCM ends the whole process on streams that contradict their image or carry odd comments, so they are checked first.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

JPEG_SYNTAXES = {
    JPEGBaseline8Bit: "JPEGBaselineProcess1",
    JPEGExtended12Bit: "JPEGExtendedProcess2_4",
    JPEGLossless: "JPEGLosslessProcess14",
    JPEGLosslessSV1: "JPEGLosslessProcess14_1",
}
"""The transfer syntaxes, with GDCM's names for them."""

_LOSSLESS = (JPEGLossless, JPEGLosslessSV1)
# Markers, ITU-T T.81 table B.1
_START, _END, _SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
_TABLES = (0xC4, 0xDB, 0xDD)  # Huffman, quantisation, restart interval
_IGNORED = (*range(0xE0, 0xF0), 0xFE)  # applications' data and comments
_FRAMES = {JPEGBaseline8Bit: (0xC0,), JPEGExtended12Bit: (0xC0, 0xC1), JPEGLossless: (0xC3,), JPEGLosslessSV1: (0xC3,)}


def decode_jpeg(
    stream: bytes, syntax: UID, *, rows: int, columns: int, bits: tuple[int, int], signed: bool
) -> npt.NDArray[Any]:
    """Decode one slice.

    Args:
        stream: Its JPEG stream.
        syntax: One of ``JPEG_SYNTAXES``.
        rows: Rows of the image, as are the next three the header's.
        columns: Columns.
        bits: Bits allocated and stored.
        signed: Whether the highest stored bit is a sign; the bits above it are undefined.

    Raises:
        ValueError: If the stream is damaged, or of another kind, size or depth than its image.
    """
    import gdcm  # here: slow to import, and rarely needed

    allocated, stored = bits
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(_checked(stream, syntax, rows=rows, columns=columns, allocated=allocated))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    image.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, JPEG_SYNTAXES[syntax])))
    image.SetPixelFormat(gdcm.PixelFormat(1, allocated, stored, stored - 1, int(signed)))
    found: str | None = image.GetBuffer()  # bytes, disguised
    if found is None:
        raise ValueError("damaged JPEG data")
    dtype = np.dtype(f"<{'i' if signed else 'u'}{allocated // 8}")
    return np.frombuffer(found.encode("utf-8", "surrogateescape"), dtype).reshape(rows, columns)


def _checked(stream: bytes, syntax: UID, *, rows: int, columns: int, allocated: int) -> bytes:
    """Check the segments of a stream up to its one scan, and leave out those that are no part of the image."""
    if stream[:2] != _START or _END not in stream[-16:]:
        raise ValueError("a JPEG stream without beginning or end")
    kept, at, framed = [_START], 2, False
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4])
        segment, whole = stream[at + 4 : end], stream[at:end]
        if marker == _SCAN:
            first = range(1, 8) if syntax in _LOSSLESS else (0,)  # predictor, or first coefficient
            if not framed or len(segment) != 6 or segment[0] != 1 or segment[3] not in first:
                break
            return b"".join((*kept, stream[at:]))
        if marker in _FRAMES[syntax] and not framed and len(segment) == 9:
            size = (int.from_bytes(segment[1:3]), int.from_bytes(segment[3:5]), segment[5])
            if size != (rows, columns, 1) or not allocated // 2 < segment[0] <= allocated:
                raise ValueError(
                    f"a JPEG stream of {size[0]} x {size[1]} pixels of {segment[0]} bits for an image of {rows} x"
                    f" {columns} pixels of {allocated} bits"
                )
            framed = True
        elif marker not in (*_TABLES, *_IGNORED):
            break
        if marker not in _IGNORED:
            kept.append(whole)
        at = end
    raise ValueError("a JPEG stream that is damaged or of another kind than the file says")

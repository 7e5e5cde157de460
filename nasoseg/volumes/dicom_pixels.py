"""From the stored pixels of slices to HU."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    RLELossless,
    UncompressedTransferSyntaxes,
)

from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom_jpeg import JPEG_SYNTAXES, decode_jpeg
from nasoseg.volumes.dicom_slices import Slice

AIR_HU = -1024
"""HU of what was not measured: pixels with the file's padding value, and the surroundings of a straightened scan."""

_TISSUE_HU = (-900, 3071)  # lung is above -900; a padding value in between is not believed: it would blank anatomy
_INT16 = np.iinfo(np.int16)
_PLUGINS = {  # as fast or faster than GDCM, which ends the whole process on some damaged JPEG 2000
    **dict.fromkeys(JPEG2000TransferSyntaxes, "pylibjpeg"),
    **dict.fromkeys(JPEGLSTransferSyntaxes, "pyjpegls"),
}
_AS_STORED = (*UncompressedTransferSyntaxes, RLELossless)

Counts = defaultdict[str, int]
"""Remarks, each with a place for the number of pixels or slices that it holds for, and that number."""


def read_hu(slices: Sequence[Slice]) -> tuple[npt.NDArray[Any], list[str]]:
    """Read the pixels of slices as HU.

    Returns:
        (slice, row, column), int16; float32 where a rescale is not of whole numbers or HU exceed int16. And remarks.

    Raises:
        NasosegError: If the pixels of a file cannot be read; names it.
    """
    rows, columns = slices[0].plane.rows, slices[0].plane.columns
    whole = all(s.slope.is_integer() and s.intercept.is_integer() for s in slices)
    volume = np.empty((len(slices), rows, columns), np.int16 if whole else np.float32)
    beyond: dict[int, npt.NDArray[Any]] = {}
    counts: Counts = defaultdict(int)
    for index, stored in _stored(slices, counts):
        hu = _to_hu(stored, slices[index], counts)
        if whole and (hu.min() < _INT16.min or hu.max() > _INT16.max):
            beyond[index] = hu
        else:
            volume[index] = hu
    if beyond:
        volume = volume.astype(np.float32)
        for index, hu in beyond.items():
            volume[index] = hu
    if lossy := sum(s.stored.lossy for s in slices):
        counts["{} slices were compressed with loss, or with a method that may lose: HU are approximate"] = lossy
    return volume, [remark.format(count) for remark, count in counts.items()]


def _stored(slices: Sequence[Slice], counts: Counts) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Give index and stored pixels of every slice, file by file."""
    by_file: defaultdict[Path, list[int]] = defaultdict(list)
    for index, one in enumerate(slices):
        by_file[one.path].append(index)
    for path, indices in by_file.items():
        try:
            at = slices[indices[0]].stored.at
            if at is None:
                dataset = dcmread(path, force=True)  # some lack the preamble
                for index in indices:
                    yield index, _decoded(dataset, slices[index], counts)
            else:
                for index in indices:
                    yield index, _native(slices[index], at, counts)
        except BaseException as error:  # decoders raise almost anything
            # The decoder of RLE is Rust, whose panics are no Exception to Python (pydicom/pylibjpeg-rle).
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise NasosegError(
                f"{path}: its pixels cannot be read ({reason}): expected a whole image in a known transfer syntax: copy"
                " or export the file again, uncompressed if it is whole"
            ) from error


def _native(one: Slice, at: int, counts: Counts) -> npt.NDArray[Any]:
    allocated = one.stored.bits[0]
    count = one.plane.rows * one.plane.columns
    dtype = np.dtype(f"<{'i' if one.stored.signed else 'u'}{allocated // 8}")
    offset = at + ((one.plane.frame or 1) - 1) * count * dtype.itemsize
    pixels = np.fromfile(one.path, dtype, count, offset=offset)
    return _aligned(pixels.reshape(one.plane.rows, one.plane.columns), one, counts)


def _decoded(dataset: Dataset, one: Slice, counts: Counts) -> npt.NDArray[Any]:
    """Decode one frame: old JPEG by GDCM, all else by pydicom's plugins."""
    index, syntax = (one.plane.frame or 1) - 1, one.stored.syntax
    rows, columns = one.plane.rows, one.plane.columns
    if syntax in JPEG_SYNTAXES:
        stream = get_frame(dataset.PixelData, index, number_of_frames=one.stored.frames)
        bits, signed = one.stored.bits[:2], one.stored.signed
        pixels = decode_jpeg(stream, syntax, rows=rows, columns=columns, bits=bits, signed=signed)
    elif syntax in _AS_STORED:
        pixels = np.asarray(pixel_array(dataset, index=index, raw=True, correct_unused_bits=False))
    else:
        pixels = np.asarray(pixel_array(dataset, index=index, raw=True, decoding_plugin=_PLUGINS.get(syntax, "")))
    if pixels.shape != (rows, columns):
        raise ValueError(f"decoded to {pixels.shape} pixels")
    # What is left in unused bits is the others' concern.
    return _aligned(pixels, one, counts) if syntax in (*_AS_STORED, *JPEG_SYNTAXES) else pixels


def _aligned(pixels: npt.NDArray[Any], one: Slice, counts: Counts) -> npt.NDArray[Any]:
    """Move the used bits down, extend their sign, and drop what lies in the others (old files keep overlays there)."""
    allocated, stored, high = one.stored.bits
    if stored == allocated:
        return pixels
    used = np.asarray(pixels << (allocated - 1 - high) >> (allocated - stored))
    if high == stored - 1:
        strange = int(np.count_nonzero((used != pixels) & (pixels & (2**stored - 1) != pixels)))
        if strange:
            counts[f"{{}} pixels use bits above BitsStored {stored}: those bits were ignored"] += strange
    return used


def _to_hu(stored: npt.NDArray[Any], one: Slice, counts: Counts) -> npt.NDArray[Any]:
    """Apply the slice's own rescale, and turn padding into air."""
    hu = stored.astype(np.float64) * one.slope + one.intercept
    if one.stored.padding is not None:
        low, high = one.stored.padding
        ends = [end * one.slope + one.intercept for end in (low, high)]
        padded = (stored >= low) & (stored <= high)
        count = int(np.count_nonzero(padded))
        if count and ends[1] >= _TISSUE_HU[0] and ends[0] <= _TISSUE_HU[1]:
            name = (
                f"PixelPaddingValue means {ends[0]:g} HU, which tissue may have: its {{}} pixels are left as they are"
            )
            counts[name] += count
        elif count:
            hu[padded] = AIR_HU
            counts[f"{{}} pixels with the padding value are read as air, {AIR_HU} HU"] += count
    return hu

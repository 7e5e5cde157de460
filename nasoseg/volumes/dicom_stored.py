"""How a file stores the pixels of its slices: what the header claims, checked against the file."""

from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, UncompressedTransferSyntaxes

from nasoseg.volumes.dicom_header import Header, numbers, refusal, text
from nasoseg.volumes.volume import LARGEST_SIDE

_AS_THEY_ARE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
_MOST_INFLATION = 10_000  # JPEG-LS and JPEG 2000 shrink an empty slice a thousandfold, and a header adds its bytes


@dataclass(frozen=True)
class StoredPixels:
    """Say how a file stores its pixels.

    Attributes:
        syntax: Transfer syntax.
        at: Byte at which they begin, where they lie in the file as they are; else None.
        frames: Number of slices in the file.
        bits: Bits allocated, bits stored, and the highest bit in use, as in the header.
        signed: Whether the highest bit in use is a sign.
        padding: First and last stored value that mean "no measurement"; None where there is none.
        lossy: Whether they were compressed with loss, or may have been.
    """

    syntax: UID
    at: int | None
    frames: int
    bits: tuple[int, int, int]
    signed: bool
    padding: tuple[int, int] | None
    lossy: bool


def stored_pixels(header: Header) -> StoredPixels:
    """Find out how a file stores its pixels, before any memory is taken for them.

    Raises:
        NasosegError: If it is no image of one grey value a pixel, or cannot hold the pixels that its header claims.
    """
    dataset = header.dataset

    def whole(keyword: str, default: int) -> int:
        return int((numbers(dataset, keyword, 1) or (default,))[0])

    rows, columns, frames = whole("Rows", 0), whole("Columns", 0), whole("NumberOfFrames", 1)
    if not (1 <= rows <= LARGEST_SIDE and 1 <= columns <= LARGEST_SIDE and 1 <= frames <= LARGEST_SIDE):
        raise refusal(header, f"{frames} slices of {rows} x {columns} pixels", f"1 to {LARGEST_SIDE} of each")
    kind = (whole("SamplesPerPixel", 1), text(dataset, "PhotometricInterpretation"))
    if kind not in ((1, "MONOCHROME2"), (1, "MONOCHROME1"), (1, "")):
        raise refusal(header, f"{kind[0]} values a pixel ({kind[1][:16]})", "one grey value: it is no CT slice")
    allocated = whole("BitsAllocated", 0)
    stored = whole("BitsStored", allocated)
    high = whole("HighBit", stored - 1)
    if allocated not in (8, 16, 32) or not stored - 1 <= high < allocated or stored < 1:
        raise refusal(
            header,
            f"BitsAllocated {allocated}, BitsStored {stored}, HighBit {high}",
            "8, 16 or 32 bits that hold the stored ones: export the CT again",
        )
    claimed = rows * columns * frames * allocated // 8
    syntax = UID(header.transfer_syntax)
    native = header.pixels_at is not None and syntax in _AS_THEY_ARE
    held = header.pixels_length if native else header.file_size * _MOST_INFLATION
    if claimed > held:
        raise refusal(
            header,
            f"{held if native else header.file_size} bytes of pixels",
            f"{claimed} bytes for {frames} x {rows} x {columns} pixels, as its header says: copy or export it again",
        )
    signed = whole("PixelRepresentation", 0) == 1
    return StoredPixels(
        syntax=syntax,
        at=header.pixels_at if native else None,
        frames=frames,
        bits=(allocated, stored, high),
        signed=signed,
        padding=_padding(dataset, allocated, signed=signed),
        lossy=_is_lossy(dataset, syntax),
    )


def _is_lossy(dataset: Dataset, syntax: UID) -> bool:
    said = text(dataset, "LossyImageCompression")
    name = syntax.keyword
    lossless = syntax in UncompressedTransferSyntaxes or ("Lossless" in name and "NearLossless" not in name)
    return said == "01" or (said != "00" and not lossless)


def _padding(dataset: Dataset, allocated: int, *, signed: bool) -> tuple[int, int] | None:
    value = numbers(dataset, "PixelPaddingValue", 1)
    if value is None:
        return None
    limit = numbers(dataset, "PixelPaddingRangeLimit", 1) or value
    ends = [int(end) % 2**allocated for end in (value[0], limit[0])]  # writers mix up the signs of this element
    if signed:
        ends = [end - 2**allocated if end >= 2 ** (allocated - 1) else end for end in ends]
    return min(ends), max(ends)

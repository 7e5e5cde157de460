"""JPEG of the old kind in CT: lossless and lossy, long comments, and streams that contradict their image."""

import numpy as np
import pydicom
import pytest
from generated_dicom import write_ct
from jpeg_streams import SYNTAXES, picture, stream

from nasoseg.volumes.dicom import read_ct
from nasoseg.volumes.dicom_jpeg import decode_jpeg


@pytest.mark.parametrize("kind", SYNTAXES)
def test_jpeg(tmp_path, kind):
    signed = "unsigned" not in kind
    hu = np.array([picture()] * 2)
    bits = 16 if signed else 12
    for path in write_ct(tmp_path, hu, signed=signed, intercept=0 if signed else -1024, bits_stored=bits):
        dataset = pydicom.dcmread(path)
        dataset.PixelData = pydicom.encaps.encapsulate([stream(kind)])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = SYNTAXES[kind]
        dataset.save_as(path)
    ct = read_ct(tmp_path)
    if kind.startswith("lossless"):
        assert np.array_equal(ct.volume.array, hu)
        assert ct.remarks == ()
    else:
        assert 0 < np.abs(ct.volume.array - hu).max() < 20
        assert "2 slices were compressed with loss" in ct.remarks[0]


def test_a_jpeg_with_long_comments_is_read():
    kind = "lossless, unsigned 12 bits"
    whole, comment = stream(kind), b"\xff\xfe" + (602).to_bytes(2) + b"x" * 600
    for marked in (whole[:2] + comment + whole[2:], whole[:2] + b"\xff\xff" + comment[1:] + b"\xff" + whole[2:]):
        pixels = decode_jpeg(marked, SYNTAXES[kind], rows=24, columns=20, bits=(16, 12), signed=False)
        assert np.array_equal(pixels.astype(int) - 1024, picture())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": 23}, "24 x 20 pixels of 16 bits for an image of 23 x 20 pixels of 16 bits"),
        ({"columns": 21}, "for an image of 24 x 21 pixels"),
        ({"bits": (8, 8)}, "16 bits for an image of 24 x 20 pixels of 8 bits"),
        ({"bits": (32, 12)}, "16 bits for an image of 24 x 20 pixels of 32 bits"),
    ],
)
def test_a_jpeg_that_contradicts_its_image_is_refused(change, words):
    kind = "lossless, unsigned 12 bits"
    about = {"rows": 24, "columns": 20, "bits": (16, 12), "signed": False} | change
    with pytest.raises(ValueError, match=words):
        decode_jpeg(stream(kind), SYNTAXES[kind], **about)


KIND = "lossless, unsigned 12 bits"
FRAME, SCAN = b"\xff\xc3", b"\xff\xda"


def decoded(data: bytes, kind: str = KIND, *, signed: bool = False, bits: tuple[int, int] = (16, 12)) -> np.ndarray:
    return decode_jpeg(data, SYNTAXES[kind], rows=24, columns=20, bits=bits, signed=signed)


def changed(marker: bytes, offset: int, value: int, data: bytes | None = None) -> bytes:
    """Put a byte of a segment's content, which begins after its marker and length, to another value."""
    data = bytearray(stream(KIND) if data is None else data)
    data[data.index(marker) + 4 + offset] = value
    return bytes(data)


def with_segment(marker: int, content: bytes) -> bytes:
    """Put a segment in front of all others."""
    whole = stream(KIND)
    return whole[:2] + bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2) + content + whole[2:]


def frame() -> bytes:
    whole = stream(KIND)
    return whole[whole.index(FRAME) :][:13]


def test_the_highest_bit_is_a_sign_or_not():
    kind = "lossless SV1, signed 16 bits"
    assert np.array_equal(decoded(stream(kind), kind, signed=True, bits=(16, 16)), picture())
    unsigned = decoded(stream(kind), kind, bits=(16, 16))
    assert np.array_equal(unsigned, picture() % 2**16)


@pytest.mark.parametrize(
    "allowed",
    [
        pytest.param(stream(KIND) + bytes(14), id="fourteen bytes after the end"),
        pytest.param(with_segment(0xFE, b"123456789"), id="a comment as long as a frame"),
        pytest.param(with_segment(0xE0, b"JFIF"), id="what an application left"),
        pytest.param(changed(SCAN, 1, 2, changed(FRAME, 6, 2)), id="its component called 2"),
    ],
)
def test_a_jpeg_that_is_whole_is_read(allowed):
    assert np.array_equal(decoded(allowed).astype(int) - 1024, picture())


WHOLE = stream(KIND)
AT_SCAN = WHOLE.index(SCAN)


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        pytest.param(b"\0\0" + WHOLE[2:], "without beginning or end", id="no beginning"),
        pytest.param(WHOLE[:-2], "without beginning or end", id="no end"),
        pytest.param(WHOLE + bytes(15), "without beginning or end", id="an end too early"),
        pytest.param(WHOLE[:2] + b"\0" + WHOLE[3:], "is damaged", id="no marker"),
        pytest.param(WHOLE[:2] + b"\xff\xfe\x00\x10x\xff\xd9", "is damaged", id="a comment longer than the file"),
        pytest.param(WHOLE.replace(frame(), b""), "is damaged", id="no frame"),
        pytest.param(WHOLE.replace(frame(), 2 * frame()), "is damaged", id="two frames"),
        pytest.param(changed(SCAN, 3, 0), "is damaged", id="no predictor"),
        pytest.param(changed(SCAN, 3, 8), "is damaged", id="an eighth predictor"),
        pytest.param(changed(SCAN, 0, 2), "is damaged", id="a scan of two components"),
        pytest.param(
            WHOLE[:AT_SCAN] + SCAN + b"\0\x09" + WHOLE[AT_SCAN + 4 : AT_SCAN + 10] + b"\0" + WHOLE[AT_SCAN + 10 :],
            "is damaged",
            id="a longer scan header",
        ),
        pytest.param(changed(FRAME, 5, 3), "for an image of 24 x 20", id="a frame of three components"),
        pytest.param(changed(FRAME, 1, 1), "of 280 x 20 pixels", id="more than 255 rows"),
        pytest.param(changed(FRAME, 3, 1), "of 24 x 276 pixels", id="more than 255 columns"),
    ],
)
def test_a_jpeg_that_is_damaged_is_refused(damaged, words):
    with pytest.raises(ValueError, match=words):
        decoded(damaged)

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

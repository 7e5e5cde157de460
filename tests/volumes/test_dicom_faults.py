"""Bad CT files: each is refused with its name and the reason, before memory is taken, or read with a remark."""

import re
import zlib
from unittest.mock import Mock

import numpy as np
import pydicom
import pytest
from generated_dicom import anatomy, write_ct, write_enhanced_ct, write_other
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)

from nasoseg.errors import NasosegError
from nasoseg.volumes import dicom_header, dicom_pixels
from nasoseg.volumes.dicom import read_ct, read_series
from nasoseg.volumes.dicom_scan import find_series


def spoil(keyword, value, *, z=2):
    """Edit one slice: set an element, or take it away with None."""

    def edit(dataset, index):
        if index == z:
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)

    return edit


def refused(folder, match, **options):
    with pytest.raises(NasosegError, match=match):
        read_ct(folder, **options)


@pytest.mark.parametrize(
    ("keyword", "value", "match"),
    [
        ("RescaleSlope", "0", "found 0 as RescaleSlope, expected both, and a slope above 0"),
        ("RescaleSlope", "-1", "found -1 as RescaleSlope"),
        ("RescaleSlope", None, "found no usable RescaleSlope"),
        ("RescaleSlope", "", "found no usable RescaleSlope"),
        ("RescaleIntercept", None, "no usable RescaleIntercept"),
        ("RescaleType", "MGML", r"found values in 'MGML' \(RescaleType\), expected HU"),
        ("PixelSpacing", ["0.8", "0"], "found PixelSpacing"),
        (
            "PixelSpacing",
            ["0.8", "0.91"],
            "0.8 x 0.91 mm, unlike .* of 0.8 x 0.9 mm, .* expected one grid for all slices",
        ),
        ("PixelSpacing", ["0.81", "0.9"], "0.81 x 0.9 mm, unlike"),
        ("PixelSpacing", ["-0.8", "0.9"], "found PixelSpacing"),
        ("ImageOrientationPatient", None, "does not say where its image lies"),
        ("ImagePositionPatient", None, "does not say where its image lies"),
        ("ImagePositionPatient", ["1", "2"], "does not say where its image lies"),
        ("SamplesPerPixel", 3, "expected one grey value"),
        ("PhotometricInterpretation", "RGB", "expected one grey value"),
        ("BitsStored", 17, "BitsStored 17"),
        ("BitsStored", 0, "BitsStored 0"),
        ("BitsAllocated", 12, "BitsAllocated 12"),
        ("HighBit", 16, "HighBit 16"),
        ("HighBit", 3, "HighBit 3"),
        ("NumberOfFrames", "5", "found 96 bytes of pixels, expected 480 bytes|frames in a file of one slice"),
        ("Rows", 60000, "expected 1 to 16384"),
        ("Rows", 9000, "found 96 bytes of pixels, expected 108000 bytes"),
        ("Rows", 0, "slices of 0 x 6 pixels"),
        ("Columns", None, "slices of 8 x 0 pixels"),
        ("Columns", 16385, "slices of 8 x 16385 pixels"),
        ("NumberOfFrames", "0", "0 slices of 8 x 6 pixels"),
        ("Columns", 3, "8 x 3 pixels .* expected one grid for all slices"),
    ],
)
def test_one_bad_slice_is_named(tmp_path, keyword, value, match):
    paths = write_ct(tmp_path, anatomy(), edit=spoil(keyword, value))
    refused(tmp_path, f"^{re.escape(str(paths[2]))}: .*({match})")


def test_columns_differ_in_the_pixels_too(tmp_path):
    write_ct(tmp_path / "a", anatomy())
    (path,) = write_ct(
        tmp_path / "b", anatomy((1, 8, 7)), edit=lambda d, z: setattr(d, "ImagePositionPatient", [0, 0, 1])
    )
    refused(tmp_path, re.escape(str(path)) + ".* 8 x 7 pixels")


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "abc"])
@pytest.mark.parametrize("keyword", ["RescaleSlope", "ImagePositionPatient"])
def test_numbers_that_are_none(tmp_path, keyword, text):
    """pydicom would not write them: they are put into the bytes."""
    paths = write_ct(tmp_path, anatomy(), slope=0.125)
    raw = paths[1].read_bytes()
    old = b"0.125 " if keyword == "RescaleSlope" else b"102.5 "
    assert raw.count(old) == 1
    paths[1].write_bytes(raw.replace(old, text.encode().ljust(6)))
    refused(tmp_path, re.escape(str(paths[1])))


@pytest.mark.parametrize("where", [0, 2])
def test_pixel_data_missing(tmp_path, where):
    paths = write_ct(tmp_path, anatomy(), edit=spoil("PixelData", None, z=where))
    refused(tmp_path, f"^{re.escape(str(paths[where]))}: has no PixelData")


def test_pixel_data_missing_in_all(tmp_path):
    write_ct(tmp_path, anatomy(), edit=lambda dataset, z: dataset.__delitem__("PixelData"))
    refused(tmp_path, r"no CT series found .*5 files that cannot be read .*has no PixelData")


SYNTAXES = {"plain": "1.2.840.10008.1.2.1", "rle": RLELossless, "j2k": JPEG2000Lossless, "jls": JPEGLSLossless}
SYNTAXES["deflated"] = DeflatedExplicitVRLittleEndian


@pytest.mark.parametrize("kept", [0, 100, 140, 300, 800, 0.5, -20])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_truncated_slice_at_the_end_of_the_stack(tmp_path, syntax, kept):
    """No gap in the positions would tell that it is missing."""
    paths = write_ct(tmp_path, anatomy((3, 40, 36)), syntax=SYNTAXES[syntax])
    raw = paths[2].read_bytes()
    paths[2].write_bytes(raw[: int(len(raw) * kept) if 0 < kept < 1 else kept])
    refused(tmp_path, f"^{re.escape(str(paths[2]))}: ")


def test_file_of_zeros(tmp_path):
    paths = write_ct(tmp_path, anatomy())
    paths[4].write_bytes(bytes(len(paths[4].read_bytes())))
    refused(tmp_path, f"^{re.escape(str(paths[4]))}: is empty or holds zeros only")


def test_damaged_file_elsewhere_is_no_obstacle(tmp_path):
    hu = anatomy()
    write_ct(tmp_path / "ct", hu)
    other = write_other(tmp_path / "mr" / "1.dcm", "MR", MRImageStorage)
    other.write_bytes(other.read_bytes()[:400])
    beside = write_other(tmp_path / "ct" / "mr.dcm", "MR", MRImageStorage)
    beside.write_bytes(beside.read_bytes()[:-5])  # damaged, but its series is known
    ct = read_ct(tmp_path)
    assert np.array_equal(ct.volume.array, hu)
    assert ct.remarks == ("damaged files of other series passed over: mr.dcm (1 in all)",)


def test_ct_image_without_rows(tmp_path):
    paths = write_ct(tmp_path, anatomy(), edit=spoil("Rows", None, z=4))
    refused(tmp_path, f"^{re.escape(str(paths[4]))}: is a CT image without Rows")


def test_foreign_file_among_the_slices_is_passed_over(tmp_path):
    hu = anatomy()
    write_ct(tmp_path, hu)
    (tmp_path / "0000.dcm").write_text("not DICOM at all")
    ct = read_ct(tmp_path)
    assert np.array_equal(ct.volume.array, hu)
    assert ct.remarks == ("not DICOM and passed over: 0000.dcm (1 in all)",)


def test_damaged_codestream(tmp_path):
    paths = write_ct(tmp_path, anatomy((3, 40, 36)), syntax=JPEG2000Lossless)
    dataset = pydicom.dcmread(paths[1])
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 3]])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(paths[1])
    refused(tmp_path, f"^{re.escape(str(paths[1]))}: its pixels cannot be read")


@pytest.mark.parametrize("then", ["gone", "cut", "no DICOM"])
def test_a_file_that_changes_between_two_looks(tmp_path, then):
    first, *_ = sorted(write_ct(tmp_path, anatomy()))
    (series,) = find_series(tmp_path)
    if then == "gone":
        first.unlink()
    else:
        first.write_bytes(first.read_bytes()[:-20] if then == "cut" else b"not DICOM at all")
    with pytest.raises(NasosegError, match=f"^{re.escape(str(first))}: changed or vanished while it was read"):
        read_series(series)


class PanicException(BaseException):
    """What the decoder of RLE raises: an error in Rust is no Exception to Python."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PanicException("index  out\nof range"), r"\(index out of range\)"),
        (ValueError(), r"\(ValueError\)"),
        (MemoryError("x" * 300), rf"\({'x' * 200}\)"),
    ],
)
def test_whatever_a_decoder_raises_names_the_file(tmp_path, monkeypatch, error, said):
    write_ct(tmp_path, anatomy((2, 8, 6)), syntax=RLELossless)
    monkeypatch.setattr(dicom_pixels, "pixel_array", Mock(side_effect=error))
    with pytest.raises(NasosegError, match=f"its pixels cannot be read {said}: expected a whole image"):
        read_ct(tmp_path)


def test_an_interrupt_while_decoding_is_one(tmp_path, monkeypatch):
    write_ct(tmp_path, anatomy((2, 8, 6)), syntax=RLELossless)
    monkeypatch.setattr(dicom_pixels, "pixel_array", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        read_ct(tmp_path)


def test_unknown_transfer_syntax(tmp_path):
    paths = write_ct(tmp_path, anatomy())
    raw = paths[1].read_bytes()
    paths[1].write_bytes(raw.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"))
    refused(tmp_path, f"^{re.escape(str(paths[1]))}: its pixels cannot be read")


def test_deflated_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_header, "_MOST_DEFLATED", 1 << 24)
    paths = write_ct(tmp_path, anatomy(), syntax=DeflatedExplicitVRLittleEndian)
    raw = paths[0].read_bytes()
    meta = 144 + int.from_bytes(raw[140:144], "little")
    deflater = zlib.compressobj(wbits=-15)
    packed = b"".join(deflater.compress(bytes(1 << 24)) for _ in range(2)) + deflater.flush()
    paths[0].write_bytes(raw[:meta] + packed)
    refused(tmp_path, f"^{re.escape(str(paths[0]))}: inflates to more than")


def test_units_unspecified_are_read_as_hu(tmp_path):
    hu = anatomy()
    write_ct(tmp_path, hu, edit=lambda dataset, z: setattr(dataset, "RescaleType", "US"))
    ct = read_ct(tmp_path)
    assert np.array_equal(ct.volume.array, hu)
    assert ct.remarks == ("RescaleType is US (unspecified): read as HU",)


def test_cosines_that_are_not_perpendicular(tmp_path):
    def skewed(dataset, z):
        dataset.ImageOrientationPatient = ["1", "0", "0", "0.1", "0.995", "0"]

    write_ct(tmp_path, anatomy(), edit=skewed)
    refused(tmp_path, "expected two perpendicular unit vectors")


def test_shared_sop_uids_are_remarked(tmp_path):
    write_ct(tmp_path, anatomy(), edit=lambda dataset, z: setattr(dataset, "SOPInstanceUID", "1.2.3"))
    assert "slices share a SOPInstanceUID" in read_ct(tmp_path).remarks[0]


def test_enhanced_frames_without_a_place(tmp_path):
    def cut(dataset, z):
        del dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence

    path = write_enhanced_ct(tmp_path / "e.dcm", anatomy(), edit=cut)
    refused(tmp_path, f"^{re.escape(str(path))}: frame 4: found no usable ImagePositionPatient")


def test_enhanced_with_fewer_descriptions_than_frames(tmp_path):
    def cut(dataset, z):
        dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:3]

    write_enhanced_ct(tmp_path / "e.dcm", anatomy(), edit=cut)
    refused(tmp_path, "found 3 descriptions of 5 frames")


def test_enhanced_without_a_number_of_frames(tmp_path):
    def cut(dataset, z):
        del dataset.NumberOfFrames

    write_enhanced_ct(tmp_path / "e.dcm", anatomy(), edit=cut)
    refused(tmp_path, "found 5 descriptions of 0 frames")


def test_enhanced_cut_short(tmp_path):
    path = write_enhanced_ct(tmp_path / "e.dcm", anatomy())
    path.write_bytes(path.read_bytes()[:-100])
    refused(tmp_path, "is cut short: the last 100 bytes of its pixels are missing")


def test_enhanced_frames_of_two_orientations(tmp_path):
    def turned(dataset, z):
        other = pydicom.Dataset()
        other.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]
        dataset.PerFrameFunctionalGroupsSequence[1].PlaneOrientationSequence = [other]

    write_enhanced_ct(tmp_path / "e.dcm", anatomy(), edit=turned)
    refused(tmp_path, "in another orientation")

"""Pixels of a CT in: transfer syntaxes, bits, rescale, padding and losses, as HU."""

import numpy as np
import pydicom
import pytest
from generated_dicom import anatomy, write_ct
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from nasoseg.volumes import dicom_pixels
from nasoseg.volumes.dicom import read_ct


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    ],
    ids=lambda syntax: syntax.keyword,
)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [12, 16])
def test_transfer_syntaxes(tmp_path, syntax, signed, bits):
    hu = anatomy((2, 40, 36))  # JPEG 2000 needs 32
    write_ct(tmp_path, hu, signed=signed, intercept=-24 if signed else -1024, bits_stored=bits, syntax=syntax)
    ct = read_ct(tmp_path)
    assert np.array_equal(ct.volume.array, hu)
    assert ct.remarks == ()


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian], ids=lambda s: s.keyword)
def test_rare_uncompressed_syntaxes(tmp_path, syntax):
    hu = anatomy((2, 16, 12))

    def turned(dataset, z):
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
            dataset["PixelData"].VR = "OW"

    write_ct(tmp_path, hu, syntax=syntax, edit=turned)
    assert np.array_equal(read_ct(tmp_path).volume.array, hu)


@pytest.mark.parametrize(("said", "remarked"), [("", True), ("00", False), ("01", True)])
@pytest.mark.parametrize(
    ("written", "named"), [(JPEG2000Lossless, JPEG2000), (JPEGLSLossless, JPEGLSNearLossless)], ids=["2000", "LS"]
)
def test_a_method_that_may_lose_is_remarked(tmp_path, written, named, said, remarked):
    hu = anatomy((2, 40, 36))
    for path in write_ct(tmp_path, hu, syntax=written):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = named  # with or without loss
        dataset.LossyImageCompression = said
        dataset.save_as(path)
    ct = read_ct(tmp_path)
    assert np.array_equal(ct.volume.array, hu)
    assert bool(ct.remarks) == remarked


def test_a_loss_before_is_remarked(tmp_path):
    write_ct(tmp_path, anatomy(), edit=lambda dataset, z: setattr(dataset, "LossyImageCompression", "01"))
    remark = "5 slices were compressed with loss, or with a method that may lose: HU are approximate"
    assert read_ct(tmp_path).remarks == (remark,)


def test_every_slice_has_its_own_rescale(tmp_path):
    hu = anatomy() // 4 * 4
    write_ct(tmp_path, hu, slope=[1, 2, 4, 1, 2], intercept=[-1024, -1000, -2000, -1200, -1024])
    assert np.array_equal(read_ct(tmp_path).volume.array, hu)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint32, np.int32])
def test_pixels_of_one_and_four_bytes(tmp_path, dtype):
    bits, signed = 8 * np.dtype(dtype).itemsize, np.dtype(dtype).kind == "i"
    stored = np.random.default_rng(0).integers(-100 if signed else 0, 100, (3, 6, 8))
    stored[:, 0, 0] = np.iinfo(dtype).min
    stored[:, 0, 1] = 1 << bits - 2  # its highest bit but one

    def resized(dataset, z):
        dataset.BitsAllocated = dataset.BitsStored = bits
        dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(signed)
        dataset.PixelData = stored[z].astype(dtype).tobytes()
        dataset.PixelPaddingValue = 1 << bits - 2
        dataset["PixelPaddingValue"].VR = "US" if bits == 8 else "UL"

    write_ct(tmp_path, np.zeros(stored.shape), intercept=-5, edit=resized)
    ct = read_ct(tmp_path)
    expected = stored.astype(float) - 5
    if bits == 32:
        expected[:, 0, 1] = -1024  # 2^30 HU are no tissue
    np.testing.assert_array_equal(ct.volume.array, expected.astype(ct.volume.array.dtype))
    assert ct.volume.array.dtype == (np.float32 if dtype == np.int32 else np.int16)  # -2^31 HU are no 16 bits


@pytest.mark.parametrize("shape", [(3, 1, 6), (3, 6, 1)])
def test_one_row_or_column_is_an_image(tmp_path, shape):
    write_ct(tmp_path, anatomy(shape))
    assert np.array_equal(read_ct(tmp_path).volume.array, anatomy(shape))


def test_fractional_rescale_gives_float32(tmp_path):
    hu = anatomy() * 0.25 - 0.5
    write_ct(tmp_path, hu, slope=0.25, intercept=-1000.5)
    ct = read_ct(tmp_path)
    assert ct.volume.array.dtype == np.float32
    assert np.array_equal(ct.volume.array, hu.astype(np.float32))


def test_hu_beyond_int16_are_kept(tmp_path):
    hu = anatomy()
    hu[3, 2, 1] = 60000
    write_ct(tmp_path, hu)
    ct = read_ct(tmp_path)
    assert ct.volume.array.dtype == np.float32
    assert np.array_equal(ct.volume.array, hu)


@pytest.mark.parametrize("written_as", [-2000, 63536])  # signed and unsigned spelling of one stored value
def test_padding_is_air(tmp_path, written_as):
    hu = anatomy()
    hu[:, 0, 0] = -3024

    def padded(dataset, z):
        dataset.add_new("PixelPaddingValue", "SS" if written_as < 0 else "US", written_as)

    write_ct(tmp_path, hu, signed=True, edit=padded)
    ct = read_ct(tmp_path)
    assert (ct.volume.array[:, 0, 0] == -1024).all()
    assert np.array_equal(ct.volume.array[:, 1:], hu[:, 1:])
    assert ct.remarks == ("5 pixels with the padding value are read as air, -1024 HU",)


def test_padding_range(tmp_path):
    hu = anatomy()
    hu[:, 0, :3] = [-1024, -1020, -1010]

    def padded(dataset, z):
        dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = 0, 10

    write_ct(tmp_path, hu, edit=padded)
    assert read_ct(tmp_path).volume.array[0, 0, :3].tolist() == [-1024, -1024, -1010]


@pytest.mark.parametrize("slope", [1, 2])
@pytest.mark.parametrize("last", [0, 4000])
def test_padding_in_the_range_of_tissue_is_not_believed(tmp_path, slope, last):
    hu = anatomy() // 2 * 2
    hu[hu == 0] = 2
    hu[:, 3, 3] = 0

    def padded(dataset, z):
        dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = 0, last

    write_ct(tmp_path, hu, signed=True, slope=slope, intercept=0, edit=padded)
    ct = read_ct(tmp_path)
    assert np.array_equal(ct.volume.array, hu)
    pixels = 5 if not last else int((hu >= 0).sum())
    said = f"PixelPaddingValue means 0 HU, which tissue may have: its {pixels} pixels are left as they are"
    assert ct.remarks == (said,)


def test_padding_far_above_bone_is_air(tmp_path):
    hu = anatomy() // 2 * 2
    hu[:, 3, 3] = 4000

    def padded(dataset, z):
        dataset.PixelPaddingValue = 2000  # times two

    write_ct(tmp_path, hu, signed=True, slope=2, intercept=0, edit=padded)
    assert (read_ct(tmp_path).volume.array[:, 3, 3] == -1024).all()


AS_STORED = [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless]


@pytest.mark.parametrize("syntax", AS_STORED, ids=lambda s: s.keyword)
@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_those_stored_are_dropped(tmp_path, signed, syntax):
    hu = np.clip(anatomy(), -1000, 1000)

    def overlaid(dataset, z):
        stored = np.frombuffer(dataset.PixelData, np.uint16) & 0x0FFF  # signed: without its extended sign
        dataset.PixelData = (stored | (0x1000 if z < 2 else 0)).tobytes()

    how = {"signed": signed, "intercept": 0 if signed else -1024, "bits_stored": 12, "syntax": syntax}
    write_ct(tmp_path, hu, edit=overlaid, **how)
    ct = read_ct(tmp_path)
    assert np.array_equal(ct.volume.array, hu)
    assert ct.remarks == ("96 pixels use bits above BitsStored 12: those bits were ignored",)


@pytest.mark.parametrize("syntax", AS_STORED, ids=lambda s: s.keyword)
def test_pixels_in_the_upper_bits(tmp_path, syntax):
    def moved(dataset, z):
        dataset.PixelData = (np.frombuffer(dataset.PixelData, np.uint16) << 4).tobytes()
        dataset.HighBit = 15

    hu = anatomy()
    write_ct(tmp_path, hu, bits_stored=12, syntax=syntax, edit=moved)
    assert np.array_equal(read_ct(tmp_path).volume.array, hu)


@pytest.mark.parametrize(("syntax", "plugin"), [(JPEG2000Lossless, "pylibjpeg"), (JPEGLSLossless, "pyjpegls")])
def test_gdcm_does_not_decode_what_ends_its_process(tmp_path, monkeypatch, syntax, plugin):
    asked = []

    def decode(*given, **how):
        asked.append(how["decoding_plugin"])
        return pixel_array(*given, **how)

    monkeypatch.setattr(dicom_pixels, "pixel_array", decode)
    write_ct(tmp_path, anatomy((2, 40, 36)), syntax=syntax)
    read_ct(tmp_path)
    assert asked == [plugin, plugin]

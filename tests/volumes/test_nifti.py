"""Image files in and out: round trips on oblique, anisotropic grids, and every way a file can be bad."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from generated_grids import grids, numbered
from hypothesis import given, settings

from nasoseg.errors import NasosegError
from nasoseg.volumes.header import split_name
from nasoseg.volumes.nifti import RANGE_HU, ras_from_lps, read_ct, read_label_map, read_volume, write_volume
from nasoseg.volumes.volume import Geometry

OBLIQUE = Geometry(
    (5, 4, 3),
    np.array([[0.9, 0.1, 0.3, -20], [-0.1, 1.2, 0.2, 30], [-0.25, -0.2, 3.1, 12.5], [0, 0, 0, 1]]),
)
RIGID = Geometry(  # orthogonal: what a qform, NRRD and MetaImage hold
    (5, 4, 3), np.array([[0, 1.2, 0, -20], [0.8 * 0.6, 0, -3 * 0.8, 30], [0.8 * 0.8, 0, 3 * 0.6, 12.5], [0, 0, 0, 1]])
)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32])
def test_round_trip(tmp_path, ending, dtype):
    array = numbered(RIGID.shape).astype(dtype)
    write_volume(tmp_path / f"x{ending}", array, RIGID)
    back = read_volume(tmp_path / f"x{ending}")
    assert back.array.dtype == dtype
    assert np.array_equal(back.array, array)
    np.testing.assert_allclose(back.geometry.affine_lps, RIGID.affine_lps, atol=1e-5)  # NIfTI holds float32
    assert [p.name for p in tmp_path.iterdir()] == [f"x{ending}"]


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
@given(grid=grids())
@settings(deadline=None, max_examples=25)
def test_nifti_and_nrrd_agree_with_simpleitk(tmp_path_factory, ending, grid):
    path = tmp_path_factory.mktemp("x") / f"x{ending}"
    write_volume(path, numbered(grid.shape), grid)
    image = SimpleITK.ReadImage(str(path))  # the independent reader
    assert np.array_equal(SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), numbered(grid.shape))
    last = [side - 1 for side in grid.shape]
    place = image.TransformIndexToPhysicalPoint(last)
    np.testing.assert_allclose(place, (grid.affine_lps @ [*last, 1])[:3], atol=2e-3)
    np.testing.assert_allclose(read_volume(path).geometry.affine_lps, grid.affine_lps, atol=1e-4)


def test_a_nifti_header_names_its_space(tmp_path):
    write_volume(tmp_path / "x.nii", numbered(RIGID.shape), RIGID)
    header = nibabel.load(tmp_path / "x.nii").header
    assert (header["sform_code"], header["qform_code"]) == (1, 1)  # scanner
    assert header.get_xyzt_units() == ("mm", "unknown")
    assert header.get_data_dtype() == numbered(RIGID.shape).dtype


def test_a_sheared_grid_stays_sheared_in_nifti(tmp_path):
    write_volume(tmp_path / "x.nii", numbered(OBLIQUE.shape), OBLIQUE)
    np.testing.assert_allclose(read_volume(tmp_path / "x.nii").geometry.affine_lps, OBLIQUE.affine_lps, atol=1e-5)
    assert nibabel.load(tmp_path / "x.nii").header["qform_code"] == 0  # a qform cannot hold it


def test_mhd_with_its_raw_file_is_read(tmp_path):
    image = SimpleITK.GetImageFromArray(numbered((2, 3, 4)))
    image.SetSpacing((1, 2, 3))
    SimpleITK.WriteImage(image, str(tmp_path / "x.mhd"))
    back = read_volume(tmp_path / "x.mhd")
    assert np.array_equal(back.array, numbered((2, 3, 4)).transpose(2, 1, 0))
    np.testing.assert_allclose(back.geometry.spacing_mm, [1, 2, 3])


def test_ras_from_lps_is_its_own_inverse():
    np.testing.assert_array_equal(ras_from_lps(ras_from_lps(OBLIQUE.affine_lps)), OBLIQUE.affine_lps)
    np.testing.assert_array_equal(ras_from_lps(np.eye(4)), np.diag([-1, -1, 1, 1]))


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None, **fields: float) -> Path:
    """Write a NIfTI with nibabel, header fields set at the end."""
    image = nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine, dtype=array.dtype)
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def hu(shape: tuple[int, ...] = (6, 5, 4)) -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1500, shape).astype(np.int16)


def test_ct_applies_slope_and_intercept_and_rounds(tmp_path):
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4))
    image.header.set_slope_inter(2.5, -1000)
    raw = bytearray(image.to_bytes())
    raw[112:120] = np.array([2.5, -1000], "<f4").tobytes()  # nibabel unscales what it writes
    raw[352:] = np.arange(60, dtype="<i2").reshape(3, 4, 5).tobytes(order="F")
    (tmp_path / "ct.nii").write_bytes(raw)
    ct = read_ct(tmp_path / "ct.nii")
    assert ct.array.dtype == np.int16
    assert np.array_equal(ct.array, np.rint(np.arange(60) * 2.5 - 1000).reshape(3, 4, 5))


def test_ct_is_clipped_to_int16(tmp_path):
    array = np.array([-1e6, -32768.4, 0.5, 1.5, 32767.2, 1e9], np.float32).reshape(6, 1, 1)
    ct = read_ct(save(tmp_path / "ct.nii", array))
    assert ct.array.ravel().tolist() == [RANGE_HU[0], RANGE_HU[0], 0, 2, RANGE_HU[1], RANGE_HU[1]]


@pytest.mark.parametrize(("code", "factor"), [("mm", 1), ("meter", 1000), ("micron", 0.001), ("unknown", 1)])
def test_lengths_are_in_mm(tmp_path, code, factor):
    image = nibabel.Nifti1Image(hu(), np.diag([2.0, 2.0, 2.0, 1.0]) / factor)
    image.header.set_xyzt_units(code)
    nibabel.save(image, tmp_path / "ct.nii.gz")
    np.testing.assert_allclose(read_volume(tmp_path / "ct.nii.gz").geometry.spacing_mm, 2, rtol=1e-6)


def test_a_qform_alone_places_an_image(tmp_path):
    image = nibabel.Nifti1Image(hu(), None)
    image.set_qform(np.diag([2.0, 3.0, 4.0, 1.0]), code=1)
    nibabel.save(image, tmp_path / "ct.nii")
    assert nibabel.load(tmp_path / "ct.nii").header["sform_code"] == 0
    np.testing.assert_allclose(read_volume(tmp_path / "ct.nii").geometry.spacing_mm, [2, 3, 4])


def test_bytes_after_the_voxels_are_passed_over(tmp_path):
    write_volume(tmp_path / "x.nii", hu(), Geometry(hu().shape, np.eye(4)))
    with (tmp_path / "x.nii").open("ab") as file:
        file.write(bytes(9999))
    assert np.array_equal(read_volume(tmp_path / "x.nii").array, hu())


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_images_are_compressed(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    write_volume(path, np.zeros((40, 40, 40), np.int16), Geometry((40, 40, 40), np.eye(4)))
    assert path.stat().st_size < 5000


def test_a_big_endian_file_and_trailing_axes_of_one_are_read(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    nibabel.save(nibabel.Nifti1Image(hu()[..., None], np.eye(4), header), tmp_path / "ct.nii.gz")
    back = read_ct(tmp_path / "ct.nii.gz").array
    assert back.dtype == np.int16
    assert np.array_equal(back, hu())


def refused(read, path: Path, *words: str) -> None:
    """The error is one line that names the file, and says all ``words``."""
    with pytest.raises(NasosegError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert len(message) < 700
    for word in words:
        assert word in message


@pytest.mark.parametrize("keep", [0, 10, 200, 0.5, -4])
def test_truncated_nifti(tmp_path, keep):
    whole = save(tmp_path / "whole.nii.gz", hu((30, 30, 30))).read_bytes()
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    refused(read_volume, path, "cannot be read", "truncated", "copy or export it again")


def test_a_flipped_byte_is_found_by_the_checksum_of_gzip(tmp_path):
    path = save(tmp_path / "ct.nii.gz", hu((30, 30, 30)))
    raw = gzip.decompress(path.read_bytes())
    stored = bytearray(gzip.compress(raw, compresslevel=0))  # stored, so that only the checksum can tell
    stored[len(stored) // 2] ^= 4
    path.write_bytes(stored)
    refused(read_volume, path, "CRC", "damaged")


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_truncated_nrrd_and_metaimage(tmp_path, ending):
    write_volume(tmp_path / f"x{ending}", hu((30, 30, 30)), Geometry((30, 30, 30), np.eye(4)))
    path = tmp_path / f"x{ending}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(read_volume, path, "cannot be read", "truncated")


def test_a_plain_file_shorter_than_its_header_claims(tmp_path):
    write_volume(tmp_path / "x.nii", hu((30, 30, 30)), Geometry((30, 30, 30), np.eye(4)))
    path = tmp_path / "x.nii"
    path.write_bytes(path.read_bytes()[:2000])
    refused(read_volume, path, "claims 54000 bytes of voxels from byte 352 on, more than a file of 2000 bytes can hold")


def test_a_plain_file_that_lacks_its_end(tmp_path):
    write_volume(tmp_path / "x.nii", hu((30, 30, 30)), Geometry((30, 30, 30), np.eye(4)))
    path = tmp_path / "x.nii"
    path.write_bytes(path.read_bytes()[:-1])
    refused(read_volume, path, "claims 54000 bytes of voxels from byte 352 on")


@pytest.mark.parametrize(
    ("name", "stem", "ending"),
    [
        ("a/Larynx.nii.gz", "Larynx", ".nii.gz"),
        ("Larynx.old.NRRD", "Larynx.old", ".nrrd"),
        ("notes.txt", "notes.txt", ""),
    ],
)
def test_a_name_is_split_before_its_ending(name, stem, ending):
    assert split_name(name) == (stem, ending)


def test_masks_are_written_as_bytes(tmp_path):
    mask = numbered((2, 3, 4)) % 2 == 1
    for ending in (".nii.gz", ".nrrd"):
        write_volume(tmp_path / f"x{ending}", mask, Geometry((2, 3, 4), np.eye(4)))
        back = read_volume(tmp_path / f"x{ending}").array
        assert back.dtype == np.uint8
        assert np.array_equal(back, mask)


@pytest.mark.parametrize("name", ["x.nii.gz", "x.nii", "x.nrrd", "x.mha", "x.mhd"])
def test_no_image(tmp_path, name):
    (tmp_path / name).write_text("Dear colleague, the scan is attached.\n" * 30)
    refused(read_volume, tmp_path / name, "cannot be read as an image")


def test_missing_or_unknown(tmp_path):
    refused(read_volume, tmp_path / "ct.nii.gz", "no such file", ".nrrd")
    (tmp_path / "ct.png").write_bytes(b"x")
    refused(read_volume, tmp_path / "ct.png", "unknown ending", ".nii.gz")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_or_infinite_voxels(tmp_path, value):
    array = hu().astype(np.float32)
    array[1, 2, 3] = value
    refused(read_ct, save(tmp_path / "ct.nii.gz", array), "1 of 120 voxels", "finite", "leave the patient out")


def test_infinite_intercept(tmp_path):
    raw = bytearray(nibabel.Nifti1Image(hu(), np.eye(4)).to_bytes())
    raw[112:120] = np.array([1, np.inf], "<f4").tobytes()
    (tmp_path / "ct.nii").write_bytes(raw)
    refused(read_ct, tmp_path / "ct.nii", "cannot be read")


@pytest.mark.parametrize(("low", "high", "word"), [(0, 0, "constant CT"), (0, 1, "nearly constant CT")])
def test_constant_ct(tmp_path, low, high, word):
    array = np.linspace(low, high, 120, dtype=np.float32).reshape(6, 5, 4)
    refused(read_ct, save(tmp_path / "ct.nii.gz", array), word, "Hounsfield", "export the CT again")


def test_four_dimensions(tmp_path):
    refused(read_volume, save(tmp_path / "x.nii.gz", hu((3, 4, 5, 2))), "4-D", "(3, 4, 5, 2)", "expected a 3-D")
    refused(read_volume, save(tmp_path / "flat.nii.gz", hu((3, 4))), "2-D", "expected a 3-D")
    image = SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(hu())] * 2)
    SimpleITK.WriteImage(image, str(tmp_path / "x.nrrd"))
    refused(read_volume, tmp_path / "x.nrrd", "4-D", "expected a 3-D")


def test_colours_and_complex_numbers(tmp_path):
    rgb = np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    refused(read_volume, save(tmp_path / "rgb.nii.gz", rgb), "one real number a voxel")
    refused(read_volume, save(tmp_path / "c.nii.gz", hu().astype(np.complex64)), "one real number a voxel")
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(hu((3, 4, 5, 2)), isVector=True), str(tmp_path / "v.mha"))
    refused(read_volume, tmp_path / "v.mha", "2 values a voxel")


def test_no_sform_and_no_qform(tmp_path):
    image = nibabel.Nifti1Image(hu(), None)
    nibabel.save(image, tmp_path / "ct.nii.gz")
    refused(read_volume, tmp_path / "ct.nii.gz", "neither sform nor qform", "orientation is unknown")


def test_nrrd_without_space(tmp_path):
    header = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 6 5 4\nspacings: 1 1 3\nencoding: raw\nendian: little\n\n"
    (tmp_path / "ct.nrrd").write_bytes(header + hu().tobytes(order="F"))
    refused(read_volume, tmp_path / "ct.nrrd", "no 'space'", "orientation is unknown")


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([1.0, 0.0, 1.0, 1.0]),
        np.diag([np.nan, 1.0, 1.0, 1.0]),
        np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        np.diag([1e3, 1.0, 1.0, 1.0]),
    ],
    ids=["flat", "nan", "singular", "a metre"],
)
def test_unusable_affine(tmp_path, affine):
    image = nibabel.Nifti1Image(hu(), np.eye(4))
    raw = bytearray(image.to_bytes())
    raw[280:328] = affine[:3].astype("<f4").tobytes()
    (tmp_path / "ct.nii").write_bytes(raw)
    refused(read_volume, tmp_path / "ct.nii", "affine", "does not place voxels")


@pytest.mark.parametrize("sides", [(32000, 32000, 32000), (2000, 2000, 2000), (20000, 2, 2), (800, 800, 800)])
def test_a_size_that_cannot_be_is_refused_before_allocation(tmp_path, sides):
    raw = bytearray(nibabel.Nifti1Image(hu(), np.eye(4)).to_bytes())
    raw[42:48] = np.array(sides, "<i2").tobytes()
    (tmp_path / "ct.nii").write_bytes(raw)
    (tmp_path / "ct.nii.gz").write_bytes(gzip.compress(raw))
    refused(read_volume, tmp_path / "ct.nii", "header claims")
    refused(read_volume, tmp_path / "ct.nii.gz", "header claims")


def test_label_map_must_be_whole_numbers(tmp_path):
    array = np.zeros((3, 4, 5), np.float32)
    array[1, 1, 1] = 255
    back = read_label_map(save(tmp_path / "m.nii.gz", array)).array
    assert back.dtype.kind == "i"
    assert np.array_equal(back, array)
    array[1, 1, 2] = 0.25
    refused(read_label_map, save(tmp_path / "p.nii.gz", array), "0.25", "whole numbers", "thresholded")


def test_writing_what_does_not_fit(tmp_path):
    grid = Geometry((2, 3, 4), np.eye(4))
    with pytest.raises(NasosegError, match=r"x.nii: array of shape \(2, 3, 5\) for a grid of \(2, 3, 4\)"):
        write_volume(tmp_path / "x.nii", np.zeros((2, 3, 5), np.uint8), grid)
    for name in ("x.png", "x.mhd"):
        with pytest.raises(NasosegError, match=rf"{name}: unknown ending"):
            write_volume(tmp_path / name, np.zeros((2, 3, 4), np.uint8), grid)
    with pytest.raises(NasosegError, match=r"no[/\\]x.nii: could not be written"):
        write_volume(tmp_path / "no" / "x.nii", np.zeros((2, 3, 4), bool), grid)
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_when_writing_fails(tmp_path):
    grid = Geometry((2, 3, 4), np.eye(4))
    write_volume(tmp_path / "x.nii", np.ones((2, 3, 4), bool), grid)
    with pytest.raises(NasosegError, match=r"x.nii: could not be written"):
        write_volume(tmp_path / "x.nii", np.zeros((2, 3, 4), np.float16), grid)  # NIfTI has no float16
    assert read_volume(tmp_path / "x.nii").array.all()
    assert [p.name for p in tmp_path.iterdir()] == ["x.nii"]

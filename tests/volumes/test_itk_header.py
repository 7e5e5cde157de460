import numpy as np
import pytest
import SimpleITK

from nasoseg.errors import NasosegError
from nasoseg.volumes.nifti import read_volume

META = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = -1.5 2 3e1
ElementSpacing = 2.5 5 5
DimSize = 2 3 4
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""
NRRD = """NRRD0004
# made by hand
type: short
dimension: 3
space: left-posterior-superior
sizes: 2 3 4
space directions: (2.5, 0, 0) (0,5,0) (0,0,5)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (-1.5,2,30)
0008|0020:=20200102

"""
VOXELS = np.arange(24, dtype="<i2")


def written(path, header):
    path.write_bytes(header.encode("latin-1") + VOXELS.tobytes())
    return path


def changed(header, old, new):
    assert old in header
    return header.replace(old, new, 1)


@pytest.mark.parametrize(("ending", "header"), [
    ("mha", META),
    ("mha", META.replace("\n", "\r\n")),
    ("mha", META.replace(" = ", ": ")),
    ("mha", changed(META, "Offset", "Comment = Sch\xe4del, 3 T: (x = 1)\n0008|0020 = 20200102\nOffset")),
    ("mha", changed(META, "Offset", f"Note = {'x' * 3900}\nOffset")),
    ("mha", changed(META, "ElementType", "Modality = MET_MOD_CT\nAnatomicalOrientation = RAI\nElementType")),
    ("nrrd", NRRD),
    ("nrrd", NRRD.replace("\n", "\r\n")),
    ("nrrd", changed(NRRD, "kinds", "centerings: cell cell cell\nspace units: \"mm\" \"mm\" \"mm\"\nkinds")),
    ("nrrd", changed(NRRD, "kinds", f"# {'x' * 3000}\nSegment0_Tags:={'y' * 3000}\ncontent: \nkinds")),
    ("nrrd", changed(NRRD, "kinds", "thicknesses: nan NaN 2.5\nmeasurement frame: (1,0,0) (0,1,0) (0,0,1)\nkinds")),
])  # fmt: skip
def test_headers_of_other_writers_are_read(tmp_path, ending, header):
    volume = read_volume(written(tmp_path / f"x.{ending}", header))
    np.testing.assert_array_equal(volume.array, VOXELS.reshape(2, 3, 4, order="F"))
    affine = [[2.5, 0, 0, -1.5], [0, 5, 0, 2], [0, 0, 5, 30], [0, 0, 0, 1]]
    np.testing.assert_array_equal(volume.geometry.affine_lps, affine)


@pytest.mark.parametrize(("old", "new", "words"), [
    ("NDims = 3", "NDims = 2147483648", "ndims in its header is '2147483648'"),
    ("NDims = 3", "NDims = 18446744073709551616", "ndims in its header"),
    ("NDims = 3", "NDims: 2147483648", "ndims in its header"),
    ("NDims = 3", "\tNDims = -1", "ndims in its header"),
    ("NDims = 3\n", "", "no ndims"),
    ("BinaryData = True", "NDims = 2147483648", "two fields ndims"),
    ("DimSize = 2 3 4\n", "", "no dimsize"),
    ("DimSize = 2 3 4", "DimSize = 2 3 4 1", "dimsize in its header has 4 values, not 3"),
    ("NDims = 3", "NDims = 9", "dimsize in its header has 3 values, not 9"),
    ("Offset = -1.5 2 3e1", "Offset = -1.5 2", "offset in its header has 2 values, not 3"),
    ("Offset", "Position = 1 2\nOffset", "position in its header has 2 values, not 3"),
    ("Offset", "Origin = 1 2 3 4\nOffset", "origin in its header has 4 values, not 3"),
    ("Offset", "CenterOfRotation = 0\nOffset", "centerofrotation in its header has 1 values, not 3"),
    ("ElementSpacing = 2.5 5 5", "ElementSpacing = 2.5 5", "elementspacing in its header has 2 values, not 3"),
    ("Offset", "ElementSize = 1\nOffset", "elementsize in its header has 1 values, not 3"),
    ("0 1 0 0 0 1", "0 1", "transformmatrix in its header has 5 values, not 9"),
    ("Offset", "Rotation = 1 0 0 1\nOffset", "rotation in its header has 4 values, not 9"),
    ("Offset", "Orientation = 1 0 0 1\nOffset", "orientation in its header has 4 values, not 9"),
    ("Offset = -1.5 2 3e1", "Offset =", "offset in its header is ''"),
    ("Offset = -1.5 2 3e1", "Offset = (-1.5,2,30)", "offset in its header is '"),
    ("3e1", "1e99999", "offset in its header"),
    ("MET_SHORT", "MET_STRING", "elementtype in its header"),
    ("LOCAL", "LIST", "elementdatafile in its header"),
    ("LOCAL", "/etc/passwd", "elementdatafile in its header"),
    ("LOCAL", "../x.raw", "elementdatafile in its header"),
    ("LOCAL", "slice%03d.raw 1 3 1", "elementdatafile in its header"),
    ("ElementDataFile = LOCAL\n", "", "the line"),
    ("BinaryData = True", "Binary\0Data = True", "the line"),
    ("BinaryData = True", "BinaryData", "the line"),
    ("BinaryData = True", f"Comment = {'x' * 5000}", "the line 'Comment"),
])  # fmt: skip
def test_metaimage_headers_that_itk_must_not_see(tmp_path, old, new, words):
    path = written(tmp_path / "x.mha", changed(META, old, new))
    with pytest.raises(NasosegError, match=rf"x\.mha: cannot be read as an image \(.*{words}") as caught:
        read_volume(path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("old", "new", "words"), [
    ("NRRD0004", "NRRD9", "does not begin with NRRD"),
    ("dimension: 3", "dimension: 2147483648", "dimension in its header"),
    ("dimension: 3\n", "", "no dimension"),
    ("dimension: 3", "dimension: 3\ndimension: 2", "two fields dimension"),
    ("sizes: 2 3 4", "sizes: 2 3", "sizes in its header has 2 values, not 3"),
    ("sizes: 2 3 4\n", "", "no sizes"),
    ("encoding: raw", "encoding: bzip2", "encoding in its header"),
    ("encoding: raw\n", "", "no type or encoding"),
    ("endian: little", "endian: little\nbyte skip: x", "byteskip in its header"),
    ("endian: little", "endian: little\ndata file: /etc/passwd", "its voxels lie in another file"),
    ("endian: little", "endian: little\ndatafile: LIST", "its voxels lie in another file"),
    ("endian: little", "endian", "the line 'endian'"),
    ("space: left", "sp" + "[" * 3000 + "ace: left", "the line"),
    ("kinds: domain", f"kinds: {'x' * 3000}", "the line 'kinds"),
    ("kinds", "colour: red\nkinds", "the unknown field 'colour"),
    ("20200102\n\n", "20200102\n", "the line"),
])  # fmt: skip
def test_nrrd_headers_that_itk_must_not_see(tmp_path, old, new, words):
    path = written(tmp_path / "x.nrrd", changed(NRRD, old, new))
    with pytest.raises(NasosegError, match=rf"x\.nrrd: cannot be read as an image \(.*{words}"):
        read_volume(path)


@pytest.mark.parametrize(("ending", "header"), [("mha", META), ("nrrd", NRRD)])
def test_a_header_that_claims_more_voxels_than_its_file_can_hold(tmp_path, ending, header):
    path = written(tmp_path / f"x.{ending}", header.replace("2 3 4", "900 900 900"))
    with pytest.raises(NasosegError, match=r"claims 729000000 bytes of voxels, more than a file of \d+ bytes can hold"):
        read_volume(path)


def test_a_large_image_whose_header_is_a_small_file_of_its_own(tmp_path):
    header = changed(META, "2 3 4", "100 100 100").replace("LOCAL", "x.raw")
    (tmp_path / "x.mhd").write_text(header)
    (tmp_path / "x.raw").write_bytes(np.arange(10**6).astype("<i2").tobytes())
    assert read_volume(tmp_path / "x.mhd").array[99, 99, 99] == np.int64(10**6 - 1).astype(np.int16)


def test_a_header_without_end(tmp_path):
    (tmp_path / "x.nrrd").write_text(NRRD.rstrip())
    with pytest.raises(NasosegError, match="its header has no end"):
        read_volume(tmp_path / "x.nrrd")
    (tmp_path / "x.mha").write_text(changed(META, "ElementDataFile = LOCAL\n", ""))
    with pytest.raises(NasosegError, match="its header does not end with ElementType and ElementDataFile"):
        read_volume(tmp_path / "x.mha")


@pytest.mark.parametrize("ending", ["mha", "nrrd"])
def test_another_format_under_the_name_is_not_read(tmp_path, ending):
    image = SimpleITK.GetImageFromArray(VOXELS.reshape(4, 3, 2))
    SimpleITK.WriteImage(image, str(tmp_path / "x.nii"))
    path = (tmp_path / "x.nii").rename(tmp_path / f"x.{ending}")
    with pytest.raises(NasosegError, match="cannot be read as an image"):
        read_volume(path)


def test_a_fourth_axis_of_length_one_is_dropped(tmp_path):
    header = META.replace("NDims = 3", "NDims = 4").replace("2 3 4", "2 3 4 1").replace("3e1", "30 7")
    header = header.replace("2.5 5 5", "2.5 5 5 1").replace("1 0 0 0 1 0 0 0 1", "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1")
    volume = read_volume(written(tmp_path / "x.mha", header))
    np.testing.assert_array_equal(volume.array, VOXELS.reshape(2, 3, 4, order="F"))
    np.testing.assert_array_equal(volume.geometry.spacing_mm, [2.5, 5, 5])
    np.testing.assert_array_equal(volume.geometry.affine_lps[:3, 3], [-1.5, 2, 30])

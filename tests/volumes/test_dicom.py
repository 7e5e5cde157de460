"""CT series in: the place of every voxel, and its HU, against the grid that was written and against SimpleITK."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from generated_dicom import AXIAL, anatomy, placed_hu, uid, write_ct, write_enhanced_ct
from generated_grids import grids
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom import read_ct
from nasoseg.volumes.dicom_seg import read_seg, write_seg
from nasoseg.volumes.rtstruct import read_rtstruct, write_rtstruct
from nasoseg.volumes.volume import Geometry

POSITIONS = {  # of the patient on the table: directions of rising columns and rows in LPS
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "HFDR": (0, -1, 0, 1, 0, 0),
    "HFDL": (0, 1, 0, -1, 0, 0),
    "FFDR": (0, -1, 0, -1, 0, 0),
    "FFDL": (0, 1, 0, 1, 0, 0),
}


def itk_series(folder: Path) -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def test_a_series_is_read_as_written(tmp_path):
    hu = anatomy()
    paths = write_ct(tmp_path, hu)
    ct = read_ct(tmp_path)
    assert ct.volume.array.dtype == np.int16
    assert np.array_equal(ct.volume.array, hu)
    np.testing.assert_allclose(ct.volume.geometry.affine_lps, AXIAL, atol=1e-10)
    assert ct.straight
    assert ct.remarks == ()
    assert [plane.sop_instance_uid for plane in ct.planes] == [uid("P1", "series", z) for z in range(5)]
    assert {plane.sop_class_uid for plane in ct.planes} == {CTImageStorage}
    assert (ct.series_instance_uid, ct.study_instance_uid) == (uid("P1", "series"), uid("P1", "study"))
    assert ct.frame_of_reference_uid == uid("P1", "frame")
    assert ct.header.SOPInstanceUID == pydicom.dcmread(paths[0]).SOPInstanceUID
    assert ct.header.PatientName == "Secretname^Jördis"
    assert "PixelData" not in ct.header


def test_an_odd_matrix_keeps_its_last_row_and_column(tmp_path):
    """511 x 511 of 16 bits: a slice has an odd number of pixels."""
    hu = np.random.default_rng(0).integers(-1000, 2000, (3, 511, 511), dtype=np.int16)
    write_ct(tmp_path / "ct", hu, intercept=-1000)
    ct = read_ct(tmp_path / "ct")
    assert np.array_equal(ct.volume.array, hu)
    corner = np.zeros(hu.shape, bool)
    corner[1, -1, -1] = corner[2, 0, 0] = True
    write_seg(tmp_path / "seg.dcm", {"Lens_L": corner}, ct)
    (back,) = read_seg(tmp_path / "seg.dcm", ct).values()
    assert np.array_equal(back, corner)
    write_rtstruct(tmp_path / "rt.dcm", {"Lens_L": corner}, ct)
    (back,) = read_rtstruct(tmp_path / "rt.dcm", ct).values()
    assert np.array_equal(back, corner)


@given(grid=grids(smallest=2, largest=5), data=st.data())
@settings(deadline=None, max_examples=15)
def test_a_voxel_stays_where_it_is(tmp_path_factory, grid, data):
    folder = tmp_path_factory.mktemp("ct")
    marked = tuple(data.draw(st.integers(0, side - 1)) for side in grid.shape)
    hu = np.full(grid.shape, -500)
    hu[marked] = 1000
    write_ct(folder, hu, grid.affine_lps)
    place = (grid.affine_lps @ [*marked, 1])[:3]
    ct = read_ct(folder)
    (found,) = np.argwhere(ct.volume.array == 1000)
    np.testing.assert_allclose((ct.volume.geometry.affine_lps @ [*found, 1])[:3], place, atol=1e-3)
    plane = ct.planes[found[0]]
    np.testing.assert_allclose((plane.affine_lps @ [found[1], found[2], 1]), [*place, 1], atol=1e-3)
    image = itk_series(folder)  # the independent reader
    (index,) = np.argwhere(SimpleITK.GetArrayFromImage(image) == 1000)
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index[::-1].tolist()), place, atol=1e-3)


@pytest.mark.parametrize("position", POSITIONS)
def test_patient_positions(tmp_path, position):
    along, down = np.reshape(POSITIONS[position], (2, 3)).astype(float)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = 2.5 * np.cross(along, down), 0.8 * down, 0.9 * along
    affine[:3, 3] = 30, -40, 50
    shape = (4, 6, 5)

    def empty_position(dataset, z):  # found in the wild: nothing may depend on it
        dataset.PatientPosition = ""

    write_ct(tmp_path, np.rint(placed_hu(shape, affine)), affine, edit=empty_position)
    axial = read_ct(tmp_path).volume.axial()
    expected = np.rint(placed_hu(axial.array.shape, axial.geometry.affine_lps))
    assert np.array_equal(axial.array, expected)
    directions = axial.geometry.affine_lps[:3, :3] / axial.geometry.spacing_mm
    np.testing.assert_allclose(directions, [[0, 0, 1], [0, 1, 0], [1, 0, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PhotometricInterpretation", "MONOCHROME1"),  # a way to show it, not another number
        ("PhotometricInterpretation", ""),
        ("PhotometricInterpretation", None),
        ("SamplesPerPixel", None),
        ("RescaleType", None),
        ("RescaleType", "HU_MOD"),
        ("RescaleType", "hu"),
        ("SliceThickness", None),
        ("PixelRepresentation", None),
        ("BitsStored", None),
        ("HighBit", None),
    ],
)
def test_what_may_be_left_out_or_said_otherwise(tmp_path, keyword, value):
    def said(dataset, z):
        if keyword in dataset:
            delattr(dataset, keyword)
        if value is not None:
            setattr(dataset, keyword, value)

    hu = anatomy()
    write_ct(tmp_path, hu, edit=said)
    ct = read_ct(tmp_path)
    assert np.array_equal(ct.volume.array, hu)
    assert ct.remarks == ()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless], ids=lambda s: s.keyword)
def test_enhanced_multi_frame(tmp_path, syntax):
    hu = anatomy((5, 40, 36)) // 2 * 2
    order = [3, 0, 4, 2, 1]
    path = write_enhanced_ct(tmp_path / "ct.dcm", hu, order=order, slopes=[1, 2, 1, 2, 1], syntax=syntax)
    for given_path in (path, tmp_path):
        ct = read_ct(given_path)
        assert np.array_equal(ct.volume.array, hu)
        np.testing.assert_allclose(ct.volume.geometry.affine_lps, AXIAL, atol=1e-10)
        assert [plane.frame for plane in ct.planes] == [order.index(z) + 1 for z in range(5)]
        assert {plane.sop_instance_uid for plane in ct.planes} == {uid("enhanced")}


def test_what_a_frame_says_of_itself_counts_before_what_all_share(tmp_path):
    def with_own(dataset, z):
        shared = dataset.SharedFunctionalGroupsSequence[0]
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            frame.PixelMeasuresSequence = [pydicom.Dataset()]
            frame.PixelMeasuresSequence[0].PixelSpacing = ["0.4", "0.5"]
            frame.PixelMeasuresSequence[0].SliceThickness = "1.5"
        assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.8, 0.9]

    write_enhanced_ct(tmp_path / "ct.dcm", anatomy(), edit=with_own)
    np.testing.assert_allclose(read_ct(tmp_path).volume.geometry.spacing_mm, [2.5, 0.4, 0.5])


def test_scout_frames_are_passed_over(tmp_path):
    def with_scout(dataset, z):
        kind = pydicom.Dataset()
        kind.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
        dataset.PerFrameFunctionalGroupsSequence[0].CTImageFrameTypeSequence = [kind]

    hu = anatomy()
    write_enhanced_ct(tmp_path / "ct.dcm", hu, edit=with_scout)
    ct = read_ct(tmp_path)
    assert np.array_equal(ct.volume.array, hu[1:])
    assert ct.remarks == ("ct.dcm: 1 scout frames were passed over",)


def test_highdicom_writes_multi_frame_alike(tmp_path):
    from highdicom.legacy import LegacyConvertedEnhancedCTImage

    hu = anatomy()
    single = [pydicom.dcmread(path) for path in write_ct(tmp_path / "single", hu)]
    converted = LegacyConvertedEnhancedCTImage(
        legacy_datasets=single,
        series_instance_uid=uid("h"),
        series_number=2,
        sop_instance_uid=uid("i"),
        instance_number=1,
    )
    (tmp_path / "multi").mkdir()
    converted.save_as(tmp_path / "multi" / "ct.dcm")
    ct = read_ct(tmp_path / "multi")
    assert np.array_equal(ct.volume.array, hu)
    np.testing.assert_allclose(ct.volume.geometry.affine_lps, AXIAL, atol=1e-6)


def test_positions_rounded_to_a_tenth_are_straight(tmp_path):
    affine = AXIAL.copy()
    affine[2, 0] = 0.625

    def rounded(dataset, z):
        dataset.ImagePositionPatient = [f"{value:.1f}" for value in dataset.ImagePositionPatient]

    write_ct(tmp_path, anatomy((20, 4, 4)), affine, edit=rounded)
    ct = read_ct(tmp_path)
    assert ct.straight
    assert ct.volume.geometry.matches(Geometry((20, 4, 4), affine))  # to 0.05 mm


def test_pixels_keep_their_size_where_cosines_are_rounded(tmp_path):
    def rounded(dataset, z):
        dataset.ImageOrientationPatient = ["0.9993", "0", "0", "0", "0.9995", "0"]

    write_ct(tmp_path, anatomy(), edit=rounded)
    np.testing.assert_allclose(read_ct(tmp_path).volume.geometry.spacing_mm, [2.5, 0.8, 0.9], rtol=1e-12)


def test_cosines_rounded_to_four_decimals_are_straight(tmp_path):
    angle = np.deg2rad(11)
    affine = np.eye(4)
    affine[:3, 0] = 5 * np.array([0, -np.sin(angle), np.cos(angle)])
    affine[:3, 1] = np.array([0, np.cos(angle), np.sin(angle)])
    affine[:3, 2] = 1, 0, 0

    def rounded(dataset, z):
        dataset.ImageOrientationPatient = [f"{value:.4f}" for value in dataset.ImageOrientationPatient]

    write_ct(tmp_path, anatomy((60, 4, 4)), affine, edit=rounded)
    ct = read_ct(tmp_path)
    assert ct.straight
    assert ct.volume.geometry.matches(Geometry((60, 4, 4), affine))


def test_odd_text_in_elements_is_no_obstacle(tmp_path):
    def odd(dataset, z):
        dataset.add(pydicom.DataElement("StudyDate", "DA", "x" * 36, validation_mode=pydicom.config.IGNORE))
        dataset.add(pydicom.DataElement("PatientSex", "CS", "y" * 36, validation_mode=pydicom.config.IGNORE))
        dataset.SourceImageSequence = [pydicom.Dataset()]

    hu = anatomy((3, 5, 5))
    with pydicom.config.disable_value_validation():
        write_ct(tmp_path, hu, edit=odd)
    assert np.array_equal(read_ct(tmp_path).volume.array, hu)


def test_emptied_uids_are_remarked(tmp_path):
    def emptied(dataset, z):
        dataset.StudyInstanceUID = dataset.SeriesInstanceUID = dataset.FrameOfReferenceUID = ""
        dataset.PatientID = ""

    hu = anatomy()
    write_ct(tmp_path / "a", hu, edit=emptied)
    ct = read_ct(tmp_path)
    assert np.array_equal(ct.volume.array, hu)
    assert ct.series_instance_uid == ""
    for level in ("FrameOfReference", "StudyInstance", "SeriesInstance"):
        assert f"the files have no {level}UID" in ct.remarks
    write_ct(tmp_path / "b", hu, edit=emptied, patient="P2")  # another folder is another series
    with pytest.raises(NasosegError, match="2 CT series"):
        read_ct(tmp_path)


@pytest.mark.parametrize("thickness", ["1.25", "0.625"])
def test_gaps_between_thin_slices_are_remarked(tmp_path, thickness):
    def thin(dataset, z):
        dataset.SliceThickness = thickness

    write_ct(tmp_path, anatomy(), edit=thin)
    assert f"slices of {thickness} mm lie 2.50 mm apart" in read_ct(tmp_path).remarks[0]


def test_a_tilt_in_the_header_alone_is_remarked(tmp_path):
    def said(dataset, z):
        dataset.GantryDetectorTilt = "-12"

    write_ct(tmp_path, anatomy(), edit=said)
    ct = read_ct(tmp_path)
    assert ct.straight
    assert "GantryDetectorTilt is 12 degrees" in ct.remarks[0]

"""RTSTRUCT in: files built by hand, valid and broken; and there and back on any grid."""

import copy

import numpy as np
import pydicom
import pytest
from generated_ct_series import axial_geometry, ct_series, oblique_geometries
from generated_rtstruct import GEOMETRY, expected, image, rtstruct, saved, square
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from nasoseg.errors import NasosegError
from nasoseg.volumes.rtstruct import read_rtstruct, write_rtstruct
from nasoseg.volumes.structure_set import Roi


@pytest.fixture
def ct():
    return ct_series(GEOMETRY)


def read_one(ct, tmp_path, *contours):
    """Read a file of one structure; its mask (None where it has none) and remarks."""
    structures = read_rtstruct(saved(rtstruct(ct, {"One": contours}), tmp_path / "rt.dcm"), ct)
    return structures.get("One"), list(structures.rois["One"].remarks)


def test_contours_are_placed_by_position_and_named_by_number(ct, tmp_path):
    dataset = rtstruct(
        ct, {"Spinal Cord": [square(6, -2.5, 1.5)], "Größe/../x": [square(3, 0.5, 4.5), square(0, 1, 2)]}
    )
    for drawn in dataset.ROIContourSequence:  # image UIDs that are not the CT's
        for one in drawn.ContourSequence:
            one.ContourImageSequence = [image(generate_uid())]
    structures = read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)
    assert list(structures) == ["Spinal Cord", "Größe/../x"]
    assert np.array_equal(structures["Spinal Cord"], expected((2, -2.5, 1.5)))
    assert np.array_equal(structures["Größe/../x"], expected((1, 0.5, 4.5), (0, 0.5, 1.5)))  # edges: low in, high out
    assert structures.rois["Spinal Cord"] == Roi("Spinal Cord", 5, "", (10, 20, 30), ())
    assert structures.voxels("Spinal Cord") == 16


def test_the_type_of_a_structure_is_read(ct, tmp_path):
    dataset = rtstruct(ct, {"A": [square(6, -3.5, 3.5)], "B": [square(3, -3.5, 3.5)]})
    observed = pydicom.Dataset()
    observed.ObservationNumber, observed.ReferencedROINumber, observed.RTROIInterpretedType = 1, 6, "PTV"
    dataset.RTROIObservationsSequence = [observed]
    structures = read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)
    assert [structures.rois[name].interpreted_type for name in "AB"] == ["", "PTV"]


def test_several_contours_holes_and_islands(ct, tmp_path):
    apart = [square(6, -4.5, -2.5), square(6, 2.5, 5.5)]
    assert np.array_equal(read_one(ct, tmp_path, *apart)[0], expected((2, -4.5, -2.5), (2, 2.5, 5.5)))
    for kind in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR"):
        nested = [square(6, -6.5, 6.5, kind=kind), square(6, -3.5, 3.5, kind=kind), square(6, -1.5, 1.5, kind=kind)]
        mask, remarks = read_one(ct, tmp_path, *nested)
        assert np.array_equal(mask, expected((2, -6.5, 6.5), (2, -3.5, 3.5), (2, -1.5, 1.5)))
        assert remarks == []


def test_a_keyhole(ct, tmp_path):
    outer, hole = square(6, -6.5, 6.5)[1], square(6, -3.5, 3.5)[1]
    keyhole = [*outer, outer[0], *hole, hole[0]]
    mask, remarks = read_one(ct, tmp_path, ("CLOSED_PLANAR", keyhole))
    assert np.array_equal(mask, expected((2, -6.5, 6.5), (2, -3.5, 3.5)))
    assert remarks == []


def test_doubled_contours_do_not_cancel_out(ct, tmp_path):
    kind, points = square(6, -3.5, 3.5)
    again = [(x + 0.001, y - 0.001, z) for x, y, z in points[2:] + points[:2]]
    mask, remarks = read_one(ct, tmp_path, (kind, points), (kind, points[::-1]), (kind, again), square(6, -1.5, 1.5))
    assert np.array_equal(mask, expected((2, -3.5, 3.5), (2, -1.5, 1.5)))
    assert remarks == ["2 contours stored twice counted once"]


def test_contours_between_slices_go_to_the_nearest(ct, tmp_path):
    mask, remarks = read_one(ct, tmp_path, square(7.2, -3.5, 3.5), square(8.4, -2.5, 2.5))
    assert np.array_equal(mask, expected((2, -3.5, 3.5), (3, -2.5, 2.5)))
    assert remarks == ["2 contours moved to the nearest slice, by up to 1.20 mm"]


def test_what_is_odd_is_counted_over_all_slices(ct, tmp_path):
    levels = (3, 6, 12)
    twice = [square(z, -3.5, 3.5) for z in levels for _ in range(2)]
    assert read_one(ct, tmp_path, *twice)[1] == [
        "3 contours stored twice counted once",
        "1 slice between its ends without a contour, left empty",
    ]
    crossing = [square(z, *ends) for z in (3, 6) for ends in ((-5.5, 1.5), (-1.5, 5.5))]
    assert read_one(ct, tmp_path, *crossing)[1] == ["2 contours crossing another: what both enclose counts as outside"]
    outside = [square(18, -3.5, 3.5), square(21, -3.5, 3.5), square(6, -3.5, 3.5, x=-30), square(6, -3.5, 3.5, y=30)]
    beyond = [square(6, 2.5, 50), square(9, 2.5, 50)]
    assert read_one(ct, tmp_path, *outside, *beyond)[1] == [
        "2 contours above or below the scan left out",
        "2 contours beside the scan left out",
        "2 contours reaching beyond the image cut off there",
    ]


def test_copies_are_known_by_millimetres(tmp_path):
    ct = ct_series(axial_geometry((6, 40, 40), (3, 0.5, 0.5), origin=(-10, -10, 0)))
    kind, points = square(6, -3.3, 3.3)
    again = [(x + 0.007, y, z) for x, y, z in points]
    mask, remarks = read_one(ct, tmp_path, (kind, points), (kind, again))
    assert mask.sum() == 13**2
    assert remarks == ["1 contour stored twice counted once"]


def test_of_two_levels_that_are_equally_near_the_lower_one_is_kept(ct, tmp_path):
    mask, remarks = read_one(ct, tmp_path, square(5, -2.5, 2.5), square(7, -3.5, 3.5))
    assert np.array_equal(mask, expected((2, -2.5, 2.5)))
    assert "1 contour on a level between slices left out, because another is nearer" in remarks


def test_two_levels_for_one_slice_do_not_cancel_out(ct, tmp_path):
    mask, remarks = read_one(ct, tmp_path, square(5, -2.5, 2.5), square(6.01, -3.5, 3.5), square(7, -2.5, 2.5))
    assert np.array_equal(mask, expected((2, -3.5, 3.5)))
    assert remarks == ["2 contours on a level between slices left out, because another is nearer"]


def test_a_slice_without_a_contour_stays_empty(ct, tmp_path):
    mask, remarks = read_one(ct, tmp_path, square(0, -3.5, 3.5), square(9, -3.5, 3.5))
    assert np.array_equal(mask, expected((0, -3.5, 3.5), (3, -3.5, 3.5)))
    assert remarks == ["2 slices between its ends without a contour, left empty"]


def test_what_encloses_nothing_is_left_out_and_said(ct, tmp_path):
    two = [(-3, 0, 6), (3, 0, 6)]
    mask, remarks = read_one(
        ct,
        tmp_path,
        ("POINT", [(0, 0, 6)]),
        ("POINT", [(0, 0, 9)]),
        square(6, -3.5, 3.5, kind="OPEN_PLANAR"),
        ("CLOSED_PLANAR", two),
        ("CLOSED_PLANAR", [*two, two[0], two[0]]),
        square(9, -3.5, 3.5),
    )
    assert np.array_equal(mask, expected((3, -3.5, 3.5)))
    assert remarks == [
        "2 contours of type POINT left out",
        "1 contour of type OPEN_PLANAR left out",
        "2 contours of fewer than three points left out",
    ]


def test_contours_outside_the_scan(ct, tmp_path):
    inside = square(6, -3.5, 3.5)
    for outside, why in (
        (square(18, -3.5, 3.5), "1 contour above or below the scan left out"),
        (square(-1.7, -3.5, 3.5), "1 contour above or below the scan left out"),
        (square(6, 0, 5, x=30), "1 contour beside the scan left out"),
    ):
        mask, remarks = read_one(ct, tmp_path, inside, outside)
        assert np.array_equal(mask, expected((2, -3.5, 3.5)))
        assert remarks == [why]
    mask, remarks = read_one(ct, tmp_path, square(6, 2.5, 50))
    assert np.array_equal(mask, expected((2, 2.5, 50)))
    assert remarks == ["1 contour reaching beyond the image cut off there"]


@pytest.mark.parametrize(
    ("low", "high", "remark"),
    [
        (-13, -10.6, "1 contour beside the scan left out"),
        (-13, -10.4, "1 contour reaching beyond the image cut off there"),
        (-13, -9.8, "1 contour reaching beyond the image cut off there"),
        (-11.5, -5, "1 contour reaching beyond the image cut off there"),
        (-10.9, -5, None),
        (-9.6, -5, None),
        (8.6, 9.9, None),
        (8.6, 10.2, "1 contour reaching beyond the image cut off there"),
        (9.4, 13, "1 contour reaching beyond the image cut off there"),
        (9.6, 13, "1 contour beside the scan left out"),
    ],
)
@pytest.mark.parametrize("axis", ["x", "y", "both"])
def test_contours_at_the_border(ct, tmp_path, low, high, remark, axis):
    """Pixels' centres lie at -10 to 9 mm, so that the image ends half a pixel beyond."""
    first, second = ((low, high), (-3.5, 3.5))[:: -1 if axis == "y" else 1]
    (a, b), (c, d) = first, first if axis == "both" else second
    mask, remarks = read_one(ct, tmp_path, ("CLOSED_PLANAR", [(a, c, 6), (b, c, 6), (b, d, 6), (a, d, 6)]))
    centres = np.arange(-10, 10)
    inside = [(centres >= one) & (centres < other) for one, other in ((c, d), (a, b))]
    drawn = np.outer(*inside)
    assert (mask is None) == (not drawn.any())
    if drawn.any():
        assert np.array_equal(mask[2], drawn)
        assert remarks == [remark] * (remark is not None)
    else:
        assert remarks[0] == remark


@pytest.mark.parametrize(("z", "why"), [(10.5, "where the CT lacks a slice"), (18, "above or below the scan")])
def test_a_contour_in_a_gap_of_the_ct(tmp_path, z, why):
    planes = [np.array([(0, 1, -10), (1, 0, -10), (0, 0, height), (0, 0, 1)], float) for height in (0, 3, 6, 15)]
    ct = ct_series(axial_geometry((6, 20, 20), (3, 1, 1), origin=(-10, -10, 0)), planes=planes)
    assert read_one(ct, tmp_path, square(z, -3.5, 3.5)) == (None, [f"1 contour {why} left out"])


def test_a_contour_moves_with_the_tilt_to_the_slices_that_show_its_plane(tmp_path):
    """Planes a millimetre backwards for every millimetre upwards, slices at 0, 3 ... 15 mm."""
    planes = [np.array([(0, 1, -10), (1, 0, z - 10), (0, 0, z), (0, 0, 1)], float) for z in (0, 4, 8, 13)]
    ct = ct_series(axial_geometry((6, 30, 20), (3, 1, 1), origin=(-10, -10, 0)), planes=planes)
    mask, remarks = read_one(ct, tmp_path, square(4, -2.5, 2.5))  # rows 8 to 12 where it was drawn
    assert remarks == []
    rows = [np.flatnonzero(plane.any(axis=1)).tolist() for plane in mask]
    assert rows == [[], [7, 8, 9, 10, 11], [10, 11, 12, 13, 14], [], [], []]  # the plane at 4 mm shown at 3 and 6 mm


def test_rows_and_columns_are_told_apart(tmp_path):
    ct = ct_series(axial_geometry((6, 20, 30), (3, 1, 1), origin=(-10, -10, 0)))
    mask, remarks = read_one(ct, tmp_path, square(6, -1.5, 1.5, x=15), square(6, -1.5, 1.5, y=15))
    assert np.argwhere(mask).min(axis=0).tolist() == [2, 9, 24]
    assert np.argwhere(mask).max(axis=0).tolist() == [2, 11, 26]
    assert remarks == ["1 contour beside the scan left out"]


def test_contours_not_parallel_to_the_slices(ct, tmp_path):
    kind, points = square(6, -3.5, 3.5)
    tilted = [(x, y, z + 0.4 * y) for x, y, z in points]
    rounded = [(x, y, z + 0.1 * y) for x, y, z in points]  # 0.7 mm from end to end, of 3 mm
    assert read_one(ct, tmp_path, (kind, tilted)) == (None, ["1 contour not parallel to the slices left out"])
    assert np.array_equal(read_one(ct, tmp_path, (kind, rounded))[0], expected((2, -3.5, 3.5)))


@pytest.mark.parametrize(("x", "size"), [(7, 1.5), (0, 1.5), (0, 5.5)], ids=["apart", "a hole", "around"])
def test_contours_that_do_not_cross_are_not_remarked(ct, tmp_path, x, size):
    mask, remarks = read_one(ct, tmp_path, square(6, -3.5, 3.5), square(6, -size, size, x=x))
    assert mask.any()
    assert remarks == []


def test_contours_that_cross_are_said(ct, tmp_path):
    mask, remarks = read_one(ct, tmp_path, square(6, -5.5, 1.5), square(6, -1.5, 5.5))
    assert np.array_equal(mask, expected((2, -5.5, 1.5), (2, -1.5, 5.5)))
    assert remarks == ["1 contour crossing another: what both enclose counts as outside"]


def test_structures_without_a_mask_say_why(ct, tmp_path):
    dataset = rtstruct(ct, {"Empty": [], "Point": [("POINT", [(0, 0, 6)])], "Tiny": [square(6, 0.2, 0.4)]})
    structures = read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)
    assert len(structures) == 0
    assert structures.report() == [
        "Empty (number 5): no mask: it has no contours",
        "Point (number 6): no mask: 1 contour of type POINT left out",
        "Tiny (number 7): no mask: no pixel's centre lies inside its contours",
    ]


def test_a_missing_slice_is_not_filled(tmp_path):
    whole = GEOMETRY.affine_lps
    planes = [np.stack([whole[:, 1], whole[:, 2], whole @ [k, 0, 0, 1]], axis=1) for k in (0, 1, 2, 4, 5)]
    ct = ct_series(GEOMETRY, planes=planes)
    mask, remarks = read_one(ct, tmp_path, square(6, -3.5, 3.5), square(9, -3.5, 3.5))
    assert not mask[4:].any()
    assert remarks == ["1 contour where the CT lacks a slice left out"]
    planes = [np.stack([whole[:, 1], whole[:, 2], whole @ [k, 0, 0, 1]], axis=1) for k in (0, 2, 3, 4, 5)]
    _, remarks = read_one(ct_series(GEOMETRY, planes=planes), tmp_path, square(6, -3.5, 3.5), square(3, -3.5, 3.5))
    assert remarks == ["1 contour where the CT lacks a slice left out"]


def test_numbers_and_names_that_do_not_fit(ct, tmp_path):
    dataset = rtstruct(ct, {"A": [square(6, -3.5, 3.5)], "B": [square(3, -3.5, 3.5)], "C": [square(3, -1.5, 1.5)]})
    a, b, c = dataset.StructureSetROISequence
    a.ROIName, b.ROIName = "Heart", "Heart"
    stray = copy.deepcopy(dataset.ROIContourSequence[0])
    stray.ReferencedROINumber = 99
    dataset.ROIContourSequence.append(stray)
    structures = read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)
    assert list(structures) == ["Heart", "Heart (6)", "C"]
    assert np.array_equal(structures["Heart (6)"], expected((1, -3.5, 3.5)))
    assert structures.report() == [
        "ROI number 99 has contours but no name: left out",
        "Heart (6) (number 6): another structure is called 'Heart' too",
    ]
    c.ROINumber, b.ROIName = 6, "Heart"
    structures = read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)
    assert list(structures) == ["Heart"]
    assert "2 structures have this number" in structures.rois["C"].remarks[0]
    assert [said[:25] for said in structures.rois["Heart (6)"].remarks[:2]] == [
        "another structure is call",
        "2 structures have this nu",
    ]


def test_unreadable_coordinates(ct, tmp_path):
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5), square(3, -3.5, 3.5), square(0, -3.5, 3.5)]})
    first, second, _ = dataset.ROIContourSequence[0].ContourSequence
    first.ContourData = first.ContourData[:-1]
    del second.ContourData
    structures = read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)
    assert np.array_equal(structures["One"], expected((0, -3.5, 3.5)))
    said = ["1 contour with unreadable coordinates left out", "1 contour of fewer than three points left out"]
    assert list(structures.rois["One"].remarks) == said


def test_oddities_of_real_files_are_read(ct, tmp_path):
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5)]})
    frame = dataset.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    series.ContourImageSequence.insert(0, pydicom.Dataset())
    with pydicom.config.disable_value_validation():
        dataset.StudyDate = dataset.PatientSex = "123e4567-e89b-12d3-a456-426614174000"
        dataset.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = "CLOSED_PLANAR "
    path = saved(dataset, tmp_path / "rt.dcm")
    assert np.array_equal(read_rtstruct(path, ct)["One"], expected((2, -3.5, 3.5)))


def test_what_writers_leave_out_or_pad(ct, tmp_path):
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5), square(3, -3.5, 13.5)], "Two": [square(0, -3.5, 3.5)]})
    one, two = reversed(dataset.ROIContourSequence)
    del one.ContourSequence[0].ContourGeometricType
    path = saved(dataset, tmp_path / "rt.dcm")
    points = "\\".join(f"{value:.6g}" for value in np.ravel(square(3, -3.5, 13.5)[1])).encode()
    whole = path.read_bytes()
    assert whole.count(points + b" ") == 1
    path.write_bytes(whole.replace(points + b" ", points + b"\0"))  # some pad with it
    structures = read_rtstruct(path, ct)
    assert np.array_equal(structures["One"], expected((2, -3.5, 3.5), (1, -3.5, 13.5)))
    two.ReferencedROINumber = one.ReferencedROINumber  # the contours of one structure in two entries
    structures = read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)
    assert np.array_equal(structures["One"], expected((2, -3.5, 3.5), (1, -3.5, 13.5), (0, -3.5, 3.5)))


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian])
def test_other_transfer_syntaxes(ct, tmp_path, syntax):
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5)]})
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    whole = (tmp_path / "rt.dcm").read_bytes()
    assert np.array_equal(read_rtstruct(tmp_path / "rt.dcm", ct)["One"], expected((2, -3.5, 3.5)))
    for keep in (len(whole) - 40, len(whole) - 10):
        (tmp_path / "cut.dcm").write_bytes(whole[:keep])
        with pytest.raises(NasosegError, match=r"cut\.dcm: "):
            read_rtstruct(tmp_path / "cut.dcm", ct)


def test_only_the_names_asked_for(ct, tmp_path):
    path = saved(rtstruct(ct, {"Heart": [square(6, -3.5, 3.5)], "Lung": [square(3, -3.5, 3.5)]}), tmp_path / "rt.dcm")
    assert list(read_rtstruct(path, ct, names=["Lung"])) == ["Lung"]
    with pytest.raises(NasosegError, match=r"rt\.dcm: has no structure 'Hart': did you mean 'Heart'"):
        read_rtstruct(path, ct, names=["Hart"])


@pytest.mark.parametrize(
    ("said", "colour"), [(["0", "300", "-5"], (0, 255, 0)), (["1", "2"], None), ("7", None), (None, None)]
)
def test_a_colour_is_three_numbers_of_a_byte(ct, tmp_path, said, colour):
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5)]})
    with pydicom.config.disable_value_validation():
        dataset.ROIContourSequence[0].ROIDisplayColor = said
        path = saved(dataset, tmp_path / "rt.dcm")
    assert read_rtstruct(path, ct).rois["One"].colour == colour


def test_a_file_without_contours_or_numbers(ct, tmp_path):
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5)]})
    del dataset.StructureSetROISequence[0].ROINumber
    with pytest.raises(NasosegError, match=r"rt\.dcm: cannot be read \(.*\): expected a whole DICOM RTSTRUCT"):
        read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)
    del dataset.ROIContourSequence
    with pytest.raises(NasosegError, match=r"rt\.dcm: names structures but has no ROIContourSequence"):
        read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)


@pytest.mark.parametrize("implicit", [True, False])
def test_sequences_without_a_length_and_long_elements(ct, tmp_path, implicit):
    """Lengths of 2^15 and more in two bytes, and of 2^32 - 1 for what ends with an element of its own."""
    angles = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    circle = [(round(5.05 * np.cos(a), 3), round(5.05 * np.sin(a), 3), 6) for a in angles]
    dataset = rtstruct(ct, {"One": [("CLOSED_PLANAR", circle)], "Two": [square(9, -3.5, 3.5)]})
    for sequence in (dataset["StructureSetROISequence"], dataset["ROIContourSequence"]):
        sequence.is_undefined_length = True
        for item in sequence.value:
            item.is_undefined_length_sequence_item = True
    if not implicit:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = saved(dataset, tmp_path / "rt.dcm")
    assert b"\xff\xff\xff\xff" in path.read_bytes()
    assert list(read_rtstruct(path, ct)) == ["One", "Two"]
    assert read_rtstruct(path, ct).voxels("One") == 81  # points of a grid within five of its centre
    whole = path.read_bytes()
    for lost in (4, 30, 3000):
        path.write_bytes(whole[:-lost])
        with pytest.raises(NasosegError, match=r"rt\.dcm: cannot be read"):
            read_rtstruct(path, ct)


def test_another_kind_of_file_or_a_damaged_one(ct, tmp_path):
    with pytest.raises(NasosegError, match=r"no\.dcm: no such file"):
        read_rtstruct(tmp_path / "no.dcm", ct)
    (tmp_path / "text.dcm").write_text("Dear colleague, the contours are attached.\n" * 20)
    with pytest.raises(NasosegError, match=r"text\.dcm: (found no DICOM object|cannot be read).*expected a .*RTSTRUCT"):
        read_rtstruct(tmp_path / "text.dcm", ct)
    dataset = rtstruct(ct, {"One": [square(z, -3.5, 3.5) for z in (0, 3, 6, 9)]})
    whole = saved(dataset, tmp_path / "rt.dcm").read_bytes()
    for keep in (*range(len(whole) // 2, len(whole) - 1, 50), len(whole) - 2):
        (tmp_path / "cut.dcm").write_bytes(whole[:keep])
        with pytest.raises(NasosegError, match=r"cut\.dcm: .*(cut short or damaged|no ROIContourSequence).*export it"):
            read_rtstruct(tmp_path / "cut.dcm", ct)
    (tmp_path / "padded.dcm").write_bytes(whole + bytes(50))
    assert read_rtstruct(tmp_path / "padded.dcm", ct).voxels("One") == 4 * 49
    dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.481.5", "RTPLAN"
    with pytest.raises(NasosegError, match=r"plan\.dcm: found SOP class .*RTPLAN: expected a DICOM RTSTRUCT"):
        read_rtstruct(saved(dataset, tmp_path / "plan.dcm"), ct)


@pytest.mark.parametrize("implicit", [True, False])
def test_a_file_without_preface(ct, tmp_path, implicit):
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5)]})
    del dataset.file_meta
    pydicom.dcmwrite(tmp_path / "rt.dcm", dataset, implicit_vr=implicit, little_endian=True)
    whole = (tmp_path / "rt.dcm").read_bytes()
    assert whole[128:132] != b"DICM"
    assert read_rtstruct(tmp_path / "rt.dcm", ct).voxels("One") == 49
    (tmp_path / "rt.dcm").write_bytes(whole[:-10])
    with pytest.raises(NasosegError, match=r"rt\.dcm: cannot be read"):
        read_rtstruct(tmp_path / "rt.dcm", ct)


# There and back.


def ring() -> np.ndarray:
    mask = np.zeros((5, 24, 22), bool)
    mask[1:4, 4:18, 3:19] = True
    mask[1:4, 8:13, 7:12] = False
    mask[2, 10, 9] = True
    return mask


@given(oblique_geometries((5, 24, 22)), st.integers(0, 4), st.integers(0, 22), st.integers(0, 20))
@settings(deadline=None, max_examples=25)
def test_masks_survive_on_any_grid_and_stay_in_their_place(tmp_path_factory, geometry, slice_, row, column):
    path = tmp_path_factory.mktemp("rt") / "rt.dcm"
    block, voxel = np.zeros((2, *geometry.shape), bool)
    block[slice_, row : row + 2, column : column + 2] = True
    voxel[slice_, row, column] = True
    masks = {"Block": block, "Voxel": voxel, "Ring": ring()}
    ct = ct_series(geometry)
    assert write_rtstruct(path, masks, ct) == []
    structures = read_rtstruct(path, ct)
    for name, mask in masks.items():
        assert np.array_equal(structures[name], mask)
    assert structures.remarks == ()
    drawn = pydicom.dcmread(path).ROIContourSequence
    for item, mask in zip(drawn, (block, voxel), strict=False):
        (only,) = item.ContourSequence
        place = geometry.affine_lps @ [*np.argwhere(mask).mean(axis=0), 1]
        np.testing.assert_allclose(np.reshape(only.ContourData, (-1, 3)).mean(axis=0), place[:3], atol=1e-3)
        assert only.ContourImageSequence[0].ReferencedSOPInstanceUID == ct.planes[slice_].sop_instance_uid


@pytest.mark.parametrize("tilt", [0, 18.5])
def test_masks_of_a_resampled_volume_go_to_the_original_planes(tmp_path, tilt):
    # Uneven planes, and tilted ones: the in-plane shift grows with the height, as behind a tilted gantry.
    geometry = axial_geometry((13, 60, 50), (3, 1, 1), origin=(0, 0, 0))
    heights = np.array([0, 1.5, 5, 9, 13, 17, 20.5, 24, 28, 32, 36])
    shift = np.tan(np.deg2rad(tilt))
    planes = [np.array([(0, 1, 0), (1, 0, shift * z), (0, 0, z), (0, 0, 1)], float) for z in heights]
    ct = ct_series(geometry, planes=planes)
    z, y, x = np.mgrid[:13, :60, :50]
    ball = (3 * z - 18) ** 2 + (y - 30 - shift * (3 * z - 18)) ** 2 + (x - 25) ** 2 < 12**2
    write_rtstruct(tmp_path / "rt.dcm", {"Ball": ball}, ct)
    item = pydicom.dcmread(tmp_path / "rt.dcm").ROIContourSequence[0]
    levels = {round(float(one.ContourData[2]), 3) for one in item.ContourSequence}
    assert levels == {9, 13, 17, 20.5, 24, 28}
    structures = read_rtstruct(tmp_path / "rt.dcm", ct)
    back = structures["Ball"]
    assert 2 * (ball & back).sum() / (ball.sum() + back.sum()) > 0.9
    moved = np.argwhere(back).mean(axis=0) - np.argwhere(ball).mean(axis=0)
    assert np.all(np.abs(moved) < (0.5, 0.5, 0.1))  # within half a slice, and what that is sideways in the tilt

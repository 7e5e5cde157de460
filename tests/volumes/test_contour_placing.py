"""Contours of an RTSTRUCT on the slices of a CT: which go where, what is left out, and what is said of it."""

import numpy as np
import pytest
from generated_ct_series import axial_geometry, ct_series
from generated_rtstruct import GEOMETRY, expected, rtstruct, saved, square

from nasoseg.volumes.rtstruct import read_rtstruct


@pytest.fixture
def ct():
    return ct_series(GEOMETRY)


def read_one(ct, tmp_path, *contours):
    """Read a file of one structure; its mask (None where it has none) and remarks."""
    structures = read_rtstruct(saved(rtstruct(ct, {"One": contours}), tmp_path / "rt.dcm"), ct)
    return structures.get("One"), list(structures.rois["One"].remarks)


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

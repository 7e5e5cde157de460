"""Filling contours and drawing them: numbers by hand, an independent point-in-polygon test, and there and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Polygon
from scipy import ndimage

from nasoseg.volumes.contours import CLEARANCE_PX, distinct, fill, outlines


def box(top: float, left: float, bottom: float, right: float) -> np.ndarray:
    return np.array([(top, left), (top, right), (bottom, right), (bottom, left)], float)


def area(contour: np.ndarray) -> float:
    after = np.roll(contour, -1, axis=0)
    return abs(float((contour[:, 0] * after[:, 1] - contour[:, 1] * after[:, 0]).sum())) / 2


def outline(mask: np.ndarray) -> list[np.ndarray]:
    return outlines(mask[None])[0]


def test_a_pixel_is_inside_when_its_centre_is():
    # By hand: centres 1..3 lie within 0.6..3.4, the centre 4 does not.
    mask = fill([box(0.6, 0.6, 3.4, 2.4)], (6, 6))
    expected = np.zeros((6, 6), bool)
    expected[1:4, 1:3] = True
    assert np.array_equal(mask, expected)


def test_vertices_are_not_rounded_to_pixels():
    assert not fill([box(1.001, 1.001, 1.999, 1.999)], (4, 4)).any()  # between the centres
    assert fill([box(0.999, 0.999, 1.001, 1.001)], (4, 4)).sum() == 1  # a thousandth of a pixel around one


def test_on_the_edge_the_upper_and_left_side_count():
    expected = np.zeros((5, 5), bool)
    expected[1:3, 1:3] = True
    assert np.array_equal(fill([box(1, 1, 3, 3)], (5, 5)), expected)
    together = [fill([box(1, a, 4, a + 1.5)], (5, 6)) for a in (0.0, 1.5, 3.0)]  # neighbours share their border
    assert np.array_equal(np.sum(together, axis=0), fill([box(1, 0, 4, 4.5)], (5, 6)))


@given(st.integers(0, 10**6), st.integers(3, 12))
@settings(deadline=None, max_examples=60)
def test_fill_agrees_with_matplotlib(seed, corners):
    random = np.random.default_rng(seed)
    angle = np.sort(random.uniform(0, 2 * np.pi, corners))
    contour = np.array([8.0, 7.0]) + random.uniform(1, 9, corners)[:, None] * np.stack(
        [np.sin(angle), np.cos(angle)], 1
    )
    centres = np.argwhere(np.ones((15, 16)))
    expected = Polygon(contour).contains_points(centres).reshape(15, 16)
    assert np.array_equal(fill([contour], (15, 16)), expected)
    assert np.array_equal(fill([np.roll(contour[::-1], 2, axis=0)], (15, 16)), expected)


def test_inner_contours_are_holes_and_islands_in_them_are_inside():
    nested = [box(a, a, 10 - a, 10 - a) for a in (0.5, 2.5, 4.5)]
    mask = fill(nested, (11, 11))
    assert mask[1, 1]
    assert not mask[3, 3]
    assert mask[5, 5]
    assert mask.sum() == 81 - 25 + 1


def test_a_keyhole_leaves_no_trace_of_its_bridge():
    outer, hole = box(0.5, 0.5, 9.5, 9.5), box(3.5, 3.5, 6.5, 6.5)
    for bridge in ((5, 0.5), (4.3, 0.5)):  # along a row of centres, and slanted
        keyhole = np.concatenate([outer, outer[:1], [bridge], hole, hole[:1], [bridge], outer[:1]])
        assert np.array_equal(fill([keyhole], (11, 11)), fill([outer, hole], (11, 11)))


def test_contours_may_reach_beyond_the_plane():
    assert fill([box(-1e6, -7, 1e6, 1e6)], (4, 5)).all()
    assert not fill([box(-9, -9, -2, -2)], (4, 5)).any()
    assert not fill([box(1, 7, 3, 9)], (4, 5)).any()
    assert fill([], (4, 5)).shape == (4, 5)
    assert not fill([], (4, 5)).any()


def test_a_contour_stored_twice_is_found_however_it_is_written():
    contour = np.array([(1, 1), (1, 8), (5, 9), (9, 4)], float)
    again = [
        np.roll(contour, 2, axis=0),
        contour[::-1],
        contour + np.random.default_rng(0).uniform(-0.003, 0.003, contour.shape),
        np.insert(contour, 1, (1, 4.5), axis=0),  # one more corner on an edge
        np.concatenate([contour, contour[:1]]),
    ]
    assert distinct([contour, *again], tolerance_px=0.01) == [0]


def test_contours_that_differ_are_all_kept():
    contour = box(1, 1, 9, 9)
    notched = np.insert(contour, 1, (3, 5), axis=0)  # the same corners, and one more inside
    assert distinct([contour, box(1.1, 1.1, 8.9, 8.9), notched, contour + 20], tolerance_px=0.01) == [0, 1, 2, 3]
    assert distinct([], tolerance_px=0.01) == []
    for corner in range(4):  # one point makes another contour, whichever it is
        moved = contour.copy()
        moved[corner] += 0.5
        assert distinct([contour, moved], tolerance_px=0.01) == [0, 1]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_corner_in_line_with_an_edge_but_beyond_it_makes_another_contour(reverse):
    step = np.array([(0, 0), (0, 2), (2, 2), (2, 4), (4, 4), (4, 0)], float)
    cut = np.array([(0, 0), (0, 2), (3, 2), (2, 4), (4, 4), (4, 0)], float)  # (3, 2) is one pixel from the step's line
    if reverse:
        step = step[::-1]
    assert distinct([step, cut], tolerance_px=0.9) == [0, 1]
    assert distinct([step, cut], tolerance_px=1.1) == [0]


@given(arrays(bool, (2, 9, 8), elements=st.booleans()))
@settings(deadline=None, max_examples=150)
def test_any_mask_survives_being_drawn_and_filled(mask):
    for plane, contours in zip(mask, outlines(mask), strict=True):
        assert np.array_equal(fill(contours, plane.shape), plane)
        assert all(len(contour) >= 3 for contour in contours)
        # Coordinates of a file are rounded: the mask must not hang on the last digit.
        assert np.array_equal(fill([np.round(contour, 3) + 2e-3 for contour in contours], plane.shape), plane)


@given(st.integers(0, 10**6), st.floats(0.5, 3))
@settings(deadline=None, max_examples=25)
def test_smooth_masks_keep_their_area(seed, width):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(40, 40)), width)
    mask = field > np.quantile(field, 0.7)
    assert np.array_equal(fill(outline(mask), mask.shape), mask)
    assert sum(area(contour) for contour in outline(mask)) == pytest.approx(mask.sum(), rel=0.02)


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (2, 2), (3, 5)])
def test_the_area_is_that_of_the_pixels(shape):
    mask = np.pad(np.ones(shape, bool), 2)
    (contour,) = outline(mask)
    assert area(contour) == pytest.approx(mask.sum(), rel=0.01)
    np.testing.assert_allclose(contour.min(axis=0) + contour.max(axis=0), np.array(mask.shape) - 1, atol=1e-9)


def test_one_pixel_is_a_diamond_of_its_area():
    mask = np.zeros((4, 5), bool)
    mask[2, 3] = True
    (contour,) = outline(mask)
    half = np.sqrt(0.5)  # by hand: a diamond of half diagonal t has the area 2 t^2
    expected = {(2 - half, 3), (2 + half, 3), (2, 3 - half), (2, 3 + half)}
    assert {(round(row, 2), round(column, 2)) for row, column in contour} == {
        (round(row, 2), round(column, 2)) for row, column in expected
    }


def test_a_ring_is_one_contour_with_a_keyhole():
    mask = np.zeros((12, 13), bool)
    mask[2:10, 2:10] = True
    mask[5:7, 5:8] = False
    (contour,) = outline(mask)
    assert area(contour) == pytest.approx(mask.sum(), rel=0.02)
    # The bridge is the one edge that is there in both directions, and no scan line runs along it.
    edges = [tuple(map(tuple, edge)) for edge in zip(contour, np.roll(contour, -1, axis=0), strict=True)]
    bridge = [(a, b) for a, b in edges if (b, a) in edges]
    assert len(bridge) == 2
    assert bridge[0][0][0] == bridge[0][1][0]
    assert abs(bridge[0][0][0] % 1 - 0.5) < 0.46


@given(st.integers(0, 10**6), st.floats(0.7, 2))
@settings(deadline=None, max_examples=40)
def test_a_bridge_runs_from_the_left_and_adds_no_area(seed, width):
    """A hole takes away what is inside it, whatever its outline; its bridge is level, and crosses nothing."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(24, 24)), width)
    hole = ndimage.binary_fill_holes(np.pad(field > np.quantile(field, 0.8), 4))
    hole = ndimage.label(hole)[0] == 1
    (around,), (alone,) = outline(~np.pad(hole, 1)), outline(np.pad(hole, 1))
    (whole,) = outline(np.ones((hole.shape[0] + 2, hole.shape[1] + 2), bool))
    assert area(around) == pytest.approx(area(whole) - area(alone), abs=0.01 * area(alone) + 0.02)
    edges = [tuple(map(tuple, edge)) for edge in zip(around, np.roll(around, -1, axis=0), strict=True)]
    bridge = [(a, b) for a, b in edges if (b, a) in edges]
    assert len(bridge) == 2
    ((row, left), (level, right)) = min(bridge)
    assert row == level
    assert left < 0 <= right


def test_several_holes_and_an_island():
    mask = np.ones((20, 30), bool)
    for hole in (np.s_[3:6, 4:7], np.s_[3:6, 12:15], np.s_[9:18, 5:25], np.s_[5, 20], np.s_[6, 21]):
        mask[hole] = False
    mask[12:15, 10:14] = True
    contours = outline(mask)
    assert len(contours) == 2
    assert np.array_equal(fill(contours, mask.shape), mask)


def test_pixels_that_touch_at_a_corner_are_apart_and_holes_that_do_are_one():
    diagonal = np.eye(3, dtype=bool)
    assert len(outline(np.pad(diagonal, 1))) == 3
    assert len(outline(np.pad(np.fliplr(diagonal), 1))) == 3
    (contour,) = outline(np.pad(~diagonal, 1, constant_values=True))
    assert area(contour) == pytest.approx(25 - 3, rel=0.03)


def test_no_corner_comes_near_a_centre():
    mask = np.random.default_rng(3).random((30, 30)) < 0.6
    for contour in outline(mask):
        assert np.abs(contour - np.rint(contour)).max(axis=1).min() >= CLEARANCE_PX / 2 - 1e-9


def test_a_disc_is_round():
    rows, columns = np.mgrid[:50, :50]
    mask = (rows - 24.3) ** 2 + (columns - 25.1) ** 2 < 20**2
    (contour,) = outline(mask)
    length = np.hypot(*(np.roll(contour, -1, axis=0) - contour).T).sum()
    assert length == pytest.approx(2 * np.pi * 20, rel=0.03)  # the pixels' edges are 27 % longer than the circle
    away = np.abs(np.hypot(contour[:, 0] - 24.3, contour[:, 1] - 25.1) - 20)
    assert away.mean() < 0.2


@pytest.mark.parametrize("at", [0, 7])
def test_a_straight_side_needs_few_corners(at):
    mask = np.zeros((60, 60), bool)
    mask[at : at + 30, at : at + 30] = True  # of 120 corners, most lie on a line
    (contour,) = outline(mask)
    assert len(contour) < 60
    sides = np.hypot(*(np.roll(contour, -1, axis=0) - contour).T)
    assert sides.max() < 5  # a corner goes only between two that stay, and twice


def test_empty_planes_have_no_contours():
    mask = np.zeros((3, 4, 5), bool)
    assert outlines(mask) == [[], [], []]
    mask[1, 2, 2] = True
    assert [len(contours) for contours in outlines(mask)] == [0, 1, 0]
    assert outlines(np.zeros((0, 4, 5), bool)) == []

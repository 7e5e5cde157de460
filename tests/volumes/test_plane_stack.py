"""Original planes beside a resampled volume, worked by hand on a tilted, uneven stack."""

import numpy as np
import pytest
from generated_ct_series import axial_geometry, ct_series
from scipy import ndimage

from nasoseg.volumes.plane_stack import PlaneStack, on_planes

TILT = 0.25  # millimetres backwards (rows) for each millimetre upwards
HEIGHTS_MM = (0, 4, 8, 13)


@pytest.fixture
def tilted():
    planes = [np.array([(0, 1, 0), (1, 0, TILT * z), (0, 0, z), (0, 0, 1)], float) for z in HEIGHTS_MM]
    return ct_series(axial_geometry((6, 12, 10), (3, 1, 1), origin=(0, 0, 0)), planes=planes)  # slices at 0, 3 ... 15


def test_points_are_placed(tilted):
    stack = PlaneStack(tilted)
    assert stack.positions_mm.tolist() == [0, 4, 8, 13]
    assert stack.spacing_mm == 4
    assert stack.position_mm(np.array([[7.0, 5, 4.2]])).tolist() == [4.2]
    assert stack.pixels(np.array([[7.0, 5, 4.2]])).tolist() == [[5, 7]]
    assert stack.nearest(9.5) == (2, 1.5)
    assert [stack.holds(position) for position in (-2.2, -2, 10.5, 15, 15.2)] == [False, True, False, True, False]
    assert stack.lies_on(np.array([[0.0, 0, 8], [9, 9, 8.05]])) == 2
    assert stack.lies_on(np.array([[0.0, 0, 8], [9, 9, 8.5]])) is None


@pytest.mark.parametrize("sides", [(0.7, 0.8), (0.8, 0.7)])
def test_positions_are_millimetres_whatever_the_pixels(sides):
    stack = PlaneStack(ct_series(axial_geometry((4, 5, 6), (3, *sides), origin=(0, 0, 10))))
    np.testing.assert_allclose(stack.positions_mm, [10, 13, 16, 19])
    assert stack.spacing_mm == pytest.approx(3)
    assert stack.pixel_mm == pytest.approx(0.7)
    assert stack.tolerance_mm == pytest.approx(0.1)


def test_a_plane_alone_has_the_spacing_of_its_volume():
    stack = PlaneStack(ct_series(axial_geometry((1, 5, 6), (3, 0.7, 0.8))))
    assert stack.spacing_mm == 3


def test_slices_show_the_nearest_plane_where_the_tilt_puts_it(tilted):
    stack = PlaneStack(tilted)
    found = [[(slice_, shift.tolist()) for slice_, shift in stack.slices(plane)] for plane in range(4)]
    assert found[0] == [(0, [0, 0])]
    assert found[1] == [(1, [-0.25, 0]), (2, [0.5, 0])]  # at 3 and 6 mm, from the plane at 4
    assert found[2] == [(3, [0.25, 0])]
    assert found[3] == [(4, [-0.25, 0]), (5, [0, 0])]  # beyond the last plane the line is not prolonged


def test_planes_lie_between_two_slices(tilted):
    stack = PlaneStack(tilted)
    found = [[(s, round(w, 6), shift.tolist()) for s, w, shift in stack.neighbours(plane)] for plane in range(4)]
    assert found[0] == [(0, 1, [0, 0])]
    assert found[1] == [(1, round(2 / 3, 6), [-0.25, 0]), (2, round(1 / 3, 6), [0.5, 0])]


def test_planes_at_the_ends_lie_on_the_first_and_last_slice():
    planes = [np.array([(0, 1, 0), (1, 0, 0), (0, 0, z), (0, 0, 1)], float) for z in (0, 7, 15)]
    stack = PlaneStack(ct_series(axial_geometry((6, 12, 10), (3, 1, 1), origin=(0, 0, 0)), planes=planes))
    found = [[(slice_, round(weight, 6)) for slice_, weight, _ in stack.neighbours(plane)] for plane in range(3)]
    assert found == [[(0, 1)], [(2, round(2 / 3, 6)), (3, round(1 / 3, 6))], [(5, 1)]]


def test_a_tilted_rod_is_cut_where_it_is(tilted):
    rod = np.zeros((6, 12, 10), bool)
    for slice_ in range(6):
        rod[slice_, [r for r in range(12) if abs(r - 5 - TILT * 3 * slice_) <= 1.5], 3:6] = True
    planes = on_planes(rod, tilted)
    assert planes.shape == (4, 12, 10)
    for plane, height in zip(planes, HEIGHTS_MM, strict=True):
        place = np.argwhere(plane).mean(axis=0)
        assert abs(place[0] - 5) < 0.51, height  # the rod follows the tilt: on every plane it is at row 5
        assert place[1] == 4
    assert not on_planes(np.zeros((6, 12, 10), bool), tilted).any()


@pytest.mark.parametrize("seed", range(4))
def test_on_planes_is_bilinear_on_both_slices_beside(seed):
    """Against scipy's interpolation of whole slices: a tilt both ways, uneven planes, a mask anywhere in the slice."""
    draws = np.random.default_rng(seed)
    heights, tilt = np.array([0, 4, 8, 13.5]), draws.uniform(-0.8, 0.8, 2)
    planes = [np.array([(0, 1, tilt[1] * z), (1, 0, tilt[0] * z), (0, 0, z), (0, 0, 1)], float) for z in heights]
    ct = ct_series(axial_geometry((6, 20, 17), (3, 1, 1), origin=(0, 0, 0)), planes=planes)
    mask = np.zeros((6, 20, 17), bool)
    low, high = draws.integers(0, 8, 2), draws.integers(10, 18, 2)
    mask[:, low[0] : high[0], low[1] : high[1]] = draws.random((6, *(high - low))) < 0.7
    index = np.indices((20, 17)).astype(float)
    for plane, height in zip(on_planes(mask, ct), heights, strict=True):
        expected = np.zeros((20, 17))
        below = min(int(height // 3), 4)
        for slice_, weight in ((below, 1 - (height / 3 - below)), (below + 1, height / 3 - below)):
            # The line through like pixels of the planes, from this plane to the slice; it ends with the last plane.
            moved = tilt * (min(3.0 * slice_, heights[-1]) - height)
            places = index + (tilt * height)[:, None, None] + moved[:, None, None]
            expected += weight * ndimage.map_coordinates(mask[slice_].astype(float), places, order=1, cval=0)
        clear = np.abs(expected - 0.5) > 1e-6
        assert np.array_equal(plane[clear], (expected >= 0.5)[clear])
        assert expected.max() > 0.5


def test_half_of_a_pixel_is_inside():
    planes = [np.array([(0, 1, 0), (1, 0, 0), (0, 0, z), (0, 0, 1)], float) for z in (0, 1.5, 6, 9)]
    ct = ct_series(axial_geometry((4, 5, 6), (3, 1, 1), origin=(0, 0, 0)), planes=planes)
    mask = np.zeros((4, 5, 6), bool)
    mask[0, 1:3, 0:6] = True
    assert np.array_equal(on_planes(mask, ct)[:2], [mask[0], mask[0]])  # half way to a slice without


def test_a_straight_volume_is_its_planes():
    ct = ct_series(axial_geometry((4, 5, 6)))
    mask = np.random.default_rng(0).random((4, 5, 6)) < 0.5
    assert on_planes(mask, ct) is mask
    assert [[slice_ for slice_, _ in PlaneStack(ct).slices(plane)] for plane in range(4)] == [[0], [1], [2], [3]]

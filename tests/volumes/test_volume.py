"""Axis order and orientation: to axial and back, whatever the grid."""

import numpy as np
import pytest
from generated_grids import grids, numbered
from hypothesis import given, settings
from hypothesis import strategies as st

from nasoseg.errors import NasosegError
from nasoseg.volumes.volume import AXIAL_DIRECTIONS_LPS, Geometry, Volume, from_axial


@given(grids())
@settings(deadline=None, max_examples=200)
def test_axial_and_back_is_the_identity(grid):
    volume = Volume(numbered(grid.shape), grid)
    axial = volume.axial().array
    back = from_axial(axial, grid)
    assert np.array_equal(back, volume.array)
    assert not np.shares_memory(back, axial)
    assert min(back.strides) > 0  # torch takes no others


def test_back_from_axial_slices_stay_together_in_memory():
    turned = Geometry((6, 5, 4), np.diag([-1.0, 1, 2, 1]))  # columns to the right, rows, slices: as NIfTI mostly is
    back = from_axial(np.zeros((4, 5, 6), np.uint8), turned)
    assert back.strides == (1, 6, 30)


@given(grids(), st.data())
@settings(deadline=None, max_examples=200)
def test_axial_keeps_every_voxel_at_its_place(grid, data):
    volume = Volume(numbered(grid.shape), grid)
    axial = volume.axial()
    assert axial.array.shape == axial.geometry.shape
    index = [data.draw(st.integers(0, side - 1)) for side in grid.shape]
    there = np.argwhere(axial.array == volume.array[tuple(index)])[0]
    before = grid.affine_lps @ [*index, 1]
    after = axial.geometry.affine_lps @ [*there, 1]
    np.testing.assert_allclose(after, before, atol=1e-9)


@given(grids())
@settings(deadline=None, max_examples=200)
def test_axial_is_axial_already(grid):
    axes, flips = grid.axial().axial_axes()
    assert axes == (0, 1, 2)
    assert flips == (False, False, False)


def test_axial_runs_to_superior_posterior_left():
    # Worked by hand: a NIfTI of RAS order, 2 x 3 x 4; axis 0 to Right, so that columns to Left run backwards.
    affine = np.diag([-1.0, -2.0, 3.0, 1.0])
    axial = Volume(numbered((2, 3, 4)), Geometry((2, 3, 4), affine)).axial()
    assert axial.array.shape == (4, 3, 2)
    assert axial.array[0, 0, 0] == numbered((2, 3, 4))[1, 2, 0]
    np.testing.assert_allclose(axial.geometry.affine_lps[:3, 3], [-1, -4, 0])
    np.testing.assert_allclose(axial.geometry.affine_lps[:3, :3], AXIAL_DIRECTIONS_LPS * [[1], [2], [3]])


def test_matches_compares_places_at_the_corners():
    grid = Geometry((10, 10, 10), np.eye(4))
    turned = np.eye(4)
    turned[0, 1] = 0.01  # 0.09 mm at the far corner
    assert grid.matches(Geometry((10, 10, 10), np.eye(4)))
    assert not grid.matches(Geometry((10, 10, 10), turned))
    assert grid.matches(Geometry((10, 10, 10), turned), tolerance_mm=0.1)
    assert not grid.matches(Geometry((10, 10, 9), np.eye(4)))


@given(grids(), st.tuples(*[st.floats(0.1, 10)] * 3))
@settings(deadline=None, max_examples=200)
def test_spacing_has_no_part_in_which_axis_is_which(grid, factors):
    stretched = grid.affine_lps.copy()
    stretched[:3, :3] *= factors
    assert Geometry(grid.shape, stretched).axial_axes() == grid.axial_axes()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(("apart_mm", "alike"), [(0.049, True), (0.051, False)])
def test_matches_measures_at_the_first_and_last_voxel_of_every_axis(axis, first, apart_mm, alike):
    """Two grids, one a little finer along an axis: they meet at one end, and lie so far apart at the other."""
    shape, affine = (4, 6, 5), np.array([[0, 0, 0.9, -20.0], [0, 0.8, 0, -30], [2.5, 0, 0, 100], [0, 0, 0, 1]])
    finer, row = affine.copy(), 2 - axis
    finer[row, axis] -= apart_mm / (shape[axis] - 1)
    if first:
        finer[row, 3] += apart_mm
    assert Geometry(shape, affine).matches(Geometry(shape, finer)) == alike


def test_a_grid_in_words():
    affine = np.diag([0.5, 2.0, 3.25, 1.0])[:, [2, 1, 0, 3]]
    affine[:3, 3] = [-120.004, 8.0, 30.5]
    words = Geometry((4, 5, 6), affine).worded()
    assert words == "(4, 5, 6) voxels of 3.250 x 2.000 x 0.500 mm from [-120.0, 8.0, 30.5] mm (LPS)"


def test_volume_refuses_another_shape():
    with pytest.raises(NasosegError, match=r"\(2, 2, 2\).*\(2, 2, 3\)"):
        Volume(np.zeros((2, 2, 2)), Geometry((2, 2, 3), np.eye(4)))

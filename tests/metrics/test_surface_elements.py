"""Surface elements: areas by hand, the table against surface-distance's, laws of the geometry."""

from itertools import permutations

import numpy as np
import pytest
import surface_distance
from hypothesis import given, settings
from hypothesis import strategies as st

from nasoseg.metrics.surface_elements import _cut, _facets, element_areas, surface_elements

CUBES = np.ones(3)
VOXEL_FIRST = 0b00000001  # only the voxel at (0, 0, 0)
spacings = st.tuples(*[st.floats(0.2, 6)] * 3).map(np.array)


@pytest.fixture(autouse=True)
def tables_made_anew():
    """Forget what was computed before a change to the code, as mutation testing makes it."""
    _facets.cache_clear()
    _cut.cache_clear()


def test_areas_by_hand():
    # Halves of the sides: 1, 0.5 and 2 mm. A corner is cut off by the triangle through them.
    areas = element_areas(np.array([2.0, 1.0, 4.0]))
    assert areas[0] == areas[255] == 0
    assert areas[VOXEL_FIRST] == pytest.approx(np.sqrt((1 * 0.5) ** 2 + (1 * 2) ** 2 + (0.5 * 2) ** 2) / 2)
    assert areas[0b00001111] == pytest.approx(1 * 4)  # the plane between lower and upper along the first axis
    assert areas[0b00110011] == pytest.approx(2 * 4)
    assert areas[0b01010101] == pytest.approx(2 * 1)
    assert areas[0b00000011] == pytest.approx(4 * np.hypot(1, 0.5))  # an edge along the third axis
    assert areas[0b10000001] == pytest.approx(2 * areas[VOXEL_FIRST])  # opposite corners are apart
    assert areas[0b00001001] == pytest.approx(2 * areas[VOXEL_FIRST])  # and so are two across a face
    hexagon = element_areas(CUBES)[0b00010111]  # a corner and its three neighbours: a flat, regular hexagon
    assert hexagon == pytest.approx(3 * np.sqrt(3) / 2 * 0.5)  # with sides of sqrt(1/2)


@given(spacing=spacings)
@settings(max_examples=30, deadline=None)
def test_areas_are_those_of_surface_distance(spacing):
    table = surface_distance.metrics.lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    bits_reversed = [int(f"{code:08b}"[::-1], 2) for code in range(256)]  # its first neighbour is the highest bit
    np.testing.assert_allclose(element_areas(spacing), table[bits_reversed], rtol=1e-12)


@given(spacing=spacings)
@settings(max_examples=10, deadline=None)
def test_areas_do_not_depend_on_what_is_called_inside(spacing):
    areas = element_areas(spacing)
    np.testing.assert_allclose(areas, areas[::-1], rtol=1e-12)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_areas_turn_with_the_axes(order):
    mask = np.random.default_rng(3).random((6, 7, 5)) < 0.4
    spacing = np.array([2.5, 0.7, 1.1])
    turned = surface_elements(mask.transpose(order)[::-1], spacing_mm=spacing[list(order)])
    here = surface_elements(mask, spacing_mm=spacing)
    assert turned.areas_mm2.sum() == pytest.approx(here.areas_mm2.sum(), rel=1e-12)


def test_elements_of_one_voxel_are_its_corners():
    mask = np.zeros((3, 4, 5), bool)
    mask[1, 2, 4] = True  # at the border of the array
    elements = surface_elements(mask, spacing_mm=CUBES)
    assert elements.corners.tolist() == [[1 + i, 2 + j, 4 + k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    np.testing.assert_allclose(elements.areas_mm2, np.sqrt(3) / 8)


def test_an_empty_mask_has_no_element():
    elements = surface_elements(np.zeros((3, 4, 5), bool), spacing_mm=CUBES)
    assert elements.corners.shape == (0, 3)
    assert elements.areas_mm2.shape == (0,)


def test_area_of_a_ball():
    z, y, x = np.ogrid[-24:25, -20:21, -20:21]
    spacing = np.array([0.5, 0.6, 0.6])
    ball = (z * 0.5) ** 2 + (y * 0.6) ** 2 + (x * 0.6) ** 2 < 100
    area = surface_elements(ball, spacing_mm=spacing).areas_mm2.sum()
    assert area == pytest.approx(4 * np.pi * 100, rel=0.1)  # steps of a binary mask make it larger by some 8 %

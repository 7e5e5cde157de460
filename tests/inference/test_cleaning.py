import numpy as np
import pytest

from nasoseg.errors import NasosegError
from nasoseg.inference.cleaning import Cleaning, clean

NAMES = ["Mandible", "Larynx"]


def planes() -> np.ndarray:
    """Mandible: a ring of 8 voxels on each of two slices, a lone voxel; Larynx: two equal pieces."""
    found = np.zeros((4, 8, 8), np.uint16)
    found[0:2, 1:4, 1:4] |= 1
    found[0:2, 2, 2] &= ~np.uint16(1)
    found[3, 7, 7] |= 1
    found[0, 0, 0:2] |= 2
    found[3, 0, 0:2] |= 2
    return found


def test_nothing_is_cleaned_by_default():
    found = planes()
    assert clean(found, NAMES, Cleaning()) == []
    np.testing.assert_array_equal(found, planes())


def test_the_largest_piece_stays():
    found = planes()
    remarks = clean(found, NAMES, Cleaning(largest_component=["Mandible"]))
    assert remarks == ["Mandible: 1 smaller pieces removed (1 voxels)"]
    expected = planes()
    expected[3, 7, 7] = 0
    np.testing.assert_array_equal(found, expected)


def test_pieces_that_touch_at_a_corner_are_one():
    found = np.zeros((3, 3, 3), np.uint16)
    found[[0, 1, 2], [0, 1, 2], [0, 1, 2]] = 1
    assert clean(found, NAMES[:1], Cleaning(largest_component="all")) == []
    assert found.sum() == 3


def test_holes_on_a_slice_are_filled():
    found = planes()
    clean(found, NAMES, Cleaning(fill_holes=["all"]))
    expected = planes()
    expected[0:2, 2, 2] |= 1
    np.testing.assert_array_equal(found, expected)


def test_of_equal_pieces_the_first_stays_and_other_structures_are_left_alone():
    found = planes()
    clean(found, NAMES, Cleaning(largest_component=["larynx"]))
    np.testing.assert_array_equal(found & 1, planes() & 1)
    assert (found & 2).sum() == 4
    assert (found[0, 0, 0:2] & 2).all()


def test_a_structure_that_is_not_there_gets_the_nearest():
    with pytest.raises(NasosegError, match=r"largest_component: .*'Mandibel': .*Mandible"):
        clean(planes(), NAMES, Cleaning(largest_component=["Mandibel"]))

"""Packed masks and the mapping of structures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nasoseg.errors import NasosegError
from nasoseg.volumes.structure_set import PackedMask, Roi, Structures, checked_mask


@given(arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=9), elements=st.booleans()))
@settings(deadline=None, max_examples=60)
def test_packing_loses_nothing(mask):
    packed = PackedMask(mask)
    assert packed.voxels == mask.sum()
    assert np.array_equal(packed.unpack(), mask)
    assert packed.unpack() is not packed.unpack()


@pytest.mark.parametrize("place", [(), (2, 3, 4)])
def test_packing_an_almost_empty_mask(place):
    mask = np.zeros((20, 30, 40), bool)
    if place:
        mask[place] = True
    packed = PackedMask(mask)
    assert np.array_equal(packed.unpack(), mask)
    assert packed._bits.nbytes <= 1


def test_structures_are_a_mapping_that_reports():
    mask = np.zeros((2, 3, 4), bool)
    mask[1, 1] = True
    structures = Structures(
        [
            (Roi("A", 1), PackedMask(mask)),
            (Roi("B", 2, remarks=("2 contours left out", "odd")), PackedMask(mask)),
            (Roi("C", 3, remarks=("it has no contours",)), None),
            (Roi("D", 4), PackedMask(np.zeros_like(mask))),
        ],
        remarks=["the file is odd"],
    )
    assert list(structures) == ["A", "B"]
    assert len(structures) == 2
    assert "C" not in structures
    assert list(structures.rois) == ["A", "B", "C", "D"]
    assert np.array_equal(dict(structures)["B"], mask)
    assert structures.voxels("A") == 4
    assert structures.report() == [
        "the file is odd",
        "B (number 2): 2 contours left out; odd",
        "C (number 3): no mask: it has no contours",
        "D (number 4): no mask",
    ]


def test_masks_are_checked_against_the_grid():
    assert checked_mask("A", np.array([[[0, 1, 2]]], np.uint8), (1, 1, 3)).tolist() == [[[False, True, True]]]
    with pytest.raises(NasosegError, match=r"'A': found a mask \(1, 1, 2\) of bool, expected \(1, 1, 3\)"):
        checked_mask("A", np.zeros((1, 1, 2), bool), (1, 1, 3))
    with pytest.raises(NasosegError, match=r"of float64.*decide and resample"):
        checked_mask("A", np.zeros((1, 1, 3)), (1, 1, 3))

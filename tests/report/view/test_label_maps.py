"""Overlapping masks in few label maps: every voxel is found again, and nothing is in one map that overlaps."""

import numpy as np
from generated_grids import grids
from hypothesis import given, settings
from hypothesis import strategies as st

from nasoseg.report.view.label_maps import Place, pack
from nasoseg.volumes.structure_set import PackedMask
from nasoseg.volumes.volume import Geometry


def found_again(maps, place, grid):
    """The mask that a place stands for, on the whole grid."""
    one = maps[place.map]
    whole = np.zeros(grid.shape, bool)
    box = tuple(slice(low, low + side) for low, side in zip(one.start, one.labels.shape, strict=True))
    whole[box] = one.labels == place.label
    return whole


@settings(max_examples=30, deadline=None)
@given(grid=grids(smallest=2), seed=st.integers(0, 99), share=st.floats(0, 0.6))
def test_every_mask_is_found_again(grid, seed, share):
    random = np.random.default_rng(seed)
    masks = [random.random(grid.shape) < share for _ in range(6)]
    maps, places = pack(map(PackedMask, masks), grid)
    for mask, place in zip(masks, places, strict=True):
        assert (place is None) == (not mask.any())
        if place:
            assert np.array_equal(found_again(maps, place, grid), mask)
    for one in maps:
        assert one.labels.max() == one.count
        corner = grid.affine_lps @ [*one.start, 1]
        assert np.allclose(one.geometry.affine_lps[:3, 3], corner[:3])


def test_what_does_not_overlap_shares_a_map():
    grid = Geometry((2, 3, 3), np.eye(4))
    left, right, all_ = (np.zeros(grid.shape, bool) for _ in range(3))
    left[..., 0], right[..., 2], all_[:] = True, True, True
    maps, places = pack(map(PackedMask, (left, all_, right)), grid)
    assert places == [Place(0, 1), Place(1, 1), Place(0, 2)]
    assert [one.count for one in maps] == [2, 1]


def test_a_map_holds_255_structures():
    grid = Geometry((3, 10, 10), np.eye(4))
    masks = []
    for i in range(300):
        mask = np.zeros(300, bool)
        mask[i] = True
        masks.append(PackedMask(mask.reshape(grid.shape)))
    maps, places = pack(masks, grid)
    assert [one.count for one in maps] == [255, 45]
    assert found_again(maps, places[299], grid).ravel().nonzero()[0].tolist() == [299]

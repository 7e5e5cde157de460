"""SparseMask gives back what was put in, wherever it lies."""

import numpy as np
import pytest

from nasoseg.metrics.sparse_mask import SparseMask, common_voxels


def sparse(mask: np.ndarray, order: list[int]) -> SparseMask:
    result = SparseMask()
    for z in order:
        result.add(z, np.packbits(mask[z], axis=-1))
    return result


@pytest.mark.parametrize("seed", range(8))
def test_voxels_come_back(seed):
    rng = np.random.default_rng(seed)
    shape = (5, 9, int(rng.integers(1, 40)))
    masks = [rng.random(shape) < rng.choice([0.01, 0.1, 0.9]) for _ in range(2)]
    masks[0][rng.integers(5), 3, -1] = True
    order = rng.permutation(5).tolist()
    parts = [sparse(mask, order) for mask in masks]
    low = np.min([part.box[0] for part in parts if part.box], axis=0)
    for mask, voxels in zip(masks, common_voxels(parts), strict=True):
        back = np.zeros((5, 9, 48), bool)
        z, y, x = (slice(start, start + side) for start, side in zip(low, voxels.shape, strict=True))
        back[z, y, x] = voxels
        assert np.array_equal(back[..., : shape[2]], mask)
        assert not back[..., shape[2] :].any()


def test_voxels_of_a_mask_far_from_the_border():
    mask = np.zeros((6, 30, 48), bool)
    mask[3, 12:15, 17:20] = mask[4, 20, 33] = True
    part = sparse(mask, [3, 4])
    low, high = part.box
    z, y, x = map(slice, low, high)
    assert np.array_equal(part.voxels((low, high)), mask[z, y, x])
    wider = np.array([1, 10, 8]), np.array([6, 25, 48])
    assert np.array_equal(part.voxels(wider), mask[1:6, 10:25, 8:48])


def test_box_is_tight_but_for_the_byte():
    mask = np.zeros((6, 20, 40), bool)
    mask[2, 5, 17] = mask[4, 9, 30] = True
    low, high = sparse(mask, [4, 2, 0]).box
    assert (low.tolist(), high.tolist()) == ([2, 5, 16], [5, 10, 32])


def test_memory_is_that_of_what_is_true():
    mask = sparse(np.zeros((4, 64, 64), bool), [0, 1, 2, 3])
    assert mask.box is None
    assert mask._parts == []
    one, other = common_voxels([mask, mask])
    assert one.shape == other.shape == (1, 1, 1)
    assert not one.any()

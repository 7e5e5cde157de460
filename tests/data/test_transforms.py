from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt, label

from nasoseg.data.datamodule import SliceDataModule
from nasoseg.data.resample import AIR_HU
from nasoseg.data.transforms import LARGEST_MARGIN_PX, MOST_OTHERS, Augmentation, select_planes

STILL = {"rotate_deg": 0, "scale": (1, 1), "shift": 0, "hu_shift": 0, "hu_scale": 0, "noise_hu": 0}


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_bits_stay_whole_in_every_width(dtype):
    top = dtype(1) << dtype(8 * np.dtype(dtype).itemsize - 1)
    planes = np.zeros((64, 64), dtype)
    planes[20:44, 16:40] = top
    planes[24:48, 24:52] |= dtype(5)
    image = np.zeros((64, 64, 3), np.int16)
    _, moved = Augmentation(elastic_px=2, crop=48)(image, planes, seed=3)
    assert moved.dtype == planes.dtype
    assert set(np.unique(moved)) == set(np.unique(planes))


def test_the_seed_decides_everything():
    image = np.random.default_rng(0).integers(-1000, 1000, (64, 64, 1)).astype(np.int16)
    planes = (image[..., 0] > 0).astype(np.uint16)
    augmentation = Augmentation(elastic_px=1, crop=48)
    first, _ = augmentation(image, planes, seed=1)
    augmentation(image, planes, seed=7)
    again, _ = augmentation(image, planes, seed=1)
    other, _ = augmentation(image, planes, seed=2)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31 - 1))
def test_image_and_planes_move_together(seed):
    planes = np.zeros((96, 96), np.uint16)
    planes[30:60, 40:70] = 1
    image = np.where(planes[..., None] > 0, 1000, AIR_HU).astype(np.int16)
    moved_image, moved = Augmentation(hu_shift=0, hu_scale=0, noise_hu=0, elastic_px=2)(image, planes, seed=seed)
    # Linear and nearest interpolation can differ on the outline alone.
    differs = (moved_image[..., 0] > (1000 + AIR_HU) / 2) != (moved > 0)
    assert differs.sum() <= 0.1 * max((moved > 0).sum(), 100)


def test_crop_pads_a_smaller_plane_with_air():
    image, planes = np.full((20, 40, 1), 50, np.int16), np.ones((20, 40), np.uint16)
    cropped, moved = Augmentation(crop=32, **STILL)(image, planes, seed=0)
    assert cropped.shape == (32, 32, 1)
    np.testing.assert_array_equal(cropped[..., 0] == AIR_HU, moved == 0)
    assert (moved == 0).sum() == 12 * 32


def test_mirroring_swaps_left_and_right():
    planes = np.zeros((8, 8), np.uint16)
    planes[:, 0] = 0b01  # left
    planes[:, 7] = 0b10  # right
    planes[4, 3] = 0b100  # in the middle, has no side
    image = planes[..., None].astype(np.int16)
    augmentation = Augmentation(mirror=True, **STILL)
    results = [augmentation(image, planes, seed=seed, mirror_order=[1, 0, 2]) for seed in range(20)]
    mirrored = [(i, p) for i, p in results if i[0, 0, 0] == 0b10]
    assert 4 <= len(mirrored) <= 16
    for _, moved in mirrored:
        # What lies at the low columns is still called left.
        np.testing.assert_array_equal(moved[:, 0], 0b01)
        np.testing.assert_array_equal(moved[:, 7], 0b10)
        assert moved[4, 4] == 0b100
    mirrors = next(seed for seed in range(20) if np.random.default_rng(seed).random() < 0.5)
    with pytest.raises(ValueError, match="mirror_order"):
        augmentation(image, planes, seed=mirrors)


def test_a_slice_cut_away_shows_its_structures_a_margin_and_little_else():
    planes = np.zeros((64, 64), np.uint16)
    planes[30:34, 30:34] = 0b10
    image = np.full((64, 64, 1), 40, np.int16)
    away = distance_transform_edt(planes == 0)
    margins, others = Counter(), set()
    for seed in range(300):
        cut = Augmentation().cut(image, planes[..., None], seed=seed)
        assert cut.dtype == np.int16
        visible = cut[..., 0] != AIR_HU
        assert visible[planes > 0].all()
        assert visible.mean() < 0.75
        others.add(label(visible)[1] - 1)
        margins.update(m for m in range(LARGEST_MARGIN_PX + 2) if np.array_equal(visible, away <= m))
    assert margins.keys() == set(range(LARGEST_MARGIN_PX + 1))
    assert margins[0] == pytest.approx(margins.total() / 2, rel=0.3)
    assert others == set(range(MOST_OTHERS + 1))


def test_neighbours_are_cut_to_their_own_structures():
    planes = np.zeros((64, 64, 3), np.uint16)
    planes[10:20, 10:20, 0] = planes[40:50, 40:50, 2] = 1
    seed = next(seed for seed in range(99) if (visible(planes, seed) == (planes > 0)).all())  # no margin, no ellipse
    assert not visible(planes, seed)[..., 1].any()
    assert not visible(np.zeros_like(planes), seed).any()


def visible(planes, seed):
    return Augmentation().cut(np.zeros(planes.shape, np.int16), planes, seed=seed) != AIR_HU


def test_a_share_of_the_slices_is_cut_away(small_store):
    share = np.mean([Augmentation(cutaway=0.3).is_cut(seed) for seed in range(2000)])
    assert share == pytest.approx(0.3, abs=0.04)
    module = SliceDataModule(small_store.path, folds=4, context=1, augmentation=Augmentation(cutaway=0.3, **STILL))
    module.setup()
    dataset = module._dataset("train")
    for seed in range(12):
        air = (dataset[(3, seed)]["image"] == -1).float().mean()
        assert (air > dataset[3]["image"].eq(-1).float().mean()) == Augmentation(cutaway=0.3).is_cut(seed)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_cutaway_is_a_share(share):
    with pytest.raises(ValueError, match=r"cutaway is .*: expected a share"):
        Augmentation(cutaway=share)


def test_nothing_is_mirrored_by_default():
    planes = np.zeros((64, 64), np.uint16)
    planes[:, :10] = 1
    for seed in range(30):
        _, moved = Augmentation()(planes[..., None].astype(np.int16), planes, seed=seed)
        assert moved[:, :32].sum() > moved[:, 32:].sum()


@settings(deadline=None)
@given(st.permutations(range(6)), st.integers(0, 2**32 - 1))
def test_selecting_bits_is_selecting_masks(order, seed):
    planes = np.random.default_rng(seed).integers(0, 64, (5, 5)).astype(np.uint16)
    selected = select_planes(planes, order)
    for to, bit in enumerate(order):
        np.testing.assert_array_equal((selected >> np.uint16(to)) & 1, (planes >> np.uint16(bit)) & 1)


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 9])
def test_neighbouring_slices_are_moved_and_filled_alike(channels):
    image = np.repeat(np.random.default_rng(0).integers(40, 60, (40, 40, 1)).astype(np.int16), channels, axis=-1)
    vary = Augmentation(elastic_px=4, **STILL)
    moved = [vary(image, np.zeros((40, 40), np.uint16), seed=seed)[0] for seed in range(12)]
    assert any((each < 0).any() for each in moved)  # air came in from beyond the border
    for each in moved:
        np.testing.assert_allclose(each, np.repeat(each[..., :1], channels, axis=-1), atol=1e-3)

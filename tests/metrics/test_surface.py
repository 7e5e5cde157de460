"""surface_distances: numbers by hand, surface-distance as reference on random and real masks, empty masks."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import surface_distance as reference
from scipy import ndimage

from nasoseg.errors import NasosegError
from nasoseg.metrics import SurfaceDistances, surface_distances
from nasoseg.volumes.nifti import read_label_map

TOLERANCES = (0.0, 0.9, 1.0, 2.0, 2.85, 5.078)
# surface-distance 0.1 calls scipy by names that scipy has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:Please (use|import) .*:DeprecationWarning")


def voxel(*place: int, shape=(8, 8, 8)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[place] = True
    return mask


def block(*sides: tuple[int, int], shape=(8, 8, 8)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def blobs(shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make a smooth mask, and a disturbed copy of it."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 2)
    other = field + 0.4 * ndimage.gaussian_filter(rng.standard_normal(shape), 2)
    level = np.quantile(field, 0.7)
    return field > level, other > level


def check_equal(first: np.ndarray, second: np.ndarray, spacing_mm: tuple[float, float, float]) -> SurfaceDistances:
    """Compare every metric with surface-distance's."""
    ours = surface_distances(first, second, spacing_mm=spacing_mm)
    theirs = reference.compute_surface_distances(first, second, spacing_mm)
    areas = theirs["surfel_areas_gt"].sum(), theirs["surfel_areas_pred"].sum()
    both_means = reference.compute_average_surface_distance(theirs)
    assert ours.hd95 == pytest.approx(reference.compute_robust_hausdorff(theirs, 95), abs=1e-6)
    assert ours.hd == pytest.approx(reference.compute_robust_hausdorff(theirs, 100), abs=1e-6)
    assert ours.percentile(50) == pytest.approx(reference.compute_robust_hausdorff(theirs, 50), abs=1e-6)
    assert ours.assd == pytest.approx(np.average(both_means, weights=areas), abs=1e-6)
    for tolerance in TOLERANCES:
        nsd = reference.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert ours.nsd(tolerance) == pytest.approx(nsd, abs=1e-6), tolerance
    return ours


def test_two_voxels_by_hand():
    # Two voxels lie two slices of 2.5 mm and three columns of 1.5 mm apart; each has its eight corners as surface.
    # The nearest corners are 1 or 2 slices and 2 or 3 columns away.
    distances = surface_distances(voxel(1, 1, 1), voxel(3, 1, 4), spacing_mm=(2.5, 1.0, 1.5))
    by_hand = sorted(np.hypot(2.5 * dz, 1.5 * dx) for dz, dx in product((1, 2), (2, 3)) for _ in range(2))
    assert sorted(distances.first_to_second_mm) == pytest.approx(by_hand)
    assert sorted(distances.second_to_first_mm) == pytest.approx(by_hand)
    assert distances.hd == distances.hd95 == pytest.approx(np.hypot(5, 4.5))
    assert distances.assd == pytest.approx(np.mean(by_hand))
    assert distances.nsd(3.9) == 0
    assert distances.nsd(np.hypot(2.5, 3)) == 0.25
    assert distances.nsd(7) == 1


def test_shifted_cube_by_hand():
    """A cube of 4 voxels, one slice of 3 mm away from itself."""
    first, second = block((1, 5), (1, 5), (1, 5)), block((2, 6), (1, 5), (1, 5))
    distances = surface_distances(first, second, spacing_mm=(3.0, 1.0, 1.0))
    along_z, in_plane = 3 * np.hypot(0.5, 0.5), 1 * np.hypot(1.5, 0.5)  # areas at the cube's edges
    corner = np.sqrt((0.5 * 0.5) ** 2 + 2 * (1.5 * 0.5) ** 2) / 2
    area = 2 * 9 * 1 + 4 * 9 * 3 + 4 * 3 * along_z + 8 * 3 * in_plane + 8 * corner
    assert distances.first_areas_mm2.sum() == pytest.approx(area)
    # One end face with its rim sticks out by 3 mm. The inner part of the other end is 1 or 2 mm from the sides.
    end = 9 * 1 + 4 * 3 * in_plane + 4 * corner
    assert distances.hd == distances.hd95 == 3
    assert distances.assd == pytest.approx((3 * end + 8 * 1 + 1 * 2) / area)
    assert distances.nsd(0) == pytest.approx(1 - (end + 9) / area)
    assert distances.nsd(1) == pytest.approx(1 - (end + 1) / area)
    assert distances.nsd(2) == pytest.approx(1 - end / area)
    assert distances.nsd(3) == 1


def test_percentile_counts_area_not_elements():
    """A plate with a far speck: 7.5 % of the elements, but 1.3 % of the area."""
    plate = block((2, 3), (0, 6), (0, 6), shape=(12, 8, 8))
    speck = plate | voxel(10, 1, 1, shape=(12, 8, 8))
    distances = surface_distances(plate, speck, spacing_mm=(1.0, 4.0, 4.0))
    assert distances.hd > 7
    assert distances.hd95 == 0 == surface_distances(speck, plate, spacing_mm=(1.0, 4.0, 4.0)).hd95
    assert (distances.second_to_first_mm > 6).mean() > 0.07
    assert distances.percentile(98) == 0
    assert distances.percentile(99) > 6


def test_hausdorff_distance_is_that_of_the_one_farthest_element():
    near, one = np.zeros(1), np.ones(1)
    for areas in (np.ones(10), np.full(10, 0.1), np.arange(1.0, 11) / 3):  # also where their shares add up to less
        assert SurfaceDistances(np.arange(10.0), near, areas, one).hd == 9
        assert SurfaceDistances(near, np.arange(10.0), one, areas).hd == 9


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (2.5, 0.9765625, 0.9765625), (3.0, 5.078, 4.1)])
def test_random_blobs_like_surface_distance(seed, spacing_mm):
    check_equal(*blobs((14, 17, 20), seed), spacing_mm)


@pytest.mark.parametrize("seed", range(60))
def test_random_voxels_like_surface_distance(seed):
    """Noise shows every neighbour code, and masks at all borders of the array."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, 3))
    first, second = (rng.random(shape) < rng.uniform(0.02, 1) for _ in range(2))
    first.flat[0] = second.flat[-1] = True
    check_equal(first, second, tuple(rng.uniform(0.3, 5, 3)))


def test_real_structures_like_surface_distance(sample_root: Path):
    folders = sorted(folder for folder in sample_root.iterdir() if folder.is_dir())[:2]
    checked = 0
    for number, path in enumerate(p for folder in folders for p in sorted((folder / "segmentations").iterdir())):
        volume = read_label_map(path)
        found = ndimage.find_objects((volume.array > 0).view(np.uint8))[0]
        truth = np.pad(volume.array[found] > 0, 4)
        noise = np.random.default_rng(number).standard_normal(truth.shape)
        blurred = ndimage.gaussian_filter(truth.astype(float), 1) + 0.6 * ndimage.gaussian_filter(noise, 1.5)
        near = ndimage.binary_dilation(truth, iterations=2)
        predicted = np.roll((blurred > 0.5) & near, number % 3, axis=number % 2)
        distances = check_equal(predicted, truth, tuple(volume.geometry.spacing_mm))
        assert 0 < distances.nsd(2.0) < 1
        checked += 1
    assert checked >= 10


@pytest.mark.parametrize("axis", range(3))
def test_masks_at_the_border_end_there(axis):
    full = np.ones((3, 4, 5), bool)
    part = np.take(full, range(full.shape[axis] - 1), axis)
    part = np.concatenate([part, np.zeros_like(np.take(full, [0], axis))], axis)
    spacing = (2.0, 3.0, 5.0)
    distances = check_equal(full, part, spacing)
    assert distances.hd == spacing[axis]
    padded = surface_distances(np.pad(full, 3), np.pad(part, 3), spacing_mm=spacing)
    assert (padded.hd95, padded.assd, padded.nsd(1)) == (distances.hd95, distances.assd, distances.nsd(1))


def test_equal_masks_have_no_distance():
    mask, _ = blobs((9, 10, 11), 0)
    for equal in (mask, voxel(0, 0, 0), np.ones((2, 1, 3), bool)):
        distances = surface_distances(equal, equal.copy(), spacing_mm=(1.5, 1, 1))
        assert (distances.hd, distances.hd95, distances.assd, distances.nsd(0)) == (0, 0, 0, 1)


def test_distances_are_symmetric_and_turn_with_the_axes():
    first, second = blobs((12, 13, 14), 5)
    here = surface_distances(first, second, spacing_mm=(2.5, 1.1, 0.8))
    turned = surface_distances(second.T[:, ::-1], first.T[:, ::-1], spacing_mm=(0.8, 1.1, 2.5))
    assert turned.hd95 == pytest.approx(here.hd95, rel=1e-12)
    assert turned.assd == pytest.approx(here.assd, rel=1e-12)
    assert turned.nsd(1.1) == pytest.approx(here.nsd(1.1), rel=1e-12)
    scaled = surface_distances(first, second, spacing_mm=(5.0, 2.2, 1.6))
    assert scaled.hd95 == pytest.approx(2 * here.hd95, rel=1e-12)


def test_one_empty_mask_is_infinitely_far():
    empty = np.zeros((8, 8, 8), bool)
    for pair in ((voxel(1, 2, 3), empty), (empty, voxel(1, 2, 3))):
        distances = surface_distances(*pair, spacing_mm=(1, 1, 1))
        assert (distances.hd, distances.hd95, distances.assd) == (np.inf, np.inf, np.inf)
        assert distances.nsd(1000) == 0


def test_two_empty_masks_have_nothing_to_measure():
    empty = np.zeros((4, 5, 6), bool)
    distances = surface_distances(empty, empty, spacing_mm=(1, 1, 1))
    assert np.isnan([distances.hd, distances.hd95, distances.assd, distances.nsd(1)]).all()


def test_wrong_arguments_are_refused():
    mask = voxel(1, 2, 3)
    with pytest.raises(ValueError, match=r"second is bool \(8, 8, 7\), expected bool in three dimensions"):
        surface_distances(mask, mask[..., :7], spacing_mm=(1, 1, 1))
    with pytest.raises(ValueError, match=r"first is uint8 \(8, 8, 8\)"):
        surface_distances(mask.view(np.uint8), mask, spacing_mm=(1, 1, 1))
    with pytest.raises(ValueError, match=r"first is bool \(8, 8\)"):
        surface_distances(mask[0], mask[0], spacing_mm=(1, 1))
    for spacing in ((1, 1), (1, 0, 1), (1, -1, 1), (1, np.nan, 1), (1, 1, np.inf)):
        with pytest.raises(NasosegError, match=r"spacing_mm: found \[1.0, .*expected three positive numbers"):
            surface_distances(mask, mask, spacing_mm=spacing)
    distances = surface_distances(mask, mask, spacing_mm=(1, 1, 1))
    for tolerance in (-0.1, np.nan):
        with pytest.raises(NasosegError, match=r"tolerance_mm: found .*, expected 0 or more millimetres"):
            distances.nsd(tolerance)

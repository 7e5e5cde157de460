import numpy as np
import pytest

from nasoseg.data.dataset import SliceDataset
from nasoseg.data.training_data import Range, TrainingData
from nasoseg.inference.scan_input import ScanInput
from nasoseg.volumes.volume import Geometry, Volume

WINDOWS = ((-160.0, 240.0), (-1000.0, 1000.0))


@pytest.mark.parametrize("context", [0, 2])
def test_a_scan_gives_the_images_that_training_saw(small_store, context):
    key = small_store.keys[0]
    count = len(small_store.voxels[key])
    trained = SliceDataset(small_store, {key: range(count)}, positions=range(10), windows_hu=WINDOWS, context=context)
    # The scan as its file has it: columns to Right, slices to Inferior.
    stored, grid = small_store.read(key, "image", slice(None)), small_store.geometry(key)
    affine = grid.affine_lps.copy()
    affine[:3, 3] += affine[:3, 0] * (count - 1) + affine[:3, 2] * (grid.shape[2] - 1)
    affine[:3, [0, 2]] *= -1
    scan = ScanInput(
        Volume(stored[::-1, :, ::-1], Geometry(grid.shape, affine)), TrainingData(WINDOWS, context=context)
    )
    assert not scan.resampled
    together = np.stack([trained[z]["image"] for z in range(count)])
    np.testing.assert_array_equal(scan.batch(0, count), together)
    np.testing.assert_array_equal(scan.batch(3, 5), together[3:5])


def upright(shape, spacing) -> Volume:
    hu = np.random.default_rng(0).integers(-1000, 1000, shape).astype(np.int16)
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = [*spacing, 1]
    return Volume(hu, Geometry(shape, affine))


def test_pixels_unlike_the_trainings_are_resampled_to_their_median():
    training = TrainingData(WINDOWS[:1], patients=3, pixel_mm=Range(0.9, 1.0, 1.2), slice_mm=Range(3, 3, 3))
    same = ScanInput(upright((3, 20, 20), (3, 1.21, 0.9)), training)  # 1.21 is 1.2 in a rounded header
    assert not same.resampled
    finer = ScanInput(upright((3, 40, 40), (3, 0.5, 0.5)), training)
    assert finer.resampled
    assert finer.batch(0, 3).shape == (3, 1, 20, 20)
    np.testing.assert_allclose(finer.grid.spacing_mm, (3, 1, 1))


def test_neighbours_are_as_far_away_as_in_training():
    training = TrainingData(WINDOWS[1:], context=1, patients=3, slice_mm=Range(2.9, 3.0, 3.1))
    volume = upright((9, 4, 4), (1, 1, 1))
    scan = ScanInput(volume, training)
    assert scan.step == 3
    hu = np.rint(scan.batch(4, 5)[0] * 1000)
    np.testing.assert_array_equal(hu, volume.array[[1, 4, 7]])
    at_the_end = np.rint(scan.batch(0, 1)[0] * 1000)
    np.testing.assert_array_equal(at_the_end, volume.array[[0, 0, 3]])
    assert ScanInput(upright((9, 4, 4), (5, 1, 1)), training).step == 1

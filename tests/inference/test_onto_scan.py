import numpy as np
import pytest
import torch

from nasoseg.data.resample import resample_image, stored_grid
from nasoseg.inference.onto_scan import OntoScan
from nasoseg.volumes.volume import Geometry


def axial(shape, spacing=(3, 1, 1)) -> Geometry:
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = [*spacing, 1]
    return Geometry(shape, affine)


def masks(onto: OntoScan, count: int) -> np.ndarray:
    return np.stack([(onto.planes >> onto.planes.dtype.type(bit)) & onto.planes.dtype.type(1) for bit in range(count)])


@pytest.mark.parametrize("structures", [1, 17, 40])
def test_without_resampling_a_voxel_is_inside_over_one_half(structures):
    grid = axial((4, 6, 5))
    seen = torch.rand(4, structures, 6, 5, generator=torch.manual_seed(0))
    seen[:, 0, 0, 0] = 0.5
    onto = OntoScan(grid, grid, structures=structures, head="multilabel")
    onto.add(seen[:3], 0)
    onto.add(seen[3:], 3)
    np.testing.assert_array_equal(masks(onto, structures), (seen > 0.5).transpose(0, 1).numpy())


@pytest.mark.parametrize("spacing", [(3, 0.4, 0.4), (3, 1.7, 1.1)])
def test_probabilities_are_interpolated_between_the_networks_pixels(spacing):
    scan = axial((2, 30, 24), spacing)
    grid = stored_grid(scan, pixel_mm=1.0)
    seen = torch.rand(2, 3, *grid.shape[1:], generator=torch.manual_seed(1))
    seen[:, 2] *= 0.5  # on no slice
    onto = OntoScan(grid, scan, structures=3, head="multilabel")
    onto.add(seen, 0)
    for bit in range(3):
        of_structure = np.ascontiguousarray(seen[:, bit].numpy())
        expected = resample_image(of_structure, grid, scan, outside=0.0, widened=False)
        unlike = (masks(onto, 3)[bit] != (expected > 0.5)) & (abs(expected - 0.5) > 1e-6)
        assert not unlike.any()
    assert masks(onto, 3)[0].any()
    assert not masks(onto, 3)[2].any()


def test_of_a_softmax_the_likeliest_channel_wins_at_every_voxel():
    scan = axial((2, 21, 21), (3, 0.5, 0.5))
    grid = stored_grid(scan, pixel_mm=1.0)
    seen = torch.randn(2, 4, *grid.shape[1:], generator=torch.manual_seed(2)).softmax(dim=1)
    onto = OntoScan(grid, scan, structures=3, head="multiclass")
    onto.add(seen, 0)
    moved = [
        resample_image(np.ascontiguousarray(seen[:, c].numpy()), grid, scan, outside=0.0, widened=False)
        for c in range(4)
    ]
    winner = np.stack(moved).argmax(axis=0)
    for bit in range(3):
        differs = masks(onto, 3)[bit] != (winner == bit + 1)
        close = np.sort(np.stack(moved), axis=0)
        assert not (differs & (close[-1] - close[-2] > 1e-6)).any()
    assert (masks(onto, 3).sum(axis=0) <= 1).all()

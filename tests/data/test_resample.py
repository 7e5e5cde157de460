"""Stored grids: a place stays where it is in millimetres, and predictions return to where they came from."""

import numpy as np
import pytest
from generated_grids import grids, numbered
from hypothesis import given, settings
from hypothesis import strategies as st

from nasoseg.data.resample import Axis, resample_image, resample_mask, stored_grid, to_source
from nasoseg.errors import NasosegError
from nasoseg.volumes.volume import Geometry, Volume

AXIAL = Geometry(
    (3, 40, 50), np.array([[0, 0, 1.1, -30.0], [0, 0.9, 0, 12], [2.5, 0, 0, 700], [0, 0, 0, 1]])
)  # slices 2.5 mm, rows 0.9 mm, columns 1.1 mm


def centroid_mm(array: np.ndarray, grid: Geometry) -> np.ndarray:
    weights = array.astype(float)
    index = [(weights * axis).sum() / weights.sum() for axis in np.indices(array.shape)]
    return (grid.affine_lps @ [*index, 1])[:3]


def blob() -> np.ndarray:
    """A smooth blob off the centre of the plane, on one slice."""
    _, rows, columns = np.indices(AXIAL.shape)
    bump = 1000 * np.exp(-((rows - 24.3) ** 2 + (columns - 19.8) ** 2) / 18)
    bump[[0, 2]] = 0
    return bump


GRIDS = [
    {"pixel_mm": 0.45},
    {"pixel_mm": 0.7},
    {"pixel_mm": 1.0},
    {"pixel_mm": 2.0},
    {"pixel_mm": 2.7},
    {"size": 16},
    {"size": 25},
    {"size": 101},
    {"pixel_mm": 1.0, "size": 32},
    {"pixel_mm": 1.0, "size": 99},
]


@pytest.mark.parametrize("options", GRIDS, ids=str)
def test_a_marked_place_stays_in_mm(options):
    grid = stored_grid(AXIAL, **options)
    moved = resample_image(blob().astype(np.float32), AXIAL, grid, outside=0.0)
    np.testing.assert_allclose(centroid_mm(moved, grid), centroid_mm(blob(), AXIAL), atol=0.03)
    mask = resample_mask(blob() > 500, AXIAL, grid)
    # a mask's centre moves by a fraction of a pixel at most, on the coarsest grid
    assert np.abs(centroid_mm(mask, grid) - centroid_mm(blob() > 500, AXIAL)).max() < 0.3 * grid.spacing_mm[1:].max()


@pytest.mark.parametrize("options", GRIDS, ids=str)
def test_the_grid_is_what_was_asked_for_about_the_same_centre(options):
    grid = stored_grid(AXIAL, **options)
    if "pixel_mm" in options:
        np.testing.assert_allclose(grid.spacing_mm[1:], options["pixel_mm"])
    else:
        np.testing.assert_allclose(grid.spacing_mm[1:] * options["size"], [40 * 0.9, 50 * 1.1])
    if "size" in options:
        assert grid.shape == (3, options["size"], options["size"])
    else:
        np.testing.assert_allclose(grid.spacing_mm[1:] * grid.shape[1:], [36, 55], atol=options["pixel_mm"] / 2)
    middle = [(side - 1) / 2 for side in grid.shape]
    np.testing.assert_allclose(grid.affine_lps @ [*middle, 1], AXIAL.affine_lps @ [1, 19.5, 24.5, 1])


def test_doubling_the_pixel_worked_by_hand():
    # Old pixels 0 1 2 3 of 1 mm, new ones of 2 mm: centres at 0.5 and 2.5; the triangle reaches 2 old pixels.
    axis = Axis(4, 2, 2.0, 0.5)
    np.testing.assert_allclose(
        axis.weights(widened=True).toarray(), [[3 / 7, 3 / 7, 1 / 7, 0], [0, 1 / 7, 3 / 7, 3 / 7]], rtol=1e-6
    )
    np.testing.assert_allclose(axis.weights(widened=False).toarray(), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])


def test_a_fine_pattern_does_not_alias():
    stripes = np.broadcast_to(np.arange(50) % 2 * 1000.0, AXIAL.shape).astype(np.float32)
    grid = stored_grid(AXIAL, pixel_mm=3.0)
    inner = resample_image(stripes, AXIAL, grid, outside=0.0)[:, :, 2:-2]
    assert np.abs(inner - 500).max() < 120  # taken at the centres it swings between 0 and 1000


@given(grids(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_to_source_undoes_storing(grid, seed):
    volume = Volume(np.random.default_rng(seed).integers(0, 2**16, grid.shape, np.uint16), grid)
    back = to_source(volume.axial().array, grid.axial(), grid)
    assert back.dtype == np.uint16
    assert np.array_equal(back, volume.array)


@given(grids(smallest=5, largest=23, isotropic=True), st.integers(3, 40), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_to_source_undoes_cropping_and_padding(grid, size, seed):
    volume = Volume(np.random.default_rng(seed).integers(0, 2**16, grid.shape, np.uint16), grid)
    axial = volume.axial()
    stored = stored_grid(axial.geometry, pixel_mm=float(axial.geometry.spacing_mm[1]), size=size)
    planes = resample_image(axial.array, axial.geometry, stored, outside=0)
    kept = to_source(np.ones(stored.shape, bool), stored, grid)
    _, rows, columns = axial.array.shape
    assert kept.sum() == len(planes) * min(rows, size) * min(columns, size)
    assert np.array_equal(to_source(planes, stored, grid), np.where(kept, volume.array, 0))


@pytest.mark.parametrize("noise", [-1e-9, 0.0, 1e-9])
def test_a_rounding_error_in_the_spacing_shifts_nothing(noise):
    grid = Geometry((2, 5, 5), np.diag([3.0, 0.3, 0.3, 1.0])[[2, 1, 0, 3]])
    stored = stored_grid(grid, pixel_mm=0.3 * (1 + noise), size=5)
    assert stored.matches(grid, tolerance_mm=1e-6)


@pytest.mark.parametrize("size", [7, 12, 31, 64])
def test_cropping_and_padding_move_no_value(size):
    grid = Geometry((2, 20, 31), np.diag([3.0, 0.5, 0.5, 1.0])[[2, 1, 0, 3]][:, [0, 1, 2, 3]])
    stored = stored_grid(grid, pixel_mm=0.5, size=size)
    array = numbered(grid.shape).astype(np.int16)
    moved = resample_image(array, grid, stored, outside=-1024)
    values, counts = np.unique(moved, return_counts=True)
    inside = min(size, 20) * min(size, 31) * 2
    assert set(values) <= {*array.ravel().tolist(), -1024}
    assert counts[values != -1024].sum() == inside
    assert (counts[values != -1024] == 1).all()
    np.testing.assert_allclose(
        centroid_mm((moved == array[1, 10, 15]), stored), centroid_mm(array == array[1, 10, 15], grid)
    )


@pytest.mark.parametrize("options", [{"pixel_mm": 0.6}, {"pixel_mm": 1.5}, {"size": 64}, {"size": 20}], ids=str)
def test_a_resampled_prediction_returns_to_its_place(options):
    source = Geometry((50, 40, 3), np.diag([-1.1, 0.9, 2.5, 1.0]))  # another axis order and a flip
    axial = source.axial()
    grid = stored_grid(axial, **options)
    _, rows, columns = np.indices(axial.shape)
    disc = (rows - 22) ** 2 + (columns - 30) ** 2 < 100
    planes = np.zeros(grid.shape, np.uint16)
    planes[resample_mask(disc, axial, grid)] |= 1 << 9
    planes[resample_mask(rows < 5, axial, grid)] |= 1 << 2
    back = to_source(planes, grid, source)
    assert back.shape == source.shape
    expected = disc[:, :, ::-1].transpose(2, 1, 0)  # worked out apart from the code: columns run backwards
    found = (back >> 9) & 1
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > (0.9 if "size" in options else 0.95)
    assert set(np.unique(back)) <= {0, 1 << 9, 1 << 2}
    chance = to_source(resample_mask(disc, axial, grid).astype(np.float32), grid, source)
    assert chance.dtype == np.float32
    assert np.corrcoef(chance.ravel(), expected.ravel())[0, 1] > 0.9


def test_what_was_cropped_away_is_0():
    source = Geometry((3, 40, 50), AXIAL.affine_lps)
    grid = stored_grid(source, pixel_mm=1.0, size=16)
    back = to_source(np.ones(grid.shape, bool), grid, source)
    rows, columns = np.nonzero(back[0])
    assert (rows.max() - rows.min() + 1) * 0.9 == pytest.approx(16, abs=1)
    assert (columns.max() - columns.min() + 1) * 1.1 == pytest.approx(16, abs=1.1)
    assert not back[:, 0].any()


def test_grids_of_two_patients_are_refused():
    other = Geometry((4, 40, 50), AXIAL.affine_lps)
    with pytest.raises(NasosegError, match="one patient"):
        to_source(np.zeros(AXIAL.shape, bool), AXIAL, other)
    turned = AXIAL.affine_lps.copy()
    turned[2, 2] = 0.1
    with pytest.raises(NasosegError, match="one patient"):
        to_source(np.zeros(AXIAL.shape, bool), AXIAL, Geometry(AXIAL.shape, turned))
    with pytest.raises(NasosegError, match=r"int16.*expected bool, unsigned"):
        to_source(np.zeros(AXIAL.shape, np.int16), AXIAL, AXIAL)


def test_too_many_pixels_are_refused():
    with pytest.raises(NasosegError, match=r"--pixel-mm 0.001 makes 36000 pixels"):
        stored_grid(AXIAL, pixel_mm=0.001)

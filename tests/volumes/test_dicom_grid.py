"""Stacks that are not straight: found, refused, and put onto a straight grid where nothing must be invented."""

import re

import numpy as np
import pytest
from generated_dicom import AXIAL, anatomy, ds, placed_hu, write_ct

from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom import read_ct


def at_heights(heights, *, sideways=None, thickness=None):
    """Edit slices to lie at these millimetres along z, moved along x or y by ``sideways`` for every slice."""

    def edit(dataset, z):
        shift = (0, 0) if sideways is None else sideways[z]
        dataset.ImagePositionPatient = ds([-20 + shift[0], -30 + shift[1], heights[z]])
        if thickness:
            dataset.SliceThickness = str(thickness[z])

    return edit


def written_field(folder, heights, *, sideways=None, shape=(24, 20)):
    """Write slices whose HU say where they lie; return nothing that the reader could lean on."""
    planes = []
    for z, height in enumerate(heights):
        affine = AXIAL.copy()
        affine[2, 3] = height
        if sideways is not None:
            affine[:2, 3] += sideways[z]
        planes.append(placed_hu((1, *shape), affine)[0])
    write_ct(folder, np.array(planes), slope=0.125, intercept=-1024, edit=at_heights(heights, sideways=sideways))


def assert_placed(ct, *, least):
    """Check that every voxel holds the HU of its place or is air, and that ``least`` of them are inside."""
    expected = placed_hu(ct.volume.array.shape, ct.volume.geometry.affine_lps)
    inside = ct.volume.array != -1024
    assert np.abs(ct.volume.array - expected)[inside].max() < 0.15  # stored to an eighth
    assert inside.mean() > least


def test_uneven_slices_are_refused_with_the_finding(tmp_path):
    write_ct(tmp_path, anatomy(), edit=at_heights([0, 2, 4, 7, 9]))
    with pytest.raises(NasosegError, match=r"uneven steps of 2\.00 to 3\.00 mm .*--resample"):
        read_ct(tmp_path)


def test_uneven_slices_are_interpolated(tmp_path):
    written_field(tmp_path, [40, 42, 44, 47, 48.2, 50])
    ct = read_ct(tmp_path, resample=True)
    assert not ct.straight
    assert ct.volume.array.shape == (6, 24, 20)
    np.testing.assert_allclose(np.diff([plane.affine_lps[2, 2] for plane in ct.planes]), [2, 2, 3, 1.2, 1.8])
    np.testing.assert_allclose(ct.volume.geometry.affine_lps[:3, 0], [0, 0, 2])
    assert_placed(ct, least=0.999)
    assert "uneven steps of 1.20 to 3.00 mm" in ct.remarks[0]


def test_between_uneven_slices_lies_the_mean_of_both_in_whole_hu(tmp_path):
    heights, hu = np.array([40, 42, 44, 47, 48.2, 50]), anatomy((6, 8, 6))
    write_ct(tmp_path, hu, edit=at_heights(heights))
    ct = read_ct(tmp_path, resample=True)
    places = 40 + 2.0 * np.arange(6)
    expected = [[np.interp(places, heights, hu[:, i, j]) for j in range(6)] for i in range(8)]
    assert ct.volume.array.dtype == np.int16
    np.testing.assert_array_equal(ct.volume.array, np.rint(np.transpose(expected, (2, 0, 1))))
    assert "interpolated linearly to 6 straight ones 2.00 mm apart, of 8 x 6 pixels" in ct.remarks[0]


def test_two_tilted_slices_stay_two(tmp_path):
    hu = anatomy((2, 8, 6))
    write_ct(tmp_path, hu, edit=at_heights([10, 13], sideways=[(0, 0), (0, 1.6)]))
    array = read_ct(tmp_path, resample=True).volume.array
    assert array.shape == (2, 10, 6)  # 1.6 mm are two rows
    assert np.array_equal(array[0, :8], hu[0])
    assert np.array_equal(array[1, 2:], hu[1])


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_tilt_is_found_and_straightened(tmp_path, sign, axis):
    heights = np.arange(8) * 3.0
    sideways = np.zeros((8, 2))
    sideways[:, axis] = sign * np.tan(np.deg2rad(18.5)) * heights
    written_field(tmp_path, heights, sideways=sideways)
    with pytest.raises(NasosegError, match=r"gantry tilt of 18\.5 degrees, expected a straight"):
        read_ct(tmp_path)
    ct = read_ct(tmp_path, resample=True)
    grown = [24, 20]
    grown[1 - axis] += int(np.ceil(abs(sideways[-1, axis]) / (0.9, 0.8)[axis]))
    assert ct.volume.array.shape == (8, *grown)
    np.testing.assert_allclose(ct.volume.geometry.affine_lps[:3, 0], [0, 0, 3], atol=1e-9)  # no shear is left
    assert_placed(ct, least=0.55)


@pytest.mark.parametrize("said", ["18.5", "-18.5"])
def test_a_tilt_that_header_and_positions_agree_on_is_not_remarked(tmp_path, said):
    heights = np.arange(8) * 3.0
    at = at_heights(heights, sideways=[(0, np.tan(np.deg2rad(18.5)) * h) for h in heights])

    def tilted(dataset, z):
        at(dataset, z)
        dataset.GantryDetectorTilt = said

    write_ct(tmp_path, anatomy((8, 24, 20)), edit=tilted)
    (remark,) = read_ct(tmp_path, resample=True).remarks
    assert "gantry tilt of 18.5 degrees were interpolated" in remark


@pytest.mark.parametrize(("said", "remarked"), [("18.9", False), ("19.5", True), ("-17.5", True)])
def test_a_tilt_that_the_header_says_otherwise_is_remarked(tmp_path, said, remarked):
    at = at_heights(np.arange(8) * 3.0, sideways=[(0, np.tan(np.deg2rad(18.5)) * 3 * z) for z in range(8)])

    def tilted(dataset, z):
        at(dataset, z)
        dataset.GantryDetectorTilt = said

    write_ct(tmp_path, anatomy((8, 24, 20)), edit=tilted)
    assert any("GantryDetectorTilt" in remark for remark in read_ct(tmp_path, resample=True).remarks) == remarked


def test_first_slice_stays_as_it_is(tmp_path):
    hu, heights = anatomy((6, 24, 20)), np.arange(6) * 3.0
    write_ct(tmp_path, hu, edit=at_heights(heights, sideways=[(0, 0.5 * h) for h in heights]))
    ct = read_ct(tmp_path, resample=True)
    assert ct.volume.array.dtype == np.int16
    assert np.array_equal(ct.volume.array[0, :24], hu[0])
    assert (ct.volume.array[0, 24:] == -1024).all()
    assert (ct.volume.array[-1, :9] == -1024).all()


def test_tilted_and_oblique(tmp_path):
    angle = np.deg2rad(30)
    affine = np.eye(4)
    affine[:3, 1] = 0.8 * np.array([0, np.cos(angle), np.sin(angle)])
    affine[:3, 2] = 0.9, 0, 0
    affine[:3, 0] = 0.5, 0.3, 2.5  # neither along the normal nor along an axis
    shape = (7, 30, 26)
    write_ct(tmp_path, placed_hu(shape, affine), affine, slope=0.125)
    ct = read_ct(tmp_path, resample=True)
    axes = ct.volume.geometry.affine_lps[:3, :3]
    np.testing.assert_allclose(axes.T @ axes, np.diag(np.diag(axes.T @ axes)), atol=1e-9)
    assert_placed(ct, least=0.4)


def test_resample_leaves_a_straight_stack_alone(tmp_path):
    hu = anatomy()
    write_ct(tmp_path, hu)
    ct = read_ct(tmp_path, resample=True)
    assert ct.straight
    assert np.array_equal(ct.volume.array, hu)
    assert ct.remarks == ()


@pytest.mark.parametrize(
    ("gaps", "common"),
    [
        pytest.param([1, 3, 3, 3, 3], "3.00", id="the smallest is there once"),
        pytest.param([2, 2] + [3] * 18, "2.00", id="twice, a tenth of all"),
        pytest.param([2, 2] + [3] * 19, "3.00", id="twice, less than a tenth"),
        pytest.param([2, 2.1, 3, 3, 3], "2.05", id="two that are rounded apart"),
        pytest.param([2, 2.13, 3, 3, 3], "3.00", id="two that are not"),
        pytest.param([0.5, 0.54, 0.75, 0.75, 0.75], "0.52", id="fine ones, a tenth apart"),
        pytest.param([0.5, 0.56, 0.75, 0.75, 0.75], "0.75", id="fine ones, more apart"),
        pytest.param([2, 3], "2.00", id="of two the smaller"),
    ],
)
def test_the_spacing_of_an_uneven_scan_is_its_smallest_that_is_no_accident(tmp_path, gaps, common):
    heights = np.cumsum([100, *gaps])
    write_ct(tmp_path, anatomy((len(heights), 4, 4)), edit=at_heights(heights))
    with pytest.raises(NasosegError, match=rf"\(in general {common} mm\)"):
        read_ct(tmp_path)


@pytest.mark.parametrize(("beside", "refused"), [(0.14, False), (0.16, True)])
def test_a_slice_beside_the_line_of_the_others(tmp_path, beside, refused):
    """The fifth slice takes a fifth of the way with it, so that 0.8 of it is left; twice the rounding is 0.12 mm."""
    sideways = [(0, 0), (0, 0), (beside, 0), (0, 0), (0, 0)]
    write_ct(tmp_path, anatomy(), edit=at_heights([100, 102, 104, 106, 108], sideways=sideways))
    if refused:
        with pytest.raises(NasosegError, match=r"lies 0\.13 mm beside the line"):
            read_ct(tmp_path)
    else:
        assert read_ct(tmp_path).straight


@pytest.mark.parametrize(
    ("spacing", "sideways", "straight"), [(2, 0.11, True), (2, 0.13, False), (75, 0.29, True), (75, 0.31, False)]
)
def test_a_shear_that_rounding_explains_is_none(tmp_path, spacing, sideways, straight):
    """Of five slices: up to 0.12 mm from end to end, or a thousandth of the scan's length."""
    at = at_heights(100 + spacing * np.arange(5), sideways=[(0, sideways * z / 4) for z in range(5)])
    write_ct(tmp_path, anatomy(), edit=at)
    if straight:
        assert read_ct(tmp_path).straight
    else:
        with pytest.raises(NasosegError, match="gantry tilt"):
            read_ct(tmp_path)


@pytest.mark.parametrize("resample", [False, True])
def test_missing_slices_are_never_invented(tmp_path, resample):
    write_ct(tmp_path, anatomy((6, 4, 4)), edit=at_heights([0, 2.5, 10, 12.5, 15, 20]))
    with pytest.raises(NasosegError, match=r"3 slices are missing, at 5\.00, 7\.50, 17\.50 mm .* gap of 7\.50 mm"):
        read_ct(tmp_path, resample=resample)


@pytest.mark.parametrize("heights", [[0, 3, 9], [0, 6, 9, 15, 21, 27, 33, 36]])
def test_missing_slices_where_few_or_most_are(tmp_path, heights):
    write_ct(tmp_path, anatomy((len(heights), 4, 4)), edit=at_heights(heights))
    with pytest.raises(NasosegError, match=r"missing, at 6\.00|missing, at 3\.00"):
        read_ct(tmp_path, resample=True)


def test_missing_slices_in_a_tilted_stack(tmp_path):
    heights = [0, 3, 6, 12, 15]
    write_ct(tmp_path, anatomy(), edit=at_heights(heights, sideways=[(0, 0.3 * h) for h in heights]))
    with pytest.raises(NasosegError, match=r"1 slices are missing, at 9\.00 mm"):
        read_ct(tmp_path, resample=True)


def test_a_change_to_thicker_slices_is_uneven_not_missing(tmp_path):
    heights, thickness = [0, 2.5, 5, 7.5, 12.5, 17.5], [2.5, 2.5, 2.5, 5, 5, 5]
    write_ct(tmp_path, anatomy((6, 4, 4)), edit=at_heights(heights, thickness=thickness))
    with pytest.raises(NasosegError, match=r"uneven steps of 2\.50 to 5\.00"):
        read_ct(tmp_path)
    assert read_ct(tmp_path, resample=True).volume.array.shape == (8, 4, 4)


def test_a_change_to_thinner_slices_is_uneven_not_missing(tmp_path):
    heights, thickness = [0, 5, 10, 12.5, 15, 17.5], [5, 5, 5, 2.5, 2.5, 2.5]
    write_ct(tmp_path, anatomy((6, 4, 4)), edit=at_heights(heights, thickness=thickness))
    assert read_ct(tmp_path, resample=True).volume.array.shape == (8, 4, 4)


@pytest.mark.parametrize(
    ("thickness", "missing"),
    [
        pytest.param([2.5, 2.5, 2.5, 4.5, 2.5], False, id="a thick slice that nearly touches"),
        pytest.param([2.5, 2.5, 2.5, 4, 2.5], True, id="a thick slice that does not touch"),
        pytest.param([5, 5, 5, 5, 5], True, id="slices that overlap everywhere"),
        pytest.param([3, 3, 3, 4.5, 3], True, id="half as thick again"),
    ],
)
def test_a_thicker_slice_fills_its_gap_only_if_it_touches(tmp_path, thickness, missing):
    write_ct(tmp_path, anatomy(), edit=at_heights([0, 2.5, 5, 10, 12.5], thickness=thickness))
    with pytest.raises(NasosegError, match="1 slices are missing, at 7.50" if missing else "uneven steps"):
        read_ct(tmp_path)


@pytest.mark.parametrize(
    ("common", "gap", "missing"),
    [
        (2.5, 5.12, True),  # a twentieth of the spacing off
        (2.5, 5.14, False),
        (5, 10.245, True),
        (5, 10.26, False),
        (1, 2.11, True),  # rounding, twice
        (1, 2.14, False),
        (0.5, 1.09, True),  # a fifth of a fine spacing
        (0.5, 1.11, False),
        (2.5, 7.4, True),
    ],
)
def test_a_gap_of_nearly_twice_the_spacing_lacks_a_slice(tmp_path, common, gap, missing):
    heights = np.cumsum([0, common, common, gap, common, common])
    write_ct(tmp_path, anatomy((6, 4, 4)), edit=at_heights(heights))
    with pytest.raises(NasosegError, match="slices are missing" if missing else "uneven steps"):
        read_ct(tmp_path)


@pytest.mark.parametrize(("count", "ending"), [(8, ", 24.00 mm"), (9, ", 24.00, ... mm")])
def test_eight_missing_slices_are_named(tmp_path, count, ending):
    heights = [0, 2, 4, 6, 8, 10 + 2 * count, 12 + 2 * count]
    write_ct(tmp_path, anatomy((7, 4, 4)), edit=at_heights(heights))
    with pytest.raises(NasosegError, match=f"{count} slices are missing, at 10.00, 12.00.*{ending} along the normal"):
        read_ct(tmp_path)


@pytest.mark.parametrize("resample", [False, True])
def test_slices_that_jump_sideways_are_refused(tmp_path, resample):
    sideways = [(0, 0), (0, 0), (9, 0), (9, 0), (0, 0)]
    write_ct(tmp_path, anatomy(), edit=at_heights([0, 2, 4, 6, 8], sideways=sideways))
    with pytest.raises(NasosegError, match="mm beside the line through the other slices"):
        read_ct(tmp_path, resample=resample)


def test_identical_duplicates_are_kept_once(tmp_path):
    hu = anatomy()
    write_ct(tmp_path / "a", hu)
    write_ct(tmp_path / "b", hu[[1, 3]], edit=at_heights([102.5, 107.5]))
    ct = read_ct(tmp_path)
    assert np.array_equal(ct.volume.array, hu)
    assert len(ct.planes) == 5
    assert ct.remarks == ("2 slices are there twice, identical: one of each was kept",)


def test_different_slices_at_one_place_are_refused(tmp_path):
    hu = anatomy()
    write_ct(tmp_path / "a", hu)
    changed = hu[[1]].copy()
    changed[0, 3, 3] += 1
    (path,) = write_ct(tmp_path / "b", changed, edit=at_heights([102.5]))
    with pytest.raises(NasosegError, match=re.escape(f"{path}: ") + r".* lie at one place, 102\.50 mm .* differ"):
        read_ct(tmp_path)


def test_one_pixel_grid_shifted_at_one_place_is_no_duplicate(tmp_path):
    hu = anatomy()
    write_ct(tmp_path / "a", hu)
    write_ct(tmp_path / "b", hu[[1]], edit=at_heights([102.5], sideways=[(3, 0)]))
    with pytest.raises(NasosegError, match="lie at one place"):
        read_ct(tmp_path)


@pytest.mark.parametrize("count", [2, 3])
def test_few_slices_are_enough(tmp_path, count):
    hu = anatomy((count, 5, 5))
    write_ct(tmp_path, hu)
    assert np.array_equal(read_ct(tmp_path).volume.array, hu)


def test_one_slice_is_refused(tmp_path):
    write_ct(tmp_path / "one", anatomy((1, 5, 5)))
    with pytest.raises(NasosegError, match="a CT series of 1 slices, expected 2 or more"):
        read_ct(tmp_path / "one")
    write_ct(tmp_path / "same", anatomy((2, 5, 5)) * 0, edit=at_heights([5, 5]))
    with pytest.raises(NasosegError, match="all 2 slices of the series lie at one place"):
        read_ct(tmp_path / "same")

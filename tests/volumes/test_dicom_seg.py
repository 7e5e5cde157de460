"""DICOM SEG in, and there and back, with highdicom's own reader as the witness."""

import copy
from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from generated_ct_series import axial_geometry, ct_header, ct_series, oblique_geometries, write_ct
from generated_seg import GEOMETRY, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.sr.codedict import codes

from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom_seg import read_seg, write_seg


@pytest.fixture
def ct():
    return ct_series(GEOMETRY)


def test_overlapping_masks_survive(ct, tmp_path):
    sparse = np.zeros(GEOMETRY.shape, bool)
    sparse[[0, 3], 4, 5] = True
    masks = {"LeftParotid": noise(0.3), "PTV70": noise(0.6), "Eye": sparse}
    assert write_seg(tmp_path / "seg.dcm", masks, ct) == []
    structures = read_seg(tmp_path / "seg.dcm", ct)
    assert list(structures) == ["Parotid_L", "PTV_7000", "Eye"]
    for mask, back in zip(masks.values(), structures.values(), strict=True):
        assert np.array_equal(back, mask)
    assert structures.report() == []
    for written, found in zip((230, 159, 0), structures.rois["Parotid_L"].colour, strict=True):
        assert abs(written - found) <= 2  # CIELab in 16 bits
    assert list(read_seg(tmp_path / "seg.dcm", ct, names=["Eye"])) == ["Eye"]
    with pytest.raises(NasosegError, match=r"seg\.dcm: has no structure 'Ey': did you mean 'Eye'"):
        read_seg(tmp_path / "seg.dcm", ct, names=["Ey"])


@given(oblique_geometries((4, 9, 8)), st.integers(0, 3), st.integers(0, 8), st.integers(0, 7))
@settings(deadline=None, max_examples=12)
def test_a_voxel_keeps_its_place_on_any_grid(tmp_path_factory, geometry, slice_, row, column):
    path = tmp_path_factory.mktemp("seg") / "seg.dcm"
    mask = np.zeros(geometry.shape, bool)
    mask[slice_, row, column] = True
    ct = ct_series(geometry)
    write_seg(path, {"Eye": mask}, ct)
    assert np.array_equal(read_seg(path, ct)["Eye"], mask)
    volume = hd.seg.segread(path).get_volume()  # highdicom's reader: where its only voxel is
    (index,) = np.argwhere(volume.array[..., 0])
    np.testing.assert_allclose(
        (volume.affine @ [*index, 1])[:3], (geometry.affine_lps @ [slice_, row, column, 1])[:3], atol=1e-3
    )


@pytest.mark.parametrize("named", ["series", "images"])
def test_a_seg_without_a_frame_of_reference_is_known_by_what_it_names(tmp_path, named):
    ct = ct_series(GEOMETRY, header=ct_header(FrameOfReferenceUID=None))
    write_seg(tmp_path / "seg.dcm", {"Eye": noise(0.2)}, ct)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    (series,) = dataset.ReferencedSeriesSequence
    if named == "images":
        series.SeriesInstanceUID = pydicom.uid.generate_uid()
    else:
        for one in series.ReferencedInstanceSequence:
            one.ReferencedSOPInstanceUID = pydicom.uid.generate_uid()
    dataset.save_as(tmp_path / "seg.dcm")
    assert "accepted because the file names this CT's series or images" in read_seg(tmp_path / "seg.dcm", ct).remarks[0]


def test_structures_without_a_voxel(ct, tmp_path):
    empty = np.zeros(GEOMETRY.shape, bool)
    remarks = write_seg(tmp_path / "seg.dcm", {"Larynx": empty, "Eye": noise(0.2)}, ct)
    assert remarks == ["structure 'Larynx' has no voxel: written as a segment without frames"]
    structures = read_seg(tmp_path / "seg.dcm", ct)
    assert list(structures) == ["Eye"]
    assert structures.rois["Larynx"].remarks == ("it has no pixel",)
    write_seg(tmp_path / "seg.dcm", {"Larynx": empty}, ct)
    (frame,) = pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence  # a SEG has one at least
    assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == ct.planes[0].affine_lps[:3, 2].tolist()
    assert len(read_seg(tmp_path / "seg.dcm", ct)) == 0


def highdicom_seg(ct, tmp_path, pixels: np.ndarray, kind: str, **options):
    """A SEG of one segment made with highdicom alone, from slices written with pydicom."""
    images = [pydicom.dcmread(path) for path in sorted(write_ct(ct, tmp_path / "ct").iterdir())]
    described = hd.seg.SegmentDescription(1, "Eye", codes.cid7150.AnatomicalStructure, codes.SCT.Eye, "MANUAL")
    segmentation = hd.seg.Segmentation(
        *(images, pixels, kind, [described], "1.2.3", 1, "1.2.4", 1, "Maker", "Model", "1", "0"), **options
    )
    segmentation.save_as(tmp_path / "seg.dcm")
    return tmp_path / "seg.dcm"


def test_fractions_and_label_maps(ct, tmp_path):
    fractions = np.random.default_rng(0).random(GEOMETRY.shape).astype(np.float32)
    path = highdicom_seg(ct, tmp_path, fractions, "FRACTIONAL", max_fractional_value=200)
    assert np.array_equal(read_seg(path, ct)["Eye"], np.rint(fractions * 200) >= 100)
    path = highdicom_seg(ct, tmp_path, noise(0.3).astype(np.uint8), "LABELMAP")
    assert np.array_equal(read_seg(path, ct)["Eye"], noise(0.3))


@pytest.mark.parametrize("flips", [(False, True), (True, False), (True, True)])
def test_mirrored_swapped_and_cropped_frames(ct, tmp_path, flips):
    mask = noise(0.3)
    affine = GEOMETRY.affine_lps @ np.array([[1, 0, 0, 2], [0, 0, 1, 3], [0, 1, 0, 4], [0, 0, 0, 1]], float)
    volume = hd.Volume(  # from (2, 3, 4) on, with rows and columns swapped
        mask[2:5, 3:13, 4:20].transpose(0, 2, 1).astype(np.uint8), affine, coordinate_system="PATIENT"
    )
    for axis, flip in enumerate(flips, start=1):
        volume = volume.flip_spatial(axis) if flip else volume
    path = highdicom_seg(ct, tmp_path, volume, "BINARY")
    expected = np.zeros_like(mask)
    expected[2:5, 3:13, 4:20] = mask[2:5, 3:13, 4:20]
    assert np.array_equal(read_seg(path, ct)["Eye"], expected)


def test_frames_larger_than_the_ct_are_cut(ct, tmp_path):
    large = np.random.default_rng(4).random((6, 30, 40)) < 0.3
    affine = GEOMETRY.affine_lps @ np.array([[1, 0, 0, 0], [0, 1, 0, -3], [0, 0, 1, -5], [0, 0, 0, 1]], float)
    path = highdicom_seg(ct, tmp_path, hd.Volume(large.astype(np.uint8), affine, coordinate_system="PATIENT"), "BINARY")
    assert np.array_equal(read_seg(path, ct)["Eye"], large[:, 3:23, 5:29])


def test_frames_turned_a_little_are_refused(ct, tmp_path):
    angle = np.deg2rad(1)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    volume = hd.Volume(np.ones((6, 20, 24), np.uint8), GEOMETRY.affine_lps @ turn, coordinate_system="PATIENT")
    with pytest.raises(NasosegError, match="does not lie on the pixels of the CT"):
        read_seg(highdicom_seg(ct, tmp_path, volume, "BINARY"), ct)


def test_two_frames_of_one_slice_are_united(ct, tmp_path):
    mask = np.zeros(GEOMETRY.shape, bool)
    mask[2, 3:6, 3:6] = mask[3, 5:9, 5:9] = True
    write_seg(tmp_path / "seg.dcm", {"Eye": mask}, ct)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    first, second = dataset.PerFrameFunctionalGroupsSequence
    second.PlanePositionSequence = first.PlanePositionSequence
    dataset.save_as(tmp_path / "seg.dcm")
    found = read_seg(tmp_path / "seg.dcm", ct)["Eye"]
    assert found.any(axis=(1, 2)).sum() == 1
    assert np.array_equal(found.any(axis=0), mask[2] | mask[3])


def test_a_frame_moves_with_the_tilt_to_the_slices_that_show_its_plane(tmp_path):
    """As contours do: planes a millimetre backwards for every millimetre upwards, slices at 0, 3 ... 15 mm."""
    planes = [np.array([(0, 1, -10), (1, 0, z - 10), (0, 0, z), (0, 0, 1)], float) for z in (0, 4, 8, 13)]
    tilted = ct_series(axial_geometry((6, 30, 20), (3, 1, 1), origin=(-10, -10, 0)), planes=planes)
    flat = ct_series(axial_geometry((1, 30, 20), (3, 1, 1), origin=(-10, -6, 4)))  # the plane at 4 mm, alone
    mask = np.zeros((1, 30, 20), bool)
    mask[0, 8:13, 4:9] = True
    write_seg(tmp_path / "seg.dcm", {"Eye": mask}, flat)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    dataset.FrameOfReferenceUID = tilted.frame_of_reference_uid
    dataset.save_as(tmp_path / "seg.dcm")
    found = read_seg(tmp_path / "seg.dcm", tilted)["Eye"]
    rows = [np.flatnonzero(plane.any(axis=1)).tolist() for plane in found]
    assert rows == [[], [11, 12, 13, 14, 15], [14, 15, 16, 17, 18], [], [], []]


def test_names_that_are_empty_or_twice_there(ct, tmp_path):
    write_seg(tmp_path / "seg.dcm", {"Eye": noise(0.2), "Ear": noise(0.3), "A": noise(0.1)}, ct)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    first, second, third = dataset.SegmentSequence
    second.SegmentLabel, third.SegmentLabel = first.SegmentLabel, ""
    del first.RecommendedDisplayCIELabValue
    dataset.save_as(tmp_path / "seg.dcm")
    structures = read_seg(tmp_path / "seg.dcm", ct)
    assert list(structures) == ["Eye", "Eye (2)", "ROI 3"]
    assert structures.rois["Eye"].colour is None
    assert structures.rois["Eye (2)"].colour is not None


def test_a_label_map_of_several_segments_with_its_background_described(ct, tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, GEOMETRY.shape).astype(np.uint8)
    images = [pydicom.dcmread(path) for path in sorted(write_ct(ct, tmp_path / "ct").iterdir())]
    described = [
        hd.seg.SegmentDescription(number, name, codes.cid7150.AnatomicalStructure, codes.SCT.Eye, "MANUAL")
        for number, name in ((1, "One"), (2, "Two"))
    ]
    segmentation = hd.seg.Segmentation(
        images, labels, "LABELMAP", described, "1.2.3", 1, "1.2.4", 1, "Maker", "Model", "1", "0"
    )
    segmentation.save_as(tmp_path / "seg.dcm")
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    if not any(one.SegmentNumber == 0 for one in dataset.SegmentSequence):
        dataset.SegmentSequence.insert(0, copy.deepcopy(dataset.SegmentSequence[0]))
        dataset.SegmentSequence[0].SegmentNumber, dataset.SegmentSequence[0].SegmentLabel = 0, "Background"
        dataset.save_as(tmp_path / "seg.dcm")
    structures = read_seg(tmp_path / "seg.dcm", ct)
    assert list(structures) == ["One", "Two"]
    assert np.array_equal(structures["One"], labels == 1)
    assert np.array_equal(structures["Two"], labels == 2)


def test_frames_off_the_grid(ct, tmp_path):
    beside = GEOMETRY.affine_lps @ np.array([[1, 0, 0, 0], [0, 1, 0, 0.4], [0, 0, 1, 0], [0, 0, 0, 1]], float)
    coarse = GEOMETRY.affine_lps @ np.diag([1.0, 2.0, 2.0, 1.0])
    for affine in (beside, coarse):
        volume = hd.Volume(np.ones((6, 8, 8), np.uint8), affine, coordinate_system="PATIENT")
        path = highdicom_seg(ct, tmp_path, volume, "BINARY")
        with pytest.raises(NasosegError, match=r"'Eye' does not lie on the pixels of the CT.*resample it"):
            read_seg(path, ct)
    between = GEOMETRY.affine_lps @ np.array([[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float)
    volume = hd.Volume(np.ones((6, 8, 8), np.uint8), between, coordinate_system="PATIENT")
    structures = read_seg(highdicom_seg(ct, tmp_path, volume, "BINARY"), ct)
    assert structures.report() == ["Eye (number 1): no mask: 6 frames on no slice of the CT left out"]
    for count, said in ((1, "1 frame"), (2, "2 frames")):
        volume = hd.Volume(np.ones((count, 8, 8), np.uint8), between, coordinate_system="PATIENT")
        structures = read_seg(highdicom_seg(ct, tmp_path, volume, "BINARY"), ct)
        assert structures.report() == [f"Eye (number 1): no mask: {said} on no slice of the CT left out"]


def test_a_foreign_or_damaged_seg(ct, tmp_path):
    path = tmp_path / "seg.dcm"
    write_seg(path, {"Eye": noise(0.2)}, ct)
    with pytest.raises(NasosegError, match="belongs to another patient than the CT"):
        read_seg(path, ct_series(GEOMETRY, header=ct_header(PatientID="P-2")))
    with pytest.raises(NasosegError, match="drawn in frame of reference"):
        read_seg(path, ct_series(GEOMETRY))
    same_images = replace(ct_series(GEOMETRY), planes=ct.planes)
    with pytest.raises(NasosegError, match=r"All 6 images that it names are slices of this CT.*trust_images=True"):
        read_seg(path, same_images)
    assert np.array_equal(read_seg(path, same_images, trust_images=True)["Eye"], noise(0.2))
    whole = path.read_bytes()
    for keep in (len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:keep])
        with pytest.raises(NasosegError, match=r"seg\.dcm: cannot be read"):
            read_seg(path, ct)
    (image,) = write_ct(ct_series(axial_geometry((1, 4, 4))), tmp_path / "one").iterdir()
    with pytest.raises(NasosegError, match="modality CT: expected a DICOM SEG"):
        read_seg(image, ct)


def unnamed(ct, path, mask, *, down: float = 0.0, along: float = 0.0, raised_mm: float = 0.0):
    """Write a SEG that only its places connect with the CT, its planes tilted by so many millimetres over a side."""
    write_seg(path, {"Eye": mask}, ct)
    dataset = pydicom.dcmread(path)
    del dataset.FrameOfReferenceUID, dataset.ReferencedSeriesSequence
    cosines = np.array([1, 0, along / 23, 0, 1, down / 19])
    orientation = pydicom.Dataset()
    orientation.ImageOrientationPatient = [f"{value:.9f}" for value in cosines]
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        x, y, z = frame.PlanePositionSequence[0].ImagePositionPatient
        frame.PlanePositionSequence[0].ImagePositionPatient = [x, y, z + raised_mm]
        frame.PlaneOrientationSequence = [orientation]
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("beside", [{}, {"raised_mm": 0.09}, {"down": 0.09}, {"along": 0.09}])
def test_nothing_is_named_and_the_places_fit(ct, tmp_path, beside):
    structures = read_seg(unnamed(ct, tmp_path / "seg.dcm", noise(0.2), **beside), ct)
    assert np.array_equal(structures["Eye"], noise(0.2))
    assert "accepted by its position alone" in structures.remarks[0]


@pytest.mark.parametrize(
    "beside", [{"raised_mm": 0.11}, {"down": 0.11}, {"along": 0.11}, {"down": 0.06, "along": 0.06}]
)
def test_nothing_is_named_and_a_corner_lies_beside_its_slice(ct, tmp_path, beside):
    with pytest.raises(NasosegError, match=r"seg\.dcm: .* nothing shows that it belongs to this CT"):
        read_seg(unnamed(ct, tmp_path / "seg.dcm", noise(0.2), **beside), ct)


def test_a_seg_whose_frames_are_not_placed(ct, tmp_path):
    write_seg(tmp_path / "seg.dcm", {"Eye": noise(0.2)}, ct)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    del dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    dataset.save_as(tmp_path / "seg.dcm")
    with pytest.raises(NasosegError, match=r"seg\.dcm: cannot be read \(.*\): expected a whole DICOM SEG"):
        read_seg(tmp_path / "seg.dcm", ct)


def test_a_ct_without_a_frame_of_reference(tmp_path):
    ct = ct_series(GEOMETRY, header=ct_header(FrameOfReferenceUID=None))
    assert "the CT has no frame of reference" in write_seg(tmp_path / "seg.dcm", {"Eye": noise(0.2)}, ct)[0]
    structures = read_seg(tmp_path / "seg.dcm", ct)
    assert np.array_equal(structures["Eye"], noise(0.2))
    assert "accepted because the file names this CT's series or images" in structures.remarks[0]

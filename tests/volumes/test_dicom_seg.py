"""DICOM SEG in and out, with highdicom's own reader as the witness."""

from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from generated_ct_series import axial_geometry, ct_header, ct_series, oblique_geometries, write_ct
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.sr.codedict import codes

from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom_seg import read_seg, write_seg
from nasoseg.volumes.segment_codes import coded
from nasoseg.volumes.structure_set import Roi

GEOMETRY = axial_geometry((6, 20, 24), (3, 1, 1), origin=(-10, -10, 0))


def noise(share: float, shape=GEOMETRY.shape) -> np.ndarray:
    return np.random.default_rng(int(share * 100)).random(shape) < share


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


def test_what_a_written_file_says(ct, tmp_path):
    masks = {"LeftParotid": noise(0.3), "PTV70": noise(0.1), "Größe/../x": noise(0.2)}
    write_seg(tmp_path / "seg.dcm", masks, ct, label="AutoSeg", rois={"PTV70": Roi("PTV alt", 1, colour=(1, 2, 3))})
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    parotid, target, other = dataset.SegmentSequence
    assert [one.SegmentLabel for one in dataset.SegmentSequence] == ["Parotid_L", "PTV alt", "Größe/../x"]
    kind = parotid.SegmentedPropertyTypeCodeSequence[0]
    assert kind.CodeValue == codes.SCT.ParotidGland.value
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert target.SegmentedPropertyTypeCodeSequence[0].CodeValue == codes.SCT.PlanningTargetVolume.value
    assert other.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99NASOSEG"
    assert parotid.SegmentAlgorithmType == "AUTOMATIC"
    assert dataset.PatientName == "Müller^Jörg"
    assert dataset.SpecificCharacterSet == "ISO_IR 100"
    assert (dataset.StudyInstanceUID, dataset.FrameOfReferenceUID) == (ct.study_instance_uid, ct.frame_of_reference_uid)
    images = {one.ReferencedSOPInstanceUID for one in dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert images == {plane.sop_instance_uid for plane in ct.planes}
    frame = dataset.PerFrameFunctionalGroupsSequence[0]
    source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
    (plane,) = (plane for plane in ct.planes if plane.sop_instance_uid == source)
    np.testing.assert_allclose(frame.PlanePositionSequence[0].ImagePositionPatient, plane.affine_lps[:3, 2])
    assert "not a medical device" in dataset.ContentDescription
    assert (dataset.Manufacturer, dataset.ManufacturerModelName) == ("nasoseg", "nasoseg")
    assert dataset.ContentLabel == "AUTOSEG"
    assert dataset.DeviceSerialNumber == "0"
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (measures.SliceThickness, measures.SpacingBetweenSlices, list(measures.PixelSpacing)) == (3, 3, [1, 1])
    assert dataset.SeriesDescription == "AutoSeg segmentation"
    assert "LossyImageCompressionRatio" not in dataset


def test_what_is_carried_over_from_the_ct(tmp_path):
    lossy = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": 12,
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
    ct = ct_series(GEOMETRY, header=ct_header(PositionReferenceIndicator="SN", **lossy))
    write_seg(tmp_path / "seg.dcm", {"Eye": noise(0.2)}, ct, label="über 16 letters long")
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    assert dataset.PositionReferenceIndicator == "SN"
    assert {keyword: dataset[keyword].value for keyword in lossy} == lossy
    assert dataset.ContentLabel == "BER_16_LETTERS_L"


@pytest.mark.parametrize(("label", "written"), [("3D model", "D_MODEL"), ("42", "SEG"), ("", "SEG")])
def test_a_label_that_dicom_does_not_allow(ct, tmp_path, label, written):
    write_seg(tmp_path / "seg.dcm", {"Eye": noise(0.2)}, ct, label=label)
    assert pydicom.dcmread(tmp_path / "seg.dcm").ContentLabel == written


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


def test_a_multi_frame_ct_is_named_by_frames(tmp_path):
    ct = ct_series(GEOMETRY, frames_of_one_object=True)
    mask = np.zeros(GEOMETRY.shape, bool)
    mask[2, 3:5, 4:7] = True
    write_seg(tmp_path / "seg.dcm", {"Eye": mask}, ct)
    (frame,) = pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence
    source = frame.DerivationImageSequence[0].SourceImageSequence[0]
    assert source.ReferencedSOPInstanceUID == ct.planes[2].sop_instance_uid
    assert source.ReferencedFrameNumber == ct.planes[2].frame
    assert np.array_equal(read_seg(tmp_path / "seg.dcm", ct)["Eye"], mask)


def test_masks_of_a_resampled_volume_lie_on_the_original_planes(tmp_path):
    geometry = axial_geometry((13, 60, 50), (3, 1, 1), origin=(0, 0, 0))
    heights = np.array([0, 1.5, 5, 9, 13, 17, 20.5, 24, 28, 32, 36])
    planes = [np.array([(0, 1, 0), (1, 0, 0.3 * z), (0, 0, z), (0, 0, 1)], float) for z in heights]
    ct = ct_series(geometry, planes=planes)
    z, y, x = np.mgrid[:13, :60, :50]
    ball = (3 * z - 18) ** 2 + (y - 30) ** 2 + (x - 25) ** 2 < 12**2
    write_seg(tmp_path / "seg.dcm", {"Ball": ball}, ct)
    frames = pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence
    positions = {tuple(frame.PlanePositionSequence[0].ImagePositionPatient) for frame in frames}
    assert positions == {(0, round(0.3 * h, 6), h) for h in (9, 13, 17, 20.5, 24, 28)}
    back = read_seg(tmp_path / "seg.dcm", ct)["Ball"]
    assert 2 * (ball & back).sum() / (ball.sum() + back.sum()) > 0.9


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
    volume = hd.Volume(np.ones((1, 8, 8), np.uint8), between, coordinate_system="PATIENT")
    structures = read_seg(highdicom_seg(ct, tmp_path, volume, "BINARY"), ct)
    assert structures.report() == ["Eye (number 1): no mask: 1 frame on no slice of the CT left out"]


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


def test_refused_masks(ct, tmp_path):
    with pytest.raises(NasosegError, match="found no mask"):
        write_seg(tmp_path / "seg.dcm", {}, ct)
    with pytest.raises(NasosegError, match=r"'A': found a mask \(1, 2, 3\)"):
        write_seg(tmp_path / "seg.dcm", {"A": np.zeros((1, 2, 3), bool)}, ct)
    with pytest.raises(NasosegError, match=r"no[/\\]seg\.dcm: could not be written"):
        write_seg(tmp_path / "no" / "seg.dcm", {"A": noise(0.2)}, ct)
    assert list(tmp_path.iterdir()) == []


def test_codes():
    assert coded("Parotid_R").side == codes.SCT.Right == coded("RightParotid").side
    assert coded("Glnd_Submand_L").kind == codes.SCT.SubmandibularGland
    assert coded("Brainstem").side is None
    assert coded("GTVp").kind == codes.SCT.GrossTumorVolume
    unknown = coded("My Structure 3").kind
    assert (unknown.value, unknown.scheme_designator, unknown.meaning) == (
        "mystructure3",
        "99NASOSEG",
        "My Structure 3",
    )
    long = coded("Größe " + "x" * 80).kind
    assert long.value == coded("größe_" + "x" * 80).kind.value
    assert len(long.value) == 16
    assert len(long.meaning) == 64

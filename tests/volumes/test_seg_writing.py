"""DICOM SEG out: what a written file must say, and what is refused."""

from importlib.metadata import version

import numpy as np
import pydicom
import pytest
from generated_ct_series import axial_geometry, ct_header, ct_series
from generated_dicom import AXIAL, anatomy, uid, write_enhanced_ct
from generated_seg import GEOMETRY, noise
from pydicom.sr.codedict import codes
from pydicom.uid import EnhancedCTImageStorage

from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom import read_ct
from nasoseg.volumes.dicom_seg import read_seg, write_seg
from nasoseg.volumes.segment_codes import coded
from nasoseg.volumes.structure_set import Roi


@pytest.fixture
def ct():
    return ct_series(GEOMETRY)


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
    assert dataset.SoftwareVersions == version("nasoseg")
    assert (dataset.SeriesNumber, dataset.InstanceNumber) == (1, 1)
    (algorithm,) = parotid.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("nasoseg", version("nasoseg"))
    assert [one.TrackingID for one in dataset.SegmentSequence] == list(masks)
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (measures.SliceThickness, measures.SpacingBetweenSlices, list(measures.PixelSpacing)) == (3, 3, [1, 1])
    assert dataset.SeriesDescription == "AutoSeg segmentation"
    assert "LossyImageCompressionRatio" not in dataset


def test_long_texts_are_cut_to_what_their_elements_hold(ct, tmp_path):
    name = "Structure " * 8
    write_seg(tmp_path / "seg.dcm", {name: noise(0.1)}, ct, rois={name: Roi("A", 1)}, description="Description " * 8)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    (segment,) = dataset.SegmentSequence
    assert segment.TrackingID == name[:64].strip()
    assert dataset.SeriesDescription == ("Description " * 8)[:64].strip()
    assert dataset.PositionReferenceIndicator in ("", None)


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


def test_segments_on_one_slice_of_a_multi_frame_ct_name_its_frame(tmp_path):
    ct = ct_series(GEOMETRY, frames_of_one_object=True)
    masks = {"Eye": noise(0.2), "Larynx": noise(0.3), "Brain": noise(0.1)}
    write_seg(tmp_path / "seg.dcm", masks, ct)
    heights = {plane.affine_lps[2, 2]: plane for plane in ct.planes}
    frames = pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence
    assert len(frames) > len(ct.planes)
    for frame in frames:
        plane = heights[frame.PlanePositionSequence[0].ImagePositionPatient[2]]
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        named = (source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber)
        assert named == (plane.sop_instance_uid, plane.frame)
    back = read_seg(tmp_path / "seg.dcm", ct)
    assert all(np.array_equal(back[name], mask) for name, mask in masks.items())


@pytest.mark.parametrize("first", [0, 3])
def test_a_ct_of_several_multi_frame_files_is_named_by_file_and_frame(tmp_path, first):
    hu = anatomy((6, 8, 6))
    for name, z in (("a", 0), ("b", 3)):
        affine = AXIAL.copy()
        affine[:3, 3] += z * affine[:3, 0]

        def named(dataset, _, name=name):
            dataset.SOPInstanceUID = uid(name)

        write_enhanced_ct(tmp_path / "ct" / f"{name}.dcm", hu[z : z + 3], affine, edit=named)
    ct = read_ct(tmp_path / "ct")
    mask = np.zeros(hu.shape, bool)
    mask[first:, 2:5, 1:4] = True
    write_seg(tmp_path / "seg.dcm", {"Eye": mask}, ct)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    found = {}
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        height = frame.PlanePositionSequence[0].ImagePositionPatient[2]
        found[height] = (source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber)
        assert source.ReferencedSOPClassUID == EnhancedCTImageStorage
    planes = ct.planes[first:]
    assert found == {plane.affine_lps[2, 2]: (plane.sop_instance_uid, plane.frame) for plane in planes}
    (series,) = dataset.ReferencedSeriesSequence
    for images in (series.ReferencedInstanceSequence, dataset.SourceImageSequence):
        assert [image.ReferencedSOPInstanceUID for image in images] == [uid("a"), uid("b")]
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
    for name, plain in (("Seventeen letters", True), ("Seventeen letters1", False), ("Größe", False)):
        value = coded(name).kind.value
        assert (value == name.replace(" ", "").lower()) == plain
        assert value.isascii()
        assert len(value) <= 16
    long = coded("Größe " + "x" * 80).kind
    assert long.value == coded("größe_" + "x" * 80).kind.value
    assert len(long.value) == 16
    assert len(long.meaning) == 64

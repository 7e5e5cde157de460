"""RTSTRUCT out: what a written file must say, and what is refused."""

import re
from importlib.metadata import version

import numpy as np
import pydicom
import pytest
from generated_ct_series import axial_geometry, ct_header, ct_series
from generated_rtstruct import GEOMETRY, expected

from nasoseg.errors import NasosegError
from nasoseg.volumes.rtstruct import read_rtstruct, write_rtstruct
from nasoseg.volumes.structure_set import Roi


@pytest.fixture
def ct():
    return ct_series(GEOMETRY)


def written(tmp_path, ct, masks=None, **options):
    masks = masks or {"LeftParotid": expected((2, -3.5, 3.5)), "PTV70": expected((2, -5.5, 5.5), (3, -5.5, 5.5))}
    remarks = write_rtstruct(tmp_path / "rt.dcm", masks, ct, **options)
    return pydicom.dcmread(tmp_path / "rt.dcm"), remarks


def test_names_types_colours_and_references(ct, tmp_path):
    dataset, remarks = written(tmp_path, ct, label="AutoSeg", description="Fold 0.")
    assert remarks == []
    assert [roi.ROIName for roi in dataset.StructureSetROISequence] == ["Parotid_L", "PTV_7000"]
    assert [roi.ROIDescription for roi in dataset.StructureSetROISequence] == ["LeftParotid", "PTV70"]
    assert [roi.ROIVolume for roi in dataset.StructureSetROISequence] == [49 * 3 / 1000, 2 * 121 * 3 / 1000]
    assert [one.RTROIInterpretedType for one in dataset.RTROIObservationsSequence] == ["ORGAN", "PTV"]
    assert list(dataset.ROIContourSequence[0].ROIDisplayColor) == [230, 159, 0]
    assert dataset.StructureSetLabel == "AutoSeg"
    assert dataset.StructureSetDescription.startswith("Fold 0. Drawn by software, for research; not a medical device.")
    assert dataset.ApprovalStatus == "UNAPPROVED"
    assert (dataset.Manufacturer, dataset.Modality) == ("nasoseg", "RTSTRUCT")
    assert dataset.SoftwareVersions == version("nasoseg")
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == ct.frame_of_reference_uid
    assert frame.RTReferencedStudySequence[0].ReferencedSOPInstanceUID == ct.study_instance_uid
    (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == ct.series_instance_uid
    images = [one.ReferencedSOPInstanceUID for one in series.ContourImageSequence]
    assert images == [plane.sop_instance_uid for plane in ct.planes]
    assert {one.ReferencedSOPClassUID for one in series.ContourImageSequence} == {ct.planes[0].sop_class_uid}
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    assert {dataset.SOPInstanceUID, dataset.SeriesInstanceUID}.isdisjoint({*images, ct.series_instance_uid})


def test_dates_numbers_and_what_is_carried_over(tmp_path):
    ct = ct_series(GEOMETRY, header=ct_header(PositionReferenceIndicator="SN"))
    dataset, _ = written(tmp_path, ct, description="")
    for event in ("InstanceCreation", "Series", "StructureSet"):
        assert re.fullmatch(r"\d{8}", dataset[f"{event}Date"].value)
        assert re.fullmatch(r"\d{6}", dataset[f"{event}Time"].value)
    assert (dataset.SeriesNumber, dataset.InstanceNumber, dataset.OperatorsName) == (1, 1, "")
    assert dataset.SeriesDescription == "nasoseg structures"
    assert dataset.PositionReferenceIndicator == "SN"
    assert dataset.StructureSetDescription.startswith("Drawn by software")
    assert [one.ROIGenerationAlgorithm for one in dataset.StructureSetROISequence] == ["AUTOMATIC"] * 2
    for sequence in (dataset.RTROIObservationsSequence, dataset.ROIContourSequence):
        assert [one.ReferencedROINumber for one in sequence] == [1, 2]
    assert [one.ObservationNumber for one in dataset.RTROIObservationsSequence] == [1, 2]
    assert [one.ROIObservationLabel for one in dataset.RTROIObservationsSequence] == ["Parotid_L", "PTV_7000"]
    assert [one.ContourNumber for one in dataset.ROIContourSequence[1].ContourSequence] == [1, 2]


def test_long_labels_are_cut_to_what_their_elements_hold(ct, tmp_path):
    dataset, _ = written(tmp_path, ct, label="Label" * 20, description="words " * 300)
    assert dataset.SeriesDescription == ("Label" * 20)[:64]
    assert dataset.StructureSetLabel == ("Label" * 20)[:16]
    assert len(dataset.StructureSetDescription) == 1024


def test_without_a_description_and_a_position_indicator(tmp_path):
    ct = ct_series(GEOMETRY, header=ct_header(PositionReferenceIndicator=None))
    dataset, _ = written(tmp_path, ct)
    assert dataset.PositionReferenceIndicator in ("", None)
    assert dataset.StructureSetDescription.startswith("Drawn by software")
    assert dataset.StudyInstanceUID == ct.study_instance_uid


def test_a_structures_own_name_keeps_its_letters_beside_a_plain_roi_name(ct, tmp_path):
    name = "\u5589"  # larynx
    dataset, _ = written(tmp_path, ct, {name: expected((2, -3.5, 3.5))}, rois={name: Roi("Larynx", 1)})
    (roi,) = dataset.StructureSetROISequence
    assert (roi.ROIName, roi.ROIDescription) == ("Larynx", name)
    dataset, _ = written(tmp_path, ct, {"Eye": expected((2, -3.5, 3.5))})
    assert "ROIDescription" not in dataset.StructureSetROISequence[0]


def test_a_long_name_is_cut_to_what_its_elements_hold(ct, tmp_path):
    name = "Structure " * 110
    dataset, _ = written(tmp_path, ct, {name: expected((2, -3.5, 3.5))}, rois={name: Roi("A name of twenty six.", 1)})
    (roi,), (observed,) = dataset.StructureSetROISequence, dataset.RTROIObservationsSequence
    assert roi.ROIDescription == name[:1024].strip()
    assert observed.ROIObservationLabel == "A name of twenty"
    assert not observed.ROIInterpreter


def test_every_contour_has_its_image_and_three_points(ct, tmp_path):
    noise = np.random.default_rng(1).random(GEOMETRY.shape) < 0.3
    dataset, _ = written(tmp_path, ct, {"Noise": noise})
    by_level = {round(float(plane.affine_lps[2, 2]), 3): plane.sop_instance_uid for plane in ct.planes}
    contours = dataset.ROIContourSequence[0].ContourSequence
    assert len(contours) > 100
    for one in contours:
        assert one.ContourGeometricType == "CLOSED_PLANAR"
        assert one.NumberOfContourPoints == len(one.ContourData) // 3 >= 3
        (level,) = {round(float(z), 3) for z in one.ContourData[2::3]}
        assert one.ContourImageSequence[0].ReferencedSOPInstanceUID == by_level[level]
        assert "ReferencedFrameNumber" not in one.ContourImageSequence[0]
    assert np.array_equal(read_rtstruct(tmp_path / "rt.dcm", ct)["Noise"], noise)


def test_labels_of_a_file_that_was_read_are_kept(ct, tmp_path):
    rois = {"PTV70": Roi("PTV alt", 3, "AVOIDANCE", (1, 2, 3))}
    dataset, _ = written(tmp_path, ct, {"PTV70": expected((2, -5.5, 5.5))}, rois=rois)
    assert dataset.StructureSetROISequence[0].ROIName == "PTV alt"
    assert dataset.RTROIObservationsSequence[0].RTROIInterpretedType == "AVOIDANCE"
    assert list(dataset.ROIContourSequence[0].ROIDisplayColor) == [1, 2, 3]


def test_a_structure_without_a_voxel_is_listed(ct, tmp_path):
    dataset, remarks = written(tmp_path, ct, {"Larynx": expected(), "Eye": expected((2, -1.5, 1.5))})
    assert remarks == ["structure 'Larynx' has no voxel: written without contours"]
    assert "ContourSequence" not in dataset.ROIContourSequence[0]
    structures = read_rtstruct(tmp_path / "rt.dcm", ct)
    assert list(structures) == ["Eye"]
    assert structures.rois["Larynx"].remarks == ("it has no contours",)


def test_a_multi_frame_ct_is_named_by_frames(tmp_path):
    ct = ct_series(GEOMETRY, frames_of_one_object=True)
    write_rtstruct(tmp_path / "rt.dcm", {"Eye": expected((2, -1.5, 1.5))}, ct)
    dataset = pydicom.dcmread(tmp_path / "rt.dcm")
    study = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    (only,) = study.RTReferencedSeriesSequence[0].ContourImageSequence
    named = dataset.ROIContourSequence[0].ContourSequence[0].ContourImageSequence[0]
    assert named.ReferencedSOPInstanceUID == only.ReferencedSOPInstanceUID == ct.planes[0].sop_instance_uid
    assert named.ReferencedFrameNumber == ct.planes[2].frame
    assert "ReferencedFrameNumber" not in only
    assert np.array_equal(read_rtstruct(tmp_path / "rt.dcm", ct)["Eye"], expected((2, -1.5, 1.5)))


def test_a_ct_without_a_frame_of_reference(tmp_path):
    ct = ct_series(GEOMETRY, header=ct_header(FrameOfReferenceUID=None))
    dataset, remarks = written(tmp_path, ct)
    assert remarks == ["the CT has no frame of reference: the contours got a new one, and name the CT's images"]
    assert dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID == dataset.FrameOfReferenceUID != ""
    assert "the CT has no frame of reference" in read_rtstruct(tmp_path / "rt.dcm", ct).remarks[0]


def test_long_contours_are_whole(tmp_path):
    # A comb: its outline has far more than the 64 kB that a DS may have in explicit VR.
    mask = np.zeros((2, 200, 600), bool)
    mask[0, 2:198, 2:598:2] = True
    mask[0, 100, 2:598] = True
    ct = ct_series(axial_geometry(mask.shape))
    write_rtstruct(tmp_path / "rt.dcm", {"Comb": mask}, ct)
    assert np.array_equal(read_rtstruct(tmp_path / "rt.dcm", ct)["Comb"], mask)


def test_refused_masks(ct, tmp_path):
    path = tmp_path / "rt.dcm"
    with pytest.raises(NasosegError, match=r"rt\.dcm: found no mask"):
        write_rtstruct(path, {}, ct)
    with pytest.raises(NasosegError, match=r"'A': found a mask \(2, 20, 20\) of bool, expected \(6, 20, 20\)"):
        write_rtstruct(path, {"A": np.zeros((2, 20, 20), bool)}, ct)
    with pytest.raises(NasosegError, match=r"'A': found a mask .* of float32.*decide"):
        write_rtstruct(path, {"A": np.zeros(GEOMETRY.shape, np.float32)}, ct)
    with pytest.raises(NasosegError, match=r"no[/\\]rt\.dcm: could not be written"):
        write_rtstruct(tmp_path / "no" / "rt.dcm", {"A": expected()}, ct)
    assert list(tmp_path.iterdir()) == []

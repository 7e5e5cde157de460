"""RTSTRUCT in: files built by hand, valid and broken; and there and back. What goes where: test_contour_placing."""

import copy

import numpy as np
import pydicom
import pytest
from generated_ct_series import axial_geometry, ct_series, oblique_geometries
from generated_rtstruct import GEOMETRY, expected, image, rtstruct, saved, square
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from nasoseg.errors import NasosegError
from nasoseg.volumes.rtstruct import read_rtstruct, write_rtstruct
from nasoseg.volumes.structure_set import Roi


@pytest.fixture
def ct():
    return ct_series(GEOMETRY)


def test_contours_are_placed_by_position_and_named_by_number(ct, tmp_path):
    dataset = rtstruct(
        ct, {"Spinal Cord": [square(6, -2.5, 1.5)], "Größe/../x": [square(3, 0.5, 4.5), square(0, 1, 2)]}
    )
    for drawn in dataset.ROIContourSequence:  # image UIDs that are not the CT's
        for one in drawn.ContourSequence:
            one.ContourImageSequence = [image(generate_uid())]
    structures = read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)
    assert list(structures) == ["Spinal Cord", "Größe/../x"]
    assert np.array_equal(structures["Spinal Cord"], expected((2, -2.5, 1.5)))
    assert np.array_equal(structures["Größe/../x"], expected((1, 0.5, 4.5), (0, 0.5, 1.5)))  # edges: low in, high out
    assert structures.rois["Spinal Cord"] == Roi("Spinal Cord", 5, "", (10, 20, 30), ())
    assert structures.voxels("Spinal Cord") == 16


def test_the_type_of_a_structure_is_read(ct, tmp_path):
    dataset = rtstruct(ct, {"A": [square(6, -3.5, 3.5)], "B": [square(3, -3.5, 3.5)]})
    observed = pydicom.Dataset()
    observed.ObservationNumber, observed.ReferencedROINumber, observed.RTROIInterpretedType = 1, 6, "PTV"
    dataset.RTROIObservationsSequence = [observed]
    structures = read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)
    assert [structures.rois[name].interpreted_type for name in "AB"] == ["", "PTV"]


def test_numbers_and_names_that_do_not_fit(ct, tmp_path):
    dataset = rtstruct(ct, {"A": [square(6, -3.5, 3.5)], "B": [square(3, -3.5, 3.5)], "C": [square(3, -1.5, 1.5)]})
    a, b, c = dataset.StructureSetROISequence
    a.ROIName, b.ROIName = "Heart", "Heart"
    stray = copy.deepcopy(dataset.ROIContourSequence[0])
    stray.ReferencedROINumber = 99
    dataset.ROIContourSequence.append(stray)
    structures = read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)
    assert list(structures) == ["Heart", "Heart (6)", "C"]
    assert np.array_equal(structures["Heart (6)"], expected((1, -3.5, 3.5)))
    assert structures.report() == [
        "ROI number 99 has contours but no name: left out",
        "Heart (6) (number 6): another structure is called 'Heart' too",
    ]
    c.ROINumber, b.ROIName = 6, "Heart"
    structures = read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)
    assert list(structures) == ["Heart"]
    assert "2 structures have this number" in structures.rois["C"].remarks[0]
    assert [said[:25] for said in structures.rois["Heart (6)"].remarks[:2]] == [
        "another structure is call",
        "2 structures have this nu",
    ]


def test_unreadable_coordinates(ct, tmp_path):
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5), square(3, -3.5, 3.5), square(0, -3.5, 3.5)]})
    first, second, _ = dataset.ROIContourSequence[0].ContourSequence
    first.ContourData = first.ContourData[:-1]
    del second.ContourData
    structures = read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)
    assert np.array_equal(structures["One"], expected((0, -3.5, 3.5)))
    said = ["1 contour with unreadable coordinates left out", "1 contour of fewer than three points left out"]
    assert list(structures.rois["One"].remarks) == said


def test_oddities_of_real_files_are_read(ct, tmp_path):
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5)]})
    frame = dataset.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    series.ContourImageSequence.insert(0, pydicom.Dataset())
    with pydicom.config.disable_value_validation():
        dataset.StudyDate = dataset.PatientSex = "123e4567-e89b-12d3-a456-426614174000"
        dataset.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = "CLOSED_PLANAR "
    path = saved(dataset, tmp_path / "rt.dcm")
    assert np.array_equal(read_rtstruct(path, ct)["One"], expected((2, -3.5, 3.5)))


def test_what_writers_leave_out_or_pad(ct, tmp_path):
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5), square(3, -3.5, 13.5)], "Two": [square(0, -3.5, 3.5)]})
    one, two = reversed(dataset.ROIContourSequence)
    del one.ContourSequence[0].ContourGeometricType
    path = saved(dataset, tmp_path / "rt.dcm")
    points = "\\".join(f"{value:.6g}" for value in np.ravel(square(3, -3.5, 13.5)[1])).encode()
    whole = path.read_bytes()
    assert whole.count(points + b" ") == 1
    path.write_bytes(whole.replace(points + b" ", points + b"\0"))  # some pad with it
    structures = read_rtstruct(path, ct)
    assert np.array_equal(structures["One"], expected((2, -3.5, 3.5), (1, -3.5, 13.5)))
    two.ReferencedROINumber = one.ReferencedROINumber  # the contours of one structure in two entries
    structures = read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)
    assert np.array_equal(structures["One"], expected((2, -3.5, 3.5), (1, -3.5, 13.5), (0, -3.5, 3.5)))


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian])
def test_other_transfer_syntaxes(ct, tmp_path, syntax):
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5)]})
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    whole = (tmp_path / "rt.dcm").read_bytes()
    assert np.array_equal(read_rtstruct(tmp_path / "rt.dcm", ct)["One"], expected((2, -3.5, 3.5)))
    for keep in (len(whole) - 40, len(whole) - 10):
        (tmp_path / "cut.dcm").write_bytes(whole[:keep])
        with pytest.raises(NasosegError, match=r"cut\.dcm: "):
            read_rtstruct(tmp_path / "cut.dcm", ct)


def test_only_the_names_asked_for(ct, tmp_path):
    path = saved(rtstruct(ct, {"Heart": [square(6, -3.5, 3.5)], "Lung": [square(3, -3.5, 3.5)]}), tmp_path / "rt.dcm")
    assert list(read_rtstruct(path, ct, names=["Lung"])) == ["Lung"]
    with pytest.raises(NasosegError, match=r"rt\.dcm: has no structure 'Hart': did you mean 'Heart'"):
        read_rtstruct(path, ct, names=["Hart"])


@pytest.mark.parametrize(
    ("said", "colour"), [(["0", "300", "-5"], (0, 255, 0)), (["1", "2"], None), ("7", None), (None, None)]
)
def test_a_colour_is_three_numbers_of_a_byte(ct, tmp_path, said, colour):
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5)]})
    with pydicom.config.disable_value_validation():
        dataset.ROIContourSequence[0].ROIDisplayColor = said
        path = saved(dataset, tmp_path / "rt.dcm")
    assert read_rtstruct(path, ct).rois["One"].colour == colour


def test_a_file_without_contours_or_numbers(ct, tmp_path):
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5)]})
    del dataset.StructureSetROISequence[0].ROINumber
    with pytest.raises(NasosegError, match=r"rt\.dcm: cannot be read \(.*\): expected a whole DICOM RTSTRUCT"):
        read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)
    del dataset.ROIContourSequence
    with pytest.raises(NasosegError, match=r"rt\.dcm: names structures but has no ROIContourSequence"):
        read_rtstruct(saved(dataset, tmp_path / "rt.dcm"), ct)


@pytest.mark.parametrize("implicit", [True, False])
def test_sequences_without_a_length_and_long_elements(ct, tmp_path, implicit):
    """Lengths of 2^15 and more in two bytes, and of 2^32 - 1 for what ends with an element of its own."""
    angles = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    circle = [(round(5.05 * np.cos(a), 3), round(5.05 * np.sin(a), 3), 6) for a in angles]
    dataset = rtstruct(ct, {"One": [("CLOSED_PLANAR", circle)], "Two": [square(9, -3.5, 3.5)]})
    for sequence in (dataset["StructureSetROISequence"], dataset["ROIContourSequence"]):
        sequence.is_undefined_length = True
        for item in sequence.value:
            item.is_undefined_length_sequence_item = True
    if not implicit:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = saved(dataset, tmp_path / "rt.dcm")
    assert b"\xff\xff\xff\xff" in path.read_bytes()
    assert list(read_rtstruct(path, ct)) == ["One", "Two"]
    assert read_rtstruct(path, ct).voxels("One") == 81  # points of a grid within five of its centre
    whole = path.read_bytes()
    for lost in (4, 30, 3000):
        path.write_bytes(whole[:-lost])
        with pytest.raises(NasosegError, match=r"rt\.dcm: cannot be read"):
            read_rtstruct(path, ct)


def test_another_kind_of_file_or_a_damaged_one(ct, tmp_path):
    with pytest.raises(NasosegError, match=r"no\.dcm: no such file"):
        read_rtstruct(tmp_path / "no.dcm", ct)
    (tmp_path / "text.dcm").write_text("Dear colleague, the contours are attached.\n" * 20)
    with pytest.raises(NasosegError, match=r"text\.dcm: (found no DICOM object|cannot be read).*expected a .*RTSTRUCT"):
        read_rtstruct(tmp_path / "text.dcm", ct)
    dataset = rtstruct(ct, {"One": [square(z, -3.5, 3.5) for z in (0, 3, 6, 9)]})
    whole = saved(dataset, tmp_path / "rt.dcm").read_bytes()
    for keep in (*range(len(whole) // 2, len(whole) - 1, 50), len(whole) - 2):
        (tmp_path / "cut.dcm").write_bytes(whole[:keep])
        with pytest.raises(NasosegError, match=r"cut\.dcm: .*(cut short or damaged|no ROIContourSequence).*export it"):
            read_rtstruct(tmp_path / "cut.dcm", ct)
    (tmp_path / "padded.dcm").write_bytes(whole + bytes(50))
    assert read_rtstruct(tmp_path / "padded.dcm", ct).voxels("One") == 4 * 49
    dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.481.5", "RTPLAN"
    with pytest.raises(NasosegError, match=r"plan\.dcm: found SOP class .*RTPLAN: expected a DICOM RTSTRUCT"):
        read_rtstruct(saved(dataset, tmp_path / "plan.dcm"), ct)


@pytest.mark.parametrize("implicit", [True, False])
def test_a_file_without_preface(ct, tmp_path, implicit):
    dataset = rtstruct(ct, {"One": [square(6, -3.5, 3.5)]})
    del dataset.file_meta
    pydicom.dcmwrite(tmp_path / "rt.dcm", dataset, implicit_vr=implicit, little_endian=True)
    whole = (tmp_path / "rt.dcm").read_bytes()
    assert whole[128:132] != b"DICM"
    assert read_rtstruct(tmp_path / "rt.dcm", ct).voxels("One") == 49
    (tmp_path / "rt.dcm").write_bytes(whole[:-10])
    with pytest.raises(NasosegError, match=r"rt\.dcm: cannot be read"):
        read_rtstruct(tmp_path / "rt.dcm", ct)


# There and back.


def ring() -> np.ndarray:
    mask = np.zeros((5, 24, 22), bool)
    mask[1:4, 4:18, 3:19] = True
    mask[1:4, 8:13, 7:12] = False
    mask[2, 10, 9] = True
    return mask


@given(oblique_geometries((5, 24, 22)), st.integers(0, 4), st.integers(0, 22), st.integers(0, 20))
@settings(deadline=None, max_examples=25)
def test_masks_survive_on_any_grid_and_stay_in_their_place(tmp_path_factory, geometry, slice_, row, column):
    path = tmp_path_factory.mktemp("rt") / "rt.dcm"
    block, voxel = np.zeros((2, *geometry.shape), bool)
    block[slice_, row : row + 2, column : column + 2] = True
    voxel[slice_, row, column] = True
    masks = {"Block": block, "Voxel": voxel, "Ring": ring()}
    ct = ct_series(geometry)
    assert write_rtstruct(path, masks, ct) == []
    structures = read_rtstruct(path, ct)
    for name, mask in masks.items():
        assert np.array_equal(structures[name], mask)
    assert structures.remarks == ()
    drawn = pydicom.dcmread(path).ROIContourSequence
    for item, mask in zip(drawn, (block, voxel), strict=False):
        (only,) = item.ContourSequence
        place = geometry.affine_lps @ [*np.argwhere(mask).mean(axis=0), 1]
        np.testing.assert_allclose(np.reshape(only.ContourData, (-1, 3)).mean(axis=0), place[:3], atol=1e-3)
        assert only.ContourImageSequence[0].ReferencedSOPInstanceUID == ct.planes[slice_].sop_instance_uid


@pytest.mark.parametrize("tilt", [0, 18.5])
def test_masks_of_a_resampled_volume_go_to_the_original_planes(tmp_path, tilt):
    # Uneven planes, and tilted ones: the in-plane shift grows with the height, as behind a tilted gantry.
    geometry = axial_geometry((13, 60, 50), (3, 1, 1), origin=(0, 0, 0))
    heights = np.array([0, 1.5, 5, 9, 13, 17, 20.5, 24, 28, 32, 36])
    shift = np.tan(np.deg2rad(tilt))
    planes = [np.array([(0, 1, 0), (1, 0, shift * z), (0, 0, z), (0, 0, 1)], float) for z in heights]
    ct = ct_series(geometry, planes=planes)
    z, y, x = np.mgrid[:13, :60, :50]
    ball = (3 * z - 18) ** 2 + (y - 30 - shift * (3 * z - 18)) ** 2 + (x - 25) ** 2 < 12**2
    write_rtstruct(tmp_path / "rt.dcm", {"Ball": ball}, ct)
    item = pydicom.dcmread(tmp_path / "rt.dcm").ROIContourSequence[0]
    levels = {round(float(one.ContourData[2]), 3) for one in item.ContourSequence}
    assert levels == {9, 13, 17, 20.5, 24, 28}
    structures = read_rtstruct(tmp_path / "rt.dcm", ct)
    back = structures["Ball"]
    assert 2 * (ball & back).sum() / (ball.sum() + back.sum()) > 0.9
    moved = np.argwhere(back).mean(axis=0) - np.argwhere(ball).mean(axis=0)
    assert np.all(np.abs(moved) < (0.5, 0.5, 0.1))  # within half a slice, and what that is sideways in the tilt

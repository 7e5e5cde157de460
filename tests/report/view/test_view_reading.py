"""What is read to be shown: every kind of study and prediction, nothing that names the patient, and what is refused."""

import json
import shutil

import nibabel
import numpy as np
import pytest
from generated_dicom import AXIAL, uid, write_ct
from generated_rtstruct import rtstruct, saved, square
from generated_scans import write_nifti
from sample_files import read_nifti

from nasoseg.data.store import Patient, write_store
from nasoseg.errors import NasosegError
from nasoseg.labels import OPENKBP
from nasoseg.report.view import read_shown, site_files
from nasoseg.volumes.dicom import read_ct
from nasoseg.volumes.dicom_seg import write_seg
from nasoseg.volumes.volume import Geometry

PATIENT = "pt_235"


def test_a_folder_of_image_files(sample_root):
    folder = sample_root / PATIENT
    study = read_shown(folder, predictions={"again": folder})
    assert np.array_equal(study.ct.array, read_nifti(folder / "ct.nii.gz").array)
    own, again = study.sets
    assert own.name == "contours of the study"
    assert set(own.masks) == {path.name.removesuffix(".nii.gz") for path in (folder / "segmentations").iterdir()}
    for name in ("Mandible", "LeftParotid"):
        true = read_nifti(folder / "segmentations" / f"{name}.nii.gz").array != 0
        assert np.array_equal(own.masks[name].unpack(), true)
        assert np.array_equal(again.masks[name].unpack(), true)


def test_a_ct_file_in_another_order_of_axes(tmp_path, sample_root):
    scan = nibabel.load(sample_root / PATIENT / "ct.nii.gz")
    turned = scan.as_reoriented(nibabel.io_orientation(scan.affine))
    nibabel.save(turned, tmp_path / "scan.nii.gz")
    study = read_shown(tmp_path / "scan.nii.gz")
    assert np.array_equal(study.ct.array, read_nifti(sample_root / PATIENT / "ct.nii.gz").array)
    assert study.sets == ()


def test_a_patient_of_a_store_with_the_predictions_of_all(small_store, tmp_path):
    key = small_store.keys[0]
    truth = small_store.patient(key)
    mask = (truth.labels & 64) != 0
    source = small_store.source(key)
    ras = np.diag([-1, -1, 1, 1]) @ source.affine_lps
    write_nifti(tmp_path / key / "Mandible.nii.gz", mask.astype(np.uint8), ras)
    study = read_shown(small_store.path, patient=key, predictions={"all": tmp_path, "one": tmp_path / key})
    assert study.title == f"Patient {key}"
    assert np.array_equal(study.ct.array, truth.image)
    assert list(study.sets[0].masks) == [
        n for n, there in zip(small_store.names, truth.annotated, strict=True) if there
    ]
    for one in study.sets:
        assert np.array_equal(one.masks["Mandible"].unpack(), mask)


def test_predictions_on_the_original_grid_are_brought_onto_a_cropped_store(tmp_path, small_store):
    whole = small_store.patient(PATIENT)
    affine = whole.affine_lps.copy()
    affine[:3, 3] += affine[:3, 1] * 10 + affine[:3, 2] * 20
    cut = np.s_[:, 10:100, 20:90]
    stored = Patient(
        "a", whole.image[cut], whole.labels[cut], whole.annotated, affine, Geometry(whole.image.shape, whole.affine_lps)
    )
    write_store(tmp_path / "one.h5", [stored], OPENKBP)
    mask = (whole.labels & 64) != 0
    ras = np.diag([-1, -1, 1, 1]) @ whole.affine_lps
    write_nifti(tmp_path / "masks" / "Mandible.nii.gz", mask.astype(np.uint8), ras)
    study = read_shown(tmp_path / "one.h5", predictions={"p": tmp_path / "masks"})  # of one patient, without naming him
    assert study.sets[0].masks["Mandible"].voxels > 0
    assert np.array_equal(study.sets[1].masks["Mandible"].unpack(), mask[cut])


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """A DICOM CT of a patient, an RTSTRUCT with his name in a structure's, and one of another frame of reference."""
    folder = tmp_path_factory.mktemp("Secretname Jördis")
    hu = np.random.default_rng(0).integers(-1000, 1000, (6, 30, 40))
    write_ct(folder / "ct", hu, AXIAL)
    ct = read_ct(folder)
    z = [100 + 2.5 * number for number in range(6)]
    rois = {
        "Cord": [square(height, 2.1, 9.1, x=-10, y=-20) for height in z[1:4]],
        "Parotid Secretname P1": [square(z[2], 4.1, 12.1, x=-10, y=-20)],
        "Point": [],
    }
    saved(rtstruct(ct, rois), folder / "rt.dcm")
    return folder, ct


def test_dicom_with_contours_beside_it_and_as_prediction(export, tmp_path):
    folder, ct = export
    shutil.copy(folder / "rt.dcm", tmp_path / "rt.dcm")
    cord = np.zeros(ct.volume.array.shape, bool)
    cord[2:4, 5:9, 6:11] = True
    write_seg(tmp_path / "seg.dcm", {"Cord": cord}, ct)
    mask = nibabel.Nifti1Image(cord.astype(np.uint8), np.diag([-1, -1, 1, 1]) @ ct.volume.geometry.affine_lps)
    nibabel.save(mask, tmp_path / "Cord.nii.gz")
    given = {"RTSTRUCT": tmp_path / "rt.dcm", "SEG": tmp_path / "seg.dcm", "NIfTI": tmp_path / "Cord.nii.gz"}
    study = read_shown(folder, predictions=given)
    assert np.array_equal(study.ct.array, ct.volume.array)
    own, as_rtstruct, as_seg, as_nifti = study.sets
    assert list(own.masks) == ["Cord", "Parotid ... P1"]  # an ID of two letters is a part of too much else
    inside = own.masks["Cord"].unpack()
    assert inside.any(axis=(1, 2)).tolist() == [False, True, True, True, False, False]
    assert np.array_equal(as_rtstruct.masks["Cord"].unpack(), inside)
    assert np.array_equal(as_seg.masks["SpinalCord"].unpack(), cord)
    assert np.array_equal(as_nifti.masks["Cord"].unpack(), cord)
    assert any("Point" in remark for remark in study.remarks)


def test_nothing_that_names_the_patient_reaches_the_page(export, niivue):
    folder, ct = export
    files = {name: file.content for name, file in site_files(read_shown(folder)).items()}
    markers = ["Secretname", "Jördis", "19500607", "20200102", ct.series_instance_uid, uid("P1", "frame"), str(folder)]
    for name, content in files.items():
        for marker in markers:
            assert marker.encode() not in content, (name, marker)
            assert json.dumps(marker).strip('"').encode() not in content, (name, marker)


def test_contours_that_do_not_belong_are_left_out_with_a_remark_and_refused_as_prediction(export, tmp_path):
    folder, ct = export
    copy = tmp_path / "export"
    shutil.copytree(folder, copy)
    foreign = rtstruct(ct, {"Cord": [square(105, 2, 9)]})
    foreign.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = uid("other")
    for roi in foreign.StructureSetROISequence:
        roi.ReferencedFrameOfReferenceUID = uid("other")
    saved(foreign, copy / "foreign.dcm")
    study = read_shown(copy)
    assert len(study.sets) == 1
    assert any("foreign.dcm" in remark for remark in study.remarks)
    with pytest.raises(NasosegError, match=r"foreign.dcm: drawn in frame of reference .* expected the same"):
        read_shown(folder, predictions={"p": copy / "foreign.dcm"})
    with pytest.raises(NasosegError, match=r"holds 2 RTSTRUCT or SEG files .*name the file"):
        read_shown(folder, predictions={"p": copy})


def test_a_prediction_on_another_grid_is_refused(sample_root, small_store, export):
    other = sample_root / "pt_100" / "segmentations"
    for study, patient in ((sample_root / PATIENT, None), (small_store.path, "pt_235"), (export[0], None)):
        with pytest.raises(NasosegError, match=r"lies on a grid of .*the CT on one of .*expected the same"):
            read_shown(study, patient=patient, predictions={"p": other})


def test_masks_that_are_none_are_refused(sample_root, tmp_path):
    folder = sample_root / PATIENT
    with pytest.raises(NasosegError, match=r"a label map with values from .* expected a mask"):
        read_shown(folder, predictions={"p": folder / "ct.nii.gz"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(NasosegError, match=r"empty: no mask file in it, expected a folder with <structure>.nii.gz"):
        read_shown(folder, predictions={"p": tmp_path / "empty"})
    with pytest.raises(NasosegError, match="gone: no such file or folder"):
        read_shown(folder, predictions={"p": tmp_path / "gone"})
    shutil.copy(folder / "segmentations" / "Mandible.nii.gz", tmp_path / "empty" / "A.nii.gz")
    (tmp_path / "empty" / "A.nii").write_bytes(b"")
    with pytest.raises(NasosegError, match=r"A.nii.gz: 'A' is also in A.nii, expected one file"):
        read_shown(folder, predictions={"p": tmp_path / "empty"})


def test_a_study_that_is_none_or_several_is_refused(sample_root, small_store, tmp_path):
    with pytest.raises(NasosegError, match="gone: no such file or folder: expected a DICOM folder"):
        read_shown(tmp_path / "gone")
    with pytest.raises(NasosegError, match="no CT series found"):
        read_shown(tmp_path)
    with pytest.raises(NasosegError, match=r"holds 12 patients \(pt_100, .*name a patient's folder, such as"):
        read_shown(sample_root)
    with pytest.raises(NasosegError, match="holds 12 patients: choose with --patient: pt_100, "):
        read_shown(small_store.path)
    with pytest.raises(NasosegError, match=r"--patient 'pt_1000': .* did you mean 'pt_100'"):
        read_shown(small_store.path, patient="pt_1000")
    with pytest.raises(NasosegError, match="--patient 'a': chooses a patient of a store"):
        read_shown(sample_root / PATIENT, patient="a")
    with pytest.raises(NasosegError, match="--resample: is for DICOM"):
        read_shown(sample_root / PATIENT, resample=True)
    with pytest.raises(NasosegError, match="--series: is for DICOM"):
        read_shown(small_store.path, series="1")
    for ending in (".nii.gz", ".nii"):
        shutil.copy(sample_root / PATIENT / "ct.nii.gz", tmp_path / f"ct{ending}")
    with pytest.raises(NasosegError, match=r"found ct.nii and ct.nii.gz, expected one CT"):
        read_shown(tmp_path)


def test_structures_have_the_report_colours_and_spellings_share_one(shown, niivue):
    described = json.loads(site_files(shown)["study.json"].content)
    own, predicted = ({one["name"]: one for one in entry["structures"]} for entry in described["sets"])
    assert own["Parotid_L"]["colour"] == predicted["LeftParotid"]["colour"] == "#E69F00"
    assert len({one["colour"] for one in own.values()}) == len(own)
    volume = np.abs(np.linalg.det(shown.ct.geometry.affine_lps[:3, :3])) / 1000
    assert own["Parotid_L"]["ml"] == pytest.approx(shown.sets[0].masks["Parotid_L"].voxels * volume, abs=0.01)
    assert next(iter(predicted.values()))["place"] is None

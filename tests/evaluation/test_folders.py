"""Masks of other programs: DSC counted independently, any orientation and layout; what is missing is never silent."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from generated_studies import AFFINE_RAS, BOXES, SHAPE, mask, save, write_nnunet, write_patients

from nasoseg.errors import NasosegError
from nasoseg.evaluation import evaluate_folders
from nasoseg.volumes.nifti import read_volume, write_volume


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Four patients; the first has no larynx."""
    return write_patients(tmp_path / "truth")


def predict(truth: Path, root: Path, change: Callable[[np.ndarray], np.ndarray] = np.copy) -> Path:
    """Write predictions `<patient>/<structure>.nii.gz` made from the truth."""
    for path in sorted(truth.glob("*/segmentations/*.nii.gz")):
        image = nibabel.load(path)
        save(root / path.parts[-3] / path.name, change(np.asarray(image.dataobj)), image.affine)
    return root


def shifted(array: np.ndarray) -> np.ndarray:
    """Shift by one voxel along the first axis; what falls off is gone."""
    result = np.zeros_like(array)
    result[1:] = array[:-1]
    return result


def dsc_of(found: object, patient: str, structure: str) -> float:
    scores = found.scores
    return float(scores.volume["dsc"][scores.patients.index(patient), scores.labels.index(structure)])


def refused(*roots: Path, words: tuple[str, ...], **options: object) -> None:
    with pytest.raises(NasosegError) as caught:
        evaluate_folders(*roots, **options)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert len(str(caught.value)) < 3000


def test_real_patients_in_another_orientation(tmp_path, sample_root):
    """Masks of the carried sample, shifted by one voxel, axes permuted and flipped; DSC by numpy."""
    expected, slices = {}, {}
    for patient in ("pt_100", "pt_36"):
        shutil.copytree(sample_root / patient, tmp_path / "truth" / patient)
        for number, path in enumerate(sorted((sample_root / patient / "segmentations").iterdir())):
            image = nibabel.load(path)
            true = np.asarray(image.dataobj) != 0
            predicted = shifted(true)
            name = path.name.removesuffix(".nii.gz")
            both, either = true & predicted, true.sum() + predicted.sum()
            expected[patient, name] = 2 * both.sum() / either
            with np.errstate(invalid="ignore"):
                by_slice = 2 * both.sum((0, 1)) / (true.sum((0, 1)) + predicted.sum((0, 1)))
            slices[patient, name] = by_slice if image.affine[2, 2] > 0 else by_slice[::-1]
            turned = nibabel.Nifti1Image(predicted.astype(np.uint8), image.affine).as_reoriented(
                np.column_stack([np.roll([0, 1, 2], number), [-1, 1, -1 if number % 2 else 1]])
            )
            save(tmp_path / "predicted" / patient / path.name, np.asarray(turned.dataobj), turned.affine)
    seen = []
    found = evaluate_folders(tmp_path / "predicted", tmp_path / "truth", progress=lambda *said: seen.append(said))
    assert found.notes == []
    assert seen == [("pt_100", 1, 2), ("pt_36", 2, 2)]
    scores = found.scores
    annotated = {(scores.patients[p], scores.labels[k]) for p, k in scores.annotated.nonzero().tolist()}
    assert annotated == set(expected)
    for (patient, name), dsc in expected.items():
        assert dsc_of(found, patient, name) == pytest.approx(dsc)
        assert 0.3 < dsc < 0.99
        of_patient = scores.slice_keys[:, 0] == scores.patients.index(patient)
        assert scores.slice_keys[of_patient, 1].tolist() == list(range(len(slices[patient, name])))
        by_slice = scores.slices["dsc"][of_patient][:, scores.labels.index(name)]
        np.testing.assert_allclose(by_slice.numpy(), slices[patient, name])


def test_hard_masks_have_no_soft_dsc_and_no_auc(tmp_path, truth):
    found = evaluate_folders(predict(truth, tmp_path / "predicted"), truth)
    overlap, surface = {"dsc", "jsc", "precision", "recall", "f1"}, {"hd95", "hd", "assd", "nsd"}
    assert {row["metric"] for row in found.scores.rows()} == overlap | surface
    assert found.scores.labels == ("Brainstem", "Parotid_R", "Parotid_L", "Larynx")  # OpenKBP's order
    assert set(found.scores.volume["dsc"][found.scores.annotated].tolist()) == {1.0}
    assert not found.scores.annotated[0, 3]


def test_spellings_formats_and_segmentations_folders(tmp_path, truth):
    predicted = predict(truth, tmp_path / "predicted", shifted)
    for patient in sorted(predicted.iterdir()):
        (patient / "Parotid_L.nii.gz").rename(patient / "left parotid.nii.gz")
        volume = read_volume(patient / "Brainstem.nii.gz")
        write_volume(patient / "Brainstem.nrrd", volume.array, volume.geometry)
        (patient / "Brainstem.nii.gz").unlink()
        save(patient / "ct.nii.gz", np.zeros(SHAPE, np.int16))
        (patient / "log.txt").write_text("no image")
    again = tmp_path / "again"
    for patient in predicted.iterdir():
        shutil.copytree(patient, again / patient.name / "segmentations")
    for root in (predicted, again):
        found = evaluate_folders(root, truth)
        assert found.notes == []
        assert dsc_of(found, "case 1", "Parotid_L") == pytest.approx(2 * 4 / 10)  # five columns, shifted by one
        assert dsc_of(found, "case 1", "Brainstem") == pytest.approx(2 * 3 / 8)


def test_batches_of_slices_do_not_change_the_scores(tmp_path, truth, monkeypatch):
    predicted = predict(truth, tmp_path / "predicted", shifted)
    whole = evaluate_folders(predicted, truth).scores.rows()
    monkeypatch.setattr("nasoseg.evaluation.folders._MOST_VOXELS", 3 * 4 * 24 * 20)
    assert str(evaluate_folders(predicted, truth).scores.rows()) == str(whole)


def test_label_maps_of_nnunet(tmp_path):
    root = write_nnunet(tmp_path / "Dataset001")
    predicted = tmp_path / "predicted"
    shutil.copytree(root / "labelsTr", predicted)
    shutil.copy(root / "dataset.json", predicted)
    for path in predicted.glob("*.nii.gz"):
        image = nibabel.load(path)
        save(path, shifted(np.asarray(image.dataobj)), image.affine)
    found = evaluate_folders(predicted, root / "labelsTr")
    assert found.scores.labels == ("Brainstem", "Glands", "Parotid_L")
    assert dsc_of(found, "hn_001", "Parotid_L") == pytest.approx(2 * 4 / 10)
    assert dsc_of(found, "hn_001", "Glands") == pytest.approx(2 * 4 / 10)  # a region of two values
    assert np.isnan(dsc_of(found, "hn_000", "Brainstem"))  # annotated, absent, not predicted
    assert found.scores.correctly_absent[0, 0]
    (predicted / "dataset.json").unlink()
    refused(predicted, root / "labelsTr", words=("holds label maps", "--dataset-json"))
    named = evaluate_folders(predicted, root / "labelsTr", dataset_json=root / "dataset.json")
    assert str(named.scores.rows()) == str(found.scores.rows())


def test_label_maps_against_folders(tmp_path, truth):
    labels = np.zeros(SHAPE, np.uint8)
    for value, structure in enumerate(BOXES, start=1):
        labels[mask(structure) != 0] = value
    for number in range(4):
        save(tmp_path / "maps" / f"case {number}.nii.gz", labels)
    values = {name: value for value, name in enumerate(BOXES, start=1)}
    described = {"labels": {"background": 0, **values}, "file_ending": ".nii.gz"}
    (tmp_path / "maps" / "dataset.json").write_text(json.dumps(described))
    found = evaluate_folders(tmp_path / "maps", truth)
    assert dsc_of(found, "case 2", "Larynx") == 1
    assert not found.scores.annotated[0, 3]
    save(tmp_path / "maps" / "case 3.nii.gz", labels + 2)
    refused(tmp_path / "maps", truth, words=("case 3.nii.gz", "values [5, 6]", "dataset.json [0, 1, 2, 3, 4]"))
    ignoring = described | {"labels": {**described["labels"], "ignore": 9}}
    (tmp_path / "maps" / "dataset.json").write_text(json.dumps(ignoring))
    labels[0, 0, 0] = 9
    save(tmp_path / "maps" / "case 0.nii.gz", labels)
    refused(tmp_path / "maps", truth, words=("case 0.nii.gz", "1 voxels carry the label 'ignore' (9)"))
    (tmp_path / "maps" / "dataset.json").write_text(json.dumps(described | {"file_ending": ".nrrd"}))
    refused(tmp_path / "maps", truth, words=("no label map ends in .nrrd", "file_ending"))


def test_absent_structures_are_annotated_and_empty(tmp_path, truth):
    predicted = predict(truth, tmp_path / "predicted")
    save(predicted / "case 0" / "Larynx.nii.gz", mask("Larynx"))
    save(truth / "case 1" / "segmentations" / "Larynx.nii.gz", np.zeros(SHAPE, np.uint8))
    save(predicted / "case 1" / "Larynx.nii.gz", np.zeros(SHAPE, np.uint8))
    found = evaluate_folders(predicted, truth, absent=["larynx"])
    assert dsc_of(found, "case 0", "Larynx") == 0  # predicted where there is none
    assert np.isnan(dsc_of(found, "case 1", "Larynx"))  # rightly not predicted
    assert found.scores.correctly_absent[:, 3].tolist() == [False, True, False, False]
    refused(predicted, truth, words=("case 1/segmentations/Larynx.nii.gz", "no voxel", "--absent Larynx"))
    refused(predicted, truth, absent=["Lahrynx"], words=("--absent", "did you mean 'Larynx'"))


def test_patients_without_any_true_file(tmp_path, truth):
    """One structure, absent in a patient, whose folder is then empty: measured on the grid of the prediction."""
    for path in truth.glob("*/segmentations/*.nii.gz"):
        if not path.name.startswith("Larynx"):
            path.unlink()
    predicted = predict(truth, tmp_path / "predicted")
    save(predicted / "case 0" / "Larynx.nii.gz", mask("Larynx"))
    assert dsc_of(evaluate_folders(predicted, truth, absent=["Larynx"]), "case 0", "Larynx") == 0
    (predicted / "case 0" / "Larynx.nii.gz").unlink()
    found = evaluate_folders(predicted, truth, absent=["Larynx"], missing_as_empty=True)
    assert np.isnan(dsc_of(found, "case 0", "Larynx"))
    assert dsc_of(found, "case 1", "Larynx") == 1


def test_missing_predicted_files(tmp_path, truth):
    predicted = predict(truth, tmp_path / "predicted")
    (predicted / "case 2" / "Larynx.nii.gz").unlink()
    (predicted / "case 3" / "Brainstem.nii.gz").unlink()
    words = ("no file for 2 annotated structures: case 2/Larynx, case 3/Brainstem", "--missing-as-empty")
    refused(predicted, truth, words=words)
    found = evaluate_folders(predicted, truth, missing_as_empty=True)
    assert found.notes == ["2 predicted files missing, counted as empty: case 2/Larynx, case 3/Brainstem"]
    assert dsc_of(found, "case 2", "Larynx") == 0
    assert found.scores.summary().counted["dsc"].tolist() == [4, 4, 4, 3]


def test_missing_patients(tmp_path, truth):
    predicted = predict(truth, tmp_path / "predicted")
    (predicted / "case 1").rename(predicted / "case_1")
    words = ("no prediction for 1 of 4 patients: case 1", "it has case 0, case 2, case 3, case_1", "--allow-missing")
    refused(predicted, truth, words=words)
    found = evaluate_folders(predicted, truth, allow_missing=True)
    assert found.scores.patients == ("case 0", "case 2", "case 3")
    assert found.notes == [
        "1 predicted patients without truth, not measured: case_1",
        "1 of 4 patients without a prediction, left out: case 1",
    ]
    others = tmp_path / "others"
    save(others / "somebody" / "Larynx.nii.gz", mask("Larynx"))
    refused(others, truth, allow_missing=True, words=("no prediction for 4 of 4 patients",))


def test_predicted_structures_without_truth_are_noted(tmp_path, truth):
    predicted = predict(truth, tmp_path / "predicted")
    save(predicted / "case 1" / "Thyroid.nii.gz", mask("Larynx"))
    assert evaluate_folders(predicted, truth).notes == ["1 predicted structures without truth, not measured: Thyroid"]


def other_grid(path: Path) -> None:
    affine = AFFINE_RAS.copy()
    affine[2, 3] += 3.0  # one slice
    save(path, mask("Larynx"), affine)


def cropped(path: Path) -> None:
    save(path, mask("Larynx")[:, :, 1:])


@pytest.mark.parametrize("spoil", [other_grid, cropped])
@pytest.mark.parametrize("side", ["predicted", "truth"])
def test_another_grid_is_refused_with_both_files(tmp_path, truth, spoil, side):
    predicted = predict(truth, tmp_path / "predicted")
    folder = predicted / "case 1" if side == "predicted" else truth / "case 1" / "segmentations"
    spoil(folder / "Larynx.nii.gz")
    reference = truth / "case 1" / "segmentations" / "Brainstem.nii.gz"
    words = (f"{folder / 'Larynx.nii.gz'}: lies on another grid than {reference}", "expected (8, 20, 24) voxels")
    refused(predicted, truth, words=(*words, "resample the prediction"))


def test_files_that_are_no_masks(tmp_path, truth):
    predicted = predict(truth, tmp_path / "predicted")
    path = predicted / "case 1" / "Larynx.nii.gz"
    save(path, mask("Larynx").astype(np.float32) * 0.5)
    refused(predicted, truth, words=(str(path), "0.5", "must be thresholded"))
    path.write_bytes(path.read_bytes()[:100])
    refused(predicted, truth, words=(str(path), "cannot be read as an image"))


def test_wrong_folders(tmp_path, truth):
    predicted = predict(truth, tmp_path / "predicted")
    refused(tmp_path / "nowhere", truth, words=("nowhere: no such folder", "<patient>/<structure>.nii.gz"))
    (tmp_path / "empty" / "case 1").mkdir(parents=True)
    refused(tmp_path / "empty", truth, words=("no mask found (it holds case 1)",))
    twin = save(predicted / "case 2" / "Lar-ynx.nii.gz", mask("Larynx"))
    refused(predicted, truth, words=("case 2/Larynx.nii.gz", "also in Lar-ynx.nii.gz", "one file a structure"))
    twin.unlink()
    save(truth / "case 2" / "segmentations" / "Brain Stem.nii.gz", mask("Brainstem"))
    refused(predicted, truth, words=("segmentations/Brainstem.nii.gz", "also in Brain Stem.nii.gz"))


def test_a_truth_with_two_spellings_is_refused(tmp_path, truth):
    predicted = predict(truth, tmp_path / "predicted")
    masks = truth / "case 2" / "segmentations"
    (masks / "Brainstem.nii.gz").rename(masks / "Brain Stem.nii.gz")
    refused(predicted, truth, words=("'Brain Stem'", "'Brainstem'", "one spelling"))

"""Masks of another program beside nasoseg's own runs: `nasoseg evaluate --split`, as docs/comparison.md has it."""

import shutil
from types import SimpleNamespace

import pytest
from generated_studies import BOXES, mask, save, write_patients

from nasoseg.data.splits import make_split
from nasoseg.data.store import Store
from nasoseg.evaluation import compare, evaluate_folders, read_results
from nasoseg.tasks.results import result_context, write_metrics

PATIENTS = [f"case {number}" for number in range(6)]


def write_masks(folder, *, lost):
    """Write the true masks, ``lost`` columns of every larynx taken away."""
    for patient in PATIENTS:
        for structure in BOXES:
            array = mask(structure)
            if structure == "Larynx":
                array[10 : 10 + lost] = 0
            save(folder / patient / f"{structure}.nii.gz", array)
    return folder


@pytest.fixture
def made(tmp_path, nasoseg_command):
    """A store, its split into two folds, masks of another program, and both folds' runs of nasoseg."""
    studies = write_patients(tmp_path / "studies", patients=6)
    assert nasoseg_command("prepare", "nifti", studies, tmp_path / "store.h5", "--workers", "1").code == 0
    theirs = write_masks(tmp_path / "theirs" / "predictions", lost=1)
    ours = write_masks(tmp_path / "ours", lost=2)
    runs = tmp_path / "runs" / "mine" / "clean"
    with Store(tmp_path / "store.h5") as store:
        split = make_split(store, folds=2)
        for fold in range(2):
            run = runs / "two_stage" / f"fold{fold}"
            run.mkdir(parents=True)
            split.save(run / "split.json")
            scores = evaluate_folders(ours, studies, only=split.part(fold, "test"), allow_missing=True).scores
            write_metrics(run / "metrics.csv", scores, context=result_context(store, split, method="ours", fold=fold))
    split.save(runs / "split.json")
    return SimpleNamespace(folder=tmp_path, studies=studies, masks=theirs, runs=runs, split=split)


def test_another_programs_masks_meet_nasosegs_runs_in_tables_and_page(made, nasoseg_command):
    out = made.folder / "theirs" / "metrics.csv"
    named = ("--method", "theirs", "--split", made.runs / "split.json", "--out", out)
    ended = nasoseg_command("evaluate", made.masks, made.studies, *named)
    assert ended.code == 0, ended.err
    table = read_results([made.runs, out])
    folds = (
        table[table["patient"] != ""].drop_duplicates(["method", "patient"]).set_index(["method", "patient"])["fold"]
    )
    assert folds["theirs"].to_dict() == folds["ours"].to_dict()
    assert set(table.loc[table["method"] == "theirs", "averaging"]) == {"volume", "slice"}  # pooled is of a fold
    larynx = compare(table, reference="ours", resamples=50).set_index("structure").loc["Larynx"]
    assert (larynx["protocol"], larynx["n"], larynx["p"]) == ("clean", 5, 2 / 2**5)
    assert larynx["mean_difference"] == pytest.approx(8 / 9 - 6 / 8, abs=1e-6)
    ended = nasoseg_command("report", made.runs.parent, out.parent, "--out", made.folder / "page")
    assert ended.code == 0, ended.err
    page = (made.folder / "page" / "report.html").read_text(encoding="utf-8")
    assert "folds 0 and 1; 6 patients tested by every method." in page
    assert "Every value has a partner" in page


def test_masks_of_one_fold_have_its_pooled_values_too(made, nasoseg_command):
    tested = made.split.part(1, "test")
    for patient in set(PATIENTS) - set(tested):
        shutil.rmtree(made.masks / patient)
    out = made.folder / "theirs" / "metrics.csv"
    named = ("--allow-missing", "--split", made.runs / "split.json", "--out", out)
    assert nasoseg_command("evaluate", made.masks, made.studies, *named).code == 0
    table = read_results([out])
    assert set(table["fold"]) == {"1"}
    assert {"pooled", "micro"} < set(table["averaging"])


def test_patients_of_no_fold_are_left_out_and_other_splits_refused(made, nasoseg_command):
    shutil.copytree(made.studies / "case 1", made.studies / "newcomer")
    shutil.copytree(made.masks / "case 1", made.masks / "newcomer")
    command = ("evaluate", made.masks, made.studies, "--split")
    ended = nasoseg_command(*command, made.runs / "split.json")
    assert ended.code == 0, ended.err
    assert "note: 1 of 7 patients not in the split, left out: newcomer" in ended.out
    with Store(made.folder / "store.h5") as store:
        make_split(store, folds=2, protocol="paper").save(made.folder / "paper.json")
    ended = nasoseg_command(*command, made.folder / "paper.json")
    assert "has protocol 'paper', whose folds are slices" in ended.err
    for study in list(made.studies.iterdir()):
        study.rename(study.with_name(f"other {study.name}"))
    ended = nasoseg_command(*command, made.runs / "split.json")
    assert "none of its 7 patients is in the split: found other case 0" in ended.err

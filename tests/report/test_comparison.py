"""A whole comparison: six runs of made-up metrics on real patients, predictions of two of them."""

import re
from pathlib import Path

import pandas as pd
import pytest
from benchmark_rows import write_run
from test_samples import predict

from nasoseg.data.store import Store
from nasoseg.errors import NasosegError
from nasoseg.report import write_comparison

ORGANS = ["Larynx", "Mandible"]
MINUS = "\N{MINUS SIGN}"


def patients_of(store: Store, fold: int, structures: list[str]) -> dict[str, list[str]]:
    """Deal the patients to two folds, each with its annotated structures."""
    annotated = {key: store.is_annotated(key) for key in store.keys[fold::2]}
    return {key: [name for name in structures if drawn[store.names.index(name)]] for key, drawn in annotated.items()}


@pytest.fixture
def runs(tmp_path: Path, small_store: Store) -> list[Path]:
    """two_stage and unet_ on two folds, fcn8 on the first; two_stage under paper as well."""
    structures = [*ORGANS, "PTV70"]
    store = small_store.content_sha256[:12]
    folders = []
    for fold in (0, 1):
        patients = patients_of(small_store, fold, structures)
        for method, level in (("two_stage", 0.8), ("unet_", 0.7), ("fcn8", 0.5)):
            if method != "fcn8" or not fold:
                folder = tmp_path / "runs" / "clean" / method / f"fold{fold}"
                folders.append(write_run(folder, method, patients, level=level, fold=fold, store=store))
        folder = tmp_path / "runs" / "paper" / f"fold{fold}"
        folders.append(write_run(folder, "two_stage", patients, level=0.9, fold=fold, protocol="paper", store=store))
    return folders


@pytest.fixture
def predicted(runs: list[Path], small_store: Store) -> list[Path]:
    for run in runs:
        if "clean" in str(run) and "fcn8" not in str(run) and run.name == "fold0":
            for key in small_store.keys[0:6:2]:
                predict(small_store, key, run / "predictions", shift=1)
    return runs


def test_everything_is_written_and_shown_on_one_page(predicted, small_store, tmp_path):
    out = tmp_path / "new" / "report"
    costs = {"two_stage": (2e6, 7.5e9)}
    path = write_comparison(predicted, out, store=small_store, reference="two_stage", organs=ORGANS, costs=costs)
    page = path.read_text()
    assert path == out / "comparison.md"
    stems = ("fig3", "fig4", "fig5", "structures_clean", "structures_paper", "leakage")
    figures = {f"{stem}.{ending}" for stem in stems for ending in ("png", "pdf")}
    tables = {f"{stem}.{ending}" for stem in ("table_1", "structures", "leakage") for ending in ("md", "tex", "csv")}
    rows = {f"{stem}.csv" for stem in ("all_rows", "summary", "statistics", "ranks")}
    assert {file.name for file in out.iterdir()} == figures | tables | rows | {"comparison.md"}
    linked = set(re.findall(r"\]\(([^)]+)\)", page))
    assert linked <= {file.name for file in out.iterdir()}
    assert {f"{stem}.png" for stem in stems} <= linked

    assert f"Store {small_store.content_sha256[:12]}" in page
    assert r"Protocol clean: split split-clean; folds 0 and 1; 12 patients tested by every method" in page
    assert "INCOMPLETE: fcn8 has fold 0 only, with 6 patients" in page
    assert re.search(
        rf"- unet\\_ {MINUS} two\\_stage: DSC {MINUS}0\.\d+ \[.*\], p .* 12 patients: unet\\_ is lower\.", page
    )
    assert re.search(rf"- fcn8 {MINUS} two\\_stage: DSC {MINUS}0\.\d+ .* 6 patients", page)
    assert "Methods without predictions: fcn8." in page
    assert "optimistic" in page
    assert "| 2.00 | 7.5 |" in page
    assert "Left out." not in page

    summary = pd.read_csv(out / "summary.csv")
    of_unet = "protocol == 'clean' and method == 'unet_' and averaging == 'volume' and metric == 'dsc'"
    rows = pd.read_csv(out / "all_rows.csv", keep_default_na=False).query(of_unet)
    by_hand = rows[rows["structure"].isin(ORGANS)].groupby("structure")["value"].mean().mean()
    headline = summary.query(f"{of_unet} and structure == 'organs'")
    assert headline["mean"].item() == pytest.approx(by_hand, abs=1e-5)
    assert f"{by_hand:.3f}" in (out / "table_1.md").read_text()


def test_what_cannot_be_made_is_left_out_with_the_reason_and_old_files_go(runs, tmp_path):
    (tmp_path / "leakage.csv").write_text("of an earlier comparison")
    (tmp_path / "notes.txt").write_text("the user's")
    only = [run for run in runs if "two_stage" in str(run)]
    page = write_comparison(only, tmp_path, organs=None).read_text()
    assert "# Comparison of 1 method\n" in page
    assert r"There is no method to compare two\_stage with." in page
    assert "Left out. No store was given" in page
    assert "Left out. There are results of one protocol only." in page
    assert not (tmp_path / "leakage.csv").exists()
    assert not (tmp_path / "statistics.csv").exists()
    assert (tmp_path / "notes.txt").exists()


def test_predictions_that_are_not_there_leave_fig_3_out(runs, small_store, tmp_path):
    page = write_comparison(runs[:3], tmp_path / "report", store=small_store).read_text()
    assert "There are no whole predictions: run `nasoseg predict`" in page


def test_a_reference_that_ran_under_paper_only_leaves_clean_untested_but_drawn(predicted, small_store, tmp_path):
    kept = [run for run in predicted if ("paper" in str(run)) != ("unet_" in str(run))]
    page = write_comparison(kept, tmp_path / "report", store=small_store, reference="two_stage").read_text()
    assert r"There is no method to compare two\_stage with." in page
    assert "Left out. No method was run under both protocols." in page
    assert r"picked by the mean DSC that unet\_ reaches" in page


def test_results_of_another_store_are_an_error(tmp_path, small_store):
    run = write_run(tmp_path / "run", "unet", {"p": ["Larynx"]}, level=0.5, fold=0)
    with pytest.raises(NasosegError, match=r"small\.h5: is the store \w+, the results are of 0123456789ab"):
        write_comparison([run], tmp_path / "report", store=small_store)
    assert not (tmp_path / "report").exists()


def test_an_unknown_reference_is_an_error(runs, tmp_path):
    with pytest.raises(NasosegError, match=r"reference: the results have no method 'two-stage'"):
        write_comparison(runs, tmp_path / "report", reference="two-stage")


def test_a_file_in_place_of_the_folder_is_an_error(runs, tmp_path):
    (tmp_path / "report").touch()
    with pytest.raises(NasosegError, match=r"report: cannot be made"):
        write_comparison(runs, tmp_path / "report")

"""Parts of the HTML page: curves, contours, cases, and the tables that sort."""

import re

import numpy as np
import pandas as pd
import pytest
from benchmark_rows import of_values, row
from page_runs import write_log

from nasoseg.errors import NasosegError
from nasoseg.report.page.case import TRUTH, build_case
from nasoseg.report.page.cases import pick_cases
from nasoseg.report.page.curves import read_curve
from nasoseg.report.page.runs import Run
from nasoseg.report.page.sortable import patients_sortable, structures_sortable
from nasoseg.report.page.volume_contours import VolumeMasks, read_prediction
from nasoseg.report.tables import summarise_all
from nasoseg.report.wording import NOTHING


def run_in(folder):
    unknown = dict.fromkeys(("protocol", "fold", "store", "split"), "-")
    return Run(folder, "unet", **unknown, config={}, split_file=None, cost=None, lacks=())


def test_a_resumed_run_has_one_curve(tmp_path):
    write_log(tmp_path / "logs", [0, 1, 2], losses=[0.5, 0.4, 0.9])
    write_log(tmp_path / "logs_2", [2, 3], losses=[0.3, 0.2])
    curve = read_curve(run_in(tmp_path))
    assert curve.values["train/loss"].to_dict() == {0: 0.5, 1: 0.4, 2: 0.3, 3: 0.2}
    assert curve.values["val/dsc"].to_dict() == pytest.approx({0: 0.5, 1: 0.6, 2: 0.7, 3: 0.8})


@pytest.mark.parametrize("content", ["", "epoch,step\n", "what nnU-Net prints\n1\n", "epoch,train/loss\nx,y\n"])
def test_a_log_without_epochs_has_no_curve(tmp_path, content):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "metrics.csv").write_text(content)
    assert read_curve(run_in(tmp_path)) is None


def test_a_contour_runs_between_the_pixels_in_tenths_of_a_millimetre():
    mask = np.zeros((1, 6, 8), bool)
    mask[0, 2:5, 3:7] = True
    masks = VolumeMasks({"A": mask}, rows_mm=np.arange(6) * 2.0, columns_mm=np.arange(8) * 3.0)
    path = masks.path("A", 0, left_mm=0, top_mm=0)
    steps = np.array([[int(n) for n in part.split()] for part in split_steps(path)])
    corners = np.cumsum(steps, axis=0)
    # Columns 3 to 6 end half a pixel further out, at 2.5 and 6.5 pixels of 3 mm; rows at 1.5 and 4.5 pixels of 2 mm.
    assert corners[:, 0].min() == 75
    assert corners[:, 0].max() == 195
    assert corners[:, 1].min() == 30
    assert corners[:, 1].max() == 90
    assert masks.path("A", 0, left_mm=1, top_mm=2).startswith(f"M{corners[0, 0] - 10} {corners[0, 1] - 20}l")
    mask[:] = False
    assert masks.path("A", 0, left_mm=0, top_mm=0) == ""


def split_steps(path):
    """Give the first corner and the steps of a path with one polygon, each as two numbers."""
    numbers = re.findall(r"-?\d+", path)
    return [" ".join(numbers[i : i + 2]) for i in range(0, len(numbers), 2)]


def test_a_case_stays_within_its_bytes(small_store):
    key = small_store.keys[0]
    options = {"predictions": {}, "structures": {TRUTH: small_store.names}}
    whole = build_case(small_store, key, most_bytes=2**20, **options)
    assert [one["z"] for one in whole["slices"]] == list(range(8))
    few = build_case(small_store, key, most_bytes=sum(len(str(one)) for one in whole["slices"]) // 2, **options)
    assert 2 <= len(few["slices"]) <= 4
    assert few["slices"][1]["z"] - few["slices"][0]["z"] >= 2
    annotated = small_store.is_annotated(key)
    assert whole["notDrawn"] == [name for name, drawn in zip(small_store.names, annotated, strict=True) if not drawn]


def test_a_mask_that_is_missing_is_an_error(small_store, tmp_path):
    key = small_store.keys[0]
    with pytest.raises(NasosegError, match=r"has no mask of Larynx, expected Larynx\.nii\.gz"):
        read_prediction(tmp_path, ["Larynx"], stored=small_store.geometry(key), source=small_store.source(key))


def test_three_worst_the_median_and_the_best_are_picked_once_each():
    scores = pd.Series({f"p{i}": i / 10 for i in range(9)})
    picks = [(pick.rule, pick.patient) for pick in pick_cases(scores, list(scores.index))]
    ranks = ["worst", "second worst", "third worst", "median", "best"]
    assert picks == list(zip(ranks, ["p0", "p1", "p2", "p4", "p8"], strict=True))
    assert [pick.rule for pick in pick_cases(scores, ["p1", "p2"])] == ["worst", "best"]


def test_the_sortable_tables_hold_every_value_and_dashes_where_there_is_none():
    table = of_values({"a": {"L": [0.5, 0.25], "M": [None, 0.75]}, "b": {"L": [0.1, 0.2], "M": [None, 0.3]}})
    more = [row("a", "p0", "L", 12.34, metric="hd95"), row("a", "p1", "L", 3.21, metric="hd95")]
    table = pd.concat([table, pd.DataFrame(more)], ignore_index=True)
    patients = patients_sortable(table, organs=None)
    assert patients.fixed == ("patient", "method")  # one fold, one protocol
    assert list(patients.rows) == [("p0", "a"), ("p1", "a"), ("p0", "b"), ("p1", "b")]
    assert patients.measured == ("mean", "L", "M")
    assert patients.cells["DSC"][:2] == [["0.500", "0.500", NOTHING], ["0.500", "0.250", "0.750"]]
    assert patients.cells["HD95, mm"][:2] == [["12.3", "12.3", NOTHING], ["3.2", "3.2", NOTHING]]
    assert patients.cells["HD95, mm"][2:] == [[NOTHING] * 3] * 2
    structures = structures_sortable(summarise_all(table[table["metric"] == "dsc"], resamples=20))
    at = dict(zip(structures.rows, structures.cells["DSC"], strict=True))
    assert at["L", "a"][:2] == ["2", "0.375"]
    assert at["M", "b"][:2] == ["1", "0.300"]
    assert structures.choices("method") == ["a", "b"]

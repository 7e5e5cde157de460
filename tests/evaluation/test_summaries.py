"""Summaries and leakage: numbers worked by hand, scipy, folds of a patient, and the edges."""

import numpy as np
import pandas as pd
import pytest
from result_tables import drawn_cells, numbered, row_of, rows, table

from nasoseg.errors import NasosegError
from nasoseg.evaluation import leakage, summarise
from nasoseg.evaluation.bootstrap import interval

FEW = {"resamples": 100}


def test_numbers_worked_by_hand():
    cells = {"A": {"p": 0.8, "q": 0.6, "r": 0.1}, "B": {"p": 0.4, "q": np.nan}}
    found = summarise(table({"UNet": cells}), organs=["A"], **FEW)
    assert found["structure"].tolist() == ["A", "B", "all", "organs"]
    a, b = (row_of(found, structure=name) for name in "AB")
    assert (a["n"], a["undefined"], a["structures"], a["unit"]) == (3, 0, 1, "patients")
    assert (a["mean"], a["median"]) == pytest.approx((0.5, 0.6))
    assert a["sd"] == pytest.approx(np.sqrt((0.3**2 + 0.1**2 + 0.4**2) / 2))
    assert (b["n"], b["undefined"], b["mean"]) == (1, 1, 0.4)
    assert np.isnan([b["sd"], b["low"], b["high"]]).all()
    overall = row_of(found, structure="all")
    assert overall["mean"] == pytest.approx((0.5 + 0.4) / 2)  # of structures, not of values or patients
    assert (overall["n"], overall["structures"], overall["undefined"]) == (3, 2, 1)
    assert overall["median"] == 0.6  # of the patients' means 0.6, 0.6, 0.1
    assert overall["sd"] == pytest.approx(np.std([0.6, 0.6, 0.1], ddof=1))
    same = ["n", "undefined", "structures", "mean", "median", "sd", "low", "high"]
    assert row_of(found, structure="organs")[same].tolist() == a[same].tolist()


def test_intervals_are_those_of_the_shaped_values_and_independent_of_other_rows():
    cells = drawn_cells(0)
    alone = summarise(table({"UNet": cells}), **FEW)
    beside = summarise(table({"other": drawn_cells(1), "UNet": cells}), **FEW)
    assert beside[beside["method"] == "UNet"].reset_index(drop=True).equals(alone)
    patients = sorted({patient for values in cells.values() for patient in values})
    shaped = np.array([[cells[name].get(patient, np.nan) for name in "ABC"] for patient in patients])
    overall = row_of(alone, structure="all")
    assert (overall["low"], overall["high"]) == interval(shaped, **FEW)
    b = row_of(alone, structure="B")
    assert (b["low"], b["high"]) == interval(shaped[:, 1:2], **FEW)
    assert overall["low"] < overall["mean"] < overall["high"]


def test_intervals_do_not_depend_on_the_order_of_rows_nor_on_other_structures():
    cells = drawn_cells(0)
    found = summarise(table({"UNet": cells}), **FEW)
    turned = {name: dict(reversed(values.items())) for name, values in cells.items()}
    assert summarise(table({"UNet": turned}), **FEW).equals(found)
    first, other = cells["A"], cells["B"]  # as where the first structure lacks patients: the others come last
    few = {"A": dict(list(first.items())[3:]), "B": other}
    same = ["mean", "low", "high"]
    beside, alone = (
        row_of(summarise(table({"UNet": of}), **FEW), structure="B")[same].tolist() for of in (few, {"B": other})
    )
    assert beside == pytest.approx(alone, abs=1e-12)


def test_protocol_paper_counts_a_patient_once():
    folds = {("p", "0"): 0.2, ("p", "1"): 0.4, ("p", "2"): np.nan, ("q", "1"): 0.9}
    a = row_of(summarise(rows("UNet", {"A": folds}, protocol="paper"), **FEW), structure="A")
    assert (a["n"], a["undefined"]) == (2, 0)
    assert a["mean"] == pytest.approx((0.3 + 0.9) / 2)


def test_pooled_and_micro_are_counted_by_fold():
    values = {("", "0"): 0.5, ("", "1"): 0.7}
    pooled = summarise(rows("UNet", {"A": values, "B": {("", "0"): 0.2}}, averaging="pooled"), averaging="pooled")
    assert pooled["structure"].tolist() == ["A", "B", "all"]
    assert pooled["n"].tolist() == [2, 1, 2]
    assert pooled["mean"].tolist() == pytest.approx([0.6, 0.2, 0.4])
    assert set(pooled["unit"]) == {"folds"}
    assert pooled[["low", "high"]].isna().all(axis=None)
    micro = summarise(rows("UNet", {"": values}, averaging="micro"), averaging="micro")
    assert micro["structure"].tolist() == ["all"]
    assert micro[["n", "mean"]].iloc[0].tolist() == pytest.approx([2, 0.6])


def test_a_method_without_a_structure_is_over_the_others():
    found = summarise(table({"one": {"A": {"p": 0.5}, "B": {"p": 0.7}}, "two": {"A": {"p": 0.6}}}), organs=["B"])
    two = found[found["method"] == "two"]
    assert two["structure"].tolist() == ["A", "all", "organs"]
    assert two["structures"].tolist() == [1, 1, 0]
    assert two["n"].tolist() == [1, 1, 0]
    assert two["mean"].iloc[:2].tolist() == [0.6, 0.6]
    assert np.isnan(two["mean"].iloc[2])


def test_wrong_names_get_the_nearest():
    cells = table({"UNet": {"Larynx": {"p": 0.5}}})
    with pytest.raises(NasosegError, match="metric: the table has no 'dcs': did you mean 'dsc'"):
        summarise(cells, metric="dcs")
    with pytest.raises(NasosegError, match="averaging: the table has no 'volumes': did you mean 'volume'"):
        summarise(cells, averaging="volumes")
    with pytest.raises(NasosegError, match="no structure 'Larinx': did you mean 'Larynx'"):
        summarise(cells, organs=["Larinx"])
    with pytest.raises(NasosegError, match="'all': the name is that of a row over structures"):
        summarise(table({"UNet": {"all": {"p": 0.5}}}))
    mixed = table({"UNet": {"A": {"p": 0.5}}}), table({"UNet": {"A": {"p": 0.5}}}, metric="auc", averaging="slice")
    with pytest.raises(NasosegError, match="no 'auc' with averaging 'volume'"):
        summarise(pd.concat(mixed), metric="auc")


def leaking():
    clean = table({"UNet": {"A": numbered([0.5, 0.6, 0.7]), "B": numbered([0.2, 0.4])}})
    folds = {("p00", "0"): 0.8, ("p00", "1"): 0.6, ("p01", "0"): 0.9}
    paper = rows("UNet", {"A": folds}, protocol="paper")
    only_clean = table({"two": {"A": numbered([0.9, 0.8])}})
    return pd.concat([clean, paper, only_clean], ignore_index=True)


def test_leakage_sets_the_protocols_side_by_side():
    found = leakage(leaking(), organs=["A"], **FEW)
    unet = found[found["method"] == "UNet"]
    assert unet["structure"].tolist() == ["A", "B", "all", "organs"]
    a, b, overall = (row_of(unet, structure=name) for name in ("A", "B", "all"))
    assert (a["n_paper"], a["n_clean"]) == (2, 3)
    assert (a["mean_paper"], a["mean_clean"]) == pytest.approx((0.8, 0.6))
    assert a["difference"] == pytest.approx(0.2)
    assert a["low"] < a["difference"] < a["high"]
    assert (a["low_clean"], a["high_clean"]) == interval(np.array([[0.5], [0.6], [0.7]]), **FEW)
    assert b["mean_clean"] == pytest.approx(0.3)
    assert np.isnan([b["mean_paper"], b["difference"], b["low"], b["high"]]).all()
    assert overall["difference"] == pytest.approx(0.2)  # over A alone, which both have
    assert overall["structures"] == 1
    two = row_of(found, method="two", structure="A")
    assert two["mean_clean"] == pytest.approx(0.85)
    assert np.isnan([two["mean_paper"], two["difference"]]).all()


def test_leakage_needs_both_protocols_and_patients():
    with pytest.raises(NasosegError, match=r"no result of protocol 'paper'.*add its run"):
        leakage(table({"UNet": {"A": {"p": 0.5}}}))
    with pytest.raises(NasosegError, match="'pooled' has one value a fold, expected volume or slice"):
        leakage(table({"UNet": {"A": {"": 0.5}}}, averaging="pooled"), averaging="pooled")

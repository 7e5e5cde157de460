"""Scores: the tidy table, summaries, merging."""

import math

import pytest
import torch

from nasoseg.metrics import OverlapMetrics, StreamingAUC, merge_scores

BOTH = torch.ones(1, 2, dtype=torch.bool)


def two_metrics(slices_of_auc=(0, 1)):
    """Patient a has both structures annotated, patient b the first only; structure two is absent in a."""
    overlap, auc = OverlapMetrics(["a", "b"], ["one", "two"]), StreamingAUC(["a", "b"], ["one", "two"])
    logits = torch.tensor([[[[3.0, 1.0, -1.0, -2.0]], [[-5.0, -4.0, -3.0, -2.0]]]])
    target = torch.tensor([[[[True, False, True, False]], [[False] * 4]]])
    for patient, number in (("a", 0), ("b", 1)):
        annotated = BOTH if patient == "a" else torch.tensor([[True, False]])
        about = {"annotated": annotated, "patients": [patient]}
        overlap.update(logits > 0, logits.sigmoid(), target, slices=torch.tensor([number]), **about)
        auc.update(logits, target, slices=torch.tensor([slices_of_auc[number]]), **about)
    return overlap.compute(), auc.compute()


def test_rows_are_tidy_and_name_their_averaging():
    scores = merge_scores(*two_metrics())
    rows = scores.rows()
    assert {tuple(row) for row in rows} == {("patient", "structure", "averaging", "metric", "value")}
    pairs = {(r["patient"], r["structure"]) for r in rows if r["averaging"] in ("volume", "slice")}
    assert pairs == {("a", "one"), ("a", "two"), ("b", "one")}  # b, two is not annotated
    assert len(rows) == 7 * (3 + 3 + 2 + 1)
    found = {(r["patient"], r["structure"], r["averaging"]): r["value"] for r in rows if r["metric"] == "dsc"}
    assert found["b", "one", "volume"] == 0.5
    assert math.isnan(found["a", "two", "volume"])
    assert found["a", "one", "slice"] == found["b", "one", "slice"] == 0.5
    assert found["", "one", "pooled"] == 0.5
    assert found["", "", "micro"] == 0.5
    assert {r["metric"] for r in rows} == {"dsc", "soft_dsc", "jsc", "precision", "recall", "f1", "auc"}
    assert next(r["value"] for r in rows if r["metric"] == "auc" and r["averaging"] == "pooled") == 0.75


def test_summary_counts_what_it_averages():
    scores = merge_scores(*two_metrics())
    summary = scores.summary()
    assert summary.averaging == "volume"
    assert summary.labels == ("one", "two")
    assert summary.counted["dsc"].tolist() == [2, 0]
    assert summary.means["auc"][0] == 0.75
    assert summary.overall["auc"] == 0.75  # structure two has no value and does not enter
    assert summary.correctly_absent.tolist() == [0, 1]
    assert scores.summary("pooled").counted["dsc"].tolist() == [2, 1]
    assert scores.summary("all_slices").counted["auc"].tolist() == [2, 0]
    micro = scores.summary("micro")
    assert (micro.averaging, micro.labels, micro.means, micro.counted) == ("micro", ("one", "two"), {}, {})
    assert micro.overall["jsc"] == pytest.approx(1 / 3)
    assert micro.correctly_absent.tolist() == [0, 1]
    with pytest.raises(ValueError, match="averaging 'macro', expected one of volume, slice, all_slices, pooled, micro"):
        scores.summary("macro")


def test_merged_scores_are_about_the_same_slices():
    overlap, auc = two_metrics()
    merged = merge_scores(overlap, auc)
    assert torch.equal(merged.slice_keys, auc.slice_keys)
    assert merged.slices == {**overlap.slices, **auc.slices}


def test_pooled_counts_the_patients_of_every_structure():
    metric = OverlapMetrics(["a"], ["one", "two", "three"])
    masks = torch.ones(1, 3, 2, 2, dtype=torch.bool)
    about = {"annotated": torch.tensor([[True, False, True]]), "patients": ["a"], "slices": torch.tensor([0])}
    metric.update(masks, masks.float(), masks, **about)
    assert metric.compute().summary("pooled").counted["dsc"].tolist() == [1, 0, 1]


def test_merge_refuses_what_does_not_belong_together():
    overlap, auc = two_metrics()
    with pytest.raises(ValueError, match="'dsc'"):
        merge_scores(overlap, overlap)
    with pytest.raises(ValueError, match="update both metrics with the same slices"):
        merge_scores(overlap, two_metrics(slices_of_auc=(0, 7))[1])
    other = StreamingAUC(["a"], ["one"])
    other.update(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2).bool(), annotated=BOTH[:, :1], patients=["a"],
                 slices=torch.tensor([0]))  # fmt: skip
    with pytest.raises(ValueError, match="other patients or labels"):
        merge_scores(overlap, other.compute())
    assert merge_scores(auc, overlap).correctly_absent is overlap.correctly_absent

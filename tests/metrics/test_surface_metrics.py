"""SurfaceMetrics: whole volumes from slices in any order, what is not annotated or missing, merging, two processes."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor
from two_processes import run_two

from nasoseg.errors import NasosegError
from nasoseg.metrics import OverlapMetrics, Scores, SurfaceMetrics, merge_scores, surface_distances

PATIENTS = ["a", "b"]
LABELS = ["Brainstem", "Larynx"]
DEPTHS = {"a": 5, "b": 4}
SPACING_MM = {"a": (2.5, 1.0, 1.0), "b": (3.0, 1.5, 1.5)}
METRICS = ("hd95", "hd", "assd", "nsd")


def volume(patient: str) -> tuple[Tensor, Tensor]:
    """Make predicted and true masks (z, k, h, w) of a patient: boxes, the prediction a little off."""
    depth = DEPTHS[patient]
    predicted, true = torch.zeros(2, depth, 2, 12, 21, dtype=torch.bool)
    true[1:4, 0, 3:8, 4:15] = True
    true[:, 1, 2:5, 2:5] = True
    predicted[1:4, 0, 4:8, 4:16] = True
    predicted[:3, 1, 2:5, 3:6] = True
    return predicted, true


def feed(metric: SurfaceMetrics | OverlapMetrics, patient: str, slices: list[int], **changes: Tensor) -> None:
    """Update a metric with some slices of a patient in one batch."""
    predicted, true = changes.get("predicted", volume(patient)[0]), changes.get("true", volume(patient)[1])
    about = {
        "annotated": changes.get("annotated", torch.ones(len(slices), 2, dtype=torch.bool)),
        "patients": [patient] * len(slices),
        "slices": torch.tensor(slices, dtype=torch.int64),
    }
    if isinstance(metric, OverlapMetrics):
        metric.update(predicted[slices], predicted[slices].float(), true[slices], **about)
    else:
        spacing = changes.get("spacing_mm", torch.tensor([SPACING_MM[patient]] * len(slices)).view(-1, 3))
        metric.update(predicted[slices], true[slices], spacing_mm=spacing, **about)


def new(**options: object) -> SurfaceMetrics:
    return SurfaceMetrics(PATIENTS, LABELS, **{"depths": DEPTHS, **options})


def expected(patient: str, structure: int, tolerance_mm: float) -> dict[str, float]:
    predicted, true = (masks[:, structure].numpy() for masks in volume(patient))
    distances = surface_distances(predicted, true, spacing_mm=SPACING_MM[patient])
    nsd = distances.nsd(tolerance_mm)
    return {"hd95": distances.hd95, "hd": distances.hd, "assd": distances.assd, "nsd": nsd}


def check_complete(scores: Scores, *, patients: list[str] = PATIENTS) -> None:
    for p, patient in enumerate(PATIENTS):
        for k, tolerance_mm in enumerate((2.5, 2.0)):
            for metric, value in expected(patient, k, tolerance_mm).items():
                found = float(scores.volume[metric][p, k])
                assert found == value if patient in patients else math.isnan(found), (metric, patient, k)


def test_volumes_are_measured_whole_in_any_order():
    metric = new()
    feed(metric, "a", [3, 1])
    feed(metric, "b", [0, 1])
    feed(metric, "a", [1, 0])  # slice 1 a second time
    feed(metric, "b", [])
    feed(metric, "b", [2, 3])
    assert metric._open.keys() == {0}  # the masks of b are gone
    feed(metric, "a", [4, 2])
    feed(metric, "a", [0])  # after the volume is complete
    assert not metric._open
    scores = metric.compute()
    check_complete(scores)
    assert scores.volume.keys() == set(METRICS)
    assert scores.slice_keys.tolist() == [[0, z] for z in range(5)] + [[1, z] for z in range(4)]
    assert scores.annotated.all()
    assert scores.summary().means["nsd"].tolist() == scores.volume["nsd"].mean(0).tolist()
    metric.reset()
    feed(metric, "b", [0, 1, 2, 3])
    check_complete(metric.compute(), patients=["b"])


def test_a_volume_of_one_slice():
    metric = new(depths={"b": 1})
    feed(metric, "b", [0])
    scores = metric.compute()
    assert scores.volume["nsd"][1].nan_to_num(-1).tolist() == [-1, 1]  # no brainstem there, and none predicted
    assert scores.annotated.tolist() == [[False, False], [True, True]]


def test_value_by_hand():
    """One voxel, predicted one slice of 2.5 mm too high; its corners are 0 or 2.5 mm from the other's."""
    predicted, true = torch.zeros(2, 5, 2, 6, 7, dtype=torch.bool)
    true[1, :, 3, 3] = predicted[2, :, 3, 3] = True
    metric = new(tolerances_mm={"Larynx": 2.4})
    feed(metric, "a", list(range(5)), predicted=predicted, true=true)
    volume = metric.compute().volume
    assert volume["hd"][0].tolist() == volume["hd95"][0].tolist() == [2.5, 2.5]
    assert volume["assd"][0].tolist() == [1.25, 1.25]
    assert volume["nsd"][0].tolist() == [1.0, 0.5]  # the brainstem's tolerance is 2.5 mm


def test_incomplete_patients_have_no_surface():
    metric = new(depths={"a": 5})
    feed(metric, "a", [0, 1, 2, 4])
    feed(metric, "b", [0, 1, 2, 3])  # complete, but nobody said so
    assert metric._open.keys() == {0}
    scores = metric.compute()
    assert all(scores.volume[metric].isnan().all() for metric in METRICS)
    assert scores.annotated.all()
    metric.reset()
    metric.expect({"b": 4})
    feed(metric, "b", [0, 1, 2, 3])
    check_complete(metric.compute(), patients=["b"])


def test_missing_annotations_and_empty_structures():
    predicted, true = volume("a")
    true[:, 0] = False  # annotated and empty, but predicted
    predicted[:, 1] = true[:, 1] = False  # empty, and predicted empty
    metric = new()
    feed(metric, "a", list(range(5)), predicted=predicted, true=true)
    annotated = torch.tensor([[True, False]] * 4)
    annotated[2, 0] = False  # one slice without: the volume is not annotated
    feed(metric, "b", list(range(4)), annotated=annotated)
    scores = metric.compute()
    diagonal = np.linalg.norm(np.array([5, 12, 21]) * SPACING_MM["a"])
    for name in METRICS:
        value = 0 if name == "nsd" else diagonal
        assert torch.equal(scores.volume[name].nan_to_num(-1), torch.tensor([[value, -1], [-1, -1]]).double())
    assert scores.annotated.tolist() == [[True, True], [True, False]]
    assert scores.summary().counted["hd95"].tolist() == [1, 0]
    metric.reset()
    predicted, true = volume("a")
    predicted[:, 0] = False
    feed(metric, "a", list(range(5)), predicted=predicted, true=true)
    assert metric.compute().volume["hd"][0, 0] == diagonal


def test_merges_with_overlap():
    surface, overlap = new(), OverlapMetrics(PATIENTS, LABELS)
    for metric in (surface, overlap):
        feed(metric, "a", [0, 1, 2])
        feed(metric, "a", [3, 4])
        feed(metric, "b", [0, 1, 2, 3])
    merged = merge_scores(overlap.compute(), surface.compute())
    check_complete(merged)
    rows = [row for row in merged.rows() if row["metric"] == "hd95"]
    assert [(row["patient"], row["structure"], row["averaging"]) for row in rows] == [
        (patient, label, "volume") for patient in PATIENTS for label in LABELS
    ]
    assert "hd95" not in merged.summary("slice").means
    assert "hd95" not in merged.summary("pooled").means
    assert merged.summary().counted["hd95"].tolist() == merged.summary().counted["dsc"].tolist()


@pytest.mark.filterwarnings("ignore:.*before the ``update`` method")
def test_nothing_seen():
    scores = new().compute()
    assert scores.slice_keys.shape == (0, 2)
    assert scores.volume["hd95"].isnan().all()


def test_wrong_arguments_are_refused():
    with pytest.raises(NasosegError, match="depths: 'c' is none of the patients"):
        new(depths={"c": 3})
    with pytest.raises(NasosegError, match="depths: found 0 slices of patient 'a', expected 1 or more"):
        new(depths={"a": 0})
    with pytest.raises(NasosegError, match="tolerances_mm: 'Larnyx' is none of the labels"):
        new(tolerances_mm={"Larnyx": 1.0})
    metric = new()
    predicted, true = volume("a")
    with pytest.raises(ValueError, match=r"predicted is torch.float32, target torch.bool: expected bool"):
        feed(metric, "a", [0], predicted=predicted.float())
    with pytest.raises(ValueError, match="predicted has shape"):
        feed(metric, "a", [0], predicted=predicted[:, :1])
    with pytest.raises(ValueError, match="target has shape"):
        feed(metric, "a", [0], true=true[..., 1:])
    with pytest.raises(ValueError, match=r"spacing_mm has shape \(3,\), expected \(b, 3\) = \(1, 3\)"):
        feed(metric, "a", [0], spacing_mm=torch.ones(3))
    with pytest.raises(NasosegError, match="'c' is not one of the 2 patients"):
        metric.update(
            predicted[:1],
            true[:1],
            annotated=torch.ones(1, 2, dtype=torch.bool),
            patients=["c"],
            slices=torch.tensor([0]),
            spacing_mm=torch.ones(1, 3),
        )
    feed(metric, "a", [0])
    with pytest.raises(NasosegError, match=r"patient a, slice 1, has .* expected \(12, 21\) of \[2.5, 1.0, 1.0\] mm"):
        feed(metric, "a", [1], spacing_mm=torch.ones(1, 3))
    with pytest.raises(NasosegError, match=r"patient a, slice 1, has \(12, 20\) pixels"):
        feed(metric, "a", [1], predicted=predicted[..., :20], true=true[..., :20])
    short = new(depths={"a": 3})
    with pytest.raises(NasosegError, match=r"patient a, slice 3, .* from 0 to 2: `depths` says 3 slices"):
        feed(short, "a", [3])


DEALS = {
    "whole patients": ([("a", [0, 1, 2, 3, 4])], [("b", [0, 1]), ("b", [2, 3])]),
    "padded with a slice": ([("a", [0, 1, 2, 3, 4])], [("b", [0, 1, 2, 3]), ("a", [0])]),
    "a patient on both": ([("a", [0, 1, 2, 3, 4]), ("b", [0, 1, 2, 3])], [("b", [0, 1, 2, 3])]),
    "one process without a slice": ([], [("a", [0, 1, 2, 3, 4]), ("b", [0, 1, 2, 3])]),
}


def work(rank: int) -> dict[str, dict]:
    """Be one of two processes: deal by deal, count what it gets, and return the scores that it computes."""
    results = {}
    for name, deal in DEALS.items():
        metric = new()
        for patient, slices in deal[rank]:
            feed(metric, patient, slices)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*before the ``update`` method")  # no slice in one process
            results[name] = metric.compute().__dict__
    metric = new()
    feed(metric, "a", [0, 1] if rank == 0 else [2, 3, 4])
    with pytest.raises(NasosegError, match="slices of patient a came on several processes, expected whole"):
        metric.compute()
    return results


def test_two_processes_give_the_numbers_of_one(tmp_path):
    for results in run_two(work, tmp_path):
        assert results.keys() == DEALS.keys()
        for found in results.values():
            scores = Scores(**found)
            check_complete(scores)
            assert scores.slice_keys.tolist() == [[0, z] for z in range(5)] + [[1, z] for z in range(4)]
            assert scores.annotated.all()

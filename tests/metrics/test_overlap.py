"""OverlapMetrics: numbers by hand, independent references, absent and missing structures, laws."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score
from torch import Tensor
from torchmetrics.segmentation import DiceScore

from nasoseg.errors import NasosegError
from nasoseg.metrics import OverlapMetrics, Scores

METRICS = ("dsc", "soft_dsc", "jsc", "precision", "recall", "f1")


def score(predicted, target, *, probabilities=None, annotated=None, patients=None, slices=None, batch=2) -> Scores:
    """Run the metric over (n, k, h, w) masks in batches."""
    n, k = predicted.shape[:2]
    patients = patients or ["a"] * n
    annotated = torch.ones(n, k, dtype=torch.bool) if annotated is None else annotated
    slices = torch.arange(n) if slices is None else slices
    probabilities = predicted.float() if probabilities is None else probabilities
    metric = OverlapMetrics(sorted(set(patients)), [f"s{i}" for i in range(k)])
    for i in range(0, n, batch):
        part = slice(i, i + batch)
        metric.update(
            predicted[part],
            probabilities[part],
            target[part],
            annotated=annotated[part],
            patients=patients[part],
            slices=slices[part],
        )
    return metric.compute()


def masks(*rows: str) -> Tensor:
    """Read one-row images of one structure: ``##.`` is two true pixels and a false one."""
    return torch.tensor([[[[pixel == "#" for pixel in row]]] for row in rows])


def random_case(seed: int, n=6, k=3, h=9, w=11) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.rand(n, k, h, w, generator=generator)
    target = torch.rand(n, k, h, w, generator=generator) < probabilities * torch.tensor([0.9, 0.3, 0.02])[:, None, None]
    return probabilities > 0.5, probabilities, target


def test_every_averaging_by_hand():
    # Patient a: slice 0 has TP 2, FP 1, FN 1; slice 1 has TP 0, FP 0, FN 2. Patient b: TP 1, FP 0, FN 0.
    predicted = masks("###.", "....", "#...")
    target = masks("##.#", "##..", "#...")
    scores = score(predicted, target, patients=["a", "a", "b"])
    by_hand = {  # volume a, mean of slices a, pooled
        "dsc": (4 / 8, (4 / 6 + 0) / 2, 6 / 10),
        "jsc": (2 / 6, (2 / 4 + 0) / 2, 3 / 7),
        "precision": (2 / 3, 2 / 3, 3 / 4),  # slice 1 predicts nothing: it has no precision
        "recall": (2 / 5, (2 / 3 + 0) / 2, 3 / 6),
        "f1": (2 * (2 / 3) * (2 / 5) / (2 / 3 + 2 / 5), (2 / 3 + 0) / 2, 2 * 0.75 * 0.5 / 1.25),
    }
    for metric, (volume, slice_, pooled) in by_hand.items():
        assert scores.volume[metric][:, 0].tolist() == pytest.approx([volume, 1.0])
        assert scores.slice[metric][:, 0].tolist() == pytest.approx([slice_, 1.0])
        assert scores.pooled[metric].tolist() == pytest.approx([pooled])
        assert scores.micro[metric] == pytest.approx(pooled)  # of one structure
        assert scores.summary("volume").overall[metric] == pytest.approx((volume + 1) / 2)
        assert scores.summary("slice").overall[metric] == pytest.approx((slice_ + 1) / 2)
    assert scores.summary("all_slices").overall["dsc"] == pytest.approx((4 / 6 + 0 + 1) / 3)
    assert scores.summary("all_slices").counted["precision"].tolist() == [2]


def test_micro_adds_structures_by_hand():
    predicted = torch.cat([masks("##.."), masks("#...")], 1)
    target = torch.cat([masks("##.."), masks(".###")], 1)
    scores = score(predicted, target)
    assert scores.pooled["dsc"].tolist() == [1.0, 0.0]
    assert scores.summary("pooled").overall["dsc"] == 0.5
    assert scores.micro["dsc"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 3))


def test_soft_dsc_by_hand():
    probabilities = torch.tensor([[[[0.5, 0.8, 0.1]]]])
    scores = score(probabilities > 0.5, masks("##."), probabilities=probabilities)
    # 2 (0.25 + 0.64) / (0.25 + 0.64 + 0.01 + 2)
    assert scores.volume["soft_dsc"].item() == pytest.approx(1.78 / 2.90)
    assert score(masks("##."), masks("##.")).volume["soft_dsc"].item() == 1.0


def test_absent_structure_has_no_score_and_a_false_alarm_scores_zero():
    empty, full = masks("...", "..."), masks("...", "#..")
    probabilities = torch.full((2, 1, 1, 3), 0.01)  # never quite 0: equation 4 would give 0 for a right answer
    absent = score(empty, empty, probabilities=probabilities)
    assert all(math.isnan(absent.volume[metric].item()) for metric in METRICS)
    assert absent.correctly_absent.tolist() == [[True]]
    assert absent.summary().counted["dsc"].tolist() == [0]
    assert absent.summary().correctly_absent.tolist() == [1]
    alarm = score(full, empty)
    assert [alarm.volume[m].item() for m in ("dsc", "soft_dsc", "jsc", "precision", "f1")] == [0.0] * 5
    assert math.isnan(alarm.volume["recall"].item())
    assert not alarm.correctly_absent.any()
    assert math.isnan(alarm.slices["dsc"][0].item())
    assert alarm.slice["dsc"].item() == 0.0  # of the one slice that has something to measure
    missed = score(empty, full)
    assert [missed.volume[m].item() for m in ("dsc", "soft_dsc", "jsc", "recall", "f1")] == [0.0] * 5
    assert math.isnan(missed.volume["precision"].item())


def test_structure_that_is_not_annotated_enters_nowhere():
    predicted, probabilities, target = random_case(0)
    patients = ["a", "a", "a", "b", "b", "b"]
    annotated = torch.ones(6, 3, dtype=torch.bool)
    annotated[:3, 1] = False
    scores = score(predicted, target, probabilities=probabilities, annotated=annotated, patients=patients)
    only_b = score(predicted[3:], target[3:], probabilities=probabilities[3:], patients=patients[3:])
    for metric in METRICS:
        assert scores.volume[metric][0, 1].isnan()
        assert scores.slice[metric][0, 1].isnan()
        assert scores.slices[metric][:3, 1].isnan().all()
        assert scores.pooled[metric][1] == only_b.pooled[metric][1]
    assert scores.annotated.tolist() == [[True, False, True], [True, True, True]]
    assert not scores.correctly_absent[0, 1]
    assert scores.summary().counted["dsc"].tolist() == [2, 1, 2]
    blind = target.clone()
    blind[:3, 1] = True  # whatever lies in an unannotated target
    again = score(predicted, blind, probabilities=probabilities, annotated=annotated, patients=patients)
    assert again.micro == scores.micro


def test_agrees_with_scikit_learn():
    predicted, probabilities, target = random_case(1)
    scores = score(predicted, target, probabilities=probabilities)
    references = {"f1": f1_score, "dsc": f1_score, "jsc": jaccard_score, "precision": precision_score}
    references["recall"] = recall_score
    for metric, reference in references.items():
        for c in range(3):
            expected = reference(target[:, c].flatten(), predicted[:, c].flatten())
            assert scores.volume[metric][0, c].item() == pytest.approx(expected, abs=1e-12)
            for i, found in enumerate(scores.slices[metric][:, c].tolist()):
                if not math.isnan(found):
                    expected = reference(target[i, c].flatten(), predicted[i, c].flatten())
                    assert found == pytest.approx(expected, abs=1e-12)
        assert scores.micro[metric] == pytest.approx(reference(target.flatten(), predicted.flatten()), abs=1e-12)


def test_agrees_with_torchmetrics():
    predicted, _, target = random_case(2)
    scores = score(predicted, target)
    with pytest.warns(UserWarning, match="currently defaults"):  # raised though the average is given
        dice = DiceScore(3, average="micro", input_format="one-hot", aggregation_level="global")
    assert scores.micro["dsc"] == pytest.approx(float(dice(predicted.long(), target.long())), abs=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (31, 33), (32, 32), (65, 129), (128, 128)])
def test_counts_at_any_size(size):
    generator = torch.Generator().manual_seed(3)
    predicted = torch.rand(3, 2, *size, generator=generator) < 0.5
    target = torch.rand(3, 2, *size, generator=generator) < 0.5
    predicted[1], target[1] = True, True  # the fullest bytes that the packed sum meets
    wanted = 2 * (predicted & target).sum((2, 3)) / (predicted.sum((2, 3)) + target.sum((2, 3)))
    # A part of a larger tensor: neither contiguous nor aligned to eight bytes.
    scores = score(predicted, target, batch=1)
    assert scores.slices["dsc"].float().numpy() == pytest.approx(wanted.numpy(), nan_ok=True)
    turned = score(predicted.mT, target.mT, batch=3)
    assert turned.slices["dsc"].numpy() == pytest.approx(scores.slices["dsc"].numpy(), nan_ok=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_soft_sums_are_taken_in_float32(dtype):
    probabilities = torch.full((1, 1, 256, 256), 0.5, dtype=dtype)  # sum p^2 = 16384 stays exact; 1e-3 steps would not
    target = torch.ones(1, 1, 256, 256, dtype=torch.bool)
    scores = score(target, target, probabilities=probabilities)
    assert scores.volume["soft_dsc"].item() == 2 * 16384 / (16384 + 65536)


def test_repeated_slices_count_once_and_the_first_wins():
    predicted, probabilities, target = random_case(4)
    patients = ["a", "a", "b", "b", "b", "b"]
    once = score(predicted, target, probabilities=probabilities, patients=patients)
    repeated = score(
        torch.cat([predicted, ~predicted[:2]]),
        torch.cat([target, target[:2]]),
        probabilities=torch.cat([probabilities, probabilities[:2]]),
        patients=patients + patients[:2],
        slices=torch.tensor([0, 1, 2, 3, 4, 5, 0, 1]),
    )
    assert torch.equal(repeated.slice_keys, once.slice_keys)
    for metric in METRICS:
        assert torch.equal(repeated.volume[metric].nan_to_num(-1), once.volume[metric].nan_to_num(-1))
    assert repeated.micro == once.micro


def test_reset_and_a_patient_without_slices():
    metric = OverlapMetrics(["a", "b"], ["s0"])
    arguments = {"annotated": torch.ones(1, 1, dtype=torch.bool), "slices": torch.tensor([0])}
    metric.update(masks("##."), masks("##.").float(), masks("#.."), patients=["a"], **arguments)
    assert metric.compute().annotated.tolist() == [[True], [False]]
    metric.reset()
    assert metric(masks("#.."), masks("#..").float(), masks("#.."), patients=["b"], **arguments) is None
    scores = metric.compute()
    assert scores.volume["dsc"][0].isnan()
    assert scores.volume["dsc"][1] == 1.0
    assert [row["patient"] for row in scores.rows() if row["averaging"] == "volume"] == ["b"] * len(METRICS)


def test_no_slice_at_all_gives_no_value():
    metric = OverlapMetrics(["a"], ["s0"])
    with pytest.warns(UserWarning, match="before the ``update``"):
        scores = metric.compute()
    assert scores.volume["dsc"].shape == (1, 1)
    assert math.isnan(scores.micro["dsc"])
    assert math.isnan(scores.summary().overall["dsc"])


def test_bad_input():
    predicted, probabilities, target = random_case(5, n=2)
    metric = OverlapMetrics(["a"], ["x", "y", "z"])
    good = {"annotated": torch.ones(2, 3, dtype=torch.bool), "patients": ["a", "a"], "slices": torch.tensor([4, 5])}
    with pytest.raises(ValueError, match=r"target has shape \(2, 2, 9, 11\), expected .*\(2, 3, h, w\)"):
        metric.update(predicted, probabilities, target[:, :2], **good)
    with pytest.raises(ValueError, match=r"predicted has shape \(2, 2, 9, 11\)"):
        metric.update(predicted[:, :2], probabilities, target, **good)
    with pytest.raises(ValueError, match=r"probabilities has shape \(2, 2, 9, 11\)"):
        metric.update(predicted, probabilities[:, :2], target, **good)
    with pytest.raises(ValueError, match=r"annotated has shape \(3,\)"):
        metric.update(predicted, probabilities, target, **good | {"annotated": torch.ones(3, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"target torch\.int64: expected bool"):
        metric.update(predicted, probabilities, target.long(), **good)
    with pytest.raises(ValueError, match=r"annotated is torch\.float32 .*expected bool"):
        metric.update(predicted, probabilities, target, **good | {"annotated": torch.ones(2, 3)})
    with pytest.raises(ValueError, match=r"slices torch\.float32: expected .*whole numbers"):
        metric.update(predicted, probabilities, target, **good | {"slices": torch.tensor([4.0, 5.0])})
    with pytest.raises(NasosegError, match="'b' is not one of the 1 patients"):
        metric.update(predicted, probabilities, target, **good | {"patients": ["a", "b"]})
    probabilities[1, 2, 0, 0] = math.nan
    with pytest.raises(NasosegError, match="patient a, slice 5 holds NaN"):
        metric.update(predicted, probabilities, target, **good)
    with pytest.raises(NasosegError, match="each once"):
        OverlapMetrics(["a", "a"], ["x"])
    with pytest.raises(NasosegError, match="'x' is listed twice"):
        OverlapMetrics(["a"], ["x", "x"])


@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 20))
@settings(deadline=None, max_examples=30)
def test_laws(seed, h, w):
    predicted, _, target = random_case(seed, n=2, h=h, w=w)
    scores, swapped = score(predicted, target), score(target, predicted)
    dsc, jsc = scores.volume["dsc"], scores.volume["jsc"]
    assert jsc.numpy() == pytest.approx((dsc / (2 - dsc)).numpy(), nan_ok=True)
    assert scores.volume["f1"].numpy() == pytest.approx(dsc.numpy(), nan_ok=True)
    assert swapped.volume["dsc"].numpy() == pytest.approx(dsc.numpy(), nan_ok=True)
    assert swapped.volume["recall"].numpy() == pytest.approx(scores.volume["precision"].numpy(), nan_ok=True)
    for values in scores.volume.values():
        defined = values[~values.isnan()]
        assert ((defined >= 0) & (defined <= 1)).all()

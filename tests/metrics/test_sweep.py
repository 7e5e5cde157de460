"""ThresholdSweep: a number by hand, OverlapMetrics at every threshold, repeated slices, missing structures."""

import math

import pytest
import torch

from nasoseg.errors import NasosegError
from nasoseg.metrics import OverlapMetrics
from nasoseg.metrics.sweep import ThresholdSweep


def test_by_hand():
    scores = torch.tensor([[[[0.1, 0.3, 0.6, 0.9]]], [[[0.6, 0.2, 0.2, 0.2]]]])
    target = torch.tensor([[[[False, True, False, True]]], [[[True, False, False, False]]]])
    sweep = ThresholdSweep(["a"], ["s"], torch.tensor([0.2, 0.5, 0.95]))
    sweep.update(scores, target, annotated=torch.ones(2, 1).bool(), patients=["a", "a"], slices=torch.tensor([0, 1]))
    # Above 0.2: three pixels and one, three of them right (0.2 itself is not above); true are three.
    expected = [2 * 3 / (4 + 3), 2 * 2 / (3 + 3), 0.0]
    assert sweep.compute()[:, 0, 0].tolist() == pytest.approx(expected)


def test_a_checkpoint_keeps_no_threshold():
    assert "thresholds" not in ThresholdSweep(["a"], ["s"], torch.tensor([0.5])).state_dict()


def test_is_what_overlap_metrics_gives_at_each_threshold():
    generator = torch.Generator().manual_seed(0)
    patients, labels = ["a", "b", "c"], ["one", "two", "three"]
    thresholds = torch.tensor([-1.5, -0.2, 0.0, 0.7, 2.0])
    sweep = ThresholdSweep(patients, labels, thresholds)
    overlaps = [OverlapMetrics(patients, labels) for _ in thresholds]
    # b's structure two is not annotated, c's structure three is absent; slice 1 of a comes twice, the second differs.
    for keys, slices in ((["a", "a", "b"], [0, 1, 4]), (["a", "c"], [1, 2]), (["b", "c"], [5, 3])):
        scores = torch.randn(len(keys), 3, 9, 7, generator=generator).round(decimals=1)
        target = torch.rand(scores.shape, generator=generator) < 0.3
        target[[key == "c" for key in keys], 2] = False
        about = {
            "annotated": torch.tensor([[True, key != "b", True] for key in keys]),
            "patients": keys,
            "slices": torch.tensor(slices),
        }
        sweep.update(scores, target, **about)
        for threshold, overlap in zip(thresholds, overlaps, strict=True):
            overlap.update(scores > threshold, scores.sigmoid(), target, **about)
    expected = torch.stack([overlap.compute().volume["dsc"] for overlap in overlaps])
    torch.testing.assert_close(sweep.compute(), expected, equal_nan=True)
    assert expected[:, 1, 1].isnan().all()
    assert (expected[:, 2, 2] == 0).any()


def test_nothing_there_and_nothing_predicted_has_no_value():
    sweep = ThresholdSweep(["a", "b"], ["s"], torch.tensor([0.5, 0.8]))
    scores = torch.full((1, 1, 2, 2), 0.6)
    sweep.update(scores, scores > 1, annotated=torch.ones(1, 1).bool(), patients=["a"], slices=torch.tensor([0]))
    (found, missed), (unseen, _) = sweep.compute()[:, :, 0].T.tolist()
    assert found == 0
    assert math.isnan(missed)
    assert math.isnan(unseen)


def test_a_batch_without_a_slice_changes_nothing():
    sweep = ThresholdSweep(["a"], ["s"], torch.tensor([0.5]))
    nothing = torch.zeros(0, 1, 2, 2)
    sweep.update(
        nothing,
        nothing.bool(),
        annotated=torch.zeros(0, 1).bool(),
        patients=[],
        slices=torch.zeros(0, dtype=torch.int64),
    )
    assert sweep.compute().isnan().all()


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="ascending"):
        ThresholdSweep(["a"], ["s"], torch.tensor([0.5, 0.5]))
    sweep = ThresholdSweep(["a"], ["s"], torch.tensor([0.5]))
    scores = torch.zeros(1, 1, 2, 2)
    about = {"annotated": torch.ones(1, 1).bool(), "slices": torch.tensor([0])}
    with pytest.raises(NasosegError, match="'z' is not one of"):
        sweep.update(scores, scores > 1, patients=["z"], **about)
    with pytest.raises(ValueError, match="scores has shape"):
        sweep.update(scores[0], scores > 1, patients=["a"], **about)
    with pytest.raises(ValueError, match="target has shape"):
        sweep.update(scores, scores[..., 1:] > 1, patients=["a"], **about)

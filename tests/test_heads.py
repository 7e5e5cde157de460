import numpy as np
import pytest
import torch
from torch import nn

import nasoseg
from nasoseg import heads
from nasoseg.models import Coupling


@pytest.mark.parametrize(("dtype", "bits"), [(np.int32, 16), (np.int64, 64)])
def test_every_bit_becomes_its_mask(dtype, bits):
    rng = np.random.default_rng(0)
    masks = rng.random((2, bits, 4, 5)) < 0.5
    planes = np.zeros((2, 4, 5), np.uint64)
    for bit in range(bits):
        planes |= masks[:, bit].astype(np.uint64) << np.uint64(bit)
    expanded = heads.expand_planes(torch.from_numpy(planes.astype(np.uint64).view(np.int64).astype(dtype)), bits)
    assert expanded.dtype == torch.bool
    np.testing.assert_array_equal(expanded.numpy(), masks)


def test_the_later_structure_wins_where_they_overlap():
    target = torch.tensor([[[[1, 1, 0]], [[0, 1, 0]]]], dtype=torch.bool)
    assert heads.one_label(target).tolist() == [[[1, 2, 0]]]


def test_multilabel_decides_by_one_half_and_multiclass_by_the_likeliest():
    logits = torch.tensor([0.1, -0.1, 3.0]).view(1, 3, 1, 1)
    assert heads.decide(logits, "multilabel").flatten().tolist() == [True, False, True]
    assert heads.decide(logits, "multiclass").flatten().tolist() == [False, True]
    assert heads.decide(logits - torch.tensor([0, 0, 9.0]).view(1, 3, 1, 1), "multiclass").flatten().tolist() == [
        False,
        False,
    ]


def test_structure_logits_of_a_softmax_are_log_odds():
    logits = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    p = heads.structure_probabilities(logits, "multiclass")
    torch.testing.assert_close(heads.structure_logits(logits, "multiclass").sigmoid(), p)
    assert torch.isfinite(heads.structure_logits(torch.tensor([0.0, 500.0]).view(1, 2, 1, 1), "multiclass")).all()
    assert heads.channels(4, "multiclass") == 5
    assert heads.channels(4, "multilabel") == 4


@pytest.mark.parametrize(
    "made",
    [
        lambda head: nasoseg.TwoStageUNet(labels=["Brainstem"], width=4, head=head),
        lambda head: nasoseg.UNet(labels=["Brainstem"], width=4, head=head),
        lambda head: nasoseg.SingleNetwork(labels=["Brainstem"], network=nn.Conv2d(1, 1, 1), head=head),
        lambda head: nasoseg.DiceLoss(head=head),
        lambda head: nasoseg.FocalLoss(head=head),
        lambda head: nasoseg.DiceFocalLoss(head=head),
        Coupling,
    ],
)
def test_an_unknown_head_is_refused(made):
    """It was one head for the channels and the other for the probabilities, and the focal loss took it for sigmoids."""
    with pytest.raises(ValueError, match="head 'softmax': expected one of 'multilabel', 'multiclass'"):
        made("softmax")

"""What mutation testing found untested in the losses: means over structures, arguments that are passed on, bounds."""

import math

import pytest
import torch
from torch import Tensor, nn

from nasoseg.losses import DiceFocalLoss, DiceLoss, FocalLoss, StagedLoss


def scene(head: str = "multilabel") -> tuple[Tensor, Tensor]:
    """Logits (2, 3, 4, 4) and masks (2, 2 or 3, 4, 4) of structures of different size that never overlap."""
    logits = torch.linspace(-2, 2, 96, dtype=torch.float64).roll(17).view(2, 3, 4, 4)
    target = torch.zeros(2, 3 if head == "multilabel" else 2, 4, 4, dtype=torch.bool)
    target[:, 0, :2] = True
    target[0, 1, 3, 1:] = True
    return logits, target


def dice_of(p: Tensor, r: Tensor, e: float) -> float:
    inside = ((p * r).sum() + e) / ((p + r).sum() + 2 * e)
    outside = (((1 - p) * (1 - r)).sum() + e) / ((2 - p - r).sum() + 2 * e)
    return float(1 - inside - outside)


def test_dice_is_the_mean_over_structures():
    logits, target = scene()
    p, r = logits.sigmoid(), target.double()
    each = [dice_of(p[:, k], r[:, k], 0.5) for k in range(3)]
    assert DiceLoss(absent=True)(logits, target).item() == pytest.approx(sum(each) / 3, rel=1e-5)
    assert DiceLoss()(logits, target).item() == pytest.approx(sum(each[:2]) / 2, rel=1e-5)  # the third is nowhere


def test_multiclass_dice_and_focal_are_of_the_softmax():
    logits, target = scene("multiclass")
    p, r = logits.softmax(dim=1), target.double()
    each = [dice_of(p[:, k + 1], r[:, k], 0.5) for k in range(2)]
    assert DiceLoss(head="multiclass")(logits, target).item() == pytest.approx(sum(each) / 2, rel=1e-5)
    own = torch.cat([1 - r.sum(dim=1, keepdim=True), r], dim=1)
    true_p = (p * own).sum(dim=1)
    weight = torch.where(own[:, 0] > 0, 0.2, 0.8)  # background, structures
    expected = (weight * (1 - true_p) ** 3 * -true_p.log()).mean()
    found = FocalLoss(head="multiclass", alpha=0.8, gamma=3, balanced=False)(logits, target)
    assert found.item() == pytest.approx(float(expected), rel=1e-5)


def test_the_default_head_is_multilabel():
    logits, target = scene()
    for loss in (DiceLoss, FocalLoss, DiceFocalLoss):
        assert torch.equal(loss()(logits, target), loss(head="multilabel")(logits, target))
        with pytest.raises(ValueError, match="expected"):
            loss(head="multiclass")(logits, target)


@pytest.mark.parametrize("argument", [{"epsilon": 0.01}, {"printed": True}, {"absent": True}, {"alpha": 0.2},
                                      {"gamma": 0.5}, {"balanced": False}, {"beta": 0.7}])  # fmt: skip
def test_every_argument_reaches_its_part_of_the_mix(argument):
    logits, target = scene()
    given = {"epsilon": 0.5, "printed": False, "absent": False, "alpha": 0.75, "gamma": 2.0, "beta": 0.1,
             "balanced": True}  # fmt: skip
    assert DiceFocalLoss()(logits, target) == DiceFocalLoss(**given)(logits, target)
    given |= argument
    dice = DiceLoss(**{name: given[name] for name in ("epsilon", "printed", "absent")})(logits, target)
    focal = FocalLoss(**{name: given[name] for name in ("alpha", "gamma", "balanced")})(logits, target)
    mixed = given["beta"] * dice + (1 - given["beta"]) * focal
    found = DiceFocalLoss(**argument)(logits, target)
    assert found.item() == pytest.approx(mixed.item(), rel=1e-6)
    assert abs(found.item() - DiceFocalLoss()(logits, target).item()) > 1e-5


@pytest.mark.parametrize(("loss", "argument"), [
    (DiceLoss, {"epsilon": 0}), (DiceLoss, {"epsilon": 1}), (FocalLoss, {"alpha": 0}), (FocalLoss, {"alpha": 1}),
    (FocalLoss, {"gamma": -0.1}), (DiceFocalLoss, {"beta": 0}), (DiceFocalLoss, {"beta": 1}),
])  # fmt: skip
def test_ends_of_the_ranges_are_refused(loss, argument):
    with pytest.raises(ValueError, match="expected"):
        loss(**argument)


def test_flags_of_another_shape_are_refused_by_every_loss():
    logits, target = scene()
    for loss in (DiceLoss(), FocalLoss(), DiceFocalLoss()):
        with pytest.raises(ValueError, match="one flag an image and structure"):
            loss(logits, target, torch.ones(2, 2, dtype=torch.bool))


class Recorded(nn.Module):
    """Costs what the stage's number says, and remembers what it was called with."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, logits: Tensor, target: Tensor, annotated: Tensor | None = None) -> Tensor:
        self.calls.append((target, annotated))
        return logits.sum()


def test_stages_are_weighted_and_all_told_what_is_annotated():
    loss, target, annotated = Recorded(), torch.ones(1), torch.zeros(1)
    stages = [torch.tensor([3.0]), torch.tensor([5.0])]
    mean, each = StagedLoss(loss)(stages, target, annotated)
    assert (mean, [float(one) for one in each]) == (4, [3, 5])
    assert all(one is target and flags is annotated for one, flags in loss.calls)
    assert StagedLoss(loss, weights=[0, 0.5])(stages, target)[0] == 5
    assert StagedLoss(loss, weights=[3, 1])(stages, target)[0] == 3.5
    assert StagedLoss(loss)(stages[:1], target)[0] == 3
    for weights in ([0, 0], [-1, 3], []):
        with pytest.raises(ValueError, match="numbers of 0 or more, not all 0"):
            StagedLoss(loss, weights=weights)
    with pytest.raises(ValueError, match="2 weights for 1 stages"):
        StagedLoss(loss, weights=[1, 1])(stages[:1], target)


def test_a_structure_that_was_not_annotated_costs_nothing_at_any_stage():
    logits, target = scene()
    annotated = torch.tensor([[True, False, True], [True, True, True]])
    stages = [logits.clone().requires_grad_() for _ in range(2)]
    mean, _ = StagedLoss(DiceFocalLoss())(stages, target, annotated)
    for gradient in torch.autograd.grad(mean, stages):
        assert (gradient[0, 1] == 0).all()
        assert (gradient[1, 1] != 0).all()
    assert math.isfinite(mean.item())


@pytest.mark.parametrize("head", ["multilabel", "multiclass"])
def test_masks_of_0_and_255_are_masks(head):
    logits, target = scene(head)
    for loss in (DiceLoss(head=head), FocalLoss(head=head), DiceFocalLoss(head=head)):
        assert torch.equal(loss(logits, target.to(torch.uint8) * 255), loss(logits, target))

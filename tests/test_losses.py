"""Every equation against a number worked by hand, an independent reference, and float64 finite differences."""

import math

import pytest
import torch
import torch.nn.functional as F

from nasoseg.losses import DiceFocalLoss, DiceLoss, FocalLoss, StagedLoss

SURE = 40.0  # a logit whose sigmoid is 1 to double precision


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def image(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def test_dice_worked_by_hand():
    # p = (3/4, 1/4), r = (1, 0), e = 1/2: sum pr = 3/4, sum p + r = 2; sum (1-p)(1-r) = 3/4, sum 2 - p - r = 2.
    logits, target = image(logit(0.75), logit(0.25)), image(1, 0).bool()
    # 1 - 1.25 / 3 - 1.25 / 3 = 1/6 with 2e; 1 - 1.25 / 2.5 - 1.25 / 2.5 = 0 as printed.
    assert DiceLoss(epsilon=0.5)(logits, target).item() == pytest.approx(1 / 6, abs=1e-6)
    assert DiceLoss(epsilon=0.5, printed=True)(logits, target).item() == pytest.approx(0, abs=1e-6)


def test_an_absent_structure_rightly_empty_costs_nothing_or_minus_a_half_as_printed():
    logits, target = torch.full((1, 1, 64, 64), -SURE), torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    assert DiceLoss(absent=True)(logits, target).item() == pytest.approx(0, abs=1e-6)
    # As printed: 1 - e/e - (4096 + e) / (8192 + e), about -1/2.
    assert DiceLoss(absent=True, printed=True)(logits, target).item() == pytest.approx(-0.5, abs=1e-3)


def test_a_structure_that_the_batch_lacks_is_left_to_the_focal_loss():
    torch.manual_seed(0)
    logits = torch.randn(2, 2, 8, 8, requires_grad=True)
    target = torch.zeros(2, 2, 8, 8, dtype=torch.bool)
    target[0, 0, :3] = True  # the first structure is in one image, the second in none
    (gradient,) = torch.autograd.grad(DiceLoss()(logits, target), logits)
    assert (gradient[:, 0] != 0).all()
    assert (gradient[:, 1] == 0).all()
    (gradient,) = torch.autograd.grad(DiceLoss(absent=True)(logits, target), logits)
    assert (gradient[:, 1] > 0).all()
    (gradient,) = torch.autograd.grad(DiceFocalLoss()(logits, target), logits)
    assert (gradient[:, 1] > 0).all()


@pytest.mark.parametrize("everywhere", [False, True])
def test_dice_is_0_for_a_perfect_and_1_for_a_wrong_prediction(everywhere):
    target = torch.ones(2, 1, 64, 64, dtype=torch.bool)
    if not everywhere:
        target[..., 20:] = False
    toward = torch.where(target, SURE, -SURE)
    assert DiceLoss()(toward, target).item() == pytest.approx(0, abs=1e-4)
    assert DiceLoss()(-toward, target).item() == pytest.approx(1, abs=1e-3)


def test_focal_worked_by_hand():
    logits, target = image(logit(0.9), logit(0.2)), image(1, 0).bool()
    # a (1-p)^2 (-log p) = 0.75 * 0.01 * 0.10536; (1-a) p^2 (-log (1-p)) = 0.25 * 0.04 * 0.22314; mean of the two.
    expected = (0.75 * 0.1**2 * -math.log(0.9) + 0.25 * 0.2**2 * -math.log(0.8)) / 2
    assert FocalLoss(alpha=0.75, gamma=2)(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_focal_without_focus_is_half_the_cross_entropy():
    logits, target = torch.randn(2, 3, 8, 8), torch.rand(2, 3, 8, 8) < 0.3
    expected = F.binary_cross_entropy_with_logits(logits, target.float()) / 2
    torch.testing.assert_close(FocalLoss(alpha=0.5, gamma=0, balanced=False)(logits, target), expected)


def test_multiclass_focal_without_focus_is_half_the_softmax_cross_entropy():
    logits, truth = torch.randn(2, 4, 8, 8), torch.randint(0, 4, (2, 8, 8))
    target = F.one_hot(truth, 4).movedim(-1, 1)[:, 1:].bool()
    loss = FocalLoss(head="multiclass", alpha=0.5, gamma=0, balanced=False)(logits, target)
    torch.testing.assert_close(loss, F.cross_entropy(logits, truth) / 2)


@pytest.mark.parametrize("head", ["multilabel", "multiclass"])
def test_balanced_focal_worked_by_hand(head):
    # Of 400 pixels 80 are of structure 1, 2 of structure 2, none of structure 3. The mean of those there is 41:
    # structure 1 keeps its weight, structure 2 weighs 20.5 times as much, structure 3 is not there and keeps its own.
    background = int(head == "multiclass")
    target = torch.zeros(1, 3, 20, 20, dtype=torch.bool)
    target[0, 0, :4], target[0, 1, 10, :2] = True, True
    logits = torch.randn(1, 3 + background, 20, 20, generator=torch.manual_seed(0))
    if head == "multilabel":
        ce = F.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
        expected = (ce * torch.tensor([1, 20.5, 1]).view(1, 3, 1, 1)).mean() / 2
    else:
        weights = torch.tensor([1, 1, 20.5, 1])
        truth = torch.cat([~target.any(dim=1, keepdim=True), target], dim=1).float().argmax(dim=1)
        expected = F.cross_entropy(logits, truth, weight=weights, reduction="sum") / 400 / 2
    torch.testing.assert_close(FocalLoss(head=head, alpha=0.5, gamma=0)(logits, target), expected)
    target[0, 1, 10, 1] = False  # 80 and 1: 40.5 times, but 30 is the most
    if head == "multilabel":
        ce = F.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
        expected = (ce * torch.tensor([1, 30, 1]).view(1, 3, 1, 1)).mean() / 2
        torch.testing.assert_close(FocalLoss(alpha=0.5, gamma=0)(logits, target), expected)


def test_pixels_of_an_image_where_a_structure_was_not_annotated_do_not_enter_its_balance():
    logits = torch.randn(2, 2, 8, 8, generator=torch.manual_seed(0))
    target = torch.zeros(2, 2, 8, 8, dtype=torch.bool)
    target[0, 0, :4], target[0, 1, 0, :2] = True, True
    annotated = torch.tensor([[True, True], [True, False]])
    loss = FocalLoss()(logits, target, annotated)
    target[1, 1] = True
    torch.testing.assert_close(FocalLoss()(logits, target, annotated), loss)


def test_multiclass_focal_worked_by_hand():
    # Softmax (0.7, 0.2, 0.1); the pixel is of structure 1: a (1 - 0.2)^2 (-log 0.2).
    logits = torch.tensor([0.7, 0.2, 0.1]).log().view(1, 3, 1, 1)
    target = torch.tensor([True, False]).view(1, 2, 1, 1)
    expected = 0.75 * 0.8**2 * -math.log(0.2)
    assert FocalLoss(head="multiclass")(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_multiclass_dice_worked_by_hand():
    # Two pixels with softmax (1/2, 1/2), the first is the structure: as the multi-label case with p = 1/2.
    logits = torch.zeros(1, 2, 1, 2)
    target = torch.tensor([True, False]).view(1, 1, 1, 2)
    # 1 - (0.5 + 0.5) / (2 + 1) - (0.5 + 0.5) / (2 + 1) = 1/3
    assert DiceLoss(head="multiclass", epsilon=0.5)(logits, target).item() == pytest.approx(1 / 3, abs=1e-6)


def test_where_structures_overlap_the_later_one_counts_in_the_softmax_loss():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 4, 8, 8), torch.rand(2, 3, 8, 8) < 0.5
    alone = target.clone()
    alone[:, 0] &= ~target[:, 1] & ~target[:, 2]
    alone[:, 1] &= ~target[:, 2]
    annotated = torch.tensor([[True, True, True], [True, True, False]])
    alone[1, 0], alone[1, 1] = target[1, 0] & ~target[1, 1], target[1, 1]  # nobody drew the last one there
    for loss in DiceLoss(head="multiclass"), FocalLoss(head="multiclass"):
        torch.testing.assert_close(loss(logits, target, annotated), loss(logits, alone, annotated))


def test_mixture():
    logits, target = torch.randn(2, 3, 8, 8), torch.rand(2, 3, 8, 8) < 0.3
    mixed = DiceFocalLoss(beta=0.3)(logits, target)
    torch.testing.assert_close(mixed, 0.3 * DiceLoss()(logits, target) + 0.7 * FocalLoss()(logits, target))


def test_stages_are_weighted():
    target = torch.rand(1, 2, 8, 8) < 0.3
    stages = [torch.randn(1, 2, 8, 8), torch.randn(1, 2, 8, 8)]
    mean, (first, second) = StagedLoss(DiceLoss(), weights=[1, 3])(stages, target)
    torch.testing.assert_close(mean, (first + 3 * second) / 4)
    torch.testing.assert_close(StagedLoss(DiceLoss())(stages, target)[0], (first + second) / 2)
    with pytest.raises(ValueError, match="2 weights for 1 stages"):
        StagedLoss(DiceLoss(), weights=[1, 3])(stages[:1], target)


@pytest.mark.parametrize("head", ["multilabel", "multiclass"])
def test_what_was_not_annotated_costs_nothing(head):
    torch.manual_seed(0)
    background = int(head == "multiclass")
    logits = torch.randn(3, 2 + background, 8, 8)
    target = torch.rand(3, 2, 8, 8) < 0.3
    annotated = torch.tensor([[True, True], [True, False], [True, True]])
    loss = DiceFocalLoss(head=head)
    base = loss(logits, target, annotated)
    other_masks = target.clone()
    other_masks[1, 1] = ~other_masks[1, 1]
    torch.testing.assert_close(loss(logits, other_masks, annotated), base)
    assert not torch.isclose(loss(logits, other_masks), loss(logits, target))
    if head == "multilabel":
        other_logits = logits.clone()
        other_logits[1, 1] += 3
        torch.testing.assert_close(loss(other_logits, target, annotated), base)


def test_multiclass_merges_an_undrawn_structure_with_the_background():
    # Nobody drew structure 2, so on a background pixel its probability counts as background: -log(0.2 + 0.7).
    logits = torch.tensor([0.2, 0.1, 0.7]).log().view(1, 3, 1, 1)
    target = torch.zeros(1, 2, 1, 1, dtype=torch.bool)
    focal = FocalLoss(head="multiclass", alpha=0.5, gamma=0)
    loss = focal(logits, target, torch.tensor([[True, False]]))
    assert loss.item() == pytest.approx(-0.5 * math.log(0.9), rel=1e-5)


def test_nothing_annotated_is_no_loss_and_no_nan():
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    target = torch.zeros(2, 3, 8, 8, dtype=torch.bool)
    loss = DiceFocalLoss()(logits, target, torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("head", ["multilabel", "multiclass"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradient_equals_finite_differences(head, gamma, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self.double())  # the losses compute in float32 otherwise
    torch.manual_seed(0)
    logits = torch.randn(2, 2 + (head == "multiclass"), 3, 4, dtype=torch.float64, requires_grad=True)
    target = torch.rand(2, 2, 3, 4) < 0.4
    annotated = torch.tensor([[True, False], [True, True]])
    loss = DiceFocalLoss(head=head, gamma=gamma)
    assert torch.autograd.gradcheck(lambda x: loss(x, target, annotated), (logits,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("head", ["multilabel", "multiclass"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_finite_for_any_finite_logit(dtype, head, gamma):
    largest = torch.finfo(dtype).max
    values = torch.tensor([-largest, -100.0, 0.0, 100.0, largest]).to(dtype)
    c = 1 + (head == "multiclass")
    logits = torch.cartesian_prod(*[values] * c).view(-1, c).T.reshape(1, c, 1, -1).clone().requires_grad_()
    for truth in (False, True):
        target = torch.full((1, 1, 1, logits.shape[-1]), truth)
        loss = DiceFocalLoss(head=head, gamma=gamma)(logits, target)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


def test_half_precision_logits_lose_no_more_than_their_rounding():
    logits, target = torch.randn(2, 3, 64, 64), torch.rand(2, 3, 64, 64) < 0.1
    exact = DiceFocalLoss()(logits, target)
    for dtype in (torch.bfloat16, torch.float16):
        torch.testing.assert_close(DiceFocalLoss()(logits.to(dtype), target), exact, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DiceLoss(epsilon=0), "epsilon"),
        (lambda: FocalLoss(alpha=1), "alpha"),
        (lambda: FocalLoss(gamma=-1), "gamma"),
        (lambda: DiceFocalLoss(beta=1), "beta"),
        (lambda: StagedLoss(DiceLoss(), weights=[0, 0]), "weights"),
        (lambda: DiceLoss()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 4)), r"expected \(1, 3, 4, 4\)"),
        (lambda: FocalLoss()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 4)), "for multilabel masks"),
        (lambda: DiceLoss()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), torch.ones(2)), "annotated"),
        (lambda: DiceLoss()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4)), r"target \(1, 4, 4\): expected masks"),
        (lambda: FocalLoss()(torch.zeros(1, 2, 4, 4, 4), torch.zeros(1, 2, 4, 4, 4)), "of 2-D slices"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()

"""The paper's loss: two-sided Dice and focal, on every stage (method: Luo et al. 2020, eqs. 1-3).

All take logits (b, c, h, w), masks (b, k, h, w) and, for partial annotation, ``annotated`` (b, k): a structure that
was not drawn in a patient adds nothing there. They compute in float32 whatever the precision of the logits, and the
value and the gradient are finite for any finite logit.

Where several processes train together (DDP), every loss is that of the images of all processes: the Dice of each
share would be another loss, and make another model. Every process must then call the loss equally often.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn

from nasoseg.heads import Head, checked_head, expand_classes, one_label
from nasoseg.pixel_sums import LARGEST_LOGIT, PixelSums, sum_pixels

_LARGEST_WEIGHT = 30.0
"""Of a small structure's pixels in the balanced focal loss: a few pixels of a crop must not drown all others."""


class DiceLoss(nn.Module):
    r"""Compute the two-sided Dice loss, per structure over all pixels of the batch (eq. 1).

    .. math:: 1 - \frac{\sum p r + e}{\sum (p + r) + 2e} - \frac{\sum (1-p)(1-r) + e}{\sum (2 - p - r) + 2e}

    A perfect prediction costs 0 in the limit of many pixels, a structure that is rightly found absent costs 0, the
    worst costs 1. The paper prints e, not 2e, in the denominators: an absent, rightly empty structure then costs
    -1/2, so that a batch's loss depends on how many structures it lacks. The value is the mean over the structures
    that are annotated in any image of the batch and, unless ``absent``, drawn in any; 0 where there is none.

    Args:
        head: ``multilabel`` or ``multiclass`` logits.
        epsilon: e, in (0, 1).
        printed: Use the denominators as the paper prints them.
        absent: Count a structure in a batch where no image has it, too. A trap: the loss of such a batch falls only
            once the structure's summed probability is near e, half a pixel in the whole batch. That pushes logits
            down harder than a batch that has the structure pulls them up, and a rare one dies
            (docs/method.md). By default such a batch is left to the focal loss.
    """

    def __init__(
        self, *, head: Head = "multilabel", epsilon: float = 0.5, printed: bool = False, absent: bool = False
    ) -> None:
        super().__init__()
        if not 0 < epsilon < 1:
            raise ValueError(f"epsilon {epsilon}: expected a number between 0 and 1 (eq. 1)")
        self.head: Head = checked_head(head)
        self.epsilon = epsilon
        self.printed = printed
        self.absent = absent

    def forward(self, logits: Tensor, target: Tensor, annotated: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar, for logits (b, c, h, w), masks (b, k, h, w) and ``annotated`` (b, k)."""
        _check_shapes(logits, target, annotated, self.head)
        multilabel = self.head == "multilabel"
        sums = sum_pixels(logits, target) if multilabel else _sums_of_classes(logits, _classes(target, annotated))
        return self.of_sums(sums, target, annotated)

    def of_sums(self, sums: PixelSums, target: Tensor, annotated: Tensor | None) -> Tensor:
        """Return the loss for the sums over pixels."""
        known = _known(target, annotated)
        pixels = torch.full_like(known, target.shape[2] * target.shape[3])
        totals = torch.stack([pixels, sums.drawn, sums.wrong, sums.missed]) * known
        pixels, drawn, wrong, missed = _of_all_processes(totals.sum(dim=1))
        hit, false, empty = drawn - missed, wrong - missed, pixels - drawn
        hit_outside = empty - false
        e, e_below = self.epsilon, self.epsilon * (1 if self.printed else 2)
        inside = (hit + e) / (drawn + hit + false + e_below)
        outside = (hit_outside + e) / (empty + hit_outside + missed + e_below)
        counted = ((pixels if self.absent else drawn) > 0).float()
        mean: Tensor = ((1 - inside - outside) * counted).sum() / counted.sum().clamp(min=1)
        return mean


class FocalLoss(nn.Module):
    r"""Compute the focal loss, mean over the pixels of annotated structures (eq. 2; Lin et al. 2017, eq. 5).

    .. math:: -a (1-p)^g \log p \text{ where } r = 1, \qquad -(1-a) p^g \log(1-p) \text{ where } r = 0

    For ``multiclass``, p is the softmax probability of the pixel's own class, and a weighs structures against
    background: :math:`-a (1-p)^g \log p` on a structure, :math:`-(1-a) (1-p)^g \log p` on background.

    Args:
        head: ``multilabel`` or ``multiclass`` logits.
        alpha: a, in (0, 1): weight of the structures' own pixels. Lin's 0.25 favours the background, which suits
            detectors; small organs want the opposite.
        gamma: g, 0 or more; 0 gives the weighted cross-entropy.
        balanced: Weigh a structure that has fewer pixels in the batch than the structures there have on average by how
            many times fewer, at most ``_LARGEST_WEIGHT`` times. Lin et al. divide by the number of positives (section
            4.1); a mean over pixels leaves a structure of a few pixels so little that it may stay unfound for
            thousands of steps (docs/method.md). False gives eq. 2 as it stands.
    """

    def __init__(
        self, *, head: Head = "multilabel", alpha: float = 0.75, gamma: float = 2.0, balanced: bool = True
    ) -> None:
        super().__init__()
        if not 0 < alpha < 1 or gamma < 0:
            raise ValueError(f"alpha {alpha}, gamma {gamma}: expected 0 < alpha < 1 and gamma >= 0 (eq. 2)")
        self.head: Head = checked_head(head)
        self.alpha = alpha
        self.gamma = gamma
        self.balanced = balanced

    def forward(self, logits: Tensor, target: Tensor, annotated: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar, for logits (b, c, h, w), masks (b, k, h, w) and ``annotated`` (b, k)."""
        _check_shapes(logits, target, annotated, self.head)
        if self.head == "multiclass":
            return self._multiclass(logits.float(), target, annotated)
        return self.of_sums(sum_pixels(logits, target, alpha=self.alpha, gamma=self.gamma), target, annotated)

    def of_sums(self, sums: PixelSums, target: Tensor, annotated: Tensor | None) -> Tensor:
        """Return the loss of overlapping structures for the sums over pixels."""
        known = _known(target, annotated)
        of_images = sums.focal / (target.shape[2] * target.shape[3]) * known
        if self.balanced:
            of_images = of_images * _balance((sums.drawn * known).sum(dim=0), training=of_images.requires_grad)
        return _mean(of_images.sum(), known.sum())

    def _multiclass(self, logits: Tensor, target: Tensor, annotated: Tensor | None) -> Tensor:
        truth = _classes(target, annotated)
        log_p = (
            _merge_unknown(logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT).log_softmax(dim=1), annotated)
            .gather(1, truth.unsqueeze(1))
            .squeeze(1)
        )
        weight = torch.where(truth > 0, self.alpha, 1 - self.alpha)
        if self.balanced:
            drawn = torch.bincount(truth.flatten(), minlength=logits.shape[1])[1:].float()
            balance = _balance(drawn, training=logits.requires_grad)
            weight = weight * torch.cat([torch.ones_like(balance[:1]), balance])[truth]
        wrong = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
        losses = weight * wrong**self.gamma * -log_p
        return _mean(losses.sum(), torch.ones_like(losses).sum())


class DiceFocalLoss(nn.Module):
    """Mix Dice and focal: b Dice + (1 - b) focal (eq. 3).

    Args:
        head: ``multilabel`` or ``multiclass`` logits.
        beta: b, in (0, 1). The Dice term's gradient vanishes with the predicted probability, the focal term's does
            not: with b = 1/2 the structures that are found early drown the others, which stay at 0 for hundreds of
            steps (docs/method.md).
        epsilon: Of ``DiceLoss``.
        alpha: Of ``FocalLoss``.
        gamma: Of ``FocalLoss``.
        balanced: Of ``FocalLoss``.
        printed: Of ``DiceLoss``.
        absent: Of ``DiceLoss``.
    """

    def __init__(
        self,
        *,
        head: Head = "multilabel",
        beta: float = 0.1,
        epsilon: float = 0.5,
        alpha: float = 0.75,
        gamma: float = 2.0,
        balanced: bool = True,
        printed: bool = False,
        absent: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < beta < 1:
            raise ValueError(f"beta {beta}: expected a number between 0 and 1 (eq. 3)")
        self.beta = beta
        self.head: Head = checked_head(head)
        self.dice = DiceLoss(head=head, epsilon=epsilon, printed=printed, absent=absent)
        self.focal = FocalLoss(head=head, alpha=alpha, gamma=gamma, balanced=balanced)

    def forward(self, logits: Tensor, target: Tensor, annotated: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar, for logits (b, c, h, w), masks (b, k, h, w) and ``annotated`` (b, k)."""
        if self.focal.head == "multilabel":
            _check_shapes(logits, target, annotated, self.focal.head)
            sums = sum_pixels(logits, target, alpha=self.focal.alpha, gamma=self.focal.gamma)  # one way through memory
            dice, focal = (loss.of_sums(sums, target, annotated) for loss in (self.dice, self.focal))
        else:
            dice, focal = (loss(logits, target, annotated) for loss in (self.dice, self.focal))
        mixed: Tensor = self.beta * dice + (1 - self.beta) * focal
        return mixed


class StagedLoss(nn.Module):
    """Average one loss over the stages of a network (deep supervision).

    Args:
        loss: Takes (logits, target, annotated).
        weights: One a stage; they are normalised to sum 1. Equal by default.
    """

    def __init__(self, loss: nn.Module, *, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if weights is not None and (min(weights, default=0) < 0 or sum(weights) <= 0):
            raise ValueError(f"weights {list(weights)}: expected numbers of 0 or more, not all 0")
        self.loss = loss
        self.weights = None if weights is None else tuple(weights)

    def forward(
        self, stages: Sequence[Tensor], target: Tensor, annotated: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the weighted mean, and the loss of every stage, for logits (b, c, h, w) of each stage."""
        weights = self.weights or (1.0,) * len(stages)
        if len(weights) != len(stages):
            raise ValueError(f"found {len(weights)} weights for {len(stages)} stages: give one a stage")
        losses: list[Tensor] = [self.loss(logits, target, annotated) for logits in stages]
        mean = sum((w * loss for w, loss in zip(weights, losses, strict=True)), torch.zeros_like(losses[0]))
        return mean / sum(weights), losses


def _classes(target: Tensor, annotated: Tensor | None) -> Tensor:
    """Return the class (b, h, w) of every pixel of masks (b, k, h, w), as far as it was annotated."""
    return one_label(target if annotated is None else target.bool() & annotated[:, :, None, None].bool())


def _sums_of_classes(logits: Tensor, truth: Tensor) -> PixelSums:
    """Sum over the pixels of multiclass logits (b, k + 1, h, w) and classes (b, h, w); the focal loss is left at 0."""
    p = logits.float().clamp(-LARGEST_LOGIT, LARGEST_LOGIT).softmax(dim=1)[:, 1:]
    r = expand_classes(truth, p.shape[1]).float()
    drawn, missed, false = (x.sum(dim=(2, 3)) for x in (r, (1 - p) * r, p * (1 - r)))
    return PixelSums(drawn, missed + false, missed, torch.zeros_like(drawn))


def _known(target: Tensor, annotated: Tensor | None) -> Tensor:
    """Return which structures (b, k) were annotated in masks (b, k, h, w), as float32."""
    return torch.ones(target.shape[:2], device=target.device) if annotated is None else annotated.float()


def _mean(total: Tensor, count: Tensor) -> Tensor:
    """Divide a sum by its count, each over all processes; 0 where nothing counts."""
    total, count = _of_all_processes(torch.stack([total, count]))
    return total / count.clamp(min=1)


def _balance(drawn: Tensor, *, training: bool) -> Tensor:
    """Return the weight of every structure (k,), 1 or more, for how many pixels it has in the batch (k,)."""
    if training and _is_one_of_several():
        distributed.all_reduce(drawn)
    there = drawn > 0
    typical = drawn.sum() / there.sum().clamp(min=1)
    return torch.where(there, typical / drawn.clamp(min=1), 1).clamp(1, _LARGEST_WEIGHT)


def _of_all_processes(sums: Tensor) -> Tensor:
    """Add the sums of all processes that train together.

    The gradient is that of this process's share times the number of processes, by which DDP divides.
    """
    if not (sums.requires_grad and _is_one_of_several()):
        return sums  # validation: the processes have batches of their own
    processes = distributed.get_world_size()
    everywhere = sums.detach().clone()
    distributed.all_reduce(everywhere)
    return processes * sums + (everywhere - processes * sums).detach()


def _is_one_of_several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _merge_unknown(log_p: Tensor, annotated: Tensor | None) -> Tensor:
    """Add the probability of structures that were not annotated to the background's.

    A pixel outside all drawn structures may well belong to one that nobody drew: it is "background or that one"
    (marginal loss: Shi et al. 2021, Med. Image Anal. 70, 101979).
    """
    if annotated is None:
        return log_p
    drawn = torch.cat([torch.zeros_like(annotated[:, :1]), annotated], dim=1).bool()[:, :, None, None]
    background = log_p.masked_fill(drawn, -torch.inf).logsumexp(dim=1, keepdim=True)
    return torch.cat([background, log_p[:, 1:]], dim=1)


def _check_shapes(logits: Tensor, target: Tensor, annotated: Tensor | None, head: Head) -> None:
    if target.ndim != 4:
        raise ValueError(f"target {tuple(target.shape)}: expected masks (b, k, h, w), one a structure, of 2-D slices")
    b, k, h, w = target.shape
    wanted = (b, k + (head == "multiclass"), h, w)
    if tuple(logits.shape) != wanted:
        raise ValueError(f"logits {tuple(logits.shape)} for {head} masks {tuple(target.shape)}: expected {wanted}")
    if annotated is not None and tuple(annotated.shape) != (b, k):
        raise ValueError(f"annotated {tuple(annotated.shape)}: expected {(b, k)}, one flag an image and structure")

"""Two real processes with half a batch each have the gradient of one process with the batch."""

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from two_processes import run_two

from nasoseg.heads import channels
from nasoseg.losses import DiceFocalLoss, DiceLoss, FocalLoss, StagedLoss

LOSSES = {
    "dice and focal": StagedLoss(DiceFocalLoss(beta=0.5)),
    "absent structures too": StagedLoss(DiceLoss(absent=True)),
    "softmax": StagedLoss(DiceFocalLoss(head="multiclass", beta=0.5)),
    "two stages": StagedLoss(FocalLoss(), weights=[1, 3]),
}


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Make 16 images, masks and annotations; the halves differ in what is drawn and in what is there."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16, 2, 12, 10, generator=generator)
    masks = torch.rand(16, 3, 12, 10, generator=generator) < 0.2
    annotated = torch.rand(16, 3, generator=generator) < 0.7
    masks[8:, 1] = False
    annotated[8:, 2] = False
    return images, masks & annotated[:, :, None, None], annotated


def train(loss: StagedLoss, part: slice, *, together: bool) -> tuple[float, list[torch.Tensor]]:
    """Return the loss of a part of the batch and the gradients of a net without batch normalisation."""
    torch.manual_seed(0)
    head = getattr(loss.loss, "head", getattr(getattr(loss.loss, "dice", None), "head", "multilabel"))
    net: nn.Module = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, channels(3, head), 1))
    net = DistributedDataParallel(net) if together else net
    images, masks, annotated = (values[part] for values in batch())
    stages = [net(images)] * len(loss.weights or [1])
    value, _ = loss(stages, masks, annotated)
    value.backward()
    return value.item(), [p.grad for p in net.parameters()]


def work(rank: int):
    half = slice(8 * rank, 8 * rank + 8)
    results = {name: train(loss, half, together=True) for name, loss in LOSSES.items()}
    with torch.no_grad():  # each by itself: one process has nothing to validate
        alone = FocalLoss()(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2, dtype=torch.bool)) if rank else None
    return results, alone


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    return run_two(work, tmp_path_factory.mktemp("processes"))


@pytest.mark.parametrize("name", LOSSES)
def test_two_halves_have_the_loss_and_gradient_of_the_whole(of_two, name):
    value, gradients = train(LOSSES[name], slice(None), together=False)
    assert any(gradient.abs().max() > 1e-3 for gradient in gradients)
    for results, _ in of_two:
        of_half, gradients_of_half = results[name]
        assert of_half == pytest.approx(value, rel=1e-5)
        torch.testing.assert_close(gradients_of_half, gradients, rtol=1e-4, atol=1e-7)


def test_without_gradients_a_process_computes_by_itself(of_two):
    assert of_two[1][1].item() > 0

"""The sums that the losses are made of: by blocks they are those of the whole, with its gradient, and keep nothing."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from nasoseg import pixel_sums
from nasoseg.pixel_sums import PixelSums, sum_pixels

SHAPES = {"several images a block": (5, 3, 4, 6), "some rows a block": (2, 3, 40, 7), "a row a block": (2, 3, 5, 300)}
LAYOUTS = {
    "contiguous": lambda x: x,
    "channels-last": lambda x: x.to(memory_format=torch.channels_last),
    "cropped": lambda x: torch.nn.functional.pad(x, (0, 3, 0, 2))[..., : x.shape[2], : x.shape[3]],
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(pixel_sums, "_BLOCK_PER_THREAD", 200)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def scene(shape: tuple[int, ...], spread: float = 3) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=drawn) * spread, torch.rand(shape, generator=drawn) < 0.3


def reference(logits: Tensor, target: Tensor, alpha: float, gamma: float) -> PixelSums:
    """The definitions, with tensors and in double precision."""
    x, r = logits.double(), target.double()
    p = x.sigmoid()
    wrong = torch.where(target, 1 - p, p)
    weight = torch.where(target, alpha, 1 - alpha)
    focal = weight * wrong**gamma * -torch.where(target, p, 1 - p).log()
    return PixelSums(*(each.sum(dim=(2, 3)) for each in (r, wrong, wrong * r, focal)))


def weighted(sums: PixelSums) -> Tensor:
    """One number of all sums, in which every structure of every image and every sum counts differently."""
    b, k = sums.wrong.shape
    weight = torch.linspace(0.5, 2, b * k, dtype=sums.wrong.dtype).view(b, k)
    return (weight * (sums.wrong - 3 * sums.missed + 0.7 * sums.focal)).sum()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_blocks_are_small_and_hold_every_pixel_once(shape):
    seen = torch.zeros(shape)
    blocks = list(pixel_sums._blocks(seen))
    for block in blocks:
        seen[block] += 1
    assert (seen == 1).all()
    sizes = [(*seen[block].shape, seen[block].numel()) for block in blocks]
    assert all(pixels <= 200 or (images, rows) == (1, 1) for images, _, rows, _, pixels in sizes)
    assert len(blocks) <= 2 * seen.numel() / 200 + shape[0] * shape[2] * (shape[1] * shape[3] > 200)


def test_a_device_works_on_larger_blocks():
    on_device = torch.empty(2, 3, 100, 100, device="meta")
    assert len(list(pixel_sums._blocks(on_device))) == 1
    assert len(list(pixel_sums._blocks(torch.empty(2, 3, 100, 100)))) == 200


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_blocks_give_the_sums_and_the_gradient_of_the_whole(shape, layout, gamma):
    logits, target = scene(shape)
    ours, theirs = (layout(logits).detach().requires_grad_() for _ in range(2))
    found = sum_pixels(ours, target, alpha=0.8, gamma=gamma)
    expected = reference(theirs, target, 0.8, gamma)
    for name, a, b in zip(PixelSums._fields, found, expected, strict=True):
        np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-5, atol=1e-6, err_msg=name)
    weighted(found).backward()
    weighted(expected).backward()
    np.testing.assert_allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_without_gamma_the_focal_sum_is_0_and_the_others_are_the_same():
    logits, target = scene((2, 3, 8, 8))
    without, with_it = sum_pixels(logits, target), sum_pixels(logits, target, gamma=2)
    assert (without.focal == 0).all()
    assert (with_it.focal > 0).all()
    assert all(torch.equal(a, b) for a, b in zip(without[:3], with_it[:3], strict=True))


def test_what_is_hardly_wrong_is_not_lost():
    """1 - p of a logit of 20 is 2e-9: in float32 nothing, were p computed first."""
    target = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    target[:, 0] = True
    sums = sum_pixels(torch.where(target, 20.0, -20.0), target, gamma=0)
    assert sums.wrong[0].tolist() == pytest.approx([16 * math.exp(-20)] * 2)
    assert sums.missed[0].tolist() == [pytest.approx(16 * math.exp(-20)), 0]
    assert sums.focal[0].tolist() == pytest.approx([8 * math.exp(-20)] * 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32_and_gets_its_gradient_in_kind(dtype):
    logits, target = scene((2, 3, 40, 7))
    half = logits.to(dtype).requires_grad_()
    sums = sum_pixels(half, target, gamma=2)
    expected = reference(half.detach(), target, 0.5, 2)
    np.testing.assert_allclose(sums.wrong.detach(), expected.wrong, rtol=1e-5)
    weighted(sums).backward()
    assert half.grad is not None
    assert half.grad.dtype == dtype


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64, torch.float32])
def test_masks_of_any_type(kind):
    logits, target = scene((2, 3, 8, 8))
    for a, b in zip(sum_pixels(logits, target, gamma=1), sum_pixels(logits, target.to(kind), gamma=1), strict=True):
        assert torch.equal(a, b)


def test_nothing_is_kept_but_logits_and_masks():
    logits, target = scene((2, 8, 64, 64))
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    logits.requires_grad_()
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        weighted(sum_pixels(logits, target, gamma=2))
    assert sum(kept.values()) < logits.nbytes + target.nbytes + 2000  # and some numbers of each structure


def test_an_empty_batch_has_empty_sums():
    sums = sum_pixels(torch.zeros(0, 3, 8, 8), torch.zeros(0, 3, 8, 8), gamma=2)
    assert [each.shape for each in sums] == [(0, 3)] * 4

"""Time the Dice and focal loss of overlapping structures, forward and backward, and the memory that it takes.

    python benchmarks/speed/loss.py [--shapes 16,10,80,80 2,10,512,512 4,64,128,128] [--device cuda]

Beside it: the same loss written with tensors, as it was here before, and MONAI's DiceFocalLoss, which has one Dice term
and no annotations. All get the same logits, channels-last as a network hands them on, and the same masks, 2 % drawn.
Memory is the peak beyond logits and masks, the gradient included. "differs by" is the largest relative difference of
the gradient to that with tensors.
"""

import argparse
import functools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from memory import peak_mib
from options import parse, parser_of, peer, synchronise, wanted
from results import Results
from timing import faster, take_turns
from torch import Tensor

from nasoseg.losses import DiceFocalLoss

BETA, ALPHA, GAMMA, EPSILON = 0.1, 0.75, 2.0, 0.5  # the defaults of DiceFocalLoss
OURS, TENSORS, MONAI = "nasoseg", "with tensors", "MONAI DiceFocalLoss"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Loss = Callable[[Tensor, Tensor], Tensor]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure."""
    parser = parser_of(__doc__, rounds=10)
    shapes = ["16,10,80,80", "2,10,512,512", "4,64,128,128"]
    parser.add_argument("--shapes", nargs="+", type=shape_of, default=shapes, help="batch,structures,rows,columns")
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=list(DTYPES), help="of the logits")
    options = parse(parser, arguments)
    results = Results("loss", "The loss", settings=vars(options))
    losses: dict[str, Loss] = {OURS: DiceFocalLoss(balanced=False), TENSORS: with_tensors}
    if wanted(MONAI, options) and (monai := peer("monai.losses", results, what=MONAI, package="monai")):
        losses[MONAI] = monai.DiceFocalLoss(sigmoid=True, gamma=GAMMA)
    losses = {name: loss for name, loss in losses.items() if wanted(name, options)}
    wait = functools.partial(synchronise, options.device)
    rows = []
    for shape in options.shapes:
        for dtype in options.dtypes:
            logits, target = scene(shape, DTYPES[dtype], options.device)
            ways = {name: functools.partial(step, loss, logits, target) for name, loss in losses.items()}
            gradients = {name: way() for name, way in ways.items()}
            peaks = {name: peak_mib(way, device=options.device) for name, way in ways.items()}
            turns = take_turns(ways, rounds=options.rounds, synchronise=wait, warm=False)
            for name, each in turns.items():
                row = {"shape": shape, "logits": dtype, "loss": name, "MiB": peaks[name]}
                row["ms"] = 1000 * each.seconds(options.clock, options.pick)
                row["nasoseg is faster by"] = row["differs by"] = ""
                if name != OURS and OURS in turns:
                    ratio = faster(turns[OURS], each, clock=options.clock, pick=options.pick)
                    row["nasoseg is faster by"] = str(ratio)
                    results.add_headline(f"loss, {shape}, {dtype}", "", name, ratio, aim="1.0")
                if name == OURS and TENSORS in turns:
                    apart = (gradients[OURS] - gradients[TENSORS]).float().abs().max()
                    row["differs by"] = f"{float(apart / gradients[TENSORS].float().abs().max()):.0e}"
                rows.append(row)
    results.add_table("Forward and backward", rows)
    results.write(options.out)


def shape_of(text: str) -> str:
    """Let four whole numbers of 1 or more pass."""
    sides = text.split(",")
    if len(sides) != 4 or not all(side.isdecimal() and int(side) for side in sides):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected batch,structures,rows,columns: 2,10,512,512")
    return text


def scene(shape: str, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """Return logits and masks (b, k, h, w)."""
    sides = [int(side) for side in shape.split(",")]
    seeded = torch.Generator().manual_seed(0)
    logits = (torch.randn(sides, generator=seeded) * 4).to(device, dtype, memory_format=torch.channels_last)
    return logits.requires_grad_(), (torch.rand(sides, generator=seeded) < 0.02).to(device)


def step(loss: Loss, logits: Tensor, target: Tensor) -> Tensor:
    """Return the gradient."""
    logits.grad = None
    loss(logits, target).backward()
    assert logits.grad is not None
    return logits.grad


def with_tensors(logits: Tensor, target: Tensor) -> Tensor:
    """Write eqs. 1 to 3 down, every step a tensor as large as the logits."""
    x, r = logits.float(), target.float()
    p, q = x.sigmoid(), (-x).sigmoid()

    def total(pixels: Tensor) -> Tensor:
        return pixels.sum(dim=(0, 2, 3))

    inside = (total(p * r) + EPSILON) / (total(p + r) + 2 * EPSILON)
    outside = (total(q * (1 - r)) + EPSILON) / (total(q + 1 - r) + 2 * EPSILON)
    toward = torch.where(target, x, -x)
    weight = torch.where(target, ALPHA, 1 - ALPHA)
    focal = weight * torch.exp(-GAMMA * F.softplus(toward)) * F.softplus(-toward)
    return BETA * (1 - inside - outside).mean() + (1 - BETA) * focal.mean()


if __name__ == "__main__":
    main()

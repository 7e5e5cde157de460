"""What the hardware could do: its matrix rate and its bandwidth, measured, and what a step asks of both."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from options import synchronise
from timing import Clock, take_turns
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

_CONVOLUTIONS = ("convolution", "convolution_backward")


@dataclass(frozen=True)
class Work:
    """Hold what a step asks for: operations, and bytes that its convolutions read and write."""

    flops: int
    convolution_bytes: int


@dataclass(frozen=True)
class Roof:
    """Hold what a device reached.

    Attributes:
        flops_s: Operations a second of a large matrix product.
        bytes_s: Bytes a second, read and written, of a large copy.
    """

    flops_s: float
    bytes_s: float

    def seconds(self, work: Work) -> float:
        """Return the least seconds that some work can take: the larger of computing and moving."""
        return max(work.flops / self.flops_s, work.convolution_bytes / self.bytes_s)


def measure_roofs(
    device: str, dtypes: Sequence[torch.dtype], *, clock: Clock, rounds: int = 5, side: int | None = None
) -> dict[torch.dtype, Roof]:
    """Measure the matrix rate of every dtype, and the bandwidth; the fastest round counts.

    float32 on a GPU is measured with TF32, because convolutions use it there by default.

    Args:
        device: cpu or cuda.
        dtypes: Of the matrices.
        clock: That of the steps which it is compared with.
        rounds: Of each.
        side: Of the matrices; 2,048 on the processor, 8,192 on a GPU by default.
    """
    gpu = device.startswith("cuda")
    side = side or (8192 if gpu else 2048)
    source = torch.zeros((2**30 if gpu else 2**28) // 4, device=device)
    target = torch.empty_like(source)
    bytes_s = 2 * source.numel() * 4 / _fastest(lambda: target.copy_(source), device, clock, rounds)
    previous = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if gpu else "highest")
    roofs = {}
    for dtype in dtypes:
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        seconds = _fastest(functools.partial(torch.mm, a, b, out=torch.empty_like(a)), device, clock, rounds)
        roofs[dtype] = Roof(2 * side**3 / seconds, bytes_s)
    torch.set_float32_matmul_precision(previous)
    return roofs


def count_work(step: Callable[[], object]) -> Work:
    """Count what one step asks for.

    The bytes are those of an ideal step, in which everything else is fused into the convolutions: each of them reads
    its input and weights and writes its output once, and the same backward.
    """
    with _ConvolutionBytes() as moved, FlopCounterMode(display=False) as counter:
        step()
    return Work(counter.get_total_flops(), moved.total)


class _ConvolutionBytes(TorchDispatchMode):
    """Add up the sizes of all that convolutions read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in _CONVOLUTIONS:
            tensors = [leaf for leaf in tree_leaves((args, result)) if isinstance(leaf, Tensor)]
            self.total += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result


def _fastest(work: Callable[[], object], device: str, clock: Clock, rounds: int) -> float:
    turns = take_turns({"work": work}, rounds=rounds, synchronise=lambda: synchronise(device))
    return turns["work"].seconds(clock, "shortest")

"""Time the multi-scale pooling block, forward and backward, beside other ways to compute the same averages.

    python benchmarks/speed/pooling.py [--threads 1] [--rounds 10] [--shapes 16,1,80,80 2,1,512,512]

The ways take turns within every round, and the shortest round counts. With one thread the time is the process's own on
the processor, so that other work on the machine disturbs little. "faster by" compares whole blocks: averages, 3 x 3
convolution to 16 channels, batch normalisation, ReLU. "no averages" gets them ready-made: what is left to gain.
"""

import argparse
import platform
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasoseg.models import ConvUnit
from nasoseg.models.pooling import _averages

KERNELS = (1, 3, 5, 7)
SHAPES = ("16,1,80,80", "16,7,80,80", "2,1,512,512")
WIDTH = 16


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="batch,channels,rows,columns")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    print(f"{platform.processor() or platform.machine()}, {arguments.threads} threads, torch {torch.__version__}")
    print("float32, channels last, milliseconds, shortest of", arguments.rounds)
    print(f"{'image':<18}{'averages by':<30}{'alone':>10}{'block':>10}{'faster by':>12}{'differs by':>12}")
    for shape in arguments.shapes:
        compare(shape, arguments.rounds, clock=clock)


def compare(shape: str, rounds: int, *, clock: Callable[[], float]) -> None:
    """Time and print all ways for one shape of the image."""
    torch.manual_seed(0)
    image = torch.randn([int(side) for side in shape.split(",")]).to(memory_format=torch.channels_last)
    expected = whole_windows(image)
    ways = {**WAYS, "no averages": lambda image: expected}
    apart = {name: float((way(image) - expected).abs().max()) for name, way in ways.items()}  # warms up
    fuse = ConvUnit(expected.shape[1], WIDTH).to(memory_format=torch.channels_last)
    # One kernel of 9 x 9 pixels can say what a 3 x 3 convolution of the averages says, but not at the border.
    single = ConvUnit(image.shape[1], WIDTH, kernel=9).to(memory_format=torch.channels_last)
    averages = {name: lambda way=way: way(image) for name, way in ways.items()}
    blocks = {name: lambda way=way: step(fuse, way(image)) for name, way in ways.items()}
    blocks["one 9 x 9 convolution"] = lambda: step(single, image)
    alone = shortest(averages, rounds, clock=clock)
    whole = shortest(blocks, rounds, clock=clock)
    for name, seconds in whole.items():
        own = f"{1000 * alone[name]:10.2f}" if name in alone else f"{'-':>10}"
        differs = f"{apart[name]:12.1g}" if name in apart else f"{'the border':>12}"
        print(f"{shape:<18}{name:<30}{own}{1000 * seconds:10.2f}{whole['avg_pool2d'] / seconds:12.2f}{differs}")


def shortest(ways: dict[str, Callable[[], object]], rounds: int, *, clock: Callable[[], float]) -> dict[str, float]:
    """Return the fewest seconds of every way; they take turns."""
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            start = clock()
            way()
            seconds[name] = min(seconds[name], clock() - start)
    return seconds


def step(fuse: nn.Module, averages: Tensor) -> None:
    """Run the rest of the block forward and backward."""
    fuse.zero_grad()
    features = fuse(averages)
    features.backward(features.detach())


def whole_windows(image: Tensor) -> Tensor:
    """Read every window whole."""
    pools = [F.avg_pool2d(image, k, stride=1, padding=k // 2, count_include_pad=False) for k in KERNELS]
    return torch.cat(pools, dim=1)


def rows_then_columns(image: Tensor) -> Tensor:
    """Average along rows, then along columns: the counts of real pixels are a product, too."""
    pools = []
    for k in KERNELS:
        along = F.avg_pool2d(image, (1, k), stride=1, padding=(0, k // 2), count_include_pad=False)
        pools.append(F.avg_pool2d(along, (k, 1), stride=1, padding=(k // 2, 0), count_include_pad=False))
    return torch.cat(pools, dim=1)


def matrices(image: Tensor) -> Tensor:
    """Multiply by a band matrix on either side."""

    def band(size: int, k: int) -> Tensor:
        place = torch.arange(size)
        near = ((place[:, None] - place).abs() <= k // 2).float()
        return near / near.sum(dim=1, keepdim=True)

    h, w = image.shape[-2:]
    return torch.cat([band(h, k) @ image @ band(w, k).T for k in KERNELS], dim=1)


def convolution(image: Tensor) -> Tensor:
    """Convolve with ones, and divide by the count of real pixels, which is the same of an image of ones."""
    ones = torch.zeros(len(KERNELS), 1, 7, 7)
    for scale, k in enumerate(KERNELS):
        ones[scale, 0, 3 - k // 2 : 4 + k // 2, 3 - k // 2 : 4 + k // 2] = 1
    b, c, h, w = image.shape
    sums = F.conv2d(image.reshape(b * c, 1, h, w), ones, padding=3)
    averages = sums / F.conv2d(torch.ones(1, 1, h, w), ones, padding=3)
    return averages.view(b, c, len(KERNELS), h, w).transpose(1, 2).reshape(b, -1, h, w)


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "avg_pool2d": whole_windows,
    "avg_pool2d, rows then columns": rows_then_columns,
    "band matrices": matrices,
    "convolution with ones": convolution,
    "nasoseg": lambda image: torch.cat(_averages(image, KERNELS), dim=1),
}


if __name__ == "__main__":
    main()

"""Time a training step of one U-Net, of two stages, and of two stages with the rough one at half resolution.

    python benchmarks/speed/two_stage.py [--threads 1] [--rounds 5] [--device cuda]

Forward, loss, backward and Adam; ten structures, float32, channels last. The networks take turns within every round,
and the shortest round counts. With one thread on the processor the time is the process's own, so that other work
disturbs little. GFLOP an image are those of the convolutions, forward and backward (torch.utils.flop_counter).
"""

import argparse
import platform
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

import nasoseg
from nasoseg.labels import OPENKBP
from nasoseg.tasks.base import SegmentationTask

BATCHES = ((16, 128), (2, 512))  # images, rows and columns


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=16, help="channels at full resolution")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    own_time = device.type == "cpu" and arguments.threads == 1
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"{name}, {arguments.threads} threads, torch {torch.__version__}, float32, width {arguments.width}")
    print(f"{'images':<18}{'network':<22}{'GFLOP an image':>16}{'ms an image':>14}{'times U-Net':>14}{'GFLOP/s':>10}")
    for count, side in BATCHES:
        steps = {name: make_step(task, count, side, device) for name, task in tasks(arguments.width).items()}
        work = {name: flops(step) / count for name, step in steps.items()}  # warms up
        seconds = dict.fromkeys(steps, float("inf"))
        for _ in range(arguments.rounds):
            for name, step in steps.items():
                seconds[name] = min(seconds[name], timed(step, own_time=own_time) / count)
        for name, each in seconds.items():
            print(
                f"{f'{count} x {side} x {side}':<18}{name:<22}{work[name] / 1e9:16.2f}{1000 * each:14.2f}"
                f"{each / seconds['U-Net']:14.2f}{work[name] / each / 1e9:10.0f}"
            )


def tasks(width: int) -> dict[str, SegmentationTask]:
    """Return the networks, by name."""
    return {
        "U-Net": nasoseg.UNet(labels=OPENKBP, width=width),
        "two stages": nasoseg.TwoStageUNet(labels=OPENKBP, width=width),
        "two stages, 1 at 1/2": nasoseg.TwoStageUNet(labels=OPENKBP, width=width, stage1_scale=0.5),
    }


def make_step(task: SegmentationTask, count: int, side: int, device: torch.device) -> Callable[[], None]:
    """Return what trains a network once on random images; it ends when the device is done."""
    task.to(device, memory_format=torch.channels_last).train()
    image = torch.randn(count, task.in_channels, side, side, device=device).to(memory_format=torch.channels_last)
    target = torch.rand(count, task.classes, side, side, device=device) < 0.02
    annotated = torch.ones(count, task.classes, dtype=torch.bool, device=device)
    optimizer = task.make_optimizer(task.parameters())

    def step() -> None:
        optimizer.zero_grad()
        loss, _ = task.staged_loss(task.stages(image), target, annotated)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def flops(step: Callable[[], None]) -> int:
    """Count the operations of a step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def timed(step: Callable[[], None], *, own_time: bool) -> float:
    """Return the seconds of a step: the process's own on the processor, or those on the wall."""
    clock = time.process_time if own_time else time.perf_counter
    start = clock()
    step()
    return clock() - start


if __name__ == "__main__":
    main()

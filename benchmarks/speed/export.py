"""Time a network as `nasoseg segment` runs it: in PyTorch, by ONNX Runtime and by OpenVINO, side by side.

    python benchmarks/speed/export.py [--threads 2] [--sizes 128 512] [--rounds 7]

Images in (NumPy), probabilities out (NumPy), float32, random weights, ten structures, as many slices at once as
`segment` takes. The runners take turns within every round; the table shows the median over rounds, and how much faster
each is than PyTorch with channels last, which is what `segment` does with a run folder.
"""

import argparse
import copy
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

import nasoseg
from nasoseg.data.training_data import TrainingData
from nasoseg.export import SUFFIX_OF, export_model
from nasoseg.inference import load_exported
from nasoseg.inference.arrays import on_host
from nasoseg.inference.task_model import TaskModel
from nasoseg.labels import OPENKBP
from nasoseg.tasks.base import SegmentationTask

EAGER, REFERENCE = "PyTorch", "PyTorch, channels last"
Run = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Export, time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 512], help="rows and columns of a slice")
    parser.add_argument("--width", type=int, default=16, help="channels at full resolution")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # exported models go by it too
    torch.set_num_threads(arguments.threads)
    packages = ("torch", "onnxruntime", "openvino")
    print(
        f"{platform.processor() or platform.machine()}, {arguments.threads} threads, float32, width {arguments.width}"
    )
    print(", ".join(f"{package} {version(package)}" for package in packages))
    print(f"{'network':<16}{'slices':<18}{'runner':<26}{'ms a slice':>12}{'faster by':>12}{'differs by':>12}")
    for kind in (nasoseg.UNet, nasoseg.TwoStageUNet):
        with tempfile.TemporaryDirectory() as folder:
            runners = make_runners(kind(labels=OPENKBP, width=arguments.width).eval(), Path(folder))
        for side in arguments.sizes:
            count = max(1, TaskModel.pixels_at_once // side**2)
            images = np.random.default_rng(0).uniform(-1, 1, (count, 1, side, side)).astype(np.float32)
            expected = runners[EAGER](images)
            apart = {name: float(np.abs(run(images) - expected).max()) for name, run in runners.items()}  # warms up
            seconds = times(runners, images, rounds=arguments.rounds)
            for name, each in seconds.items():
                print(
                    f"{kind.__name__:<16}{f'{count} x {side} x {side}':<18}{name:<26}{1000 * each / count:12.2f}"
                    f"{seconds[REFERENCE] / each:12.2f}{apart[name]:12.1g}"
                )


def make_runners(task: SegmentationTask, folder: Path) -> dict[str, Run]:
    """Return the ways to run a network, by name."""
    task.training_data = TrainingData(((-160.0, 240.0),))
    exported = {}
    for name, kind in (("ONNX Runtime", "onnx"), ("OpenVINO", "openvino")):
        path = folder / f"model{SUFFIX_OF[kind]}"
        export_model(task, path, kind=kind)
        exported[name] = load_exported(path, device="cpu")
    plain, channels_last = TaskModel(task), TaskModel(copy.deepcopy(task).to(memory_format=torch.channels_last))
    return {
        EAGER: lambda images: on_host(plain(images)),
        REFERENCE: lambda images: on_host(channels_last(images)),
        **exported,
    }


def times(runners: dict[str, Run], images: np.ndarray, *, rounds: int) -> dict[str, float]:
    """Return the median seconds of every runner; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, run in runners.items():
            start = time.perf_counter()
            run(images)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in seconds.items()}


if __name__ == "__main__":
    main()

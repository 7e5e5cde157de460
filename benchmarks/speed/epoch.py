"""Time a training epoch with its loader beside the same epoch with the batches already on the device.

    python benchmarks/speed/epoch.py [--store STORE] [--device cuda] [--workers 16] [--batches 64] [--width 32]

`nasoseg fit` as it is: Lightning's trainer, our data module with its augmentation, our task. Every measurement is the
second epoch of a fit, when the workers are running; validation, checkpoints and logs on disk are off in both. The
resident epoch gets as many batches as the other, from as many distinct ones as `--resident` says. What the first takes
longer is the loader's cost.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from options import parse, parser_of, quiet, synchronise, wanted
from phantom import phantom_store
from results import Results
from timing import Turns, faster
from torch.utils.data import DataLoader

import nasoseg
from nasoseg.data.transforms import Augmentation
from nasoseg.labels import OPENKBP
from nasoseg.tasks.base import SegmentationTask

PAPER_SLICES = 7112  # of an epoch in Luo et al. 2020


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure."""
    parser = parser_of(__doc__, rounds=3)
    parser.add_argument("--store", type=Path, help="a store of ten structures; a phantom by default")
    parser.add_argument("--patients", type=int, default=5, help="of the phantom")
    parser.add_argument("--slices", type=int, default=32, help="of each of its patients")
    parser.add_argument("--side", type=int, default=512, help="rows and columns of the phantom")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--batches", type=int, default=8, help="of an epoch, at most")
    parser.add_argument("--resident", type=int, default=32, help="distinct batches that are kept on the device")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--width", type=int, default=16, help="channels at full resolution")
    parser.add_argument("--context", type=int, default=0, help="neighbouring slices that become channels")
    parser.add_argument("--crop", type=int, help="pixels that the augmentation crops")
    parser.add_argument("--precision", default="32-true", help="of Lightning, such as bf16-mixed")
    parser.add_argument("--compile", action="store_true", help="compile the network")
    options = parse(parser, arguments)
    results = Results("epoch", "An epoch of fit", settings=vars(options))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = options.store or Path(folder) / "phantom.h5"
        if options.store is None:
            phantom_store(path, options.patients, slices=options.slices, side=options.side)
        for name, kind in (("UNet", nasoseg.UNet), ("TwoStageUNet", nasoseg.TwoStageUNet)):
            if wanted(name, options):
                rows += measure(name, kind, path, options, results)
    results.add_table("Epochs", rows)
    results.write(options.out)


def measure(
    name: str, kind: type[SegmentationTask], path: Path, options: argparse.Namespace, results: Results
) -> list[dict[str, Any]]:
    """Let both epochs of one network take turns."""
    data = nasoseg.SliceDataModule(
        path, batch_size=options.batch, context=options.context, workers=options.workers,
        augmentation=Augmentation(crop=options.crop),
    )  # fmt: skip
    data.setup("fit")
    task = kind(labels=OPENKBP, in_channels=data.in_channels, width=options.width)
    task.to(memory_format=torch.channels_last)
    if options.compile:
        task.network.compile()
    count = min(options.batches, len(data.train_dataloader()))
    kept = resident_batches(data, min(count, options.resident), options.device)
    cycled = [kept[number % len(kept)] for number in range(count)]
    epochs: dict[str, dict[str, Any]] = {
        "fit": {"datamodule": data},
        "resident": {"train_dataloaders": DataLoader(cycled, batch_size=None)},
    }
    turns = {way: Turns() for way in epochs}
    for _ in range(options.rounds):
        for way, source in epochs.items():
            wall_s, cpu_s = second_epoch(task, source, count, options)
            turns[way].wall_s.append(wall_s)
            turns[way].cpu_s.append(cpu_s)
    clock = "wall" if options.workers else options.clock  # the workers' time is not this process's
    cost = faster(turns["resident"], turns["fit"], clock=clock, pick=options.pick)
    seconds = {way: each.seconds("wall", options.pick) for way, each in turns.items()}
    images = count * options.batch
    side = options.crop or data.store.geometry(data.store.keys[0]).shape[1]
    where = f"epoch: {name}, width {options.width}, {side} x {side}, {options.precision}"
    results.add_headline(where, f"{seconds['fit']:.2f} s", f"resident {seconds['resident']:.2f}", cost, aim="1.05")
    return [
        {
            "network": name,
            "epoch": way,
            "batches": f"{count} of {options.batch}",
            "s": seconds[way],
            "CPU s": turns[way].seconds("cpu", options.pick),
            "images/s": images / seconds[way],
            f"h for 5 x 100 epochs of {PAPER_SLICES}": 500 * PAPER_SLICES * seconds[way] / images / 3600,
            "fit by resident": str(cost) if way == "fit" else "",
        }
        for way in epochs
    ]


def resident_batches(data: nasoseg.SliceDataModule, count: int, device: str) -> list[Any]:
    """Load batches and put them onto the device."""
    batches = []
    for batch in data.train_dataloader():
        batches.append({key: value.to(device) if hasattr(value, "to") else value for key, value in batch.items()})
        if len(batches) == count:
            break
    return batches


def second_epoch(
    task: SegmentationTask, source: dict[str, Any], count: int, options: argparse.Namespace
) -> tuple[float, float]:
    """Fit two epochs; return the seconds of the second, on the wall and of this process's processors."""
    clock = _EpochClock(options.device)
    with quiet():
        trainer = lightning.Trainer(
            accelerator="gpu" if options.device.startswith("cuda") else "cpu", devices=1, max_epochs=2,
            precision=options.precision, limit_train_batches=count, limit_val_batches=0, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[clock],
        )  # fmt: skip
        trainer.fit(task, **source)
    return clock.epochs[-1]


class _EpochClock(lightning.Callback):
    """Note the seconds of every epoch."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.epochs: list[tuple[float, float]] = []

    def _now(self) -> tuple[float, float]:
        synchronise(self.device)
        return time.perf_counter(), time.process_time()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._start = self._now()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        wall, cpu = self._now()
        self.epochs.append((wall - self._start[0], cpu - self._start[1]))


if __name__ == "__main__":
    main()

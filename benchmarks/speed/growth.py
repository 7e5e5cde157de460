"""Show how time and memory grow with the number of slices and of structures.

    python benchmarks/speed/growth.py [--slices 100 1000 10000 100000] [--structures 1 4 16 64] [--work FOLDER]

On generated patients of 100 slices. *Slices of a store*: to write it, to open it, to set up the data module, and to
read random training samples. *Slices of a scan*: to segment it with a small network. *Structures*: the loss, forward
and backward, the metrics, and putting a batch onto the scan. Under each table: the exponent of the growth, 1 where
twice as much takes twice as long, 0 where size does not matter. Memory is the growth of the resident peak.
"""

import argparse
import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory import peak_mib
from options import parse, parser_of
from phantom import SLICES, names, phantom
from results import Results
from timing import take_turns

import nasoseg
from nasoseg.data.store import Patient, Store, write_store
from nasoseg.data.training_data import TrainingData
from nasoseg.heads import expand_planes
from nasoseg.inference.onto_scan import OntoScan
from nasoseg.inference.study import Study
from nasoseg.labels import OPENKBP
from nasoseg.losses import DiceFocalLoss
from nasoseg.metrics import OverlapMetrics, StreamingAUC
from nasoseg.volumes.volume import Volume

SAMPLES, BATCH, DISTINCT = 256, 4, 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure."""
    parser = parser_of(__doc__, rounds=3)
    parser.add_argument("--slices", type=int, nargs="+", default=[100, 1000, 10_000, 100_000], help="of a store")
    parser.add_argument("--depths", type=int, nargs="+", default=[50, 100, 200, 400], help="slices of a scan")
    parser.add_argument("--structures", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--side", type=int, default=128, help="rows and columns; 10^5 slices of 512 take 40 GB")
    parser.add_argument("--work", type=Path, help="folder for the stores; a temporary one by default")
    options = parse(parser, arguments)
    results = Results("growth", "Growth", settings=vars(options))
    with tempfile.TemporaryDirectory() as temporary:
        rows = [of_slices(count, options.work or Path(temporary), options) for count in options.slices]
        add_growth("Slices of a store", "slices", rows, results)
    add_growth("Slices of a scan", "slices", [of_depth(depth, options) for depth in options.depths], results)
    rows = [of_structures(count, options) for count in options.structures]
    add_growth(f"Structures, {BATCH} slices", "structures", rows, results)
    results.write(options.out)


def of_slices(count: int, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Write, open and read a store of so many slices."""
    path = work / f"growth_{count}x{options.side}.h5"
    row: dict[str, Any] = {"slices": count}
    generated = [phantom(seed, slices=min(SLICES, count // 2), side=options.side) for seed in range(DISTINCT)]
    row["write MiB"], row["write s"] = measured(
        lambda: write_store(path, renamed(generated, max(2, count // SLICES)), names(10)), options
    )
    opened: dict[str, Any] = {}

    def set_up() -> None:
        data = nasoseg.SliceDataModule(path, folds=2, protocol="paper", augmentation=nasoseg.Augmentation(), workers=0)
        data.setup("fit")
        opened["loader"] = data.train_dataloader()

    row["open MiB"], row["open s"] = measured(lambda: opened.update(store=Store(path)), options)
    row["set up MiB"], row["set up s"] = measured(set_up, options)
    loader = opened["loader"]

    drawn = list(itertools.islice(loader.sampler, SAMPLES))
    row["read MiB"], read_s = measured(lambda: [loader.dataset[item]["slice"] for item in drawn], options)
    row["read, ms a sample"] = 1000 * read_s / len(drawn)
    row["store, MiB"] = path.stat().st_size / 2**20
    opened["loader"].dataset.store.close()
    if options.work is None:
        path.unlink()
    return row


def of_depth(depth: int, options: argparse.Namespace) -> dict[str, Any]:
    """Segment a scan of so many slices."""
    patient = phantom(0, slices=depth, side=options.side)
    model = nasoseg.UNet(labels=OPENKBP, width=4).eval()
    model.training_data = TrainingData(((-160.0, 240.0),))
    study = Study(Volume(patient.image, patient.geometry))
    row: dict[str, Any] = {"slices": depth}
    row["segment MiB"], row["segment s"] = measured(lambda: nasoseg.segment(model, study), options)
    return row


def of_structures(count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Work on a batch with so many structures."""
    patient = phantom(0, slices=BATCH, side=options.side, structures=count)
    labels = [structure.name for structure in names(count)]
    planes = patient.labels.astype(np.int64)
    truth = expand_planes(torch.from_numpy(planes), count)
    logits = (truth.float() * 8 - 4 + torch.randn(truth.shape)).requires_grad_()
    known, loss_of = torch.ones(BATCH, count, dtype=torch.bool), DiceFocalLoss()
    of: dict[str, Any] = {"annotated": known, "patients": ["p"] * BATCH, "slices": torch.arange(BATCH)}

    def loss() -> None:
        logits.grad = None
        loss_of(logits, truth, known).backward()

    def overlap() -> None:
        metric = OverlapMetrics(["p"], labels)
        metric.update(logits.detach() > 0, logits.detach().sigmoid(), truth, **of)
        metric.compute()

    def auc() -> None:
        metric = StreamingAUC(["p"], labels)
        metric.update(logits.detach(), truth, **of)
        metric.compute()

    def onto_scan() -> None:
        grid = patient.geometry
        OntoScan(grid, grid, structures=count, head="multilabel").add(logits.detach().sigmoid(), 0)

    row: dict[str, Any] = {"structures": count}
    for name, work in (("loss", loss), ("overlap", overlap), ("AUC", auc), ("onto scan", onto_scan)):
        row[f"{name} MiB"], row[f"{name} s"] = measured(work, options)
    return row


def measured(work: Callable[[], object], options: argparse.Namespace) -> tuple[float, float]:
    """Return peak memory, MiB, and seconds of some work: the first run warms up and shows the memory."""
    memory = peak_mib(work)
    turns = take_turns({"work": work}, rounds=options.rounds, warm=False)
    return memory, turns["work"].seconds(options.clock, options.pick)


def add_growth(title: str, by: str, rows: list[dict[str, Any]], results: Results) -> None:
    """Add a table, and the exponents of its columns."""
    exponents = []
    for column in rows[0]:
        if column != by and len(rows) > 1:
            values = np.maximum([row[column] for row in rows], 1e-9)
            exponent = np.polyfit(np.log([row[by] for row in rows]), np.log(values), 1)[0]
            exponents.append(f"{column} {exponent:.2f}")
            if column.endswith(" s"):
                where = f"growth: {title.lower()}, {column[:-2]}"
                first, last = rows[0], rows[-1]
                results.add_headline(where, f"{first[column]:.3g} s at {first[by]}, {last[column]:.3g} s at {last[by]}",
                                     "", f"exponent {exponent:.2f}", aim="1 or less")  # fmt: skip
    results.add_table(title, rows, note=f"Exponents: {', '.join(exponents)}." if exponents else "")


def renamed(generated: Sequence[Patient], count: int) -> Iterator[Patient]:
    """Hand out a few patients again and again, under new keys: generating them is not what is timed."""
    for number in range(count):
        yield dataclasses.replace(generated[number % len(generated)], key=f"p{number:06}")


if __name__ == "__main__":
    main()

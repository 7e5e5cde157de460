"""Memory of whole commands, all their processes together, at the largest sizes that are promised.

    python benchmarks/speed/resident.py [--slices 1000 100000] [--workers 4] [--depth 600] [--structures 64]

*Training*: `nasoseg fit` on a store of so many slices, the default two-stage net, some steps and some batches of
validation. Its patients have no noise, or the store would take 40 GB; what is read is as large. *Segmenting*: `nasoseg
segment` of one scan to NIfTI, with a network of so many structures. A page that several processes share counts once
(Linux's proportional set size, every `INTERVAL_S` seconds).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from options import parse, parser_of
from phantom import SLICES, phantom, phantom_store
from results import Results

from nasoseg.volumes.nifti import write_volume

INTERVAL_S, AIM_GIB = 0.5, 4.0  # looking takes the kernel 0.03 s for processes of some GiB


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure."""
    parser = parser_of(__doc__, rounds=1)
    parser.add_argument("--slices", type=int, nargs="+", default=[1000, 100_000], help="of a store")
    parser.add_argument("--workers", type=int, default=4, help="data workers of the training")
    parser.add_argument("--batch", type=int, default=2, help="slices; what the network keeps of each is most of it")
    parser.add_argument("--steps", type=int, default=8, help="of training, and batches of validation")
    parser.add_argument("--depth", type=int, default=600, help="slices of a scan")
    parser.add_argument("--structures", type=int, default=64, help="of the scan")
    parser.add_argument("--side", type=int, default=512, help="rows and columns")
    parser.add_argument("--width", type=int, default=16, help="channels of the network at full resolution")
    options = parse(parser, arguments)
    results = Results("resident", "Memory of whole commands", settings=vars(options))
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        results.add_table("fit", [training(count, work, options, results) for count in options.slices])
        results.add_table("segment", [segmenting(work, options, results)])
    results.write(options.out)


def training(count: int, work: Path, options: argparse.Namespace, results: Results) -> dict[str, Any]:
    """Train some steps on a store of so many slices."""
    store, each = work / f"{count}.h5", min(SLICES, count // 5)
    phantom_store(store, count // each, slices=each, side=options.side, noise_hu=0)
    peak_gib, seconds = watched(
        *fit(store, work / f"fit_{count}", options),
        "--data.workers", options.workers, "--data.batch_size", options.batch,
        "--trainer.limit_train_batches", options.steps, "--trainer.limit_val_batches", options.steps,
    )  # fmt: skip
    store_mib = store.stat().st_size / 2**20
    store.unlink()
    results.add_headline(f"memory of fit, {count} slices", f"{peak_gib:.2f} GiB", "", "", aim=f"{AIM_GIB:g} GiB")
    return {"slices": count, "store, MiB": store_mib, "peak, GiB": peak_gib, "s": seconds}


def segmenting(work: Path, options: argparse.Namespace, results: Results) -> dict[str, Any]:
    """Segment one tall scan."""
    store, run = work / "structures.h5", work / "structures"
    phantom_store(store, 5, slices=2, side=options.side, structures=options.structures)
    watched(*fit(store, run, options), "--data.batch_size", 1, "--trainer.limit_train_batches", 1)
    scan = phantom(0, slices=options.depth, side=options.side, structures=options.structures)
    write_volume(work / "scan.nii.gz", scan.image, scan.geometry)
    peak_gib, seconds = watched("segment", run, work / "scan.nii.gz", work / "masks")
    where = f"memory of segment, {options.side} x {options.side} x {options.depth}, {options.structures} structures"
    results.add_headline(where, f"{peak_gib:.2f} GiB", "", "", aim=f"{AIM_GIB:g} GiB")
    return {"slices": options.depth, "structures": options.structures, "peak, GiB": peak_gib, "s": seconds}


def fit(store: Path, run: Path, options: argparse.Namespace) -> list[object]:
    """Return the arguments of a training of one epoch."""
    return [
        "fit", "--config", "two_stage", "--data.store", store, "--run", run, "--test_at_end", "false",
        "--model.init_args.width", options.width, "--trainer.max_epochs", 1, "--trainer.accelerator", "cpu",
    ]  # fmt: skip


def watched(*arguments: object) -> tuple[float, float]:
    """Run a command of nasoseg; return the largest memory of all its processes together, GiB, and its seconds.

    The memory is NaN where the system cannot say it: it is Linux that does.
    """
    start, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, "-m", "nasoseg", *map(str, arguments)]
        with subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT) as process:
            while process.poll() is None:
                peak = max(peak, sum(map(proportional_bytes, descendants(process.pid))))
                time.sleep(INTERVAL_S)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{said.read()}")
    return peak / 2**30 or float("nan"), time.perf_counter() - start


def descendants(process: int) -> Iterator[int]:
    """Walk through a process and all that it has started."""
    yield process
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:  # it has just ended
        return
    for child in children:
        yield from descendants(int(child))


def proportional_bytes(process: int) -> int:
    """Return what a process has resident; a page that it shares counts by its share."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()

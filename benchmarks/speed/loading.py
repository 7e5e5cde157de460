"""Time reading and augmenting slices: our store and loader, and what else could be done with the same scans.

    python benchmarks/speed/loading.py [--store openkbp.h5] [--patients 2] [--side 512] [--work FOLDER]

On phantoms of 512 x 512 16-bit pixels, and on every store that is named. Two tables for each. *Formats*: the images
alone, one slice a chunk, read in random order from the page cache, each compression with its size. *Samples*: image and
labels as a network wants them, float32 in a window, with and without augmentation; beside them the bare chunk reads of
the same file, which are the limit. One process, no workers, so that processor seconds are the whole cost.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from formats import format_ways
from options import parse, parser_of, wanted
from phantom import phantom_store
from results import Results
from samples import sample_ways
from timing import Turns, faster, take_turns

from nasoseg.data.store import Store

LIMIT, AUGMENTED = "h5py chunks, image and labels", "nasoseg batches, augmented"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure."""
    parser = parser_of(__doc__, rounds=7)
    parser.add_argument("--store", type=Path, nargs="*", default=[], help="stores beside the phantom")
    parser.add_argument("--patients", type=int, default=2, help="of the phantom")
    parser.add_argument("--slices", type=int, default=64, help="of each of its patients")
    parser.add_argument("--side", type=int, default=512, help="rows and columns of the phantom")
    parser.add_argument("--count", type=int, default=64, help="slices a turn, a multiple of 16")
    parser.add_argument("--work", type=Path, help="folder for files that may stay; a temporary one by default")
    options = parse(parser, arguments)
    shown = {key: value for key, value in vars(options).items() if key != "store"}
    results = Results("loading", "Loading", settings=shown)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        phantom = work / f"phantom_{options.patients}x{options.slices}x{options.side}.h5"
        stores = {"phantom": phantom_store(phantom, options.patients, slices=options.slices, side=options.side)}
        stores |= {path.stem: Store(path) for path in options.store}
        for name, store in stores.items():
            measure(name, store, work / f"{name}_files", options, results)
    results.write(options.out)


def measure(name: str, store: Store, folder: Path, options: argparse.Namespace, results: Results) -> None:
    """Make both tables of one store."""
    keys = some_patients(store, options.count)
    slices = [(key, z) for key in keys for z in range(len(store.voxels[key]))]
    order = np.random.default_rng(0).permutation(len(slices))[: options.count]
    drawn = [slices[number] for number in order]
    folder.mkdir(parents=True, exist_ok=True)
    h, w = store.geometry(keys[0]).shape[1:]
    title = f"{name}, {h} x {w}, {len(slices)} slices of {len(keys)} patients, {len(drawn)} a turn"
    sizes, formats = format_ways(store, keys, drawn, folder)
    rows = timed(formats, len(drawn), options, base="store: blosc2 zstd-1, bitshuffle, fletcher32")
    raw = h * w * 2 * len(slices)
    for row in rows:
        row["size"] = sizes[str(row["way"])] / raw
    results.add_table(f"Formats: {title}", rows, note="size: of the raw 16-bit pixels, images alone")
    samples = sample_ways(
        store, keys, drawn, folder, results, asked=lambda name: name == LIMIT or wanted(name, options)
    )
    rows = timed(samples, len(drawn), options, base=LIMIT)
    cached = len(drawn) * h * w * 8 / 2**20
    note = f"MONAI's cache holds its samples in memory, {cached:.0f} MiB here; all others read from the page cache"
    results.add_table(f"Samples: {title}", rows, note=note)
    add_headlines(name, rows, results)


def timed(ways: dict[str, Callable[[], object]], count: int, options: argparse.Namespace, *, base: str) -> list[dict]:
    """Let the ways take turns, and return their rows."""
    chosen = {name: way for name, way in ways.items() if name == base or wanted(name, options)}
    turns: dict[str, Turns] = take_turns(chosen, rounds=options.rounds)
    return [
        {
            "way": name,
            "slices/s": count / each.seconds("wall", options.pick),
            "CPU ms a slice": 1000 * each.seconds("cpu", options.pick) / count,
            f"speed by {options.clock}, of {base}": str(
                faster(each, turns[base], clock=options.clock, pick=options.pick)
            ),
        }
        for name, each in turns.items()
    ]


def add_headlines(name: str, rows: Sequence[dict], results: Results) -> None:
    """Compare our samples with bare chunk reads, and our augmented batches with the peers'."""
    cpu_ms = {row["way"]: row["CPU ms a slice"] for row in rows}
    for way in ("nasoseg reads", "nasoseg samples"):
        if way in cpu_ms:
            share = f"{cpu_ms[LIMIT] / cpu_ms[way]:.2f}"
            results.add_headline(
                f"loading, {name}: {way}", f"{cpu_ms[way]:.2f} ms", f"{LIMIT} {cpu_ms[LIMIT]:.2f}", share, aim="0.9"
            )
    for ours, kind in (("nasoseg batches", "whole"), (AUGMENTED, "augmented")):
        peers = {way: ms for way, ms in cpu_ms.items() if not way.startswith(("nasoseg", "h5py", "memmap"))}
        peers = {way: ms for way, ms in peers.items() if way.endswith("augmented") == (kind == "augmented")}
        if peers and ours in cpu_ms:
            best = min(peers, key=lambda way: peers[way])
            ratio = f"{peers[best] / cpu_ms[ours]:.2f}"
            results.add_headline(
                f"loading, {name}: {ours}", f"{cpu_ms[ours]:.2f} ms", f"{best} {peers[best]:.2f}", ratio, aim="1.0"
            )


def some_patients(store: Store, count: int) -> list[str]:
    """Take patients with planes of one size, until they have some twice as many slices as a turn reads."""
    first, chosen, slices = store.geometry(store.keys[0]).shape[1:], [], 0
    for key in store.keys:
        if slices < 2 * count and store.geometry(key).shape[1:] == first:
            chosen.append(key)
            slices += len(store.voxels[key])
    return chosen


if __name__ == "__main__":
    main()

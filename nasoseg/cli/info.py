"""``nasoseg info``: say what a store holds."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nasoseg.cli.output import add_json, print_json

if TYPE_CHECKING:  # NumPy and HDF5 load slowly, and the dispatcher imports every command
    from nasoseg.data.inventory import Inventory

HELP = "print what a store holds: patients, slices, structures, grids"
EXAMPLE = "nasoseg info openkbp.h5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("store", metavar="STORE", type=Path, help="HDF5 store made by `nasoseg prepare`")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the inventory."""
    from nasoseg.data.embedded import open_store
    from nasoseg.data.inventory import take_inventory

    with open_store(arguments.store) as store:
        inventory = take_inventory(store)
    if arguments.json:
        print_json(asdict(inventory))
    else:
        print(inventory_table(inventory))
    return 0


def inventory_table(inventory: "Inventory") -> str:
    """Return the inventory as text: a line each for patients, grids and hash, a table of structures."""
    first = max(9, *(len(structure.name) for structure in inventory.structures))
    lines = [
        f"patients   {inventory.patients}",
        f"slices     {inventory.slices}, {inventory.labelled_slices} of them with a label",
        f"grid       {_ranges(inventory.shapes, '{}')}",
        f"spacing    {_ranges(inventory.spacing_mm, '{:.3g}')} (mm)",
        f"SHA-256    {inventory.content_sha256}",
        "",
        f"{'structure':{first}}  annotated  present   slices  median ml",
    ]
    for s in inventory.structures:
        volume = "-" if s.median_ml is None else f"{s.median_ml:.1f}" if s.median_ml >= 1 else f"{s.median_ml:.2g}"
        lines.append(f"{s.name:{first}}  {s.annotated:9}  {s.present:7}  {s.slices:7}  {volume:>9}")
    lines.append("annotated, present: patients; slices with a voxel; median volume where present")
    return "\n".join(lines)


def _ranges(ranges: dict[str, tuple[int, int]] | dict[str, tuple[float, float]], form: str) -> str:
    words = []
    for axis, (low, high) in ranges.items():
        least, most = form.format(low), form.format(high)
        words.append(f"{axis} {least}" if least == most else f"{axis} {least} to {most}")
    return ", ".join(words)

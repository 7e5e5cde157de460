"""``nasoseg split``: deal a store's patients to folds and save them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasoseg.cli.output import add_json, add_quiet, print_json
from nasoseg.errors import NasosegError

if TYPE_CHECKING:  # NumPy and HDF5 load slowly, and the dispatcher imports every command
    from nasoseg.data.splits import Split
    from nasoseg.data.store import Store

HELP = "deal a store's patients to folds and save the split that every method reads"
EXAMPLE = "nasoseg split openkbp.h5 openkbp.split.json --folds 5 --protocol clean --seed 0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("store", metavar="STORE", type=Path, help="HDF5 store made by `nasoseg prepare`")
    parser.add_argument("out", metavar="OUT.json", type=Path, help="split file to write")
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="number of folds (default: %(default)s)")
    parser.add_argument(
        "--protocol",
        choices=("clean", "paper"),
        default="clean",
        help="clean: whole patients, the checkpoint is picked on patients held out from the training folds;"
        " paper: single slices, the checkpoint is picked on the test fold, which is optimistic (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the dealing (default: %(default)s)")
    parser.add_argument(
        "--validation-fraction",
        type=float,
        default=0.15,
        metavar="F",
        help="share of each fold's training patients that pick the checkpoint, clean only (default: %(default)s)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite OUT.json")
    add_json(parser)
    add_quiet(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the split and print what is in it."""
    from nasoseg.data.embedded import open_store
    from nasoseg.data.splits import make_split

    if arguments.out.exists() and not arguments.force:
        raise NasosegError(f"{arguments.out}: exists already: choose another name, or pass --force to overwrite it")
    with open_store(arguments.store) as store:
        split = make_split(
            store,
            folds=arguments.folds,
            protocol=arguments.protocol,
            seed=arguments.seed,
            validation_fraction=arguments.validation_fraction,
        )
        split.save(arguments.out)
        if arguments.json:
            print_json(document(split, store, arguments.out))
        elif not arguments.quiet:
            print(f"{arguments.out}: {len(split.folds)} folds, protocol {split.protocol}, seed {split.seed}")
            print(f"SHA-256 {split.sha256}\n")
            print(summary(split, store))
    return 0


def document(split: "Split", store: "Store", path: Path) -> dict[str, Any]:
    """Return what is in a split, as plain data: counts, no patient's key.

    Args:
        split: The split.
        store: Its store.
        path: Its file.
    """
    from nasoseg.data.splits import PARTS

    folds = []
    for fold in range(len(split.folds)):
        counts = split.annotated_counts(store, fold)
        members = {part: split.part(fold, part) for part in PARTS}
        folds.append(
            {
                part: {"patients": len(of), "slices": sum(map(len, of.values())), "annotated": counts[part]}
                for part, of in members.items()
            }
        )
    return {
        "split": path,
        "sha256": split.sha256,
        "store_sha256": split.store_sha256,
        "protocol": split.protocol,
        "seed": split.seed,
        "folds": folds,
    }


def summary(split: "Split", store: "Store") -> str:
    """Return a table: for every fold patients and slices in each part, and patients with each structure annotated."""
    from nasoseg.data.splits import PARTS

    rows = {"": [f"fold {fold}" for fold in range(len(split.folds))], "patients": [], "slices": []}
    rows |= {name: [] for name in store.names}
    for fold in range(len(split.folds)):
        members = [split.part(fold, part) for part in PARTS]
        counts = split.annotated_counts(store, fold)
        rows["patients"].append("/".join(str(len(of)) for of in members))
        rows["slices"].append("/".join(str(sum(map(len, of.values()))) for of in members))
        for name in store.names:
            rows[name].append("/".join(str(counts[part][name]) for part in PARTS))
    first = max(map(len, rows))
    width = max(len(cell) for cells in rows.values() for cell in cells)
    lines = [f"{name:{first}}" + "".join(f"  {cell:>{width}}" for cell in cells) for name, cells in rows.items()]
    return "\n".join(["train/validation/test; of a structure: patients in whom it is annotated", *lines])

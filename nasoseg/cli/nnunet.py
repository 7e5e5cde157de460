"""``nasoseg nnunet``: the real nnU-Net as a method."""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from nasoseg.cores import usable_cores
from nasoseg.progress import ProgressDisplay

if TYPE_CHECKING:  # torch loads slowly, and the dispatcher imports every command
    from nasoseg.comparison.nnunet import Asked
    from nasoseg.data.splits import Split
    from nasoseg.data.store import Store

HELP = "train and test the real nnU-Net on a fold of the same split"
EXAMPLE = "nasoseg nnunet openkbp.h5 --split openkbp.split.json --fold 0 --epochs 50 --run runs/nnunet/fold0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add("store", metavar="STORE", help="HDF5 store made by `nasoseg prepare`; `sample` is the one that nasoseg carries")
    add("--split", metavar="FILE", type=Path, help="split file (default: made from --folds and --seed, as `fit` does)")
    add("--fold", type=int, default=0, metavar="N", help="which fold is tested (default: %(default)s)")
    add("--folds", type=int, default=5, metavar="N", help="folds of a split made on the fly (default: %(default)s)")
    add("--protocol", choices=("clean", "paper"), default="clean", help="of a split made on the fly; clean is needed")
    add("--seed", type=int, default=0, metavar="N", help="of a split made on the fly (default: %(default)s)")
    add("--labels", metavar="A,B", help="structures to learn (default: all of the store)")
    add("--run", type=Path, metavar="DIR", help="run folder (default: runs/nnunet/foldN); the same command resumes it")
    add("--method", default="nnunet", metavar="NAME", help="name in metrics.csv and figures (default: %(default)s)")
    add("--force", action="store_true", help="delete another run that the run folder holds")

    nnunet = parser.add_argument_group("nnU-Net")
    add = nnunet.add_argument
    add("--configuration", choices=("2d", "3d_fullres"), default="2d", help="nnU-Net's (default: %(default)s)")
    add("--epochs", type=int, default=1000, metavar="N", help="epochs (default: %(default)s, nnU-Net's own)")
    own = "(default: %(default)s, nnU-Net's own)"
    add("--iterations-per-epoch", type=int, default=250, metavar="N", help=f"optimiser steps an epoch {own}")
    add("--batch-size", type=int, metavar="N", help="images a batch (default: what nnU-Net plans)")
    add(
        "--mirroring",
        choices=("auto", "true", "false"),
        nargs="?",
        const="true",
        default="auto",
        help="mirror in training and prediction; auto: not where a structure has a side, whose name it would not swap",
    )
    add(
        "--plane",
        choices=("auto", "axial"),
        default="auto",
        help="slices of 2d; auto: nnU-Net's own choice, across the axis of the widest spacing (default: %(default)s)",
    )
    add(
        "--group-loss",
        type=float,
        default=0.2,
        metavar="F",
        help="nnU-Net cannot learn from a patient in whom a structure was not drawn, so structures are put into groups,"
        " an nnU-Net each; share of its patients that a group may lose to such gaps (default: %(default)s)",
    )
    add("--groups", metavar="'A,B;C'", help="the groups by hand: A with B, and C alone")

    machine = parser.add_argument_group("where it runs")
    add = machine.add_argument
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: a GPU where there is one)")
    add("--processes", type=int, metavar="N", help="most worker processes (default: one a core, at most 8)")
    add(
        "--nnunet-python",
        type=Path,
        metavar="PATH",
        help="interpreter of the environment that nnunetv2 is installed in"
        " (default: $NASOSEG_NNUNET_PYTHON, else .nnunet/bin/python)",
    )
    add("--create-environment", action="store_true", help="make that environment in .nnunet if it is not there: 5 GB")


def run(arguments: argparse.Namespace) -> int:
    """Train, test, and print the table."""
    from nasoseg.comparison.nnunet import run_nnunet
    from nasoseg.comparison.nnunet_environment import find_environment
    from nasoseg.tasks.results import print_scores

    with asked_for(arguments) as (store, split, asked):
        folder = arguments.run or Path(f"runs/nnunet/fold{arguments.fold}")
        with _Shown() as shown:
            scores = run_nnunet(
                store,
                split,
                asked,
                run=folder,
                find=lambda: find_environment(arguments.nnunet_python, create=arguments.create_environment),
                force=arguments.force,
                say=shown.say,
                progress=shown,
            )
    print_scores(scores, title=f"{asked.method}, test patients of fold {asked.fold}, protocol {split.protocol}")
    print(f"run folder: {folder}")
    return 0


@contextmanager
def asked_for(arguments: argparse.Namespace) -> Iterator[tuple["Store", "Split", "Asked"]]:
    """Open the store and the split that the arguments name, and say what nnU-Net is to learn.

    Raises:
        NasosegError: If one of them cannot be used.
    """
    from nasoseg import labels as structure_names
    from nasoseg.comparison.nnunet import Asked
    from nasoseg.comparison.nnunet_groups import parse_groups
    from nasoseg.comparison.nnunet_options import Options
    from nasoseg.data.embedded import open_store
    from nasoseg.data.splits import Split, make_split

    with open_store(arguments.store) as store:
        if arguments.split is not None:
            split = Split.load(arguments.split, store)
        else:
            split = make_split(store, folds=arguments.folds, protocol=arguments.protocol, seed=arguments.seed)
        wanted = structure_names.names(_names(arguments.labels)) if arguments.labels is not None else store.names
        positions = structure_names.positions(wanted, store.names, where=str(store.path))
        asked = Asked(
            fold=arguments.fold,
            labels=[store.names[i] for i in positions],
            method=arguments.method,
            groups=parse_groups(arguments.groups) if arguments.groups is not None else None,
            most_lost=arguments.group_loss,
            options=Options(
                configuration=arguments.configuration,
                epochs=arguments.epochs,
                iterations_per_epoch=arguments.iterations_per_epoch,
                batch_size=arguments.batch_size,
                mirroring=arguments.mirroring,
                plane=arguments.plane,
                device=arguments.device,
                processes=arguments.processes if arguments.processes is not None else min(usable_cores(), 8),
            ),
        )
        yield store, split, asked


class _Shown:
    """Show how far it is: a bar on a terminal, elsewhere a line for every epoch and one now and then for the rest."""

    def __init__(self) -> None:
        self._display = ProgressDisplay("nnU-Net")
        self._last: tuple[str, int, int] | None = None
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._display.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.__exit__(kind, error, trace)

    def say(self, text: str) -> None:
        print(text, flush=True)

    def __call__(self, what: str, done: int, total: int) -> None:
        if (what, done, total) == self._last:  # it is asked for twice a second
            return
        self._last = what, done, total
        if what.endswith("epochs") and not sys.stderr.isatty():
            seconds = time.monotonic() - self._began
            print(f"epoch {done}/{total}  nnU-Net  {what.removesuffix(', epochs')}  {seconds:.0f} s", flush=True)
            self._began = time.monotonic()
        else:
            self._display(what, done, total)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]

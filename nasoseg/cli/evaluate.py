"""``nasoseg evaluate``: measure masks that any program predicted against the truth."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasoseg.cli.output import add_json, add_quiet, print_json
from nasoseg.errors import NasosegError

if TYPE_CHECKING:  # torch loads slowly, and the dispatcher imports every command
    from nasoseg.data.splits import Split
    from nasoseg.evaluation.folders import FolderScores
    from nasoseg.metrics import Scores

HELP = """measure predicted masks of any program against true masks

PRED and TRUTH are each laid out as
  <patient>/<structure>.nii.gz or <patient>/segmentations/<structure>.nii.gz, one mask a file, or
  <patient>.nii.gz, label maps whose values nnU-Net's dataset.json explains.
NIfTI (.nii.gz, .nii), NRRD (.nrrd) and MetaImage (.mha, .mhd) are read. Structures are matched by name, synonyms
included. A true mask that is missing means: not annotated, and not measured. See --absent.

With --split, `nasoseg report` compares them with nasoseg's own runs, patient by patient."""
EXAMPLE = "nasoseg evaluate predictions/ studies/ --method other --out other/metrics.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("prediction", metavar="PRED", type=Path, help="folder of the predictions")
    parser.add_argument("truth", metavar="TRUTH", type=Path, help="folder of the truth")
    parser.add_argument("--out", metavar="FILE.csv", type=Path, help="write all values, as `nasoseg test` does")
    parser.add_argument(
        "--split",
        metavar="FILE",
        type=Path,
        help="split (protocol clean) on whose folds the program was trained: FILE.csv names its store and every"
        " patient's fold, so that nasoseg's runs on that split can be compared with; other patients are left out",
    )
    parser.add_argument("--method", metavar="NAME", help="name of the method in the table (default: PRED's name)")
    parser.add_argument(
        "--absent",
        metavar="A,B",
        action="append",
        default=[],
        help="structures for which a missing or empty true mask means annotated and empty (repeatable)",
    )
    parser.add_argument(
        "--dataset-json",
        metavar="FILE",
        type=Path,
        help="what the values of label maps mean (default: dataset.json beside the maps, or in the folder above)",
    )
    parser.add_argument(
        "--missing-as-empty",
        action="store_true",
        help="count an annotated structure without a predicted file as predicted empty, instead of failing",
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="leave out patients without a prediction, instead of failing"
    )
    parser.add_argument("--force", action="store_true", help="overwrite FILE.csv")
    add_json(parser)
    add_quiet(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table and the notes, and write the rows."""
    out: Path | None = arguments.out
    if out:
        _check_out(out, force=arguments.force)
    from nasoseg.evaluation.folders import evaluate_folders
    from nasoseg.progress import ProgressDisplay
    from nasoseg.tasks.results import print_scores

    split = None if arguments.split is None else _read_split(arguments.split)
    with ProgressDisplay("evaluating", quiet=arguments.quiet) as progress:
        found = evaluate_folders(
            arguments.prediction,
            arguments.truth,
            absent=[name.strip() for value in arguments.absent for name in value.split(",") if name.strip()],
            dataset_json=arguments.dataset_json,
            missing_as_empty=arguments.missing_as_empty,
            allow_missing=arguments.allow_missing,
            only=None if split is None else split.slices,
            progress=progress,
        )
    method = arguments.method or arguments.prediction.resolve().name
    shown = not (arguments.json or arguments.quiet)
    if shown:
        print_scores(found.scores, title=f"{method} against {arguments.truth}")
    for note in found.notes:
        print(f"note: {note}", file=sys.stdout if shown else sys.stderr)
    if out:
        _write(out, found.scores, method=method, split=split)
        if shown:
            print(f"values: {out}")
    if arguments.json:
        print_json(document(found, method=method) | {"out": out})
    return 0


def _read_split(path: Path) -> "Split":
    from nasoseg.data.splits import Split

    split = Split.load(path)
    if split.protocol != "clean":
        raise NasosegError(
            f"--split: {path} has protocol {split.protocol!r}, whose folds are slices; masks are measured as whole"
            " volumes: expected 'clean': name the split of that protocol"
        )
    return split


def _write(out: Path, scores: "Scores", *, method: str, split: "Split | None") -> None:
    from nasoseg.evaluation.results import UNKNOWN
    from nasoseg.tasks.results import split_context, write_metrics

    if split is None:
        unknown = dict.fromkeys(("protocol", "fold", "store", "split"), UNKNOWN)
        write_metrics(out, scores, context={"method": method, **unknown})
        return
    tested_in = {key: number for number, fold in enumerate(split.folds) for key in fold.test}
    folds = sorted({tested_in[key] for key in scores.patients})
    context = split_context(split, method=method, fold=folds[0])
    write_metrics(out, scores, context=context, folds=tested_in if len(folds) > 1 else None)


def document(found: "FolderScores", *, method: str) -> dict[str, Any]:
    """Return the table and the notes as plain data: values per patient volume, means over patients.

    Args:
        found: What was measured.
        method: Name of the method.
    """
    scores = found.scores
    summary = scores.summary("volume")
    structures = {
        name: {metric: float(means[i]) for metric, means in summary.means.items()}
        | {"patients": int(summary.counted["dsc"][i])}
        for i, name in enumerate(scores.labels)
    }
    return {
        "method": method,
        "averaging": "volume",
        "patients": len(scores.patients),
        "structures": structures,
        "all": summary.overall,
        "notes": found.notes,
    }


def _check_out(out: Path, *, force: bool) -> None:
    """Check before the work that the result can be written."""
    if out.is_dir():
        raise NasosegError(f"--out: {out} is a folder, expected the name of a file such as {out / 'metrics.csv'}")
    if not out.parent.is_dir():
        raise NasosegError(f"--out: there is no folder {out.parent}: make it first")
    if out.exists() and not force:
        raise NasosegError(f"--out: {out} exists already: choose another name, or pass --force to overwrite it")

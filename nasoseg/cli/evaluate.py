"""``nasoseg evaluate``: measure masks that any program predicted against the truth."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasoseg.cli.output import add_json, add_quiet, print_json
from nasoseg.errors import NasosegError

if TYPE_CHECKING:  # torch loads slowly, and the dispatcher imports every command
    from nasoseg.evaluation.folders import FolderScores

HELP = """measure predicted masks of any program against true masks

PRED and TRUTH are each laid out as
  <patient>/<structure>.nii.gz or <patient>/segmentations/<structure>.nii.gz, one mask a file, or
  <patient>.nii.gz, label maps whose values nnU-Net's dataset.json explains.
NIfTI (.nii.gz, .nii), NRRD (.nrrd) and MetaImage (.mha, .mhd) are read. Structures are matched by name, synonyms
included. A true mask that is missing means: not annotated, and not measured. See --absent."""
EXAMPLE = "nasoseg evaluate predictions/ studies/ --method other --out other/metrics.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("prediction", metavar="PRED", type=Path, help="folder of the predictions")
    parser.add_argument("truth", metavar="TRUTH", type=Path, help="folder of the truth")
    parser.add_argument("--out", metavar="FILE.csv", type=Path, help="write all values, as `nasoseg test` does")
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
    from nasoseg.evaluation.results import UNKNOWN
    from nasoseg.progress import ProgressDisplay
    from nasoseg.tasks.results import print_scores, write_metrics

    with ProgressDisplay("evaluating", quiet=arguments.quiet) as progress:
        found = evaluate_folders(
            arguments.prediction,
            arguments.truth,
            absent=[name.strip() for value in arguments.absent for name in value.split(",") if name.strip()],
            dataset_json=arguments.dataset_json,
            missing_as_empty=arguments.missing_as_empty,
            allow_missing=arguments.allow_missing,
            progress=progress,
        )
    method = arguments.method or arguments.prediction.resolve().name
    shown = not (arguments.json or arguments.quiet)
    if shown:
        print_scores(found.scores, title=f"{method} against {arguments.truth}")
    for note in found.notes:
        print(f"note: {note}", file=sys.stdout if shown else sys.stderr)
    if out:
        unknown = dict.fromkeys(("protocol", "fold", "store", "split"), UNKNOWN)
        write_metrics(out, found.scores, context={"method": method, **unknown})
        if shown:
            print(f"values: {out}")
    if arguments.json:
        print_json(document(found, method=method) | {"out": out})
    return 0


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

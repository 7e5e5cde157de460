"""What a test leaves behind: ``metrics.csv`` and a table to read."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from nasoseg.data.splits import Split
from nasoseg.data.store import Store
from nasoseg.errors import NasosegError
from nasoseg.files import whole_file
from nasoseg.metrics import Scores

SHOWN = ("dsc", "jsc", "f1", "auc", "hd95", "nsd")
_UNITS = {"hd95": "mm"}


def result_context(store: Store, split: Split, *, method: str, fold: int) -> dict[str, Any]:
    """Return the columns that are equal in every row of ``metrics.csv``: what was tested, and on which data.

    Args:
        store: The store.
        split: Its split.
        method: Name of the method.
        fold: The fold that is tested.
    """
    return split_context(split, method=method, fold=fold) | {"store": store.short_sha256}


def split_context(split: Split, *, method: str, fold: int) -> dict[str, Any]:
    """Return what ``result_context`` does where only the split is at hand, which names its store."""
    return {
        "method": method,
        "protocol": split.protocol,
        "fold": fold,
        "store": split.store_sha256[:12],
        "split": split.sha256[:12],
    }


def write_metrics(
    path: str | os.PathLike[str],
    scores: Scores,
    *,
    context: Mapping[str, Any],
    folds: Mapping[str, int] | None = None,
) -> None:
    """Write ``metrics.csv``: a row per patient, structure, averaging and metric, whole or not at all.

    Args:
        path: The file.
        scores: Of a test.
        context: Columns that are equal in every row, from ``result_context``.
        folds: The fold of every patient, where the scores are of several folds. Values over all patients, which are no
            fold's, are then left out.

    Raises:
        NasosegError: If the file cannot be written.
    """
    path = Path(path)
    rows: list[dict[str, Any]] = [{**context, **row, "value": f"{row['value']:.6g}"} for row in scores.rows()]
    if folds is not None:
        rows = [row | {"fold": folds[row["patient"]]} for row in rows if row["patient"]]
    try:
        with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise NasosegError(
            f"{path}: could not be written ({error}): free disk space or choose another folder"
        ) from error


def print_scores(scores: Scores, *, title: str) -> None:
    """Print a table: structure x metric, mean over patients of the value per volume, and patients counted.

    Metrics that the scores do not have are left out.
    """
    metrics = [metric for metric in SHOWN if metric in scores.volume]
    summary = scores.summary("volume")
    caption = "per patient volume, mean over patients; all: mean over structures"
    if (summary.counted["dsc"] != summary.counted.get("auc", summary.counted["dsc"])).any():
        caption += "; AUC: of the patients who have the structure"
    table = Table(title=title, caption=caption)
    table.add_column("structure", no_wrap=True)  # numbers of a narrow terminal may wrap, names may not be cut
    for metric in metrics:
        table.add_column(" ".join(filter(None, (metric.upper(), _UNITS.get(metric)))), justify="right")
    table.add_column("patients", justify="right")
    for i, name in enumerate(scores.labels):
        counted = int(summary.counted["dsc"][i])
        table.add_row(name, *(_number(m, float(summary.means[m][i])) for m in metrics), str(counted))
    table.add_section()
    table.add_row("all", *(_number(m, summary.overall[m]) for m in metrics), str(len(scores.patients)))
    Console().print(table)


def _number(metric: str, value: float) -> str:
    return "-" if value != value else f"{value:.{1 if metric in _UNITS else 3}f}"

"""What was found, for people: a table of volumes with warnings, and the same as rows of a file."""

import csv
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nasoseg.data.training_data import TrainingData
from nasoseg.errors import NasosegError, writing
from nasoseg.files import whole_file
from nasoseg.inference.segmentation import Segmentation
from nasoseg.locks import waiting_lock

COLUMNS = ("scan", "structure", "volume_ml", "warnings")


def summary_table(found: Segmentation, training: TrainingData) -> str:
    """Return a table of volumes beside those of the training, and the warnings below it."""
    table = Table(title=found.study.name, title_justify="left")
    table.add_column("structure", overflow="fold")
    table.add_column("volume, ml", justify="right")
    table.add_column("in the training, ml", justify="right")
    for name, volume in found.volumes_ml.items():
        known = training.volumes_ml.get(name)
        table.add_row(name, f"{volume:.2f}", f"{known.smallest:.3g} to {known.largest:.3g}" if known else "")
    console = Console(highlight=False, width=100)
    with console.capture() as captured:
        console.print(table, markup=False)
    return captured.get() + "".join(f"warning: {warning}\n" for warning in found.warnings).rstrip("\n")


def write_summary(path: Path, found: Segmentation) -> None:
    """Write a scan's volumes and warnings into a CSV file of many scans; its older rows there are replaced.

    A warning that is not of one structure has a row of its own, without a structure. Several processes may write to one
    file: each waits for the others.

    Raises:
        NasosegError: If the file is not such a summary, or cannot be written.
    """
    rows: list[dict[str, str]] = []
    of = {name: [w for w in found.warnings if w.startswith(f"{name}: ")] for name in found.labels}
    for name, volume in found.volumes_ml.items():
        text = "; ".join(warning.removeprefix(f"{name}: ") for warning in of[name])
        rows.append(dict(zip(COLUMNS, (found.study.name, name, f"{volume:.4f}", text), strict=True)))
    taken = {warning for warnings in of.values() for warning in warnings}
    for warning in found.warnings:
        if warning not in taken:
            rows.append(dict(zip(COLUMNS, (found.study.name, "", "", warning), strict=True)))
    with writing(path), waiting_lock(path.with_name(f".lock.{path.name}")):
        older = [row for row in _rows(path) if row["scan"] != found.study.name]
        with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(older + rows)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) == COLUMNS:
                return list(reader)
    except (OSError, ValueError, csv.Error):
        pass
    raise NasosegError(
        f"{path}: is no summary of `nasoseg segment` (columns {', '.join(COLUMNS)}): move it away, or choose another"
        " folder"
    )

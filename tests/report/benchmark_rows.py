"""Results of small made-up benchmarks, for the tests of tables and figures."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nasoseg.evaluation.results import COLUMNS

STORE = "0123456789ab"
METRICS = {"dsc": lambda dsc: dsc, "auc": lambda dsc: 0.5 + dsc / 2}


def row(method, patient, structure, value, *, averaging="volume", metric="dsc", protocol="clean", fold="0"):
    split = f"split-{protocol}"
    values = (method, protocol, fold, STORE, split, patient, structure, averaging, metric, value)
    return dict(zip(COLUMNS, values, strict=True))


def as_table(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(COLUMNS)).astype({"value": float})


def of_values(values: Mapping[str, Mapping[str, Sequence[float | None]]], **more: str) -> pd.DataFrame:
    """Make a table from method -> structure -> a value per patient; None leaves the row out, as not annotated."""
    return as_table(
        row(method, f"p{number}", structure, value, **more)
        for method, structures in values.items()
        for structure, of_patients in structures.items()
        for number, value in enumerate(of_patients)
        if value is not None
    )


def write_run(
    folder: Path,
    method: str,
    patients: Mapping[str, Sequence[str]],
    *,
    level: float,
    fold: int,
    protocol="clean",
    store=STORE,
) -> Path:
    """Write the metrics.csv of one run: patient -> annotated structures, DSC about ``level``."""
    rng = np.random.default_rng([fold, len(method)])
    dsc = {(p, s): float(np.clip(level + rng.normal(0, 0.05), 0, 1)) for p, names in patients.items() for s in names}
    structures = list(dict.fromkeys(s for _, s in dsc))
    rows = []
    for metric, of in METRICS.items():
        for averaging, less in (("volume", 0.0), ("slice", 0.05)):
            rows += [(p, s, averaging, metric, of(max(0.0, value - less))) for (p, s), value in dsc.items()]
        rows += [("", s, "pooled", metric, of(level)) for s in structures] + [("", "", "micro", metric, of(level))]
    folder.mkdir(parents=True)
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((method, protocol, fold, store, f"split-{protocol}", *rest) for rest in rows)
    return folder

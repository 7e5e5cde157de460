"""The tables of a page that sort and filter: a row per structure and method, and a row per patient and method."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from nasoseg.evaluation import values
from nasoseg.report.per_unit import Protocol, in_order, read_protocols
from nasoseg.report.tables import TABLE_1
from nasoseg.report.wording import interval, metric_name, number

SUMMARISED = (*TABLE_1, "nsd", "hd95")
"""Metrics of the table of structures; each value has an interval, which takes time."""

LISTED = ("dsc", "nsd", "hd95", "assd", "precision", "recall", "auc")
"""Metrics of the table of patients: per volume, F1 is DSC, and JSC follows from it."""

_NAMES = {"nsd": "NSD", "hd95": "HD95, mm", "assd": "ASSD, mm"}
_DIGITS = {"hd95": 1, "assd": 1}


@dataclass(frozen=True)
class SortableTable:
    """Hold a table whose numbers can be switched from one metric to another.

    Attributes:
        name: Of its element on the page.
        caption: What is shown.
        fixed: Headings of the leading columns, which hold texts.
        filters: Those of them that have a list to choose from.
        measured: Headings of the columns that hold numbers.
        rows: The texts of every row's leading columns.
        cells: Name of a metric -> for every row the texts of the measured columns.
    """

    name: str
    caption: str
    fixed: Sequence[str]
    filters: Sequence[str]
    measured: Sequence[str]
    rows: Sequence[Sequence[str]]
    cells: dict[str, list[list[str]]]

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics; the first is shown at first."""
        return list(self.cells)

    def choices(self, heading: str) -> list[str]:
        """List what a leading column holds, each text once."""
        place = list(self.fixed).index(heading)
        return list(dict.fromkeys(row[place] for row in self.rows))


def summarised(table: pd.DataFrame) -> pd.DataFrame:
    """Take the rows that a page summarises: what it does not show needs no intervals."""
    more = table["metric"].isin(SUMMARISED) & (table["averaging"] == "volume")
    return table[table["metric"].isin(TABLE_1) | more]


def structures_sortable(summary: pd.DataFrame) -> SortableTable:
    """Make a row per protocol, method and structure, overall rows included.

    Args:
        summary: From ``summarise_all``.
    """
    of_volume = summary[summary["averaging"] == "volume"]
    keys = ["protocol", "method", "structure"]
    rows = [tuple(map(str, row)) for row in of_volume[keys].drop_duplicates().to_numpy()]
    cells = {}
    for metric in _there(of_volume, SUMMARISED):
        found = of_volume[of_volume["metric"] == metric].to_dict("records")
        at = {tuple(str(row[key]) for key in keys): row for row in found}
        digits = _DIGITS.get(metric, 3)
        cells[_named(metric)] = [
            [
                str(int(row["n"])),
                number(row["mean"], digits=digits),
                interval(row["low"], row["high"]),
                number(row["median"], digits=digits),
                number(row["sd"], digits=digits),
            ]
            if (row := at.get(key))
            else [number(float("nan"))] * 5
            for key in rows
        ]
    fixed, lines = _varying(
        ("structure", "method", "protocol"), [(structure, method, protocol) for protocol, method, structure in rows]
    )
    return SortableTable(
        name="structures-table",
        caption=(
            "Every structure by every method: patients with a value, mean over them with its 95 % interval (BCa"
            " bootstrap over patients), median and standard deviation; a value per patient volume. The rows"
            f" {values.ALL} and {values.ORGANS} are means over structures."
        ),
        fixed=fixed,
        filters=fixed,
        measured=("patients", "mean", "95 % interval", "median", "SD"),
        rows=lines,
        cells=cells,
    )


def patients_sortable(table: pd.DataFrame, *, organs: Sequence[str] | None) -> SortableTable:
    """Make a row per protocol, method and patient, with a column per structure and the mean over them.

    Args:
        table: From ``read_results``, in the order of the labels.
        organs: Structures that the mean is over; None: all.
    """
    of_volume = table[table["averaging"] == "volume"]
    by_metric = {
        metric: {protocol.name: protocol for protocol in read_protocols(table, metric=metric, organs=organs)}
        for metric in _there(of_volume, LISTED)
    }
    first = next(iter(by_metric.values()))
    structures = list(dict.fromkeys(name for protocol in first.values() for name in protocol.structures))
    keys = [
        (protocol, method, patient, fold)
        for protocol, of in first.items()
        for method in of.methods
        for patient, fold in _patients(of, method)
    ]
    headline = list(dict.fromkeys(name for protocol in first.values() for name in protocol.headline))
    cells = {
        _named(metric): [row for name in first for row in _rows(of.get(name), first[name], structures, metric)]
        for metric, of in by_metric.items()
    }
    of_what = ", ".join(headline) if organs is not None else "the structures that he has"
    fixed, lines = _varying(
        ("patient", "method", "fold", "protocol"),
        [(patient, method, fold, protocol) for protocol, method, patient, fold in keys],
    )
    return SortableTable(
        name="patients-table",
        caption=(
            f"Every patient by every method, a value per patient volume; mean: over {of_what}. A dash: not annotated in"
            " him, or nothing to measure. A structure that is there and was not found has DSC 0, and the volume's"
            " diagonal as a distance."
        ),
        fixed=fixed,
        filters=fixed[1:],
        measured=("mean", *structures),
        rows=lines,
        cells=cells,
    )


def _varying(headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Leave out columns that say the same in every row, such as the only fold; the first two always stay."""
    kept = [i for i in range(len(headings)) if i < 2 or len({row[i] for row in rows}) > 1]
    return tuple(headings[i] for i in kept), [tuple(row[i] for i in kept) for row in rows]


def _patients(protocol: Protocol, method: str) -> list[tuple[str, str]]:
    """List a method's patients with the folds that tested each."""
    folds: dict[str, list[str]] = {}
    for patient, fold in protocol.cells[method].index:
        folds.setdefault(str(patient), []).append(str(fold))
    return [(patient, ", ".join(in_order(folds[patient]))) for patient in in_order(folds)]


def _rows(of: Protocol | None, first: Protocol, structures: Sequence[str], metric: str) -> list[list[str]]:
    """Word one metric of one protocol, in the order of the rows that the first metric has."""
    digits = _DIGITS.get(metric, 3)
    rows = []
    for method in first.methods:
        keys = [patient for patient, _ in _patients(first, method)]
        if of is None or method not in of.cells:
            rows += [[number(float("nan"))] * (len(structures) + 1) for _ in keys]
            continue
        means = values.patient_means(of.cells[method]).reindex(index=keys, columns=list(structures))
        overall = means[[name for name in structures if name in of.headline]].mean(axis=1)
        for mean, row in zip(overall.to_numpy(float), means.to_numpy(float), strict=True):
            rows.append([number(value, digits=digits) for value in (mean, *row)])
    return rows


def _there(rows: pd.DataFrame, metrics: Sequence[str]) -> list[str]:
    there = set(rows["metric"])
    return [metric for metric in metrics if metric in there]


def _named(metric: str) -> str:
    return _NAMES.get(metric, metric_name(metric))

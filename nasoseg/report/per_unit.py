"""The values that figures show: of every patient, and of every fold, over the structures of the headline."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from nasoseg.errors import NasosegError
from nasoseg.evaluation import values
from nasoseg.evaluation.bootstrap import mean_of_means
from nasoseg.report.wording import counted, listed

_PLACE = ("patient", "fold", "structure")
_Place = tuple[str, str, str]


@dataclass(frozen=True)
class Protocol:
    """Hold one metric of one protocol.

    Attributes:
        name: ``clean`` or ``paper``.
        metric: Such as ``dsc``.
        averaging: ``volume`` or ``slice``.
        cells: For every method a table (patient, fold) x structure, NaN where there is no value.
        structures: All structures.
        headline: Those that the headline is over: the organs, or all.
        folds: All folds that a method was tested on, in order.
        measured: For every method the patients, folds and structures of its rows, those with NaN included: there was
            nothing to measure, which is not the same as nothing measured.
    """

    name: str
    metric: str
    averaging: str
    cells: Mapping[str, pd.DataFrame]
    structures: tuple[str, ...]
    headline: tuple[str, ...]
    folds: tuple[str, ...]
    measured: Mapping[str, frozenset[_Place]]

    @property
    def methods(self) -> list[str]:
        """The methods, in the order of the results."""
        return list(self.cells)

    def folds_of(self, method: str) -> list[str]:
        """Return the folds that a method was tested on."""
        return in_order(str(fold) for fold in self.cells[method].index.unique("fold"))

    def incomplete(self) -> dict[str, str]:
        """Name the methods that lack a fold, patient or structure which another method has, with what they do have.

        Returns:
            Method -> such as ``fold 0``, ``3 of 12 patients`` or ``2 of 9 structures``. Its means are over other
            values than those of the others.
        """
        whole = frozenset[_Place]().union(*self.measured.values())
        return {method: _part(rows, whole) for method, rows in self.measured.items() if rows != whole}

    def patients(self, method: str, structures: Sequence[str] | None = None) -> "pd.Series[float]":
        """Return every patient's mean over the structures that he has; those of the headline by default.

        Under ``paper`` his folds are averaged first. Patients without any value are left out.
        """
        members = list(self.headline if structures is None else structures)
        return values.patient_means(self.cells[method])[members].mean(axis=1).dropna()

    def fold_means(self, method: str) -> "pd.Series[float]":
        """Return the headline of every fold: mean over its patients, then over structures; NaN where it is missing."""
        cells = self.cells[method][list(self.headline)]
        of_folds = {str(fold): mean_of_means(of.to_numpy(float)) for fold, of in cells.groupby(level="fold")}
        return pd.Series(of_folds, dtype=float).reindex(list(self.folds))


def _part(rows: frozenset[_Place], whole: frozenset[_Place]) -> str:
    patients, folds, structures = ({row[column] for row in rows} for column in range(3))
    all_patients, all_folds, all_structures = ({row[column] for row in whole} for column in range(3))
    parts = []
    if folds != all_folds:
        parts.append(f"{'fold' if len(folds) == 1 else 'folds'} {listed(in_order(folds))}")
    elif patients != all_patients:  # with fewer folds there are fewer patients, too
        parts.append(f"{len(patients)} of {counted(len(all_patients), 'patient')}")
    if structures != all_structures:
        parts.append(f"{len(structures)} of {counted(len(all_structures), 'structure')}")
    return ", ".join(parts) or f"{len(rows)} of {counted(len(whole), 'value')}"


def read_protocols(
    table: pd.DataFrame, *, metric: str = "dsc", averaging: str = "volume", organs: Sequence[str] | None = None
) -> list[Protocol]:
    """Shape the results of every protocol.

    Args:
        table: From ``nasoseg.evaluation.read_results``.
        metric: Such as ``dsc``.
        averaging: ``volume`` or ``slice``.
        organs: Structures of the headline; None: all.

    Raises:
        NasosegError: If the table lacks the metric, the averaging or an organ, or ``organs`` is empty.
    """
    if organs is not None and not organs:
        raise NasosegError("organs: found an empty list, expected names of structures, or None for all")
    rows = values.chosen_rows(table, metric=metric, averaging=averaging)
    groups = values.structure_groups(rows, organs)
    structures = tuple(groups[values.ALL])
    headline = tuple(groups.get(values.ORGANS, structures))
    return [
        Protocol(
            name=name,
            metric=metric,
            averaging=averaging,
            cells=values.by_method(of, structures),
            structures=structures,
            headline=headline,
            folds=tuple(in_order(str(fold) for fold in of["fold"].unique())),
            measured={
                str(method): frozenset(zip(*(of_method[column].astype(str) for column in _PLACE), strict=True))
                for method, of_method in of.groupby("method", sort=False)
            },
        )
        for name, of in values.protocols(rows)
    ]


def in_label_order(table: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by protocol, method and structure, so that tables and figures list structures in one order.

    Protocols and methods keep the order in which they come first. Structures have the order of the labels, which a
    run's pooled values show; a patient's own rows lack what was not annotated in him.

    Args:
        table: From ``read_results``.
    """
    pooled = table[table["averaging"] == "pooled"]
    lists = [
        list(dict.fromkeys(of["structure"])) for _, of in pooled.groupby(["protocol", "method", "fold"], sort=False)
    ]
    named = [name for names in sorted(lists, key=len, reverse=True) for name in names]
    orders = {
        "protocol": list(dict.fromkeys(table["protocol"])),
        "method": list(dict.fromkeys(table["method"])),
        "structure": list(dict.fromkeys([*named, *table["structure"]])),
    }
    places = {column: {name: place for place, name in enumerate(names)} for column, names in orders.items()}
    return table.sort_values(list(places), key=lambda column: column.map(places[str(column.name)]), kind="stable")


def all_methods(protocols: Sequence[Protocol]) -> list[str]:
    """List the methods of all protocols, each once, in the order of the results."""
    return list(dict.fromkeys(method for protocol in protocols for method in protocol.methods))


def in_order(names: Iterable[str]) -> list[str]:
    """Sort names as people count: fold 10 after fold 9."""
    return sorted(set(names), key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)])

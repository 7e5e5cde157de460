"""The values of one metric, taken out of the tidy table and shaped for statistics.

The unit of every statistic is the patient. Under protocol ``clean`` a patient is tested in one fold. Under ``paper``
his slices lie in several, and each fold has a value of its own, measured on the slices there. These values are no
independent patients: they are averaged to one value a patient, and methods are first compared fold by fold, on the
same slices.
"""

from collections.abc import Iterator, Sequence

import pandas as pd

from nasoseg.errors import NasosegError, nearest
from nasoseg.labels import positions

ALL = "all"
"""The row over all structures."""

ORGANS = "organs"
"""The row over the structures that were asked for as organs."""

PER_PATIENT = ("volume", "slice")


def chosen_rows(table: pd.DataFrame, *, metric: str, averaging: str, per_patient: bool = True) -> pd.DataFrame:
    """Take the rows of one metric and averaging.

    Args:
        table: From ``read_results``.
        metric: Such as ``dsc``.
        averaging: Such as ``volume``.
        per_patient: Whether only averagings with one value a patient will do.

    Raises:
        NasosegError: If the table has none.
    """
    for argument, value in (("averaging", averaging), ("metric", metric)):
        there = [str(name) for name in table[argument].unique()]
        if value not in there:
            raise NasosegError(f"{argument}: the table has no {value!r}: {nearest(value, there)}")
    if per_patient and averaging not in PER_PATIENT:
        raise NasosegError(
            f"averaging: {averaging!r} has one value a fold, expected {' or '.join(PER_PATIENT)}, with one a patient"
        )
    rows = table[(table["averaging"] == averaging) & (table["metric"] == metric)]
    if rows.empty:
        raise NasosegError(f"metric: the table has no {metric!r} with averaging {averaging!r}: choose another of them")
    return rows


def structure_groups(rows: pd.DataFrame, organs: Sequence[str] | None) -> dict[str, list[str]]:
    """Name the structures of each overall row: ``all``, and ``organs`` where they are given.

    Raises:
        NasosegError: If an organ is not in the table, or a structure is named as an overall row is.
    """
    names = [str(name) for name in rows["structure"].unique() if name]
    groups = {ALL: names}
    if organs is not None:
        groups[ORGANS] = [names[i] for i in positions(organs, names, where="the table")] if names else []
    for taken in (ALL, ORGANS):
        if taken in names:
            raise NasosegError(f"structure {taken!r}: the name is that of a row over structures: rename the structure")
    return groups


def by_method(rows: pd.DataFrame, structures: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Shape the rows of one protocol: per method a table (patient, fold) x structure, NaN where there is no value."""
    return {
        str(method): of.pivot(index=["patient", "fold"], columns="structure", values="value").reindex(
            columns=list(structures)
        )
        for method, of in rows.groupby("method", sort=False)
    }


def protocols(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Give every protocol with its rows, in the order of the table."""
    for protocol, of in rows.groupby("protocol", sort=False):
        yield str(protocol), of


def patient_means(cells: pd.DataFrame) -> pd.DataFrame:
    """Average (patient, fold) x structure to patient x structure, over the folds with a value."""
    return cells.groupby(level="patient", sort=False).mean()

"""Read the ``metrics.csv`` of many runs into one tidy table, and check that they belong together."""

import os
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from nasoseg.errors import NasosegError
from nasoseg.evaluation.linked_folders import folders_below
from nasoseg.labels import check_spellings
from nasoseg.metrics import Averaging

UNKNOWN = "-"
"""Stands for protocol, fold, store and split where predictions came from another program."""

COLUMNS = (
    "method",
    "protocol",
    "fold",
    "store",
    "split",
    "patient",
    "structure",
    "averaging",
    "metric",
    "value",
)
"""The columns of ``metrics.csv``. ``patient`` is empty for pooled values, ``structure`` too for micro."""

_KEY = ["method", "protocol", "fold", "patient", "structure", "averaging", "metric"]
_EMPTY_COLUMNS: dict[str, tuple[str, ...]] = {"pooled": ("patient",), "micro": ("patient", "structure")}
_FILLED = "it empty in rows of pooled (patient) and micro (patient, structure), and filled in all others"
_FILE = "metrics.csv"
_LONGEST_CELL = 256
_ROWS_ARE = "expected the metrics.csv of `nasoseg test` or `nasoseg evaluate`"


def read_results(paths: Iterable[str | os.PathLike[str]]) -> pd.DataFrame:
    """Read the results of runs into one table, one row a value.

    Args:
        paths: Files as ``nasoseg test`` writes them, folders of runs that hold one, or folders of such folders, links
            among them too. A file that is named twice is read once.

    Returns:
        The columns ``COLUMNS``. All are text, folds too, but ``value``: float, NaN where there was nothing to measure.
        Rows keep the order of the paths and files.

    Raises:
        NasosegError: If there is no result; a file is damaged or lacks a column; results of two stores, or of two
            splits of one protocol, are mixed; a value is there twice; a structure is spelled in two ways; or a method
            tested a patient in two folds of protocol ``clean``.
    """
    files = _files(paths)
    parts = [_read(path).assign(file=number) for number, path in enumerate(files)]
    if not parts:
        raise NasosegError("results: no path was given: name run folders or metrics.csv files")
    table = pd.concat(parts, ignore_index=True)
    known = table[table["store"] != UNKNOWN]
    _check_same(known, "store", files, "results of the store", "the same store")
    for protocol, rows in known.groupby("protocol", sort=False):
        _check_same(rows, "split", files, f"protocol {protocol} with the split", "one split file a protocol")
    first_seen = table[table["structure"] != ""].drop_duplicates("structure")
    named = zip(first_seen["structure"], first_seen["file"], strict=True)
    check_spellings((name, str(files[number])) for name, number in named)
    _check_unique(table, files)
    _check_folds(table, files)
    return table[list(COLUMNS)]


def result_files(folder: Path) -> list[Path]:
    """List the results of all runs below a folder, sorted; links are followed."""
    # Lightning's logger writes another metrics.csv, into the run's folder of logs.
    runs = [path for path in folders_below(folder) if not path.name.startswith("logs")]
    return sorted(path / _FILE for path in runs if (path / _FILE).is_file())


def _files(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    files: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            found = [path / _FILE] if (path / _FILE).is_file() else result_files(path)
            if not found:
                raise NasosegError(
                    f"{path}: no {_FILE} in it, expected a run that was tested: finish it, or run `nasoseg test`"
                )
        elif path.is_file():
            found = [path]
        else:
            raise NasosegError(f"{path}: no such file or folder: expected a run folder or its {_FILE}")
        for file in found:
            files.setdefault(file.resolve(), file)
    return list(files.values())


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
        if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first cells of longer rows for an index
            raise ValueError(f"rows have more cells than the {len(table.columns)} columns of the header")
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        reason = " ".join(str(error).split())[:200]
        raise NasosegError(f"{path}: cannot be read as a table ({reason}): {_ROWS_ARE}: test the run again") from error
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        found = ", ".join(map(str, table.columns))[:200]
        raise NasosegError(f"{path}: no column {', '.join(missing)}, found {found}: {_ROWS_ARE}")
    if table.empty:
        raise NasosegError(f"{path}: no row below the header: {_ROWS_ARE}: test the run again")
    table = table[list(COLUMNS)].fillna("")  # a line that was cut off
    for column in COLUMNS:  # they are names, which messages and figures show
        _refuse(path, table, table[column].str.len() > _LONGEST_CELL, column, f"at most {_LONGEST_CELL} characters")
    text = table["value"].str.strip()
    values = pd.to_numeric(text, errors="coerce")
    wrong = np.isinf(values) | (values.isna() & (text.str.lower() != "nan"))
    _refuse(path, table, wrong, "value", "a finite number, or nan for nothing to measure")
    valid = [name for name in get_args(Averaging) if name != "all_slices"]
    _refuse(path, table, ~table["averaging"].isin(valid), "averaging", f"one of {', '.join(valid)}")
    for column in COLUMNS[:-1]:
        leave_empty = [name for name, columns in _EMPTY_COLUMNS.items() if column in columns]
        wrong = (table[column] == "") != table["averaging"].isin(leave_empty)
        _refuse(path, table, wrong, column, _FILLED)
    return table.assign(value=values)


def _refuse(path: Path, table: pd.DataFrame, wrong: pd.Series, column: str, expected: str) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        found = reprlib.repr(table[column].iloc[row])
        raise NasosegError(f"{path}: line {row + 2}: {column} is {found}, expected {expected}: test the run again")


def _check_same(table: pd.DataFrame, column: str, files: list[Path], what: str, expected: str) -> None:
    first = table.drop_duplicates(column)
    if len(first) > 1:
        (one, other), (file, odd) = first[column].iloc[:2], first["file"].iloc[:2]
        raise NasosegError(
            f"{files[odd]}: {what} {other}, but {files[file]} has {one}: expected {expected} in a comparison: leave one"
            " of the two out, or train and test it again with the other's"
        )


def _check_unique(table: pd.DataFrame, files: list[Path]) -> None:
    again = table.duplicated(_KEY)
    if again.any():
        row = table[again].iloc[0]
        twins = table.loc[(table[_KEY] == row[_KEY]).all(axis=1), "file"].iloc[:2]
        key = ", ".join(f"{column} {row[column]!r}" for column in _KEY if row[column])
        raise NasosegError(
            f"{files[twins.iloc[1]]}: a second value of {key}; the first is in {files[twins.iloc[0]]}: expected each"
            " once: leave one file out, or give one run another name with --method"
        )


def _check_folds(table: pd.DataFrame, files: list[Path]) -> None:
    """Check that whole patients were dealt under ``clean``: no method tested one in two folds."""
    tested = table[(table["protocol"] == "clean") & (table["patient"] != "")]
    tested = tested.drop_duplicates(["method", "patient", "fold"])
    again = tested.duplicated(["method", "patient"])
    if again.any():
        row = tested[again].iloc[0]
        same = tested[(tested["method"] == row["method"]) & (tested["patient"] == row["patient"])]
        raise NasosegError(
            f"{files[row['file']]}: {row['method']} tested patient {row['patient']!r} in fold {row['fold']}, and in"
            f" {files[same['file'].iloc[0]]} in fold {same['fold'].iloc[0]}: expected every patient in one fold under"
            " protocol clean: leave out the run that was made with another split"
        )

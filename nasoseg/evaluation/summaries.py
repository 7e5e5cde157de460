"""Summaries per protocol, method and structure, and how optimistic protocol ``paper`` is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from nasoseg.errors import NasosegError
from nasoseg.evaluation import values
from nasoseg.evaluation.bootstrap import RESAMPLES, interval, interval_of_difference, mean_of_means


def summarise(
    table: pd.DataFrame,
    *,
    metric: str = "dsc",
    averaging: str = "volume",
    organs: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Summarise one metric per protocol, method and structure, with 95 % confidence intervals over patients.

    A structure's mean is over the patients with a value there. The row ``all`` is the headline: the mean over
    structures of those means. Structures count alike, however many patients have them; one without a value is left
    out. The row ``organs`` is the same over ``organs`` alone. Their interval draws patients, each with all his
    structures. Their median and deviation are those of the patients' own means over structures, and that mean is
    another number than the headline where patients lack structures.

    Args:
        table: From ``read_results``.
        metric: Such as ``dsc``.
        averaging: ``volume`` or ``slice``; or ``pooled`` or ``micro``, with one value a fold: then the counts, mean,
            median and deviation are over folds, and there is no interval. ``micro`` has the row ``all`` only.
        organs: Structures of the row ``organs``; None leaves the row out.
        resamples: How often patients are drawn for an interval.
        seed: Of the drawing. The same table and seed give the same intervals.

    Returns:
        A row per protocol, method and structure, overall rows last. ``unit`` says what was counted: patients or folds;
        ``undefined``: values that are NaN because there was nothing to measure (structure absent and not predicted);
        ``structures``: how many the mean is over (1 for ``micro``, which has one value for all); ``n``: units with a
        value. Then ``mean``, ``median``, ``sd`` (with
        n - 1), ``low``, ``high``. Interval and sd are NaN for n < 2.

    Raises:
        NasosegError: If the table lacks the metric, averaging or an organ.
    """
    rows = values.chosen_rows(table, metric=metric, averaging=averaging, per_patient=False)
    groups = values.structure_groups(rows, organs)
    unit = "patient" if averaging in values.PER_PATIENT else "fold"
    result: list[dict[str, Any]] = []
    for protocol, of_protocol in values.protocols(rows):
        for method, of_method in of_protocol.groupby("method", sort=False):
            named = {"protocol": protocol, "method": method, "metric": metric, "averaging": averaging}
            means = _unit_means(of_method, unit)
            noted = of_method.groupby([unit, "structure"], sort=False)["value"].mean()
            undefined = noted.isna().groupby(level="structure").sum()
            for structure, members in _row_groups(means, groups):
                counts = {"unit": f"{unit}s", "undefined": int(undefined[members].sum())}
                summary = _summary(means[members], unit=unit, resamples=resamples, seed=seed)
                result.append(named | {"structure": structure} | counts | summary)
    return pd.DataFrame(result)


def _unit_means(rows: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Shape one method's rows into unit x structure, folds of a patient averaged; micro has one column, ``""``.

    Units are sorted by name: an interval depends on their order, and must not on what else is in the table.
    """
    cells = rows.groupby([unit, "structure"])["value"].mean()
    order = rows["structure"].unique()
    return cells.unstack("structure").reindex(columns=order)


def _row_groups(means: pd.DataFrame, groups: dict[str, list[str]]) -> list[tuple[str, list[str]]]:
    """List the rows of one method: each structure, then the groups, each with the columns that it is over."""
    columns = [str(name) for name in means.columns]
    if columns == [""]:
        return [(values.ALL, columns)]
    overall = [(name, [member for member in members if member in columns]) for name, members in groups.items()]
    return [(name, [name]) for name in columns] + overall


def _summary(block: pd.DataFrame, *, unit: str, resamples: int, seed: int) -> dict[str, Any]:
    of_units = block.mean(axis=1).dropna()
    array = block.to_numpy(float)
    low, high = interval(array, resamples=resamples, seed=seed) if unit == "patient" else (np.nan, np.nan)
    return {
        "structures": int((~np.isnan(array)).any(axis=0).sum()),
        "n": len(of_units),
        "mean": mean_of_means(array),
        "median": float(of_units.median()),
        "sd": float(of_units.std(ddof=1)),
        "low": low,
        "high": high,
    }


def leakage(
    table: pd.DataFrame,
    *,
    metric: str = "dsc",
    averaging: str = "volume",
    organs: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Set protocols ``paper`` and ``clean`` side by side: what a method seems to gain when its test data leak.

    Overall rows are over the structures that both protocols have. The difference is unpaired: both sides draw their
    patients independently. As they are the same patients, its interval is rather too wide than too narrow. Under
    ``paper`` a value per volume is one of the slices in a fold, so that a small part of the difference is not leakage
    but the shorter volume.

    Args:
        table: From ``read_results``, with runs of both protocols.
        metric: Such as ``dsc``.
        averaging: ``volume`` or ``slice``.
        organs: Structures of the row ``organs``; None leaves the row out.
        resamples: How often patients are drawn for an interval.
        seed: Of the drawing.

    Returns:
        A row per method and structure, overall rows last: ``n_``, ``mean_``, ``low_`` and ``high_`` of ``paper`` and
        of ``clean``, then ``difference`` (paper - clean), ``low``, ``high``. NaN where a method lacks a protocol.

    Raises:
        NasosegError: If the table lacks one of the protocols, the metric, the averaging or an organ.
    """
    rows = values.chosen_rows(table, metric=metric, averaging=averaging)
    rows = rows[rows["protocol"].isin(("paper", "clean"))]
    missing = [name for name in ("paper", "clean") if name not in set(rows["protocol"])]
    if missing:
        raise NasosegError(
            f"leakage: no result of protocol {missing[0]!r}, expected results of 'paper' and 'clean': train a method"
            f" with --data.protocol {missing[0]} and add its run"
        )
    groups = values.structure_groups(rows, organs)
    options = {"resamples": resamples, "seed": seed}
    result = []
    for method, of_method in rows.groupby("method", sort=False):
        sides = {
            protocol: _unit_means(of_method[of_method["protocol"] == protocol], "patient").reindex(
                columns=groups[values.ALL]
            )
            for protocol in ("paper", "clean")
        }
        both = [name for name in groups[values.ALL] if all(side[name].notna().any() for side in sides.values())]
        there = [name for name in groups[values.ALL] if any(side[name].notna().any() for side in sides.values())]
        overall = [(name, [member for member in members if member in both]) for name, members in groups.items()]
        for structure, members in [(name, [name]) for name in there] + overall:
            blocks = {protocol: side[members].to_numpy(float) for protocol, side in sides.items()}
            result.append(
                {"method": method, "metric": metric, "averaging": averaging, "structure": structure}
                | {"structures": len(set(members) & set(both))}
                | {key: value for protocol, block in blocks.items() for key, value in _side(protocol, block, options)}
                | _difference(blocks["paper"], blocks["clean"], options)
            )
    return pd.DataFrame(result)


def _side(protocol: str, block: Any, options: dict[str, int]) -> list[tuple[str, float]]:
    low, high = interval(block, **options)
    counted = int((~np.isnan(block)).any(axis=1).sum())
    return [
        (f"n_{protocol}", counted),
        (f"mean_{protocol}", mean_of_means(block)),
        (f"low_{protocol}", low),
        (f"high_{protocol}", high),
    ]


def _difference(paper: Any, clean: Any, options: dict[str, int]) -> dict[str, float]:
    low, high = interval_of_difference(paper, clean, **options)
    return {"difference": mean_of_means(paper) - mean_of_means(clean), "low": low, "high": high}

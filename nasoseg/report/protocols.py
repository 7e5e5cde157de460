"""Leakage made visible: protocols ``paper`` and ``clean`` side by side for every method."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from nasoseg.errors import NasosegError
from nasoseg.report.figure_style import SMALL_PT, CaptionedFigure, in_house_style, new_figure, wrapped
from nasoseg.report.text_table import TextTable
from nasoseg.report.wording import MINUS, interval, metric_name, number

_DIFFERENCE = f"paper {MINUS} clean"
_EXPLAINED = (
    "Protocol paper deals slices to the folds, so that slices of one patient are on both sides, and keeps the"
    " checkpoint that is best on the test fold; protocol clean deals whole patients and keeps the checkpoint that is"
    " best on validation patients. The difference, paper less clean, shows how much of a result under paper is"
    " leakage, but for a small part that comes of the shorter volumes there"
)


@in_house_style
def protocols_figure(leakage: pd.DataFrame, *, headline: str) -> CaptionedFigure:
    """Draw both protocols of every method, joined by a line, with intervals, and the difference in figures.

    Args:
        leakage: From ``nasoseg.evaluation.leakage``.
        headline: The row to draw: ``all`` or ``organs``.

    Raises:
        NasosegError: If no method has both protocols.
    """
    rows = _rows(leakage, headline)
    figure = new_figure(height_mm=20 + 7.0 * len(rows))
    axes = figure.subplots()
    shown = {"clean": ("#0072B2", "o", -0.16), "paper": ("#D55E00", "s", 0.16)}
    for y, row in enumerate(rows):
        for protocol, (colour, marker, shift) in shown.items():
            mean, low, high = (row[f"{name}_{protocol}"] for name in ("mean", "low", "high"))
            axes.plot([low, high], [y + shift, y + shift], color=colour, linewidth=1.0)
            label = f"protocol {protocol}" if y == 0 else None
            axes.plot([mean], [y + shift], marker, color=colour, markersize=5, label=label, linestyle="none")
        text = f"{number(row['difference'], signed=True)} {interval(row['low'], row['high'], signed=True)}"
        axes.text(1.02, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL_PT)
    axes.text(1.02, -0.75, _DIFFERENCE, transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL_PT)
    axes.set_yticks(range(len(rows)), [wrapped(str(row["method"]), width_mm=34.0) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(f"mean {metric_name(str(rows[0]['metric']))} over patients, then over structures")
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", ncols=2)
    caption = (
        f"{_EXPLAINED}. Lines and brackets: 95 % intervals over patients. The horizontal axis does not begin at 0."
        f"{_left_out(leakage, headline)}"
    )
    return CaptionedFigure(figure, caption)


def protocols_table(leakage: pd.DataFrame, *, headline: str) -> TextTable:
    """Tabulate both protocols of every method; the CSV has every structure.

    Args:
        leakage: From ``nasoseg.evaluation.leakage``.
        headline: The row to print: ``all`` or ``organs``.

    Raises:
        NasosegError: If no method has both protocols.
    """
    rows = _rows(leakage, headline)
    cells = pd.DataFrame(
        [
            {
                "Model": str(row["method"]),
                "paper": _with_interval(row, "paper"),
                "clean": _with_interval(row, "clean"),
                _DIFFERENCE: f"{number(row['difference'], signed=True)}"
                f" {interval(row['low'], row['high'], signed=True)}".rstrip(),
                "structures": str(int(row["structures"])),
                "patients, paper": str(int(row["n_paper"])),
                "patients, clean": str(int(row["n_clean"])),
            }
            for row in rows
        ]
    )
    bold = pd.DataFrame(False, index=cells.index, columns=cells.columns)
    metric = metric_name(str(rows[0]["metric"]))
    caption = (
        f"{metric} under both protocols (averaging {rows[0]['averaging']}), over the structures that both have, with"
        f" 95 % intervals over patients. {_EXPLAINED}.{_left_out(leakage, headline)}"
    )
    return TextTable(cells, bold, leakage, caption=caption, label="leakage")


def has_both(leakage: pd.DataFrame, headline: str) -> bool:
    """Tell whether any method has both protocols."""
    return bool(leakage.loc[leakage["structure"] == headline, "difference"].notna().any())


def _rows(leakage: pd.DataFrame, headline: str) -> list[dict[Hashable, Any]]:
    of_headline = leakage[(leakage["structure"] == headline) & leakage["difference"].notna()]
    if of_headline.empty:
        raise NasosegError(
            "leakage: no method has results of both protocols on one structure, expected one: train a method under"
            " 'paper' and 'clean' and add both runs"
        )
    return of_headline.to_dict("records")


def _with_interval(row: Mapping[Hashable, Any], protocol: str) -> str:
    low, high = float(row[f"low_{protocol}"]), float(row[f"high_{protocol}"])
    return f"{number(float(row[f'mean_{protocol}']))} {interval(low, high)}".rstrip()


def _left_out(leakage: pd.DataFrame, headline: str) -> str:
    of_headline = leakage[leakage["structure"] == headline]
    gone = [str(name) for name in of_headline.loc[of_headline["difference"].isna(), "method"]]
    return f" Run under one protocol only, and left out: {', '.join(gone)}." if gone else ""

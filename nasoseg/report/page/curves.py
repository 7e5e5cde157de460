"""Learning curves out of the logs of runs, and their figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nasoseg.report.figure_style import CaptionedFigure, Look, in_house_style, new_figure
from nasoseg.report.page.runs import METRICS, Run
from nasoseg.report.per_unit import in_order

SHOWN = {"train/loss": "training loss", "val/loss": "validation loss", "val/dsc": "validation DSC"}
"""Columns of Lightning's CSV log, with the names of their panels."""

_FEW_EPOCHS = 3  # so few are drawn as points too: a line of one is not seen


@dataclass(frozen=True)
class Curve:
    """Hold the learning curves of one run.

    Attributes:
        method: The method's name.
        protocol: The run's protocol.
        fold: The fold that was tested.
        values: Column of the log -> its values by epoch.
    """

    method: str
    protocol: str
    fold: str
    values: Mapping[str, "pd.Series[float]"]


def read_curve(run: Run) -> Curve | None:
    """Read the logs of a run; where training was resumed, a later log counts for the epochs that it has.

    Returns:
        The curves; None where there is no log that can be read, or none with an epoch in it.
    """
    values: dict[str, pd.Series[float]] = {}
    logs = {path.parent.name: path for path in run.folder.glob(f"logs*/{METRICS}")}
    for name in in_order(logs):
        for column, found in _read(logs[name]).items():
            earlier = values.get(column)
            values[column] = found if earlier is None else found.combine_first(earlier)
    return Curve(run.method, run.protocol, run.fold, values) if values else None


def _read(path: Path) -> dict[str, "pd.Series[float]"]:
    try:
        table = pd.read_csv(path, encoding="utf-8").apply(pd.to_numeric, errors="coerce")
    except (OSError, ValueError):  # pandas' own errors are ValueErrors; an empty log is one
        return {}
    if "epoch" not in table.columns:
        return {}
    found = {}
    for column in SHOWN:
        if column in table.columns:
            by_epoch = table.dropna(subset=["epoch", column]).groupby("epoch")[column].last()
            if len(by_epoch):
                found[column] = by_epoch
    return found


@in_house_style
def curves_figure(curves: Sequence[Curve], *, looks: Mapping[str, Look]) -> CaptionedFigure:
    """Draw losses and validation DSC by epoch: a panel each, a row of panels per protocol, a line per run.

    Args:
        curves: One or more.
        looks: How each method is drawn; its folds look alike.
    """
    protocols = list(dict.fromkeys(curve.protocol for curve in curves))
    methods = [name for name in looks if any(curve.method == name for curve in curves)]
    columns = [column for column in SHOWN if any(column in curve.values for curve in curves)]
    legend_rows = -(-len(methods) // 4)
    figure = new_figure(height_mm=52 * len(protocols) + 8 + 4.5 * legend_rows)
    panels = figure.subplots(len(protocols), len(columns), sharex=True, squeeze=False)
    for row, protocol in zip(panels, protocols, strict=True):
        for axes, column in zip(row, columns, strict=True):
            of = [curve for curve in curves if curve.protocol == protocol and column in curve.values]
            _draw(axes, of, column, looks)
            axes.set_title(SHOWN[column] if len(protocols) == 1 else f"{SHOWN[column]}, protocol {protocol}")
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    handles = [Line2D([], [], color=looks[name].colour, linestyle=looks[name].line, label=name) for name in methods]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), handlelength=3)
    return CaptionedFigure(figure, _caption(curves))


def _draw(axes: Axes, curves: Sequence[Curve], column: str, looks: Mapping[str, Look]) -> None:
    for curve in curves:
        found = curve.values[column]
        look = looks[curve.method]
        marker = look.marker if len(found) <= _FEW_EPOCHS else ""
        axes.plot(
            found.index.to_numpy(float) + 1,  # epochs count from 0 in the log
            found.to_numpy(float),
            color=look.colour,
            linestyle=look.line,
            marker=marker,
        )
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.grid(axis="y")


def _caption(curves: Sequence[Curve]) -> str:
    text = (
        "Values of every epoch from the logs, a line per run; epochs count from 1. Losses of methods with different"
        " loss functions cannot be compared. The checkpoint was picked by the validation DSC, which is therefore no"
        " test result. The vertical axes do not begin at 0."
    )
    if any(curve.protocol == "paper" for curve in curves):
        text += " Under protocol paper, validation is the test fold itself."
    return text
